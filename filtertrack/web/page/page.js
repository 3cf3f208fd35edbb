// The page: connects the state (runs, look, step, filter) with its controls and views.

import {GridColours, centreOnZero, shareRange, unionOfRanges} from "./cell_pixels.js";
import {make} from "./dom.js";
import {FilterView} from "./filter_view.js";
import {GridView} from "./grid_view.js";
import {LookControls} from "./look_controls.js";
import {hasChannels} from "./look_options.js";
import {Notices} from "./notices.js";
import {PlaybackClock} from "./playback_clock.js";
import {PlaybackControls} from "./playback_controls.js";
import {requestJson, requestPalette} from "./requests.js";
import {RunData} from "./run_data.js";
import {saveAnimation, savePicture} from "./save_files.js";
import {currentTheme, followTheme} from "./theme.js";
import {readUrlState, writeUrlState} from "./url_state.js";

// Milliseconds between two polls of the runs' steps.
const LEAST_POLL = 2000;
const MOST_POLL = 30_000;
const POLLS_OF_RUNS = 4; // the list of runs is requested at every fourth poll
// CSS pixels.
const LEAST_WIDTH = 300; // of a grid, if the page is that wide
const LEAST_HEIGHT = 360; // of a grid; in a lower window the page scrolls
const GRID_SURROUNDINGS = 105; // height of captions and margins
const GAP = 16;
const MOST_LISTED = 8; // damaged steps that are named

export class Page {
  /** @param {object} settings the answer of /settings */
  constructor(settings) {
    this.settings = settings;
    this.runNames = []; // of all runs
    this.runs = []; // those that are shown
    this.grids = new Map(); // run name -> GridView
    this.steps = []; // of all runs that are shown, ascending
    this.numbers = []; // of the filters on the page, in the chosen order
    this.palettes = new Map(); // colormap -> bytes
    this.colours = null;
    const {runs, look, step, filter} = readUrlState(settings);
    this.look = look;
    this.chosenRuns = runs; // also those that do not exist at present
    this.initialStep = step;
    this.chosenFilter = filter;
    this.notices = new Notices();
    this.clock = new PlaybackClock(() => this.showStep(), index => this.isReady(index), () => this.playback.showPlaying());
    this.playback = new PlaybackControls(this.clock);
    this.controls = new LookControls(look, settings, {
      changeLook: changes => this.changeLook(changes),
      chooseRun: (name, on) => this.chooseRun(name, on),
      savePicture: () => this.notices.attempt("saving", () => savePicture(this)),
      saveAnimation: ending => this.saveAnimation(ending),
    });
    this.filter = new FilterView(this);
    this.gridArea = make("div", {class: "grids"});
    const {alert, status, announcement} = this.notices;
    this.root = make("main", {}, this.controls.element, alert,
      make("div", {class: "body"}, this.gridArea, this.filter.element), this.playback.element, status, announcement);
    document.addEventListener("keydown", event => this.handleKey(event));
  }

  async start() {
    document.body.append(this.root);
    new ResizeObserver(() => this.arrange()).observe(this.gridArea);
    window.addEventListener("resize", () => this.arrange());
    followTheme(() => this.applyLook());
    await this.notices.attempt("runs", () => this.findRuns());
    this.poll();
  }

  // Runs and their steps.

  async findRuns() {
    const {runs, notes} = await requestJson("runs");
    this.runNames = runs;
    this.notes = notes;
    this.notices.show("none", runs.length ? "" : ["There is no run of filtertrack below the log folder yet: the page waits for one.", ...notes].join(" "));
    await this.showRuns();
  }

  /** Show the chosen runs that exist; if there are none, the first run. */
  async showRuns() {
    const existing = this.chosenRuns.filter(name => this.runNames.includes(name));
    const names = existing.length ? existing : this.runNames.slice(0, 1);
    this.controls.listRuns(this.runNames, names);
    const before = new Map(this.runs.map(run => [run.name, run]));
    if (names.join("\n") === [...before.keys()].join("\n")) return;
    this.runs = names.map(name => before.get(name) ?? new RunData(name, this));
    for (const [name, run] of before) if (!names.includes(name)) run.closeCache();
    this.grids = new Map(names.map(name => [name, this.grids.get(name) ?? new GridView(name, number => this.openFilter(number))]));
    this.gridArea.replaceChildren(...[...this.grids.values()].map(grid => grid.element));
    await this.updateRuns();
    await this.applyLook();
  }

