// What one filter answers to, in its view: the patches of the probes that it answers to most, one of
// them in its whole probe, and the filter's maps of all probes of which maps are kept.

import {CellPainter} from "./cell_pixels.js";
import {formatNumber, make, makeButton, setText} from "./dom.js";
import {GridLayout} from "./grid_layout.js";
import {describeProbe, drawPicture, fieldAt} from "./probe_pictures.js";
import {ResponseCache, rangeOfMaps} from "./response_cache.js";
import {describeReading} from "./run_responses.js";

const SIDE = 44; // CSS pixels of a probe, and of its map
const PATCH = 50; // CSS pixels of a patch
const WHOLE = 160; // CSS pixels of the probe in which a patch is framed
const PLACES = 9; // strongest places that are kept of each filter
const MOST_MAPS = 64; // probes in one request, at most

export class FilterResponses {
  /**
   * @param {RunData} run
   * @param {object} layer what is read of it: see ProbedLayerSummary in probe_answers.py
   * @param {Page} page
   * @param {number} number of the filter
   */
  constructor(run, layer, page, number) {
    Object.assign(this, {run, layer, page, number});
    const {probes} = run;
    this.kept = Math.min(probes.maps, MOST_MAPS);
    const kept = this.kept ? `0-${this.kept - 1}` : "";
    this.cache = new ResponseCache({run: run.name, layer: layer.name, filters: number, probes: kept}, () => page.redrawSoon());
    this.state = make("p", {class: "state"});
    this.maps = Array.from({length: this.kept}, (_, probe) => new ProbeMap(probe, page));
    this.patches = Array.from({length: PLACES}, (_, rank) => new Patch(() => this.choosePatch(rank)));
    this.rank = null; // of the patch that is framed in its probe
    this.framed = new FramedPatch();
    const field = layer.field ? `Strongest patches: ${layer.field.size.join("×")} pixels each` : "Strongest places; the receptive field is unknown: the whole picture";
    const mapless = probes.maps < probes.count ? ". Dashed: of probes without maps" : "";
    this.strongest = make("div", {}, make("p", {class: "reading"}, field + mapless),
      make("div", {class: "patches", role: "group", "aria-label": "Strongest patches"}, ...this.patches.map(each => each.element)),
      this.framed.element);
    this.answers = make("div", {}, make("p", {class: "reading"}, this.kept ? describeReading(layer) : "No maps are kept."),
      make("div", {class: "maps", role: "group", "aria-label": "Maps of the probes"}, ...this.maps.map(each => each.element)));
    this.element = make("section", {class: "answers", "aria-label": "Responses"},
      make("h3", {}, "What it answers to"), this.state, this.strongest, this.answers);
    this.update();
  }

  /** Take over the steps of the run. */
  update() {
    const {steps, stamps, version} = this.run;
    if (version === this.version) return;
    this.version = version;
    this.cache.wanted = Math.max(0, this.run.index());
    this.cache.update(steps, stamps);
  }

  close() {
    this.cache.stop();
  }

  draw() {
    const index = this.run.index();
    this.update();
    this.cache.lookAt(index);
    const snapshot = index < 0 ? {absent: "This run begins later."} : this.cache.at(this.run.steps[index]);
    this.state.setAttribute("aria-live", this.page.clock.isPlaying ? "off" : "polite");
    setText(this.state, this.describe(snapshot));
    const pictures = this.run.picturesOf(this.layer);
    const known = snapshot?.cells ? snapshot : null;
    // While a snapshot is loading, the layout stays.
    if (snapshot) [this.strongest.hidden, this.answers.hidden] = [!known?.places.length, !known];
    const values = known && this.cache.decode(known);
    const range = known && rangeOfMaps(known, this.whole.high, this.page.scale, this.layer.rectified);
    const [height, width] = this.layer.map_shape;
    const colours = this.page.coloursOfMaps(this.layer);
    const {probes} = this.run;
    this.maps.forEach((each, n) => each.draw(pictures, probes, known && {
      cells: values.subarray(n * height * width, (n + 1) * height * width), height, width,
      range: {low: [range.low[n]], high: [range.high[n]]}, statistics: known.statistics[n],
    }, colours));
    this.patches.forEach((each, n) => each.draw(pictures, probes, known?.places[n], this.layer.field, n === this.rank));
    this.framed.draw(pictures, probes, this.rank === null ? null : known?.places[this.rank], this.layer.field);
  }

  /** Frame a patch in its probe, or no longer; the maps of the probe are shown if there are any. */
  choosePatch(rank) {
    this.rank = rank === this.rank ? null : rank;
    this.draw();
    const {place} = this.patches[rank];
    if (this.rank !== null && place && place[0] < this.run.probes.maps) this.page.chooseProbe(place[0]);
  }

