// What the tab asks of the server. Addresses are relative: they hold under --path_prefix.

// Milliseconds until an answer must be there, whole.
const PATIENCE = {settings: 20_000, runs: 20_000, steps: 20_000, animation: 150_000};
const USUAL = 60_000;

class ServerError extends Error {}

function address(route, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `./${route}?${new URLSearchParams(given)}`;
}

/** Ask, and read the answer; a signal ends it early. */
async function ask(route, query, read, signal = null) {
  const patience = PATIENCE[route] ?? USUAL;
  const waiting = new AbortController();
  const end = () => waiting.abort();
  const timer = setTimeout(end, patience);
  signal?.addEventListener("abort", end);
  try {
    if (signal?.aborted) end();
    const response = await fetch(address(route, query), {signal: waiting.signal});
    if (response.ok) return await read(response);
    throw new ServerError((await response.text()).slice(0, 1000) || `TensorBoard answered ${response.status}.`);
  } catch (error) {
    if (error instanceof ServerError || signal?.aborted) throw error;
    throw new ServerError(waiting.signal.aborted
      ? `TensorBoard did not answer for ${patience / 1000} seconds.` : "TensorBoard does not answer.");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

export function askJson(route, query = {}) {
  return ask(route, query, response => response.json());
}

export function askBlob(route, query) {
  return ask(route, query, response => response.blob());
}

export async function askPalette(colormap) {
  return new Uint8Array(await ask("palette", {colormap}, response => response.arrayBuffer()));
}

/** Ask for cells: {moments, damaged, next, shape, arrays}, an array of numbers a snapshot. */
export async function askCells(query, signal) {
  const bytes = new Uint8Array(await ask("cells", query, response => response.arrayBuffer(), signal));
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return {...head, arrays: unpack(bytes.subarray(4 + length), head)};
}

// The inverse of wire.py: bytes lie sorted by their place in a number, and each array but the
// first was combined with the one before it by exclusive or.
function unpack(bytes, {moments, type, shape}) {
  if (!moments.length) return [];
  const size = type === "float64" ? 8 : 4;
  const count = bytes.length / size;
  const each = count / moments.length;
  const words = new Uint32Array((count * size) / 4);
  const wide = size / 4;
  for (let word = 0; word < wide; word++) {
    const [a, b, c, d] = [0, 1, 2, 3].map(n => bytes.subarray((4 * word + n) * count, (4 * word + n + 1) * count));
    for (let n = 0, to = word; n < count; n++, to += wide) {
      words[to] = a[n] | (b[n] << 8) | (c[n] << 16) | (d[n] << 24);
    }
  }
  for (let n = each * wide; n < words.length; n++) words[n] ^= words[n - each * wide];
  const Numbers = size === 8 ? Float64Array : Float32Array;
  return moments.map((_, number) => new Numbers(words.buffer, number * each * size, each));
}
