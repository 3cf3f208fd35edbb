// The grid of one part of a run's layer: a canvas, over each cell a button that opens its filter, the
// headings of groups, and below it the legend.

import {make, makeButton, setText} from "./dom.js";
import {GridLayout} from "./grid_layout.js";
import {LabelLegend} from "./label_legend.js";
import {PairLayout} from "./pair_layout.js";
import {CellPainter} from "./cell_pixels.js";
import {ScaleBar} from "./scale_bar.js";

export const HEADING = 28; // CSS pixels: height of the heading of a group, with the gap below it

const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

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
    this.headings = make("div", {class: "headings"});
    this.stage = make("div", {class: "stage"}, this.canvas, this.headings, this.buttons);
    this.title = make("figcaption", {hidden: true});
    this.bar = new ScaleBar();
    this.mapBar = new ScaleBar(); // of the maps beside the filters
    this.labels = new LabelLegend(); // of the outlines
    this.scales = make("div", {class: "scales"}, this.bar.element);
    this.element = make("figure", {class: "grid"}, this.title, this.stage, this.scales);
    this.numbers = [];
    this.silent = []; // numbers of filters that answer to no probe
    this.key = "";
  }

  /**
   * Lay out filters within a size in pixels.
   * @param {number[]} numbers of the filters, in their order
   * @param {object} grid see `layoutFor`
   * @param {number[]} size width and height, at most
   * @param {GridColours} colours
   * @param {object} labelling
   * @param {?FilterLabels} labelling.grouped the labels of the groups; null for none
   * @param {string[]} labelling.headings of the groups
   * @param {?object} labelling.outlines label -> colour, as RGB; null for no outlines
   */
  arrange(numbers, grid, size, colours, {grouped, headings, outlines}) {
    const {channels, isMatrix} = grid.cell;
    this.channels = channels;
    const key = JSON.stringify([numbers, grid, size, colours.separator, outlines, headings, grouped?.step, devicePixelRatio]);
    if (key === this.key) return;
    this.key = key;
    this.layout = layoutFor(grid, size);
    this.scales.replaceChildren(...[...this.bars, ...(outlines ? [this.labels] : [])].map(each => each.element));
    this.painter.resize(this.layout, colours, headings.length ? backgroundColour() : null);
    this.painter.show();
    Object.assign(this, {outlines, grouped, separator: colours.separator, labelled: null});
    this.stage.style.width = `${this.layout.totalWidth / devicePixelRatio}px`;
    this.stage.style.aspectRatio = `${this.layout.totalWidth} / ${this.layout.totalHeight}`;
    const focused = this.numbers[[...this.buttons.children].indexOf(document.activeElement)];
    this.numbers = numbers;
    this.headings.replaceChildren(...headings.map((text, group) => this.makeHeading(text, group)));
    this.buttons.replaceChildren(...(isMatrix ? [] : numbers.map((number, position) => this.makeCell(number, position))));
    this.showTitles();
    this.buttons.children[numbers.indexOf(focused)]?.focus(); // the buttons are new: restore the focus
  }

  makeHeading(text, group) {
    const heading = make("p", {}, text);
    const [top, height] = this.layout.heading(group);
    const percent = side => `${(100 * side) / this.layout.totalHeight}%`;
    Object.assign(heading.style, {top: percent(top), height: percent(height)});
    return heading;
  }

  makeCell(number, position) {
    const cell = makeButton(`filter ${number}`, "", () => this.openFilter(number));
    cell.setAttribute("aria-pressed", String(number === this.selected));
    cell.tabIndex = position === 0 ? 0 : -1;
    Object.assign(cell.style, this.layout.boxOf(position));
    return cell;
  }

  /** Move the focus between cells with the arrow keys; the grid is a single tab stop. */
  moveFocus(event) {
    const move = MOVES[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...this.buttons.children];
    const next = all[this.layout.neighbour(all.indexOf(event.target), ...move)];
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  /** The scale bars that are shown. */
  get bars() {
    return this.layout?.maps ? [this.bar, this.mapBar] : [this.bar];
  }

  /** The legends that are shown: scale bars, and the colours of outlines. */
  get legends() {
    return [...this.bars.filter(bar => !bar.isEmpty), ...(this.labels.element.isConnected ? [this.labels] : [])];
  }

  /**
   * Draw the outlines of labels, and show them in the legend.
   * @param {object} labelled {labels, note}: see StepLabels
   */
  showLabels(labelled) {
    if (labelled === this.labelled || !this.outlines) return;
    this.labelled = labelled;
    this.labels.show(labelled.labels, this.outlines, labelled.note);
    this.numbers.forEach((number, position) => this.painter.outline(position, this.outlines[labelled.labels?.of(number)] ?? null, this.separator));
    this.painter.show();
    this.showTitles();
  }

  /** Say in the titles of cells which filters answer to no probe at the step that is shown. */
  showSilent(numbers) {
    if (numbers.join() === this.silent.join()) return;
    this.silent = numbers;
    this.showTitles();
  }

  /** Show the label of each filter and its step, and whether it is silent, as the title of its cell. */
  showTitles() {
    const labels = this.labelled?.labels ?? this.grouped;
    this.numbers.forEach((number, position) => {
      const cell = this.buttons.children[position];
      const label = labels?.of(number);
      const parts = [`filter ${number}`, ...(label ? [`${label} at step ${labels.step}`] : []), ...(this.silent.includes(number) ? ["silent"] : [])];
      if (cell) cell.title = parts.join(" · ");
    });
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

/** The colour behind the page, as RGB. */
function backgroundColour() {
  return getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).map(Number);
}

/**
 * The layout of a grid of filters, or of filters with a map beside each, within a size.
 * @param {object} grid
 * @param {number} grid.count filters
 * @param {object} grid.cell the shape of a cell: see RunData
 * @param {?object} grid.map the height and width of the map beside each filter; null for none
 * @param {object} grid.options see CellLayout
 * @param {number[]} size width and height in pixels, at most
 */
export function layoutFor({count, cell, map, options}, size) {
  const cells = cell.isMatrix ? 1 : count;
  return map ? new PairLayout(cells, cell, map, ...size, options)
    : new GridLayout(cells, cell.height, cell.width, ...size, cell.slices, options);
}