  /** Update each run; an unreadable run does not stop the others. Returns whether anything is new. */
  async updateRuns() {
    const results = await Promise.allSettled(this.runs.map(run => run.update()));
    const errors = results.filter(({reason}) => reason).map(({reason}) => reason.message);
    this.notices.show("steps", [...new Set(errors)].join(" "));
    return results.some(({value}) => value);
  }

  async poll() {
    const start = performance.now();
    if (!document.hidden && this.root.offsetWidth) {
      this.polls = (this.polls ?? 0) + 1;
      if (this.polls % POLLS_OF_RUNS === 0) await this.notices.attempt("runs", () => this.findRuns());
      if ((await this.updateRuns()) || this.isIncomplete) await this.applyLook();
    }
    setTimeout(() => this.poll(), Math.min(MOST_POLL, Math.max(LEAST_POLL, 5 * (performance.now() - start))));
  }

  async chooseRun(name, on) {
    const others = this.runs.map(run => run.name).filter(each => each !== name);
    this.chosenRuns = on ? [...others, name] : others;
    await this.showRuns();
  }

  // The look.

  async changeLook(changes) {
    Object.assign(this.look, changes);
    if ("layer" in changes) Object.assign(this.look, {channels: "", page: 0});
    if ("order" in changes) this.look.page = 0;
    this.notices.show("saving", "");
    await this.applyLook();
  }

  /** Update everything after a change of the look, the runs or the theme. */
  async applyLook() {
    const change = this.latestChange = (this.latestChange ?? 0) + 1;
    const layerNames = [...new Set(this.runs.flatMap(run => [...run.layers.keys()]))];
    if (!layerNames.length) return;
    const {defaultLayer} = this.runs.find(run => run.layers.size);
    if (!layerNames.includes(this.look.layer)) Object.assign(this.look, {layer: defaultLayer, channels: "", page: 0});
    const first = this.runs.find(run => run.layers.has(this.look.layer));
    const layer = first.layers.get(this.look.layer);
    if (!hasChannels(layer, this.look.channels)) this.look.channels = "";
    this.look.page = Math.min(this.look.page, Math.max(0, Math.ceil(layer.shape[0] / layer.page_size) - 1));
    this.controls.show(this.look, layerNames, layer);
    const [order, colours] = await Promise.all([this.requestOrder(first, layer), this.requestColours()]);
    if (change !== this.latestChange) return; // there is a later change
    this.isIncomplete = !order || !colours;
    if (!colours) return;
    this.colours = colours;
    this.mergeSteps();
    const start = this.look.page * layer.page_size;
    this.numbers = (order ?? storedOrder(layer)).slice(start, start + layer.page_size);
    for (const run of this.runs) this.selectFilters(run, layer);
    this.selectFilter(layer.kind === "matrix" ? null : this.chosenFilter);
    this.arrange();
  }

  /** Select the filters on the page in a run, if its layer is comparable with the first run's. */
  selectFilters(run, layer) {
    const own = run.layers.get(layer.name);
    run.problem = !own ? "This run has no such layer."
      : String(own.shape) !== String(layer.shape) ? `Its filters have another shape here: ${own.shape.join(" × ")}, not ${layer.shape.join(" × ")}.`
      : !run.steps.length ? "This run has no snapshots yet." : "";
    if (run.problem) run.closeCache();
    else {
      const filters = [...this.numbers].sort((a, b) => a - b);
      run.select({layer: own, filters, channels: this.look.channels, delta: this.look.delta}, this.runs.length);
    }
  }

  /** The numbers of all filters in the chosen order; undefined if the request fails. */
  async requestOrder(run, layer) {
    const {order} = this.look;
    if (order === "stored" || layer.kind === "matrix") return storedOrder(layer);
    const key = JSON.stringify([run.name, run.made, layer.name, order]);
    if (this.orderKey !== key) {
      const query = {run: run.name, layer: layer.name, order, version: run.version};
      const answer = await this.notices.attempt("order", () => requestJson("order", query));
      if (!answer) return undefined;
      [this.orderKey, this.order] = [key, answer.numbers];
    }
    return this.order;
  }

