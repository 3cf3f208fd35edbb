// The grid of one part of a run's layer: a canvas, over each cell a button that opens its filter, and
// a scale bar.

import {make, makeButton, setText} from "./dom.js";
import {GridLayout} from "./grid_layout.js";
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
    this.element = make("figure", {class: "grid"}, this.title, this.stage, this.bar.element);
    this.numbers = [];
    this.key = "";
  }

  /** Lay out the filters with these numbers, in this order, within a size in pixels. */
  arrange(numbers, {height, width, slices, channels, isMatrix}, [mostWidth, mostHeight], colours) {
    this.channels = channels;
    const key = JSON.stringify([numbers, height, width, slices, mostWidth, mostHeight, isMatrix, colours.separator, devicePixelRatio]);
    if (key === this.key) return;
    this.key = key;
    this.layout = new GridLayout(isMatrix ? 1 : numbers.length, height, width, mostWidth, mostHeight, slices);
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

  select(number) {
    this.selected = number;
    this.numbers.forEach((each, position) => this.buttons.children[position]?.setAttribute("aria-pressed", String(each === number)));
  }

  showTitle(text) {
    this.title.hidden = !text;
    setText(this.title, text);
  }

  /** Draw a snapshot with the darkest and the lightest value of each cell; dim the grid if there is none. */
  draw(snapshot, step, ranges, order, colours) {
    this.element.classList.toggle("damaged", Boolean(snapshot && !snapshot.cells));
    if (!snapshot?.cells || !this.layout) return;
    this.painter.draw(snapshot.cells, this.channels, ranges, order, colours);
    this.element.dataset.drawn = step;
  }
}

