// How one value of a first layer's feature map follows: patch times kernel, summed, plus the bias.

import {activate} from "./activations.js";
import {arrowOffset, CellCanvas, symmetricRange} from "./cell_canvas.js";
import {formatExactly, formatNumber, make, setText} from "./dom.js";
import {COLOURS} from "./kernel_panel.js";

const [SIDE, SIDE_IN_COLOUR] = [94, 76]; // CSS pixels of a patch, a kernel, products
const LEAST_SIDE = 28; // CSS pixels of a weight with numbers

export class ProductView {
  constructor() {
    const term = name => new Term(name, index => this.read(index));
    Object.assign(this, {patch: term("patch"), kernel: term("kernel")});
    this.products = COLOURS.map(() => term("products"));
    const sign = text => make("span", {class: "sign"}, text);
    this.signs = this.products.map((_, n) => sign(n ? "+" : "="));
    this.times = sign("×");
    this.turn = make("span", {class: "turn-of-line"}); // the products of colours are below
    this.terms = make("div", {class: "terms", tabindex: "0", role: "group",
      "aria-label": "Patch times kernel. Arrow keys read the products.", onkeydown: event => this.readWithKeys(event)},
    this.patch.element, this.times, this.kernel.element, this.turn,
    ...this.products.flatMap((each, n) => [this.signs[n], each.element]));
    this.sum = make("p", {class: "sum"});
    this.readout = make("p", {class: "readout"});
    this.meaning = make("p", {class: "reading"});
    this.element = make("div", {class: "product", hidden: true}, this.terms, this.sum, this.meaning, this.readout);
    this.index = null; // [row, column] of the weight whose product is read out
  }

  /**
   * Show a dot product; undefined while it is loaded, null if there is none.
   * @param {?object} dot as dotProduct returns it, with {kernel, shape, range, activation, colours}: the
   *   weights and their shape, the range of the input, the activation's name, {filters, signed}; and
   *   {read, inMap}: what is read of the layer, and {value, precision} of the map, null if not known
   * @param {boolean} isPlaying whether numbers in the pictures wait until playback stops
   */
  draw(dot, isPlaying) {
    this.dot = dot;
    this.element.classList.toggle("waiting", !dot);
    if (dot !== undefined) this.element.hidden = !dot;
    if (!dot) return;
    const {patch, kernel, products, shape: [height, width, channels], range, colours} = dot;
    const isColoured = channels === COLOURS.length;
    this.element.classList.toggle("coloured", isColoured); // the products of a pixel take more lines
    const isShown = channels === 1 || isColoured; // other patches are no pictures
    for (const each of [this.patch.element, this.times, this.kernel.element, this.signs[0]]) each.hidden = !isShown;
    this.turn.hidden = !isColoured;
    const shape = {height, width, side: isColoured ? SIDE_IN_COLOUR : SIDE};
    if (isShown) {
      this.patch.draw({...shape, channels: COLOURS.length}, channels === 1 ? inGrey(patch) : patch, range, colours.filters);
      this.patch.write(isPlaying, channels === 1 ? patch : null, width);
      this.kernel.draw({...shape, channels}, kernel, symmetricRange(kernel), colours.filters);
      this.kernel.write(isPlaying, channels === 1 ? kernel : null, width);
    }
    const parts = isColoured ? COLOURS.map((_, n) => channelOf(products, n, channels)) : [sumOfChannels(products, channels)];
    const reach = symmetricRange(products.length === parts[0].length ? products : parts.flatMap(each => [...each]));
    this.products.forEach((each, n) => {
      [each.element.hidden, this.signs[n].hidden] = [n >= parts.length, n >= parts.length || (!isShown && n === 0)];
      if (n >= parts.length) return;
      each.draw({...shape, channels: 1}, parts[n], reach, colours.signed);
      each.write(isPlaying, parts[n], width);
      each.name(parts.length > 1 ? `${COLOURS[n]} ${formatExactly(dot.sums[n])}` : channels > 1 ? `products of ${channels} channels` : "products");
    });
    this.sum.setAttribute("aria-live", isPlaying ? "off" : "polite");
    setText(this.sum, describeSum(dot));
    setText(this.meaning, describeMeaning(dot));
    this.read(this.index);
  }

