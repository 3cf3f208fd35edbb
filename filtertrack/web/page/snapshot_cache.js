// The snapshots of a part of one run's layer that are loaded in the browser. Where differences from
// the start are shown, the start is loaded early, and kept.

import {alignSigns, applySigns} from "./pattern_signs.js";
import {requestCells} from "./requests.js";
import {StepCache} from "./step_cache.js";
import {rangeOfCells} from "./value_range.js";

export class SnapshotCache extends StepCache {
  /**
   * @param {object} query of /cells: run, layer, filters, channels, delta
   * @param {boolean} isPattern whether cells are rank-1 patterns, whose signs are aligned
   * @param {function(): boolean} isPlaying whether snapshots that are loaded keep their signs
   * @param {function} changed called when snapshots or an `error` have been added
   */
  constructor(query, isPattern, isPlaying, changed) {
    super(query, changed);
    Object.assign(this, {isPattern, isPlaying});
    this.needsStart = false; // whether the first readable snapshot is loaded early, and kept
    this.noticeable = null; // of differences, the change of each cell that is drawn, at least
    this.least = null; // the same, as the scale wants it
  }

  update(steps, stamps) {
    // A difference depends on the first snapshot: if that changes, all do.
    const isRestart = Boolean(this.query.delta) && this.firstStamp !== undefined && stamps[0] !== this.firstStamp;
    this.firstStamp = stamps[0];
    super.update(steps, stamps, isRestart);
  }

  request(query, signal) {
    return requestCells(query, signal);
  }

  sourcesOf(steps) {
    return this.query.delta ? [this.steps[0], ...steps] : steps;
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

  get earlyIndex() {
    return this.needsStart ? this.startIndex : -1;
  }

  receive({moments, arrays, shape, noticeable}, stamps) {
    this.noticeable = noticeable;
    moments.forEach((moment, n) => {
      const {step} = moment;
      if (this.stamps.get(step) !== stamps.get(step)) return; // replaced meanwhile
      const cells = arrays[n];
      const known = this.ranges.get(step); // its cells were loaded before, and removed
      const range = known ?? {...rangeOfCells(cells, shape[0]), signs: null, agree: null, next: null};
      range.cells = cells;
      if (range.signs) applySigns(cells, range.signs);
      this.add(step, {moment, cells, low: range.low, high: range.high, isFinite: range.isFinite}, range, shape);
    });
    return moments.map(({step}) => step);
  }

  finishFetch() {
    this.alignSigns();
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

  forgetCells(step) {
    this.ranges.get(step).cells = null;
  }
}
