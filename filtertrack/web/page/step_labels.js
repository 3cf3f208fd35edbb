// The labels of a run's filters at the step that is shown, for the outlines: requested when the step
// rests, and kept.

import {FilterLabels} from "./filter_labels.js";
import {requestJson} from "./requests.js";

const DELAY = 250; // milliseconds at a step before its labels are requested
const MOST_STEPS = 256; // of a run that are kept

export class StepLabels {
  /** @param {function} changed called when labels have been added */
  constructor(changed) {
    this.changed = changed;
    this.runs = new WeakMap(); // run -> {selection, found, wanted, timer}
  }

  /**
   * The labels at a step: {labels, note}. The labels are null while they are not known, and `note`
   * says why, or at which step they are.
   * @param {RunData} run
   * @param {?number} step whose weights are shown; null for none
   */
  at(run, step, isPlaying) {
    const kept = this.keptOf(run);
    const stamp = run.stamps[run.steps.indexOf(step)];
    const key = isPlaying || step === null ? null : `${step}.${stamp}`;
    if (key !== kept.wanted) {
      clearTimeout(kept.timer);
      if (kept.found.get(kept.wanted)?.isError) kept.found.delete(kept.wanted); // it is requested again
      kept.wanted = key;
      if (key !== null && !kept.found.has(key)) kept.timer = setTimeout(() => this.request(run, step, stamp, key, kept), DELAY);
    }
    if (isPlaying) return PLAYING;
    return kept.found.get(key) ?? LOADING;
  }

  /** What is kept of a run: of one layer. */
  keptOf(run) {
    const layer = JSON.stringify([run.made, run.layer.name]);
    let kept = this.runs.get(run);
    if (kept?.layer !== layer) {
      clearTimeout(kept?.timer);
      kept = {layer, found: new Map(), wanted: null, timer: null};
      this.runs.set(run, kept);
    }
    return kept;
  }

  async request({name, layer}, step, stamp, key, kept) {
    let found;
    try {
      const labels = new FilterLabels(await requestJson("labels", {run: name, layer: layer.name, step, version: stamp}), layer);
      found = {labels, note: labels.names ? `kinds at step ${labels.step}` : "there are too many filters to find their kinds"};
    } catch (error) {
      found = {labels: null, note: error.message, isError: true};
    }
    if (kept.found.size >= MOST_STEPS) kept.found.clear();
    kept.found.set(key, found);
    if (kept.wanted === key) this.changed();
  }
}

// One object each: a grid compares what it shows.
const PLAYING = {labels: null, note: "kinds appear when playback stops"};
const LOADING = {labels: null, note: "finding the kinds …"};
