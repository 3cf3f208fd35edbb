// The kernels of one filter that are loaded in the browser: its weights in all input channels, and
// its bias, at each step.

import {requestKernels} from "./requests.js";
import {StepCache} from "./step_cache.js";
import {rangeOfCells} from "./value_range.js";

const MOST_WEIGHTS = 131_072; // of a filter; also in filter_answers.py
const MOST_READ = 256e6; // bytes of whole kernels from which the server takes those of the filter
const LEAST_KEPT = 4; // snapshots
const DELAY = 250; // milliseconds at a step before loading continues from there

/** Whether the kernels of a layer's filters can be requested. */
export function hasKernels({shape: [, height, width, channels]}) {
  return height * width * channels <= MOST_WEIGHTS;
}

export class KernelCache extends StepCache {
  /**
   * Its snapshots are {cells, bias}; the cells have the shape (height, width, channels).
   * @param {RunData} run
   * @param {number} number of the filter
   * @param {function} changed called when snapshots or an `error` have been added
   */
  constructor(run, number, changed) {
    super({run: run.name, layer: run.layer.name, filter: number}, changed);
    const layerBytes = run.layer.shape.reduce((product, side) => product * side, 4);
    this.mostRead = Math.max(LEAST_KEPT, Math.floor(MOST_READ / layerBytes));
  }

  get mostKept() {
    return Math.min(super.mostKept, this.mostRead);
  }

  /** Load from a step if it stays the one that is looked at: not while scrubbing. */
  lookAt(index) {
    if (index === this.next) return;
    this.next = index;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => super.lookAt(index), DELAY);
  }

  stop() {
    clearTimeout(this.timer);
    super.stop();
  }

  request(query, signal) {
    return requestKernels(query, signal);
  }

  receive({kernels, arrays, shape}, stamps) {
    kernels.forEach(({step, bias}, n) => {
      if (this.stamps.get(step) !== stamps.get(step)) return; // replaced meanwhile
      this.add(step, {cells: arrays[n], bias: bias ?? NaN}, rangeOfCells(arrays[n], 1), shape);
    });
    return kernels.map(({step}) => step);
  }
}
