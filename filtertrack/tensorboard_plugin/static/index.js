// The tab "Filters": what is chosen, what is shown, and how the one follows the other.

import {readAddress, writeAddress} from "./address.js";
import {Controls} from "./controls.js";
import {make, save} from "./elements.js";
import {FilterView} from "./filter.js";
import {Grid} from "./grid.js";
import {Inks, shared, union, zeroCentred} from "./paint.js";
import {Player} from "./player.js";
import {askBlob, askJson, askPalette} from "./server.js";
import {Shown} from "./shown.js";
import {Transport} from "./transport.js";

const POLL = 2000; // milliseconds
const NARROWEST = 300; // pixels of the page that a grid has at least, where there is room
const LOWEST = 360; // however low the window: then the page scrolls
const AROUND = 105; // captions and margins
const GAP = 16;

class Page {
  constructor(settings) {
    this.settings = settings;
    this.names = [];
    this.runs = []; // what is shown of each chosen run
    this.steps = []; // of all of them
    const {step, filter, ...rest} = readAddress();
    this.look = {layer: "", channels: "", scale: "frame", centred: false, delta: false, colormap: "gray", order: "stored", page: 0, ...pick(rest)};
    this.asked = {step: /^\d+$/.test(step) ? Number(step) : null, filter: /^\d+$/.test(filter) ? Number(filter) : null};
    this.player = new Player(() => this.showStep(), index => this.ready(index), () => this.transport.showPlaying());
    this.transport = new Transport(this.player, () => {});
    this.controls = new Controls(this.look, settings, {
      look: changes => this.change(changes),
      savePicture: () => this.savePicture(),
      saveAnimation: ending => this.saveAnimation(ending),
    });
    this.filter = new FilterView(this);
    this.grids = make("div", {class: "grids"});
    this.status = make("p", {class: "status", role: "status"});
    this.alert = make("p", {class: "alert", role: "alert", hidden: true});
    this.root = make("main", {}, this.controls.element, this.alert,
      make("div", {class: "body"}, this.grids, this.filter.element), this.transport.element, this.status);
    this.root.addEventListener("keydown", event => this.key(event));
  }

  async begin() {
    document.body.append(this.root);
    new ResizeObserver(() => this.arrange()).observe(this.grids);
    window.addEventListener("resize", () => this.arrange());
    this.followTheme();
    await this.findRuns();
    this.poll();
  }

  // What is there.

  async findRuns() {
    const {runs, notes} = await askJson("runs");
    this.names = runs;
    this.notes = notes;
    const chosen = (this.look.runs ?? []).filter(name => runs.includes(name));
    if (!chosen.length && runs.length) chosen.push(runs[0]);
    if (JSON.stringify(chosen) !== JSON.stringify(this.runs.map(run => run.name))) await this.choose(chosen);
    this.controls.listRuns(this.names, chosen);
    if (!runs.length) this.say(["There is no run of filtertrack below the log folder.", ...notes].join(" "));
  }

  async choose(names) {
    const before = new Map(this.runs.map(run => [run.name, run]));
    this.look.runs = names;
    this.runs = names.map(name => before.get(name) ?? new Shown(name, this));
    for (const [name, run] of before) if (!names.includes(name)) run.drop();
    this.views = new Map(names.map(name => [name, new Grid(name, number => this.open(number))]));
    this.grids.replaceChildren(...[...this.views.values()].map(view => view.element));
    await Promise.all(this.runs.map(run => this.attempt(() => run.update())));
    await this.lookAgain();
  }

  async poll() {
    const began = performance.now();
    if (!document.hidden && this.root.offsetWidth) {
      await this.attempt(async () => {
        this.polls = (this.polls ?? 0) + 1;
        if (this.polls % 4 === 0) await this.findRuns();
        const changed = await Promise.all(this.runs.map(run => run.update()));
        if (changed.some(Boolean)) await this.lookAgain();
        this.quiet();
      });
    }
    setTimeout(() => this.poll(), Math.max(POLL, 10 * (performance.now() - began)));
  }

  async attempt(act) {
    try {
      return await act();
    } catch (error) {
      this.say(error.message);
      return false;
    }
  }

  // What is chosen.

  async change(changes) {
    Object.assign(this.look, changes);
    if ("layer" in changes) Object.assign(this.look, {channels: "", page: 0});
    if ("order" in changes) this.look.page = 0;
    this.quiet();
    if ("runs" in changes) await this.choose(this.look.runs);
    else await this.lookAgain();
    this.controls.listRuns(this.names, this.look.runs);
  }

