// The grid of one part of a run's layer: a canvas, over each cell a button that opens its filter, and
// a scale bar.

import {make, makeButton, setText} from "./dom.js";
import {GridLayout} from "./grid_layout.js";
import {PairLayout} from "./pair_layout.js";
import {CellPainter} from "./cell_pixels.js";
import {ScaleBar} from "./scale_bar.js";

export class GridView {
  /**
   * @param {string} name of the run
   * @param {boolean} isLearned whether it shows what was learned, instead of the filters
   * @param {function(number)} openFilter called with the number of a filter that is clicked
   */
  constructor(name, isLearned, openFilter) {
    Object.assign(this, {isLearned, openFilter});
    this.canvas = make("canvas", {"aria-hidden": "true"});
    this.painter = new CellPainter(this.canvas);
    this.buttons = make("div", {class: "cells", role: "group", "aria-label": `Filters of ${name}${isLearned ? ": what was learned" : ""}`,
                                onkeydown: event => this.moveFocus(event)});
    this.stage = make("div", {class: "stage"}, this.canvas, this.buttons);
    this.title = make("figcaption", {hidden: true});
    this.bar = new ScaleBar();
    this.mapBar = new ScaleBar(); // of the maps beside the filters
    this.scales = make("div", {class: "scales"}, this.bar.element);
    this.element = make("figure", {class: "grid"}, this.title, this.stage, this.scales);
    this.numbers = [];
    this.key = "";
  }

  /**
   * Lay out the filters with these numbers, in this order, within a size in pixels.
   * @param {?object} map the height and width of the map beside each filter; null for none
   */
  arrange(numbers, cellShape, size, colours, map = null) {
    const {channels, isMatrix} = cellShape;
    this.channels = channels;
    const key = JSON.stringify([numbers, cellShape, size, map, colours.separator, devicePixelRatio]);
    if (key === this.key) return;
    this.key = key;
    this.layout = layoutFor(isMatrix ? 1 : numbers.length, cellShape, size, map);
    this.scales.replaceChildren(...this.bars.map(bar => bar.element));
    this.painter.resize(this.layout, colours);
    this.stage.style.width = `${this.layout.totalWidth / devicePixelRatio}px`;
    this.stage.style.aspectRatio = `${this.layout.totalWidth} / ${this.layout.totalHeight}`;
    const focused = this.numbers[[...this.buttons.children].indexOf(document.activeElement)];
    this.numbers = numbers;
    this.buttons.replaceChildren(...(isMatrix ? [] : numbers.map((number, position) => this.makeCell(number, position))));
    this.buttons.children[numbers.indexOf(focused)]?.focus(); // the buttons are new: restore the focus
  }

  makeCell(number, position) {
    const {totalWidth, totalHeight, cellWidth, cellHeight} = this.layout;
    const percent = (part, whole) => `${(100 * part) / whole}%`; // right also if the canvas is shrunk
    const [left, top] = this.layout.corner(position);
    const cell = makeButton(`filter ${number}`, "", () => this.openFilter(number));
    cell.setAttribute("aria-pressed", String(number === this.selected));
    cell.tabIndex = position === 0 ? 0 : -1;
    Object.assign(cell.style, {
      left: percent(left, totalWidth), top: percent(top, totalHeight),
      width: percent(cellWidth, totalWidth), height: percent(cellHeight, totalHeight),
    });
    return cell;
  }

  /** Move the focus between cells with the arrow keys; the grid is a single tab stop. */
  moveFocus(event) {
    const offset = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.layout.columns, ArrowDown: this.layout.columns}[event.key];
    if (offset === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...this.buttons.children];
    const next = all[all.indexOf(event.target) + offset];
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  /** The scale bars that are shown. */
  get bars() {
    return this.layout?.maps ? [this.bar, this.mapBar] : [this.bar];
  }

  select(number) {
    this.selected = number;
    this.numbers.forEach((each, position) => this.buttons.children[position]?.setAttribute("aria-pressed", String(each === number)));
  }

  showTitle(text) {
    this.title.hidden = !text;
    setText(this.title, text);
  }

  /**
   * Draw a snapshot with the darkest and the lightest value of each cell; dim the grid if there is none.
   * @param {?object} maps {values, range, colours} of the maps beside the filters; null where there
   *   are none: they are empty
   */
  draw(snapshot, step, ranges, order, colours, maps = null) {
    this.element.classList.toggle("damaged", Boolean(snapshot && !snapshot.cells));
    if (!snapshot?.cells || !this.layout) return;
    const {layout, painter} = this;
    painter.fill(layout.filters ?? layout, snapshot.cells, this.channels, ranges, order, colours);
    if (maps) painter.fill(layout.maps, maps.values, 1, maps.range, order, maps.colours);
    else if (layout.maps) painter.clear(layout.maps, order.length, colours.separator);
    this.mapBar.isEmpty = !maps;
    painter.show();
    this.element.dataset.drawn = step;
  }
}

/** The layout of filters, or of filters with a map beside each. */
export function layoutFor(count, cellShape, size, map) {
  const {height, width, slices} = cellShape;
  return map ? new PairLayout(count, cellShape, map, ...size) : new GridLayout(count, height, width, ...size, slices);
}

