// The script that an HTML file holds as text: it unpacks the page's script and runs it. The content
// security policy of the file allows both by their hashes. See html_file.py.

import {readBytes} from "./file_data.js";

export async function render() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await readBytes("page"));
  document.body.append(script);
}
