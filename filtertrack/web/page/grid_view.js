// The grid of one run's layer: its canvas, and over each cell a button for its filter.

import {button, make, short, write} from "./dom.js";
import {Layout} from "./grid_layout.js";
import {Painter} from "./cell_pixels.js";

export class Grid {
  constructor(name, opened) {
    this.opened = opened;
    this.canvas = make("canvas", {"aria-hidden": "true"});
    this.painter = new Painter(this.canvas);
    this.cells = make("div", {class: "cells", role: "group", "aria-label": `Filters of ${name}`,
                              onkeydown: event => this.move(event)});
    this.stage = make("div", {class: "stage"}, this.canvas, this.cells);
    this.title = make("strong", {}, name);
    this.moment = make("span", {class: "moment"});
    this.note = make("p", {class: "note", hidden: true});
    this.element = make("figure", {class: "grid"}, make("figcaption", {}, this.title, this.moment), this.stage, this.note);
    this.numbers = [];
    this.key = "";
  }

  /** Say what the grid shows: filters by their numbers in the order drawn, and their size. */
  arrange(numbers, {height, width, slices, channels, matrix}, [wide, high], inks) {
    this.channels = channels;
    const key = JSON.stringify([numbers, height, width, slices, wide, high, matrix, inks.separator, devicePixelRatio]);
    if (key === this.key) return;
    this.key = key;
    this.canvas.dataset.room = `${wide}x${high}`;
    this.layout = new Layout(matrix ? 1 : numbers.length, height, width, wide, high, slices);
    this.painter.resize(this.layout, inks);
    const dense = devicePixelRatio;
    this.stage.style.width = `${this.layout.wide / dense}px`;
    this.stage.style.aspectRatio = `${this.layout.wide} / ${this.layout.high}`;
    const focused = this.numbers[[...this.cells.children].indexOf(document.activeElement)];
    this.numbers = numbers;
    this.cells.replaceChildren(...(matrix ? [] : numbers.map((number, place) => this.cell(number, place))));
    this.cells.children[numbers.indexOf(focused)]?.focus(); // new buttons, the same place
  }

  cell(number, place) {
    const {wide, high, cellWide, cellHigh} = this.layout;
    const share = (part, whole) => `${(100 * part) / whole}%`; // also where the canvas is shrunk to fit
    const [left, top] = this.layout.corner(place);
    const cell = button(`filter ${number}`, "", () => this.opened(number));
    cell.setAttribute("aria-pressed", String(number === this.selected));
    cell.tabIndex = place === 0 ? 0 : -1;
    Object.assign(cell.style, {
      left: share(left, wide), top: share(top, high), width: share(cellWide, wide), height: share(cellHigh, high),
    });
    return cell;
  }

  /** Let arrow keys go from cell to cell, as in a table; the grid is one stop of the tab key. */
  move(event) {
    const way = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.layout.columns, ArrowDown: this.layout.columns}[event.key];
    if (way === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...this.cells.children];
    const next = all[all.indexOf(event.target) + way];
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  select(number) {
    this.selected = number;
    this.numbers.forEach((each, place) => this.cells.children[place]?.setAttribute("aria-pressed", String(each === number)));
  }

  /** Draw a snapshot, or say why there is nothing to see. */
  draw(snapshot, step, values, places, inks) {
    const damaged = snapshot?.damaged && `step ${step} cannot be read: ${snapshot.damaged}`;
    this.say(damaged || snapshot?.absent || (snapshot ? "" : "loading …"));
    this.element.classList.toggle("damaged", Boolean(snapshot && !snapshot.cells));
    if (!snapshot?.cells) {
      write(this.moment, `step ${step}`);
      return;
    }
    this.painter.draw(snapshot.cells, this.channels, values, places, inks);
    const metrics = Object.entries(snapshot.moment.metrics).map(([name, value]) => `${name} ${short(value)}`);
    write(this.moment, [snapshot.moment.when, ...metrics].join(" · "));
    this.element.dataset.drawn = step;
  }

  /** Say why a run cannot be shown beside the others; nothing where it can. */
  refuse(text) {
    this.stage.hidden = Boolean(text);
    if (text) {
      write(this.moment, "");
      this.say(text);
    }
  }

  say(text) {
    this.note.hidden = !text;
    write(this.note, text);
  }
}
