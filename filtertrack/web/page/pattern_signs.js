// The signs of rank-1 patterns, as the renderer chooses them (LayerCells): the last snapshot has the
// sign that it has alone, which the server sends, and each before it the sign that is closer to the
// one after it. So no filter changes its sign from one snapshot to the next.
//
// An entry is {cells, low, high, signs, agree, next}: its cells, or null if they were removed, and
// their range; for each cell 1 or -1, by which they were multiplied; and whether its pattern as sent
// agrees with that of the next entry.

/**
 * Align the signs of snapshots.
 * @param {Array} entries in the order of their steps; null for one that was not loaded yet
 * @param {?Float64Array} least for each cell the least value that counts; null for all
 * @param {boolean} isPlaying whether entries keep the signs with which they may have been drawn
 * @returns {boolean} whether a cell has changed its sign
 */
export function alignSigns(entries, least, isPlaying) {
  let isChanged = false;
  const follow = (entry, signs) => {
    if (entry && !(isPlaying && entry.signs)) isChanged = flipTo(entry, signs) || isChanged;
  };
  if (isPlaying) {
    entries.forEach((entry, n) => {
      const before = entries[n - 1];
      const agree = entry && before?.signs && agreement(before, entry, least);
      if (agree) follow(entry, multiply(before.signs, agree));
    });
  }
  for (let n = entries.length - 1; n >= 0; n--) {
    const entry = entries[n];
    const after = entries[n + 1];
    const agree = entry && after && agreement(entry, after, least);
    follow(entry, agree ? multiply(after.signs, agree) : null);
  }
  return isChanged;
}

/** Multiply the cells of an entry, and their range, by signs; null for those as sent. */
function flipTo(entry, signs) {
  const {cells, low, high} = entry;
  const before = entry.signs;
  entry.signs = signs ?? new Int8Array(low.length).fill(1);
  let isChanged = false;
  for (let cell = 0; cell < low.length; cell++) {
    if (entry.signs[cell] === (before ? before[cell] : 1)) continue;
    isChanged = true;
    [low[cell], high[cell]] = [-high[cell], -low[cell]];
    if (cells) negate(cells, cell, low.length);
  }
  return isChanged;
}

/** Multiply cells as sent by signs. */
export function applySigns(cells, signs) {
  signs.forEach((sign, cell) => sign < 0 && negate(cells, cell, signs.length));
}

function negate(cells, cell, count) {
  const each = cells.length / count;
  for (let n = cell * each; n < (cell + 1) * each; n++) cells[n] = -cells[n];
}

/** For each cell 1, or -1 if two patterns as sent point away from each other; null if not known. */
function agreement(entry, after, least) {
  if (entry.next === after) return entry.agree;
  if (!entry.cells || !after.cells) return null;
  const count = entry.low.length;
  const each = entry.cells.length / count;
  const agree = new Int8Array(count);
  for (let cell = 0; cell < count; cell++) {
    const counts = value => (Number.isFinite(value) && !(least && Math.abs(value) < least[cell]) ? value : 0);
    let product = 0;
    for (let n = cell * each; n < (cell + 1) * each; n++) product += counts(entry.cells[n]) * counts(after.cells[n]);
    const drawn = (entry.signs?.[cell] ?? 1) * (after.signs?.[cell] ?? 1);
    agree[cell] = product * drawn < 0 ? -1 : 1;
  }
  Object.assign(entry, {agree, next: after});
  return agree;
}

function multiply(signs, others) {
  return signs.map((sign, n) => sign * others[n]);
}
