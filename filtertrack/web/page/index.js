// The entry module of the tab "Filters": TensorBoard imports it into an iframe and calls render().

import {make} from "./dom.js";
import {Page} from "./page.js";
import {requestJson} from "./requests.js";

export async function render() {
  document.documentElement.lang = "en";
  document.title = "Filters";
  document.head.append(make("link", {rel: "stylesheet", href: "./static/style.css"}),
                       make("meta", {name: "viewport", content: "width=device-width"}));
  try {
    await new Page(await requestJson("settings")).start();
  } catch (error) {
    document.body.append(make("p", {role: "alert"}, `The tab could not start: ${error.message}`));
  }
}
