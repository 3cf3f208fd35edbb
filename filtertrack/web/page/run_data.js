// One run that is shown: its layers, its steps, and the snapshots of the part that is looked at.

import {RETRY_DELAY} from "./answer_cache.js";
import {FilterCells, LearnedCells} from "./layer_parts.js";
import {ProbePictures} from "./probe_pictures.js";
import {lastUpTo, RunMetrics} from "./run_metrics.js";
import {keyOf, RunResponses} from "./run_responses.js";
import {SnapshotCache} from "./snapshot_cache.js";
import {requestJson} from "./requests.js";

const PROBES_DELAY = 30_000; // milliseconds until a run without probes is asked for them again
const UNREAD_PROBES = {count: 0, maps: 0, labels: null, layers: [], isUnread: true};

export class RunData {
  /**
   * @param {string} name of the run
   * @param {Page} page
   */
  constructor(name, page) {
    Object.assign(this, {name, page});
    this.layers = new Map(); // name -> layer, as in /layers
    this.steps = [];
    this.stamps = [];
    this.version = null;
    this.made = null;
    this.numbers = []; // of the filters on the page, in the chosen order
    this.parts = []; // of the layer that are shown: FilterCells, LearnedCells
    this.caches = new Map(); // whether it holds differences -> SnapshotCache
    this.selection = ""; // what the caches hold
    this.probes = null; // as in /probes
    this.pictures = new Map(); // name of an input -> ProbePictures
    this.answers = new Map(); // route -> {key, answer} about the layer, see Page.requestOnce
    this.labels = null; // FilterLabels of the layer, if they are needed
    this.responses = null; // RunResponses that are shown beside the filters; null for none
    this.metrics = new RunMetrics(this, () => page.redrawSoon());
    this.updating = null; // promise of the update that is under way
    this.probesAsked = {version: null, notBefore: 0}; // of the last request of the probes; no version if it may succeed later
    this.problem = ""; // why the run cannot be compared with the others
  }

  /** Whether the page shows this run. */
  get isShown() {
    return this.page.runs.includes(this);
  }

  /** Request what is new, once at a time; returns whether anything has changed. */
  update() {
    this.updating ??= this.requestSteps().finally(() => (this.updating = null));
    return this.updating;
  }

  async requestSteps() {
    const found = await requestJson("steps", {run: this.name, known: this.version});
    if (!found.steps) {
      this.checkProbes();
      return false;
    }
    const isReplaced = found.made !== this.made;
    if (isReplaced) {
      const {layers, default_layer} = await requestJson("layers", {run: this.name});
      this.defaultLayer = default_layer;
      this.layers = new Map(layers.map(layer => [layer.name, layer]));
      this.close();
      this.pictures.clear();
      Object.assign(this, {probes: null, metrics: new RunMetrics(this, () => this.page.redrawSoon())});
    }
    Object.assign(this, found);
    if (isReplaced) await this.requestProbes();
    else this.checkProbes();
    for (const cache of this.allCaches) cache.update(this.steps, this.stamps);
    return true;
  }

  /** Request what the probes are; where their file cannot be read, the run is shown without them. */
  async requestProbes() {
    const {made, version} = this;
    const delay = this.steps.length ? PROBES_DELAY : 0; // they are stored before the first snapshot
    this.probesAsked = {version, notBefore: performance.now() + delay};
    let found, message = "";
    try {
      found = await requestJson("probes", {run: this.name, version});
    } catch (error) {
      message = error.message;
      if (error.isTemporary) this.probesAsked = {version: null, notBefore: performance.now() + RETRY_DELAY};
    }
    if (made !== this.made || !this.isShown) return;
    this.page.notices.show(`probes of ${this.name}`, message);
    if (!this.probes || (found && (found.count || this.probes.isUnread))) this.probes = found ?? UNREAD_PROBES;
  }

  /**
   * Request the probes of a run without any again, as a training that continues it may add them; the
   * caller does not wait.
   */
  async checkProbes() {
    const {version, notBefore} = this.probesAsked;
    if (this.isAskingProbes || this.probes?.count || version === this.version || performance.now() < notBefore) return;
    this.isAskingProbes = true;
    const before = this.probes;
    await this.requestProbes();
    this.isAskingProbes = false;
    if (this.probes !== before && this.isShown) await this.page.applyLook();
  }

  /** What is read of a layer at each snapshot; undefined if nothing is. */
  probedLayer(name) {
    return this.probes?.layers.find(layer => layer.name === name);
  }

  /** The pictures of the probes, of the input in which the receptive fields of a layer lie. */
  picturesOf({input}) {
    if (!this.pictures.has(input)) {
      const query = {run: this.name, input, version: this.made};
      this.pictures.set(input, new ProbePictures(query, () => this.page.redrawSoon()));
    }
    return this.pictures.get(input);
  }

