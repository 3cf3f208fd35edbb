// The index of the snapshot that is shown, and when playback moves to the next one.

const LONGEST_FRAME = 250; // milliseconds: longer pauses of the browser are not made up for

export class PlaybackClock {
  /**
   * @param {function(number)} show called with the index of the snapshot to show
   * @param {function(number): boolean} isReady whether the snapshot at an index is loaded
   * @param {function} changed called when playback starts or stops
   */
  constructor(show, isReady, changed) {
    Object.assign(this, {show, isReady, changed});
    this.index = 0;
    this.count = 0;
    this.speed = 10; // snapshots a second
    this.loop = true;
    this.isPlaying = false;
  }

  get isAtEnd() {
    return this.index >= this.count - 1;
  }

  goTo(index) {
    this.index = Math.min(Math.max(0, index), Math.max(0, this.count - 1));
    this.show(this.index);
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  play() {
    if (this.count < 2) return;
    if (this.isAtEnd) this.goTo(0);
    this.isPlaying = true;
    this.due = 0; // snapshots that are due, with a fraction
    this.last = null; // time of the last animation frame
    requestAnimationFrame(now => this.tick(now));
    this.changed();
  }

  pause() {
    this.isPlaying = false;
    this.changed();
  }

  tick(now) {
    if (!this.isPlaying) return;
    requestAnimationFrame(time => this.tick(time));
    this.due += this.last === null ? 0 : (Math.min(now - this.last, LONGEST_FRAME) / 1000) * this.speed;
    this.last = now;
    // The tolerance absorbs the jitter of animation frames: at the screen's rate, each frame is due.
    let count = Math.floor(this.due + 0.05);
    if (count > 0) {
      this.due -= count;
      let index = this.index;
      while (count-- > 0 && this.isPlaying) index = this.nextIndex(index);
      if (index !== this.index) this.goTo(index);
    }
  }

  /** The index after one; the same if the next snapshot is not loaded, or playback ends. */
  nextIndex(index) {
    let next = index + 1;
    if (next >= this.count) {
      if (!this.loop) {
        this.pause();
        return index;
      }
      next = 0;
    }
    return this.isReady(next) ? next : index;
  }
}
