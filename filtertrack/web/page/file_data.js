// Reads the data inside the HTML file that the page is in: see file_data.py.

import {parseMessage} from "./cells_message.js";

const BASE = 85;
const LOWEST = 35; // code of the character of digit 0: "#"
const HIGHEST = "}"; // digit 84
const SKIPPED = [38, 39, 60, 62, 92, 96]; // characters that have a meaning in HTML, or in strings

const DIGITS = new Uint8Array(128); // code of a character -> digit
for (let code = LOWEST, digit = 0; digit < BASE; code++) if (!SKIPPED.includes(code)) DIGITS[code] = digit++;

const MOST_KEPT = 64e6; // bytes that are kept for the next request, unless a single element has more

const kept = new Map(); // id of an element -> {reading: promise of its bytes, size}; the one used last is last

/** The bytes of an element by its id, without their compression. */
export function readBytes(id) {
  const entry = kept.get(id) ?? startReading(id);
  kept.delete(id);
  kept.set(id, entry);
  return entry.reading;
}

function startReading(id) {
  const entry = {reading: null, size: 0}; // its size is not known yet
  entry.reading = unzip(decode(document.getElementById(id).textContent)).then(bytes => {
    entry.size = bytes.byteLength;
    removeOldest();
    return bytes;
  });
  return entry;
}

/** Remove the elements used longest ago until the others take at most MOST_KEPT bytes. */
function removeOldest() {
  let size = [...kept.values()].reduce((sum, entry) => sum + entry.size, 0);
  for (const [id, entry] of kept) {
    if (size <= MOST_KEPT || kept.size === 1) return;
    kept.delete(id);
    size -= entry.size;
  }
}

/** The message that an element holds; its arrays are new ones, which the caller may change. */
export async function readMessage(id) {
  return parseMessage(await readBytes(id));
}

async function unzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The bytes of a text of which five characters are the digits of four bytes. */
export function decode(text) {
  const groups = Math.ceil(text.length / 5);
  const padded = text.padEnd(5 * groups, HIGHEST); // of the last group only the leading bytes are used
  const bytes = new DataView(new ArrayBuffer(4 * groups));
  const digit = n => DIGITS[padded.charCodeAt(n)];
  for (let n = 0, at = 0; at < bytes.byteLength; n += 5, at += 4) {
    bytes.setUint32(at, (((digit(n) * BASE + digit(n + 1)) * BASE + digit(n + 2)) * BASE + digit(n + 3)) * BASE + digit(n + 4));
  }
  return new Uint8Array(bytes.buffer, 0, 4 * groups - (5 * groups - text.length));
}
