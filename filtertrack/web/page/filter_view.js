// One filter, large: its weights, its history, what it measures and what it is.

import {button, icon, make, makeSvg, printable, short, write} from "./dom.js";
import {Layout} from "./grid_layout.js";
import {Painter} from "./cell_pixels.js";
import {askJson} from "./requests.js";

const LARGE = 264; // pixels of the page
const SMALL = 52;
const STRIP = 12;
const SETTLED = 250; // milliseconds after which a step is worth asking for its label
const CHANNELS = ["red", "green", "blue"];
const CURVES = [
  ["norm", "length"],
  ["drift", "drift from the start"],
  ["roughness", "roughness (1 is noise)"],
];

export class FilterView {
  /** @param {object} page what is looked at: see page.js */
  constructor(page) {
    this.page = page;
    this.number = null;
    this.blocks = [];
    this.title = make("h2", {tabindex: "-1"});
    this.runs = make("div", {class: "blocks"});
    const close = button("Close", icon("close"), () => page.open(null));
    this.element = make("section", {class: "filter", "aria-label": "One filter", hidden: true},
                        make("header", {}, this.title, close), this.runs);
  }

  /** Show a filter of every run; null for none. What is open stays as it is. */
  open(number) {
    const shown = this.page.shown();
    const same = number === this.number && shown.every((run, n) => run === this.blocks[n]?.shown && run.part === this.blocks[n].part);
    if (same && shown.length === this.blocks.length) return this.refresh();
    this.number = number;
    this.element.hidden = number === null;
    this.blocks = [];
    if (number !== null) {
      write(this.title, `Filter ${number}`);
      this.blocks = shown.map(run => new Block(run, this.page, number));
    }
    this.runs.replaceChildren(...this.blocks.map(block => block.element));
  }

  /** Draw what changes with the step. */
  draw(values) {
    for (const block of this.blocks) if (block.shown.reel) block.draw(values);
  }

  /** Draw what changes with what has been fetched, and with the look. */
  refresh() {
    for (const block of this.blocks) if (block.shown.reel) block.refresh();
  }
}

class Block {
  constructor(shown, page, number) {
    Object.assign(this, {shown, page, number, part: shown.part});
    this.canvas = make("canvas", {tabindex: "0", role: "img", onmousemove: event => this.hover(event),
                                  onmouseleave: () => this.point(null), onkeydown: event => this.walk(event)});
    this.painter = new Painter(this.canvas);
    this.readout = make("p", {class: "readout"});
    this.label = make("p", {class: "label"});
    this.table = make("div", {class: "weights"});
    this.details = make("details", {ontoggle: () => this.tabulate()}, make("summary", {}, "Weights as a table"), this.table);
    this.strip = make("div", {class: "strip", role: "group", "aria-label": "History"});
    this.curves = CURVES.map(([name, text]) => new Curve(name, text));
    this.element = make("div", {class: "block"},
      make("h3", {hidden: page.shown().length < 2}, shown.name), this.canvas, this.readout, this.label, this.strip,
      make("div", {class: "curves"}, ...this.curves.map(curve => curve.element)), this.details);
    this.weight = null;
    this.measured = "";
    this.refresh();
  }

  get place() {
    return this.shown.place(this.number);
  }

  draw(values) {
    const snapshot = this.snapshot = this.shown.snapshot();
    const step = this.shown.step();
    this.element.classList.toggle("damaged", !snapshot?.cells);
    if (snapshot?.cells) {
      paintOne(this.painter, LARGE, this.shown, snapshot, values, this.place, this.page.inks);
      this.canvas.setAttribute("aria-label", printable(`Filter ${this.number} of ${this.shown.name} at step ${step}. Arrow keys read its weights.`));
    }
    const near = this.near(step);
    for (const each of this.strip.children) each.setAttribute("aria-current", String(Number(each.dataset.step) === near));
    for (const curve of this.curves) curve.mark(step);
    this.point(this.weight);
    if (this.details.open) this.tabulate();
    if (snapshot?.cells) this.askLabel(step);
  }

