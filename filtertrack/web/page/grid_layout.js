// The position of each cell in a grid, in pixels: the same as the renderer's (Layout.fit in
// grid.py), so that both draw the same picture.

const LEAST_GAP = 1;

export class GridLayout {
  /**
   * @param {number} count number of cells
   * @param {number} height of a cell, in weights
   * @param {number} width of a cell, in weights
   * @param {number} mostWidth the grid's width, in pixels, at most
   * @param {number} mostHeight the grid's height, in pixels, at most
   * @param {number} slices parts of equal width into which a cell is divided
   */
  constructor(count, height, width, mostWidth, mostHeight, slices = 1) {
    Object.assign(this, {count: Math.max(count, 1), height, width, slices});
    this.columns = Math.min(chooseColumns(this.count, height, width), this.count);
    this.rows = Math.ceil(this.count / this.columns);
    const available = mostWidth - this.columns * (slices - 1);
    let scale = 0; // pixels a weight
    let gap = Math.max(LEAST_GAP, Math.ceil(Math.min(mostWidth, mostHeight) / 200));
    while (scale < 1 && gap >= LEAST_GAP) {
      scale = Math.min(
        Math.floor((available - gap * (this.columns + 1)) / Math.max(1, this.columns * width)),
        Math.floor((mostHeight - gap * (this.rows + 1)) / Math.max(1, this.rows * height)),
      );
      if (scale < 1) gap -= 1;
    }
    this.scale = Math.max(1, scale);
    this.gap = Math.max(LEAST_GAP, gap);
    this.cellWidth = width * this.scale + slices - 1;
    this.cellHeight = height * this.scale;
    this.totalWidth = this.columns * this.cellWidth + (this.columns + 1) * this.gap;
    this.totalHeight = this.rows * this.cellHeight + (this.rows + 1) * this.gap;
  }

  /** The upper left corner of the cell at a position: [left, top]. */
  corner(position) {
    const row = Math.floor(position / this.columns);
    const column = position % this.columns;
    return [this.gap + column * (this.cellWidth + this.gap), this.gap + row * (this.cellHeight + this.gap)];
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
