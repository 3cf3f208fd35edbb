// Saves the grids as a PNG, with what they show above them and their scale bars below, and an
// animation that the server draws.

import {make, saveFile, useFontOf} from "./dom.js";
import {requestBlob} from "./requests.js";
import {currentTheme} from "./theme.js";

// CSS pixels.
const GAP = 16; // between grids
const BAR = 24; // height of a line of a legend below a grid
const MARGIN = 10; // around everything
const SQUARE = 12; // side of a colour in a legend
const SPACE = 6; // between the parts of a piece of a legend
const BETWEEN = 14; // between the pieces of a legend
const LINE = 19; // height of a line of text above a grid
const LEAST_TEXT = 300; // width of a line of text that may be longer, at least
const LONGEST_NAME = 120; // characters of a file's name without step and ending; systems allow 255 bytes
const MOST_FPS = 50; // image formats cannot show more snapshots a second

/** Save the grids as they are drawn, side by side; throws an error if one of them is not. */
export function savePicture(page) {
  const runs = page.visibleRuns();
  if (!runs.length || runs.some(run => run.parts.some(part => !run.snapshot(part)?.cells))) throw new Error("There is no picture to save at this step.");
  const [gap, bar, margin] = [GAP, BAR, MARGIN].map(side => Math.round(side * devicePixelRatio));
  const columns = runs.flatMap(run => page.views.get(run.name).grids.map((grid, n) => new Column(page.views.get(run.name), run, grid, n === 0)));
  const width = columns.reduce((sum, column) => sum + column.width, gap * (columns.length - 1));
  const largest = name => Math.max(...columns.map(column => column[name]));
  const top = margin + largest("headHeight");
  const canvas = make("canvas", {width: width + 2 * margin, height: top + largest("gridHeight") + largest("legendLines") * bar + margin});
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  let left = margin;
  for (const column of columns) {
    column.drawInto(context, left, top, margin, bar);
    left += column.width + gap;
  }
  const name = `${fileName(page, runs)}-step-${page.step()}.png`;
  canvas.toBlob(blob => saveFile(blob, name), "image/png");
}

/** One grid in a saved picture, with the texts above it and the scale bars below it. */
class Column {
  /**
   * @param {RunView} view of the run
   * @param {RunData} run
   * @param {GridView} grid
   * @param {boolean} isFirst whether it is the run's first grid: what the run shows is above it
   */
  constructor(view, run, grid, isFirst) {
    Object.assign(this, {view, grid});
    this.probe = isFirst && run.responses ? view.probes.picture : null;
    const inset = this.probe ? this.probe.width + MARGIN * devicePixelRatio : 0;
    this.inset = inset;
    const context = make("canvas").getContext("2d");
    useFontOf(view.element, context);
    const most = Math.max(grid.canvas.width, LEAST_TEXT * devicePixelRatio) - inset;
    const texts = isFirst ? describeRun(view, run) : [];
    this.lines = texts.flatMap(text => wrap(context, text, most));
    this.title = grid.title.hidden ? [] : wrap(context, grid.title.textContent, most + inset);
    const width = Math.max(0, ...this.lines.map(line => inset + context.measureText(line).width), ...this.title.map(line => context.measureText(line).width));
    this.line = Math.round(LINE * devicePixelRatio);
    this.textHeight = Math.max(this.lines.length * this.line, this.probe ? this.probe.height + MARGIN * devicePixelRatio : 0);
    this.headHeight = Math.ceil(this.textHeight + this.title.length * this.line);
    this.gridHeight = grid.canvas.height;
    const legendWidth = Math.max(grid.canvas.width, LEAST_TEXT * devicePixelRatio);
    this.legends = grid.legends.map(legend => new Legend(legend, legendWidth));
    this.legendLines = this.legends.reduce((sum, {lines}) => sum + lines.length, 0);
    this.width = Math.ceil(Math.max(grid.canvas.width, width, ...this.legends.map(each => each.width)));
  }

  /** Draw the column, the grid's upper left corner at (left, top). */
  drawInto(context, left, top, margin, bar) {
    useFontOf(this.view.element, context);
    if (this.probe) context.drawImage(this.probe, left, margin);
    this.lines.forEach((line, n) => context.fillText(line, left + this.inset, margin + (n + 0.5) * this.line));
    this.title.forEach((line, n) => context.fillText(line, left, top + (n - this.title.length + 0.5) * this.line));
    context.drawImage(this.grid.canvas, left, top);
    this.drawHeadings(context, left, top);
    let below = top + this.grid.canvas.height;
    for (const legend of this.legends) {
      legend.drawInto(context, left, below, bar);
      below += legend.lines.length * bar;
    }
  }

  /** Draw the headings of groups over the grid. */
  drawHeadings(context, left, top) {
    const {grid: {headings, layout}} = this;
    [...headings.children].forEach((heading, group) => {
      const [start, height] = layout.heading(group);
      useFontOf(heading, context);
      context.fillText(heading.textContent, left, top + start + height / 2);
    });
  }
}