  /** Bring everything in line with what is chosen and what is there. */
  async lookAgain() {
    const turn = this.turn = (this.turn ?? 0) + 1;
    const layers = [...new Set(this.runs.flatMap(run => [...run.layers.keys()]))];
    if (!layers.length) return;
    if (!layers.includes(this.look.layer)) Object.assign(this.look, {layer: layers[0], channels: "", page: 0});
    const first = this.first = this.runs.find(run => run.layers.has(this.look.layer));
    const layer = first.layers.get(this.look.layer);
    if (this.look.channels !== "" && this.look.channels !== "strongest" && !(Number(this.look.channels) < layer.shape[3])) this.look.channels = "";
    this.look.page = Math.min(this.look.page, Math.ceil(layer.shape[0] / layer.page) - 1);
    this.controls.show(this.look, layers, layer);
    const [order] = await Promise.all([this.ordered(first, layer), this.mix()]);
    if (turn !== this.turn) return; // something else was chosen meanwhile
    this.line();
    const start = this.look.page * layer.page;
    this.numbers = order.slice(start, start + layer.page);
    const filters = [...this.numbers].sort((a, b) => a - b);
    for (const run of this.runs) {
      const own = run.layers.get(this.look.layer);
      run.wrong = !own ? "This run has no such layer." : String(own.shape) === String(layer.shape) ? ""
        : `Its filters have another shape here: ${own.shape.join(" × ")}, not ${layer.shape.join(" × ")}.`;
      if (run.wrong) run.drop();
      else run.look({layer: own, filters, channels: this.look.channels, delta: this.look.delta});
    }
    if (layer.kind === "matrix" || (this.asked.filter !== null && this.asked.filter >= layer.shape[0])) this.asked.filter = null;
    this.arrange();
    this.open(this.asked.filter);
  }

  async ordered(run, layer) {
    const {order} = this.look;
    const stored = Array.from({length: layer.shape[0]}, (_, n) => n);
    if (order === "stored" || layer.kind === "matrix") return stored;
    const key = JSON.stringify([run.name, run.made, layer.name, order]);
    if (this.orderKey !== key) {
      const version = run.stamps.at(-1);
      const found = await this.attempt(() => askJson("order", {run: run.name, layer: layer.name, order, version}));
      if (!found) return stored;
      [this.orderKey, this.order] = [key, found.numbers];
    }
    return this.order;
  }

  /** Make the inks for the theme and the colormap. */
  async mix() {
    const {colormap} = this.look;
    this.palettes ??= new Map();
    if (!this.palettes.has(colormap)) {
      const colours = await this.attempt(() => askPalette(colormap));
      if (!colours) return;
      this.palettes.set(colormap, colours);
    }
    const theme = document.documentElement.dataset.theme;
    this.inks = new Inks(this.palettes.get(colormap), this.settings.notFinite, this.settings.separators[theme]);
  }

  /** Bring the steps of all runs onto one line; stay where it is, or at the end. */
  line() {
    const {player} = this;
    const before = this.steps;
    const follows = before.length && player.atEnd && !player.playing;
    const here = before.length ? this.step() : this.asked.step;
    this.steps = [...new Set(this.runs.flatMap(run => run.steps))].sort((a, b) => a - b);
    player.count = this.steps.length;
    const index = here === null || follows ? this.steps.length - 1 : this.steps.findLastIndex(step => step <= here);
    player.index = Math.max(0, index);
  }

  // What is shown.

  step() {
    return this.steps[this.player.index] ?? 0;
  }

  shown() {
    return this.runs.filter(run => run.reel && run.steps.length);
  }

  ready(index) {
    const now = this.player.index;
    this.player.index = index;
    const there = this.shown().every(run => run.index() < 0 || run.snapshot());
    this.player.index = now;
    for (const run of this.shown()) run.reel.look(Math.min(run.index() + 1, run.steps.length - 1));
    return there;
  }

