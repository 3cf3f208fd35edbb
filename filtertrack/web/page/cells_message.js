// The message that holds cells: a head, and an array for each snapshot. See payload.py.

/** Parse a message, without its compression: {moments, damaged, next, shape, arrays}. */
export function parseCells(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return {...head, arrays: unpack(bytes.subarray(4 + length), head)};
}

// The inverse of pack in payload.py: bytes are sorted by their significance within a number, and
// each array but the first is the exclusive or with the one before it.
function unpack(bytes, {moments, type}) {
  if (!moments.length) return [];
  if (type === "float16") return unpackHalves(bytes, moments.length);
  const size = type === "float64" ? 8 : 4;
  const count = bytes.length / size;
  const each = count / moments.length;
  const words = new Uint32Array((count * size) / 4);
  const wordsEach = size / 4;
  for (let word = 0; word < wordsEach; word++) {
    const [a, b, c, d] = [0, 1, 2, 3].map(n => bytes.subarray((4 * word + n) * count, (4 * word + n + 1) * count));
    for (let n = 0, to = word; n < count; n++, to += wordsEach) {
      words[to] = a[n] | (b[n] << 8) | (c[n] << 16) | (d[n] << 24);
    }
  }
  for (let n = each * wordsEach; n < words.length; n++) words[n] ^= words[n - each * wordsEach];
  const Numbers = size === 8 ? Float64Array : Float32Array;
  return moments.map((_, number) => new Numbers(words.buffer, number * each * size, each));
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
