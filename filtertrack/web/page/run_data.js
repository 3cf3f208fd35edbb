// A run that is shown: its layers, its snapshots, and the reel of the part that is looked at.

import {Reel} from "./snapshot_cache.js";
import {askJson} from "./requests.js";

export class Shown {
  constructor(name, page) {
    Object.assign(this, {name, page});
    this.layers = new Map();
    this.steps = [];
    this.stamps = [];
    this.version = null;
    this.made = null;
    this.reel = null;
    this.part = "";
  }

  /** Ask what is there now; returns whether anything has changed. */
  async update() {
    const found = await askJson("steps", {run: this.name, known: this.version});
    if (!found.steps) return false;
    if (found.made !== this.made) {
      const {layers, default_layer} = await askJson("layers", {run: this.name});
      this.defaultLayer = default_layer;
      this.layers = new Map(layers.map(layer => [layer.name, layer]));
      this.drop();
    }
    Object.assign(this, found);
    this.reel?.update(this.steps, this.stamps);
    return true;
  }

  /** Look at some filters of a layer; numbers are ascending. */
  look({layer, filters, channels, delta}, sharers) {
    const part = JSON.stringify([layer.name, filters, channels, delta]);
    if (part === this.part && this.reel) {
      this.reel.sharers = sharers;
      return;
    }
    this.drop();
    Object.assign(this, {layer, filters, part});
    const kind = channels === "strongest" && layer.kind !== "grey" ? "pattern" : channels === "" ? layer.kind : "grey";
    this.kind = kind;
    this.reel = new Reel(
      {run: this.name, layer: layer.name, filters: asRanges(filters), channels, delta: delta ? 1 : null},
      kind === "pattern", sharers, () => this.page.came());
    this.reel.look(this.index());
    this.reel.update(this.steps, this.stamps);
  }

  drop() {
    this.reel?.stop();
    this.reel = null;
  }

  /** The index of the snapshot that is shown: the one at the page's step, or the last before it. */
  index() {
    const step = this.page.step();
    let [low, high] = [0, this.steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.steps[middle] <= step) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  step() {
    return this.steps[this.index()] ?? null;
  }

  snapshot() {
    if (this.index() < 0) return {absent: `This run begins at step ${this.steps[0]}.`};
    return this.reel?.at(this.step());
  }

  get matrix() {
    return this.kind === "matrix";
  }

  /** How a cell lies: its size in weights, its slices, its channels. */
  get view() {
    const [, height, width] = this.layer.shape;
    const [, high, wide, channels] = this.reel?.shape ?? [0, height, width, this.kind === "colour" ? 3 : 1];
    return {height: high, width: wide, slices: this.layer.slices, channels, matrix: this.matrix};
  }

  /** Numbers in a cell. */
  get size() {
    const {height, width, channels} = this.view;
    return height * width * channels;
  }

  /** Where a filter's cell lies among those fetched. */
  place(number) {
    return this.filters.indexOf(number);
  }
}

function asRanges(numbers) {
  const parts = [];
  for (const number of numbers) {
    const last = parts.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  return parts.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}
