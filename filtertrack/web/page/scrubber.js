// The scrubber: the slider of steps, the curves of metrics above it, and the ends of epochs below it.
// All of it is at the same positions: a step is where the knob is at that step.

import {formatNumber, make, setText} from "./dom.js";
import {linesOf, spacedMarks} from "./metric_lines.js";
import {lastUpTo} from "./run_metrics.js";

// CSS pixels.
const EDGE = 8; // half of the knob, which stays inside the scrubber
const LEAST_DAMAGED_WIDTH = 3;
const LEAST_BETWEEN_EPOCHS = 6; // between two lines
const BESIDE_NUMBER = 6; // space between two numbers
const MARGIN = 3; // above and below the curves
const STROKE = 1.5;
export const DASHES = [[], [5, 3], [1.5, 2.5], [7, 2.5, 1.5, 2.5]]; // of the curves, in CSS pixels

export class Scrubber {
  /**
   * @param {PlaybackClock} clock
   * @param {function(number): string[]} describe the lines of text about the step at an index
   */
  constructor(clock, describe) {
    Object.assign(this, {clock, describe});
    this.slider = make("input", {type: "range", min: "0", max: "0", step: "1", "aria-label": "Step",
                                 oninput: () => clock.goTo(Number(this.slider.value)), onkeydown: () => this.setSlider()});
    this.curves = make("canvas", {class: "curves", "aria-hidden": "true"});
    this.marks = make("canvas", {class: "marks", "aria-hidden": "true"});
    [this.high, this.low] = ["high", "low"].map(name => make("span", {class: `bound ${name}`}));
    this.plot = make("div", {class: "plot"}, this.high, this.low);
    this.numbers = make("div", {class: "numbers"}, make("span", {class: "bound"}, "epoch"));
    this.dots = make("div", {class: "dots"});
    this.cursor = make("div", {class: "cursor"}, make("div", {class: "knob"}));
    this.pointer = make("div", {class: "pointer", hidden: true});
    this.tip = make("div", {class: "tip", hidden: true, "aria-hidden": "true"});
    this.element = make("div", {class: "scrubber"}, this.curves, this.plot, make("div", {class: "track"}, this.marks), this.numbers,
      this.slider, this.pointer, this.cursor, this.dots);
    this.listen();
    this.series = []; // the curves that are drawn
  }

  listen() {
    const {element, clock} = this;
    element.addEventListener("pointerdown", event => {
      if (event.button !== 0) return;
      event.preventDefault(); // the focus stays where it is, as with the buttons
      element.setPointerCapture(event.pointerId);
      this.resumes = clock.isPlaying;
      this.isDragging = true;
      if (clock.isPlaying) clock.pause();
      this.point(event);
    });
    element.addEventListener("pointermove", event => this.point(event));
    element.addEventListener("pointerup", event => this.release(event.pointerType === "mouse"));
    element.addEventListener("pointercancel", () => this.release(false));
    element.addEventListener("pointerleave", () => this.hideTip());
  }

  /** Show what is at the pointer; go there if it is pressed. */
  point(event) {
    if (!this.clock.count) return;
    const index = this.indexAt(event.clientX - this.element.getBoundingClientRect().left);
    this.showTip(index);
    if (this.isDragging && index !== this.clock.index) this.clock.goTo(index);
  }

  release(keepsTip) {
    if (this.isDragging && this.resumes) this.clock.play();
    this.isDragging = false;
    if (!keepsTip) this.hideTip();
  }

  // Positions, in CSS pixels.

  /** The position of an index, which may be between two steps. */
  positionOf(index) {
    return EDGE + (index / Math.max(1, this.clock.count - 1)) * (this.width - 2 * EDGE);
  }

  indexAt(x) {
    const share = (x - EDGE) / (this.width - 2 * EDGE);
    return Math.round(Math.min(1, Math.max(0, share)) * (this.clock.count - 1));
  }

  /** The index of a step among the steps of the page; with a fraction if it is between two. */
  indexOf(step) {
    const {steps} = this;
    const before = Math.min(Math.max(0, lastUpTo(steps, step)), Math.max(0, steps.length - 2));
    return steps.length < 2 ? 0 : before + (step - steps[before]) / (steps[before + 1] - steps[before]);
  }

  // What is shown.

  /** Move the marker to the current step, with a dot on each curve. */
  showIndex() {
    const {clock} = this;
    if (!clock.isPlaying) this.setSlider();
    const x = this.positionOf(clock.index);
    this.cursor.style.transform = `translateX(${x}px)`;
    for (const {dot, points} of this.series) {
      const y = rowAt(points, x);
      dot.hidden = Number.isNaN(y);
      if (!dot.hidden) dot.style.transform = `translate(${x}px, ${y}px)`;
    }
  }

  /** Set the slider; not while playing, when a screen reader would say every step. */
  setSlider() {
    const {slider, clock} = this;
    slider.max = String(Math.max(0, clock.count - 1));
    slider.value = String(clock.index);
  }

