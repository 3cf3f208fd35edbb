// What is said about a grid: its title, and the scale bar below it, in the renderer's words
// (layer_look.py).

import {formatNumber, make, setText, useFontOf} from "./dom.js";

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

/** What a cell of a run's layer shows; empty for plain weights. */
export function describeCells({kind, layer}, channels) {
  const [, , , count] = layer.shape;
  const counted = count === 1 ? "1 channel" : `${count} channels`;
  if (kind === "pattern") return `strongest pattern of ${counted}`;
  if (kind === "heat map") return `down: ${counted}; across: positions`;
  return /^\d+$/.test(channels) ? `channel ${channels}` : "";
}

/** The scale of a part of a run's layer: the texts of its scale bar, and which weights share it. */
export function describeScale(run, part, look, range) {
  const grey = run.cellShape.channels > 1 && part.isLearned ? "grey: no change · " : "";
  return {texts: barTexts(run, part, look, range), note: run.isMatrix ? "" : grey + SCALES[look.scale]};
}

/** The scale of maps, which are from zero up or have zero in the middle. */
export function describeMapScale(isRectified, scale, {high}) {
  const largest = scale === "layer" ? formatNumber(high[0]) : null;
  const texts = isRectified ? ["0", "", largest ?? "highest"]
    : largest ? [`−${largest}`, "0", `+${largest}`] : ["negative", "0", "positive"];
  return {texts, note: MAP_SCALES[scale]};
}

/** The low, the middle and the high text of a scale bar; null where a weight has several values. */
function barTexts(run, {isLearned}, {scale, zero_centred}, {low, high}) {
  if (run.cellShape.channels > 1) return null;
  const isCentred = zero_centred || isLearned;
  const isShared = scale === "layer" || (low.length === 1 && scale !== "frame");
  if (isShared && Number.isFinite(high[0])) {
    return [formatNumber(low[0]), isCentred ? "0" : "", (isCentred ? "+" : "") + formatNumber(high[0])];
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
    this.note = make("span", {class: "note-of-scale"});
    this.element = make("div", {class: "scale"}, this.bar, this.note);
  }

  /** Whether nothing is drawn with the scale: its place is kept. */
  get isEmpty() {
    return this.element.classList.contains("empty");
  }

  set isEmpty(isEmpty) {
    this.element.classList.toggle("empty", isEmpty);
  }

  /** Show a scale: see `describeScale`. */
  show({texts, note}, colours) {
    this.bar.hidden = !texts;
    this.texts.forEach((each, n) => setText(each, texts?.[n] ?? ""));
    setText(this.note, note);
    if (colours !== this.colours) this.drawBar(colours);
    this.colours = colours;
  }

  /** The width of what `drawInto` draws, in pixels. */
  get widthOfDrawing() {
    return this.drawInto(make("canvas").getContext("2d"), 0, 0);
  }

  /** Draw the scale bar into a picture, from a left end on, around a line; returns its right end. */
  drawInto(context, left, middle) {
    const pixels = this.halves[0].clientWidth * devicePixelRatio;
    const space = 6 * devicePixelRatio;
    useFontOf(this.element, context);
    context.imageSmoothingEnabled = false;
    for (const each of [...(this.bar.hidden ? [] : this.bar.children), this.note]) {
      const isBar = this.halves.includes(each);
      if (each === this.note && !this.bar.hidden) left += space;
      if (isBar) context.drawImage(each, left, middle - space, pixels, 2 * space);
      else context.fillText(each.textContent, left, middle);
      const width = isBar ? pixels : context.measureText(each.textContent).width;
      left += width && width + (each === this.halves[0] && !this.texts[1].textContent ? 0 : space);
    }
    return left;
  }

  drawBar({levels}) {
    const middle = Math.ceil(levels.length / 2);
    [levels.subarray(0, middle), levels.subarray(middle)].forEach((half, n) => {
      const canvas = this.halves[n];
      [canvas.width, canvas.height] = [half.length, 1];
      const pixels = new Uint8ClampedArray(half.buffer, half.byteOffset, half.byteLength);
      canvas.getContext("2d").putImageData(new ImageData(pixels, half.length, 1), 0, 0);
    });
  }
}
