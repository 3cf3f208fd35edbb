// The view of one filter: its weights enlarged, its history, its measures and its label.

import {formatNumber, make, makeButton, makeIcon, makeSvg, printable, setText} from "./dom.js";
import {GridLayout} from "./grid_layout.js";
import {CellPainter} from "./cell_pixels.js";
import {FilterResponses} from "./filter_responses.js";
import {requestJson} from "./requests.js";

const LARGE = 264; // CSS pixels of the enlarged filter
const SMALL = 52; // CSS pixels of a history picture
const MOST_HISTORY = 12; // history pictures
const LABEL_DELAY = 250; // milliseconds at a step before its label is requested
const CHANNELS = ["red", "green", "blue"];
const TEMPLATES = {gabor: "edge", blob: "blob", grating: "fine grating"};
const FEWEST_PIXELS = 25; // from which on a filter can be called unstructured: see labels.py
const CURVES = [
  ["norm", "length"],
  ["drift", "drift from the start"],
  ["roughness", "roughness (1 is noise)"],
];

export class FilterView {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.number = null;
    this.blocks = [];
    this.title = make("h2", {tabindex: "-1"});
    this.runs = make("div", {class: "blocks"});
    const close = makeButton("Close", makeIcon("close"), () => page.openFilter(null));
    this.element = make("section", {class: "filter", "aria-label": "One filter", hidden: true},
                        make("header", {}, this.title, close), this.runs);
  }

  /** Show a filter of every run; null hides the view. A filter that is open already stays open. */
  open(number) {
    const runs = this.page.visibleRuns();
    const isSame = number === this.number && runs.every((run, n) => run === this.blocks[n]?.run && run.selection === this.blocks[n].selection);
    if (isSame && runs.length === this.blocks.length) return this.refresh();
    this.number = number;
    this.element.hidden = number === null;
    for (const block of this.blocks) block.close();
    this.blocks = [];
    if (number !== null) {
      setText(this.title, `Filter ${number}`);
      this.blocks = runs.map(run => new (run.numbers.includes(number) ? FilterBlock : AbsentBlock)(run, this.page, number));
    }
    this.runs.replaceChildren(...this.blocks.map(block => block.element));
  }

  /** The caches of the responses of the filter. */
  get caches() {
    return this.blocks.map(block => block.responses?.cache).filter(Boolean);
  }

  /** Draw what depends on the step. */
  draw() {
    for (const block of this.blocks) if (block.run.parts.length) block.draw();
  }

  /** Draw what depends on the snapshots that are loaded, and on the look. */
  refresh() {
    for (const block of this.blocks) if (block.run.parts.length) block.refresh();
  }
}

/** A run whose order puts the filter on another page. */
class AbsentBlock {
  constructor(run, page, number) {
    Object.assign(this, {run, selection: run.selection});
    this.element = make("div", {class: "block"}, make("h3", {}, run.name),
      make("p", {}, `Filter ${number} is on another page of this run's order.`));
  }

  draw() {}

  refresh() {}

  close() {}
}

/** One filter of one run: of the first part that is shown. */
class FilterBlock {
  constructor(run, page, number) {
    Object.assign(this, {run, page, number, selection: run.selection});
    this.canvas = make("canvas", {tabindex: "0", role: "img", onmousemove: event => this.readAtMouse(event),
                                  onmouseleave: () => this.showWeight(null), onkeydown: event => this.readWithKeys(event)});
    this.painter = new CellPainter(this.canvas);
    this.readout = make("p", {class: "readout"});
    this.label = make("p", {class: "label"});
    this.table = make("div", {class: "weights"});
    this.details = make("details", {ontoggle: () => this.fillTable()}, make("summary", {}, "Weights as a table"), this.table);
    this.history = make("div", {class: "history", role: "group", "aria-label": "History"});
    this.curves = CURVES.map(([name, text]) => new Curve(name, text));
    const probed = run.probedLayer(run.layer.name);
    this.responses = probed ? new FilterResponses(run, probed, page, number) : null;
    this.element = make("div", {class: "block"},
      make("h3", {hidden: page.visibleRuns().length < 2}, run.name), this.canvas, this.readout, this.label,
      this.responses?.element ?? null, make("h3", {}, "Over training"), this.history,
      make("div", {class: "curves"}, ...this.curves.map(curve => curve.element)), this.details);
    this.weight = null; // [row, column] that is read out
    this.measuredVersion = "";
    this.refresh();
  }

  /** The index of the filter's cell in the snapshots. */
  get cell() {
    return this.run.cellIndex(this.number);
  }

  get part() {
    return this.run.parts[0];
  }

