// The message that holds arrays, such as the cells of each snapshot, behind a head. See payload.py.

/** Parse a message, without its compression: its head, and its `arrays`. */
export function parseMessage(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return {...head, arrays: unpack(bytes.subarray(4 + length), head)};
}

const NUMBERS = {uint8: Uint8Array, int8: Int8Array, float32: Float32Array, float64: Float64Array};

// The inverse of pack in payload.py: bytes are sorted by their significance within a number, and
// each array but the first is the exclusive or with the one before it.
function unpack(bytes, {type, shape, moments, responses, kernels}) {
  if (type === null) return [];
  const count = (moments ?? responses ?? kernels ?? [shape]).length;
  if (type === "float16") return unpackHalves(bytes, count);
  const Numbers = NUMBERS[type];
  const size = Numbers.BYTES_PER_ELEMENT;
  const each = bytes.length / size / count;
  const words = size === 1 ? bytes.slice() : joinBytes(bytes, size);
  const wordsEach = words.length / count;
  for (let n = wordsEach; n < words.length; n++) words[n] ^= words[n - wordsEach];
  return Array.from({length: count}, (_, number) => new Numbers(words.buffer, number * each * size, each));
}

/** Join the bytes of numbers of 4 or 8 bytes, which are sorted by significance, to words of 4 bytes. */
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

function unpackHalves(bytes, arrays) {
  const count = bytes.length / 2;
  const each = count / arrays;
  const halves = new Uint16Array(count);
  for (let n = 0; n < count; n++) halves[n] = (bytes[n] | (bytes[count + n] << 8)) ^ (n < each ? 0 : halves[n - each]);
  const values = Float32Array.from(halves, valueOfHalf);
  return Array.from({length: arrays}, (_, number) => values.subarray(number * each, (number + 1) * each));
}

/** The value of a number of 16 bits: sign, 5 bits of exponent, 10 of fraction (IEEE 754). */
function valueOfHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
}
