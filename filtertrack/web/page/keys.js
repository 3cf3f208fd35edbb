// The keys of the page, which work wherever the keyboard's focus is.

/**
 * Call actions by key, unless the focus is where the key has another meaning.
 * @param {function(): object} actions returns for each key its action; keys of one letter are lower case
 */
export function listenToKeys(actions) {
  const handle = event => handleKey(event, actions());
  document.addEventListener("keydown", handle);
  // In TensorBoard the page is in a frame: keys reach it also before it is clicked.
  const parent = parentDocument();
  parent?.addEventListener("keydown", event => {
    const hasFocus = [parent.body, window.frameElement].includes(parent.activeElement);
    if (hasFocus && isVisible()) handle(event);
  });
  releaseSelects();
}

/** Give up the focus of a select after a choice with the pointer: arrow keys go through the steps again. */
function releaseSelects() {
  let isPointer = false;
  document.addEventListener("pointerdown", () => (isPointer = true), true);
  document.addEventListener("keydown", () => (isPointer = false), true);
  document.addEventListener("change", ({target}) => isPointer && target.matches("select") && target.blur());
}

/** Take the keyboard's focus now, and whenever TensorBoard shows the page again. */
export function takeFocusWhenShown() {
  takeFocus();
  const parent = parentDocument();
  if (!parent) return;
  // The page itself does not observe that its frame is hidden: nothing is drawn in it then.
  let wasShown = isVisible();
  const observer = new parent.defaultView.ResizeObserver(() => {
    const isShown = isVisible();
    if (isShown && !wasShown) takeFocus();
    wasShown = isShown;
  });
  observer.observe(window.frameElement);
}

/** Take the keyboard's focus, unless the user types elsewhere. */
function takeFocus() {
  const focused = parentDocument()?.activeElement;
  if (!focused?.matches("input, textarea, select, [contenteditable]")) window.focus();
}

function handleKey(event, actions) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const {target} = event;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isTyping = target.matches("select, input:not([type=range]):not([type=checkbox])");
  const usesSpace = target.matches("button, summary, input[type=checkbox], a");
  if (isTyping || !actions[key] || (usesSpace && key === " ")) return;
  event.preventDefault();
  actions[key](event);
}

/** Whether the frame of the page is shown: that of a tab that is not chosen has no height. */
function isVisible() {
  const {offsetWidth, offsetHeight} = window.frameElement;
  return offsetWidth > 0 && offsetHeight > 0;
}

/** The document that this page is embedded in; null if there is none, or it belongs to another site. */
function parentDocument() {
  try {
    return window.parent === window ? null : window.parent.document;
  } catch {
    return null;
  }
}
