// The labels of all filters of a run's layer at its last snapshot: for the groups of a grid, the
// outlines and the counts below it.

const FEWEST_PIXELS = 25; // of a filter whose label may be known: see measures/labels.py

export class FilterLabels {
  /**
   * @param {object} answer the answer of /labels
   * @param {object} layer as in /layers
   */
  constructor({step, names}, layer) {
    Object.assign(this, {step, names}); // no names: the layer is too large to label at once
    this.reason = isSmall(layer) ? `: filters of ${describeSize(layer)} are too small to be distinguished from noise` : "";
    this.counts = new Map(); // label -> number of filters
    for (const name of names ?? []) this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  /** The label of a filter; undefined if it is not known. */
  of(number) {
    return this.names?.[number];
  }

  /** Numbers of filters with those of one label together, otherwise in their order. */
  group(numbers) {
    if (!this.names) return numbers;
    const labels = [...new Set(numbers.map(number => this.of(number)))];
    return labels.flatMap(label => numbers.filter(number => this.of(number) === label));
  }

  /** The groups of numbers that follow each other with one label: {count, text}; null without labels. */
  groupsOf(numbers) {
    if (!this.names) return null;
    const groups = [];
    for (const number of numbers) {
      const label = this.of(number);
      if (groups.at(-1)?.label === label) groups.at(-1).count += 1;
      else groups.push({label, count: 1});
    }
    return groups.map(({label, count}) => {
      const all = this.counts.get(label);
      return {count, text: `${label} · ${count === all ? all : `${count} of ${all}`}${label === "unknown" ? this.reason : ""}`};
    });
  }
}

/** Whether filters are too small to be distinguished from noise. A slice is what a label is found in. */
export function isSmall({shape: [, height, width], slices}) {
  return (height * width) / slices < FEWEST_PIXELS;
}

/** Height and width of a filter's slice. */
export function describeSize({shape: [, height, width], slices}) {
  return `${height}×${width / slices}`;
}
