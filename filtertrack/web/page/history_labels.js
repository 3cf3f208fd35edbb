// The labels of the open filter at the steps of its history, requested one after another when
// playback has stopped.

const DELAY = 250; // milliseconds before the first request

export class HistoryLabels {
  /**
   * @param {RunData} run
   * @param {AnswerCache} answers the labels of the filter: see LabelPanel
   */
  constructor(run, answers) {
    Object.assign(this, {run, answers});
    this.keys = []; // of the steps whose labels are loaded
  }

  /** The label at a step; empty if it is not known. */
  at(step) {
    return this.answers.known(this.keyOf(step))?.answer?.label ?? "";
  }

  /** Load the labels of some steps, unless the page plays. */
  load(steps, isPlaying) {
    const keys = isPlaying ? [] : steps.map(step => this.keyOf(step));
    if (keys.join() === this.keys.join()) return;
    this.stop();
    this.keys = keys;
    this.timer = setTimeout(() => this.requestNext(), DELAY);
  }

  /** Request the next label that is missing; called again when an answer has come. */
  requestNext() {
    if (this.answers.isLoading) return;
    const key = this.keys.find(each => this.answers.known(each)?.isExpired ?? true);
    if (key !== undefined) this.answers.at(key);
  }

  stop() {
    clearTimeout(this.timer);
    this.keys = [];
  }

  keyOf(step) {
    return `${step}.${this.run.stamps[this.run.steps.indexOf(step)]}`;
  }
}