  /** The colours for the colormap and the theme; undefined if the request fails. */
  async requestColours() {
    const {colormap} = this.look;
    if (!this.palettes.has(colormap)) {
      const palette = await this.notices.attempt("colours", () => requestPalette(colormap));
      if (!palette) return undefined;
      this.palettes.set(colormap, palette);
    }
    return new GridColours(this.palettes.get(colormap), this.settings.not_finite, this.settings.separators[currentTheme()]);
  }

  /** Merge the steps of all runs; stay at the same step, or at the end. */
  mergeSteps() {
    const {clock} = this;
    const isFirst = !this.steps.length;
    const followsEnd = !isFirst && clock.isAtEnd && !clock.isPlaying;
    const step = isFirst ? this.initialStep : this.step();
    this.steps = [...new Set(this.runs.flatMap(run => run.steps))].sort((a, b) => a - b);
    clock.count = this.steps.length;
    const index = step === null || followsEnd ? this.steps.length - 1 : this.steps.findLastIndex(each => each <= step);
    clock.index = Math.max(0, index);
  }

  // Drawing.

  /** The current step. */
  step() {
    return this.steps[this.clock.index] ?? 0;
  }

  /** The runs that can be drawn. */
  visibleRuns() {
    return this.runs.filter(run => run.cache);
  }

  /** Whether the snapshots at an index are loaded in every run; missing ones are loaded first. */
  isReady(index) {
    const step = this.steps[index];
    const missing = this.visibleRuns().filter(run => !run.snapshot(step));
    for (const run of missing) run.cache.lookAt(run.index(step));
    return !missing.length;
  }

  /** Lay out the grids for the size of the window, and draw everything. */
  arrange() {
    if (!this.colours || !this.gridArea.clientWidth) return;
    const width = this.gridArea.clientWidth;
    const columns = Math.max(1, Math.min(this.runs.length, Math.floor((width + GAP) / (LEAST_WIDTH + GAP))));
    this.gridArea.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const around = this.controls.element.offsetHeight + this.playback.element.offsetHeight + GRID_SURROUNDINGS;
    const mostHeight = Math.max(Math.min(width, LEAST_HEIGHT), window.innerHeight - around);
    const mostWidth = Math.floor((width - GAP * (columns - 1)) / columns);
    const size = [mostWidth, mostHeight].map(side => Math.floor(side * devicePixelRatio));
    for (const run of this.visibleRuns()) this.grids.get(run.name).arrange(this.numbers, run.cellShape, size, this.colours);
    this.draw();
    this.showProgress();
  }

  /** Draw the current step, and load from there. */
  showStep() {
    for (const run of this.visibleRuns()) run.cache.lookAt(run.index());
    this.draw();
  }

  /** Draw again in the next animation frame: snapshots have been loaded, or loading has failed. */
  redrawSoon() {
    this.scheduled ??= requestAnimationFrame(() => {
      this.scheduled = null;
      this.notices.show("cells", this.visibleRuns().map(run => run.cache.error).find(Boolean) ?? "");
      this.arrange();
      if (!this.clock.isPlaying) this.filter.refresh();
    });
  }

  /** The darkest and the lightest value of each cell: {low, high}, the same for all runs. */
  valueRanges(snapshots) {
    const {scale, zero_centred, delta} = this.look;
    let ranges = unionOfRanges(scale === "frame" ? snapshots : this.visibleRuns().map(run => run.cache).filter(cache => cache.low));
    if (scale === "layer") ranges = shareRange(ranges);
    return zero_centred || delta ? centreOnZero(ranges) : ranges;
  }

  draw() {
    for (const run of this.runs) this.grids.get(run.name).showProblem(run.problem);
    if (!this.colours || !this.steps.length) return;
    const step = this.step();
    const snapshots = this.visibleRuns().map(run => [run, run.snapshot()]);
    const readable = snapshots.map(([, snapshot]) => snapshot).filter(snapshot => snapshot?.cells);
    const ranges = readable.length ? this.valueRanges(readable) : null;
    for (const [run, snapshot] of snapshots) {
      const order = run.isMatrix ? [0] : this.numbers.map(number => run.cellIndex(number));
      this.grids.get(run.name).draw(snapshot, run.stepShown() ?? step, ranges, order, this.colours);
    }
    this.filter.draw(ranges);
    const moment = readable[0]?.moment;
    this.playback.showStep(step, describeMoment(step, moment), moment?.note);
    this.saveState();
  }

