// The view of one filter: its weights enlarged, its label, its history, what it answers to, and its
// measures.

import {ChannelGrid} from "./channel_grid.js";
import {make, makeButton, makeIcon, setText} from "./dom.js";
import {FilterCurves, FilterHistory} from "./filter_history.js";
import {FilterResponses} from "./filter_responses.js";
import {HistoryLabels} from "./history_labels.js";
import {hasKernels, KernelCache} from "./kernel_cache.js";
import {KernelPanel} from "./kernel_panel.js";
import {LabelPanel} from "./label_panel.js";
import {hasChannels} from "./look_options.js";

export class FilterView {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.number = null;
    this.blocks = [];
    this.title = make("h2", {tabindex: "-1"});
    this.runs = make("div", {class: "blocks"});
    const close = makeButton("Close", makeIcon("close"), () => page.openFilter(null));
    close.title = "Close (Escape)";
    this.element = make("section", {class: "filter", "aria-label": "One filter", hidden: true},
                        make("header", {}, this.title, close), this.runs);
  }

  /** Show a filter of every run; null hides the view. A filter that is open already stays open. */
  open(number) {
    const runs = this.page.visibleRuns();
    const isSame = number === this.number && runs.every((run, n) => this.blocks[n]?.isOf(run));
    if (isSame && runs.length === this.blocks.length) return this.refresh();
    this.number = number;
    this.element.hidden = number === null;
    for (const block of this.blocks) block.close();
    this.blocks = [];
    if (number !== null) {
      setText(this.title, `Filter ${number}`);
      this.blocks = runs.map(run => new (run.numbers.includes(number) ? FilterBlock : AbsentBlock)(run, this.page, number));
    }
    this.runs.replaceChildren(...this.blocks.map(block => block.element));
  }

  /** The caches of the responses and the kernels of the filter. */
  get caches() {
    return this.blocks.flatMap(block => block.caches);
  }

  /** Why something of the filter is missing; undefined if nothing is. */
  get error() {
    return this.blocks.flatMap(({caches, answers}) => [...caches, ...answers]).map(({error}) => error).find(Boolean);
  }

  /** Draw what depends on the step. */
  draw() {
    for (const block of this.blocks) if (block.run.parts.length) block.draw();
  }

  /** Draw what depends on the snapshots that are loaded, and on the look. */
  refresh() {
    for (const block of this.blocks) if (block.run.parts.length) block.refresh();
  }
}

/** What is shown of one run, as long as its selection and its probes stay. */
class Block {
  caches = []; // of steps
  answers = []; // AnswerCaches

  constructor(run) {
    Object.assign(this, {run, selection: run.selection, probes: run.probes});
  }

  /** Whether it shows what a run has at present. */
  isOf(run) {
    return run === this.run && run.selection === this.selection && run.probes === this.probes;
  }

  draw() {}

  refresh() {}

  close() {
    for (const each of [...this.caches, ...this.answers]) each.stop();
  }
}

/** A run whose order puts the filter on another page. */
class AbsentBlock extends Block {
  constructor(run, page, number) {
    super(run);
    this.element = make("div", {class: "block"}, make("h3", {}, run.name),
      make("p", {}, `Filter ${number} is on another page of this run's order.`));
  }
}

