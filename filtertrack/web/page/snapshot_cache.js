// One layer of one run, snapshot by snapshot, as far as it has been fetched.
//
// What is looked at is fetched first, then what comes after it, then the rest. Of a run that is
// larger than the memory it may take, those snapshots are kept that lie around the one looked at.

import {askCells} from "./requests.js";

const MOST_BYTES = 600e6;
const PAUSE_AFTER_AN_ERROR = 3000;
const SLOW = 5000; // milliseconds after which it is said that an answer takes long

export class Reel {
  /**
   * @param {object} part what is asked of the server: run, layer, filters, channels, delta
   * @param {boolean} signed whether cells are rank-1 patterns, whose signs follow on
   * @param {number} sharers how many there are to share the memory
   * @param {function} changed called when there is more to see, or an `error`
   */
  constructor(part, signed, sharers, changed) {
    Object.assign(this, {part, signed, sharers, changed});
    this.steps = [];
    this.stamps = new Map();
    this.snapshots = new Map(); // step -> {cells, moment, low, high} or {damaged}
    this.shape = null;
    this.spans = new Map(); // step -> {low, high} of each cell, also where the cells are forgotten
    this.low = this.high = null; // over all of them
    this.wanted = 0;
    this.stopped = new AbortController();
    this.running = false;
    this.error = null; // why it cannot be fetched, for now
  }

  /** Tell it what there is now: steps, and for each a stamp that changes with its file. */
  update(steps, stamps) {
    const now = new Map(steps.map((step, n) => [step, stamps[n]]));
    // A difference is from the first one: where that is another one now, all of them are.
    const restart = this.part.delta && this.start !== undefined && now.get(steps[0]) !== this.start;
    this.start = now.get(steps[0]);
    const replaced = [...new Set([...this.snapshots.keys(), ...this.spans.keys()])]
      .filter(step => restart || now.get(step) !== this.stamps.get(step));
    for (const step of replaced) {
      this.snapshots.delete(step);
      this.spans.delete(step);
    }
    if (replaced.length) this.remeasure();
    this.steps = steps;
    this.stamps = now;
    this.load();
  }

  stop() {
    this.stopped.abort();
  }

  /** Say which snapshot is looked at: the index of its step. */
  look(index) {
    this.wanted = Math.max(0, index);
    this.load();
  }

  at(step) {
    return this.snapshots.get(step);
  }

  /** How many steps are fetched. */
  get loaded() {
    return this.snapshots.size;
  }

  get damaged() {
    return [...this.snapshots].filter(([, snapshot]) => snapshot.damaged).map(([step]) => step).sort((a, b) => a - b);
  }

  async load() {
    if (this.running) return;
    this.running = true;
    for (let range; !this.stopped.signal.aborted && (range = this.missing()); ) {
      try {
        await this.fetch(...range);
        this.error = null;
      } catch (error) {
        if (this.stopped.signal.aborted) return;
        this.error = `${error.message} (It is asked again in ${PAUSE_AFTER_AN_ERROR / 1000} seconds.)`;
        this.changed();
        await new Promise(resolve => setTimeout(resolve, PAUSE_AFTER_AN_ERROR));
      }
      if (!this.stopped.signal.aborted) this.changed();
    }
    this.running = false;
  }

  /** The first and the last step of what to fetch next; null when there is nothing. */
  missing() {
    const [from, to] = this.window();
    const lacks = n => !this.snapshots.has(this.steps[n]);
    let first = -1;
    for (let n = this.wanted; n < to && first < 0; n++) if (lacks(n)) first = n;
    for (let n = from; n < Math.min(this.wanted, to) && first < 0; n++) if (lacks(n)) first = n;
    if (first < 0) return null;
    let last = first;
    while (last + 1 < to && lacks(last + 1)) last++;
    return [first, last];
  }

  /** The part of the steps that is kept: all of them, or as many as memory allows. */
  window() {
    const count = this.steps.length;
    const each = this.shape ? this.shape.reduce((a, b) => a * b) * this.itemSize : 1;
    const most = Math.max(16, Math.floor(MOST_BYTES / this.sharers / each));
    if (count <= most) return [0, count];
    // It moves by a quarter at a time, so that what is fetched comes in more than single steps.
    const quarter = Math.floor(most / 4);
    const from = Math.min(Math.max(0, (Math.floor(this.wanted / quarter) - 1) * quarter), count - most);
    return [from, from + most];
  }

