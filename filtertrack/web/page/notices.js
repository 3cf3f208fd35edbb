// What is said to the user: troubles, each until it is over; and how far things are.

import {make, write} from "./dom.js";

export class Notices {
  constructor() {
    this.said = new Map();
    this.alert = make("p", {class: "alert", role: "alert", hidden: true});
    this.status = make("p", {class: "status"});
    // Read aloud: not every step that comes, but that all have come, and what is damaged.
    this.aloud = make("p", {class: "aloud", role: "status"});
  }

  /** Say something of a source, or nothing: only the source itself takes it back. */
  say(source, text) {
    if (text) this.said.set(source, text);
    else this.said.delete(source);
    const all = [...new Set(this.said.values())].join(" ");
    this.alert.hidden = !all;
    write(this.alert, all);
  }

  /** Do something that may fail; returns undefined where it does. */
  async attempt(source, act) {
    try {
      const result = await act();
      this.say(source, "");
      return result;
    } catch (error) {
      this.say(source, error.message);
      return undefined;
    }
  }

  report(loaded, count, parts) {
    const steps = count === 1 ? "1 step" : `${count} steps`;
    const far = !count ? "no snapshots yet" : loaded < count ? `${loaded} of ${steps} loaded` : steps;
    write(this.status, [far, ...parts].join(" · "));
    this.status.dataset.loaded = String(count > 0 && loaded === count);
    if (loaded === count) write(this.aloud, this.status.textContent);
  }
}
