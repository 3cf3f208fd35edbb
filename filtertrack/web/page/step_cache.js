// What is loaded in the browser of the snapshots of a part of one run: the base of SnapshotCache and
// ResponseCache.
//
// Loading starts at the snapshot that is looked at; it continues with the snapshots after it, then
// those before. If the run exceeds MOST_BYTES, the snapshots around the one looked at are kept.

import {describeRetry, RETRY_DELAY} from "./answer_cache.js";
import {emptyRange, widen} from "./value_range.js";

const MOST_BYTES = 600e6; // of all runs together
const LEAST_SNAPSHOTS = 16; // kept even if they exceed MOST_BYTES
const SLOW = 5000; // milliseconds after which a notice says that the answer takes long

export class StepCache {
  /**
   * A subclass implements `request(query, signal)` and `receive(answer, stamps)`, which returns the
   * steps that it has added.
   * @param {object} query of the request, without the steps
   * @param {function} changed called when snapshots or an `error` have been added
   */
  constructor(query, changed) {
    Object.assign(this, {query, changed});
    this.sharers = 1; // how many caches share the memory
    this.steps = [];
    this.stamps = new Map();
    this.snapshots = new Map(); // step -> {cells, …}, or the reason why there are none: {damaged} or {absent}
    this.shape = null; // of the cells of a snapshot
    this.ranges = new Map(); // step -> {low, high} of each cell; kept when its cells are removed
    this.range = null; // over all ranges
    this.revision = 0; // increases when snapshots are added or removed, or their cells change
    this.wanted = 0; // index of the step that is looked at
    this.abort = new AbortController();
    this.isLoading = false;
    this.error = null; // why loading fails at present
  }

  /**
   * Set the steps that exist, each with a stamp that changes with its file, and load what is new.
   * @param {boolean} isRestart whether all snapshots are loaded again
   */
  update(steps, stamps, isRestart = false) {
    const now = new Map(steps.map((step, n) => [step, stamps[n]]));
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

  /** The index of a step that is loaded early, and kept; -1 for none. */
  get earlyIndex() {
    return -1;
  }

  /** Whether every step has been loaded, or has no cells. */
  get isComplete() {
    return this.steps.every(step => this.ranges.has(step) || (this.snapshots.has(step) && !this.snapshots.get(step).cells));
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
        this.error = describeRetry(error);
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
    const early = isMissing(this.wanted) ? -1 : this.earlyIndex;
    let first = early >= 0 && isMissing(early) ? early : -1;
    const to = first >= 0 && first < from ? first + 1 : end;
    for (let n = this.wanted; n < to && first < 0; n++) if (isMissing(n)) first = n;
    for (let n = from; n < Math.min(this.wanted, to) && first < 0; n++) if (isMissing(n)) first = n;
    if (first < 0) return null;
    let last = first;
    while (last + 1 < to && isMissing(last + 1)) last++;
    return [first, last];
  }

  /** How many snapshots are kept, at most. */
  get mostKept() {
    const bytes = this.shape ? this.shape.reduce((a, b) => a * b) * this.itemSize : 1;
    return Math.max(LEAST_SNAPSHOTS, Math.floor(MOST_BYTES / this.sharers / bytes));
  }

  /** The indices of the steps that are kept, [from, to): all of them, or as many as memory allows. */
  keptRange() {
    const count = this.steps.length;
    const most = this.mostKept;
    if (count <= most) return [0, count];
    // It moves by a quarter at a time, so that one request loads more than a single step.
    const quarter = Math.floor(most / 4);
    const from = Math.min(Math.max(0, (Math.floor(this.wanted / quarter) - 1) * quarter), count - most);
    return [from, from + most];
  }

  /** The steps whose files an answer is made from. */
  sourcesOf(steps) {
    return steps;
  }

  async fetch(first, last) {
    const steps = this.steps.slice(first, last + 1);
    const stamps = this.stamps;
    const version = this.sourcesOf(steps).reduce((hash, step) => (Math.imul(hash, 31) + (stamps.get(step) % 2 ** 32)) | 0, 17);
    const timer = setTimeout(() => this.reportSlow(), SLOW);
    const query = {...this.query, first: steps[0], last: steps.at(-1), version: version >>> 0};
    const answer = await this.request(query, this.abort.signal).finally(() => clearTimeout(timer));
    const end = answer.next ?? Infinity;
    const loaded = new Set(this.receive(answer, stamps));
    for (const step of steps) {
      if (step >= end || loaded.has(step) || this.stamps.get(step) !== stamps.get(step)) continue;
      const absent = answer.absent?.[step];
      this.snapshots.set(step, absent ? {absent} : {damaged: answer.damaged[step] ?? "It is not there any more."});
    }
    this.revision += 1;
    this.finishFetch();
    this.removeDistant();
  }

  /** Called when an answer has been added. */
  finishFetch() {}

  /** Report that an answer takes long. */
  reportSlow() {
    if (this.abort.signal.aborted) return;
    this.error ??= `TensorBoard has not answered for ${SLOW / 1000} seconds; the page waits for it.`;
    this.changed();
  }

  /** Add a snapshot with the range of its cells, which have a shape: the cells count first. */
  add(step, snapshot, range, shape) {
    this.shape = shape;
    this.itemSize = snapshot.cells.BYTES_PER_ELEMENT;
    this.ranges.set(step, range);
    this.snapshots.set(step, snapshot);
    this.range ??= emptyRange(range.low.length);
    widen(this.range, range);
  }

  recomputeRange() {
    const [first] = this.ranges.values();
    this.range = first ? emptyRange(first.low.length) : null;
    for (const range of this.ranges.values()) widen(this.range, range);
  }

  removeDistant() {
    const [from, to] = this.keptRange();
    if (to - from >= this.steps.length) return;
    const kept = new Set(this.steps.slice(from, to));
    if (this.earlyIndex >= 0) kept.add(this.steps[this.earlyIndex]);
    for (const [step, {cells}] of [...this.snapshots]) {
      if (!cells || kept.has(step)) continue;
      this.snapshots.delete(step); // its range is still known
      this.forgetCells(step);
    }
  }

  /** Called when the cells of a step have been removed from memory. */
  forgetCells() {}
}
