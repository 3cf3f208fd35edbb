// Where each cell of a grid lies: the same places as the renderer's (grid.Layout.fit), so that a
// picture here is a picture there, pixel for pixel.

const LEAST_GAP = 1;

export class Layout {
  /**
   * @param {number} count number of cells
   * @param {number} height of a cell, in weights
   * @param {number} width of a cell, in weights
   * @param {number} wide the picture's width, in pixels, at most
   * @param {number} high its height, at most
   * @param {number} slices parts of equal width that a cell is divided into
   */
  constructor(count, height, width, wide, high, slices = 1) {
    Object.assign(this, {count: Math.max(count, 1), height, width, slices});
    this.columns = Math.min(chooseColumns(this.count, height, width), this.count);
    this.rows = Math.ceil(this.count / this.columns);
    const room = wide - this.columns * (slices - 1);
    let scale = 0;
    let gap = Math.max(LEAST_GAP, Math.ceil(Math.min(wide, high) / 200));
    while (scale < 1 && gap >= LEAST_GAP) {
      scale = Math.min(
        Math.floor((room - gap * (this.columns + 1)) / Math.max(1, this.columns * width)),
        Math.floor((high - gap * (this.rows + 1)) / Math.max(1, this.rows * height)),
      );
      if (scale < 1) gap -= 1;
    }
    this.scale = Math.max(1, scale);
    this.gap = Math.max(LEAST_GAP, gap);
    this.cellWide = width * this.scale + slices - 1;
    this.cellHigh = height * this.scale;
    this.wide = this.columns * this.cellWide + (this.columns + 1) * this.gap;
    this.high = this.rows * this.cellHigh + (this.rows + 1) * this.gap;
  }

  /** The left upper corner of a cell, in pixels. */
  corner(place) {
    const row = Math.floor(place / this.columns);
    const column = place % this.columns;
    return [this.gap + column * (this.cellWide + this.gap), this.gap + row * (this.cellHigh + this.gap)];
  }
}

function chooseColumns(count, height, width) {
  let best = 1;
  let least = Infinity;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const ratio = (columns * Math.max(width, 1)) / (rows * Math.max(height, 1));
    const cost = 4 * (Math.max(ratio / 2, 1 / ratio, 1) - 1) + (rows * columns - count) / count;
    if (cost < least) [best, least] = [columns, cost];
  }
  return best;
}