  /** A key of everything but the step on which pictures depend. */
  lookKey() {
    const {scale, zero_centred, delta, colormap, channels} = this.look;
    const range = scale === "frame" ? "" : this.visibleRuns().map(run => run.cache.loaded);
    return JSON.stringify([scale, zero_centred, delta, colormap, channels, range, this.colours?.separator]);
  }

  /** Show which steps are loaded and which are damaged. */
  showProgress() {
    const runs = this.visibleRuns();
    const damaged = new Set(runs.flatMap(run => run.cache.damaged));
    const isLoaded = step => runs.every(run => run.cache.at(step) || run.cache.stamps.get(step) === undefined);
    const states = this.steps.map(step => (damaged.has(step) ? "damaged" : isLoaded(step) ? "loaded" : ""));
    this.playback.drawMarks(states);
    const loaded = states.filter(Boolean).length;
    const parts = [...(this.notes ?? [])];
    if (this.look.scale !== "frame" && loaded < states.length) parts.unshift("the scale is of these");
    const listed = [...damaged].slice(0, MOST_LISTED).map(step => `step ${step}`).join(", ");
    if (damaged.size) parts.push(`damaged: ${listed}${damaged.size > MOST_LISTED ? " …" : ""}`);
    this.notices.showProgress(loaded, states.length, parts);
  }

  // The filter that is open.

  /** Open a filter, or close it: null. */
  openFilter(number) {
    this.selectFilter(number);
    this.arrange();
  }

  /** Open a filter if it is on the page; the caller arranges and draws. */
  selectFilter(number) {
    const existing = this.numbers.includes(number) && this.visibleRuns().length ? number : null;
    this.chosenFilter = number;
    this.filter.open(existing);
    for (const grid of this.grids.values()) grid.select(existing);
  }

  goToStep(step) {
    this.clock.pause();
    this.clock.goTo(this.steps.findLastIndex(each => each <= step));
  }

  /** Save the state in the URL; at the last step no step, so that the link follows a training. */
  saveState() {
    writeUrlState(this.settings, {
      runs: this.chosenRuns.length ? this.chosenRuns : this.runs.map(run => run.name), look: this.look,
      step: this.clock.isAtEnd ? "" : this.step(), filter: this.filter.number ?? "",
    });
  }

  // Keys and saving.

  handleKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const {target} = event;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const isTyping = target.matches("select, input:not([type=range]):not([type=checkbox])");
    const usesSpace = target.matches("button, summary, input[type=checkbox], a");
    const actions = {
      " ": () => this.clock.toggle(),
      ArrowLeft: () => this.playback.stepBy(event.shiftKey ? -10 : -1),
      ArrowRight: () => this.playback.stepBy(event.shiftKey ? 10 : 1),
      Home: () => this.clock.goTo(0),
      End: () => this.clock.goTo(Infinity),
      "+": () => this.playback.changeSpeed(1),
      "-": () => this.playback.changeSpeed(-1),
      l: () => this.playback.toggleLoop(),
      Escape: () => this.openFilter(null),
    };
    if (isTyping || !actions[key] || (usesSpace && key === " ")) return;
    event.preventDefault();
    actions[key]();
  }

  async saveAnimation(ending) {
    if (this.isSaving) return;
    this.isSaving = true;
    const more = this.visibleRuns().length > 2 ? " It holds the first two runs." : "";
    this.notices.show("saving", `Drawing the animation …${more}`);
    await this.notices.attempt("saving", () => saveAnimation(this, ending));
    this.isSaving = false;
  }
}

function describeMoment(step, moment) {
  if (!moment) return `step ${step}`;
  return moment.when.startsWith(`step ${step}`) ? moment.when : `step ${step}, ${moment.when}`;
}

function storedOrder(layer) {
  return Array.from({length: layer.shape[0]}, (_, n) => n);
}
