// The bar below: play, step, scrub; how fast; what is fetched and what is damaged.

import {button, choice, icon, make, toggle, write} from "./dom.js";

const SPEEDS = [1, 2, 5, 10, 20, 30, 60];

export class Transport {
  constructor(player) {
    this.player = player;
    this.playButton = button("Play", icon("play"), () => player.toggle());
    this.slider = make("input", {type: "range", min: "0", max: "0", step: "1", "aria-label": "Step",
                                 oninput: () => player.go(Number(this.slider.value))});
    this.marks = make("canvas", {class: "marks", "aria-hidden": "true"});
    this.when = make("span", {class: "when"});
    this.speed = choice("speed", SPEEDS.map(each => [String(each), `${each} a second`]), String(player.speed), value => {
      player.speed = Number(value);
    });
    this.loop = toggle("loop", player.loop, on => {
      player.loop = on;
    });
    this.element = make("footer", {class: "transport", role: "group", "aria-label": "Steps"},
      button("First step", icon("first"), () => player.go(0)),
      button("Step back", icon("back"), () => this.by(-1)), this.playButton,
      button("Step on", icon("on"), () => this.by(1)),
      button("Last step", icon("last"), () => player.go(Infinity)),
      make("div", {class: "line"}, this.marks, this.slider), this.when, this.speed, this.loop);
  }

  by(count) {
    if (this.player.playing) this.player.pause();
    this.player.go(this.player.index + count);
  }

  faster(by) {
    const at = SPEEDS.indexOf(this.player.speed) + by;
    if (SPEEDS[at]) {
      this.player.speed = SPEEDS[at];
      this.speed.querySelector("select").value = String(SPEEDS[at]);
    }
  }

  toggleLoop() {
    this.player.loop = !this.player.loop;
    this.loop.querySelector("input").checked = this.player.loop;
  }

  showPlaying() {
    const {playing} = this.player;
    this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.playButton.title = playing ? "Pause" : "Play";
  }

  show(step, text, note) {
    const {index, count} = this.player;
    this.slider.max = String(Math.max(0, count - 1));
    this.slider.value = String(index);
    this.slider.setAttribute("aria-valuetext", text);
    write(this.when, [`step ${step}`, `${index + 1} of ${count}`, ...(note ? [note] : [])].join(" · "));
    this.when.title = text;
  }

  /** Mark on the line which steps are fetched, and which are damaged. */
  mark(states) {
    const {marks} = this;
    const wide = Math.max(1, Math.round(this.slider.clientWidth * devicePixelRatio));
    const high = Math.round(8 * devicePixelRatio);
    if (marks.width !== wide || marks.height !== high) [marks.width, marks.height] = [wide, high];
    const context = marks.getContext("2d");
    context.clearRect(0, 0, wide, high);
    const style = getComputedStyle(document.documentElement);
    // The slider's knob does not reach its ends.
    const knob = 16 * devicePixelRatio;
    const place = n => knob / 2 + ((wide - knob) * n) / Math.max(1, states.length - 1);
    const each = Math.max(1, (wide - knob) / Math.max(1, states.length - 1));
    for (const [state, least] of [["loaded", 1], ["damaged", 3 * devicePixelRatio]]) {
      context.fillStyle = style.getPropertyValue(`--${state}`);
      states.forEach((found, n) => {
        if (found === state) context.fillRect(place(n) - Math.max(each, least) / 2, 0, Math.max(each, least) + 1, high);
      });
    }
  }
}
