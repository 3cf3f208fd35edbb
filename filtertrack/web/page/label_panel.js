// The label of the open filter at the step that is shown, with the evidence for it.

import {formatNumber, make, setText} from "./dom.js";
import {requestJson} from "./requests.js";

const DELAY = 250; // milliseconds at a step before its label is requested
const MOST_LABELS = 1000; // kept in memory
const TEMPLATES = {gabor: "edge", blob: "blob", grating: "fine grating"};
const FEWEST_PIXELS = 25; // from which on a filter can be called unstructured: see labels.py

export class LabelPanel {
  /**
   * @param {RunData} run
   * @param {number} number of the filter
   */
  constructor(run, number) {
    Object.assign(this, {run, number});
    this.name = make("strong", {});
    this.evidence = make("span", {class: "evidence"});
    this.element = make("p", {class: isSmall(run.layer) ? "label small" : "label"}, this.name, this.evidence);
    this.labels = new Map(); // key of a step -> what was answered, or {error}
  }

  /**
   * Show the label of a step: grey without one until it is known, which it is asked for if playback
   * has stopped. The label of another step is never shown.
   * @param {?number} step null if its weights are not loaded
   * @param {string|number|undefined} stamp of the step's file
   */
  draw(step, stamp, isPlaying) {
    const key = `${step}.${stamp}`;
    if (key !== this.key) {
      clearTimeout(this.timer);
      if (this.labels.get(this.key)?.error) this.labels.delete(this.key); // it is asked again
    }
    const isNew = key !== this.key || isPlaying !== this.isPlaying;
    Object.assign(this, {key, isPlaying});
    this.show(step, this.labels.get(key));
    if (isPlaying) clearTimeout(this.timer);
    else if (step !== null && isNew && !this.labels.has(key)) this.timer = setTimeout(() => this.request(step, stamp, key), DELAY);
  }

  close() {
    clearTimeout(this.timer);
  }

  show(step, found) {
    this.element.classList.toggle("waiting", !found);
    setText(this.name, found?.label ?? "label");
    if (found?.error) setText(this.evidence, ` at step ${step}: ${found.error}`);
    else setText(this.evidence, step === null ? "" : ` at step ${step}: ${found ? describeEvidence(found, this.run.layer) : "…"}`);
  }

  async request(step, stamp, key) {
    const {name, layer} = this.run;
    let found;
    try {
      found = await requestJson("label", {run: name, layer: layer.name, filter: this.number, step, version: stamp});
    } catch (error) {
      found = {error: error.message};
    }
    if (this.labels.size >= MOST_LABELS) this.labels.clear();
    this.labels.set(key, found);
    if (key === this.key) this.show(step, found);
  }
}

/** The evidence for a label, in the words and numbers of `filtertrack measure`. */
function describeEvidence({label, roughness, ...fits}, layer) {
  const [, height, width] = layer.shape;
  const small = label === "unknown" && isSmall(layer) ? `a filter of ${height}×${width} is too small to be told from noise; ` : "";
  const [fit, template] = Object.entries(TEMPLATES)
    .map(([name, text]) => [fits[name] ?? -Infinity, text])
    .reduce((best, each) => (each[0] > best[0] ? each : best));
  const best = Number.isFinite(fit) ? `${fit.toFixed(2).replace("-", "−")} (${template}; 0 is chance, 1 perfect)` : "–";
  return `${small}roughness ${formatNumber(roughness)}, best fit ${best}`;
}

/** Whether filters are too small to be told from noise. */
function isSmall({shape: [, height, width]}) {
  return height * width < FEWEST_PIXELS;
}
