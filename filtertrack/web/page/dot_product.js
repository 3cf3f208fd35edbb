// The dot product of a filter with the patch of an input below it, as Run.dot_product computes it.

/**
 * The patch at a place of the feature map, its products with the kernel, and their sum.
 * @param {object} input {values, shape, strides, dilation}: see InputHead in filter_answers.py
 * @param {object} kernel {cells, bias}
 * @param {number[]} shape of the kernel: height, width and channels
 * @param {number} first of the input's channels that meets a weight
 * @param {number[]} place row and column in the feature map
 * @returns {{patch, products, sums, sum, bias, output}} patch and products have the shape of the
 *   kernel; sums are those of each channel; output is the sum with the bias
 */
export function dotProduct(input, {cells, bias}, [height, width, channels], first, [y, x]) {
  const {values, shape: [, across, depth], strides, dilation} = input;
  const patch = new Float32Array(cells.length);
  const products = new Float32Array(cells.length);
  const sums = new Float64Array(channels);
  let sum = 0;
  for (let row = 0, n = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const pixel = (y * strides[0] + row * dilation[0]) * across + x * strides[1] + column * dilation[1];
      for (let channel = 0; channel < channels; channel++, n++) {
        patch[n] = values[pixel * depth + first + channel];
        products[n] = patch[n] * Math.fround(cells[n]);
        sums[channel] += products[n];
        sum += products[n];
      }
    }
  }
  const rounded = Math.fround(bias);
  return {patch, products, sums, sum, bias: rounded, output: sum + rounded};
}

/** Rows and columns of the input that a kernel spans. */
function spanOf({dilation}, [height, width]) {
  return [height, width].map((side, n) => (side - 1) * dilation[n] + 1);
}

/** Height and width of the feature map. */
export function mapShapeOf(input, kernelShape) {
  return spanOf(input, kernelShape).map((span, n) => Math.floor((input.shape[n] - span) / input.strides[n]) + 1);
}

/** The receptive field of the outputs: see FieldSummary in probe_answers.py. */
export function fieldOf(input, kernelShape) {
  return {size: spanOf(input, kernelShape), strides: input.strides, offsets: input.origin};
}

/** The first channel of the input that a filter has weights for: those of its group. */
export function firstChannel(number, filters, ofGroup, channels) {
  return Math.floor(number / (filters / (channels / ofGroup))) * ofGroup;
}