  async fetch(first, last) {
    const asked = this.steps.slice(first, last + 1);
    const stamps = this.stamps;
    const parts = this.part.delta ? [this.steps[0], ...asked] : asked;
    const version = parts.reduce((hash, step) => (Math.imul(hash, 31) + (stamps.get(step) % 2 ** 32)) | 0, 17);
    const slow = setTimeout(() => this.wait(), SLOW);
    const got = await askCells(
      {...this.part, first: asked[0], last: asked.at(-1), version: version >>> 0}, this.stopped.signal)
      .finally(() => clearTimeout(slow));
    const until = got.next ?? Infinity;
    const came = new Set(got.moments.map(moment => moment.step));
    got.moments.forEach((moment, n) => this.add(moment, got.arrays[n], got.shape, stamps));
    for (const step of asked) {
      if (step >= until || came.has(step)) continue;
      const damaged = got.damaged[step] ?? "It is not there any more.";
      if (this.stamps.get(step) === stamps.get(step)) this.snapshots.set(step, {damaged});
    }
    if (this.signed) this.follow(this.steps.findIndex(step => step >= asked[0]));
    this.forget();
  }

  /** Say that it takes long, instead of standing still without a word. */
  wait() {
    if (this.stopped.signal.aborted) return;
    this.error ??= `TensorBoard has not answered for ${SLOW / 1000} seconds; the page waits for it.`;
    this.changed();
  }

  add(moment, cells, shape, stamps) {
    if (this.stamps.get(moment.step) !== stamps.get(moment.step)) return; // replaced meanwhile
    this.shape = shape;
    this.itemSize = cells.BYTES_PER_ELEMENT;
    const span = ranges(cells, shape[0]);
    this.snapshots.set(moment.step, {moment, cells, ...span});
    this.spans.set(moment.step, span);
    this.widen(span);
  }

  widen({low, high}) {
    this.low ??= new Float64Array(low.length).fill(Infinity);
    this.high ??= new Float64Array(high.length).fill(-Infinity);
    for (let n = 0; n < low.length; n++) {
      if (low[n] < this.low[n]) this.low[n] = low[n];
      if (high[n] > this.high[n]) this.high[n] = high[n];
    }
  }

  remeasure() {
    this.low = this.high = null;
    for (const span of this.spans.values()) this.widen(span);
  }

  // A rank-1 pattern has no sign of its own: each takes the one that is closer to the snapshot
  // before, so that nothing flips while it plays. From where something came in, to where nothing
  // changes any more.
  follow(first) {
    if (first < 0) return; // all of it was removed meanwhile
    let before = null;
    for (let n = first - 1; n >= 0 && !before; n--) {
      const snapshot = this.snapshots.get(this.steps[n]);
      if (!snapshot) break;
      if (!snapshot.damaged) before = snapshot;
    }
    let flipped = false;
    for (let n = first; n < this.steps.length; n++) {
      const snapshot = this.snapshots.get(this.steps[n]);
      if (!snapshot) break;
      if (snapshot.damaged) continue;
      if (before && align(snapshot, before)) flipped = true;
      before = snapshot;
    }
    if (flipped) this.remeasure();
  }

  forget() {
    const [from, to] = this.window();
    if (to - from >= this.steps.length) return;
    const kept = new Set(this.steps.slice(from, to));
    for (const step of [...this.snapshots.keys()]) if (!kept.has(step)) this.snapshots.delete(step);
  }
}

/** The lowest and the highest finite value of each cell. */
function ranges(cells, count) {
  const low = new Float64Array(count).fill(Infinity);
  const high = new Float64Array(count).fill(-Infinity);
  const each = cells.length / count;
  for (let cell = 0, n = 0; cell < count; cell++) {
    let least = Infinity;
    let most = -Infinity;
    for (const end = n + each; n < end; n++) {
      const value = cells[n];
      if (!Number.isFinite(value)) continue;
      if (value < least) least = value;
      if (value > most) most = value;
    }
    low[cell] = least;
    high[cell] = most;
  }
  return {low, high};
}

function align(snapshot, before) {
  const {cells, low, high} = snapshot;
  const each = cells.length / low.length;
  let flipped = false;
  for (let cell = 0; cell < low.length; cell++) {
    const [from, to] = [cell * each, (cell + 1) * each];
    let product = 0;
    for (let n = from; n < to; n++) product += cells[n] * (Number.isFinite(before.cells[n]) ? before.cells[n] : 0);
    if (!(product < 0)) continue;
    for (let n = from; n < to; n++) cells[n] = -cells[n];
    [low[cell], high[cell]] = [-high[cell], -low[cell]];
    flipped = true;
  }
  return flipped;
}
