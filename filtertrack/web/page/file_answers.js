// Answers what requests.js asks a server for, from the data inside the HTML file that the page is in.
// In that file this module takes the place of requests.js: see html_file.py.

import {decode, readBytes, readMessage} from "./file_data.js";
import {answerResponses} from "./file_responses.js";

let answers = null; // promise of all answers but cells, pictures and responses

export async function requestJson(route, query = {}) {
  const all = await readAnswers();
  const answer = ANSWERED[route]?.(all, all.runs[query.run], query);
  if (answer === undefined) throw new Error("Not in this file: `filtertrack view` shows all of the run.");
  return answer;
}

const ANSWERED = {
  settings: ({settings}) => settings,
  runs: ({runs, notes}) => ({runs: Object.keys(runs), notes}),
  layers: (_, run) => run.summary,
  steps: (_, {steps}, {known}) => (known === steps.version ? {version: known} : steps),
  metrics: (_, {metrics}) => metrics,
  parts: (_, {layers}, {layer}) => layers[layer].parts,
  order: (_, {layers}, {layer, order}) => ({numbers: layers[layer].orders[order]}),
  trajectory: (_, {layers}, {layer, filter}) => trajectoryOf(layers[layer].trajectories, filter),
  label: (_, {layers}, {layer, filter, step}) => labelOf(layers[layer].labels, filter, step),
  labels: (_, {layers}, {layer, step}) => labelsOf(layers[layer].labels, step),
  probes: (_, {probes}) => probes,
};

export async function requestBlob() {
  throw new Error("A file cannot draw an animation: use filtertrack animate.");
}

/** A colormap: three bytes a level, from dark to light. */
export async function requestPalette(colormap) {
  return decode((await readAnswers()).palettes[colormap]);
}

/** The picture of a probe: {size, shape, arrays}, one array of colours, or none. */
export async function requestProbe({run, input, probe}) {
  const {id, probes} = (await readAnswers()).runs[run].pictures[input];
  const index = probes.indexOf(probe);
  if (id === null || index < 0) return {size: null, shape: null, arrays: []};
  const {size, shape, arrays} = await readMessage(id);
  return {size, shape, arrays: [arrays[index]]};
}

/** The responses of some filters: {responses, absent, damaged, next, type, shape, arrays}. */
export async function requestResponses({run, layer, filters, probes, first}) {
  const {responses} = (await readAnswers()).runs[run].layers[layer];
  return answerResponses(responses, parseRanges(filters), parseRanges(probes), first);
}

/** The cells of some filters: {moments, damaged, next, shape, arrays}, one typed array for each moment. */
export async function requestCells({run, layer, filters, channels, delta, first}) {
  const all = await readAnswers();
  const wanted = parseRanges(filters);
  const parts = all.runs[run].layers[layer].cells.filter(part => part.delta === Boolean(delta));
  const needed = parts.filter(part => wanted.some(number => number >= part.first && number < part.end));
  const messages = await Promise.all(needed.map(({ids}) => readMessage((ids.find(({last}) => last >= first) ?? ids.at(-1)).id)));
  const isWhole = messages.length === 1 && wanted.length === needed[0].end - needed[0].first;
  const gathered = isWhole ? messages[0] : gather(wanted, needed, messages);
  return channels ? selectChannel(gathered, Number(channels)) : gathered;
}

/**
 * The cells of some filters, from the messages of several pages of filters, which hold the same steps.
 * @throws {Error} if they do not
 */
function gather(wanted, parts, messages) {
  const [{moments, damaged, shape, next, noticeable}] = messages;
  const [expected, ...others] = messages.map(each => String(each.moments.map(({step}) => step)));
  if (others.some(steps => steps !== expected)) throw new Error("This file is wrong: its pages of filters hold different steps.");
  const sources = wanted.map(number => {
    const part = parts.findIndex(({first, end}) => number >= first && number < end);
    return {message: messages[part], cell: number - parts[part].first};
  });
  const chosen = noticeable && sources.map(({message, cell}) => message.noticeable[cell]);
  const joined = {moments, damaged, next, noticeable: chosen, shape, arrays: []};
  if (!moments.length) return joined; // all of its snapshots are damaged: there is no shape
  const [, ...cellShape] = shape;
  const each = cellShape.reduce((product, side) => product * side, 1);
  const arrays = moments.map((_, n) => {
    const cells = new messages[0].arrays[n].constructor(wanted.length * each);
    sources.forEach(({message, cell}, to) => cells.set(message.arrays[n].subarray(cell * each, (cell + 1) * each), to * each));
    return cells;
  });
  return {...joined, shape: [wanted.length, ...cellShape], arrays};
}

/** The kernels of a filter whose cells hold all its weights: {kernels, damaged, next, shape, arrays}. */
export async function requestKernels({run, layer, filter, first}) {
  const {products} = (await readAnswers()).runs[run].layers[layer];
  const {moments, damaged, next, shape, arrays} = await requestCells({run, layer, filters: String(filter), first});
  const biasAt = step => (products.biases.length ? products.biases[products.steps.indexOf(step)]?.[filter] ?? null : 0);
  return {kernels: moments.map(({step}) => ({step, bias: biasAt(step)})), damaged, next, shape: shape && shape.slice(1), arrays};
}

/** What a first layer slides over for a probe: see InputHead in filter_answers.py; no array if it is not in the file. */
export async function requestInput({run, layer, probe}) {
  const id = (await readAnswers()).runs[run].layers[layer].products.inputs[probe];
  return id === undefined ? {shape: null, arrays: []} : readMessage(id);
}

/** The cells of one input channel, from cells of three. */
function selectChannel(answer, channel) {
  const {shape, arrays} = answer;
  if (!arrays.length) return answer; // all of its snapshots are damaged: there is no shape
  const [filters, height, width, channels] = shape;
  const select = cells => new cells.constructor(cells.length / channels).map((_, n) => cells[n * channels + channel]);
  return {...answer, shape: [filters, height, width, 1], arrays: arrays.map(select)};
}

function trajectoryOf({steps, ...curves}, filter) {
  const ofFilter = Object.entries(curves).map(([name, rows]) => [name, rows.map(row => row[filter])]);
  return {steps, ...Object.fromEntries(ofFilter)};
}

function labelOf({steps, names = [], ...evidence}, filter, step) {
  const row = steps.indexOf(step);
  if (row < 0) return undefined;
  const numbers = Object.entries(evidence).map(([name, rows]) => [name, rows[row][filter]]);
  return {label: names[row][filter], ...Object.fromEntries(numbers)};
}

/** The labels of all filters at a step; by default the last one of which there are any. */
function labelsOf({steps, names}, step = steps.at(-1)) {
  const row = steps.indexOf(step);
  if (row < 0) throw new Error("this file does not hold the kinds at this step");
  return {step, names: names[row]};
}

function readAnswers() {
  answers ??= readBytes("answers").then(bytes => JSON.parse(new TextDecoder().decode(bytes)));
  return answers;
}

/** Numbers from ranges such as "0-3,5"; none from an empty text. */
function parseRanges(text) {
  if (text === "") return [];
  return String(text).split(",").flatMap(part => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({length: last - first + 1}, (_, n) => first + n);
  });
}
