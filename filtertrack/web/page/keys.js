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
    if (hasFocus && isShown()) handle(event);
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
  let wasShown = isShown();
  const observer = new parent.defaultView.ResizeObserver(() => {
    const isShownNow = isShown();
    if (isShownNow && !wasShown) takeFocus();
    wasShown = isShownNow;
  });
  observer.observe(window.frameElement);
}

/** Take the keyboard's focus, unless the user types elsewhere, as in a notebook around the page. */
function takeFocus() {
  const parent = parentDocument();
  if (!parent && window.parent !== window) return;
  const focused = parent?.activeElement;
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

/** Whether the page is shown: the frame of a tab that is not chosen in TensorBoard has no height. */
export function isShown() {
  const frame = parentDocument() && window.frameElement;
  return !frame || (frame.offsetWidth > 0 && frame.offsetHeight > 0);
}

/** The document that this page is embedded in; null if there is none, or it belongs to another site. */
function parentDocument() {
  try {
    return window.parent === window ? null : window.parent.document;
  } catch {
    return null;
  }
}
