// The playback bar: play, step and slider, speed and loop, and marks for loaded and damaged steps.

import {make, makeButton, makeCheckbox, makeIcon, makeSelect, setText} from "./dom.js";

const SPEEDS = [1, 2, 5, 10, 20, 30, 60]; // snapshots a second
const KNOB = 16; // CSS pixels: the width of the slider's knob, which does not reach the slider's ends
const MARK_HEIGHT = 8; // CSS pixels
const LEAST_DAMAGED_WIDTH = 3; // CSS pixels

export class PlaybackControls {
  /** @param {PlaybackClock} clock */
  constructor(clock) {
    this.clock = clock;
    this.playButton = makeButton("Play", makeIcon("play"), () => clock.toggle());
    this.slider = make("input", {type: "range", min: "0", max: "0", step: "1", "aria-label": "Step",
                                 oninput: () => clock.goTo(Number(this.slider.value))});
    this.marks = make("canvas", {class: "marks", "aria-hidden": "true"});
    this.when = make("span", {class: "when"});
    this.speed = makeSelect("speed", SPEEDS.map(each => [String(each), `${each} a second`]), String(clock.speed), value => {
      clock.speed = Number(value);
    });
    this.loop = makeCheckbox("loop", clock.loop, on => {
      clock.loop = on;
    });
    this.element = make("footer", {class: "playback", role: "group", "aria-label": "Steps"},
      makeButton("First step", makeIcon("first"), () => clock.goTo(0)),
      makeButton("Step back", makeIcon("back"), () => this.stepBy(-1)), this.playButton,
      makeButton("Step on", makeIcon("forward"), () => this.stepBy(1)),
      makeButton("Last step", makeIcon("last"), () => clock.goTo(Infinity)),
      make("div", {class: "line"}, this.marks, this.slider), this.when, this.speed, this.loop);
  }

  stepBy(count) {
    if (this.clock.isPlaying) this.clock.pause();
    this.clock.goTo(this.clock.index + count);
  }

  /** Choose a speed that is some entries faster. */
  changeSpeed(by) {
    const speed = SPEEDS[SPEEDS.indexOf(this.clock.speed) + by];
    if (!speed) return;
    this.clock.speed = speed;
    this.speed.querySelector("select").value = String(speed);
  }

  toggleLoop() {
    this.clock.loop = !this.clock.loop;
    this.loop.querySelector("input").checked = this.clock.loop;
  }

  showPlaying() {
    const {isPlaying} = this.clock;
    this.playButton.replaceChildren(makeIcon(isPlaying ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    this.playButton.title = isPlaying ? "Pause" : "Play";
  }

  showStep(step, text, note) {
    const {index, count} = this.clock;
    this.slider.max = String(Math.max(0, count - 1));
    this.slider.value = String(index);
    this.slider.setAttribute("aria-valuetext", text);
    setText(this.when, [`step ${step}`, `${index + 1} of ${count}`, ...(note ? [note] : [])].join(" · "));
    this.when.title = text;
  }

  /** Draw a mark for each step that is "loaded" or "damaged"; other states have none. */
  drawMarks(states) {
    const {marks} = this;
    const width = Math.max(1, Math.round(this.slider.clientWidth * devicePixelRatio));
    const height = Math.round(MARK_HEIGHT * devicePixelRatio);
    if (marks.width !== width || marks.height !== height) [marks.width, marks.height] = [width, height];
    const context = marks.getContext("2d");
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement);
    const knob = KNOB * devicePixelRatio;
    const distance = (width - knob) / Math.max(1, states.length - 1);
    for (const [state, least] of [["loaded", 1], ["damaged", LEAST_DAMAGED_WIDTH * devicePixelRatio]]) {
      context.fillStyle = style.getPropertyValue(`--${state}`);
      const markWidth = Math.max(1, distance, least);
      states.forEach((each, n) => {
        if (each === state) context.fillRect(knob / 2 + n * distance - markWidth / 2, 0, markWidth + 1, height);
      });
    }
  }
}
