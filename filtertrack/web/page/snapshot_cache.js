// The snapshots of a part of one run's layer that are loaded in the browser.
//
// Loading starts at the snapshot that is looked at, continues with those after it, then those
// before. If the run exceeds MOST_BYTES, the snapshots around the one looked at are kept.

import {requestCells} from "./requests.js";

const MOST_BYTES = 600e6; // of all runs together
const LEAST_SNAPSHOTS = 16; // kept even if they exceed MOST_BYTES
const RETRY_DELAY = 3000; // milliseconds after an error
const SLOW = 5000; // milliseconds after which a notice says that the answer takes long

export class SnapshotCache {
  /**
   * @param {object} part the query of /cells: run, layer, filters, channels, delta
   * @param {boolean} alignSigns whether cells are rank-1 patterns, whose signs are aligned
   * @param {number} sharers how many caches share the memory
   * @param {function} changed called when snapshots or an `error` have been added
   */
  constructor(part, alignSigns, sharers, changed) {
    Object.assign(this, {part, alignSigns, sharers, changed});
    this.steps = [];
    this.stamps = new Map();
    this.snapshots = new Map(); // step -> {cells, moment, low, high} or {damaged}
    this.shape = null;
    this.ranges = new Map(); // step -> {low, high} of each cell; kept when its cells are removed
    this.low = this.high = null; // over all ranges
    this.wanted = 0; // index of the step that is looked at
    this.abort = new AbortController();
    this.isLoading = false;
    this.error = null; // why loading fails at present
  }

  /** Set the steps that exist, each with a stamp that changes with its file, and load what is new. */
  update(steps, stamps) {
    const now = new Map(steps.map((step, n) => [step, stamps[n]]));
    // A difference depends on the first snapshot: if that changes, all do.
    const isRestart = this.part.delta && this.start !== undefined && now.get(steps[0]) !== this.start;
    this.start = now.get(steps[0]);
    const replaced = [...new Set([...this.snapshots.keys(), ...this.ranges.keys()])]
      .filter(step => isRestart || now.get(step) !== this.stamps.get(step));
    for (const step of replaced) {
      this.snapshots.delete(step);
      this.ranges.delete(step);
    }
    if (replaced.length) this.recomputeRange();
    this.steps = steps;
    this.stamps = now;
    this.load();
  }

  stop() {
    this.abort.abort();
  }

  /** Set which snapshot is looked at, by the index of its step, and load from there. */
  lookAt(index) {
    this.wanted = Math.max(0, index);
    this.load();
  }

  at(step) {
    return this.snapshots.get(step);
  }

  /** How many snapshots are loaded. */
  get loaded() {
    return this.snapshots.size;
  }

  /** The steps of damaged snapshots, ascending. */
  get damaged() {
    return [...this.snapshots].filter(([, snapshot]) => snapshot.damaged).map(([step]) => step).sort((a, b) => a - b);
  }

  async load() {
    if (this.isLoading) return;
    this.isLoading = true;
    for (let range; !this.abort.signal.aborted && (range = this.nextMissing()); ) {
      try {
        await this.fetch(...range);
        this.error = null;
      } catch (error) {
        if (this.abort.signal.aborted) return;
        this.error = `${error.message} (It is asked again in ${RETRY_DELAY / 1000} seconds.)`;
        this.changed();
        await new Promise(resolve => setTimeout(resolve, RETRY_DELAY));
      }
      if (!this.abort.signal.aborted) this.changed();
    }
    this.isLoading = false;
  }

  /** The indices of the first and the last step to load next; null if nothing is missing. */
  nextMissing() {
    const [from, to] = this.keptRange();
    const isMissing = n => !this.snapshots.has(this.steps[n]);
    let first = -1;
    for (let n = this.wanted; n < to && first < 0; n++) if (isMissing(n)) first = n;
    for (let n = from; n < Math.min(this.wanted, to) && first < 0; n++) if (isMissing(n)) first = n;
    if (first < 0) return null;
    let last = first;
    while (last + 1 < to && isMissing(last + 1)) last++;
    return [first, last];
  }

  /** The indices of the steps that are kept, [from, to): all of them, or as many as memory allows. */
  keptRange() {
    const count = this.steps.length;
    const bytes = this.shape ? this.shape.reduce((a, b) => a * b) * this.itemSize : 1;
    const most = Math.max(LEAST_SNAPSHOTS, Math.floor(MOST_BYTES / this.sharers / bytes));
    if (count <= most) return [0, count];
    // It moves by a quarter at a time, so that one request loads more than a single step.
    const quarter = Math.floor(most / 4);
    const from = Math.min(Math.max(0, (Math.floor(this.wanted / quarter) - 1) * quarter), count - most);
    return [from, from + most];
  }

