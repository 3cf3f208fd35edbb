// The controls at the top of the page: runs, layer, look, and saving.

import {make, makeButton, makeCheckbox, makeDropDown, makeSelect, setEntries, setText} from "./dom.js";
import {hasChannels} from "./look_options.js";

// The texts of choices; a choice without a text is shown by its name.
const TEXTS = {
  scale: {frame: "each filter, at each step", filter: "each filter, over the run", layer: "all filters, over the run"},
  order: {
    stored: "as in the kernel", similarity: "like beside like", orientation: "direction of edges",
    drift: "farthest from the start", label: "what they are",
  },
  colormap: {gray: "grey", RdBu_r: "red – blue", PuOr_r: "purple – orange"},
  delta: {0: "filters", 1: "what was learned"},
};
const PARTS = [["", "automatic"], ...Object.entries(TEXTS.delta)];
const FORMAT_NAMES = {".webp": "WebP", ".webm": "WebM"};
const FEW_RUNS = 8; // up to which no search box is shown
const MOST_CHANNELS = 512; // listed one by one

export class LookControls {
  /**
   * @param {object} look the current look: see look_options.js
   * @param {object} settings the answer of /settings
   * @param {object} actions changeLook(changes), chooseRun(name, on), savePicture(), saveAnimation(ending)
   */
  constructor(look, settings, actions) {
    this.actions = actions;
    const change = name => value => actions.changeLook({[name]: value});
    const choices = name => {
      const {choices: given, default: usual} = settings.look[name];
      return [...(usual === null ? [["", "automatic"]] : []), ...given.map(each => [each, textOf(name, each)])];
    };
    const select = (name, label) => makeSelect(label, choices(name), look[name], change(name));
    const checkbox = (name, label) => makeCheckbox(label, look[name], change(name));
    this.runs = make("div", {class: "list"});
    this.search = make("input", {type: "search", placeholder: "find a run", "aria-label": "find a run", oninput: () => this.filterRuns()});
    this.summary = make("summary", {});
    const runs = makeDropDown("runs", this.summary, make("div", {}, this.search, this.runs));
    this.layer = makeSelect("layer", [], "", change("layer"));
    this.channels = makeSelect("channels", [], "", change("channels"));
    this.delta = makeSelect("show", PARTS, look.delta, change("delta"));
    this.scale = select("scale", "dark to light");
    this.responses = checkbox("responses", "responses");
    this.oneScale = checkbox("one_scale", "one scale for all runs");
    this.colormap = select("colormap", "colours");
    this.order = select("order", "order");
    this.zeroCentred = checkbox("zero_centred", "zero in the middle");
    this.pages = make("span", {class: "pages", hidden: true});
    this.format = make("select", {"aria-label": "format of the animation"});
    const formats = settings.formats.map(ending => [ending, FORMAT_NAMES[ending] ?? ending.slice(1).toUpperCase()]);
    setEntries(this.format, formats, settings.formats[0]);
    const animation = [makeButton("Save an animation of all steps", "Save animation", () => actions.saveAnimation(this.format.value)), this.format];
    this.saving = make("span", {class: "save"}, makeButton("Save the grid as PNG", "Save PNG", () => actions.savePicture()),
      ...(formats.length ? animation : []));
    this.about = make("p", {});
    const more = make("button", {type: "button", class: "more", "aria-expanded": "false", onclick: () => {
      const isOpen = this.element.toggleAttribute("data-open");
      more.setAttribute("aria-expanded", String(isOpen));
    }}, "look and save");
    this.element = make("header", {class: "controls"}, runs, this.layer, this.pages, more, this.responses, this.delta, this.channels,
      this.scale, this.oneScale, this.colormap, this.order, this.zeroCentred, this.saving,
      makeDropDown("about", make("summary", {}, "about"), this.about));
  }

  /** List the runs, with those that are shown ticked. */
  listRuns(names, shown) {
    this.search.hidden = names.length <= FEW_RUNS;
    setText(this.summary, shown.length === 1 ? `run: ${shown[0]}` : `${shown.length} runs`);
    const key = JSON.stringify([names, shown]);
    if (key === this.runsKey) return;
    this.runsKey = key;
    const focused = [...this.runs.querySelectorAll("input")].indexOf(document.activeElement);
    this.runs.replaceChildren(...names.map(name => {
      const box = makeCheckbox(name, shown.includes(name), on => this.actions.chooseRun(name, on));
      // At least one run is shown: the last one cannot be unticked.
      box.querySelector("input").disabled = shown.length === 1 && shown[0] === name;
      box.dataset.name = name;
      return box;
    }));
    this.runs.querySelectorAll("input")[focused]?.focus();
    this.filterRuns();
  }