  /** The range of all maps over the run: of all filters that are shown, where they have one scale. */
  get whole() {
    const shown = this.page.scale === "layer" ? this.run.responses?.cache : null;
    return shown?.range ?? this.cache.range;
  }

  /** The state of the filter in words. */
  describe(snapshot) {
    const {count} = this.run.probes;
    if (!snapshot) return "loading …";
    if (!snapshot.cells) return snapshot.absent ?? `cannot be read: ${snapshot.damaged}`;
    if (snapshot.silent[0]) return count === 1 ? "silent: did not answer to the only probe" : `silent: answered to none of ${count} probes`;
    const [strongest] = snapshot.places;
    return strongest ? `strongest: ${formatNumber(strongest[3])}, to ${describeProbe(this.run.probes, strongest[0])}` : `${count} probes`;
  }
}

/** The picture of a probe, and below it the map of the filter's responses. */
class ProbeMap {
  constructor(probe, page) {
    this.probe = probe;
    this.picture = make("canvas", {"aria-hidden": "true", class: "checked"});
    this.canvas = make("canvas", {"aria-hidden": "true"});
    this.painter = new CellPainter(this.canvas);
    this.element = makeButton(`probe ${probe}`, this.picture, () => page.chooseProbe(probe));
    this.element.append(this.canvas);
  }

  draw(pictures, probes, map, colours) {
    drawPicture(this.picture, SIDE, pictures.at(this.probe));
    this.element.classList.toggle("empty", !map);
    if (map) {
      const {cells, height, width, range} = map;
      const pixels = Math.round(SIDE * devicePixelRatio);
      const key = `${pixels},${height},${width},${colours.separator}`;
      if (key !== this.painter.key) this.painter.resize(new GridLayout(1, height, width, pixels, pixels), colours);
      this.canvas.classList.toggle("strip", height === 1 && width > 1);
      this.painter.key = key;
      this.painter.draw(cells, 1, range, [0], colours);
    }
    const values = map ? `: highest ${formatNumber(map.statistics[0])}, lowest ${formatNumber(map.statistics[1])}, mean ${formatNumber(map.statistics[2])}` : "";
    setLabel(this.element, describeProbe(probes, this.probe) + values);
  }
}

/** The patch of a probe at one of the filter's strongest places, and its response there. */
class Patch {
  /** @param {function} choose called when the patch is clicked */
  constructor(choose) {
    this.canvas = make("canvas", {"aria-hidden": "true", class: "checked"});
    this.text = make("span", {});
    this.element = makeButton("no place", this.canvas, choose);
    this.element.append(this.text);
  }

  draw(pictures, probes, place, field, isChosen) {
    this.place = place;
    this.element.classList.toggle("empty", !place);
    if (!place) return;
    const [probe, y, x, value] = place;
    this.element.classList.toggle("mapless", probe >= probes.maps);
    this.element.setAttribute("aria-pressed", String(isChosen));
    drawPicture(this.canvas, PATCH, pictures.at(probe), fieldAt(field, y, x));
    setText(this.text, formatNumber(value));
    setLabel(this.element, describePlace(probes, place));
  }
}

/** A whole probe, with a frame around one of the filter's strongest places. */
class FramedPatch {
  constructor() {
    this.canvas = make("canvas", {role: "img"});
    this.frame = make("span", {class: "frame"});
    this.text = make("p", {class: "reading"});
    this.element = make("div", {class: "framed", hidden: true}, make("div", {}, this.canvas, this.frame), this.text);
  }

  draw(pictures, probes, place, field) {
    this.element.hidden = !place;
    if (!place) return;
    const [probe, y, x] = place;
    const picture = pictures.at(probe);
    drawPicture(this.canvas, WHOLE, picture);
    const text = describePlace(probes, place);
    this.canvas.setAttribute("aria-label", text);
    setText(this.text, text);
    const part = fieldAt(field, y, x);
    this.frame.hidden = !part || !picture?.canvas;
    if (!this.frame.hidden) Object.assign(this.frame.style, framePosition(picture.size, part));
  }
}

/** The position of a part of a picture that is drawn in the middle of a square, in percent of its side. */
function framePosition([height, width], {top, left, height: rows, width: columns}) {
  const side = Math.max(height, width);
  const percent = pixels => `${(100 * pixels) / side}%`;
  return {
    left: percent(left + (side - width) / 2), top: percent(top + (side - height) / 2),
    width: percent(columns), height: percent(rows),
  };
}

function describePlace(probes, [probe, y, x, value]) {
  const mapless = probe < probes.maps ? "" : " (no map of this probe is kept)";
  return `${describeProbe(probes, probe)}, row ${y}, column ${x}: ${formatNumber(value)}${mapless}`;
}

function setLabel(element, text) {
  if (element.title === text) return;
  element.title = text;
  element.setAttribute("aria-label", text);
}
