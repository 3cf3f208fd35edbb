// What the user chooses with: runs, layer, look; and saving.

import {button, choice, dropDown, fill, make, toggle, write} from "./dom.js";

const SCALES = [
  ["frame", "each filter, at each step"],
  ["filter", "each filter, over the run"],
  ["layer", "all filters, over the run"],
];
const ORDERS = {
  stored: "as in the kernel", similarity: "like beside like", orientation: "direction of edges",
  drift: "farthest from the start", label: "what they are",
};
const MAPS = {gray: "grey", RdBu_r: "red – blue", PuOr_r: "purple – orange"};
const FORMATS = [[".gif", "GIF"], [".webp", "WebP"], [".png", "PNG"], [".mp4", "MP4"]];
const SEARCHABLE = 8;

export class Controls {
  /**
   * @param {object} look what is chosen now; see look.js
   * @param {object} settings of the server
   * @param {object} on what to do: look(changes), run(name, on), savePicture(), saveAnimation(ending)
   */
  constructor(look, settings, on) {
    Object.assign(this, {look, on});
    const change = name => value => on.look({[name]: value});
    this.runs = make("div", {class: "list"});
    this.search = make("input", {type: "search", placeholder: "find a run", "aria-label": "find a run", oninput: () => this.sift()});
    this.summary = make("summary", {});
    const runs = dropDown("runs", this.summary, make("div", {}, this.search, this.runs));
    this.layer = choice("layer", [], "", change("layer"));
    this.channels = choice("channels", [], "", change("channels"));
    this.scale = choice("dark to light", SCALES, look.scale, change("scale"));
    this.colormap = choice("colours", settings.colormaps.map(each => [each, MAPS[each] ?? each]), look.colormap, change("colormap"));
    this.order = choice("order", settings.orders.map(each => [each, ORDERS[each] ?? each]), look.order, change("order"));
    this.centred = toggle("zero in the middle", look.centred, change("centred"));
    this.delta = toggle("difference from the start", look.delta, change("delta"));
    this.pages = make("span", {class: "pages", hidden: true});
    this.format = make("select", {"aria-label": "format of the animation"});
    fill(this.format, FORMATS, ".gif");
    this.saving = make("span", {class: "save"},
      button("Save the grid as PNG", "Save PNG", () => on.savePicture()),
      button("Save an animation of all steps", "Save animation", () => on.saveAnimation(this.format.value)), this.format);
    this.about = make("p", {});
    const more = make("button", {type: "button", class: "more", "aria-expanded": "false", onclick: () => {
      const open = this.element.toggleAttribute("data-open");
      more.setAttribute("aria-expanded", String(open));
    }}, "look and save");
    this.element = make("header", {class: "controls"}, runs, this.layer, this.pages, more, this.channels, this.scale,
      this.colormap, this.order, this.centred, this.delta, this.saving,
      dropDown("about", make("summary", {}, "about"), this.about));
  }

  /** List the runs there are, those chosen ticked. */
  listRuns(names, chosen) {
    this.search.hidden = names.length <= SEARCHABLE;
    write(this.summary, chosen.length === 1 ? `run: ${chosen[0]}` : `${chosen.length} runs`);
    const key = JSON.stringify([names, chosen]);
    if (key === this.listed) return;
    this.listed = key;
    const at = [...this.runs.querySelectorAll("input")].indexOf(document.activeElement);
    this.runs.replaceChildren(...names.map(name => {
      const box = toggle(name, chosen.includes(name), on => this.on.run(name, on));
      // One run is always shown: the last one cannot be taken away.
      box.querySelector("input").disabled = chosen.length === 1 && chosen[0] === name;
      box.dataset.name = name;
      return box;
    }));
    this.runs.querySelectorAll("input")[at]?.focus();
    this.sift();
  }

  sift() {
    const text = this.search.value.toLowerCase();
    for (const each of this.runs.children) each.hidden = !each.dataset.name.toLowerCase().includes(text);
  }

  /** Show what can be chosen of a layer. */
  show(look, layers, layer) {
    this.set(this.layer, layers.map(each => [each, each]), look.layer);
    const [filters, , , channels] = layer.shape;
    const single = Array.from({length: layer.kind === "matrix" ? 0 : Math.min(channels, 512)}, (_, n) => [String(n), `only channel ${n}`]);
    const natural = {grey: "as they are", colour: "red, green, blue", pattern: "strongest pattern", matrix: "matrix"}[layer.kind];
    const all = [["", natural], ...(layer.kind === "colour" ? [["strongest", "strongest pattern"]] : []), ...(channels > 1 ? single : [])];
    this.set(this.channels, all, look.channels);
    this.colormap.querySelector("select").disabled = layer.kind === "colour" && look.channels === "";
    this.order.querySelector("select").disabled = layer.kind === "matrix";
    this.scale.querySelector("select").value = look.scale;
    const centred = this.centred.querySelector("input");
    [centred.checked, centred.disabled] = [look.centred || look.delta, look.delta];
    write(this.about, describe(layer, look));
    this.page(look, filters, layer);
  }

  page(look, filters, layer) {
    const count = Math.ceil(filters / layer.page);
    const cut = layer.cutChannels ? `, input channels 0–${layer.cutChannels - 1} of ${layer.shape[3]}` : "";
    this.pages.hidden = count < 2 && !cut;
    const first = look.page * layer.page;
    const turn = by => button(by < 0 ? "Previous filters" : "Next filters", by < 0 ? "‹" : "›", () => this.on.look({page: (look.page + by + count) % count}));
    const which = look.order === "stored" ? "filters" : "filters in order";
    const text = make("span", {}, `${which} ${first}–${Math.min(filters, first + layer.page) - 1} of ${filters}${cut}`);
    this.pages.replaceChildren(...(count > 1 ? [turn(-1), text, turn(1)] : [text]));
  }

  set(label, entries, value) {
    const select = label.querySelector("select");
    const key = JSON.stringify(entries);
    if (select.dataset.entries !== key) fill(select, entries, value);
    select.dataset.entries = key;
    select.value = value;
  }
}

function describe(layer, look) {
  const scale = SCALES.find(([value]) => value === look.scale)[1];
  const about = layer.about.split(" Normalised:")[0];
  const drawn = look.channels === "" ? "" : look.channels === "strongest"
    ? " Here each is collapsed to its strongest spatial pattern (rank 1)." : ` Here only input channel ${look.channels} is drawn.`;
  const delta = look.delta ? " Drawn is the difference from the first snapshot." : "";
  const centred = look.centred || look.delta ? ", zero in the middle" : "";
  return `${about}${drawn}${delta} Dark to light: lowest to highest weight of ${scale}${centred}. A constant is in the middle; NaN and infinity are magenta.`;
}
