// The timeline: buttons of playback, the current step with the values of a metric, and the scrubber.

import {formatNumber, make, makeButton, makeIcon, makeSelect, makeSvg, setEntries, setText} from "./dom.js";
import {listChoices, listCurves} from "./run_metrics.js";
import {DASHES, Scrubber} from "./scrubber.js";

const SPEEDS = [1, 2, 5, 10, 20, 30, 60]; // snapshots a second
const MOST_CURVES = DASHES.length;

export class Timeline {
  /**
   * @param {PlaybackClock} clock
   * @param {function(string)} chooseMetric called with the name that is chosen
   */
  constructor(clock, chooseMetric) {
    Object.assign(this, {clock, chooseMetric});
    this.entries = []; // of the legend: {text, value, valueAt}
    this.makeControls();
    this.when = make("span", {class: "when"});
    this.metric = makeSelect("metric", [], "", name => chooseMetric(name));
    this.onlyMetric = make("span", {class: "name"});
    this.legend = make("span", {class: "entries"});
    this.more = make("span", {class: "more"});
    this.scrubber = new Scrubber(clock, index => this.describeForPointer(index));
    this.element = make("footer", {class: "timeline", role: "group", "aria-label": "Timeline"},
      this.buttons, this.pace, make("div", {class: "readings"}, this.when, make("div", {class: "legend"}, this.metric, this.onlyMetric, this.legend, this.more)),
      this.scrubber.element, this.scrubber.tip);
  }

  makeControls() {
    const {clock} = this;
    const button = (label, icon, key, pressed) => {
      const made = makeButton(label, makeIcon(icon), pressed);
      made.title = `${label} (${key})`;
      return made;
    };
    this.playButton = button("Play", "play", "space", () => clock.toggle());
    this.buttons = make("div", {class: "buttons"},
      button("First step", "first", "Home", () => clock.goTo(0)), button("Step back", "back", "←", () => this.stepBy(-1)), this.playButton,
      button("Step on", "forward", "→", () => this.stepBy(1)), button("Last step", "last", "End", () => clock.goTo(Infinity)));
    this.speed = makeSelect("speed", SPEEDS.map(each => [String(each), `${each}/s`]), String(clock.speed), value => {
      clock.speed = Number(value);
    });
    this.speed.title = "Snapshots a second (+ and −)";
    this.loop = button("Loop", "loop", "L", () => this.toggleLoop());
    this.pace = make("div", {class: "pace"}, this.speed, this.loop);
    this.showLoop();
  }

  stepBy(count) {
    if (this.clock.isPlaying) this.clock.pause();
    this.clock.goTo(this.clock.index + count);
  }

  /** Choose a speed that is some entries faster. */
  changeSpeed(by) {
    const speed = SPEEDS[SPEEDS.indexOf(this.clock.speed) + by];
    if (!speed) return;
    this.clock.speed = speed;
    this.speed.querySelector("select").value = String(speed);
  }

  toggleLoop() {
    this.clock.loop = !this.clock.loop;
    this.showLoop();
  }

  showLoop() {
    this.loop.setAttribute("aria-pressed", String(this.clock.loop));
  }

