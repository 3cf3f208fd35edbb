// The choice of the probe whose responses are shown: its picture, the others as thumbnails, and in
// words what is read.

import {make, makeButton, setText} from "./dom.js";
import {describeChoice, describeProbe, drawPicture} from "./probe_pictures.js";
import {describeReading, describeSilent} from "./run_responses.js";

const LARGE = 72; // CSS pixels of the chosen probe
const SMALL = 32; // CSS pixels of a thumbnail
const MOST_THUMBNAILS = 64; // further probes are chosen with the buttons

export class ProbeStrip {
  /**
   * @param {string} name of the run
   * @param {object} actions chooseProbe(number), stepProbe(offset)
   */
  constructor(name, actions) {
    this.actions = actions;
    this.picture = make("canvas", {class: "picture", role: "img"});
    this.text = make("span", {class: "which", "aria-live": "polite"});
    this.reading = make("p", {class: "reading"});
    this.silent = make("p", {class: "silent"}); // filters that answer to no probe
    this.thumbnails = make("div", {class: "thumbnails", role: "group", "aria-label": `Probes of ${name}`,
                                        onkeydown: event => this.moveChoice(event)});
    this.thumbnails.addEventListener("scroll", () => this.showEnds());
    this.choice = make("div", {class: "choice"},
      make("div", {class: "turn"}, makeButton("Previous probe", "‹", () => actions.stepProbe(-1)), this.text,
        makeButton("Next probe", "›", () => actions.stepProbe(1))),
      this.thumbnails, this.reading, this.silent);
    this.absence = make("p", {class: "absence"});
    this.element = make("div", {class: "probes", hidden: true}, this.picture, this.choice, this.absence);
  }

  /**
   * Show the probes of a run, and the chosen one; or why the run has no responses.
   * @param {RunData} run
   * @param {boolean} isShown whether responses are shown, of this run or another
   */
  show(run, isShown) {
    const {probes, responses} = run;
    this.element.hidden = !isShown;
    if (!isShown) return;
    for (const each of [this.picture, this.choice]) each.hidden = !responses;
    this.absence.hidden = Boolean(responses);
    if (!responses) return setText(this.absence, describeAbsence(run));
    const {probe, layer} = responses;
    const pictures = run.picturesOf(layer);
    const kept = Array.from({length: Math.min(probes.maps, MOST_THUMBNAILS)}, (_, n) => n);
    const key = JSON.stringify([probes, layer.input]);
    if (key !== this.key) this.thumbnails.replaceChildren(...kept.map(number => this.makeThumbnail(probes, number)));
    this.key = key;
    kept.forEach(number => {
      const button = this.thumbnails.children[number];
      const isChosen = String(number === probe);
      if (button.getAttribute("aria-pressed") !== isChosen) {
        button.setAttribute("aria-pressed", isChosen);
        button.tabIndex = number === probe ? 0 : -1; // the thumbnails are a single tab stop
        if (number === probe) this.scrollTo(button);
      }
      drawPicture(button.firstChild, SMALL, pictures.at(number));
    });
    const picture = probe < probes.count ? pictures.at(probe) : null;
    drawPicture(this.picture, LARGE, picture);
    const isPicture = picture?.canvas !== null;
    const text = `${describeProbe(probes, probe)}${isPicture ? "" : " (no picture)"}`;
    this.picture.setAttribute("aria-label", text);
    setText(this.text, `${text} · ${describeChoice(probes)}`);
    setText(this.reading, describeReading(layer));
    this.showEnds();
  }

  /** Show the numbers of the filters that answer to no probe at the step that is shown. */
  showSilent(numbers) {
    setText(this.silent, describeSilent(numbers));
  }

  makeThumbnail(probes, number) {
    return makeButton(describeProbe(probes, number), make("canvas", {"aria-hidden": "true"}), () => this.actions.chooseProbe(number));
  }

  /** Choose the thumbnail beside the one with the focus, with the arrow keys. */
  moveChoice(event) {
    const offset = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (offset === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const next = offset < 0 ? event.target.previousSibling : event.target.nextSibling;
    if (!next) return;
    next.focus();
    this.actions.chooseProbe([...this.thumbnails.children].indexOf(next));
  }

  /** Show at which ends there are more thumbnails. */
  showEnds() {
    const {scrollLeft, scrollWidth, clientWidth} = this.thumbnails;
    this.thumbnails.classList.toggle("more-before", scrollLeft > 1);
    this.thumbnails.classList.toggle("more-after", scrollLeft + clientWidth < scrollWidth - 1);
  }

  /** Scroll the thumbnails, and nothing else, so that a button is visible. */
  scrollTo(button) {
    const {thumbnails} = this;
    thumbnails.scrollLeft = button.offsetLeft - thumbnails.offsetLeft - (thumbnails.clientWidth - button.offsetWidth) / 2;
  }
}

/** Why a run has no responses of its layer, in words. */
function describeAbsence({probes, layer}) {
  if (probes?.isUnread) return "The probes of this run cannot be read.";
  return probes?.count ? `No responses of ${layer.name} are kept: name it in Probes(..., layers=...).` : "no probes: train with FilterTracker(probes=...)";
}
