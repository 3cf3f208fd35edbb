// The open filter over training: pictures of it at some steps, and curves of its measures.

import {AnswerCache} from "./answer_cache.js";
import {CellCanvas} from "./cell_canvas.js";
import {formatNumber, make, makeButton, makeSvg, setText} from "./dom.js";
import {requestJson} from "./requests.js";

const SMALL = 46; // CSS pixels of a picture
const MOST_PICTURES = 12;
const UNKNOWN = "–"; // in place of a label
const CURVES = [
  ["norm", "norm"],
  ["drift", "drift from the start"],
  ["roughness", "roughness (1 is noise)"],
];

/** Pictures of a filter at some steps, with its labels; a click goes to a step. */
export class FilterHistory {
  /** @param {function(number)} goToStep */
  constructor(goToStep) {
    this.goToStep = goToStep;
    this.element = make("div", {class: "history", role: "group", "aria-label": "History"});
  }

  /**
   * Draw the pictures again if something that they depend on has changed.
   * @param {number[]} steps of the run
   * @param {function(number): boolean} isLoaded whether a step is loaded
   * @param {string} lookKey of everything else that pictures depend on
   * @param {function(CellCanvas, number, number)} draw draws a step into a canvas, up to a size
   */
  refresh(steps, isLoaded, lookKey, draw) {
    const count = Math.min(MOST_PICTURES, steps.length);
    const chosen = Array.from({length: count}, (_, n) => steps[Math.round((n * (steps.length - 1)) / Math.max(1, count - 1))]);
    const key = JSON.stringify([chosen, chosen.map(isLoaded), lookKey]);
    if (key === this.key) return;
    this.key = key;
    this.steps = chosen;
    this.element.replaceChildren(...chosen.map(step => {
      const picture = new CellCanvas(Infinity, {"aria-hidden": "true"});
      if (isLoaded(step)) draw(picture, step, SMALL);
      else picture.canvas.width = picture.canvas.height = SMALL;
      const button = makeButton(`go to step ${step}`, picture.element, () => this.goToStep(step));
      button.append(make("span", {}, String(step)), make("span", {class: "kind"}, UNKNOWN));
      return button;
    }));
  }

  /** Show the label at each step; empty labels are not known. */
  showLabels(labelAt) {
    this.steps?.forEach((step, n) => {
      const button = this.element.children[n];
      const label = labelAt(step);
      setText(button.lastChild, label || UNKNOWN);
      button.title = label ? `go to step ${step}: ${label}` : `go to step ${step}`;
    });
  }

  /** Mark the picture whose step is nearest. */
  mark(step) {
    if (!this.steps?.length) return;
    const nearest = this.steps.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best));
    if (nearest === this.marked && this.markedKey === this.key) return;
    [this.marked, this.markedKey] = [nearest, this.key];
    [...this.element.children].forEach((each, n) => each.setAttribute("aria-current", String(this.steps[n] === nearest)));
  }
}

/** Curves of the measures of a filter. */
export class FilterCurves {
  /**
   * @param {RunData} run
   * @param {number} number of the filter
   * @param {function} changed called when an answer or an error has been added
   */
  constructor(run, number, changed) {
    this.run = run;
    const query = {run: run.name, layer: run.layer.name, filter: number};
    this.answers = new AnswerCache(version => requestJson("trajectory", {...query, version}), () => {
      this.refresh();
      changed();
    }, 1);
    this.curves = CURVES.map(([name, text]) => new Curve(name, text));
    this.element = make("div", {class: "curves"}, ...this.curves.map(curve => curve.element));
  }

  /** Draw what is known, and request the measures of snapshots that were added: one request at a time. */
  refresh() {
    const {answers: {latest}, run} = this;
    if (latest && latest !== this.drawn) {
      for (const curve of this.curves) curve.draw(latest);
      this.drawn = latest;
      this.mark(run.stepShown());
    }
    if (!this.answers.isLoading) this.answers.at(run.version);
  }

  mark(step) {
    for (const curve of this.curves) curve.mark(step);
  }
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
