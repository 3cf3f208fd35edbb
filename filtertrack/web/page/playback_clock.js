// Which snapshot is shown, and how it moves on.

export class Player {
  /**
   * @param {function(number)} show called with the index of the snapshot to show
   * @param {function(number): boolean} ready whether a snapshot has been fetched
   * @param {function} changed called when it starts or stops
   */
  constructor(show, ready, changed) {
    Object.assign(this, {show, ready, changed});
    this.index = 0;
    this.count = 0;
    this.speed = 10; // snapshots a second
    this.loop = true;
    this.playing = false;
  }

  get atEnd() {
    return this.index >= this.count - 1;
  }

  go(index) {
    this.index = Math.min(Math.max(0, index), Math.max(0, this.count - 1));
    this.show(this.index);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (this.count < 2) return;
    if (this.atEnd) this.go(0);
    this.playing = true;
    this.due = 0;
    this.last = null;
    requestAnimationFrame(now => this.tick(now));
    this.changed();
  }

  pause() {
    this.playing = false;
    this.changed();
  }

  tick(now) {
    if (!this.playing) return;
    requestAnimationFrame(time => this.tick(time));
    // A stall is not made up for: it goes on from where it was.
    this.due += this.last === null ? 0 : (Math.min(now - this.last, 250) / 1000) * this.speed;
    this.last = now;
    // The screen's own clock is not exact: at its rate, each frame is due.
    let steps = Math.floor(this.due + 0.05);
    if (steps > 0) {
      this.due -= steps;
      let index = this.index;
      while (steps-- > 0 && this.playing) index = this.after(index);
      if (index !== this.index) this.go(index);
    }
  }

  after(index) {
    let next = index + 1;
    if (next >= this.count) {
      if (!this.loop) {
        this.pause();
        return index;
      }
      next = 0;
    }
    return this.ready(next) ? next : index; // waits for what is still on its way
  }
}
