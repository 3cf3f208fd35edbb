// The parts of a run's layer, each shown in a grid of its own: the filters, and what was learned,
// their difference from the start.

import {aroundZero, centreOnZero, emptyRange, rangeOfCells, reachOf, shareRange, widen} from "./value_range.js";

/** The filters. */
export class FilterCells {
  isLearned = false;

  /** @param {SnapshotCache} cache */
  constructor(cache) {
    this.cache = cache;
    this.range = null; // the darkest and the lightest value of each cell, as drawn; set by the page
  }

  /** The snapshot at a step: {cells, moment, low, high} or {damaged}; undefined if not loaded. */
  at(step) {
    return this.cache.at(step);
  }

  isLoaded(step) {
    return Boolean(this.cache.at(step));
  }

  /** The darkest and the lightest value of each cell of a snapshot. */
  valueRange(snapshot, {scale, zero_centred}) {
    const range = scale === "frame" ? snapshot : this.cache.range;
    const shared = scale === "layer" ? shareRange(range) : range;
    return zero_centred ? centreOnZero(shared) : shared;
  }

  get isUnchanged() {
    return false;
  }
}

/**
 * The difference of the filters from the first readable snapshot. Changes that are not noticeable
 * are drawn as none, as the renderer does (layer_look.py).
 */
export class LearnedCells {
  isLearned = true;

  /**
   * @param {SnapshotCache} cache of the differences if the server computes them, else of the filters
   * @param {boolean} isFetched whether it is of the differences
   * @param {object} settings the answer of /settings
   */
  constructor(cache, isFetched, settings) {
    Object.assign(this, {cache, isFetched, settings});
    this.range = null; // the darkest and the lightest value of each cell, as drawn; set by the page
    this.scale = "filter"; // set by the page
    this.ranges = new Map(); // step -> the range of its differences, with the stamp of its file
  }

  at(step) {
    const source = this.cache.at(step);
    if (!source?.cells) return source;
    if (!this.noticeable) return undefined; // the start is not loaded
    const {least, cache: {revision}} = this;
    const isDrawn = this.drawn?.source === source && this.drawn.least === least && this.drawn.revision === revision;
    if (!isDrawn) this.drawn = {...this.differences(source, least), source, least, revision};
    return this.drawn;
  }

  isLoaded(step) {
    const source = this.cache.at(step);
    return Boolean(source && (source.damaged || this.noticeable));
  }

  /** The snapshot of differences, without those that are not noticeable. */
  differences({cells: weights, moment}, least) {
    const cells = this.isFetched ? new Float64Array(weights) : subtract(weights, this.cache.start.cells);
    const each = cells.length / least.length;
    for (let cell = 0, n = 0; cell < least.length; cell++) {
      for (const end = n + each; n < end; n++) if (Math.abs(cells[n]) < least[cell]) cells[n] = 0;
    }
    return {cells, moment, ...rangeOfCells(cells, least.length)};
  }

  /** The change of each cell that is drawn, at least, on a scale of its own; null if not known. */
  get noticeable() {
    const source = this.isFetched ? this.cache : this.cache.start;
    if (!source || (this.isFetched && !source.noticeable)) return null;
    if (this.noticeableOf !== (source.noticeable ?? source)) {
      this.noticeableOf = source.noticeable ?? source;
      this.noticeableCells = source.noticeable
        ? Float64Array.from(source.noticeable) : reachOf(source).map(reach => Math.max(0, reach) * this.settings.noticeable);
      this.leastKey = null;
    }
    return this.noticeableCells;
  }

  /** The change of each cell that is drawn, at least, on the scale that is chosen. */
  get least() {
    const {noticeable} = this;
    if (this.leastKey !== this.scale) {
      this.leastKey = this.scale;
      this.leastCells = this.scale === "layer" ? noticeable.map(() => Math.max(...noticeable)) : noticeable;
      if (this.isFetched) this.cache.alignWith(this.leastCells);
    }
    return this.leastCells;
  }

  valueRange(snapshot, {scale}) {
    const range = scale === "frame" ? snapshot : this.wholeRange;
    const reach = reachOf(scale === "layer" ? shareRange(range) : range);
    return aroundZero(reach.map((value, cell) => Math.max(value, this.settings.full_colour * this.least[cell])));
  }

  /** The range of the differences of all snapshots that were loaded. */
  get wholeRange() {
    if (this.isFetched) return this.cache.range;
    const {cache} = this;
    if (this.revision === cache.revision) return this.whole;
    this.revision = cache.revision;
    const isKnown = step => this.ranges.get(step)?.stamp === cache.stamps.get(step);
    if (this.rangeStart !== cache.start) this.ranges.clear();
    this.rangeStart = cache.start;
    for (const step of [...this.ranges.keys()]) if (!isKnown(step)) this.ranges.delete(step);
    for (const [step, {cells}] of cache.snapshots) {
      if (!cells || isKnown(step)) continue;
      const range = rangeOfCells(subtract(cells, cache.start.cells), cache.shape[0]);
      this.ranges.set(step, {...range, stamp: cache.stamps.get(step)});
    }
    this.whole = emptyRange(cache.shape[0]);
    for (const range of this.ranges.values()) widen(this.whole, range);
    return this.whole;
  }

  /** Whether the whole run is loaded, and no change in it is noticeable. */
  get isUnchanged() {
    if (!this.noticeable || !this.cache.isComplete) return false;
    const {wholeRange, least} = this;
    return wholeRange.isFinite && reachOf(wholeRange).every((reach, cell) => reach < least[cell] || reach === 0);
  }
}

function subtract(cells, start) {
  const differences = new Float64Array(cells.length);
  for (let n = 0; n < cells.length; n++) differences[n] = cells[n] - start[n];
  return differences;
}
