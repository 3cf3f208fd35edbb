// The responses of one run's layer to the chosen probe, which are shown beside its filters.

import {ResponseCache, rangeOfMaps} from "./response_cache.js";

const MOST_SILENT = 12; // numbers of silent filters that are named

export class RunResponses {
  /**
   * @param {RunData} run whose selection is shown
   * @param {object} layer what is read of it: see ProbedLayerSummary in probe_answers.py
   * @param {number} probe
   * @param {string} filters numbers and ranges
   */
  constructor(run, layer, probe, filters) {
    Object.assign(this, {layer, probe, key: keyOf(run, layer, probe)});
    const {count, maps} = run.probes;
    this.problem = probe < maps ? "" : probe < count ? describeKept(probe, maps) : `This run has no probe ${probe}.`;
    this.cache = this.problem ? null
      : new ResponseCache({run: run.name, layer: layer.name, filters, probes: probe}, () => run.page.redrawSoon());
    this.filters = run.filters;
    this.range = null; // the darkest and the lightest value of each map, as drawn; set by the page
  }

  /** The shape of a map: height and width. */
  get mapShape() {
    const [height, width] = this.layer.map_shape;
    return {height, width};
  }

  /** The responses at a step: {cells, …}, {damaged} or {absent}; undefined if not loaded. */
  at(step) {
    return this.cache ? this.cache.at(step) : {absent: this.problem};
  }

  /** The numbers of filters that answer to no probe at a snapshot, ascending, as far as it is known. */
  silentAt(snapshot) {
    return this.filters.filter((_, n) => snapshot?.silent?.[n]);
  }

  valueRange(snapshot, scale) {
    return rangeOfMaps(snapshot, this.cache.range.high, scale, this.layer.rectified);
  }

  stop() {
    this.cache?.stop();
  }
}

function describeKept(probe, maps) {
  if (maps === 0) return "No maps of the probes are kept.";
  return `No maps are kept of probe ${probe}, only of ${maps === 1 ? "the first probe" : `the first ${maps} probes`}.`;
}

/** A key of what a RunResponses shows. */
export function keyOf(run, layer, probe) {
  return JSON.stringify([run.selection, layer, probe]);
}

/** Which filters answer to no probe, in words; empty for none. */
export function describeSilent(numbers) {
  if (!numbers.length) return "";
  const listed = numbers.slice(0, MOST_SILENT).join(", ");
  const counted = numbers.length === 1 ? "1 filter answers" : `${numbers.length} filters answer`;
  return `${counted} to no probe at this step: ${listed}${numbers.length > MOST_SILENT ? ", …" : ""}`;
}

/** What is read of a layer, and how its maps were shrunk, in words. */
export function describeReading({read, shape, map_shape, block}) {
  const shrunk = block > 1
    ? ` Shrunk from ${shape.join("×")} to ${map_shape.join("×")}: each value is the one of largest magnitude in its block of ${block}×${block}.` : "";
  return `Maps: ${read}.${shrunk}`;
}
