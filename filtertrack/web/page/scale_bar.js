// The words about a grid: what its cells are, its title, and the scale bar below it, in the renderer's
// words (layer_look.py).

import {cssColour} from "./cell_pixels.js";
import {formatNumber, make, setText} from "./dom.js";

const BAR_HEIGHT = 12; // CSS pixels
const UNKNOWN = "…"; // a number of a scale that is not loaded

const SCALES = {
  frame: "each filter has its own scale at each step",
  filter: "each filter has its own fixed scale",
  layer: "all filters have one fixed scale",
};

const MAP_SCALES = {
  frame: "maps: each has its own scale at each step",
  filter: "maps: all of a filter have one fixed scale",
  layer: "maps: all have one fixed scale",
};

/** What a part of a layer shows. */
export function describePart(part, {noticeable}) {
  if (!part.isLearned) return "filters";
  return part.isUnchanged ? `learned: nothing (all changes are below ${(100 * noticeable).toFixed(1)}%)` : `learned: difference from ${describeStart(part.cache.start?.moment)}`;
}

/** What differences are taken from: only a run that begins with step 0 has the start of training. */
function describeStart(moment) {
  if (!moment?.step) return "the start";
  return moment.step === moment.epoch ? `epoch ${moment.epoch}` : `step ${moment.step}`;
}

/** What the cells of a run's layer are: how many filters of which size, and what is drawn of them. */
export function describeCells({kind, layer, numbers, isMatrix}, channels) {
  const {shape: [filters, height, width, count], slices} = layer;
  if (isMatrix) return `1×1 kernel: input channels down, filters across`;
  const size = [...(slices > 1 ? [slices] : []), height, width / slices].join("×");
  const counted = count === 1 ? "1 channel" : `${count} channels`;
  const shown = numbers.length < filters ? `${numbers.length} of ${filters} filters` : filters === 1 ? "1 filter" : `${filters} filters`;
  const what = {
    colour: "in red, green, blue", pattern: `strongest pattern of ${counted}`, "heat map": `down: ${counted}; across: positions`,
    grey: /^\d+$/.test(channels) ? `channel ${channels}` : "",
  }[kind];
  return [`${shown} of ${kind === "heat map" ? width : size}`, what].filter(Boolean).join(" · ");
}

/**
 * The scale of a part of a run's layer: the texts of its scale bar, and which weights share it.
 * @param {RunData} run
 * @param {FilterCells|LearnedCells} part
 * @param {object} look with the scale that is used
 * @param {number} runs that are compared
 */
export function describeScale(run, part, look, runs) {
  const isColour = run.cellShape.channels > 1;
  const notes = [
    isColour && (part.isLearned ? "colours are the changes of the filter's red, green and blue" : "colours are the filter's own red, green and blue"),
    isColour && part.isLearned && "grey: no change",
    !run.isMatrix && SCALES[look.scale],
    runs > 1 && describeComparison(look),
  ];
  return {texts: barTexts(run, part, look), note: notes.filter(Boolean).join(" · ")};
}

/** The scale of maps, which are from zero up or have zero in the middle. */
export function describeMapScale({layer: {rectified}, range}, look, runs) {
  const largest = look.scale !== "layer" ? null : range ? formatNumber(range.high[0]) : UNKNOWN;
  const texts = rectified ? ["0", "", largest ?? "highest"]
    : largest ? [`−${largest}`, "0", `+${largest}`] : ["negative", "0", "positive"];
  return {texts, note: [MAP_SCALES[look.scale], ...(runs > 1 ? [describeComparison(look)] : [])].join(" · ")};
}

function describeComparison({one_scale}) {
  return one_scale ? "all runs on one scale" : "each run on its own scale";
}

/** The low, the middle and the high text of a scale bar; null where a weight has several values. */
function barTexts(run, {isLearned, range}, {scale, zero_centred}) {
  if (run.cellShape.channels > 1) return null;
  const isCentred = zero_centred || isLearned;
  const isAlone = run.isMatrix || run.numbers.length === 1;
  if (scale === "layer" || (isAlone && scale !== "frame")) {
    if (!range) return [UNKNOWN, isCentred ? "0" : "", UNKNOWN];
    if (Number.isFinite(range.high[0])) return [formatNumber(range.low[0]), isCentred ? "0" : "", (isCentred ? "+" : "") + formatNumber(range.high[0])];
  }
  if (isLearned) return ["decreased", "0", "increased"];
  return isCentred ? ["negative", "0", "positive"] : ["lowest", "", "highest"];
}

export class ScaleBar {
  constructor() {
    this.texts = ["low", "zero", "high"].map(name => make("span", {class: name}));
    this.halves = [0, 1].map(() => make("canvas", {"aria-hidden": "true"}));
    const [low, zero, high] = this.texts;
    this.bar = make("span", {class: "bar"}, low, this.halves[0], zero, this.halves[1], high);
    this.square = make("span", {class: "square", "aria-hidden": "true"});
    this.notFinite = make("span", {class: "not-finite", hidden: true}, this.square, "NaN or infinity");
    this.note = make("span", {class: "note-of-scale"});
    this.element = make("div", {class: "scale"}, this.bar, this.notFinite, this.note);
  }

  /** Whether nothing is drawn with the scale: its place is kept. */
  get isEmpty() {
    return this.element.classList.contains("empty");
  }

  set isEmpty(isEmpty) {
    this.element.classList.toggle("empty", isEmpty);
  }

  /**
   * Show a scale: see `describeScale`.
   * @param {GridColours} colours
   * @param {boolean} isFinite whether all values that are drawn are finite
   */
  show({texts, note}, colours, isFinite = true) {
    this.bar.hidden = !texts;
    this.notFinite.hidden = isFinite;
    this.texts.forEach((each, n) => setText(each, texts?.[n] ?? ""));
    setText(this.note, note);
    if (colours !== this.colours) this.drawColours(colours);
    this.colours = colours;
  }

  /** The legend as a saved picture draws it: see save_files.js. */
  get pieces() {
    const [low, zero, high] = this.texts.map(({textContent}) => ({text: textContent}));
    const [left, right] = this.halves.map(image => ({image, width: image.clientWidth, height: BAR_HEIGHT}));
    const bar = zero.text ? [low, left, zero, right, high] : [low, left, {...right, isJoined: true}, high];
    return [
      ...(this.bar.hidden ? [] : [bar]),
      ...(this.notFinite.hidden ? [] : [[{colour: this.square.style.background}, {text: this.notFinite.textContent}]]),
      this.note.textContent,
    ];
  }

  drawColours({levels, notFinite}) {
    const middle = Math.ceil(levels.length / 2);
    [levels.subarray(0, middle), levels.subarray(middle)].forEach((half, n) => {
      const canvas = this.halves[n];
      [canvas.width, canvas.height] = [half.length, 1];
      const pixels = new Uint8ClampedArray(half.buffer, half.byteOffset, half.byteLength);
      canvas.getContext("2d").putImageData(new ImageData(pixels, half.length, 1), 0, 0);
    });
    this.square.style.background = cssColour(notFinite);
  }
}
