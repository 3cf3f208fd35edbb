// The labels of a run's filters at the step that is shown, for the outlines: requested when the step
// rests, and kept.

import {AnswerCache} from "./answer_cache.js";
import {FilterLabels} from "./filter_labels.js";
import {requestJson} from "./requests.js";

const DELAY = 250; // milliseconds at a step before its labels are requested
const MOST_STEPS = 256; // of a run that are kept

export class StepLabels {
  /** @param {function} changed called when labels have been added */
  constructor(changed) {
    this.changed = changed;
    this.runs = new WeakMap(); // run -> {layer, answers, wanted, timer}
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
      kept.wanted = key;
      if (key !== null && !kept.answers.known(key)) kept.timer = setTimeout(() => kept.answers.at(key), DELAY);
    }
    if (isPlaying) return PLAYING;
    const entry = kept.answers.known(key);
    if (entry?.isExpired) kept.answers.at(key);
    if (entry?.error) entry.shown ??= {labels: null, note: entry.error};
    return entry?.answer ?? entry?.shown ?? LOADING;
  }

  /** What is kept of a run: of one layer. */
  keptOf(run) {
    const layer = JSON.stringify([run.made, run.layer.name]);
    let kept = this.runs.get(run);
    if (kept?.layer !== layer) {
      clearTimeout(kept?.timer);
      kept?.answers.stop();
      kept = {layer, answers: new AnswerCache(requestLabels(run.name, run.layer), () => this.changed(), MOST_STEPS), wanted: null, timer: null};
      this.runs.set(run, kept);
    }
    return kept;
  }
}

/** A function that requests the labels of a layer's filters by a key: a step and the stamp of its file. */
function requestLabels(run, layer) {
  return async key => {
    const [step, version] = key.split(".");
    const labels = new FilterLabels(await requestJson("labels", {run, layer: layer.name, step: Number(step), version}), layer);
    return {labels, note: labels.names ? `kinds at step ${labels.step}` : "there are too many filters to find their kinds"};
  };
}

// One object each: a grid compares what it shows.
const PLAYING = {labels: null, note: "kinds appear when playback stops"};
const LOADING = {labels: null, note: "finding the kinds …"};
