// The page: connects the state (runs, look, step, filter) with its controls and views.

import {make, makeButton, makeIcon} from "./dom.js";
import {FilterLabels} from "./filter_labels.js";
import {FilterView} from "./filter_view.js";
import {chooseColumns} from "./grid_columns.js";
import {isShown, listenToKeys, takeFocusWhenShown} from "./keys.js";
import {describeShape, LayerMenu} from "./layer_menu.js";
import {hasChannels} from "./look_options.js";
import {Notices} from "./notices.js";
import {PlaybackClock} from "./playback_clock.js";
import {GridPalettes} from "./grid_palettes.js";
import {HEADING} from "./grid_view.js";
import {requestJson} from "./requests.js";
import {RunData} from "./run_data.js";
import {RunView} from "./run_view.js";
import {saveAnimation, savePicture} from "./save_files.js";
import {describeCells, describeMapScale, describePart, describeScale} from "./scale_bar.js";
import {Sidebar} from "./sidebar.js";
import {StepLabels} from "./step_labels.js";
import {followTheme} from "./theme.js";
import {Timeline} from "./timeline.js";
import {readUrlState, writeUrlState} from "./url_state.js";
import {inOrder, unionOfRanges} from "./value_range.js";

// Milliseconds between two polls of the runs' steps.
const LEAST_POLL = 2000;
const MOST_POLL = 30_000;
const POLLS_OF_RUNS = 4; // the list of runs is requested at every fourth poll
// CSS pixels.
const ONE_COLUMN = 900; // width of a window in which all is below each other; also in style.css
const ROOM_FOR_SIDEBAR = 1100; // width of a window in which the sidebar is open at first
const LEAST_ROOM = 300; // height for the grids
const MOST_LISTED = 8; // damaged steps that are named

export class Page {
  /** @param {object} settings the answer of /settings */
  constructor(settings) {
    this.settings = settings;
    this.runNames = []; // of all runs
    this.runs = []; // those that are shown
    this.views = new Map(); // run name -> RunView
    this.steps = []; // of all runs that are shown, ascending
    this.shown = []; // for each part of the layer that is shown, whether it is what was learned
    this.palettes = new GridPalettes(settings);
    this.colours = null; // {filters, learned, rectified, signed}: GridColours of each part, and of maps
    this.offersMaps = false; // whether responses of the layer can be shown
    this.showsMaps = false; // whether they are shown
    const {runs, look, step, filter, metric} = readUrlState(settings);
    this.look = look;
    this.chosenRuns = runs; // also those that do not exist at present
    this.initialStep = step;
    this.chosenFilter = filter;
    this.metric = metric; // whose curve is drawn; empty for the loss, or the first one
    this.notices = new Notices();
    this.clock = new PlaybackClock(() => this.showStep(), index => this.isReady(index), () => this.showPlaying());
    this.timeline = new Timeline(this.clock, name => this.chooseMetric(name));
    const actions = {
      changeLook: changes => this.changeLook(changes),
      chooseRun: (name, on) => this.chooseRun(name, on),
      stepLayer: offset => this.stepLayer(offset),
      turnPage: by => this.turnPage(by),
      savePicture: () => this.notices.attempt("saving", () => savePicture(this)),
      saveAnimation: ending => this.saveAnimation(ending),
    };
    this.sidebar = new Sidebar(look, settings, actions);
    this.menu = new LayerMenu(actions);
    this.filter = new FilterView(this);
    this.stepLabels = new StepLabels(() => this.redrawSoon());
    this.gridArea = make("div", {class: "grids"});
    this.root = this.makeRoot();
    listenToKeys(() => this.keyActions());
  }

  makeRoot() {
    const {alert, status, announcement} = this.notices;
    this.fold = makeButton("Runs and look (S)", makeIcon("menu"), () => this.foldSidebar());
    this.fold.setAttribute("aria-controls", "sidebar");
    this.room = make("div", {class: "room"}, this.gridArea);
    const body = make("div", {class: "body"}, this.room, this.filter.element);
    const content = make("div", {class: "content"}, make("header", {class: "top"}, this.fold, this.menu.element),
      alert, body, this.timeline.element, status, announcement);
    const root = make("main", {class: "page"}, this.sidebar.element, content);
    this.showSidebar(window.innerWidth >= ROOM_FOR_SIDEBAR, root);
    return root;
  }

