// Messages to the user: current errors, and the loading progress in the status line.

import {make, setText} from "./dom.js";

export class Notices {
  constructor() {
    this.messages = new Map(); // source -> text
    this.subject = ""; // what is drawn, in words
    this.alert = make("p", {class: "alert", role: "alert", hidden: true});
    this.status = make("p", {class: "status"});
    // For screen readers: only the final state is announced, not every step that is loaded.
    this.announcement = make("p", {class: "announcement", role: "status"});
  }

  /** Show the message of a source, or remove it if the text is empty. */
  show(source, text) {
    if (text) this.messages.set(source, text);
    else this.messages.delete(source);
    const all = [...new Set(this.messages.values())].join(" ");
    this.alert.hidden = !all;
    setText(this.alert, all);
  }

  /** Return the result of an action; if it fails, show its error and return undefined. */
  async attempt(source, action) {
    try {
      const result = await action();
      this.show(source, "");
      return result;
    } catch (error) {
      this.show(source, error.message);
      return undefined;
    }
  }

  /** Show how many steps are loaded, followed by other parts. */
  showProgress(loaded, count, parts) {
    const steps = count === 1 ? "1 step" : `${count} steps`;
    const progress = !count ? "no snapshots yet" : loaded < count ? `${loaded} of ${steps} loaded` : steps;
    setText(this.status, [progress, ...parts].join(" · "));
    this.status.dataset.loaded = String(count > 0 && loaded === count);
    if (loaded === count) setText(this.announcement, `${this.subject}; ${this.status.textContent}`);
  }
}
