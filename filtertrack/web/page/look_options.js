// What can be chosen of how a layer is looked at, and how the address says it.

const NATURAL = {
  layer: "", channels: "", scale: "frame", centred: false, delta: false, colormap: "gray", order: "stored", page: 0,
};
const SCALES = ["frame", "filter", "layer"];

/** What an address asks for, as far as it can be: {runs, look, step, filter}. */
export function readLook(said, {colormaps, orders}) {
  const look = {...NATURAL};
  for (const name of ["layer", "channels"]) if (said[name]) look[name] = said[name];
  for (const [name, known] of [["scale", SCALES], ["colormap", colormaps], ["order", orders]]) {
    if (known.includes(said[name])) look[name] = said[name];
  }
  for (const name of ["centred", "delta"]) look[name] = said[name] === "1";
  look.page = number(said.page) ?? 0;
  return {runs: names(said.runs), look, step: number(said.step), filter: number(said.filter)};
}

/** The same for the address: name to text, what goes without saying left out. */
export function sayLook(runs, look) {
  const own = Object.entries(look).filter(([name, value]) => value !== NATURAL[name]);
  return {runs: JSON.stringify(runs), ...Object.fromEntries(own.map(([name, value]) => [name, value === true ? 1 : value]))};
}

function number(text) {
  return /^\d{1,12}$/.test(text) ? Number(text) : null;
}

function names(text) {
  try {
    const found = JSON.parse(text ?? "[]");
    return Array.isArray(found) ? found.map(String) : [];
  } catch {
    return []; // a link that was cut off
  }
}

/** Whether a layer's channels can be drawn like that. */
export function hasChannels({kind, shape}, channels) {
  if (channels === "") return true;
  if (channels === "strongest") return kind === "colour";
  return kind !== "matrix" && shape[3] > 1 && /^\d{1,9}$/.test(channels) && Number(channels) < shape[3];
}
