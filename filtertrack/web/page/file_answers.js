// Answers what requests.js asks a server for, from the data inside the file that the page is in.
// In that file this module takes the place of requests.js: see html_file.py.

import {parseMessage} from "./cells_message.js";

const ANSWERS = "answers"; // id of the element that holds all answers but the cells

const unpacked = new Map(); // id of an element -> promise of its bytes
const parsed = new Map(); // the same -> promise of its cells

export async function requestJson(route, query = {}) {
  const answers = await readAnswers();
  const answer = ANSWERED[route]?.(answers, answers.runs[query.run], query);
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
  probes: () => ({count: 0, maps: 0, labels: null, layers: []}), // the file holds no responses
};

export async function requestBlob() {
  throw new Error("A file cannot draw an animation: use filtertrack animate.");
}

export async function requestResponses() {
  throw new Error("The file holds no responses.");
}

export async function requestProbe() {
  throw new Error("The file holds no probes.");
}

/** A colormap: three bytes a level, from dark to light. */
export async function requestPalette(colormap) {
  return fromBase64((await readAnswers()).palettes[colormap]);
}

/** The cells of some filters: {moments, damaged, next, shape, arrays}, one typed array for each moment. */
export async function requestCells({run, layer, filters, channels, delta, first}) {
  const answers = await readAnswers();
  const wanted = parseRanges(filters);
  const parts = answers.runs[run].layers[layer].cells.filter(part => part.delta === Boolean(delta));
  if (channels || !parts.length) throw new Error("This file holds these cells in the usual way of drawing only.");
  const needed = parts.filter(part => wanted.some(number => number >= part.first && number < part.end));
  const messages = await Promise.all(needed.map(({ids}) => readMessage(ids, first)));
  if (messages.length === 1 && wanted.length === needed[0].end - needed[0].first) return messages[0];
  return gather(wanted, needed, messages);
}

/** The message that holds a step, or the first one after it. */
async function readMessage(ids, step) {
  const {id} = ids.find(({last}) => last >= step) ?? ids.at(-1);
  if (!parsed.has(id)) parsed.set(id, readBytes(id).then(parseMessage));
  return parsed.get(id);
}

/** The cells of some filters, from the messages of several pages of filters. */
function gather(wanted, parts, messages) {
  const [{moments, damaged, shape, next}] = messages;
  const cellOf = number => {
    const part = parts.findIndex(({first, end}) => number >= first && number < end);
    return [messages[part], number - parts[part].first];
  };
  const [, ...cellShape] = shape;
  const each = cellShape.reduce((product, side) => product * side, 1);
  const arrays = moments.map((_, n) => {
    const cells = new messages[0].arrays[n].constructor(wanted.length * each);
    wanted.forEach((number, to) => {
      const [message, cell] = cellOf(number);
      cells.set(message.arrays[n].subarray(cell * each, (cell + 1) * each), to * each);
    });
    return cells;
  });
  const noticeable = messages[0].noticeable && wanted.map(number => {
    const [message, cell] = cellOf(number);
    return message.noticeable[cell];
  });
  return {moments, damaged, next, noticeable, shape: [wanted.length, ...cellShape], arrays};
}

function trajectoryOf({steps, ...curves}, filter) {
  const ofFilter = Object.entries(curves).map(([name, rows]) => [name, rows.map(row => row[filter])]);
  return {steps, ...Object.fromEntries(ofFilter)};
}

function labelOf({steps, names, ...evidence}, filter, step) {
  const row = steps.indexOf(step);
  if (row < 0) return undefined;
  const numbers = Object.entries(evidence).map(([name, rows]) => [name, rows[row][filter]]);
  return {label: names[row][filter], ...Object.fromEntries(numbers)};
}

let answers = null;

function readAnswers() {
  answers ??= readBytes(ANSWERS).then(bytes => JSON.parse(new TextDecoder().decode(bytes)));
  return answers;
}

function readBytes(id) {
  if (!unpacked.has(id)) unpacked.set(id, unzip(fromBase64(document.getElementById(id).textContent)));
  return unpacked.get(id);
}

async function unzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const bytes = atob(text);
  const numbers = new Uint8Array(bytes.length);
  for (let n = 0; n < bytes.length; n++) numbers[n] = bytes.charCodeAt(n);
  return numbers;
}

/** Numbers from ranges such as "0-3,5". */
function parseRanges(text) {
  return text.split(",").flatMap(part => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({length: last - first + 1}, (_, n) => first + n);
  });
}
