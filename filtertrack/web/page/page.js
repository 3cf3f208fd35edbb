// The page: what is chosen, what is shown, and how the one follows the other.

import {readAddress, writeAddress} from "./url_state.js";
import {Controls} from "./look_controls.js";
import {make} from "./dom.js";
import {FilterView} from "./filter_view.js";
import {Grid} from "./grid_view.js";
import {hasChannels, readLook, sayLook} from "./look_options.js";
import {Notices} from "./notices.js";
import {Inks, shared, union, zeroCentred} from "./cell_pixels.js";
import {Player} from "./playback_clock.js";
import {saveAnimation, savePicture} from "./save_animation.js";
import {askJson, askPalette} from "./requests.js";
import {Shown} from "./run_data.js";
import {followTheme, theme} from "./theme.js";
import {Transport} from "./playback_controls.js";

const POLL = 2000; // milliseconds
const LONGEST = 30_000;
const NARROWEST = 300; // pixels of the page that a grid has at least, where there is room
const LOWEST = 360; // however low the window: then the page scrolls
const AROUND = 105; // captions and margins
const GAP = 16;

export class Page {
  constructor(settings) {
    this.settings = settings;
    this.names = []; // of all runs there are
    this.runs = []; // those shown
    this.views = new Map();
    this.steps = []; // of all that are shown
    this.numbers = [];
    this.palettes = new Map();
    const {runs, look, step, filter} = readLook(readAddress(), settings);
    this.look = look;
    this.wished = runs; // what was chosen, also while it is not there
    this.asked = {step, filter};
    this.notices = new Notices();
    this.player = new Player(() => this.showStep(), index => this.ready(index), () => this.transport.showPlaying());
    this.transport = new Transport(this.player);
    this.controls = new Controls(look, settings, {
      look: changes => this.change(changes),
      run: (name, on) => this.chooseRun(name, on),
      savePicture: () => this.notices.attempt("saving", () => savePicture(this)),
      saveAnimation: ending => this.saveAnimation(ending),
    });
    this.filter = new FilterView(this);
    this.grids = make("div", {class: "grids"});
    const {alert, status, aloud} = this.notices;
    this.root = make("main", {}, this.controls.element, alert,
      make("div", {class: "body"}, this.grids, this.filter.element), this.transport.element, status, aloud);
    document.addEventListener("keydown", event => this.key(event));
  }

  async begin() {
    document.body.append(this.root);
    new ResizeObserver(() => this.arrange()).observe(this.grids);
    window.addEventListener("resize", () => this.arrange());
    followTheme(() => this.lookAgain());
    await this.notices.attempt("runs", () => this.findRuns());
    this.poll();
  }

  // What is there.

  async findRuns() {
    const {runs, notes} = await askJson("runs");
    this.names = runs;
    this.notes = notes;
    this.notices.say("none", runs.length ? "" : ["There is no run of filtertrack below the log folder yet: the page waits for one.", ...notes].join(" "));
    await this.show();
  }

  /** Show the runs that were chosen, as far as they are there; else the first. */
  async show() {
    const there = this.wished.filter(name => this.names.includes(name));
    const names = there.length ? there : this.names.slice(0, 1);
    this.controls.listRuns(this.names, names);
    const before = new Map(this.runs.map(run => [run.name, run]));
    if (names.join("\n") === [...before.keys()].join("\n")) return;
    this.runs = names.map(name => before.get(name) ?? new Shown(name, this));
    for (const [name, run] of before) if (!names.includes(name)) run.drop();
    this.views = new Map(names.map(name => [name, this.views.get(name) ?? new Grid(name, number => this.open(number))]));
    this.grids.replaceChildren(...[...this.views.values()].map(view => view.element));
    await this.update();
    await this.lookAgain();
  }

  /** Ask each run what is new; one that cannot be read keeps no other back. */
  async update() {
    const found = await Promise.allSettled(this.runs.map(run => run.update()));
    const failed = found.filter(({reason}) => reason).map(({reason}) => reason.message);
    this.notices.say("steps", [...new Set(failed)].join(" "));
    return found.some(({value}) => value);
  }

