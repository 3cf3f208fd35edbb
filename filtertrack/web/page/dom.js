// Building the page: every text goes in as text, never as markup.

const SHOWN = ["title", "aria-label"]; // attributes that people read or hear

/** A text without what would change its direction or its line: names come from files. */
export function printable(text) {
  return String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}

/** Put a text into an element, unless it is there. */
export function write(element, text) {
  const shown = printable(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Make an element: make("button", {type: "button", "aria-label": "play"}, "▶"). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, SHOWN.includes(name) ? printable(value) : value);
  }
  element.append(...children.filter(child => child !== null).map(child => (typeof child === "string" ? printable(child) : child)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function makeSvg(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A labelled choice: entries are [value, text]. */
export function choice(label, entries, value, chosen) {
  const select = make("select", {"aria-label": label, onchange: () => chosen(select.value)});
  fill(select, entries, value);
  return make("label", {}, make("span", {}, label), select);
}

export function fill(select, entries, value) {
  select.replaceChildren(...entries.map(([each, text]) => make("option", {value: each}, text)));
  select.value = value;
}

export function toggle(label, on, changed) {
  const box = make("input", {type: "checkbox", onchange: () => changed(box.checked)});
  box.checked = on;
  return make("label", {class: "toggle"}, box, make("span", {}, label));
}

export function button(label, text, pressed) {
  // A click with the mouse leaves the keyboard where it is: space still plays.
  return make("button", {type: "button", "aria-label": label, title: label, onclick: pressed,
                         onmousedown: event => event.preventDefault()}, text);
}

/** What lies below its summary until something else is clicked or reached by the tab key. */
export function dropDown(name, summary, content) {
  content.classList.add("drop");
  const details = make("details", {class: name}, summary, content);
  const fold = () => (details.open = false);
  details.addEventListener("keydown", event => {
    if (event.key !== "Escape" || !details.open) return;
    fold();
    summary.focus();
    event.stopPropagation();
  });
  details.addEventListener("focusout", ({relatedTarget}) => relatedTarget && !details.contains(relatedTarget) && fold());
  document.addEventListener("pointerdown", ({target}) => details.contains(target) || fold());
  return details;
}

const SHAPES = {
  first: "M3 3h2v10H3zM13 3v10L6 8z", back: "M11 3v10L4 8z", play: "M4 2.5v11L13 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z", on: "M5 3v10l7-5z", last: "M11 3h2v10h-2zM3 3v10l7-5z",
  close: "M4 3l4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4-4-4z",
};

/** A small picture for a button, in the colour of its text: no font has to have it. */
export function icon(name) {
  return makeSvg("svg", {viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true"}, makeSvg("path", {d: SHAPES[name]}));
}

/** Offer a file to be saved. */
export function save(blob, name) {
  const link = make("a", {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A number in about five characters. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = value && (size < 1e-3 || size >= 1e4) ? value.toExponential(1) : value.toFixed(size < 10 ? 3 : 1);
  return text.replace("-", "−");
}