  async fetch(first, last) {
    const steps = this.steps.slice(first, last + 1);
    const stamps = this.stamps;
    const sources = this.part.delta ? [this.steps[0], ...steps] : steps;
    const version = sources.reduce((hash, step) => (Math.imul(hash, 31) + (stamps.get(step) % 2 ** 32)) | 0, 17);
    const timer = setTimeout(() => this.reportSlow(), SLOW);
    const answer = await requestCells(
      {...this.part, first: steps[0], last: steps.at(-1), version: version >>> 0}, this.abort.signal)
      .finally(() => clearTimeout(timer));
    const end = answer.next ?? Infinity;
    const loaded = new Set(answer.moments.map(moment => moment.step));
    answer.moments.forEach((moment, n) => this.add(moment, answer.arrays[n], answer.shape, stamps));
    for (const step of steps) {
      if (step >= end || loaded.has(step)) continue;
      const damaged = answer.damaged[step] ?? "It is not there any more.";
      if (this.stamps.get(step) === stamps.get(step)) this.snapshots.set(step, {damaged});
    }
    if (this.alignSigns) this.alignFrom(this.steps.findIndex(step => step >= steps[0]));
    this.removeDistant();
  }

  /** Report that an answer takes long. */
  reportSlow() {
    if (this.abort.signal.aborted) return;
    this.error ??= `TensorBoard has not answered for ${SLOW / 1000} seconds; the page waits for it.`;
    this.changed();
  }

  add(moment, cells, shape, stamps) {
    if (this.stamps.get(moment.step) !== stamps.get(moment.step)) return; // replaced meanwhile
    this.shape = shape;
    this.itemSize = cells.BYTES_PER_ELEMENT;
    const range = rangeOfCells(cells, shape[0]);
    this.snapshots.set(moment.step, {moment, cells, ...range});
    this.ranges.set(moment.step, range);
    this.widenRange(range);
  }

  widenRange({low, high}) {
    this.low ??= new Float64Array(low.length).fill(Infinity);
    this.high ??= new Float64Array(high.length).fill(-Infinity);
    for (let n = 0; n < low.length; n++) {
      if (low[n] < this.low[n]) this.low[n] = low[n];
      if (high[n] > this.high[n]) this.high[n] = high[n];
    }
  }

  recomputeRange() {
    this.low = this.high = null;
    for (const range of this.ranges.values()) this.widenRange(range);
  }

  /**
   * Align the signs of rank-1 patterns from an index on, up to the next gap. The sign of a pattern
   * is arbitrary: each cell takes the one closer to the snapshot before, so that none flips.
   */
  alignFrom(first) {
    if (first < 0) return; // all steps were removed meanwhile
    let before = null;
    for (let n = first - 1; n >= 0 && !before; n--) {
      const snapshot = this.snapshots.get(this.steps[n]);
      if (!snapshot) break;
      if (!snapshot.damaged) before = snapshot;
    }
    let isFlipped = false;
    for (let n = first; n < this.steps.length; n++) {
      const snapshot = this.snapshots.get(this.steps[n]);
      if (!snapshot) break;
      if (snapshot.damaged) continue;
      if (before && flipCells(snapshot, before)) isFlipped = true;
      before = snapshot;
    }
    if (isFlipped) this.recomputeRange();
  }

  removeDistant() {
    const [from, to] = this.keptRange();
    if (to - from >= this.steps.length) return;
    const kept = new Set(this.steps.slice(from, to));
    for (const step of [...this.snapshots.keys()]) if (!kept.has(step)) this.snapshots.delete(step);
  }
}

/** The lowest and the highest finite value of each cell. */
function rangeOfCells(cells, count) {
  const low = new Float64Array(count).fill(Infinity);
  const high = new Float64Array(count).fill(-Infinity);
  const each = cells.length / count;
  for (let cell = 0, n = 0; cell < count; cell++) {
    let lowest = Infinity;
    let highest = -Infinity;
    for (const end = n + each; n < end; n++) {
      const value = cells[n];
      if (!Number.isFinite(value)) continue;
      if (value < lowest) lowest = value;
      if (value > highest) highest = value;
    }
    low[cell] = lowest;
    high[cell] = highest;
  }
  return {low, high};
}

/** Negate the cells of a snapshot that are closer to the negative of the snapshot before. */
function flipCells(snapshot, before) {
  const {cells, low, high} = snapshot;
  const each = cells.length / low.length;
  let isFlipped = false;
  for (let cell = 0; cell < low.length; cell++) {
    const [from, to] = [cell * each, (cell + 1) * each];
    let product = 0;
    for (let n = from; n < to; n++) product += cells[n] * (Number.isFinite(before.cells[n]) ? before.cells[n] : 0);
    if (!(product < 0)) continue;
    for (let n = from; n < to; n++) cells[n] = -cells[n];
    [low[cell], high[cell]] = [-high[cell], -low[cell]];
    isFlipped = true;
  }
  return isFlipped;
}
