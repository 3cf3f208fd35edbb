// The options of how a layer is drawn: defaults and choices come from the server's settings.

const OPTIONS = ["channels", "scale", "zero_centred", "delta", "colormap", "order"]; // those with a control

/**
 * The look before anything is chosen: a value for each option, the layer and its page, and whether
 * all runs have one scale, and whether responses are shown, and to which probe. An empty text is what
 * suits the layer.
 */
export function defaultLook(options) {
  const defaults = OPTIONS.map(name => [name, options[name].default ?? ""]);
  return {layer: "", page: 0, one_scale: false, responses: false, probe: 0, ...Object.fromEntries(defaults)};
}

/** Convert the text of an option, as in a URL; undefined if it is not one of its values. */
export function parseOption(options, name, text) {
  if (["one_scale", "responses"].includes(name)) return text === "1";
  if (name === "delta") return ["0", "1"].includes(text) ? text : undefined;
  const {choices, default: usual} = options[name];
  if (typeof usual === "boolean") return text === "1";
  return !choices.length || choices.includes(text) ? text : undefined;
}

/** Whether a layer can be drawn with these channels; an HTML file holds only some of the choices. */
export function hasChannels({kind, shape, channels: choices}, channels) {
  if (channels === "") return true;
  if (choices && !choices.includes(channels)) return false;
  if (channels === "strongest") return kind === "colour" || kind === "heat map";
  return kind !== "matrix" && shape[3] > 1 && /^\d{1,9}$/.test(channels) && Number(channels) < shape[3];
}
