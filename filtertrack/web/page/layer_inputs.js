// What the filters of a first layer slide over for each probe, as loaded in the browser.

import {AnswerCache} from "./answer_cache.js";
import {requestInput} from "./requests.js";

const MOST_INPUTS = 16; // kept in memory

/**
 * Inputs by the number of the probe: {values, shape, range, origin, strides, dilation, activation}, or
 * null if an HTML file has none.
 */
export class LayerInputs extends AnswerCache {
  /**
   * @param {object} query of /input: run, layer, version
   * @param {function} changed as of AnswerCache
   */
  constructor(query, changed) {
    super(async probe => readInput(await requestInput({...query, probe})), changed, MOST_INPUTS);
  }
}

function readInput({arrays: [values], ...about}) {
  return values ? {...about, values, range: rangeOf(values)} : null;
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
