// One run: its name and moment, and a grid for each part of the layer that is shown.

import {formatNumber, make, setText} from "./dom.js";
import {GridView} from "./grid_view.js";
import {ProbeStrip} from "./probe_strip.js";

export class RunView {
  /**
   * @param {string} name of the run
   * @param {object} actions openFilter(number), chooseProbe(number), stepProbe(offset)
   */
  constructor(name, actions) {
    Object.assign(this, {name, openFilter: actions.openFilter});
    this.probes = new ProbeStrip(name, actions);
    this.grids = []; // of the parts that are shown
    this.cells = make("span", {class: "what"});
    this.moment = make("span", {class: "moment"});
    this.area = make("div", {class: "parts"});
    this.note = make("p", {class: "note", hidden: true});
    this.element = make("section", {class: "run", "aria-label": name},
      make("p", {class: "caption"}, make("strong", {}, name), this.cells, this.moment), this.probes.element, this.area, this.note);
  }

  /** Show a grid for each part; an entry says whether it is what was learned. */
  showParts(shown) {
    if (shown.join() === this.grids.map(grid => grid.isLearned).join()) return;
    this.grids = shown.map(isLearned => this.grids.find(grid => grid.isLearned === isLearned) ?? new GridView(this.name, isLearned, this.openFilter));
    this.area.replaceChildren(...this.grids.map(grid => grid.element));
  }

  /** Name the filters that answer to no probe at the step that is shown. */
  showSilent(numbers) {
    this.probes.showSilent(numbers);
    for (const grid of this.grids) grid.showSilent(numbers);
  }

  /** Show labels as outlines: see GridView. */
  showLabels(labelled) {
    for (const grid of this.grids) grid.showLabels(labelled);
  }

  select(number) {
    for (const grid of this.grids) grid.select(number);
  }

  /** Show what the cells are, unless the text is empty. */
  showCells(text) {
    this.cells.hidden = !text;
    setText(this.cells, text);
    this.cells.title = text;
  }

  /** Show when the snapshot that is drawn was taken, and its metrics. */
  showWhen(text) {
    setText(this.moment, text);
    this.moment.title = this.moment.textContent; // a long text is cut
  }

  /**
   * Show when a snapshot was taken, or why it is not drawn.
   * @param {?object} snapshot
   * @param {number} step
   * @param {?object} responses of the snapshot; null if they are not shown
   * @param {RunData} run
   * @param {number} pageStep the step of the page; the run's last one before it is shown where it has no such step
   */
  showMoment(snapshot, step, responses, {metrics, steps}, pageStep) {
    const damaged = snapshot?.damaged && `step ${step} cannot be read: ${snapshot.damaged}`;
    const unread = responses?.damaged && `The responses at step ${step} cannot be read: ${responses.damaged}`;
    const isLoading = !snapshot || responses === undefined;
    this.showNote(damaged || snapshot?.absent || unread || responses?.absent || "");
    const earlier = describeEarlier(step, steps, pageStep);
    if (!snapshot?.cells) return this.showWhen([earlier || `step ${step}`, ...(isLoading ? ["loading …"] : [])].join(" · "));
    const values = Object.entries(snapshot.moment.metrics).map(([name, value]) => `${name} ${formatNumber(metrics.shown(name, step, value))}`);
    const {when} = snapshot.moment;
    const moment = earlier && when !== `step ${step}` ? [earlier, when] : [earlier || when];
    this.showWhen([...moment, ...values, ...(isLoading ? ["loading responses …"] : [])].join(" · "));
  }

  /** Hide the grids and show why the run cannot be compared; show them if the text is empty. */
  showProblem(text) {
    this.area.hidden = Boolean(text);
    if (text) {
      this.probes.element.hidden = true;
      this.showCells("");
      this.showWhen("");
      this.showNote(text);
    }
  }

  showNote(text) {
    this.note.hidden = !text;
    setText(this.note, text);
  }
}

/** Which step of a run is shown at a later step of the page; empty if it is the page's, or the run begins later. */
function describeEarlier(step, steps, pageStep) {
  if (step >= pageStep) return "";
  return step === steps.at(-1) ? `its last step, ${step}` : `step ${step}, the last one before ${pageStep}`;
}