  /**
   * Select filters of a layer.
   * @param {object} layer as in /layers
   * @param {number[]} numbers of the filters, in the order shown
   * @param {string} channels how input channels are drawn
   * @param {boolean[]} shown for each part that is shown, whether it is what was learned
   * @param {?number} probe whose responses are shown beside the filters; null for none
   */
  select(layer, numbers, channels, shown, probe) {
    const filters = [...numbers].sort((a, b) => a - b);
    const selection = JSON.stringify([this.made, layer.name, filters, channels]);
    if (selection !== this.selection) this.close();
    Object.assign(this, {layer, numbers, filters, selection});
    this.kind = channels === "strongest" && layer.kind !== "grey" ? "pattern" : channels === "" ? layer.kind : "grey";
    const isFetched = this.kind === "pattern"; // the pattern of a difference is no difference of patterns
    const needed = isFetched ? shown : [false];
    for (const [key, cache] of this.caches) {
      if (needed.includes(key)) continue;
      cache.stop();
      this.caches.delete(key);
    }
    const added = needed.filter(key => !this.caches.has(key));
    for (const key of added) this.caches.set(key, this.makeCache(channels, key));
    this.parts = shown.map(isLearned => this.parts.find(part => part.isLearned === isLearned && this.holds(part.cache)) ?? (
      isLearned ? new LearnedCells(this.caches.get(isFetched), isFetched, this.page.settings) : new FilterCells(this.caches.get(false))));
    for (const cache of this.caches.values()) cache.needsStart = shown.includes(true) && !isFetched;
    const isNew = this.selectResponses(probe);
    this.lookAt();
    for (const key of added) this.caches.get(key).update(this.steps, this.stamps);
    if (isNew) this.responses.cache.update(this.steps, this.stamps);
  }

  /** Select the probe whose responses are shown; returns whether there is a new cache of them. */
  selectResponses(probe) {
    const probed = probe === null ? undefined : this.probedLayer(this.layer.name);
    if (probed && this.responses?.key === keyOf(this, probed, probe)) return false;
    this.responses?.stop();
    this.responses = probed ? new RunResponses(this, probed, probe, formatRanges(this.filters)) : null;
    return Boolean(this.responses?.cache);
  }

  /** All caches: of the filters, and of their responses. */
  get allCaches() {
    const {cache} = this.responses ?? {};
    return [...this.caches.values(), ...(cache ? [cache] : [])];
  }

  makeCache(channels, isDifference) {
    const query = {run: this.name, layer: this.layer.name, filters: formatRanges(this.filters), channels, delta: isDifference ? 1 : null};
    return new SnapshotCache(query, this.kind === "pattern", () => this.page.clock.isPlaying, () => this.page.redrawSoon());
  }

  holds(cache) {
    return [...this.caches.values()].includes(cache);
  }

  close() {
    for (const cache of this.allCaches) cache.stop();
    this.caches.clear();
    this.responses = null;
    this.parts = [];
  }

  /** Load from a step of the page, by default the current one. */
  lookAt(step = this.page.step()) {
    for (const cache of this.allCaches) cache.lookAt(this.index(step));
  }

  /** The index of this run's last step up to a step of the page, by default the current one; -1 for none. */
  index(step = this.page.step()) {
    return lastUpTo(this.steps, step);
  }

  /** The step of this run at a step of the page, by default the current one; null if it begins later. */
  stepShown(step = this.page.step()) {
    return this.steps[this.index(step)] ?? null;
  }

  /** What a part shows at a step of the page: {cells, …}, {damaged} or {absent}; undefined if not loaded. */
  snapshot(part, step = this.page.step()) {
    const index = this.index(step);
    if (index < 0) return {absent: `This run begins at step ${this.steps[0]}.`};
    return part.at(this.steps[index]);
  }

  /** The responses at a step of the page: {cells, …}, {damaged} or {absent}; undefined if not loaded, null if not shown. */
  responsesAt(step = this.page.step()) {
    const index = this.index(step);
    if (!this.responses || index < 0) return null;
    return this.responses.at(this.steps[index]);
  }

  /** Whether all parts, and the responses that are shown, are loaded at a step of the page. */
  isReady(step) {
    const index = this.index(step);
    return index < 0 || (this.parts.every(part => part.isLoaded(this.steps[index])) && this.responsesAt(step) !== undefined);
  }

  get isMatrix() {
    return this.kind === "matrix";
  }

  /** The shape of a cell: height and width in weights, slices and channels. */
  get cellShape() {
    const {kind, isMatrix, numbers, layer: {shape: [, rows, columns, channels], slices, repeated, cut_channels}} = this;
    let [height, width] = [rows === 1 ? repeated : rows, columns === 1 && rows > 1 ? repeated : columns];
    if (isMatrix) [height, width] = [cut_channels ?? channels, numbers.length];
    if (kind === "heat map") [height, width] = [channels, columns];
    return {height, width, slices, channels: kind === "colour" ? 3 : 1, isMatrix};
  }

  /** Rows and columns of weights in a cell: a strip repeats its only row or column, to be wider. */
  get weightShape() {
    const {height, width} = this.cellShape;
    const isPixels = this.kind !== "heat map" && !this.isMatrix;
    return isPixels ? this.layer.shape.slice(1, 3) : [height, width];
  }

  /** The index of a filter's cell among those requested. */
  cellIndex(number) {
    return this.filters.indexOf(number);
  }

  /** For each position in a grid, the index of its cell. */
  get cellOrder() {
    return this.isMatrix ? [0] : this.numbers.map(number => this.cellIndex(number));
  }
}

/** Format ascending numbers as ranges: "0-3,5". */
function formatRanges(numbers) {
  const ranges = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}
