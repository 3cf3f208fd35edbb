// The snapshots of a part of one run's layer that are loaded in the browser.
//
// Loading starts at the snapshot that is looked at and, where differences from the start are shown,
// the start; it continues with the snapshots after it, then those before. If the run exceeds
// MOST_BYTES, the start and the snapshots around the one looked at are kept.

import {alignSigns, applySigns} from "./pattern_signs.js";
import {requestCells} from "./requests.js";
import {emptyRange, rangeOfCells, widen} from "./value_range.js";

const MOST_BYTES = 600e6; // of all runs together
const LEAST_SNAPSHOTS = 16; // kept even if they exceed MOST_BYTES
const RETRY_DELAY = 3000; // milliseconds after an error
const SLOW = 5000; // milliseconds after which a notice says that the answer takes long

export class SnapshotCache {
  /**
   * @param {object} part the query of /cells: run, layer, filters, channels, delta
   * @param {boolean} isPattern whether cells are rank-1 patterns, whose signs are aligned
   * @param {function(): boolean} isPlaying whether snapshots that are loaded keep their signs
   * @param {function} changed called when snapshots or an `error` have been added
   */
  constructor(part, isPattern, isPlaying, changed) {
    Object.assign(this, {part, isPattern, isPlaying, changed});
    this.sharers = 1; // how many caches share the memory
    this.needsStart = false; // whether the first readable snapshot is loaded early, and kept
    this.steps = [];
    this.stamps = new Map();
    this.snapshots = new Map(); // step -> {cells, moment, low, high} or {damaged}
    this.shape = null;
    this.noticeable = null; // of differences, the change of each cell that is drawn, at least
    this.least = null; // the same, as the scale wants it
    this.ranges = new Map(); // step -> {low, high} of each cell; kept when its cells are removed
    this.range = null; // over all ranges
    this.revision = 0; // increases when snapshots are added, removed or change their signs
    this.wanted = 0; // index of the step that is looked at
    this.abort = new AbortController();
    this.isLoading = false;
    this.error = null; // why loading fails at present
  }

  /** Set the steps that exist, each with a stamp that changes with its file, and load what is new. */
  update(steps, stamps) {
    const now = new Map(steps.map((step, n) => [step, stamps[n]]));
    // A difference depends on the first snapshot: if that changes, all do.
    const isRestart = this.part.delta && this.firstStamp !== undefined && now.get(steps[0]) !== this.firstStamp;
    this.firstStamp = now.get(steps[0]);
    const replaced = [...new Set([...this.snapshots.keys(), ...this.ranges.keys()])]
      .filter(step => isRestart || now.get(step) !== this.stamps.get(step));
    for (const step of replaced) {
      this.snapshots.delete(step);
      this.ranges.delete(step);
    }
    if (replaced.length) this.recomputeRange();
    this.steps = steps;
    this.stamps = now;
    this.revision += 1;
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

  /** The first readable snapshot; null if it is not loaded. */
  get start() {
    const start = this.snapshots.get(this.steps[this.startIndex]);
    return start?.cells ? start : null;
  }

  /** The index of the first step that is not known to be damaged; -1 if all are. */
  get startIndex() {
    return this.steps.findIndex(step => !this.snapshots.get(step)?.damaged);
  }

  /** Whether every step has been loaded, or is damaged. */
  get isComplete() {
    return this.steps.every(step => this.ranges.has(step) || this.snapshots.get(step)?.damaged);
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
    const [from, end] = this.keptRange();
    const isMissing = n => !this.snapshots.has(this.steps[n]);
    const start = this.needsStart && !isMissing(this.wanted) ? this.startIndex : -1;
    let first = start >= 0 && isMissing(start) ? start : -1;
    const to = first >= 0 && first < from ? first + 1 : end;
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
    this.noticeable = answer.noticeable;
    answer.moments.forEach((moment, n) => this.add(moment, answer.arrays[n], answer.shape, stamps));
    for (const step of steps) {
      if (step >= end || loaded.has(step)) continue;
      const damaged = answer.damaged[step] ?? "It is not there any more.";
      if (this.stamps.get(step) === stamps.get(step)) this.snapshots.set(step, {damaged});
    }
    this.revision += 1;
    this.alignSigns();
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
    const known = this.ranges.get(moment.step); // its cells were loaded before, and removed
    const entry = known ?? {...rangeOfCells(cells, shape[0]), signs: null, agree: null, next: null};
    entry.cells = cells;
    if (entry.signs) applySigns(cells, entry.signs);
    this.ranges.set(moment.step, entry);
    this.snapshots.set(moment.step, {moment, cells, low: entry.low, high: entry.high});
    this.range ??= emptyRange(shape[0]);
    widen(this.range, entry);
  }

  recomputeRange() {
    const [first] = this.ranges.values();
    this.range = first ? emptyRange(first.low.length) : null;
    for (const range of this.ranges.values()) widen(this.range, range);
  }

  /** Align the signs of rank-1 patterns: see pattern_signs.js. */
  alignSigns() {
    if (!this.isPattern) return;
    const readable = this.steps.filter(step => !this.snapshots.get(step)?.damaged);
    const entries = readable.map(step => this.ranges.get(step) ?? null);
    if (!alignSigns(entries, this.least, this.isPlaying())) return;
    this.recomputeRange();
    this.revision += 1;
  }

  /** Set the change of each cell that is drawn, at least; smaller ones do not count for its sign. */
  alignWith(least) {
    if (this.least && this.least.every((value, n) => value === least[n])) return;
    this.least = least;
    for (const entry of this.ranges.values()) entry.next = null;
    this.alignSigns();
  }

  removeDistant() {
    const [from, to] = this.keptRange();
    if (to - from >= this.steps.length) return;
    const kept = new Set(this.steps.slice(from, to));
    if (this.needsStart) kept.add(this.steps[this.startIndex]);
    for (const [step, {cells}] of [...this.snapshots]) {
      if (!cells || kept.has(step)) continue;
      this.snapshots.delete(step);
      this.ranges.get(step).cells = null; // the range of the whole run is still known
    }
  }
}
