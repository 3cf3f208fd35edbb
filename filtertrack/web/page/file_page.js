// The entry module of a page in a single file, without a server: see html_file.py.

import {make, printable} from "./dom.js";
import {requestJson} from "./file_answers.js";
import {Page} from "./page.js";

export async function render() {
  try {
    const [settings, {runs}] = [await requestJson("settings"), await requestJson("runs")];
    document.title = printable(`${runs.join(", ")} · filters`);
    await new Page(settings).start();
  } catch (error) {
    document.body.append(make("p", {role: "alert"}, `The page could not start: ${error.message}`));
  }
}
