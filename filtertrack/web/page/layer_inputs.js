// What the filters of a first layer slide over for each probe, as loaded in the browser.

import {requestInput} from "./requests.js";

const MOST_INPUTS = 16; // kept in memory
const RETRY_DELAY = 3000; // milliseconds after an error

export class LayerInputs {
  /**
   * @param {object} query of /input: run, layer, version
   * @param {function} changed called when an input has been loaded
   */
  constructor(query, changed) {
    Object.assign(this, {query, changed});
    this.inputs = new Map(); // probe -> {values, shape, range, origin, strides, dilation, activation}, or null
    this.requested = new Set();
  }

  /** The input for a probe; undefined if it is not loaded: it is requested. Null if an HTML file has none. */
  at(probe) {
    if (!this.inputs.has(probe) && !this.requested.has(probe)) this.request(probe);
    return this.inputs.get(probe);
  }

  async request(probe) {
    this.requested.add(probe);
    try {
      const {arrays: [values], ...about} = await requestInput({...this.query, probe});
      if (this.inputs.size >= MOST_INPUTS) {
        const [oldest] = this.inputs.keys();
        this.inputs.delete(oldest);
        this.requested.delete(oldest);
      }
      this.inputs.set(probe, values ? {...about, values, range: rangeOf(values)} : null);
      this.changed();
    } catch {
      setTimeout(() => {
        this.requested.delete(probe); // it is requested again when it is drawn
        this.changed();
      }, RETRY_DELAY);
    }
  }
}

/** The lowest and the highest finite value. */
function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return {low: [low], high: [high]};
}
