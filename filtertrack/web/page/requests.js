// Requests to the server: see http_api.md. URLs are relative, so they work under --path_prefix.

import {parseMessage} from "./cells_message.js";

// Milliseconds until an answer has to be complete.
const TIMEOUTS = {settings: 20_000, runs: 20_000, steps: 20_000, animation: 150_000};
const DEFAULT_TIMEOUT = 60_000;

const TEMPORARY = 500; // the lowest status of one that may succeed later

class ServerError extends Error {
  /**
   * @param {string} message
   * @param {boolean} isTemporary whether the same request may succeed later
   */
  constructor(message, isTemporary) {
    super(message);
    this.isTemporary = isTemporary;
  }
}

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
    throw new ServerError((await response.text()).slice(0, 1000) || `TensorBoard answered ${response.status}.`, response.status >= TEMPORARY);
  } catch (error) {
    if (error instanceof ServerError || signal?.aborted) throw error;
    throw new ServerError(controller.signal.aborted
      ? `TensorBoard did not answer for ${timeout / 1000} seconds.` : "TensorBoard does not answer.", true);
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

/** Request the kernels of one filter: {kernels, damaged, next, type, shape, arrays}, one typed array for each step. */
export function requestKernels(query, signal) {
  return requestMessage("kernel", query, signal);
}

/** Request what a first layer slides over for a probe: {shape, origin, strides, dilation, activation, arrays}. */
export function requestInput(query) {
  return requestMessage("input", query);
}

async function requestMessage(route, query, signal) {
  return parseMessage(new Uint8Array(await request(route, query, response => response.arrayBuffer(), signal)));
}