  readWithKeys(event) {
    const offset = arrowOffset(event);
    if (!offset || !this.dot) return;
    event.preventDefault();
    event.stopPropagation();
    const before = this.index ?? [0, -offset[1]];
    this.read(before.map((each, n) => Math.min(this.dot.shape[n] - 1, Math.max(0, each + offset[n]))));
  }

  /** Read out the pixels and weights at a row and a column; null for none. */
  read(index) {
    this.index = index;
    const {dot} = this;
    if (!index || !dot) return setText(this.readout, "Point at a pixel to read its products.");
    const [, width, channels] = dot.shape;
    const start = (index[0] * width + index[1]) * channels;
    const factors = n => `${formatExactly(dot.patch[start + n])} × ${formatExactly(dot.kernel[start + n])} = ${formatExactly(dot.products[start + n])}`;
    const texts = channels === 1 ? [factors(0)]
      : channels === COLOURS.length ? COLOURS.map((name, n) => `${name} ${factors(n)}`)
        : [formatExactly(dot.products.subarray(start, start + channels).reduce((sum, each) => sum + each, 0))];
    const separator = texts.length > 1 ? "\n" : " "; // a line for each colour
    setText(this.readout, [`row ${index[0]}, column ${index[1]}:`, ...texts].join(separator));
  }
}

/** One picture in the equation, with a caption. */
class Term {
  constructor(name, read) {
    this.cell = new CellCanvas(LEAST_SIDE, {"aria-hidden": "true", onmousemove: event => read(this.cell.at(event)), onmouseleave: () => read(null)});
    this.caption = make("figcaption", {}, name);
    this.element = make("figure", {}, this.cell.element, this.caption);
  }

  draw(shape, cells, range, colours) {
    this.cell.draw(shape.side, shape, cells, 0, range, colours);
  }

  /** Write the numbers; null for none, as of colours. */
  write(isPlaying, values, width) {
    this.cell.write(isPlaying || !values ? null : 1, (row, column) => [shortNumber(values[row * width + column])]);
  }

  name(text) {
    setText(this.caption, text);
  }
}

/** The sum in words: of the products, and with the bias. */
function describeSum({sum, bias, output}) {
  return bias ? `${formatExactly(sum)} + bias ${formatExactly(bias)} = ${formatExactly(output)}` : `sum ${formatExactly(sum)}`;
}

/**
 * What becomes of the sum, in words: the value after the layer's activation function, and the value in
 * the map, which layers between may have changed.
 */
function describeMeaning({output, activation, read, inMap}) {
  const activated = activate(activation, output);
  const after = activation === "linear" || activated === null ? "" : `After ${activation}: ${formatExactly(activated)}. `;
  if (!inMap) return after;
  const {value, precision} = inMap;
  const least = precision + 1e-5 * Math.max(1, Math.abs(value)); // the model computes in 32 bits
  const isSame = [output, activated, Math.max(output, 0)].some(each => each !== null && Math.abs(each - value) <= least);
  const number = `${formatNumber(value)}${precision ? ` ± ${formatNumber(precision)}` : ""}`;
  return `${after}In the map: ${number}, ${read}${isSame ? "" : "; layers between, such as normalization, change it"}.`;
}

/** Format a number in about four characters, to be written into a picture. */
function shortNumber(value) {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value) < 10 ? value.toFixed(2) : value.toPrecision(2);
  return text.replace("-", "−").replace(/^(−?)0\./, "$1.");
}

function inGrey(values) {
  const colours = new Float32Array(3 * values.length);
  values.forEach((value, n) => colours.fill(value, 3 * n, 3 * n + 3));
  return colours;
}

function channelOf(values, channel, channels) {
  return Float32Array.from({length: values.length / channels}, (_, n) => values[n * channels + channel]);
}

function sumOfChannels(values, channels) {
  if (channels === 1) return values;
  return Float64Array.from({length: values.length / channels}, (_, n) => values.subarray(n * channels, (n + 1) * channels).reduce((sum, each) => sum + each, 0));
}
