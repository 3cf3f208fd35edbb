// The legend of the outlines: the colour of each label and the number of its filters.

import {make, useFontOf} from "./dom.js";

const SQUARE = 12; // CSS pixels of a colour
const SPACE = 6; // between a colour and its label
const GAP = 14; // between labels

export class LabelLegend {
  constructor() {
    this.element = make("p", {class: "labels"});
  }

  /**
   * Show labels, those without an outline last.
   * @param {?FilterLabels} labels null if they could not be read
   * @param {object} outlines label -> colour, as RGB
   */
  show(labels, outlines) {
    const counts = labels?.counts ?? new Map();
    const others = [...counts.keys()].filter(name => !outlines[name]);
    this.entries = counts.size ? [...Object.keys(outlines), ...others].map(name => ({
      text: `${name} ${counts.get(name) ?? 0}`, colour: outlines[name] ? `rgb(${outlines[name].join(" ")})` : null,
    })) : [];
    this.note = !labels ? "the kinds of filters are not known"
      : labels.names ? `kinds at step ${labels.step}` : "there are too many filters to find their kinds";
    this.element.replaceChildren(...this.entries.map(({text, colour}) => {
      const square = make("span", {class: "square", "aria-hidden": "true"});
      square.style.background = colour;
      return make("span", {}, ...(colour ? [square] : []), text);
    }), make("span", {class: "note-of-scale"}, this.note));
  }

  /** Draw the legend into a picture, from a left end on, around a line; returns its right end. */
  drawInto(context, left, middle) {
    const [square, space, gap] = [SQUARE, SPACE, GAP].map(side => side * devicePixelRatio);
    useFontOf(this.element, context);
    const textColour = context.fillStyle;
    for (const {text, colour} of [...this.entries, {text: this.note, colour: null}]) {
      if (colour) {
        context.fillStyle = colour;
        context.fillRect(left, middle - square / 2, square, square);
        context.fillStyle = textColour;
        left += square + space;
      }
      context.fillText(text, left, middle);
      left += context.measureText(text).width + gap;
    }
    return left - gap;
  }
}
