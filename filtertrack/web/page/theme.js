// The light or dark theme of TensorBoard, which the page follows.

/** Apply TensorBoard's theme now and whenever it changes; then call `changed`. */
export function followTheme(changed) {
  const body = parentBody();
  applyTheme(body);
  if (!body) return;
  new MutationObserver(() => {
    applyTheme(body);
    changed();
  }).observe(body, {attributes: true, attributeFilter: ["class"]});
}

/** "light" or "dark". */
export function currentTheme() {
  return document.documentElement.dataset.theme;
}

function parentBody() {
  try {
    return window.parent.document.body;
  } catch {
    return null; // no access to the parent page
  }
}

function applyTheme(body) {
  document.documentElement.dataset.theme = body?.classList.contains("dark-mode") ? "dark" : "light";
}