  draw() {
    const snapshot = this.snapshot = this.run.snapshot(this.part);
    const step = this.run.stepShown();
    this.element.classList.toggle("damaged", !snapshot?.cells);
    if (snapshot?.cells) {
      drawFilter(this.painter, LARGE, this.run, snapshot, this.part.range, this.cell, this.page.coloursOf(this.part));
      this.canvas.setAttribute("aria-label", printable(`Filter ${this.number} of ${this.run.name} at step ${step}. Arrow keys read its weights.`));
    }
    const nearest = this.nearestInHistory(step);
    for (const each of this.history.children) each.setAttribute("aria-current", String(Number(each.dataset.step) === nearest));
    for (const curve of this.curves) curve.mark(step);
    this.showWeight(this.weight);
    if (this.details.open) this.fillTable();
    if (snapshot?.cells) this.requestLabel(step);
    this.responses?.draw();
  }

  close() {
    this.responses?.close();
  }

  nearestInHistory(step) {
    const steps = [...this.history.children].map(each => Number(each.dataset.step));
    return steps.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best), Infinity);
  }

  refresh() {
    const {cache} = this.part;
    const {steps} = cache;
    const count = Math.min(MOST_HISTORY, steps.length);
    const chosen = Array.from({length: count}, (_, n) => steps[Math.round((n * (steps.length - 1)) / Math.max(1, count - 1))]);
    const key = JSON.stringify([chosen, chosen.map(step => this.part.isLoaded(step)), this.page.lookKey()]);
    if (key !== this.historyKey) this.history.replaceChildren(...chosen.map(step => this.makeHistoryPicture(step, this.part.at(step))));
    this.historyKey = key;
    this.requestCurves();
  }

  makeHistoryPicture(step, snapshot) {
    const canvas = make("canvas", {"aria-hidden": "true"});
    if (snapshot?.cells) {
      const isOwn = this.page.scale === "frame" || !this.part.range; // else the range is of the whole run
      const range = isOwn ? this.part.valueRange(snapshot, this.page.drawnLook) : this.part.range;
      drawFilter(new CellPainter(canvas), SMALL, this.run, snapshot, range, this.cell, this.page.coloursOf(this.part));
    } else canvas.width = canvas.height = SMALL;
    const picture = makeButton(`go to step ${step}`, "", () => this.page.goToStep(step));
    picture.dataset.step = step;
    picture.append(canvas, make("span", {}, String(step)));
    return picture;
  }

  async requestCurves() {
    const {version, name, layer} = this.run;
    if (version === this.measuredVersion || this.isMeasuring) return;
    this.isMeasuring = true;
    try {
      const trajectory = await requestJson("trajectory", {run: name, layer: layer.name, filter: this.number, version});
      this.measuredVersion = version;
      for (const curve of this.curves) curve.draw(trajectory);
      for (const curve of this.curves) curve.mark(this.run.stepShown());
      this.page.notices.show("curves", "");
    } catch (error) {
      this.page.notices.show("curves", error.message);
      this.measuredVersion = version; // requested again only for a new version
    } finally {
      this.isMeasuring = false;
    }
    if (this.run.version !== version) this.requestCurves(); // snapshots were added meanwhile
  }

  requestLabel(step) {
    const {name, layer} = this.run;
    const version = this.part.cache.stamps.get(step);
    const key = `${step}.${version}`;
    if (key === this.labelKey) return;
    this.labelKey = key;
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      try {
        const found = await requestJson("label", {run: name, layer: layer.name, filter: this.number, step, version});
        if (this.labelKey === key) this.label.replaceChildren(make("strong", {}, found.label), ` at step ${step}: ${describeEvidence(found, this.run.layer)}`);
      } catch (error) {
        setText(this.label, error.message);
      }
    }, LABEL_DELAY);
  }

  /** Read out the weight below the mouse. */
  readAtMouse(event) {
    const box = this.canvas.getBoundingClientRect();
    if (!this.painter.layout) return;
    const {gap, scale} = this.painter.layout;
    const {height, width, slices} = this.run.cellShape;
    const [rows, columns] = this.run.weightShape;
    const x = (event.clientX - box.left) * (this.canvas.width / box.width) - gap;
    const y = (event.clientY - box.top) * (this.canvas.height / box.height) - gap;
    const sliceWidth = (width / slices) * scale + 1;
    const column = Math.floor(slices > 1 ? (x - Math.floor(x / sliceWidth)) / scale : x / scale);
    const row = Math.floor(y / scale);
    const isInside = row >= 0 && row < height && column >= 0 && column < width;
    this.showWeight(isInside ? [Math.min(row, rows - 1), Math.min(column, columns - 1)] : null);
  }

  /** Read out the next weight in the direction of an arrow key. */
  readWithKeys(event) {
    const offset = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!offset) return;
    event.preventDefault();
    event.stopPropagation();
    const [rows, columns] = this.run.weightShape;
    const [row, column] = this.weight ?? [0, -offset[1]];
    this.showWeight([Math.min(rows - 1, Math.max(0, row + offset[0])), Math.min(columns - 1, Math.max(0, column + offset[1]))]);
  }

  showWeight(weight) {
    this.weight = weight;
    this.readout.setAttribute("aria-live", this.page.clock.isPlaying ? "off" : "polite");
    const canRead = weight && this.snapshot?.cells;
    const [row, column] = this.run.kind === "heat map" ? ["channel", "position"] : ["row", "column"];
    setText(this.readout, canRead ? `${row} ${weight[0]}, ${column} ${weight[1]}: ${this.valuesAt(weight).join(", ")}` : "Point at a weight to read its value.");
  }

  valuesAt([row, column]) {
    const {height, width, channels} = this.run.cellShape;
    const start = ((this.cell * height + row) * width + column) * channels;
    const values = [...this.snapshot.cells.subarray(start, start + channels)];
    return values.map((value, n) => (channels === 3 ? `${CHANNELS[n]} ` : "") + formatExactly(value));
  }

  fillTable() {
    if (!this.details.open || !this.snapshot?.cells) return;
    const [height, width] = this.run.weightShape;
    const rows = Array.from({length: height}, (_, row) => make("tr", {}, make("th", {scope: "row"}, String(row)),
      ...Array.from({length: width}, (__, column) => make("td", {}, this.valuesAt([row, column]).join(" ")))));
    const heads = Array.from({length: width}, (_, column) => make("th", {scope: "col"}, String(column)));
    this.table.replaceChildren(make("table", {}, make("tr", {}, make("td"), ...heads), ...rows));
  }
}

