// Helpers that create and change elements. Every text is inserted as text, never as markup.

const READABLE = ["title", "aria-label"]; // attributes that are shown or read aloud

/** Replace characters that change a text's direction or break its line: names come from files. */
export function printable(text) {
  return String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}

/** Set an element's text, if it changes. */
export function setText(element, text) {
  const safe = printable(text);
  if (element.textContent !== safe) element.textContent = safe;
}

/** Make an element: make("button", {type: "button", "aria-label": "play"}, "▶"). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, READABLE.includes(name) ? printable(value) : value);
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

/** A labelled select; entries are [value, text]. */
export function makeSelect(label, entries, value, changed) {
  const select = make("select", {"aria-label": label, onchange: () => changed(select.value)});
  setEntries(select, entries, value);
  return make("label", {}, make("span", {}, label), select);
}

/** Replace the entries of a select. */
export function setEntries(select, entries, value) {
  select.replaceChildren(...entries.map(([each, text]) => make("option", {value: each}, text)));
  select.value = value;
}

/** A labelled checkbox. */
export function makeCheckbox(label, checked, changed) {
  const box = make("input", {type: "checkbox", onchange: () => changed(box.checked)});
  box.checked = checked;
  return make("label", {class: "toggle"}, box, make("span", {}, label));
}

export function makeButton(label, content, pressed) {
  // A mouse click does not move the keyboard focus: the space bar still plays.
  return make("button", {type: "button", "aria-label": label, title: label, onclick: pressed,
                         onmousedown: event => event.preventDefault()}, content);
}

const ICON_PATHS = {
  first: "M3 3h2v10H3zM13 3v10L6 8z", back: "M11 3v10L4 8z", play: "M4 2.5v11L13 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z", forward: "M5 3v10l7-5z", last: "M11 3h2v10h-2zM3 3v10l7-5z",
  loop: "M4 4h6V2l4 3-4 3V6H5v2H3V5zM12 12H6v2l-4-3 4-3v2h5V8h2v3z",
  menu: "M2 3h12v2H2zM2 7h12v2H2zM2 11h12v2H2z",
  close: "M4 3l4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4-4-4z",
};

/** An icon in the colour of the text; as SVG it needs no font. */
export function makeIcon(name) {
  return makeSvg("svg", {viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true"}, makeSvg("path", {d: ICON_PATHS[name]}));
}

/** Draw texts with the font and the colour of an element, their middle on the line that is given. */
export function useFontOf(element, context) {
  // The property `font` is empty where there is no short form of it, as with tabular numbers.
  const {fontStyle, fontWeight, fontSize, fontFamily, color} = getComputedStyle(element);
  const font = `${fontStyle} ${fontWeight} ${parseFloat(fontSize) * devicePixelRatio}px ${fontFamily}`;
  Object.assign(context, {font, fillStyle: color, textBaseline: "middle"});
}

/** Let the browser save a file. */
export function saveFile(blob, name) {
  const link = make("a", {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Format a number in about five characters. */
export function formatNumber(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = value && (size < 1e-3 || size >= 1e4) ? value.toExponential(1) : value.toFixed(size < 10 ? 3 : 1);
  return text.replaceAll("-", "−"); // of the number, and of its exponent
}

/** Format a number with up to five digits. */
export function formatExactly(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(5))).replaceAll("-", "−") : formatNumber(value);
}
