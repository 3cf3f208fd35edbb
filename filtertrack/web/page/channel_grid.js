// The input channels of one deep filter, one by one: a grid of its slices, each of which can be
// enlarged.

import {arrowOffset, symmetricRange} from "./cell_canvas.js";
import {CellPainter} from "./cell_pixels.js";
import {formatNumber, make, makeButton, setText} from "./dom.js";
import {GridLayout} from "./grid_layout.js";

const MOST_SHOWN = 64; // channels at a time
const [WIDTH, HEIGHT] = [300, 200]; // CSS pixels of the grid, at most

export class ChannelGrid {
  /**
   * @param {object} layer as in /layers
   * @param {function(?number)} choose called with the channel to enlarge; null for none
   */
  constructor(layer, choose) {
    const [, height, width, count] = layer.shape;
    Object.assign(this, {height, width, count, choose, slices: layer.slices, start: 0, chosen: null});
    this.canvas = make("canvas", {"aria-hidden": "true"});
    this.painter = new CellPainter(this.canvas);
    this.buttons = make("div", {class: "cells", role: "group", "aria-label": "Input channels", onkeydown: event => this.moveFocus(event)});
    this.stage = make("div", {class: "stage"}, this.canvas, this.buttons);
    this.text = make("span", {});
    const isLong = count > MOST_SHOWN;
    this.turn = make("p", {class: "turn reading"}, this.text,
      ...(isLong ? [makeButton("Previous channels", "‹", () => this.show(-1)), makeButton("Next channels", "›", () => this.show(1))] : []));
    this.element = make("section", {class: "channels", "aria-label": "Input channels"},
      make("h3", {}, "Channel by channel"), this.turn, this.stage);
  }

  /** The channels that are shown. */
  get numbers() {
    return Array.from({length: Math.min(MOST_SHOWN, this.count - this.start)}, (_, n) => this.start + n);
  }

  /** Show the channels after those that are shown, or before them: -1. */
  show(offset) {
    const parts = Math.ceil(this.count / MOST_SHOWN);
    this.start = MOST_SHOWN * ((this.start / MOST_SHOWN + offset + parts) % parts);
    this.draw(this.kernel, this.colours);
  }

  /**
   * Draw the channels of a kernel, all on one scale with zero in its middle.
   * @param {?object} kernel {cells} of the shape (height, width, channels); undefined while it is loaded
   * @param {GridColours} colours
   */
  draw(kernel, colours) {
    Object.assign(this, {kernel, colours});
    this.arrange(colours);
    this.element.classList.toggle("waiting", !kernel?.cells);
    if (!kernel?.cells) return this.describe(null);
    const {numbers} = this;
    const {low, high} = this.range = symmetricRange(kernel.cells);
    const all = {low: numbers.map(() => low[0]), high: numbers.map(() => high[0])};
    this.painter.draw(this.split(kernel.cells), 1, all, numbers.map(number => number - this.start), colours);
    this.describe(high[0]);
  }

  describe(reach) {
    const {numbers, count} = this;
    const which = numbers.length < count ? `${numbers[0]} to ${numbers.at(-1)} of ${count} input channels` : `${count} input channels`;
    setText(this.text, reach === null ? which : `${which}, one scale: ${formatNumber(-reach)} to ${formatNumber(reach)}`);
  }

  /** The slices of the channels that are shown, one after another. */
  split(cells) {
    if (this.splitOf === cells && this.splitStart === this.start) return this.slicesOf;
    const {numbers, count, height, width} = this;
    const pixels = height * width;
    const found = new cells.constructor(numbers.length * pixels);
    numbers.forEach((channel, n) => {
      for (let pixel = 0; pixel < pixels; pixel++) found[n * pixels + pixel] = cells[pixel * count + channel];
    });
    [this.splitOf, this.splitStart, this.slicesOf] = [cells, this.start, found];
    return found;
  }

  /** The picture of the channel that is enlarged, as KernelPanel draws it; null if there is none. */
  get picture() {
    const {chosen, kernel, height, width, count} = this;
    if (chosen === null || !kernel?.cells) return null;
    const cells = Float64Array.from({length: height * width}, (_, pixel) => kernel.cells[pixel * count + chosen]);
    return {
      cells, cell: 0, shape: {height, width, slices: this.slices, channels: 1}, weightShape: [height, width],
      range: this.range, colours: this.colours, axes: ["row", "column"], channel: `input channel ${chosen} of ${count}`,
    };
  }

  /** Enlarge a channel, or no longer; null for none. */
  select(channel) {
    this.chosen = channel === this.chosen ? null : channel;
    this.markChosen();
    this.choose();
  }

  markChosen() {
    [...this.buttons.children].forEach((each, n) => each.setAttribute("aria-pressed", String(this.start + n === this.chosen)));
  }

  arrange(colours) {
    const {numbers, height, width, slices} = this;
    const key = JSON.stringify([numbers, devicePixelRatio, colours.separator]);
    if (key === this.key) return;
    this.key = key;
    const layout = this.layout = new GridLayout(numbers.length, height, width, WIDTH * devicePixelRatio, HEIGHT * devicePixelRatio, slices);
    this.painter.resize(layout, colours);
    this.stage.style.width = `${layout.totalWidth / devicePixelRatio}px`;
    this.stage.style.aspectRatio = `${layout.totalWidth} / ${layout.totalHeight}`;
    this.buttons.replaceChildren(...numbers.map((number, position) => this.makeCell(number, position)));
    this.markChosen();
  }

  makeCell(number, position) {
    const button = makeButton(`input channel ${number}`, "", () => this.select(number));
    button.tabIndex = position === 0 ? 0 : -1;
    Object.assign(button.style, this.layout.boxOf(position));
    return button;
  }

  /** Move the focus between channels with the arrow keys; the grid is a single tab stop. */
  moveFocus(event) {
    const offset = arrowOffset(event);
    if (!offset) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...this.buttons.children];
    const next = all[all.indexOf(event.target) + offset[0] * this.layout.columns + offset[1]];
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}
