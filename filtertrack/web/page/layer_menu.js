// The menu of layers with their kernel sizes, the layers before and after, and the pages of a layer
// with many filters.

import {make, makeButton, makeIcon, setText} from "./dom.js";

export class LayerMenu {
  /** @param {object} actions changeLook(changes), stepLayer(offset) */
  constructor(actions) {
    this.actions = actions;
    this.names = []; // in the order of the menu
    this.select = make("select", {"aria-label": "layer", onchange: () => actions.changeLook({layer: this.select.value})});
    this.previous = makeButton("Previous layer (P)", makeIcon("back"), () => actions.stepLayer(-1));
    this.next = makeButton("Next layer (N)", makeIcon("forward"), () => actions.stepLayer(1));
    this.pages = make("span", {class: "pages", hidden: true});
    this.element = make("div", {class: "layer", role: "group", "aria-label": "Layer"}, this.previous, this.select, this.next, this.pages);
  }

  /** List layers, those of 1×1 kernels last, and show which one is drawn, and which page of it. */
  show(look, layers) {
    const large = layers.filter(layer => !isPointwise(layer));
    const small = layers.filter(isPointwise);
    const key = JSON.stringify(layers.map(({name, shape}) => [name, shape]));
    this.names = [...large, ...small].map(({name}) => name);
    if (key !== this.key) {
      this.key = key;
      const smallOnes = large.length ? [make("optgroup", {label: "1×1 kernels"}, ...small.map(makeEntry))] : small.map(makeEntry);
      this.select.replaceChildren(...large.map(makeEntry), ...(small.length ? smallOnes : []));
    }
    this.select.value = look.layer;
    for (const button of [this.previous, this.next]) button.hidden = layers.length < 2;
    this.showPages(look, layers.find(({name}) => name === look.layer));
  }

  /** The name of the layer that is some entries further in the menu. */
  neighbour(name, offset) {
    return this.names[(this.names.indexOf(name) + offset + this.names.length) % this.names.length];
  }

  /** Show which filters are on the page, with buttons for the other pages. */
  showPages(look, layer) {
    const [filters, , , channels] = layer.shape;
    const count = Math.ceil(filters / layer.page_size);
    const cut = layer.cut_channels ? `, input channels 0–${layer.cut_channels - 1} of ${channels}` : "";
    this.pages.hidden = count < 2 && !cut;
    const first = look.page * layer.page_size;
    const which = look.order === "stored" ? "filters" : "filters in order";
    const text = `${which} ${first}–${Math.min(filters, first + layer.page_size) - 1} of ${filters}${cut}`;
    if (this.pages.textContent !== text) {
      const turn = by => makeButton(by < 0 ? "Previous filters" : "Next filters", by < 0 ? "‹" : "›",
                                    () => this.actions.turnPage(by));
      const shown = make("span", {});
      setText(shown, text);
      const focused = [...this.pages.children].indexOf(document.activeElement);
      this.pages.replaceChildren(...(count > 1 ? [turn(-1), shown, turn(1)] : [shown]));
      this.pages.children[focused]?.focus();
    }
  }
}

function isPointwise({shape: [, height, width]}) {
  return height * width === 1;
}

function makeEntry(layer) {
  return make("option", {value: layer.name}, `${layer.name} · ${describeShape(layer)}`);
}

/** The filters of a layer in short: "64 of 7×7×3". */
export function describeShape({shape: [filters, height, width, channels], slices}) {
  const sizes = slices > 1 ? [slices, height, width / slices] : [height, width];
  return `${filters} of ${[...sizes, channels].join("×")}`;
}
