// The position of each cell in a grid, in pixels: as many columns as fill the available size best,
// every weight a square of whole pixels, as in the renderer (grid.py).

const LEAST_GAP = 1;
const GAP_SHARE = 200; // sides of a grid, in gaps between its cells
const OUTLINED_GAP = 3; // at least: a line around each cell, and one between
const OUTLINED_GAP_SHARE = 80;
const FILLED = 0.8; // share of the available width or height that a grid fills, if it can
const EMPTY_COST = 2; // of a grid of empty positions, relative to that of other proportions

/** Cells in rows, of one size, which a subclass sets; a group of them begins a new row below its heading. */
export class CellLayout {
  /**
   * @param {number} count number of cells
   * @param {object} options
   * @param {?number[]} options.groups the number of cells of each group; null for a single group
   * @param {number} options.heading height of a group's heading, in pixels
   * @param {boolean} options.isOutlined whether there is a line around each cell
   */
  constructor(count, {groups = null, heading = 0, isOutlined = false} = {}) {
    this.count = Math.max(count, 1);
    Object.assign(this, {groups: groups ?? [this.count], isOutlined});
    this.headingHeight = groups ? heading : 0;
    this.headingsHeight = this.headingHeight * this.groups.length; // of all headings
  }

  /** The number of rows with a number of columns. */
  rowsWith(columns) {
    return this.groups.reduce((rows, cells) => rows + Math.ceil(cells / columns), 0);
  }

  /** Set the columns, the gap between cells and the size of a cell. */
  place(columns, gap, cellWidth, cellHeight) {
    Object.assign(this, {columns, gap, cellWidth, cellHeight});
    this.rows = 0;
    this.firstRows = []; // of each group
    this.cells = []; // of each position: {row, column, group}
    this.groups.forEach((cells, group) => {
      this.firstRows.push(this.rows);
      for (let n = 0; n < cells; n++) this.cells.push({row: this.rows + Math.floor(n / columns), column: n % columns, group});
      this.rows += Math.ceil(cells / columns);
    });
    this.totalWidth = columns * cellWidth + (columns + 1) * gap;
    this.totalHeight = this.rows * cellHeight + (this.rows + 1) * gap + this.headingsHeight;
  }

  /** The box of the cell at a position as CSS, in percent of the grid: right also if the canvas is shrunk. */
  boxOf(position) {
    const {totalWidth, totalHeight, cellWidth, cellHeight} = this;
    const percent = (part, whole) => `${(100 * part) / whole}%`;
    const [left, top] = this.corner(position);
    return {
      left: percent(left, totalWidth), top: percent(top, totalHeight),
      width: percent(cellWidth, totalWidth), height: percent(cellHeight, totalHeight),
    };
  }

  /** The upper left corner of the cell at a position: [left, top]. */
  corner(position) {
    const {row, column, group} = this.cells[position];
    return [this.gap + column * (this.cellWidth + this.gap), this.topOfRow(row) + (group + 1) * this.headingHeight];
  }

  /** The area of each row of cells with the gaps around them: [left, top, width, height]. */
  rowAreas() {
    const {gap, cellWidth, cellHeight, cells} = this;
    const last = cells.flatMap((cell, position) => (cell.row === cells[position + 1]?.row ? [] : [position]));
    return last.map(position => {
      const [left, top] = this.corner(position);
      return [0, top - gap, left + cellWidth + gap, cellHeight + 2 * gap];
    });
  }

  /** The upper edge and the height of a group's heading. */
  heading(group) {
    const first = this.firstRows[group];
    const cells = this.topOfRow(first) + (group + 1) * this.headingHeight;
    const top = group ? this.topOfRow(first) + group * this.headingHeight : 0;
    return [top, cells - this.gap - top];
  }

  /** The upper edge of a row's cells, without the headings above it. */
  topOfRow(row) {
    return this.gap + row * (this.cellHeight + this.gap);
  }

  /** Pixels of the longer side of a cell, or of a picture in it. */
  get longerSide() {
    return Math.max(this.cellWidth, this.cellHeight);
  }

  /** Pixels of the line around a cell. */
  get outline() {
    return this.isOutlined ? Math.floor((this.gap - 1) / 2) : 0;
  }

  /** The position of the cell that is a number of columns or rows away; undefined if there is none. */
  neighbour(position, across, down) {
    if (!down) return this.cells[position + across] && position + across;
    const {row, column} = this.cells[position];
    const found = this.cells.findLastIndex(each => each.row === row + down && each.column <= column);
    return found < 0 ? undefined : found;
  }
}

export class GridLayout extends CellLayout {
  /**
   * @param {number} count number of cells
   * @param {number} height of a cell, in weights
   * @param {number} width of a cell, in weights
   * @param {number} mostWidth the grid's width, in pixels, at most
   * @param {number} mostHeight the grid's height, in pixels, at most
   * @param {number} slices parts of equal width into which a cell is divided
   * @param {object} options see CellLayout
   */
  constructor(count, height, width, mostWidth, mostHeight, slices = 1, options = {}) {
    super(count, options);
    Object.assign(this, {height, width, slices});
    const best = this.chooseColumns(mostWidth, mostHeight);
    this.scale = Math.max(1, best.scale); // pixels a weight
    this.place(best.columns, best.gap, width * this.scale + slices - 1, height * this.scale);
  }

  /**
   * Choose the columns with which weights are largest; among those, a grid that fills the available
   * size, in its proportions, with few empty positions.
   */
  chooseColumns(mostWidth, mostHeight) {
    let best = null;
    for (let columns = 1; columns <= Math.max(...this.groups); columns++) {
      const each = this.fit(columns, mostWidth, mostHeight);
      if (!best || isBetter(each, best)) best = each;
    }
    return best;
  }

  /** The largest whole-number scale with a number of columns; below 1 if a pixel a weight is too much. */
  fit(columns, mostWidth, mostHeight) {
    const {height, width, slices, isOutlined} = this;
    const rows = this.rowsWith(columns);
    const [least, share] = isOutlined ? [OUTLINED_GAP, OUTLINED_GAP_SHARE] : [LEAST_GAP, GAP_SHARE];
    const [wide, high] = [mostWidth - columns * (slices - 1), mostHeight - this.headingsHeight];
    const scaleWith = gap => Math.min(
      (wide - gap * (columns + 1)) / Math.max(1, columns * width),
      (high - gap * (rows + 1)) / Math.max(1, rows * height),
    );
    let gap = Math.max(least, Math.ceil(Math.min(mostWidth, mostHeight) / share));
    while (scaleWith(gap) < 1 && gap > least) gap -= 1;
    const exact = scaleWith(gap);
    const scale = exact < 1 ? exact : Math.floor(exact);
    const shares = () => [
      (columns * (width * scale + gap) + gap) / wide, (rows * (height * scale + gap) + gap) / high,
    ];
    // Where the next whole scale is too large, wider gaps fill the space.
    const widest = this.count > 1 ? Math.min(width, height) * scale / 2 : gap;
    while (Math.max(...shares()) < FILLED && gap < widest && scaleWith(gap + 1) >= scale) gap += 1;
    const [smaller, larger] = shares().sort((a, b) => a - b);
    const cost = 1 - smaller / larger + (EMPTY_COST * (rows * columns - this.count)) / this.count;
    return {columns, gap, scale, isFilled: larger >= FILLED, cost};
  }
}

/** Whether a grid of `fit` is better than another one. */
function isBetter(one, other) {
  if (one.scale !== other.scale) return one.scale > other.scale;
  return one.isFilled === other.isFilled ? one.cost < other.cost : one.isFilled;
}
