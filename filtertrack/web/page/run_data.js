// One run that is shown: its layers, its steps, and the snapshots of the part that is looked at.

import {SnapshotCache} from "./snapshot_cache.js";
import {requestJson} from "./requests.js";

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
    this.cache = null; // of the selected part of a layer
    this.partKey = "";
    this.problem = ""; // why the run cannot be compared with the others
  }

  /** Request what is new; returns whether anything has changed. */
  async update() {
    const found = await requestJson("steps", {run: this.name, known: this.version});
    if (!found.steps) return false;
    if (found.made !== this.made) {
      const {layers, default_layer} = await requestJson("layers", {run: this.name});
      this.defaultLayer = default_layer;
      this.layers = new Map(layers.map(layer => [layer.name, layer]));
      this.closeCache();
    }
    Object.assign(this, found);
    this.cache?.update(this.steps, this.stamps);
    return true;
  }

  /** Select filters of a layer, with ascending numbers; `sharers` runs share the memory. */
  select({layer, filters, channels, delta}, sharers) {
    const partKey = JSON.stringify([layer.name, filters, channels, delta]);
    if (partKey === this.partKey && this.cache) {
      this.cache.sharers = sharers;
      return;
    }
    this.closeCache();
    Object.assign(this, {layer, filters, partKey});
    this.kind = channels === "strongest" && layer.kind !== "grey" ? "pattern" : channels === "" ? layer.kind : "grey";
    this.cache = new SnapshotCache(
      {run: this.name, layer: layer.name, filters: formatRanges(filters), channels, delta: delta ? 1 : null},
      this.kind === "pattern", sharers, () => this.page.redrawSoon());
    this.cache.lookAt(this.index());
    this.cache.update(this.steps, this.stamps);
  }

  closeCache() {
    this.cache?.stop();
    this.cache = null;
  }

  /** The index of this run's last step up to a step of the page, by default the current one; -1 for none. */
  index(step = this.page.step()) {
    let [low, high] = [0, this.steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.steps[middle] <= step) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The step of this run that is shown; null if it begins later. */
  stepShown() {
    return this.steps[this.index()] ?? null;
  }

  /** The snapshot shown at a step of the page: {cells, …}, {damaged} or {absent}; undefined if not loaded. */
  snapshot(step = this.page.step()) {
    const index = this.index(step);
    if (index < 0) return {absent: `This run begins at step ${this.steps[0]}.`};
    return this.cache?.at(this.steps[index]);
  }

  get isMatrix() {
    return this.kind === "matrix";
  }

  /** The shape of a cell: height and width in weights, slices and channels. */
  get cellShape() {
    const [, layerHeight, layerWidth] = this.layer.shape;
    const [, height, width, channels] = this.cache?.shape ?? [0, layerHeight, layerWidth, this.kind === "colour" ? 3 : 1];
    return {height, width, slices: this.layer.slices, channels, isMatrix: this.isMatrix};
  }

  /** The index of a filter's cell among those requested. */
  cellIndex(number) {
    return this.filters.indexOf(number);
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
