// Answers of the server by a key, each requested when it is needed, and again after an error.

export const RETRY_DELAY = 3000; // milliseconds after an error

/** The message of an error after which a request is sent again. */
export function describeRetry(error) {
  return `${error.message} (It is asked again in ${RETRY_DELAY / 1000} seconds.)`;
}

export class AnswerCache {
  /**
   * @param {function} request called with a key; returns a promise of the answer
   * @param {function} changed called when an answer or an error has been added, and when an answer
   *   that failed may be requested again
   * @param {number} most answers kept in memory
   */
  constructor(request, changed, most) {
    this.requestAnswer = request;
    Object.assign(this, {changed, most});
    this.entries = new Map(); // key -> {answer, isExpired} or {error, isExpired}
    this.pending = new Set(); // keys
    this.latest = undefined; // the answer that came last
  }

  /** The answer for a key; undefined if it is not known: it is requested, after an error with a delay. */
  at(key) {
    const entry = this.entries.get(key);
    if ((!entry || entry.isExpired) && !this.pending.has(key)) this.request(key);
    return entry?.answer;
  }

  /** What is known for a key, without a request: {answer} or {error}; undefined for nothing. */
  known(key) {
    return this.entries.get(key);
  }

  get isLoading() {
    return this.pending.size > 0;
  }

  /** Why an answer is missing; undefined if none is. */
  get error() {
    return [...this.entries.values()].find(({error}) => error)?.error;
  }

  /** Do not call `changed` any more. */
  stop() {
    this.changed = () => {};
  }

  async request(key) {
    this.pending.add(key);
    let entry;
    try {
      entry = {isExpired: false, answer: await this.requestAnswer(key)};
      this.latest = entry.answer;
    } catch (error) {
      entry = {isExpired: false, error: error.isTemporary ? describeRetry(error) : error.message};
      if (error.isTemporary) setTimeout(() => this.expire(entry), RETRY_DELAY);
    }
    this.pending.delete(key);
    this.entries.delete(key);
    if (this.entries.size >= this.most) this.entries.delete(this.entries.keys().next().value);
    this.entries.set(key, entry);
    this.changed();
  }

  expire(entry) {
    entry.isExpired = true;
    this.changed();
  }
}
