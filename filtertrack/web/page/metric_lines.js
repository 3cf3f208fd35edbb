// Computes what the timeline draws: lines of curves, and which numbers of epochs have space.

/**
 * The lines of a curve, which end at gaps. The points in a column of pixels become up to four: the
 * first, the lowest, the highest and the last one.
 * @param {number[]} xs ascending, in pixels
 * @param {number[]} ys in pixels; NaN is a gap
 * @returns {Array} of lines, each an array of [x, y]
 */
export function linesOf(xs, ys) {
  const lines = [];
  let line = null;
  let column = null;
  const finish = () => {
    if (!column) return;
    if (!line) lines.push((line = []));
    const {x, first, low, high, last} = column;
    const points = [first, low, high, last].filter((y, n, all) => n === 0 || y !== all[n - 1]);
    line.push(...points.map(y => [x, y]));
    column = null;
  };
  xs.forEach((x, n) => {
    const y = ys[n];
    if (Number.isNaN(y)) {
      finish();
      line = null;
    } else if (column && Math.floor(column.x) === Math.floor(x)) {
      column.low = Math.min(column.low, y);
      column.high = Math.max(column.high, y);
      column.last = y;
    } else {
      finish();
      column = {x, first: y, low: y, high: y, last: y};
    }
  });
  finish();
  return lines;
}

/**
 * The marks on an axis that have space: all, or those of every second, fifth, tenth, … number; where
 * the marks are further apart, more of them.
 * @param {Array} marks of {number, x, width}: both ascend, the width includes the space around a mark
 */
export function spacedMarks(marks) {
  return marks.length ? fill(marks, null, null) : [];
}

/** The marks that have space between two others, of which each may be null. */
function fill(marks, before, after) {
  for (const every of roundNumbers(marks.at(-1)?.number ?? 0)) {
    const chosen = marks.filter(({number}) => number % every === 0);
    if (!chosen.length || !haveSpace([before, ...chosen, after])) continue;
    const bounds = [before, ...chosen, after];
    const gaps = every === 1 ? [] : bounds.slice(1).map((end, n) => marks.filter(({number}) => number > (bounds[n]?.number ?? 0) && number < (end?.number ?? Infinity)));
    return [...chosen, ...gaps.flatMap((gap, n) => fill(gap, bounds[n], bounds[n + 1]))];
  }
  return [];
}

function haveSpace(marks) {
  const known = marks.filter(Boolean);
  return known.every((mark, n) => n === 0 || mark.x - known[n - 1].x >= (mark.width + known[n - 1].width) / 2);
}

/** 1, 2, 5, 10, 20, 50, … up to a limit. */
function roundNumbers(limit) {
  const numbers = [];
  for (let power = 1; power <= limit; power *= 10) numbers.push(power, 2 * power, 5 * power);
  return numbers;
}
