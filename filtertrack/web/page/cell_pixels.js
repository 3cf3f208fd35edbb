// Cells and their value range become pixels, as the renderer makes them (scaling.normalise,
// grid.to_levels, grid.to_rgb).

const OPAQUE = 0xff000000;

/** A colour as one number, as it lies in the memory of a canvas. */
function packed([red, green, blue]) {
  return (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
}

/** What is needed to paint: the colours of levels, of what is not finite, and between cells. */
export class Inks {
  constructor(colours, notFinite, separator) {
    this.levels = new Uint32Array(colours.length / 3);
    for (let n = 0; n < this.levels.length; n++) this.levels[n] = packed(colours.subarray(3 * n, 3 * n + 3));
    this.notFinite = packed(notFinite);
    this.separator = packed(separator);
  }
}

/** Widen ranges so that zero is in their middle. */
export function zeroCentred({low, high}) {
  const reach = low.map((value, n) => Math.max(-value, high[n]));
  return {low: reach.map(value => -value), high: reach};
}

/** Let all cells share one range. */
export function shared({low, high}) {
  const least = low.reduce((a, b) => Math.min(a, b), Infinity);
  const most = high.reduce((a, b) => Math.max(a, b), -Infinity);
  return {low: low.map(() => least), high: high.map(() => most)};
}

/** The range that covers several. */
export function union(all) {
  const [first, ...others] = all;
  const [low, high] = [Float64Array.from(first.low), Float64Array.from(first.high)];
  for (const other of others) {
    for (let n = 0; n < low.length; n++) {
      low[n] = Math.min(low[n], other.low[n]);
      high[n] = Math.max(high[n], other.high[n]);
    }
  }
  return {low, high};
}

// Halves go to the even number, as in numpy.
function rounded(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

/** A canvas that holds the grid of one layer. */
export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", {alpha: false});
  }

  /** Make the canvas as large as a layout; everything is separator until it is drawn. */
  resize(layout, inks) {
    this.layout = layout;
    if (this.canvas.width !== layout.wide || this.canvas.height !== layout.high) {
      this.canvas.width = layout.wide;
      this.canvas.height = layout.high;
    }
    this.image = this.context.createImageData(layout.wide, layout.high);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.pixels.fill(inks.separator);
  }

  /**
   * Draw cells.
   * @param {Float32Array|Float64Array} cells of the shape (cells, height, width, 1 or 3)
   * @param {number} channels 1 or 3
   * @param {{low, high}} values what is darkest and lightest in each cell
   * @param {number[]} order for each place, the number of its cell
   * @param {Inks} inks
   */
  draw(cells, channels, {low, high}, order, inks) {
    const {height, width} = this.layout;
    const each = height * width * channels;
    order.forEach((cell, place) => {
      const least = low[cell] / 2;
      const span = high[cell] / 2 - least;
      const [left, top] = this.layout.corner(place);
      for (let y = 0, n = cell * each; y < height; y++) {
        const row = (top + y * this.layout.scale) * this.layout.wide + left;
        for (let x = 0; x < width; x++, n += channels) {
          this.dot(row, x, channels === 3 ? mixed(cells, n, least, span, inks) : toned(cells[n], least, span, inks));
        }
        this.repeat(row);
      }
    });
    this.context.putImageData(this.image, 0, 0);
  }

  dot(row, x, colour) {
    const {scale, slices, width} = this.layout;
    const start = row + x * scale + (slices > 1 ? Math.floor((x * slices) / width) : 0);
    for (let n = start; n < start + scale; n++) this.pixels[n] = colour;
  }

  repeat(row) {
    const {scale, wide, cellWide} = this.layout;
    for (let n = 1; n < scale; n++) this.pixels.copyWithin(row + n * wide, row, row + cellWide);
  }
}

function unit(value, least, span) {
  if (!(span > 0)) return 0.5;
  return Math.min(1, Math.max(0, (value / 2 - least) / span));
}

function toned(value, least, span, inks) {
  if (!Number.isFinite(value)) return inks.notFinite;
  return inks.levels[rounded(unit(value, least, span) * (inks.levels.length - 1))];
}

function mixed(cells, n, least, span, inks) {
  let colour = OPAQUE;
  for (let channel = 0; channel < 3; channel++) {
    const value = cells[n + channel];
    if (!Number.isFinite(value)) return inks.notFinite;
    colour |= rounded(unit(value, least, span) * 255) << (8 * channel);
  }
  return colour >>> 0;
}
