// How many runs, and parts of a run, are side by side, and the size of each grid.

import {layoutFor} from "./grid_view.js";

// CSS pixels.
const LEAST_WIDTH = 300; // of a grid, if the page is that wide
const LEAST_HEIGHT = 300; // of a grid; where there is less room the page scrolls
const CAPTIONS = 110; // height of the captions and scale bars of one run
const STRIP = 120; // height of the probes of one run, where their responses are shown
const GAP = 16;

/**
 * Choose the columns with which weights are largest, as far as all runs are in the room.
 * @param {number} width of the room, in CSS pixels
 * @param {number} height of the room, in CSS pixels
 * @param {RunData[]} runs that are drawn
 * @param {number} runCount runs that have a place, also those that cannot be drawn
 * @param {number} parts of a layer that are shown
 * @param {boolean} showsMaps whether responses are shown
 * @returns {object} `size` of a grid in pixels, `runsAcross`, `partsAcross`, and the `scale` of a weight
 */
export function chooseColumns(width, height, runs, runCount, parts, showsMaps) {
  const fitting = Math.max(1, Math.floor((width + GAP) / (LEAST_WIDTH + GAP))); // grids side by side
  const partsAcross = Math.min(parts, fitting);
  const around = CAPTIONS + (showsMaps ? STRIP : 0);
  const least = Math.min(width, LEAST_HEIGHT);
  const shape = runs.map(run => run.cellShape).find(Boolean);
  const map = runs.map(run => run.responses?.mapShape).find(Boolean) ?? null;
  const count = shape?.isMatrix ? 1 : runs[0]?.numbers.length ?? 1;
  let best = null;
  for (let runsAcross = Math.max(1, Math.min(runCount, Math.floor(fitting / partsAcross))); runsAcross > 0; runsAcross--) {
    const columns = runsAcross * partsAcross;
    const rows = best ? Math.ceil(runCount / runsAcross) : 1; // with fewest rows the page may scroll
    const rowHeight = Math.floor(height / rows) - around;
    const sides = [Math.floor((width - GAP * (columns - 1)) / columns), best ? rowHeight : Math.max(least, rowHeight)];
    const size = sides.map(side => Math.floor(side * devicePixelRatio));
    const scale = shape && size[1] > 0 ? layoutFor(count, shape, size, map).scale : 0;
    if (!best || scale > best.scale) best = {scale, size, runsAcross, partsAcross};
  }
  return best;
}