  showTip(index) {
    const lines = this.describe(index);
    this.tip.replaceChildren(...lines.map(text => make("div", {}, text)));
    this.tip.hidden = this.pointer.hidden = false;
    const x = this.positionOf(index);
    this.pointer.style.transform = `translateX(${x}px)`;
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${this.element.offsetLeft + Math.max(0, Math.min(this.width - 2 * half, x - half))}px`;
  }

  hideTip() {
    this.tip.hidden = this.pointer.hidden = true;
  }

  /**
   * Draw the curves and the ends of epochs, if any of them has changed.
   * @param {number[]} steps of the page
   * @param {Array} series of {colour, dash, steps, values, isLogged}: the curves
   * @param {{numbers: number[], steps: number[]}} epochs ends of epochs
   * @param {string} key of all these
   */
  showCurves(steps, series, epochs, key) {
    this.steps = steps;
    this.element.toggleAttribute("data-curves", series.length > 0);
    this.element.toggleAttribute("data-epochs", epochs.steps.length > 0);
    this.width = this.element.clientWidth;
    const drawn = JSON.stringify([key, this.width, this.element.clientHeight, devicePixelRatio]);
    if (drawn === this.drawn || !this.width) return;
    this.drawn = drawn;
    this.series = series.map(each => ({...each, dot: make("div", {class: "dot"})}));
    this.series.forEach(({dot, colour}) => (dot.style.background = colour));
    this.dots.replaceChildren(...this.series.map(({dot}) => dot));
    this.setBounds();
    for (const each of this.series) each.points = this.pointsOf(each);
    const context = this.clear(this.curves, this.width, this.element.clientHeight);
    context.scale(devicePixelRatio, devicePixelRatio);
    this.drawEpochs(context, epochs);
    for (const each of this.series) this.drawCurve(context, each);
  }

  /** Find the lowest and the highest value of all curves. */
  setBounds() {
    this.bounds = [Infinity, -Infinity];
    for (const {values} of this.series) {
      for (const value of values) {
        if (Number.isFinite(value)) this.bounds = [Math.min(this.bounds[0], value), Math.max(this.bounds[1], value)];
      }
    }
    const isKnown = this.bounds[0] <= this.bounds[1];
    const differ = this.bounds[0] < this.bounds[1];
    this.plotHeight = this.plot.clientHeight;
    setText(this.high, isKnown && differ ? formatNumber(this.bounds[1]) : "");
    setText(this.low, isKnown ? formatNumber(this.bounds[0]) : "");
  }

  /** The row of a value, from the top of the plot; NaN if it is not finite. */
  rowOf(value) {
    const [low, high] = this.bounds;
    if (!Number.isFinite(value)) return NaN;
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return MARGIN + (1 - share) * (this.plotHeight - 2 * MARGIN);
  }

  /** The logged values of a curve as points in the plot. */
  pointsOf({steps, values, isLogged}) {
    const logged = [...steps.keys()].filter(n => isLogged[n]);
    return {xs: logged.map(n => this.positionOf(this.indexOf(steps[n]))), ys: logged.map(n => this.rowOf(values[n]))};
  }

  drawCurve(context, {colour, dash, points: {xs, ys}}) {
    Object.assign(context, {strokeStyle: colour, fillStyle: colour, lineWidth: STROKE, lineJoin: "round"});
    context.setLineDash(dash);
    context.beginPath();
    for (const line of linesOf(xs, ys)) {
      line.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (line.length > 1) continue;
      context.fillRect(line[0][0] - STROKE, line[0][1] - STROKE, 2 * STROKE, 2 * STROKE); // a value alone
    }
    context.stroke();
    context.setLineDash([]);
  }

  /** Draw a thin line at ends of epochs, and below the slider as many of their numbers as have space. */
  drawEpochs(context, {numbers, steps}) {
    if (!steps.length) return;
    const {font, color} = getComputedStyle(this.numbers);
    const marks = numbers.map((number, n) => ({number, x: this.positionOf(this.indexOf(steps[n]))}));
    const top = this.numbers.offsetTop;
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--line");
    for (const {x} of spacedMarks(marks.map(mark => ({...mark, width: LEAST_BETWEEN_EPOCHS})))) context.fillRect(Math.round(x), 0, 1, top);
    Object.assign(context, {font, fillStyle: color, textAlign: "center", textBaseline: "middle"});
    const texts = marks.map(mark => ({...mark, width: context.measureText(mark.number).width + BESIDE_NUMBER}));
    for (const {number, x} of spacedMarks(texts)) context.fillText(number, x, top + this.numbers.offsetHeight / 2);
  }

  /** Draw a mark for each step that is "loaded" or "damaged"; other states have none. */
  drawMarks(states) {
    const {marks} = this;
    const context = this.clear(marks, marks.clientWidth, marks.clientHeight);
    const style = getComputedStyle(document.documentElement);
    const edge = EDGE * devicePixelRatio;
    const distance = (marks.width - 2 * edge) / Math.max(1, states.length - 1);
    for (const [state, least] of [["loaded", 1], ["damaged", LEAST_DAMAGED_WIDTH * devicePixelRatio]]) {
      context.fillStyle = style.getPropertyValue(`--${state}`);
      const markWidth = Math.max(1, distance, least);
      states.forEach((each, n) => {
        if (each === state) context.fillRect(edge + n * distance - markWidth / 2, 0, markWidth + 1, marks.height);
      });
    }
  }

  /** Clear a canvas, with a size in CSS pixels; returns its context. */
  clear(canvas, width, height) {
    canvas.width = Math.max(1, Math.round(width * devicePixelRatio)); // which also resets the context
    canvas.height = Math.max(1, Math.round(height * devicePixelRatio));
    return canvas.getContext("2d");
  }
}

/** The row of a curve at a position; NaN before its first point, after its last one, and in a gap. */
function rowAt({xs, ys}, x) {
  const n = lastUpTo(xs, x);
  if (n < 0 || xs[n] === x || n + 1 === xs.length) return n >= 0 && xs[n] === x ? ys[n] : NaN;
  return ys[n] + ((x - xs[n]) / (xs[n + 1] - xs[n])) * (ys[n + 1] - ys[n]);
}