  showPlaying() {
    const {isPlaying} = this.clock;
    const label = isPlaying ? "Pause" : "Play";
    this.playButton.replaceChildren(makeIcon(isPlaying ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", label);
    this.playButton.title = `${label} (space)`;
    this.showStep(this.note);
  }

  /**
   * Show the metrics of runs.
   * @param {RunData[]} runs
   * @param {number[]} steps of the page
   * @param {string} chosen the name of a metric; the first one if no run has it
   */
  showMetrics(runs, steps, chosen) {
    Object.assign(this, {runs, steps});
    this.element.toggleAttribute("data-known", true); // its height is known from now on
    const choices = listChoices(runs);
    const name = choices.includes(chosen) ? chosen : choices[0];
    const curves = name === undefined ? [] : listCurves(runs, name);
    const drawn = curves.slice(0, MOST_CURVES);
    const marked = runs.find(({metrics}) => metrics.epochs.steps.length);
    const epochs = marked?.metrics.epochs ?? {numbers: [], steps: []};
    const {theme} = document.documentElement.dataset;
    const key = JSON.stringify([name, theme, steps.length, steps[0], steps.at(-1), runs.map(({name: run, made, metrics}) => [run, made, metrics.revision])]);
    if (key === this.key) { // the size may have changed
      this.scrubber.showCurves(steps, this.scrubber.series, epochs, key);
      return;
    }
    this.key = key;
    this.showChoices(choices, name);
    const style = getComputedStyle(document.documentElement);
    const series = drawn.map(({run, name: own, label, curve}, n) => ({
      label, text: runs.length > 1 ? `${own} ${label}` : own, colour: style.getPropertyValue(`--curve-${n + 1}`), dash: DASHES[n], steps: run.metrics.steps, values: curve.values,
      isLogged: curve.isLogged, valueAt: step => run.metrics.valueAt(own, step), title: curve.isMean ? `${own}: mean since the snapshot before` : own,
    }));
    this.element.toggleAttribute("data-curves", series.length > 0);
    this.showLegend(series, curves.length - drawn.length);
    this.scrubber.showCurves(steps, series, epochs, key);
  }

  /** List the metrics that can be chosen; a single one is a text. */
  showChoices(choices, name) {
    this.name = name;
    const isChoice = choices.length > 1;
    this.metric.hidden = !isChoice;
    this.onlyMetric.hidden = isChoice;
    setText(this.onlyMetric, name ?? "");
    const select = this.metric.querySelector("select");
    const listed = JSON.stringify(choices);
    if (isChoice && this.listed !== listed) setEntries(select, choices.map(each => [each, each]), name);
    this.listed = listed;
    select.value = name ?? "";
  }

  showLegend(series, more) {
    this.entries = series.map(({label, text, colour, dash, valueAt, title}) => {
      const value = make("span", {class: "value"});
      const line = makeSvg("line", {x1: 0, x2: 16, y1: 4, y2: 4, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash.join(" ")});
      const swatch = makeSvg("svg", {viewBox: "0 0 16 8", "aria-hidden": "true"}, line);
      return {text, valueAt, value, element: make("span", {class: "entry", title}, swatch, label ? make("span", {class: "name"}, label) : null, value)};
    });
    this.legend.replaceChildren(...this.entries.map(({element}) => element));
    setText(this.more, more ? `… and ${more} more` : "");
  }

  /** Show the current step and the values at it; a note says what its weights are, if not those of training. */
  showStep(note = "") {
    const {index, count} = this.clock;
    const step = this.steps?.[index];
    this.note = note;
    if (step === undefined) return;
    setText(this.when, [`step ${step}`, `${index + 1} of ${count}`, ...(note ? [note] : [])].join(" · "));
    for (const {value, valueAt} of this.entries) setText(value, formatNumber(valueAt(step)));
    this.scrubber.showIndex();
    if (this.clock.isPlaying) return; // a screen reader would say every step
    const [words, ...rest] = this.describe(index);
    this.when.title = words;
    this.scrubber.slider.setAttribute("aria-valuetext", [words, ...rest].join(", "));
  }

  /** Lines of text about the step at an index: its moment in words, if that is known, and the values of the metric. */
  describe(index) {
    const step = this.steps[index];
    const words = this.runs.find(run => run.stepShown(step) === step)?.metrics.whenAt(step) ?? `step ${step}`;
    const values = this.entries.map(({text, valueAt}) => [text, valueAt(step)]).filter(([, value]) => !Number.isNaN(value));
    return [words, ...values.map(([text, value]) => `${text} ${formatNumber(value)}`)];
  }

  /** The same with the number of the step. */
  describeForPointer(index) {
    const [words, ...values] = this.describe(index);
    const step = `step ${this.steps[index]}`;
    return [...(words === step ? [] : [words]), `${step} · ${index + 1} of ${this.clock.count}`, ...values];
  }

  drawMarks(states) {
    this.scrubber.drawMarks(states);
  }
}
