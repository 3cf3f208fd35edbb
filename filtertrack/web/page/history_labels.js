// The labels of the open filter at the steps of its history: requested one after another, when
// playback has stopped, and kept.

import {requestJson} from "./requests.js";

const DELAY = 250; // milliseconds before the first request
const MOST_LABELS = 1000; // kept in memory

export class HistoryLabels {
  /**
   * @param {RunData} run
   * @param {number} number of the filter
   * @param {function} changed called when a label has been added
   */
  constructor(run, number, changed) {
    Object.assign(this, {run, number, changed});
    this.labels = new Map(); // key of a step -> label; empty where it cannot be found
    this.wanted = ""; // keys of the steps whose labels are loaded
  }

  /** The label at a step; empty if it is not known. */
  at(step) {
    return this.labels.get(this.keyOf(step)) ?? "";
  }

  /** Load the labels of some steps, unless the page plays. */
  load(steps, isPlaying) {
    const keys = isPlaying ? [] : steps.map(step => this.keyOf(step));
    if (keys.join() === this.wanted) return;
    this.stop();
    this.wanted = keys.join();
    for (const [key, label] of this.labels) if (!label) this.labels.delete(key); // it is requested again
    if (keys.length) this.timer = setTimeout(() => this.request(steps, this.turn), DELAY);
  }

  stop() {
    clearTimeout(this.timer);
    this.wanted = "";
    this.turn = {}; // ends requests that are under way
  }

  async request(steps, turn) {
    const {name, layer} = this.run;
    for (const step of steps) {
      const key = this.keyOf(step);
      if (this.labels.has(key)) continue;
      const query = {run: name, layer: layer.name, filter: this.number, step, version: this.stampOf(step)};
      const label = await requestJson("label", query).then(found => found.label, () => "");
      if (this.labels.size >= MOST_LABELS) this.labels.clear();
      this.labels.set(key, label);
      if (turn !== this.turn) return;
      this.changed();
    }
  }

  keyOf(step) {
    return `${step}.${this.stampOf(step)}`;
  }

  stampOf(step) {
    return this.run.stamps[this.run.steps.indexOf(step)];
  }
}
