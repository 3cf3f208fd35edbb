// The positions of filters and of their maps in a grid of pairs: in each cell a filter and, to the
// right of it, its map, each in a square of the same side, magnified by a whole number.

const LEAST_GAP = 2; // pixels between pairs
const LARGEST_SIDE = 4096; // pixels
const STRIP = 4; // width of a strip in heights

export class PairLayout {
  /**
   * @param {number} count number of pairs
   * @param {object} filter the shape of a filter: height and width in weights, slices
   * @param {object} map the shape of a map: height and width
   * @param {number} mostWidth the grid's width, in pixels, at most
   * @param {number} mostHeight the grid's height, in pixels, at most
   */
  constructor(count, filter, map, mostWidth, mostHeight) {
    this.count = Math.max(count, 1);
    const longest = Math.max(filter.height, filter.width + (filter.slices ?? 1) - 1, map.height, map.width, 1);
    this.gap = Math.max(LEAST_GAP, Math.ceil(Math.min(mostWidth, mostHeight) / 80));
    this.inner = Math.max(1, Math.floor(this.gap / 4)); // between a filter and its map
    [this.side, this.columns] = [longest, 1];
    let largest = 0;
    for (let columns = 1; columns <= this.count; columns++) {
      const rows = Math.ceil(this.count / columns);
      const side = Math.min(
        Math.floor(((mostWidth - this.gap) / columns - this.gap - this.inner) / 2),
        Math.floor((mostHeight - this.gap) / rows - this.gap), LARGEST_SIDE);
      if (side > largest) [largest, this.columns] = [side, columns];
    }
    // A window that is too low for all pairs scrolls: at least the smallest side fits across.
    if (largest < longest) this.columns = Math.max(1, Math.min(this.count, Math.floor((mostWidth - this.gap) / (2 * longest + this.inner + this.gap))));
    this.side = Math.max(longest, largest);
    this.rows = Math.ceil(this.count / this.columns);
    this.filters = new Pictures(this, filter, 0);
    this.maps = new Pictures(this, map, this.filters.cellWidth + this.inner);
    this.cellWidth = this.maps.left + this.maps.cellWidth;
    this.cellHeight = Math.max(this.filters.cellHeight, this.maps.cellHeight);
    this.totalWidth = this.columns * this.cellWidth + (this.columns + 1) * this.gap;
    this.totalHeight = this.rows * this.cellHeight + (this.rows + 1) * this.gap;
  }

  /** The magnification of a filter's weights. */
  get scale() {
    return this.filters.scale;
  }

  /** The upper left corner of the pair at a position: [left, top]. */
  corner(position) {
    const row = Math.floor(position / this.columns);
    const column = position % this.columns;
    return [this.gap + column * (this.cellWidth + this.gap), this.gap + row * (this.cellHeight + this.gap)];
  }
}

/** The positions of the filters, or of the maps, of a PairLayout. */
class Pictures {
  constructor(pairs, {height, width, slices = 1}, left) {
    Object.assign(this, {pairs, height, width, slices, left});
    this.scale = Math.max(1, Math.floor(Math.min(pairs.side / Math.max(1, height), (pairs.side - slices + 1) / Math.max(1, width))));
    this.cellWidth = width * this.scale + slices - 1;
    // The map of a signal is a strip: its only row is higher than its values are wide.
    this.rowScale = height === 1 && width > 1 ? Math.max(this.scale, Math.floor(this.cellWidth / STRIP)) : this.scale;
    this.cellHeight = height * this.rowScale;
  }

  get totalWidth() {
    return this.pairs.totalWidth;
  }

  /** The upper left corner of the picture at a position: [left, top]. */
  corner(position) {
    const [left, top] = this.pairs.corner(position);
    return [left + this.left, top + Math.floor((this.pairs.cellHeight - this.cellHeight) / 2)];
  }
}