  async start() {
    document.body.append(this.root);
    takeFocusWhenShown();
    const observer = new ResizeObserver(() => this.arrange());
    for (const element of [this.root, this.gridArea]) observer.observe(element);
    window.addEventListener("resize", () => this.arrange());
    followTheme(() => this.applyLook());
    await this.notices.attempt("runs", () => this.findRuns());
    this.poll();
  }

  foldSidebar() {
    this.showSidebar(this.sidebar.element.hidden);
  }

  showSidebar(isOpen, root = this.root) {
    this.sidebar.element.hidden = !isOpen;
    root.toggleAttribute("data-sidebar", isOpen);
    this.fold.setAttribute("aria-expanded", String(isOpen));
  }

  // Runs and their steps.

  async findRuns() {
    const {runs, notes, root} = await requestJson("runs");
    this.chosenRuns = this.chosenRuns.map(name => (name === "." && root) || name); // a link of an earlier version
    this.runNames = runs;
    this.notes = notes;
    this.notices.show("none", runs.length ? "" : ["There is no run of filtertrack below the log folder yet: the page waits for one.", ...notes].join(" "));
    await this.showRuns();
  }

  /** Show the chosen runs that exist; if there are none, the first run. */
  async showRuns() {
    const existing = this.chosenRuns.filter(name => this.runNames.includes(name));
    const names = existing.length ? existing : this.runNames.slice(0, 1);
    this.sidebar.listRuns(this.runNames, names);
    const before = new Map(this.runs.map(run => [run.name, run]));
    if (names.join("\n") === [...before.keys()].join("\n")) return;
    this.runs = names.map(name => before.get(name) ?? new RunData(name, this));
    for (const [name, run] of before) {
      if (names.includes(name)) continue;
      run.close();
      for (const what of ["probes", "metrics"]) this.notices.show(`${what} of ${name}`, "");
    }
    this.views = new Map(names.map(name => [name, this.views.get(name) ?? new RunView(name, {
      openFilter: number => this.openFilter(number),
      chooseProbe: number => this.chooseProbe(number),
      stepProbe: offset => this.stepProbe(offset),
    })]));
    this.gridArea.replaceChildren(...[...this.views.values()].map(view => view.element));
    await this.updateRuns();
    await this.applyLook();
  }

  /** Update each run; an unreadable run does not stop the others. Returns whether anything is new. */
  async updateRuns() {
    const results = await Promise.allSettled(this.runs.map(run => run.update()));
    const errors = results.filter(({reason}) => reason).map(({reason}) => reason.message);
    this.notices.show("steps", [...new Set(errors)].join(" "));
    for (const run of this.runs) run.metrics.update();
    return results.some(({value}) => value);
  }

  /** Request what is new, now and again and again; an error does not end it. */
  async poll() {
    const start = performance.now();
    try {
      if (!document.hidden && isShown()) await this.requestNew();
    } finally {
      setTimeout(() => this.poll(), Math.min(MOST_POLL, Math.max(LEAST_POLL, 5 * (performance.now() - start))));
    }
  }

