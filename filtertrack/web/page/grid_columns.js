// How many runs, and parts of a run, are side by side, and the size of each grid.

import {layoutFor} from "./grid_view.js";

// CSS pixels. The heights are reserved in style.css, so that nothing moves while a run is loaded.
const LEAST_WIDTH = 300; // of a grid, if the page is that wide
const LEAST_HEIGHT = 180; // of a grid; where that is not available the page scrolls
const LEAST_SIDE = 40; // of a cell, its longer side; where a grid would have smaller cells the page scrolls
const LEAST_SIDE_IN_COLUMN = 28; // likewise, where all is below each other
const WIDE = 860; // width of a grid in which a legend takes one line, also in style.css
const GAP = 16; // between grids
const CAPTION = 66; // height of a run's name and moment, with the space around the run
const TITLE = 26; // height of the title of a part
const MARGIN = 10; // below a grid and its legends
const SCALE = [46, 28]; // height of a scale bar with its note, in two lines and in one
const LABELS = [42, 24]; // height of the colours and counts of labels, likewise
const PROBES = 141; // height of the probes of one run, where their responses are shown

/**
 * Choose the columns with which weights are largest, as far as all runs are visible at once and no cell
 * is too small to be seen; cells that would be too small are as large as the width allows.
 * @param {number} width available, in CSS pixels
 * @param {number} height available, in CSS pixels
 * @param {object} shown
 * @param {?object} shown.grid what one grid holds: see `layoutFor`; null if none is drawn
 * @param {number} shown.runs runs, also those that cannot be drawn
 * @param {number} shown.parts of a layer
 * @param {boolean} shown.hasTitles whether each grid has a title
 * @param {boolean} shown.hasProbes whether each run has a choice of probes
 * @param {boolean} shown.isOneColumn whether all is below each other in the window
 * @returns {object} `size` of a grid in pixels, `runsAcross` and `partsAcross`
 */
export function chooseColumns(width, height, {grid, runs, parts, hasTitles, hasProbes, isOneColumn}) {
  const aroundRun = CAPTION + (hasProbes ? PROBES : 0);
  const aroundGrid = wide => {
    const lines = wide >= WIDE ? 1 : 0;
    const legends = SCALE[lines] * (hasProbes ? 2 : 1) + (grid?.options.isOutlined ? LABELS[lines] : 0);
    return MARGIN + legends + (hasTitles ? TITLE : 0);
  };
  const candidates = [];
  for (let runsAcross = runs; runsAcross > 0; runsAcross--) {
    for (let partsAcross = parts; partsAcross > 0; partsAcross--) {
      const columns = runsAcross * partsAcross;
      const wide = Math.floor((width - GAP * (columns - 1)) / columns);
      if (wide < LEAST_WIDTH && columns > 1) continue;
      const [runRows, partRows] = [Math.ceil(runs / runsAcross), Math.ceil(parts / partsAcross)];
      const high = Math.floor((height / runRows - aroundRun) / partRows - aroundGrid(wide));
      candidates.push({runsAcross, partsAcross, wide, high, rows: runRows * partRows, alone: height - aroundRun - aroundGrid(wide)});
    }
  }
  const fitting = candidates.filter(({wide, high}) => high >= Math.min(wide, LEAST_HEIGHT));
  let best = null;
  for (const {runsAcross, partsAcross, wide, high} of fitting.length ? fitting : [scrolling(candidates)]) {
    const size = [wide, high].map(side => Math.floor(side * devicePixelRatio));
    const scale = grid ? layoutFor(grid, size).scale : 0;
    if (!best || scale > best.scale) best = {scale, size, runsAcross, partsAcross};
  }
  const least = (isOneColumn ? LEAST_SIDE_IN_COLUMN : LEAST_SIDE) * devicePixelRatio;
  return grid ? {...best, size: [best.size[0], heightFor(grid, best.size, Math.ceil(least))]} : best;
}

/**
 * The least height, not below that of a size, with which the longer side of a cell has a number of
 * pixels; where the width does not allow that, as many as it allows.
 */
function heightFor(grid, [width, height], least) {
  const sideAt = each => layoutFor(grid, [width, each]).longerSide;
  if (sideAt(height) >= least) return height;
  const cells = grid.count + (grid.options.groups?.length ?? 0);
  let [low, high] = [height, height + 4 * cells * Math.max(width, least)]; // enough for one cell a row
  const wanted = Math.min(least, sideAt(high));
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (sideAt(middle) >= wanted) high = middle;
    else low = middle + 1;
  }
  return high;
}

/** The grids that are visible at once with the least scrolling: each as high as it is wide, if it fits alone. */
function scrolling(candidates) {
  const [first] = candidates.sort((one, other) => one.rows - other.rows);
  return {...first, high: Math.max(Math.min(first.wide, LEAST_HEIGHT), Math.min(first.wide, first.alone))};
}
