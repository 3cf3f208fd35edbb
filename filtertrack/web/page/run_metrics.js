// The metrics of one run: a value at each snapshot, and the ends of epochs. See /metrics.

import {requestJson} from "./requests.js";

const LONGEST_WAIT = 2000; // milliseconds that the page waits for the first answer, at most
const LEAST_IDLE = 8; // time between two answers of a run that is being written, in durations of an answer
const VALIDATION = "val_";

export class RunMetrics {
  /**
   * @param {RunData} run
   * @param {function} changed called when values have been added
   */
  constructor(run, changed) {
    Object.assign(this, {run, changed});
    this.steps = []; // of the snapshots that have values
    this.when = []; // the moment of each in words
    this.curves = new Map(); // name -> Curve
    this.epochs = {numbers: [], steps: []};
    this.version = null; // of the run when it was read
    this.left = 0; // snapshots that have not been read
    this.known = ""; // names what is known to the server
    this.revision = 0; // increases with each answer
    this.notBefore = 0; // time of the next request, at least
  }

  /** A promise that is fulfilled with the first answer, or if it takes long. */
  get ready() {
    const wait = new Promise(resolve => setTimeout(resolve, LONGEST_WAIT));
    return this.version === null ? Promise.race([this.first ?? this.update(), wait]) : null;
  }

  /** Request what is new. */
  async update() {
    const {version} = this.run;
    if (this.isLoading || version === this.version || performance.now() < this.notBefore) return;
    this.isLoading = true;
    const source = `metrics of ${this.run.name}`;
    this.first = this.run.page.notices.attempt(source, () => this.request(version));
    await this.first;
    if (this.left) await this.run.page.notices.attempt(source, () => this.requestLeft(version));
    if (!this.run.isShown) this.run.page.notices.show(source, "");
    this.isLoading = false;
  }

  async requestLeft(version) {
    while (this.left && this.isShown) await this.request(version);
  }

  get isShown() {
    return this.run.metrics === this && this.run.isShown;
  }

  async request(version) {
    const start = performance.now();
    const found = await requestJson("metrics", {run: this.run.name, known: this.known, version});
    this.add(found);
    this.version = found.left ? this.version : version;
    this.revision += 1;
    this.notBefore = performance.now() + LEAST_IDLE * (performance.now() - start);
    this.changed();
  }

  /** Add an answer: what follows the first snapshots that are known. */
  add({first, known, steps, when, metrics, means, epochs, left}) {
    const before = name => this.curves.get(name)?.logged.slice(0, first) ?? Array(first).fill(null);
    const isMean = new Set(means);
    this.curves = new Map(Object.entries(metrics).map(([name, values]) => [name, new Curve([...before(name), ...values], isMean.has(name))]));
    Object.assign(this, {
      steps: [...this.steps.slice(0, first), ...steps], when: [...this.when.slice(0, first), ...when], known, epochs, left,
    });
  }

  /** The index of the last snapshot up to a step; -1 for none, or if later ones have not been read. */
  index(step) {
    const isBehind = this.left || this.version !== this.run.version;
    if (isBehind && step > this.steps.at(-1)) return -1;
    return lastUpTo(this.steps, step);
  }

  /** The value at a step of the page: the last one logged until then; NaN if it is not known. */
  valueAt(name, step) {
    const own = this.run.stepShown(step);
    return own === null ? NaN : this.curves.get(name)?.latest[this.index(own)] ?? NaN;
  }

  /** What to show of a value that was logged at a step of the run: the mean since the snapshot before, where it is one. */
  shown(name, step, logged) {
    const curve = this.curves.get(name);
    const index = this.index(step);
    return curve?.isLogged[index] && this.steps[index] === step ? curve.values[index] : logged;
  }

  /** The moment of a step of the page in words; undefined if it is not known. */
  whenAt(step) {
    const own = this.run.stepShown(step);
    const index = this.index(own);
    return this.steps[index] === own ? this.when[index] : undefined;
  }
}

/** The values of one metric. */
class Curve {
  /**
   * @param {Array} logged the values as in /metrics
   * @param {boolean} isMean whether they are means since the snapshot before
   */
  constructor(logged, isMean) {
    Object.assign(this, {logged, isMean});
    this.isLogged = logged.map(value => value !== null);
    this.values = logged.map(value => (value === null ? NaN : Number(value)));
    let last = NaN;
    this.latest = logged.map((value, n) => (last = value === null ? last : this.values[n])); // logged until then
  }
}

/** The index of the last of some ascending numbers up to a limit; -1 for none. */
export function lastUpTo(numbers, limit) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * The metrics that can be chosen: those of any run, the loss first. Of a single run a metric and its
 * validation are one choice.
 */
export function listChoices(runs) {
  const names = [...new Set(runs.flatMap(({metrics}) => [...metrics.curves.keys()]))];
  if (runs.length > 1) return names;
  return names.filter(name => !(name.startsWith(VALIDATION) && names.includes(name.slice(VALIDATION.length))));
}

/**
 * The curves of a metric: of a single run also of its validation, of several runs one for each.
 * @returns {Array} of {run, name, label, curve}
 */
export function listCurves(runs, name) {
  const several = runs.length > 1;
  const wanted = several
    ? runs.map(run => ({run, name, label: run.name}))
    : [{run: runs[0], name, label: ""}, {run: runs[0], name: VALIDATION + name, label: "val"}];
  return wanted.map(each => ({...each, curve: each.run?.metrics.curves.get(each.name)})).filter(({curve}) => curve);
}
