// The responses of filters of one layer that are loaded in the browser: maps of several filters to
// one probe, or of one filter to several probes.

import {requestResponses} from "./requests.js";
import {StepCache} from "./step_cache.js";

const UNITS = {uint8: 255, int8: 127}; // the number that stands for the largest magnitude of a map

export class ResponseCache extends StepCache {
  /**
   * Its snapshots are {cells, unit, reach, silent, statistics, places}: see StepResponses in
   * probe_answers.py. The cells are as stored: `decode` returns their values. The ranges are of all
   * maps of each filter.
   * @param {object} query of /responses: run, layer, filters, probes
   * @param {function} changed called when snapshots or an `error` have been added
   */
  constructor(query, changed) {
    super(query, changed);
    this.decoded = null; // the values of the maps that were decoded last
  }

  request(query, signal) {
    return requestResponses(query, signal);
  }

  receive({responses, arrays, type, shape}, stamps) {
    responses.forEach(({step, reach, whole, ...about}, n) => {
      if (this.stamps.get(step) !== stamps.get(step)) return; // replaced meanwhile
      const high = Float64Array.from(whole);
      const snapshot = {...about, cells: arrays[n], unit: UNITS[type], reach: Float64Array.from(reach, each => each ?? NaN)};
      this.add(step, snapshot, {low: high.map(each => -each), high, isFinite: true}, shape);
    });
    return responses.map(({step}) => step);
  }

  /** The values of the maps of a snapshot, in the precision in which they were stored. */
  decode(snapshot) {
    if (this.decoded?.snapshot === snapshot) return this.decoded.values;
    const {cells, unit, reach} = snapshot;
    const values = new Float32Array(cells.length);
    const each = cells.length / reach.length;
    for (let map = 0, n = 0; map < reach.length; map++) {
      for (const end = n + each; n < end; n++) values[n] = Math.fround(cells[n] / unit) * reach[map];
    }
    this.decoded = {snapshot, values};
    return values;
  }
}

/**
 * The values that are drawn darkest and lightest in each map: from zero up where responses are never
 * negative, else with zero in the middle.
 * @param {object} snapshot
 * @param {Float64Array} whole the largest magnitude in all maps of each filter over the run
 * @param {string} scale "frame": each map at each step; "filter": all maps of a filter over the run;
 *   "layer": all of them
 * @param {boolean} isRectified whether responses are never negative
 */
export function rangeOfMaps({reach}, whole, scale, isRectified) {
  let high = reach.map(each => (Number.isFinite(each) ? each : 0));
  if (scale === "filter") high = high.map((_, map) => whole[map % whole.length]);
  if (scale === "layer") high = high.fill(Math.max(...whole));
  // Where nothing answers, zero is still the darkest, or the middle.
  high = high.map(each => each || 1);
  return {low: high.map(each => (isRectified ? 0 : -each)), high};
}
