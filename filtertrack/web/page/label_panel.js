// The label of the open filter at the step that is shown, with the evidence for it.

import {AnswerCache} from "./answer_cache.js";
import {formatNumber, make, setText} from "./dom.js";
import {describeSize, isSmall} from "./filter_labels.js";
import {requestJson} from "./requests.js";

const DELAY = 250; // milliseconds at a step before its label is requested
const MOST_LABELS = 1000; // kept in memory
const TEMPLATES = {gabor: "edge", blob: "blob", grating: "fine grating"};

export class LabelPanel {
  /**
   * @param {RunData} run
   * @param {number} number of the filter
   * @param {function} changed called when a label of any step has been added
   */
  constructor(run, number, changed) {
    Object.assign(this, {run, number});
    this.name = make("strong", {});
    this.evidence = make("span", {class: "evidence"});
    this.element = make("p", {class: isSmall(run.layer) ? "label small" : "label"}, this.name, this.evidence);
    const query = {run: run.name, layer: run.layer.name, filter: number};
    this.labels = new AnswerCache(key => {
      const [step, version] = key.split(".");
      return requestJson("label", {...query, step: Number(step), version});
    }, () => {
      this.refresh();
      changed();
    }, MOST_LABELS);
  }

  /**
   * Show the label of a step: grey without one until it is known, which it is asked for if playback
   * has stopped. The label of another step is never shown.
   * @param {?number} step null if its weights are not loaded
   * @param {string|number|undefined} stamp of the step's file
   */
  draw(step, stamp, isPlaying) {
    const key = `${step}.${stamp}`;
    const isNew = key !== this.key || isPlaying !== this.isPlaying;
    Object.assign(this, {step, key, isPlaying});
    this.show();
    if (!isNew) return;
    clearTimeout(this.timer);
    if (!isPlaying && step !== null) this.timer = setTimeout(() => this.labels.at(key), DELAY);
  }

  close() {
    clearTimeout(this.timer);
    this.labels.stop();
  }

  /** Show what is known of the step, and request its label again if that failed. */
  refresh() {
    this.show();
    if (this.labels.known(this.key)?.isExpired && !this.isPlaying) this.labels.at(this.key);
  }

  show() {
    const {step} = this;
    const {answer, error} = this.labels.known(this.key) ?? {};
    this.element.classList.toggle("waiting", !answer && !error);
    setText(this.name, answer?.label ?? "label");
    setText(this.evidence, step === null ? "" : ` at step ${step}: ${error ?? (answer ? describeEvidence(answer, this.run.layer) : "…")}`);
  }
}

/** The evidence for a label, in the words and numbers of `filtertrack measure`. */
function describeEvidence({label, roughness, ...fits}, layer) {
  const small = label === "unknown" && isSmall(layer) ? `a filter of ${describeSize(layer)} is too small to be told from noise; ` : "";
  const [fit, template] = Object.entries(TEMPLATES)
    .map(([name, text]) => [fits[name] ?? -Infinity, text])
    .reduce((best, each) => (each[0] > best[0] ? each : best));
  const best = Number.isFinite(fit) ? `${fit.toFixed(2).replace("-", "−")} (${template}; 0 is chance, 1 perfect)` : "–";
  return `${small}roughness ${formatNumber(roughness)}, best fit ${best}`;
}
