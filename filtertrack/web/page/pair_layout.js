// The positions of filters and of their maps in a grid of pairs: in each cell a filter and, to the
// right of it, its map, about as large, both magnified by whole numbers.

import {CellLayout} from "./grid_layout.js";

const LEAST_GAP = 3; // pixels between pairs: enough for a line around each
const LARGEST_SIDE = 4096; // pixels
const STRIP = 4; // width of a strip in heights

export class PairLayout extends CellLayout {
  /**
   * @param {number} count number of pairs
   * @param {object} filter the shape of a filter: height and width in weights, slices
   * @param {object} map the shape of a map: height and width
   * @param {number} mostWidth the grid's width, in pixels, at most
   * @param {number} mostHeight the grid's height, in pixels, at most
   * @param {object} options see CellLayout
   */
  constructor(count, filter, map, mostWidth, mostHeight, options = {}) {
    super(count, options);
    const [ofFilter, ofMap] = [filter, map].map(({height, width, slices = 1}) => Math.max(height, width + slices - 1, 1));
    const gap = Math.max(LEAST_GAP, Math.ceil(Math.min(mostWidth, mostHeight) / 80));
    const inner = Math.ceil(gap / 2); // between a filter and its map
    const longest = Math.max(ofFilter, ofMap);
    let [side, largest, columns] = [longest, 0, 1];
    for (let across = 1; across <= Math.max(...this.groups); across++) {
      const fitting = Math.min(
        Math.floor(((mostWidth - gap) / across - gap - inner) / 2),
        Math.floor((mostHeight - this.headingsHeight - gap) / this.rowsWith(across) - gap), LARGEST_SIDE);
      const ofMaps = Math.floor(fitting / ofMap) * ofMap;
      if (fitting >= longest && ofMaps > largest) [side, largest, columns] = [fitting, ofMaps, across];
    }
    // A window that is too low for all pairs scrolls: at least the smallest side fits across.
    if (!largest) columns = Math.max(1, Math.min(this.count, Math.floor((mostWidth - gap) / (2 * longest + inner + gap))));
    this.maps = new Pictures(this, map, side);
    // A map is magnified by a whole number; its filter is about as large.
    const similar = Math.round(Math.max(this.maps.cellWidth, this.maps.cellHeight) / ofFilter) * ofFilter;
    this.filters = new Pictures(this, filter, Math.min(side, similar));
    this.maps.left = this.filters.cellWidth + inner;
    this.place(columns, gap, this.maps.left + this.maps.cellWidth, Math.max(this.filters.cellHeight, this.maps.cellHeight));
  }

  get longerSide() {
    return Math.max(this.maps.cellWidth, this.maps.cellHeight);
  }

  /** The magnification of a filter's weights. */
  get scale() {
    return this.filters.scale;
  }
}

/** The positions of the filters, or of the maps, of a PairLayout. */
class Pictures {
  /** @param {number} side in pixels, at most */
  constructor(pairs, {height, width, slices = 1}, side) {
    Object.assign(this, {pairs, height, width, slices, left: 0});
    this.scale = Math.max(1, Math.floor(Math.min(side / Math.max(1, height), (side - slices + 1) / Math.max(1, width))));
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