/** Draw one cell with sides of a number of CSS pixels, at most. */
function drawFilter(painter, side, run, snapshot, ranges, cell, colours) {
  const {height, width, slices, channels} = run.cellShape;
  const pixels = Math.round(side * devicePixelRatio);
  const key = `${pixels},${height},${width},${colours.separator}`;
  if (painter.key !== key) {
    painter.key = key;
    painter.resize(new GridLayout(1, height, width, pixels, pixels, slices), colours);
    painter.canvas.style.width = `${painter.layout.totalWidth / devicePixelRatio}px`;
  }
  painter.draw(snapshot.cells, channels, ranges, [cell], colours);
}

function formatExactly(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(5))).replace("-", "−") : formatNumber(value);
}

/** The evidence for a label, in the words and numbers of `filtertrack measure`. */
function describeEvidence({label, roughness, ...fits}, {shape: [, height, width]}) {
  const isSmall = label === "unknown" && height * width < FEWEST_PIXELS;
  const small = isSmall ? `a filter of ${height}×${width} is too small to be told from noise; ` : "";
  const [fit, template] = Object.entries(TEMPLATES)
    .map(([name, text]) => [fits[name] ?? -Infinity, text])
    .reduce((best, each) => (each[0] > best[0] ? each : best));
  const best = Number.isFinite(fit) ? `${fit.toFixed(2).replace("-", "−")} (${template}; 0 is chance, 1 perfect)` : "–";
  return `${small}roughness ${formatNumber(roughness)}, best fit ${best}`;
}

const [WIDTH, HEIGHT, MARGIN] = [240, 48, 3]; // of a curve, in units of its SVG

/** One measure of a filter over the steps, with a marker at the current step. */
class Curve {
  constructor(name, text) {
    Object.assign(this, {name, text});
    this.title = make("span", {});
    this.line = makeSvg("path", {class: "line"});
    this.marker = makeSvg("line", {class: "marker", y1: 0, y2: HEIGHT});
    this.element = make("figure", {class: "curve"}, make("figcaption", {}, this.title),
      makeSvg("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true"}, this.line, this.marker));
    this.steps = [];
    setText(this.title, text);
  }

  draw(trajectory) {
    this.steps = trajectory.steps;
    this.values = trajectory[this.name];
    const known = this.values.filter(value => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const y = value => HEIGHT - MARGIN - ((HEIGHT - 2 * MARGIN) * (high > low ? value - low : 0.5)) / (high > low ? high - low : 1);
    let path = "";
    let command = "M";
    this.values.forEach((value, n) => {
      if (value === null) command = "M";
      else [path, command] = [`${path}${command}${this.x(n).toFixed(1)},${y(value).toFixed(1)}`, "L"];
    });
    this.line.setAttribute("d", path);
    this.span = known.length ? `${formatNumber(low)} to ${formatNumber(high)}` : "not known";
  }

  x(n) {
    return MARGIN + ((WIDTH - 2 * MARGIN) * n) / Math.max(1, this.steps.length - 1);
  }

  /** Move the marker to the last measured step up to this one. */
  mark(step) {
    if (!this.steps.length) return;
    let n = this.steps.findIndex(each => each > step);
    n = n < 0 ? this.steps.length - 1 : Math.max(0, n - 1);
    this.marker.setAttribute("x1", this.x(n));
    this.marker.setAttribute("x2", this.x(n));
    setText(this.title, `${this.text}: ${formatNumber(this.values[n])} (${this.span})`);
  }
}
