// A canvas with one cell, enlarged: its pixels, its numbers where they fit, and which weight is below
// the mouse.

import {CellPainter} from "./cell_pixels.js";
import {make} from "./dom.js";
import {GridLayout} from "./grid_layout.js";

const LINE = 13; // CSS pixels of a line of numbers
const LIGHT = 0.18; // relative luminance from which black text has more contrast than white

export class CellCanvas {
  /**
   * @param {number} leastSide CSS pixels of a weight with numbers, at least
   * @param {object} properties of the canvas's element
   */
  constructor(leastSide, properties = {}) {
    this.leastSide = leastSide;
    this.canvas = make("canvas", properties);
    this.painter = new CellPainter(this.canvas);
    this.numbers = make("div", {class: "numbers", "aria-hidden": "true", hidden: true});
    this.element = make("div", {class: "cell"}, this.canvas, this.numbers);
  }

  /**
   * Draw a cell.
   * @param {number} side in CSS pixels, at most
   * @param {object} shape {height, width, slices, channels} of the cells
   * @param {Float32Array|Float64Array} cells
   * @param {number} cell index of the one that is drawn
   * @param {{low, high}} ranges the darkest and the lightest value of each cell
   * @param {GridColours} colours
   */
  draw(side, {height, width, slices = 1, channels}, cells, cell, ranges, colours) {
    const pixels = Math.round(side * devicePixelRatio);
    const key = `${pixels},${height},${width},${slices},${colours.separator}`;
    if (this.key !== key) {
      this.key = key;
      this.painter.resize(new GridLayout(1, height, width, pixels, pixels, slices), colours);
      this.canvas.style.width = `${this.painter.layout.totalWidth / devicePixelRatio}px`;
      this.slices = slices;
    }
    this.painter.draw(cells, channels, ranges, [cell], colours);
  }

  /**
   * Write numbers into the weights, in black or white; nothing if they do not fit.
   * @param {?number} lines of numbers in each weight; null to hide them
   * @param {function(number, number): string[]} textsAt the lines at a row and a column
   */
  write(lines, textsAt) {
    const {layout} = this.painter;
    const side = layout && layout.scale / devicePixelRatio;
    this.numbers.hidden = !lines || !layout || this.slices > 1 || side < this.leastSide || side < 2 * lines * LINE;
    if (this.numbers.hidden) return;
    const {height, width, totalWidth, totalHeight, gap, scale} = layout;
    if (this.writtenKey !== this.key) {
      this.numbers.replaceChildren(...Array.from({length: height * width}, (_, n) => {
        const text = make("span", {});
        const [row, column] = [Math.floor(n / width), n % width];
        const percent = (part, whole) => `${(100 * part) / whole}%`;
        Object.assign(text.style, {
          left: percent(gap + column * scale, totalWidth), top: percent(gap + row * scale, totalHeight),
          width: percent(scale, totalWidth), height: percent(scale, totalHeight),
        });
        return text;
      }));
      this.writtenKey = this.key;
    }
    [...this.numbers.children].forEach((text, n) => {
      const [row, column] = [Math.floor(n / width), n % width];
      text.replaceChildren(...textsAt(row, column).map(line => make("b", {}, line)));
      text.className = this.luminanceAt(row, column) >= LIGHT ? "on-light" : "on-dark";
    });
  }

  /** The row and the column of the cell below the mouse; null if it is beside the cell. */
  at(event) {
    const {layout} = this.painter;
    if (!layout) return null;
    const {gap, scale, height, width} = layout;
    const box = this.canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) * (this.canvas.width / box.width) - gap;
    const y = (event.clientY - box.top) * (this.canvas.height / box.height) - gap;
    const sliceWidth = (width / this.slices) * scale + 1;
    const column = Math.floor(this.slices > 1 ? (x - Math.floor(x / sliceWidth)) / scale : x / scale);
    const row = Math.floor(y / scale);
    return row >= 0 && row < height && column >= 0 && column < width ? [row, column] : null;
  }

  luminanceAt(row, column) {
    const {pixels, layout: {gap, scale, totalWidth}} = this.painter;
    const middle = side => gap + Math.floor((side + 0.5) * scale);
    const colour = pixels[middle(row) * totalWidth + middle(column)];
    const [red, green, blue] = [0, 8, 16].map(bits => (((colour >> bits) & 255) / 255) ** 2.2);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }
}

/** The offset in rows and columns of an arrow key; undefined for another key, or with a modifier. */
export function arrowOffset(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return undefined;
  return {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
}

/** The range from the largest magnitude below zero to the same above it; from -1 to 1 for zeros. */
export function symmetricRange(values) {
  let reach = 0;
  for (const value of values) if (Number.isFinite(value)) reach = Math.max(reach, Math.abs(value));
  return {low: [-reach || -1], high: [reach || 1]};
}
