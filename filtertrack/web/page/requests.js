// Requests to the server: see http_api.md. URLs are relative, so they work under --path_prefix.

// Milliseconds until an answer has to be complete.
const TIMEOUTS = {settings: 20_000, runs: 20_000, steps: 20_000, animation: 150_000};
const DEFAULT_TIMEOUT = 60_000;

class ServerError extends Error {}

function urlOf(route, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `./${route}?${new URLSearchParams(given)}`;
}

/** Send a request and read the answer; `signal` cancels it. */
async function request(route, query, read, signal = null) {
  const timeout = TIMEOUTS[route] ?? DEFAULT_TIMEOUT;
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, timeout);
  signal?.addEventListener("abort", abort);
  try {
    if (signal?.aborted) abort();
    const response = await fetch(urlOf(route, query), {signal: controller.signal});
    if (response.ok) return await read(response);
    throw new ServerError((await response.text()).slice(0, 1000) || `TensorBoard answered ${response.status}.`);
  } catch (error) {
    if (error instanceof ServerError || signal?.aborted) throw error;
    throw new ServerError(controller.signal.aborted
      ? `TensorBoard did not answer for ${timeout / 1000} seconds.` : "TensorBoard does not answer.");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

export function requestJson(route, query = {}) {
  return request(route, query, response => response.json());
}

export function requestBlob(route, query) {
  return request(route, query, response => response.blob());
}

/** Request a colormap: three bytes a level, from dark to light. */
export async function requestPalette(colormap) {
  return new Uint8Array(await request("palette", {colormap}, response => response.arrayBuffer()));
}

/** Request cells: {moments, damaged, next, shape, arrays}, one typed array for each moment. */
export function requestCells(query, signal) {
  return requestMessage("cells", query, signal);
}

/** Request responses: {responses, absent, damaged, next, type, shape, arrays}, one typed array for each step. */
export function requestResponses(query, signal) {
  return requestMessage("responses", query, signal);
}

/** Request the picture of a probe: {size, shape, arrays}, one array of colours, or none. */
export function requestProbe(query) {
  return requestMessage("probe", query);
}

/** Request a message of payload.py: its head, with its arrays. */
async function requestMessage(route, query, signal) {
  const bytes = new Uint8Array(await request(route, query, response => response.arrayBuffer(), signal));
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return {...head, arrays: unpack(bytes.subarray(4 + length), head)};
}

const NUMBERS = {uint8: Uint8Array, int8: Int8Array, float32: Float32Array, float64: Float64Array};

// The inverse of pack in payload.py: bytes are sorted by their significance within a number, and
// each array but the first is the exclusive or with the one before it.
function unpack(bytes, {type, shape, moments, responses}) {
  if (type === null) return [];
  const count = (moments ?? responses ?? [shape]).length;
  const Numbers = NUMBERS[type];
  const size = Numbers.BYTES_PER_ELEMENT;
  const each = shape.reduce((a, b) => a * b, 1);
  const numbers = size === 1 ? bytes.slice() : joinBytes(bytes, size);
  const step = (each * size) / numbers.BYTES_PER_ELEMENT;
  for (let n = step; n < numbers.length; n++) numbers[n] ^= numbers[n - step];
  return Array.from({length: count}, (_, n) => new Numbers(numbers.buffer, n * each * size, each));
}

/** Join the bytes of numbers of 4 or 8 bytes, which are sorted by significance: their words of 4 bytes. */
function joinBytes(bytes, size) {
  const count = bytes.length / size;
  const words = new Uint32Array(bytes.length / 4);
  const wordsEach = size / 4;
  for (let word = 0; word < wordsEach; word++) {
    const [a, b, c, d] = [0, 1, 2, 3].map(n => bytes.subarray((4 * word + n) * count, (4 * word + n + 1) * count));
    for (let n = 0, to = word; n < count; n++, to += wordsEach) {
      words[to] = a[n] | (b[n] << 8) | (c[n] << 16) | (d[n] << 24);
    }
  }
  return words;
}