/**
 * A legend in lines of at most a width. Its pieces are not broken: each is a list of {text}, {colour}
 * and {image, width, height}, or a text that is broken between words.
 */
class Legend {
  constructor({element, pieces}, most) {
    this.element = element;
    const context = make("canvas").getContext("2d");
    useFontOf(element, context);
    const pixels = side => side * devicePixelRatio;
    const space = context.measureText(" ").width;
    const widthOf = ({text, width = SQUARE}) => (text === undefined ? pixels(width) : context.measureText(text).width);
    const words = piece => piece.split(" ").map((text, n) => ({parts: [{text}], gap: n ? space : pixels(BETWEEN)}));
    this.lines = []; // of {part, left}
    this.width = 0;
    let right = Infinity; // of the last line
    for (const {parts, gap} of pieces.flatMap(piece => (typeof piece === "string" ? words(piece) : {parts: piece, gap: pixels(BETWEEN)}))) {
      const gaps = parts.map(({isJoined}, n) => (n && !isJoined ? pixels(SPACE) : 0));
      const width = parts.reduce((sum, part, n) => sum + gaps[n] + widthOf(part), 0);
      const isNew = right + gap + width > most;
      if (isNew) this.lines.push([]);
      let left = isNew ? 0 : right + gap;
      parts.forEach((part, n) => {
        this.lines.at(-1).push({part, left: left + gaps[n]});
        left += gaps[n] + widthOf(part);
      });
      right = left;
      this.width = Math.max(this.width, right);
    }
  }

  /** Draw the lines, each of a height, from an upper left corner on. */
  drawInto(context, left, top, height) {
    useFontOf(this.element, context);
    const {fillStyle} = context;
    context.imageSmoothingEnabled = false;
    this.lines.forEach((line, row) => {
      const middle = top + (row + 0.5) * height;
      for (const {part, left: inset} of line) this.drawPart(context, part, left + inset, middle, fillStyle);
    });
  }

  drawPart(context, {text, colour, image, width = SQUARE, height = SQUARE}, left, middle, textColour) {
    if (text !== undefined) return context.fillText(text, left, middle);
    const [wide, high] = [width, height].map(side => side * devicePixelRatio);
    if (image) return context.drawImage(image, left, middle - high / 2, wide, high);
    context.fillStyle = colour;
    context.fillRect(left, middle - high / 2, wide, high);
    context.fillStyle = textColour;
  }
}

/** What a run shows: its name and layer, the moment, the probe, and what is read. */
function describeRun(view, run) {
  const shown = elements => elements.filter(each => !each.closest("[hidden]")).map(each => each.textContent);
  const {picture, reading, silent, absence} = view.probes;
  const probe = run.responses ? [picture.getAttribute("aria-label")] : [];
  const step = `step ${run.stepShown()}`;
  const moment = view.moment.textContent;
  return [
    [run.name, run.layer.name, ...shown([view.cells])].join(" · "), moment.startsWith(step) ? moment : `${step} · ${moment}`,
    ...probe, ...shown([reading, silent, absence, view.note]),
  ].filter(Boolean);
}

/** Break a text into lines of at most a width, between words. */
function wrap(context, text, most) {
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && context.measureText(longer).width <= most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** Save an animation of all steps, of the first two runs at most. */
export async function saveAnimation(page, ending) {
  const [first, second] = page.visibleRuns();
  if (!first) throw new Error("There is nothing to draw.");
  const {channels, scale, zero_centred, delta, colormap, order, outline, one_scale} = page.look;
  const {numbers} = first;
  const isWhole = numbers.length === first.layer.shape[0];
  const isStored = isWhole && numbers.every((number, n) => number === n);
  // Of two runs each has its own order; of one, it is as it was when it was chosen.
  const chosen = second && isWhole ? {order} : {filters: isStored ? null : numbers.join(",")};
  const animation = await requestBlob("animation", {
    run: first.name, compare: second?.name, layer: first.layer.name, ending, channels, scale,
    zero_centred: zero_centred ? 1 : null, delta, one_scale: second && one_scale ? 1 : null,
    colormap: first.kind === "colour" ? null : colormap, // it has colours of its own
    outline: outline && !first.isMatrix ? 1 : null,
    ...chosen, fps: Math.min(MOST_FPS, page.clock.speed), theme: currentTheme(),
  });
  saveFile(animation, fileName(page, second ? [first, second] : [first]) + ending);
}

/** The name of a file of runs, without its ending, in characters that every system allows: "demo-conv1". */
function fileName(page, runs) {
  const names = [...runs.map(({name}) => name), page.look.layer].map(name => name.replace(/[^\p{L}\p{N}._-]+/gu, "_").replace(/^[._]+/, ""));
  return names.filter(Boolean).join("-").slice(0, LONGEST_NAME);
}
