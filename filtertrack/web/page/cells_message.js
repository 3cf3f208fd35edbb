// Reads a message that holds arrays behind a head, such as the cells of each snapshot: see payload.py.

/** Read a message that is not compressed: its head, and its `arrays`. */
export function parseMessage(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return {...head, arrays: unpack(bytes.subarray(4 + length), head)};
}

const NUMBERS = {uint8: Uint8Array, int8: Int8Array, float32: Float32Array, float64: Float64Array};

// The inverse of pack in payload.py: bytes are sorted by their significance within a number, and
// each array but the first is its difference from the one before it.
function unpack(bytes, {type, shape, moments, responses, kernels, rounded_from: exact, exponents}) {
  if (type === null) return [];
  const count = (moments ?? responses ?? kernels ?? [shape]).length;
  const words = joinBytes(bytes, type === "float16" ? 2 : NUMBERS[type].BYTES_PER_ELEMENT);
  const wordsEach = words.length / count;
  for (let n = wordsEach; n < words.length; n++) words[n] += words[n - wordsEach]; // wraps around
  const values = type === "float16" ? valuesOfHalves(words, NUMBERS[exact], exponents.flat()) : new NUMBERS[type](words.buffer);
  const each = values.length / count;
  return Array.from({length: count}, (_, number) => values.subarray(number * each, (number + 1) * each));
}

/** Join the bytes of numbers, which are sorted by significance, to words of at most 4 bytes. */
function joinBytes(bytes, size) {
  if (size === 1) return bytes.slice();
  const count = bytes.length / size; // of numbers
  const plane = n => bytes.subarray(n * count, (n + 1) * count);
  if (size === 2) {
    const [low, high] = [plane(0), plane(1)];
    return Uint16Array.from(low, (byte, n) => byte | (high[n] << 8));
  }
  const words = new Uint32Array(bytes.length / 4);
  const wordsEach = size / 4;
  for (let word = 0; word < wordsEach; word++) {
    const [a, b, c, d] = [0, 1, 2, 3].map(n => plane(4 * word + n));
    for (let n = 0, to = word; n < count; n++, to += wordsEach) {
      words[to] = a[n] | (b[n] << 8) | (c[n] << 16) | (d[n] << 24);
    }
  }
  return words;
}

/** The values of numbers of 16 bits, each cell of each array multiplied by a power of two: see file_rounding.py. */
function valuesOfHalves(words, Numbers, exponents) {
  const values = new Numbers(words.length);
  const each = words.length / exponents.length;
  exponents.forEach((exponent, cell) => {
    const factor = 2 ** exponent;
    for (let n = cell * each; n < (cell + 1) * each; n++) values[n] = valueOfHalf(words[n]) * factor;
  });
  return values;
}

/** The value of a number of 16 bits: sign, 5 bits of exponent, 10 of fraction (IEEE 754). */
function valueOfHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
}
