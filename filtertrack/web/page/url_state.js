// The state of the page in the browser's URL: runs, layer, look, step, filter and metric. It survives a
// reload, and can be sent as a link. TensorBoard reserves "p.<plugin>.<key>" in the hash for plugins.

import {defaultLook, parseOption} from "./look_options.js";

const PREFIX = "p.filtertrack.";
const WRITE_DELAY = 400; // milliseconds: browsers refuse more than about a hundred changes a minute

/** Read the state {runs, look, step, filter, metric}; invalid values become the defaults, or null. */
export function readUrlState({look: options}) {
  const texts = readTexts();
  const look = defaultLook(options);
  texts.zero_centred ??= texts.centred; // in links of earlier versions
  for (const name of Object.keys(look)) {
    if (texts[name] === undefined || ["layer", "page", "probe"].includes(name)) continue;
    look[name] = parseOption(options, name, texts[name]) ?? look[name];
  }
  look.layer = texts.layer ?? "";
  look.page = parseNumber(texts.page) ?? 0;
  look.probe = parseNumber(texts.probe) ?? 0;
  return {runs: parseNames(texts.runs), look, step: parseNumber(texts.step), filter: parseNumber(texts.filter), metric: texts.metric ?? ""};
}

let pending = null;

/** Write the state after a short delay; defaults and empty values are left out. */
export function writeUrlState({look: options}, {runs, look, step, filter, metric}) {
  const defaults = defaultLook(options);
  const changed = Object.entries(look).filter(([name, value]) => value !== defaults[name]);
  const texts = Object.fromEntries(changed.map(([name, value]) => [name, value === true ? 1 : value]));
  const isScheduled = pending !== null;
  pending = {runs: JSON.stringify(runs), ...texts, step, filter, metric};
  if (!isScheduled) setTimeout(writeTexts, WRITE_DELAY);
}

/** The parts of the parent page's hash. */
function hashParts() {
  return window.parent.location.hash.replace(/^#/, "").split("&").filter(Boolean);
}

function readTexts() {
  try {
    const own = hashParts().filter(part => part.startsWith(PREFIX));
    return Object.fromEntries(own.map(part => {
      const [name, value = ""] = part.slice(PREFIX.length).split("=");
      return [name, decodeURIComponent(value)];
    }));
  } catch {
    return {}; // no access to the parent page, or a truncated URL
  }
}

function writeTexts() {
  const texts = pending;
  pending = null;
  try {
    const others = hashParts().filter(part => !part.startsWith(PREFIX));
    if (others.length && others[0] !== "filtertrack") return; // another tab is selected now
    const own = Object.entries(texts)
      .filter(([, value]) => value !== "" && value !== null)
      .map(([name, value]) => `${PREFIX}${name}=${encodeURIComponent(value)}`);
    const hash = "#" + [...(others.length ? others : ["filtertrack"]), ...own].join("&");
    if (hash !== window.parent.location.hash) window.parent.history.replaceState(window.parent.history.state, "", hash);
  } catch {
    // No access to the parent page: the URL stays as it is.
  }
}

function parseNumber(text) {
  return /^\d{1,12}$/.test(text) ? Number(text) : null;
}

function parseNames(text) {
  try {
    const names = JSON.parse(text ?? "[]");
    return Array.isArray(names) ? names.map(String) : [];
  } catch {
    return []; // a truncated URL
  }
}
