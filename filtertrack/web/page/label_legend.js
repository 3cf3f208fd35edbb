// The legend of the outlines: the colour of each label and the number of its filters.

import {make} from "./dom.js";

export class LabelLegend {
  constructor() {
    this.element = make("p", {class: "labels"});
  }

  /**
   * Show labels, those without an outline last.
   * @param {?FilterLabels} labels null while they are not known
   * @param {object} outlines label -> colour, as RGB
   * @param {string} note the step of the labels, or why they are not known
   */
  show(labels, outlines, note) {
    const counts = labels?.counts ?? new Map();
    const others = [...counts.keys()].filter(name => !outlines[name]);
    this.entries = [...Object.keys(outlines), ...others].map(name => ({
      text: labels?.names ? `${name} ${counts.get(name) ?? 0}` : name, colour: outlines[name] ? `rgb(${outlines[name].join(" ")})` : null,
    }));
    this.note = note;
    this.element.replaceChildren(...this.entries.map(({text, colour}) => {
      const square = make("span", {class: "square", "aria-hidden": "true"});
      square.style.background = colour;
      return make("span", {}, ...(colour ? [square] : []), text);
    }), make("span", {class: "note-of-scale"}, this.note));
  }

  /** The legend as a saved picture draws it: see save_files.js. */
  get pieces() {
    return [...this.entries.map(({text, colour}) => [...(colour ? [{colour}] : []), {text}]), this.note];
  }
}
