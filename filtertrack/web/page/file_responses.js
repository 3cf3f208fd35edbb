// The answer of /responses from the data inside an HTML file: see file_responses.py.

import {readMessage} from "./file_data.js";

/**
 * @param {object} stored responses of a layer: see ResponsesInFile in file_responses.py
 * @param {number[]} filters
 * @param {number[]} probes of which maps are kept
 * @param {number} first step
 * @returns {object} as in ResponsesHead of probe_answers.py, and `arrays`, one for each step
 */
export async function answerResponses(stored, filters, probes, first) {
  const {parts, absent, damaged, map_shape} = stored;
  const index = parts.findIndex(({steps}) => steps.at(-1) >= first);
  const next = parts[index + 1]?.steps[0] ?? null;
  if (index < 0) return {responses: [], absent, damaged, next: null, type: null, shape: null, arrays: []};
  const {type, steps, maps} = parts[index];
  const [statistics, places, ...messages] = await Promise.all(
    [stored.statistics, stored.places, ...probes.map(probe => maps[probe])].map(readMessage));
  const start = parts.slice(0, index).reduce((sum, part) => sum + part.steps.length, 0);
  const shape = [probes.length * filters.length, ...map_shape];
  const responses = steps.map((step, n) => describe({
    step, filters, probes, silent: stored.silent[start + n],
    statistics: readStatistics(statistics, start + n), places: {values: places.arrays[start + n], shape: places.shape},
  }));
  const arrays = steps.map((_, n) => gatherMaps(messages.map(message => message.arrays[n]), filters, shape, type));
  return {responses, absent, damaged, next, type, shape, arrays};
}

/** The maps of some filters to each probe. */
function gatherMaps(ofProbes, filters, shape, type) {
  const each = shape[1] * shape[2];
  const maps = new {uint8: Uint8Array, int8: Int8Array}[type](shape[0] * each);
  ofProbes.forEach((ofProbe, n) => filters.forEach((filter, m) => {
    maps.set(ofProbe.subarray(filter * each, (filter + 1) * each), (n * filters.length + m) * each);
  }));
  return maps;
}

/** The highest, lowest or mean value (0, 1 or 2) of a filter's feature map of a probe, at one step. */
function readStatistics({shape: [, probes, filters], arrays}, row) {
  const read = (which, probe, filter) => arrays[row][(which * probes + probe) * filters + filter];
  return {probes, read, reach: (probe, filter) => Math.max(read(0, probe, filter), -read(1, probe, filter))};
}

/** The responses at one step: see StepResponses in probe_answers.py. */
function describe({step, filters, probes, silent, statistics: {probes: kept, read, reach}, places}) {
  const isOne = filters.length === 1;
  return {
    step,
    reach: probes.flatMap(probe => filters.map(filter => finite(reach(probe, filter)))),
    whole: filters.map(filter => Math.max(0, ...Array.from({length: kept}, (_, probe) => finite(reach(probe, filter)) ?? 0))),
    silent: filters.map(filter => silent?.[filter] ?? null),
    statistics: isOne ? probes.map(probe => [0, 1, 2].map(which => finite(read(which, probe, filters[0])))) : null,
    places: isOne ? placesOf(places, filters[0]) : null,
  };
}

/** The strongest places of a filter, as (probe, y, x, value), without those that are missing. */
function placesOf({values, shape: [fields, filters, count]}, filter) {
  const read = (field, rank) => values[(field * filters + filter) * count + rank];
  const rows = Array.from({length: count}, (_, rank) => Array.from({length: fields}, (__, field) => read(field, rank)));
  return rows.filter(row => row.every(Number.isFinite) && row[0] >= 0);
}

/** A number; null if it is NaN or infinite. */
function finite(value) {
  return Number.isFinite(value) ? value : null;
}