  async poll() {
    const began = performance.now();
    if (!document.hidden && this.root.offsetWidth) {
      this.polls = (this.polls ?? 0) + 1;
      if (this.polls % 4 === 0) await this.notices.attempt("runs", () => this.findRuns());
      if ((await this.update()) || this.lacking) await this.lookAgain();
    }
    setTimeout(() => this.poll(), Math.min(LONGEST, Math.max(POLL, 5 * (performance.now() - began))));
  }

  // What is chosen.

  async chooseRun(name, on) {
    const others = this.runs.map(run => run.name).filter(each => each !== name);
    this.wished = on ? [...others, name] : others;
    await this.show();
  }

  async change(changes) {
    Object.assign(this.look, changes);
    if ("layer" in changes) Object.assign(this.look, {channels: "", page: 0});
    if ("order" in changes) this.look.page = 0;
    this.notices.say("saving", "");
    await this.lookAgain();
  }

  /** Bring everything in line with what is chosen and what is there. */
  async lookAgain() {
    const turn = this.turn = (this.turn ?? 0) + 1;
    const layers = [...new Set(this.runs.flatMap(run => [...run.layers.keys()]))];
    if (!layers.length) return;
    const usual = this.runs.find(run => run.layers.size).defaultLayer;
    if (!layers.includes(this.look.layer)) Object.assign(this.look, {layer: usual, channels: "", page: 0});
    const first = this.runs.find(run => run.layers.has(this.look.layer));
    const layer = first.layers.get(this.look.layer);
    if (!hasChannels(layer, this.look.channels)) this.look.channels = "";
    this.look.page = Math.min(this.look.page, Math.max(0, Math.ceil(layer.shape[0] / layer.page) - 1));
    this.controls.show(this.look, layers, layer);
    const [order, inks] = await Promise.all([this.ordered(first, layer), this.mix()]);
    if (turn !== this.turn) return; // something else was chosen meanwhile
    this.lacking = !order || !inks;
    if (!inks) return;
    this.inks = inks;
    this.line();
    const start = this.look.page * layer.page;
    this.numbers = (order ?? stored(layer)).slice(start, start + layer.page);
    for (const run of this.runs) this.point(run, layer);
    this.select(layer.kind === "matrix" ? null : this.asked.filter);
    this.arrange();
  }

  /** Let a run show what the first one shows, if it can. */
  point(run, layer) {
    const own = run.layers.get(layer.name);
    run.wrong = !own ? "This run has no such layer."
      : String(own.shape) !== String(layer.shape) ? `Its filters have another shape here: ${own.shape.join(" × ")}, not ${layer.shape.join(" × ")}.`
      : !run.steps.length ? "This run has no snapshots yet." : "";
    if (run.wrong) run.drop();
    else {
      const filters = [...this.numbers].sort((a, b) => a - b);
      run.look({layer: own, filters, channels: this.look.channels, delta: this.look.delta}, this.runs.length);
    }
  }

  /** The filters' numbers in the order that is chosen; undefined where it cannot be had. */
  async ordered(run, layer) {
    const {order} = this.look;
    if (order === "stored" || layer.kind === "matrix") return stored(layer);
    const key = JSON.stringify([run.name, run.made, layer.name, order]);
    if (this.orderKey !== key) {
      const asked = {run: run.name, layer: layer.name, order, version: run.version};
      const found = await this.notices.attempt("order", () => askJson("order", asked));
      if (!found) return undefined;
      [this.orderKey, this.order] = [key, found.numbers];
    }
    return this.order;
  }

  /** The inks for the theme and the colormap; undefined where they cannot be had. */
  async mix() {
    const {colormap} = this.look;
    if (!this.palettes.has(colormap)) {
      const colours = await this.notices.attempt("colours", () => askPalette(colormap));
      if (!colours) return undefined;
      this.palettes.set(colormap, colours);
    }
    return new Inks(this.palettes.get(colormap), this.settings.notFinite, this.settings.separators[theme()]);
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
    return this.runs.filter(run => run.reel);
  }

  /** Whether a step can be drawn; what it lacks is asked for. */
  ready(index) {
    const now = this.player.index;
    this.player.index = index;
    const late = this.shown().filter(run => !run.snapshot());
    for (const run of late) run.reel.look(run.index());
    this.player.index = now;
    return !late.length;
  }

