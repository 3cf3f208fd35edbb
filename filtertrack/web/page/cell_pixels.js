// Converts cells and their value ranges to pixels, exactly as the renderer does (grid.py). NaN and
// infinity get the server's setting `not_finite`.

const OPAQUE = 0xff000000;

/** A colour as one number, as it lies in the memory of a canvas. */
function packColour([red, green, blue]) {
  return (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
}

/** A packed colour in CSS. */
export function cssColour(packed) {
  return `rgb(${packed & 255} ${(packed >> 8) & 255} ${(packed >> 16) & 255})`;
}

/** The colours of a grid: of the levels from dark to light, of NaN and infinity, between cells. */
export class GridColours {
  constructor(palette, notFinite, separator) {
    this.levels = new Uint32Array(palette.length / 3);
    for (let n = 0; n < this.levels.length; n++) this.levels[n] = packColour(palette.subarray(3 * n, 3 * n + 3));
    this.notFinite = packColour(notFinite);
    this.separator = packColour(separator);
  }
}

/** Round to the nearest integer, halves to the even one, as numpy does. */
function roundHalfEven(value) {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

/** Draws the cells of one layer into a canvas. */
export class CellPainter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", {alpha: false});
  }

  /**
   * Resize the canvas to a layout, and fill it with the separator's colour.
   * @param {?number[]} background colour around the rows of groups, as RGB
   */
  resize(layout, colours, background = null) {
    this.layout = layout;
    if (this.canvas.width !== layout.totalWidth || this.canvas.height !== layout.totalHeight) {
      this.canvas.width = layout.totalWidth;
      this.canvas.height = layout.totalHeight;
    }
    this.image = this.context.createImageData(layout.totalWidth, layout.totalHeight);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.pixels.fill(background ? packColour(background) : colours.separator);
    if (background) for (const row of layout.rowAreas()) this.fillArea(...row, colours.separator);
  }

  fillArea(left, top, width, height, packed) {
    for (let y = top; y < top + height; y++) {
      const start = y * this.layout.totalWidth + left;
      this.pixels.fill(packed, start, start + width);
    }
  }

  /**
   * Draw cells.
   * @param {Float32Array|Float64Array} cells of shape (cells, height, width, channels)
   * @param {number} channels 1 or 3
   * @param {{low, high}} ranges the darkest and the lightest value of each cell
   * @param {number[]} order for each position in the grid, the index of its cell
   * @param {GridColours} colours
   */
  draw(cells, channels, ranges, order, colours) {
    this.fill(this.layout, cells, channels, ranges, order, colours);
    this.show();
  }

  /** Show in the canvas what has been filled. */
  show() {
    this.context.putImageData(this.image, 0, 0);
  }

  /** Fill the pixels of cells, whose positions are those of a layout: see `draw`. */
  fill(layout, cells, channels, {low, high}, order, colours) {
    const {height, width, totalWidth, rowScale = layout.scale} = layout;
    const each = height * width * channels;
    order.forEach((cell, position) => {
      const half = low[cell] / 2; // halves: the range of float64 may exceed its largest number
      const span = high[cell] / 2 - half;
      const [left, top] = layout.corner(position);
      for (let y = 0, n = cell * each; y < height; y++) {
        const row = (top + y * rowScale) * totalWidth + left;
        for (let x = 0; x < width; x++, n += channels) {
          this.fillWeight(layout, row, x, channels === 3 ? rgbColour(cells, n, half, span, colours) : levelColour(cells[n], half, span, colours));
        }
        this.repeatRow(layout, row, rowScale);
      }
    });
  }

  /** Fill the line around the cell at a position of the whole layout with a colour, as RGB, or that of the separator. */
  outline(position, colour, separator) {
    const {layout: {outline, cellWidth, cellHeight}, layout} = this;
    const [left, top] = layout.corner(position);
    const packed = colour ? packColour(colour) : separator;
    for (const y of [top - outline, top + cellHeight]) this.fillArea(left - outline, y, cellWidth + 2 * outline, outline, packed);
    for (const x of [left - outline, left + cellWidth]) this.fillArea(x, top, outline, cellHeight, packed);
  }

  /** Fill the cells at the first positions of a layout with one colour. */
  clear(layout, count, colour) {
    for (let position = 0; position < count; position++) {
      this.fillArea(...layout.corner(position), layout.cellWidth, layout.cellHeight, colour);
    }
  }

  /** Fill the pixels of one weight in one row. */
  fillWeight({scale, slices, width}, row, x, colour) {
    const start = row + x * scale + (slices > 1 ? Math.floor((x * slices) / width) : 0);
    for (let n = start; n < start + scale; n++) this.pixels[n] = colour;
  }

  /** Copy a cell's row of pixels to the other rows of the same weights. */
  repeatRow({totalWidth, cellWidth}, row, rowScale) {
    for (let n = 1; n < rowScale; n++) this.pixels.copyWithin(row + n * totalWidth, row, row + cellWidth);
  }
}

/** Map a value to 0 (darkest) to 1 (lightest); 0.5 if the range is empty. */
function normalise(value, half, span) {
  if (!(span > 0)) return 0.5;
  return Math.min(1, Math.max(0, (value / 2 - half) / span));
}

function levelColour(value, half, span, colours) {
  if (!Number.isFinite(value)) return colours.notFinite;
  return colours.levels[roundHalfEven(normalise(value, half, span) * (colours.levels.length - 1))];
}

function rgbColour(cells, n, half, span, colours) {
  let colour = OPAQUE;
  for (let channel = 0; channel < 3; channel++) {
    const value = cells[n + channel];
    if (!Number.isFinite(value)) return colours.notFinite;
    colour |= roundHalfEven(normalise(value, half, span) * 255) << (8 * channel);
  }
  return colour >>> 0;
}