  near(step) {
    const steps = [...this.strip.children].map(each => Number(each.dataset.step));
    return steps.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best), Infinity);
  }

  refresh() {
    const {reel} = this.shown;
    const steps = reel.steps;
    const count = Math.min(STRIP, steps.length);
    const chosen = Array.from({length: count}, (_, n) => steps[Math.round((n * (steps.length - 1)) / Math.max(1, count - 1))]);
    const key = JSON.stringify([chosen, chosen.map(step => Boolean(reel.at(step))), this.page.lookKey()]);
    if (key !== this.stripKey) this.strip.replaceChildren(...chosen.map(step => this.still(step, reel.at(step))));
    this.stripKey = key;
    this.measure();
  }

  still(step, snapshot) {
    const canvas = make("canvas", {"aria-hidden": "true"});
    if (snapshot?.cells) {
      paintOne(new Painter(canvas), SMALL, this.shown, snapshot, this.page.values([snapshot]), this.place, this.page.inks);
    } else canvas.width = canvas.height = SMALL;
    const still = button(`go to step ${step}`, "", () => this.page.goTo(step));
    still.dataset.step = step;
    still.append(canvas, make("span", {}, String(step)));
    return still;
  }

  async measure() {
    const {version, name, layer} = this.shown;
    if (version === this.measured || this.measuring) return;
    this.measuring = true;
    try {
      const found = await askJson("trajectory", {run: name, layer: layer.name, filter: this.number, version});
      this.measured = version;
      for (const curve of this.curves) curve.draw(found);
      for (const curve of this.curves) curve.mark(this.shown.step());
      this.page.notices.say("curves", "");
    } catch (error) {
      this.page.notices.say("curves", error.message);
      this.measured = version; // until there is something new
    } finally {
      this.measuring = false;
    }
    if (this.shown.version !== version) this.measure(); // more came meanwhile
  }

  askLabel(step) {
    const {reel, name, layer} = this.shown;
    const version = reel.stamps.get(step);
    const asked = `${step}.${version}`;
    if (asked === this.asked) return;
    this.asked = asked;
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      try {
        const found = await askJson("label", {run: name, layer: layer.name, filter: this.number, step, version});
        if (this.asked === asked) this.label.replaceChildren(make("strong", {}, found.label), ` at step ${step}: ${evidence(found)}`);
      } catch (error) {
        write(this.label, error.message);
      }
    }, SETTLED);
  }

  /** The weight under a pixel: [row, column]. */
  hover(event) {
    const box = this.canvas.getBoundingClientRect();
    const {gap, scale} = this.painter.layout;
    const {height, width, slices} = this.shown.view;
    const across = (event.clientX - box.left) * (this.canvas.width / box.width) - gap;
    const down = (event.clientY - box.top) * (this.canvas.height / box.height) - gap;
    const slice = (width / slices) * scale + 1;
    const column = Math.floor(slices > 1 ? (across - Math.floor(across / slice)) / scale : across / scale);
    const row = Math.floor(down / scale);
    this.point(row >= 0 && row < height && column >= 0 && column < width ? [row, column] : null);
  }

  walk(event) {
    const way = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    const {height, width} = this.shown.view;
    const [row, column] = this.weight ?? [0, -way[1]];
    this.point([Math.min(height - 1, Math.max(0, row + way[0])), Math.min(width - 1, Math.max(0, column + way[1]))]);
  }

  point(weight) {
    this.weight = weight;
    this.readout.setAttribute("aria-live", this.page.player.playing ? "off" : "polite");
    const {snapshot} = this;
    if (!weight || !snapshot?.cells) {
      return this.read("Point at a weight to read its value.");
    }
    this.read(`row ${weight[0]}, column ${weight[1]}: ${this.numbers(weight).join(", ")}`);
  }

  read(text) {
    write(this.readout, text);
  }

  numbers([row, column]) {
    const {width, channels} = this.shown.view;
    const start = this.place * this.shown.size + (row * width + column) * channels;
    const values = [...this.snapshot.cells.subarray(start, start + channels)];
    return values.map((value, n) => (channels === 3 ? `${CHANNELS[n]} ` : "") + exact(value));
  }

  tabulate() {
    const {height, width} = this.shown.view;
    if (!this.details.open || !this.snapshot?.cells) return;
    const rows = Array.from({length: height}, (_, row) => make("tr", {}, make("th", {scope: "row"}, String(row)),
      ...Array.from({length: width}, (__, column) => make("td", {}, this.numbers([row, column]).join(" ")))));
    const heads = Array.from({length: width}, (_, column) => make("th", {scope: "col"}, String(column)));
    this.table.replaceChildren(make("table", {}, make("tr", {}, make("td"), ...heads), ...rows));
  }
}

function paintOne(painter, side, shown, snapshot, values, place, inks) {
  const {height, width, slices, channels} = shown.view;
  const pixels = Math.round(side * devicePixelRatio);
  const {layout} = painter;
  if (!layout || painter.key !== `${pixels},${height},${width},${inks.separator}`) {
    painter.key = `${pixels},${height},${width},${inks.separator}`;
    painter.resize(new Layout(1, height, width, pixels, pixels, slices), inks);
    painter.canvas.style.width = `${painter.layout.wide / devicePixelRatio}px`;
  }
  painter.draw(snapshot.cells, channels, values, [place], inks);
}

function exact(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(5))).replace("-", "−") : short(value);
}

function evidence({roughness, gabor, blob}) {
  const share = value => (value === null ? "–" : `${Math.round(100 * value)}\u00a0%`);
  return `roughness ${short(roughness)}, an edge explains ${share(gabor)}, a blob ${share(blob)}`;
}

const [WIDE, HIGH, EDGE] = [240, 48, 3];

class Curve {
  constructor(name, text) {
    Object.assign(this, {name, text});
    this.title = make("span", {});
    this.line = makeSvg("path", {class: "line"});
    this.marker = makeSvg("line", {class: "marker", y1: 0, y2: HIGH});
    this.element = make("figure", {class: "curve"}, make("figcaption", {}, this.title),
      makeSvg("svg", {viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true"}, this.line, this.marker));
    this.steps = [];
    write(this.title, text);
  }

  draw(found) {
    this.steps = found.steps;
    this.values = found[this.name];
    const known = this.values.filter(value => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const y = value => HIGH - EDGE - ((HIGH - 2 * EDGE) * (high > low ? value - low : 0.5)) / (high > low ? high - low : 1);
    let path = "";
    let pen = "M";
    this.values.forEach((value, n) => {
      if (value === null) pen = "M";
      else [path, pen] = [`${path}${pen}${this.x(n).toFixed(1)},${y(value).toFixed(1)}`, "L"];
    });
    this.line.setAttribute("d", path);
    this.span = known.length ? `${short(low)} to ${short(high)}` : "not known";
  }

  x(n) {
    return EDGE + ((WIDE - 2 * EDGE) * n) / Math.max(1, this.steps.length - 1);
  }

  mark(step) {
    if (!this.steps.length) return;
    let n = this.steps.findIndex(each => each > step);
    n = n < 0 ? this.steps.length - 1 : Math.max(0, n - 1);
    this.marker.setAttribute("x1", this.x(n));
    this.marker.setAttribute("x2", this.x(n));
    write(this.title, `${this.text}: ${short(this.values[n])} (${this.span})`);
  }
}