  arrange() {
    if (!this.inks || !this.numbers || !this.grids.clientWidth) return;
    const wide = this.grids.clientWidth;
    const columns = Math.max(1, Math.min(this.runs.length, Math.floor((wide + GAP) / (NARROWEST + GAP))));
    this.grids.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const around = this.controls.element.offsetHeight + this.transport.element.offsetHeight + AROUND;
    const most = Math.max(Math.min(wide, LOWEST), window.innerHeight - around);
    const room = Math.floor((wide - GAP * (columns - 1)) / columns);
    const size = [room, most].map(side => Math.floor(side * devicePixelRatio));
    for (const run of this.shown()) {
      const view = run.view;
      this.views.get(run.name).arrange(this.numbers, view, size, this.inks);
    }
    this.draw();
    this.marks();
  }

  showStep() {
    for (const run of this.shown()) run.reel.look(run.index());
    this.draw();
  }

  /** More has come. */
  came() {
    if (this.coming) return;
    this.coming = requestAnimationFrame(() => {
      this.coming = null;
      this.arrange();
      if (!this.player.playing) this.filter.refresh();
      this.draw();
    });
  }

  /** What is darkest and lightest, in each cell, for all runs alike. */
  values(snapshots) {
    const {scale, centred, delta} = this.look;
    let values = union(scale === "frame" ? snapshots : this.shown().map(run => run.reel).filter(reel => reel.low));
    if (scale === "layer") values = shared(values);
    return centred || delta ? zeroCentred(values) : values;
  }

  draw() {
    if (!this.inks || !this.steps.length) return;
    const step = this.step();
    const found = this.shown().map(run => [run, run.snapshot()]);
    const whole = found.map(([, snapshot]) => snapshot).filter(snapshot => snapshot?.cells);
    const values = whole.length ? this.values(whole) : null;
    for (const [run, snapshot] of found) {
      const places = run.matrix ? [0] : this.numbers.map(number => run.place(number));
      this.views.get(run.name).draw(snapshot, run.step() ?? step, values, places, this.inks);
    }
    for (const run of this.runs) this.views.get(run.name).refuse(run.wrong);
    if (values) this.filter.draw(values);
    const moment = whole[0]?.moment;
    this.transport.show(step, moment ? `step ${step}, epoch ${moment.epoch}` : `step ${step}`);
    this.keep();
  }

  /** Say what is fetched and what is damaged. */
  marks() {
    const runs = this.shown();
    const damaged = new Set(runs.flatMap(run => run.reel.damaged));
    const states = this.steps.map(step => {
      if (damaged.has(step)) return "damaged";
      return runs.every(run => run.reel.at(step) || !run.stamps.length || run.reel.stamps.get(step) === undefined) ? "loaded" : "";
    });
    const style = getComputedStyle(document.documentElement);
    this.transport.mark(states, {loaded: style.getPropertyValue("--loaded"), damaged: style.getPropertyValue("--damaged")});
    const loaded = states.filter(Boolean).length;
    const parts = [loaded < states.length ? `${loaded} of ${states.length} steps loaded` : `${states.length} steps`];
    if (this.look.scale !== "frame" && loaded < states.length) parts.push("the scale is of these");
    if (damaged.size) parts.push(`damaged: ${[...damaged].slice(0, 8).map(step => `step ${step}`).join(", ")}${damaged.size > 8 ? " …" : ""}`);
    this.status.textContent = [...parts, ...(this.notes ?? [])].join(" · ");
    this.status.dataset.loaded = String(loaded === states.length);
  }

  /** What pictures depend on besides the step. */
  lookKey() {
    const {scale, centred, delta, colormap, channels} = this.look;
    const range = scale === "frame" ? "" : this.shown().map(run => run.reel.loaded);
    return JSON.stringify([scale, centred, delta, colormap, channels, range, this.inks?.separator]);
  }

  open(number) {
    if (number !== null && !this.numbers.includes(number)) number = null;
    const changed = number !== this.filter.number;
    this.asked.filter = number;
    this.filter.open(number);
    for (const view of this.views.values()) view.select(number);
    if (changed) this.arrange();
    else this.draw();
  }

  goTo(step) {
    this.player.pause();
    this.player.go(this.steps.findLastIndex(each => each <= step));
  }

  say(text) {
    this.alert.hidden = !text;
    this.alert.textContent = text;
  }

  quiet() {
    if (this.names.length) this.say("");
  }

  keep() {
    const {runs, layer, channels, scale, centred, delta, colormap, order, page} = this.look;
    writeAddress({
      runs: JSON.stringify(runs), layer, channels, scale: scale === "frame" ? "" : scale, centred: centred ? 1 : "",
      delta: delta ? 1 : "", colormap: colormap === "gray" ? "" : colormap, order: order === "stored" ? "" : order,
      page: page || "", step: this.player.atEnd ? "" : this.step(), filter: this.filter.number ?? "",
    });
  }

