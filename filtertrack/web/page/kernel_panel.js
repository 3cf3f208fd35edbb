// The weights of the open filter: enlarged, with numbers, read out below the mouse, and as a table.

import {arrowOffset, CellCanvas} from "./cell_canvas.js";
import {formatExactly, formatNumber, make, makeButton, printable, setText} from "./dom.js";

const LARGE = 290; // CSS pixels of the enlarged filter
const LEAST_SIDE = 44; // CSS pixels of a weight with numbers
export const COLOURS = ["red", "green", "blue"];

export class KernelPanel {
  /** @param {function} showPattern called to show the filter instead of one of its input channels */
  constructor(showPattern) {
    this.large = new CellCanvas(LEAST_SIDE, {
      tabindex: "0", role: "img", onmousemove: event => this.read(this.weightAt(event)),
      onmouseleave: () => this.read(null), onkeydown: event => this.readWithKeys(event),
    });
    this.large.element.classList.add("kernel");
    this.channel = make("span", {});
    this.back = make("p", {class: "reading", hidden: true}, this.channel,
      makeButton("Show all input channels together", "all channels", showPattern));
    this.readout = make("p", {class: "readout"});
    this.element = make("div", {class: "kernel-panel"}, this.large.element, this.back, this.readout);
    this.table = make("div", {class: "weights"});
    this.details = make("details", {ontoggle: () => this.fillTable()}, make("summary", {}, "Weights as a table"), this.table);
    this.weight = null; // [row, column] that is read out
    this.picture = null;
  }

  /**
   * Show a picture of weights; null if there is none.
   * @param {?object} picture {cells, cell, shape, weightShape, range, colours, axes, name, channel}
   * @param {boolean} isPlaying whether texts wait until playback stops
   */
  draw(picture, isPlaying) {
    this.picture = picture;
    this.isPlaying = isPlaying;
    if (picture) {
      const {shape, cells, cell, range, colours, name, channel} = picture;
      this.large.draw(LARGE, shape, cells, cell, range, colours);
      const isPlain = String([shape.height, shape.width]) === String(picture.weightShape);
      this.large.write(isPlaying || !isPlain ? null : shape.channels, (row, column) => this.valuesAt([row, column]).map(formatNumber));
      if (!isPlaying) this.large.canvas.setAttribute("aria-label", printable(`${name}. Arrow keys read its weights.`));
      this.back.hidden = !channel;
      setText(this.channel, channel ?? "");
    }
    this.read(this.weight);
    if (this.details.open && !isPlaying) this.fillTable();
  }

  /** The weight below the mouse; null beside them. Weights of a repeated row or column count once. */
  weightAt(event) {
    const found = this.picture && this.large.at(event);
    return found && found.map((index, n) => Math.min(index, this.picture.weightShape[n] - 1));
  }

  /** Read out the next weight in the direction of an arrow key. */
  readWithKeys(event) {
    const offset = arrowOffset(event);
    if (!offset || !this.picture) return;
    event.preventDefault();
    event.stopPropagation();
    const before = this.weight ?? [0, -offset[1]];
    this.read(before.map((index, n) => Math.min(this.picture.weightShape[n] - 1, Math.max(0, index + offset[n]))));
  }

  /** Read out the values of a weight; null for none. */
  read(weight) {
    this.weight = weight;
    this.readout.setAttribute("aria-live", this.isPlaying ? "off" : "polite");
    if (!weight || !this.picture) return setText(this.readout, "Point at a weight to read its value.");
    const [row, column] = this.picture.axes;
    setText(this.readout, `${row} ${weight[0]}, ${column} ${weight[1]}: ${this.textsAt(weight).join(", ")}`);
  }

  valuesAt([row, column]) {
    const {cells, cell, shape: {height, width, channels}} = this.picture;
    const start = ((cell * height + row) * width + column) * channels;
    return [...cells.subarray(start, start + channels)];
  }

  textsAt(weight) {
    const values = this.valuesAt(weight);
    return values.map((value, n) => (values.length === 3 ? `${COLOURS[n]} ` : "") + formatExactly(value));
  }

  fillTable() {
    if (!this.details.open || !this.picture) return;
    const [height, width] = this.picture.weightShape;
    const rows = Array.from({length: height}, (_, row) => make("tr", {}, make("th", {scope: "row"}, String(row)),
      ...Array.from({length: width}, (__, column) => make("td", {}, this.textsAt([row, column]).join(" ")))));
    const heads = Array.from({length: width}, (_, column) => make("th", {scope: "col"}, String(column)));
    this.table.replaceChildren(make("table", {}, make("tr", {}, make("td"), ...heads), ...rows));
  }
}
