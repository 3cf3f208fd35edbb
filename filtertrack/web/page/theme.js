// Light or dark, as TensorBoard is: its page has a class for it.

/** Take over the theme now, and call back whenever it changes. */
export function followTheme(changed) {
  const body = outside();
  set(body);
  if (!body) return;
  new MutationObserver(() => {
    set(body);
    changed();
  }).observe(body, {attributes: true, attributeFilter: ["class"]});
}

export function theme() {
  return document.documentElement.dataset.theme;
}

function outside() {
  try {
    return window.parent.document.body;
  } catch {
    return null; // not below TensorBoard
  }
}

function set(body) {
  document.documentElement.dataset.theme = body?.classList.contains("dark-mode") ? "dark" : "light";
}