  // What is done with it.

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {target, key} = event;
    const typing = target.matches("select, input:not([type=range]):not([type=checkbox])");
    const own = target.matches("button, summary, input[type=checkbox], a");
    const acts = {
      " ": () => this.player.toggle(),
      ArrowLeft: () => this.transport.by(event.shiftKey ? -10 : -1),
      ArrowRight: () => this.transport.by(event.shiftKey ? 10 : 1),
      Home: () => this.player.go(0),
      End: () => this.player.go(Infinity),
      "+": () => this.transport.faster(1),
      "-": () => this.transport.faster(-1),
      l: () => this.transport.toggleLoop(),
      Escape: () => this.open(null),
    };
    if (typing || !acts[key] || (own && key === " ")) return;
    event.preventDefault();
    acts[key]();
  }

  followTheme() {
    const set = () => {
      let dark = false;
      try {
        dark = window.parent.document.body.classList.contains("dark-mode");
      } catch {
        dark = matchMedia("(prefers-color-scheme: dark)").matches;
      }
      document.documentElement.dataset.theme = dark ? "dark" : "light";
    };
    set();
    try {
      new MutationObserver(async () => {
        set();
        await this.mix();
        this.arrange();
        this.filter.refresh();
        this.draw();
      }).observe(window.parent.document.body, {attributes: true, attributeFilter: ["class"]});
    } catch {
      // Not below TensorBoard.
    }
  }

  savePicture() {
    const canvases = this.shown().map(run => this.views.get(run.name).canvas);
    const wide = canvases.reduce((sum, canvas) => sum + canvas.width, GAP * (canvases.length - 1));
    const canvas = make("canvas", {width: wide, height: Math.max(...canvases.map(each => each.height))});
    const context = canvas.getContext("2d");
    let left = 0;
    for (const each of canvases) {
      context.drawImage(each, left, 0);
      left += each.width + GAP;
    }
    canvas.toBlob(blob => save(blob, `${this.fileName()}-step-${this.step()}.png`), "image/png");
  }

  async saveAnimation(ending) {
    const [first, second, ...more] = this.shown();
    if (!first) return;
    this.say(`Drawing the animation …${more.length ? " It holds the first two runs." : ""}`);
    const {channels, scale, centred, delta, colormap} = this.look;
    const whole = this.numbers.length === first.layer.shape[0] && this.numbers.every((number, n) => number === n);
    const drawn = await this.attempt(async () => save(await askBlob("animation", {
      run: first.name, compare: second?.name, layer: first.layer.name, ending, channels, scale,
      zero_centred: centred ? 1 : null, delta: delta ? 1 : null,
      colormap: first.kind === "colour" || colormap === "gray" ? null : colormap,
      filters: whole ? null : this.numbers.join(","), fps: Math.min(50, this.player.speed),
      theme: document.documentElement.dataset.theme,
    }), this.fileName() + ending) ?? true);
    if (drawn) this.quiet();
  }

  fileName() {
    return this.first.layer.name.replaceAll("/", "_");
  }
}

/** Choose what the address may say of the look. */
function pick({runs, layer, channels, scale, centred, delta, colormap, order, page}) {
  const look = {};
  try {
    const names = JSON.parse(runs ?? "null");
    if (Array.isArray(names)) look.runs = names.map(String);
  } catch {
    // A link that was cut off.
  }
  if (layer) look.layer = layer;
  if (channels) look.channels = channels;
  if (["filter", "layer"].includes(scale)) look.scale = scale;
  if (colormap) look.colormap = colormap;
  if (order) look.order = order;
  if (/^\d+$/.test(page)) look.page = Number(page);
  if (centred) look.centred = true;
  if (delta) look.delta = true;
  return look;
}

/** TensorBoard calls this in a page of its own. */
export async function render() {
  document.documentElement.lang = "en";
  document.title = "Filters";
  document.head.append(make("link", {rel: "stylesheet", href: "./static/style.css"}),
                       make("meta", {name: "viewport", content: "width=device-width"}));
  try {
    const settings = await askJson("settings");
    await new Page(settings).begin();
  } catch (error) {
    document.body.append(make("p", {role: "alert"}, `The tab could not start: ${error.message}`));
  }
}