  arrange() {
    if (!this.inks || !this.grids.clientWidth) return;
    const wide = this.grids.clientWidth;
    const columns = Math.max(1, Math.min(this.runs.length, Math.floor((wide + GAP) / (NARROWEST + GAP))));
    this.grids.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const around = this.controls.element.offsetHeight + this.transport.element.offsetHeight + AROUND;
    const most = Math.max(Math.min(wide, LOWEST), window.innerHeight - around);
    const room = Math.floor((wide - GAP * (columns - 1)) / columns);
    const size = [room, most].map(side => Math.floor(side * devicePixelRatio));
    for (const run of this.shown()) this.views.get(run.name).arrange(this.numbers, run.view, size, this.inks);
    this.draw();
    this.marks();
  }

  showStep() {
    for (const run of this.shown()) run.reel.look(run.index());
    this.draw();
  }

  /** More has come, or something cannot be fetched. */
  came() {
    this.coming ??= requestAnimationFrame(() => {
      this.coming = null;
      this.notices.say("cells", this.shown().map(run => run.reel.error).find(Boolean) ?? "");
      this.arrange();
      if (!this.player.playing) this.filter.refresh();
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
    for (const run of this.runs) this.views.get(run.name).refuse(run.wrong);
    if (!this.inks || !this.steps.length) return;
    const step = this.step();
    const found = this.shown().map(run => [run, run.snapshot()]);
    const whole = found.map(([, snapshot]) => snapshot).filter(snapshot => snapshot?.cells);
    const values = whole.length ? this.values(whole) : null;
    for (const [run, snapshot] of found) {
      const places = run.matrix ? [0] : this.numbers.map(number => run.place(number));
      this.views.get(run.name).draw(snapshot, run.step() ?? step, values, places, this.inks);
    }
    this.filter.draw(values);
    const moment = whole[0]?.moment;
    this.transport.show(step, sayWhen(step, moment), moment?.note);
    this.keep();
  }

  /** What pictures depend on besides the step. */
  lookKey() {
    const {scale, centred, delta, colormap, channels} = this.look;
    const range = scale === "frame" ? "" : this.shown().map(run => run.reel.loaded);
    return JSON.stringify([scale, centred, delta, colormap, channels, range, this.inks?.separator]);
  }

  /** Say what is fetched and what is damaged. */
  marks() {
    const runs = this.shown();
    const damaged = new Set(runs.flatMap(run => run.reel.damaged));
    const isLoaded = step => runs.every(run => run.reel.at(step) || run.reel.stamps.get(step) === undefined);
    const states = this.steps.map(step => (damaged.has(step) ? "damaged" : isLoaded(step) ? "loaded" : ""));
    this.transport.mark(states);
    const loaded = states.filter(Boolean).length;
    const parts = [...(this.notes ?? [])];
    if (this.look.scale !== "frame" && loaded < states.length) parts.unshift("the scale is of these");
    if (damaged.size) parts.push(`damaged: ${[...damaged].slice(0, 8).map(step => `step ${step}`).join(", ")}${damaged.size > 8 ? " …" : ""}`);
    this.notices.report(loaded, states.length, parts);
  }

  open(number) {
    this.select(number);
    this.arrange();
  }

  /** Choose the filter that is shown large, as far as it is there; what follows is arranging. */
  select(number) {
    const there = this.numbers.includes(number) && this.shown().length ? number : null;
    this.asked.filter = number;
    this.filter.open(there);
    for (const view of this.views.values()) view.select(there);
  }

  goTo(step) {
    this.player.pause();
    this.player.go(this.steps.findLastIndex(each => each <= step));
  }

  keep() {
    const step = this.player.atEnd ? "" : this.step();
    writeAddress({...sayLook(this.wished.length ? this.wished : this.runs.map(run => run.name), this.look), step, filter: this.filter.number ?? ""});
  }

  // What is done with it.

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const {target} = event;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
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

  async saveAnimation(ending) {
    if (this.saving) return;
    this.saving = true;
    const more = this.shown().length > 2 ? " It holds the first two runs." : "";
    this.notices.say("saving", `Drawing the animation …${more}`);
    await this.notices.attempt("saving", () => saveAnimation(this, ending));
    this.saving = false;
  }
}

function sayWhen(step, moment) {
  if (!moment) return `step ${step}`;
  return moment.when.startsWith(`step ${step}`) ? moment.when : `step ${step}, ${moment.when}`;
}

function stored(layer) {
  return Array.from({length: layer.shape[0]}, (_, n) => n);
}
