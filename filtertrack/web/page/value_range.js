// The darkest and the lightest value of each cell, as the renderer finds them (value_range.py):
// {low, high}, from Infinity to -Infinity for a cell without finite values.

/** The lowest and the highest finite value of each cell, and whether all values are finite. */
export function rangeOfCells(cells, count) {
  const low = new Float64Array(count).fill(Infinity);
  const high = new Float64Array(count).fill(-Infinity);
  const each = cells.length / count;
  let isFinite = true;
  for (let cell = 0, n = 0; cell < count; cell++) {
    let lowest = Infinity;
    let highest = -Infinity;
    for (const end = n + each; n < end; n++) {
      const value = cells[n];
      if (!Number.isFinite(value)) {
        isFinite = false;
        continue;
      }
      if (value < lowest) lowest = value;
      if (value > highest) highest = value;
    }
    low[cell] = lowest;
    high[cell] = highest;
  }
  return {low, high, isFinite};
}

/** A range of no values, which `widen` widens. */
export function emptyRange(count) {
  return {low: new Float64Array(count).fill(Infinity), high: new Float64Array(count).fill(-Infinity), isFinite: true};
}

/** Widen a range, cell by cell, so that it covers another one. */
export function widen(range, {low, high, isFinite}) {
  for (let n = 0; n < low.length; n++) {
    if (low[n] < range.low[n]) range.low[n] = low[n];
    if (high[n] > range.high[n]) range.high[n] = high[n];
  }
  range.isFinite &&= isFinite;
}

/** The distance of each cell's farthest value from zero. */
export function reachOf({low, high}) {
  return low.map((value, n) => Math.max(-value, high[n]));
}

/** The ranges from -reach to reach. */
export function aroundZero(reach) {
  return {low: reach.map(value => -value), high: reach};
}

/** Widen ranges so that zero is in their middle. */
export function centreOnZero(range) {
  return aroundZero(reachOf(range));
}

/** Give all cells the range that covers them together. */
export function shareRange({low, high}) {
  const lowest = low.reduce((a, b) => Math.min(a, b), Infinity);
  const highest = high.reduce((a, b) => Math.max(a, b), -Infinity);
  return {low: low.map(() => lowest), high: high.map(() => highest)};
}

/** The ranges that cover several, cell by cell. */
export function unionOfRanges(all) {
  const union = emptyRange(all[0].low.length);
  for (const each of all) widen(union, each);
  return union;
}

/** The ranges of the cells with some indices. */
export function inOrder({low, high}, order) {
  return {low: Float64Array.from(order, cell => low[cell]), high: Float64Array.from(order, cell => high[cell])};
}