  async requestNew() {
    this.polls = (this.polls ?? 0) + 1;
    if (this.polls % POLLS_OF_RUNS === 0) await this.notices.attempt("runs", () => this.findRuns());
    if (!(await this.updateRuns()) && !this.isIncomplete) return;
    this.isIncomplete = true; // until it is applied without an error
    await this.applyLook();
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

  /** Show the layer that is some entries further in the menu. */
  async stepLayer(offset) {
    await this.changeLook({layer: this.menu.neighbour(this.look.layer, offset)});
  }

  /** Show the page of filters that is some pages further. */
  async turnPage(by) {
    const count = Math.ceil(this.layer.shape[0] / this.layer.page_size);
    await this.changeLook({page: (this.look.page + by + count) % count});
  }

  /** Update everything after a change of the look, the runs or the theme. */
  async applyLook() {
    const change = this.latestChange = (this.latestChange ?? 0) + 1;
    const {runs} = this;
    const layers = this.listLayers();
    if (!layers.length) return;
    const find = wanted => layers.find(({name}) => name === wanted);
    const {defaultLayer} = this.runs.find(run => run.layers.size);
    if (!find(this.look.layer)) Object.assign(this.look, {layer: defaultLayer, channels: "", page: 0});
    const layer = find(this.look.layer);
    if (!hasChannels(layer, this.look.channels)) this.look.channels = "";
    this.look.page = Math.min(this.look.page, Math.max(0, Math.ceil(layer.shape[0] / layer.page_size) - 1));
    const problems = new Map(this.runs.map(run => [run, findProblem(run, layer)]));
    const comparable = this.runs.filter(run => !problems.get(run));
    const offersMaps = layer.kind !== "matrix" && comparable.some(run => run.probes?.maps && run.probedLayer(layer.name));
    const showsMaps = offersMaps && this.look.responses;
    if (offersMaps) this.look.probe = Math.min(this.look.probe, this.mapCount - 1);
    const [shown, orders, colours] = await Promise.all([
      this.requestShown(comparable, layer, showsMaps), Promise.all(comparable.map(run => this.requestOrder(run, layer))), this.notices.attempt("colours", () => this.palettes.coloursFor(this.look.colormap)),
      ...this.runs.map(run => run.metrics.ready)]);
    // What is shown changes only from here on: an answer may come after a later change.
    if (change !== this.latestChange || runs !== this.runs) return;
    this.isIncomplete = !shown || !colours || orders.some(({numbers, labels}) => !numbers || labels === undefined);
    if (!colours) return;
    Object.assign(this, {colours, offersMaps, showsMaps});
    this.shown = shown ?? [false];
    this.layer = layer;
    this.menu.show(this.look, layers);
    this.sidebar.show(this.look, layer, this);
    this.notices.subject = `${layer.name}: ${describeShape(layer)}`;
    this.mergeSteps();
    const start = this.look.page * layer.page_size;
    for (const [run, problem] of problems) {
      run.problem = problem;
      if (problem) run.close();
    }
    comparable.forEach((run, n) => {
      const numbers = (orders[n].numbers ?? storedOrder(layer)).slice(start, start + layer.page_size);
      run.labels = orders[n].labels ?? null;
      run.select(run.layers.get(layer.name), numbers, this.look.channels, this.shown, this.showsMaps ? this.look.probe : null);
    });
    for (const part of this.visibleParts()) part.scale = this.scale;
    for (const view of this.views.values()) view.showParts(this.shown);
    this.selectFilter(layer.kind === "matrix" ? null : this.chosenFilter);
    const caches = [...this.visibleRuns().flatMap(run => run.allCaches), ...this.filter.caches];
    for (const cache of caches) cache.sharers = caches.length;
    this.arrange();
  }

  /** The layers of all runs, each once, in the order of the first run that has it. */
  listLayers() {
    const layers = new Map();
    for (const run of this.runs) for (const [name, layer] of run.layers) if (!layers.has(name)) layers.set(name, layer);
    return [...layers.values()];
  }

  /**
   * The parts of a layer that are shown, as an entry for each: whether it is what was learned.
   * Where that is not chosen, the server chooses when the layer is selected, and the choice is kept
   * while training runs; beside responses it is the filters alone. Undefined if a request fails.
   */
  async requestShown(runs, layer, showsMaps) {
    const {delta} = this.look;
    if (delta !== "" || showsMaps) return [delta === "1"];
    const key = JSON.stringify([layer.name, runs.map(run => [run.name, run.made])]);
    if (this.shownKey !== key) {
      const requests = runs.map(run => requestJson("parts", {run: run.name, layer: layer.name, version: run.version}));
      const answers = await this.notices.attempt("parts", () => Promise.all(requests));
      if (!answers) return undefined;
      [this.shownKey, this.usual] = [key, answers.some(({learned}) => learned) ? [false, true] : [false]];
    }
    return this.usual;
  }

  /** The scale that is chosen, or the usual one of what is shown. */
  get scale() {
    return this.look.scale || (this.shown.includes(true) ? "filter" : "frame");
  }

  /**
   * The numbers of all filters in the chosen order, a run's own, and the FilterLabels of its groups: null
   * if there are none. Each is undefined if its request fails. Both are kept while training runs.
   * @returns {Promise<object>} {numbers, labels}
   */
  async requestOrder(run, layer) {
    const {order} = this.look;
    if (layer.kind === "matrix") return {numbers: storedOrder(layer), labels: null};
    const [found, answer] = await Promise.all([
      order === "stored" ? {numbers: storedOrder(layer)} : this.requestOnce(run, "order", layer, {order}),
      order === "label" ? this.requestOnce(run, "labels", layer, {}) : null,
    ]);
    const labels = answer && new FilterLabels(answer, layer);
    const numbers = order === "label" && found && labels ? labels.group(found.numbers) : found?.numbers;
    return {numbers, labels};
  }

  /** The answer about a layer of a run that is kept for the next request; undefined if it fails. */
  async requestOnce(run, route, layer, query) {
    const key = JSON.stringify([run.made, layer.name, query]);
    if (run.answers.get(route)?.key !== key) {
      const answer = await this.notices.attempt(route, () => requestJson(route, {run: run.name, layer: layer.name, ...query, version: run.version}));
      if (!answer) return undefined;
      run.answers.set(route, {key, answer});
    }
    return run.answers.get(route).answer;
  }

  coloursOf(part) {
    return this.colours[part.isLearned ? "learned" : "filters"];
  }

  /** The colours of a layer's maps: from zero up, or with zero in the middle. */
  coloursOfMaps({rectified}) {
    return this.colours[rectified ? "rectified" : "signed"];
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
    return this.runs.filter(run => run.parts.length);
  }

  /** The parts of all runs that can be drawn. */
  visibleParts() {
    return this.runs.flatMap(run => run.parts);
  }

  /** The caches of all parts that can be drawn, and of the responses beside them. */
  visibleCaches() {
    return this.visibleRuns().flatMap(run => run.allCaches);
  }

  /** Whether the snapshots at an index are loaded in every run; missing ones are loaded first. */
  isReady(index) {
    const step = this.steps[index];
    const missing = this.visibleRuns().filter(run => !run.isReady(step));
    for (const run of missing) run.lookAt(step);
    return !missing.length;
  }

  /** Lay out the grids for the size of the window, and draw everything. */
  arrange() {
    if (!this.colours || !this.gridArea.clientWidth) return;
    const hasTitles = this.shown.length > 1 || this.shown.includes(true);
    const grids = new Map(this.visibleRuns().map(run => [run, this.gridOf(run)]));
    const [grid = null] = grids.values();
    const {size, runsAcross, partsAcross} = chooseColumns(
      ...this.gridSpace, {grid, runs: this.runs.length, parts: this.shown.length, hasTitles, hasProbes: this.showsMaps, isOneColumn: isOneColumn()});
    this.gridArea.style.gridTemplateColumns = `repeat(${runsAcross}, minmax(0, 1fr))`;
    for (const [run, grid] of grids) {
      const view = this.views.get(run.name);
      view.area.style.gridTemplateColumns = `repeat(${partsAcross}, minmax(0, 1fr))`;
      view.showCells([describeCells(run, this.look.channels), ...this.describeGroups(run)].join(" · "));
      run.parts.forEach((part, n) => {
        view.grids[n].showTitle(hasTitles ? describePart(part, this.settings) : "");
        view.grids[n].arrange(run.numbers, n === 0 ? grid : {...grid, map: null}, size, this.coloursOf(part), this.labellingOf(run));
      });
      view.probes.show(run, this.showsMaps);
    }
    this.timeline.showMetrics(this.runs, this.steps, this.metric);
    this.notices.show("cells", this.visibleCaches().map(cache => cache.error).find(Boolean) ?? "");
    this.notices.show("filter", this.filter.error ?? "");
    this.draw();
    this.showProgress();
    this.gridArea.classList.add("arranged"); // before, it is not visible: nothing moves while it is filled
  }

  /** What the grid of a run holds: see `layoutFor`. */
  gridOf(run) {
    const groups = this.groupsOf(run)?.map(({count}) => count) ?? null;
    const options = {groups, heading: Math.round(HEADING * devicePixelRatio), isOutlined: this.look.outline && !run.isMatrix};
    return {count: run.numbers.length, cell: run.cellShape, map: run.responses?.mapShape ?? null, options};
  }

  /** The groups of a run's filters, each below a heading; null for none. */
  groupsOf({labels, numbers}) {
    return this.look.order === "label" && labels ? labels.groupsOf(numbers) : null;
  }

  /** The step of the labels of which a run's groups are, in words; empty without groups. */
  describeGroups(run) {
    if (!this.groupsOf(run)) return [];
    const {step} = run.labels;
    return [step === run.steps.at(-1) ? `kinds at the last step, ${step}` : `kinds at step ${step}`];
  }

  /** The groups and outlines of a run's filters as its grids show them: see GridView. */
  labellingOf(run) {
    const headings = this.groupsOf(run)?.map(({text}) => text) ?? [];
    return {grouped: run.labels, headings, outlines: this.look.outline && !run.isMatrix ? this.palettes.outlines : null};
  }

  /** The width and height that is available for the grids, in CSS pixels. */
  get gridSpace() {
    const height = isOneColumn() ? window.innerHeight - this.timeline.element.offsetHeight : this.room.clientHeight;
    return [this.gridArea.clientWidth, Math.max(LEAST_ROOM, height - 2 * this.gridArea.offsetTop)];
  }

  /** Draw the current step, and load from there. */
  showStep() {
    for (const run of this.visibleRuns()) run.lookAt();
    this.draw();
  }

  /** Playback has started or stopped: patterns that were loaded meanwhile get their final signs. */
  showPlaying() {
    this.timeline.showPlaying();
    if (this.clock.isPlaying) return;
    for (const run of this.visibleRuns()) for (const cache of run.caches.values()) cache.alignSigns();
    this.redrawSoon();
  }

  /** Draw again in the next animation frame: snapshots have been loaded, or loading has failed. */
  redrawSoon() {
    this.scheduled ??= requestAnimationFrame(() => {
      this.scheduled = null;
      this.arrange();
      if (!this.clock.isPlaying) this.filter.refresh();
    });
  }

  /** The look with the scale that is used. */
  get drawnLook() {
    return {...this.look, scale: this.scale};
  }

  /**
   * Set the value range of each part that has a snapshot: its own, or one for all runs, in which the
   * cells at the same position have the same range.
   */
  setRanges(drawn) {
    const readable = drawn.filter(({snapshot}) => snapshot?.cells);
    for (const {part, snapshot} of readable) part.range = part.valueRange(snapshot, this.drawnLook);
    const answering = drawn.filter(({responses}) => responses?.cells);
    for (const {run, responses} of answering) run.responses.range = run.responses.valueRange(responses, this.scale);
    if (!this.look.one_scale) return;
    shareRanges(answering.map(({run}) => ({run, part: run.responses})));
    for (const isLearned of this.shown) {
      const same = readable.filter(({part}) => part.isLearned === isLearned);
      shareRanges(same);
    }
  }

  draw() {
    for (const run of this.runs) this.views.get(run.name).showProblem(run.problem);
    if (!this.colours || !this.steps.length) return;
    const step = this.step();
    const drawn = this.visibleRuns().flatMap(run => run.parts.map((part, n) => ({run, part, n, snapshot: run.snapshot(part), responses: n === 0 ? run.responsesAt() : null})));
    this.setRanges(drawn);
    const look = this.drawnLook;
    for (const {run, part, n, snapshot, responses} of drawn) {
      const view = this.views.get(run.name);
      const stepShown = run.stepShown() ?? step;
      if (n === 0) {
        view.showMoment(snapshot, stepShown, responses, run, step);
        view.showSilent(run.responses?.silentAt(responses) ?? []);
        if (look.outline && !run.isMatrix) view.showLabels(this.stepLabels.at(run, snapshot?.cells ? stepShown : null, this.clock.isPlaying));
      }
      view.grids[n].draw(snapshot, stepShown, part.range, run.cellOrder, this.coloursOf(part), this.mapsOf(run, responses));
      view.grids[n].bar.show(describeScale(run, part, look, this.runs.length), this.coloursOf(part), snapshot?.isFinite);
      if (n === 0 && run.responses) view.grids[n].mapBar.show(describeMapScale(run.responses, look, this.runs.length), this.coloursOfMaps(run.responses.layer));
    }
    this.filter.draw();
    const moment = drawn.map(({snapshot}) => snapshot).find(snapshot => snapshot?.cells)?.moment;
    this.timeline.showStep(moment?.note);
    this.saveState();
  }

  /** The maps of a run's responses as a grid draws them; null if there are none. */
  mapsOf({responses}, snapshot) {
    if (!snapshot?.cells) return null;
    return {values: responses.cache.decode(snapshot), range: responses.range, colours: this.coloursOfMaps(responses.layer)};
  }

  /** A key of everything but the step on which pictures depend. */
  lookKey() {
    const {zero_centred, colormap, channels, one_scale} = this.look;
    const {scale, shown} = this;
    const range = scale === "frame" ? "" : this.visibleParts().map(part => part.cache.revision);
    return JSON.stringify([scale, zero_centred, shown, colormap, channels, one_scale, range, this.colours?.filters.separator]);
  }

  /** Show which steps are loaded and which are damaged. */
  showProgress() {
    const caches = this.visibleCaches();
    const damaged = new Set(caches.flatMap(cache => cache.damaged));
    const isLoaded = step => caches.every(cache => cache.at(step) || cache.stamps.get(step) === undefined);
    const states = this.steps.map(step => (damaged.has(step) ? "damaged" : isLoaded(step) ? "loaded" : ""));
    this.timeline.drawMarks(states);
    const loaded = states.filter(Boolean).length;
    const parts = [...(this.notes ?? [])];
    if (this.scale !== "frame" && loaded < states.length) parts.unshift("the scale is of these");
    const listed = [...damaged].slice(0, MOST_LISTED).map(step => `step ${step}`).join(", ");
    if (damaged.size) parts.push(`damaged: ${listed}${damaged.size > MOST_LISTED ? " …" : ""}`);
    this.notices.showProgress(loaded, states.length, parts);
  }

  // The filter that is open.

  /** Open a filter, or close it: null. */
  openFilter(number) {
    this.selectFilter(number);
    this.arrange();
    if (number !== null && isOneColumn()) this.filter.element.scrollIntoView(); // it is below the grid
  }

  /** Open a filter if it is on the page; the caller arranges and draws. */
  selectFilter(number) {
    const existing = this.visibleRuns().some(run => run.numbers.includes(number)) ? number : null;
    this.chosenFilter = number;
    this.filter.open(existing);
    for (const view of this.views.values()) view.select(existing);
  }

  // The probe whose responses are shown.

  /** The number of probes with maps in the run that has most. */
  get mapCount() {
    return Math.max(1, ...this.runs.map(run => run.probes?.maps ?? 0));
  }

  /** Show the responses to a probe. */
  async chooseProbe(probe) {
    await this.changeLook({responses: true, probe});
  }

  /** Show the responses to the probe after the chosen one, or before it: -1; among those with maps. */
  async stepProbe(offset) {
    await this.chooseProbe((this.look.probe + offset + this.mapCount) % this.mapCount);
  }

  /** Draw the curve of another metric above the slider. */
  chooseMetric(name) {
    this.metric = name;
    this.arrange();
  }

  goToStep(step) {
    this.clock.pause();
    this.clock.goTo(this.steps.findLastIndex(each => each <= step));
  }

  /** Save the state in the URL; at the last step no step, so that the link follows a training. */
  saveState() {
    writeUrlState(this.settings, {
      runs: this.chosenRuns.length ? this.chosenRuns : this.runs.map(run => run.name), look: this.look,
      step: this.clock.isAtEnd ? "" : this.step(), filter: this.filter.number ?? "", metric: this.metric,
    });
  }

  // Keys and saving.

  keyActions() {
    const {clock, timeline} = this;
    return {
      " ": () => clock.toggle(),
      ArrowLeft: ({shiftKey}) => timeline.stepBy(shiftKey ? -10 : -1),
      ArrowRight: ({shiftKey}) => timeline.stepBy(shiftKey ? 10 : 1),
      Home: () => clock.goTo(0),
      End: () => clock.goTo(Infinity),
      "+": () => timeline.changeSpeed(1),
      "-": () => timeline.changeSpeed(-1),
      l: () => timeline.toggleLoop(),
      n: () => this.stepLayer(1),
      p: () => this.stepLayer(-1),
      s: () => this.foldSidebar(),
      ...(this.layer?.kind === "matrix" ? {} : {o: () => this.changeLook({outline: !this.look.outline})}),
      ...(this.offersMaps ? {r: () => this.changeLook({responses: !this.look.responses})} : {}),
      ...(this.showsMaps ? {",": () => this.stepProbe(-1), ".": () => this.stepProbe(1)} : {}),
      Escape: () => this.openFilter(null),
    };
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

/** Whether all is below each other in the window. */
function isOneColumn() {
  return window.innerWidth < ONE_COLUMN;
}

/** Why a run cannot be compared with the first one that has a layer; empty if it can. */
function findProblem(run, layer) {
  const own = run.layers.get(layer.name);
  if (!own) return "This run has no such layer.";
  if (String(own.shape) !== String(layer.shape)) return `Its filters have another shape here: ${own.shape.join(" × ")}, not ${layer.shape.join(" × ")}.`;
  return run.steps.length ? "" : "This run has no snapshots yet.";
}

/** Give several runs one range, in which the cells at the same position have the same. */
function shareRanges(entries) {
  if (!entries.length) return;
  const union = unionOfRanges(entries.map(({run, part}) => inOrder(part.range, run.cellOrder)));
  for (const {run, part} of entries) part.range = inOrder(union, invert(run.cellOrder));
}

/** The position of each cell of an order. */
function invert(order) {
  const positions = [];
  order.forEach((cell, position) => (positions[cell] = position));
  return positions;
}

function storedOrder(layer) {
  return Array.from({length: layer.shape[0]}, (_, n) => n);
}
