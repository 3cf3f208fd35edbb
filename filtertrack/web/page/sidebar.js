// The sidebar: which runs are shown, how, saving, and what the picture shows in words.

import {make, makeButton, makeCheckbox, makeSelect, setEntries, setText} from "./dom.js";
import {hasChannels} from "./look_options.js";

// The texts of choices; a choice without a text is shown by its name.
const TEXTS = {
  scale: {frame: "per filter and step", filter: "per filter", layer: "whole layer"},
  order: {
    stored: "as in the kernel", similarity: "similar filters together", orientation: "direction of edges",
    drift: "farthest from the start", label: "kind (edge, blob, …)",
  },
  colormap: {gray: "grey", RdBu_r: "red – blue", PuOr_r: "purple – orange"},
  delta: {0: "filters", 1: "what was learned"},
};
// What a control does, shown when the mouse is over it.
const EXPLAINED = {
  show: "The filters, what training has added to them since the start, or both",
  scale: "Which weights share a darkest and a lightest value: those of one filter at one step, of one filter over the run, or of the whole layer over the run",
  comparison: "Whether each run has its own scale, or all runs have one",
  colours: "The colours from the lowest value to the highest",
  order: "The order of the filters in the grid",
  channels: "Which input channels are drawn",
  responses: "Show beside each filter its feature map of a probe (key R)",
  zero: "Grey is zero, at the middle between the darkest and the lightest value",
};
const PARTS = [["", "automatic"], ...Object.entries(TEXTS.delta)];
const COMPARISONS = [["", "each run its own"], ["1", "one for all runs"]];
const FORMAT_NAMES = {".webp": "WebP", ".webm": "WebM"};
const FEW_RUNS = 8; // up to which no search box is shown
const MOST_CHANNELS = 512; // listed one by one

export class Sidebar {
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
    const explained = (name, element) => Object.assign(element, {title: EXPLAINED[name]});
    this.runs = make("div", {class: "list"});
    this.search = make("input", {type: "search", placeholder: "find a run", "aria-label": "find a run", oninput: () => this.filterRuns()});
    this.delta = explained("show", makeSelect("show", PARTS, look.delta, change("delta")));
    this.responses = explained("responses", makeCheckbox("responses", look.responses, change("responses")));
    this.channels = explained("channels", makeSelect("channels", [], "", change("channels")));
    this.scale = explained("scale", makeSelect("scale", choices("scale"), look.scale, change("scale")));
    this.comparison = explained("comparison", makeSelect("scale of runs", COMPARISONS, look.one_scale ? "1" : "", value => actions.changeLook({one_scale: value === "1"})));
    this.colormap = explained("colours", makeSelect("colours", choices("colormap"), look.colormap, change("colormap")));
    this.order = explained("order", makeSelect("order", choices("order"), look.order, change("order")));
    this.zeroCentred = explained("zero", makeCheckbox("zero in the middle", look.zero_centred, change("zero_centred")));
    this.about = make("p", {class: "about"});
    this.element = make("aside", {class: "sidebar", id: "sidebar", "aria-label": "Runs and look"},
      section("Runs", this.search, this.runs),
      section("Look", this.delta, this.order, this.scale, this.comparison, this.colormap, this.channels, this.zeroCentred, this.responses),
      section("Save", ...this.makeSaving(settings.formats)),
      section("About this picture", this.about));
  }

  makeSaving(endings) {
    const picture = makeButton("Save the grid as PNG", "Save PNG", () => this.actions.savePicture());
    if (!endings.length) return [picture];
    const format = make("select", {"aria-label": "format of the animation"});
    setEntries(format, endings.map(ending => [ending, FORMAT_NAMES[ending] ?? ending.slice(1).toUpperCase()]), endings[0]);
    const animation = makeButton("Save an animation of all steps", "Save animation", () => this.actions.saveAnimation(format.value));
    return [picture, make("div", {class: "row"}, animation, format)];
  }

  /** List the runs, with those that are shown ticked. */
  listRuns(names, shown) {
    this.search.hidden = names.length <= FEW_RUNS;
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
  show(look, layer, {shown, scale, runs, offersMaps, showsMaps}) {
    this.showChannels(look, layer);
    this.colormap.querySelector("select").disabled = layer.kind === "colour" && look.channels === "" && !showsMaps;
    this.order.querySelector("select").disabled = layer.kind === "matrix";
    this.comparison.hidden = runs.length < 2;
    this.responses.hidden = !offersMaps;
    this.responses.querySelector("input").checked = look.responses;
    const isLearned = !shown.includes(false);
    const zeroCentred = this.zeroCentred.querySelector("input");
    [zeroCentred.checked, zeroCentred.disabled] = [look.zero_centred || isLearned, isLearned];
    setText(this.about, describeLook(layer, look, shown, scale, showsMaps));
  }

  /** Offer the input channels of a layer; where there is no choice, the control is not shown. */
  showChannels(look, layer) {
    const [, , , channels] = layer.shape;
    const single = Array.from({length: layer.kind === "matrix" ? 0 : Math.min(channels, MOST_CHANNELS)}, (_, n) => [String(n), `only channel ${n}`]);
    const usual = {
      grey: "as they are", colour: "red, green, blue", pattern: "strongest pattern", matrix: "matrix", "heat map": "down, positions across",
    }[layer.kind];
    const entries = [["", usual], ["strongest", "strongest pattern"], ...single].filter(([value]) => hasChannels(layer, value));
    this.channels.hidden = entries.length < 2;
    const select = this.channels.querySelector("select");
    const key = JSON.stringify(entries);
    if (select.dataset.entries !== key) setEntries(select, entries, look.channels);
    select.dataset.entries = key;
    select.value = look.channels;
  }
}

function section(title, ...content) {
  return make("section", {"aria-label": title}, make("h2", {}, title), ...content);
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
  return `${about}${channels}${learned} Dark to light: from the lowest weight to the highest, ${textOf("scale", scale)}${centred}. A constant is in the middle; NaN and infinity are magenta.${maps}`;
}
