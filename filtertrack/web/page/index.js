// The tab "Filters": TensorBoard imports this module into a page of its own, and calls render().

import {make} from "./dom.js";
import {Page} from "./page.js";
import {askJson} from "./requests.js";

export async function render() {
  document.documentElement.lang = "en";
  document.title = "Filters";
  document.head.append(make("link", {rel: "stylesheet", href: "./static/style.css"}),
                       make("meta", {name: "viewport", content: "width=device-width"}));
  try {
    await new Page(await askJson("settings")).begin();
  } catch (error) {
    document.body.append(make("p", {role: "alert"}, `The tab could not start: ${error.message}`));
  }
}