/** One filter of one run: of the first part that is shown. */
class FilterBlock extends Block {
  constructor(run, page, number) {
    super(run);
    Object.assign(this, {page, number});
    const probed = run.probedLayer(run.layer.name);
    const isDeep = run.layer.kind === "pattern" && hasChannels(run.layer, "0");
    const needsKernels = (isDeep || probed?.products) && hasKernels(run.layer);
    this.kernels = needsKernels ? new KernelCache(run, number, () => page.redrawSoon()) : null;
    this.kernel = new KernelPanel(() => this.channels.select(null));
    this.label = new LabelPanel(run, number, () => this.showHistoryLabels());
    this.channels = this.kernels && isDeep ? new ChannelGrid(run.layer, () => this.draw()) : null;
    this.responses = probed ? new FilterResponses(run, probed, page, number) : null;
    this.history = new FilterHistory(step => page.goToStep(step));
    this.historyLabels = new HistoryLabels(run, this.label.labels);
    this.curves = new FilterCurves(run, number, () => page.redrawSoon());
    this.element = make("div", {class: "block"},
      make("h3", {hidden: page.visibleRuns().length < 2}, run.name), this.kernel.element, this.label.element,
      make("h3", {}, "Over training"), this.history.element,
      this.channels?.element ?? null, this.responses?.element ?? null,
      make("h3", {}, "Measures over training"), this.curves.element, this.kernel.details);
    this.caches = [this.responses?.cache, this.kernels].filter(Boolean);
    this.answers = [this.curves.answers, this.responses?.inputs].filter(Boolean);
    this.refresh();
  }

  get part() {
    return this.run.parts[0];
  }

  draw() {
    const {run, page} = this;
    const {isPlaying} = page.clock;
    const step = run.stepShown();
    const snapshot = run.snapshot(this.part);
    this.load(isPlaying);
    this.element.classList.toggle("damaged", !snapshot?.cells);
    const kernel = this.kernels?.at(step);
    this.channels?.draw(kernel, page.colours.filters);
    const name = `Filter ${this.number} of ${run.name} at step ${step}`;
    this.kernel.draw(this.pictureOf(snapshot, name), isPlaying);
    this.label.draw(snapshot?.cells ? step : null, this.part.cache.stamps.get(step), isPlaying);
    this.history.mark(step);
    this.historyLabels.load(this.readableSteps, isPlaying);
    this.curves.mark(step);
    this.responses?.draw(run.index(), kernel?.cells ? {...kernel, shape: this.kernels.shape} : null);
  }

  /** What is enlarged, as KernelPanel draws it: the filter, or one of its input channels; null if there is none. */
  pictureOf(snapshot, name) {
    const {run, part} = this;
    if (this.channels?.chosen !== null && this.channels?.picture) return {...this.channels.picture, name};
    if (!snapshot?.cells) return null;
    return {
      cells: snapshot.cells, cell: run.cellIndex(this.number), shape: run.cellShape, weightShape: run.weightShape,
      range: part.range, colours: this.page.coloursOf(part), name,
      axes: run.kind === "heat map" ? ["channel", "position"] : ["row", "column"],
    };
  }

  /** Load what is new in the run, from the current step on; not while playing. */
  load(isPlaying) {
    const {steps, stamps, version} = this.run;
    const isNew = version !== this.version;
    this.version = version;
    for (const cache of this.caches) {
      if (!isPlaying || isNew || cache === this.responses?.cache) cache.wanted = Math.max(0, this.run.index());
      if (isNew) cache.update(steps, stamps);
      else if (!isPlaying || cache === this.responses?.cache) cache.lookAt(this.run.index());
    }
  }

  close() {
    super.close();
    this.label.close();
    this.historyLabels.stop();
  }

  /** The steps of the history whose weights have been loaded. */
  get readableSteps() {
    return this.history.steps.filter(step => this.part.at(step)?.cells);
  }

  showHistoryLabels() {
    this.historyLabels.requestNext();
    this.history.showLabels(step => this.historyLabels.at(step));
  }

  refresh() {
    const {part, page, run} = this;
    this.history.refresh(part.cache.steps, step => part.isLoaded(step), page.lookKey(), (canvas, step, side) => {
      const snapshot = part.at(step);
      if (!snapshot?.cells) return;
      const isOwn = page.scale === "frame" || !part.range; // else the range is of the whole run
      const range = isOwn ? part.valueRange(snapshot, page.drawnLook) : part.range;
      canvas.draw(side, run.cellShape, snapshot.cells, run.cellIndex(this.number), range, page.coloursOf(part));
    });
    this.history.mark(run.stepShown());
    this.historyLabels.load(this.readableSteps, page.clock.isPlaying);
    this.showHistoryLabels();
    this.curves.refresh();
  }
}