  /** Hide the runs whose names do not contain the text in the search box. */
  filterRuns() {
    const text = this.search.value.toLowerCase();
    for (const each of this.runs.children) each.hidden = !each.dataset.name.toLowerCase().includes(text);
  }

  /**
   * Set the controls to a look, and offer what is possible for its layer.
   * @param {object} drawn what is drawn: `shown` parts, their `scale`, the `runs`, whether responses
   *   can be shown, and whether they are
   */
  show(look, layerNames, layer, {shown, scale, runs, offersMaps, showsMaps}) {
    this.setSelect(this.layer, layerNames.map(each => [each, each]), look.layer);
    const [, , , channels] = layer.shape;
    const single = Array.from({length: layer.kind === "matrix" ? 0 : Math.min(channels, MOST_CHANNELS)}, (_, n) => [String(n), `only channel ${n}`]);
    const usual = {
      grey: "as they are", colour: "red, green, blue", pattern: "strongest pattern", matrix: "matrix", "heat map": "down, positions across",
    }[layer.kind];
    const entries = [["", usual], ["strongest", "strongest pattern"], ...single].filter(([value]) => hasChannels(layer, value));
    this.setSelect(this.channels, entries, look.channels);
    this.colormap.querySelector("select").disabled = layer.kind === "colour" && look.channels === "" && !showsMaps;
    this.order.querySelector("select").disabled = layer.kind === "matrix";
    this.oneScale.hidden = runs.length < 2;
    this.responses.hidden = !offersMaps;
    this.responses.querySelector("input").checked = look.responses;
    const isLearned = !shown.includes(false);
    const zeroCentred = this.zeroCentred.querySelector("input");
    [zeroCentred.checked, zeroCentred.disabled] = [look.zero_centred || isLearned, isLearned];
    setText(this.about, describeLook(layer, look, shown, scale, showsMaps));
    this.showPages(look, layer);
  }

  /** Show which filters are on the page, with buttons for the other pages. */
  showPages(look, layer) {
    const [filters, , , channels] = layer.shape;
    const count = Math.ceil(filters / layer.page_size);
    const cut = layer.cut_channels ? `, input channels 0–${layer.cut_channels - 1} of ${channels}` : "";
    this.pages.hidden = count < 2 && !cut;
    const first = look.page * layer.page_size;
    const turn = by => makeButton(by < 0 ? "Previous filters" : "Next filters", by < 0 ? "‹" : "›",
                                  () => this.actions.changeLook({page: (look.page + by + count) % count}));
    const which = look.order === "stored" ? "filters" : "filters in order";
    const text = make("span", {}, `${which} ${first}–${Math.min(filters, first + layer.page_size) - 1} of ${filters}${cut}`);
    this.pages.replaceChildren(...(count > 1 ? [turn(-1), text, turn(1)] : [text]));
  }

  setSelect(label, entries, value) {
    const select = label.querySelector("select");
    const key = JSON.stringify(entries);
    if (select.dataset.entries !== key) setEntries(select, entries, value);
    select.dataset.entries = key;
    select.value = value;
  }
}

function textOf(option, value) {
  return TEXTS[option][value] ?? value;
}

function describeLook(layer, look, shown, scale, showsMaps) {
  const about = layer.about.split(" Normalised:")[0];
  const channels = look.channels === "" ? "" : look.channels === "strongest"
    ? " Here each is collapsed to its strongest spatial pattern (rank 1)." : ` Here only input channel ${look.channels} is drawn.`;
  const learned = !shown.includes(true) ? ""
    : ` What was learned is the difference from the first snapshot${shown.length > 1 ? ", beside the filters" : ""}: zero is in the middle, and changes of less than one grey level are drawn as none.`;
  const maps = showsMaps ? " Beside each filter is its feature map of the chosen probe: from zero up where responses are never negative, else with zero in the middle." : "";
  const centred = look.zero_centred ? ", zero in the middle" : "";
  return `${about}${channels}${learned} Dark to light: lowest to highest weight of ${textOf("scale", scale)}${centred}. A constant is in the middle; NaN and infinity are magenta.${maps}`;
}
