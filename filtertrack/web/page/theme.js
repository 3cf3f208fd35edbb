// The light or dark theme, which the page follows: TensorBoard's, or the browser's without TensorBoard.

const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

/** Apply the theme now and whenever it changes; then call `changed`. */
export function followTheme(changed) {
  const body = parentBody();
  applyTheme(body);
  const apply = () => {
    applyTheme(body);
    changed();
  };
  if (body) new MutationObserver(apply).observe(body, {attributes: true, attributeFilter: ["class"]});
  else prefersDark.addEventListener("change", apply);
}

/** "light" or "dark". */
export function currentTheme() {
  return document.documentElement.dataset.theme;
}

/** The body of the page that this one is embedded in; null if there is none. */
function parentBody() {
  try {
    return window.parent === window ? null : window.parent.document.body;
  } catch {
    return null; // no access to the parent page
  }
}

function applyTheme(body) {
  const isDark = body ? body.classList.contains("dark-mode") : prefersDark.matches;
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
}
