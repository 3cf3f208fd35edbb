// What one filter answers to, in its view: the patches of the probes that it answers to most, one
// place of its feature map, and its maps of all probes of which maps are kept.

import {CellPainter} from "./cell_pixels.js";
import {formatNumber, make, makeButton, setText} from "./dom.js";
import {dotProduct, fieldOf, firstChannel, mapShapeOf} from "./dot_product.js";
import {GridLayout} from "./grid_layout.js";
import {LayerInputs} from "./layer_inputs.js";
import {middleOfBlock, nearestPlace, pixelAt, PlaceView} from "./place_view.js";
import {describeProbe, drawPicture, fieldAt} from "./probe_pictures.js";
import {ProductView} from "./product_view.js";
import {ResponseCache, rangeOfMaps} from "./response_cache.js";
import {describeReading} from "./run_responses.js";

const SIDE = 44; // CSS pixels of a probe, and of its map
const PATCH = 50; // CSS pixels of a patch
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
    this.inputs = layer.products ? new LayerInputs({run: run.name, layer: layer.name, version: run.made}, () => page.redrawSoon()) : null;
    this.chosen = null; // {probe, y, x} that stays, the strongest place at first
    this.pointed = null; // the same, below the mouse
    this.state = make("p", {class: "state"});
    this.maps = Array.from({length: this.kept}, (_, probe) => new ProbeMap(probe, (index, inMap) => this.chooseInMap(probe, index, inMap)));
    this.patches = Array.from({length: PLACES}, () => new Patch(place => this.choosePatch(place)));
    this.place = new PlaceView((place, isChosen) => this.lookAtPlace(place, isChosen));
    this.product = layer.products ? new ProductView() : null;
    const reason = layer.reason ? make("p", {class: "reading"}, `No products of patch and kernel: ${layer.reason}.`) : null;
    const field = layer.field ? `Strongest patches: ${layer.field.size.join("×")} pixels each` : "Strongest places; the receptive field is unknown: the whole picture";
    const mapless = probes.maps < probes.count ? ". Dashed: of probes without maps" : "";
    this.strongest = make("div", {}, make("p", {class: "reading"}, field + mapless),
      make("div", {class: "patches", role: "group", "aria-label": "Strongest patches"}, ...this.patches.map(each => each.element)));
    this.answers = make("div", {}, make("p", {class: "reading"}, this.kept ? `${describeReading(layer)} Click a place in a map to go to its patch.` : "No maps are kept."),
      make("div", {class: "maps", role: "group", "aria-label": "Maps of the probes"}, ...this.maps.map(each => each.element)));
    this.element = make("section", {class: "answers", "aria-label": "Responses"},
      make("h3", {}, "What it answers to"), this.state, this.strongest, this.place.element, this.product?.element ?? null, reason, this.answers);
  }

  /**
   * Draw a step.
   * @param {number} index of the run's step; -1 before the first one
   * @param {?object} kernel {cells, bias, shape} of the filter at the step; null if it is not loaded
   */
  draw(index, kernel) {
    const {cache, layer} = this;
    const {probes} = this.run;
    this.isPlaying = this.page.clock.isPlaying;
    this.kernel = kernel;
    const snapshot = index < 0 ? {absent: "This run begins later."} : cache.at(this.run.steps[index]);
    this.state.setAttribute("aria-live", this.isPlaying ? "off" : "polite");
    setText(this.state, this.describe(snapshot));
    this.pictures = this.run.picturesOf(layer);
    const known = this.known = snapshot?.cells ? snapshot : null;
    // While a snapshot is loading, the layout stays, and what is of another step is hidden.
    this.isLoading = !snapshot;
    this.element.classList.toggle("loading", this.isLoading);
    if (snapshot) [this.strongest.hidden, this.answers.hidden] = [!known?.places.length, !known];
    this.values = known && cache.decode(known);
    this.range = known && rangeOfMaps(known, this.whole.high, this.page.scale, layer.rectified);
    this.colours = this.page.coloursOfMaps(layer);
    if (snapshot) this.chosen ??= firstPlace(known?.places ?? [], layer, this.kept);
    if (snapshot) this.maps.forEach((each, n) => each.draw(this.pictures, probes, this.mapOf(n), this.isPlaying));
    if (snapshot) this.patches.forEach((each, n) => each.draw(this.pictures, probes, known?.places[n], layer.field, this.chosen, this.isPlaying));
    this.drawPlace();
  }

  /** Draw the place that is looked at. */
  drawPlace() {
    const {layer, isPlaying} = this;
    const isShown = this.known || this.isLoading || this.inputs; // without responses, a first layer's still follow
    const place = isShown ? this.pointed ?? this.chosen : null;
    const input = place && this.inputs?.at(place.probe);
    const field = layer.field ?? (input && this.kernel ? fieldOf(input, this.kernel.shape) : null);
    this.place.draw(place && {
      ...place, picture: this.pictures.at(place.probe), probes: this.run.probes, map: this.isLoading ? undefined : this.mapOf(place.probe),
      field, shape: layer.shape, block: layer.block, value: this.describeValue(place),
    }, isPlaying);
    const isKnown = place && input !== null;
    this.product?.draw(isKnown && input && this.kernel ? this.dotAt(place, input) : isKnown ? undefined : null, isPlaying);
  }

  /** The map of the filter for a probe, as a picture; null if there is none at this step. */
  mapOf(probe) {
    if (!this.known || probe >= this.kept) return null;
    const [height, width] = this.layer.map_shape;
    return {
      cells: this.values.subarray(probe * height * width, (probe + 1) * height * width), height, width,
      range: {low: [this.range.low[probe]], high: [this.range.high[probe]]},
      statistics: this.known.statistics[probe], colours: this.colours,
    };
  }

  /** The dot product at a place, and what it is drawn with. */
  dotAt(place, input) {
    const {cells, shape} = this.kernel;
    const [rows, columns] = mapShapeOf(input, shape);
    const at = [Math.min(place.y, rows - 1), Math.min(place.x, columns - 1)];
    const first = firstChannel(this.number, this.run.layer.shape[0], shape[2], input.shape[2]);
    const {filters, signed} = this.page.colours;
    return {
      ...dotProduct(input, this.kernel, shape, first, at),
      kernel: cells, shape, range: input.range, activation: input.activation, colours: {filters, signed},
      read: this.layer.read, inMap: this.valueInMap(place),
    };
  }

  /**
   * The value of the feature map at a place: {value, precision}; the precision is 0 where the value is
   * stored exactly. Null if it is not stored.
   */
  valueInMap({probe, y, x}) {
    const {known, layer: {block}} = this;
    const exact = known?.places.find(each => each[0] === probe && each[1] === y && each[2] === x);
    if (exact) return {value: exact[3], precision: 0};
    return block === 1 ? this.valueOfBlock({probe, y, x}) : null;
  }

  /** The value of a map in whose block a place is: {value, precision}; null if no map is kept. */
  valueOfBlock({probe, y, x}) {
    const map = this.mapOf(probe);
    if (!map) return null;
    const {block} = this.layer;
    const value = map.cells[Math.floor(y / block) * map.width + Math.floor(x / block)];
    return {value, precision: this.known.reach[probe] / this.known.unit / 2};
  }

  /** The value of the feature map at a place, in words, with its precision. */
  describeValue(place) {
    if (!this.known) return this.isLoading ? ": loading …" : "";
    const own = this.valueInMap(place);
    const found = own ?? this.valueOfBlock(place);
    if (!found) return " (no map of this probe is kept)";
    const precision = found.precision ? ` ± ${formatNumber(found.precision)} (8 bits)` : "";
    const {block} = this.layer;
    return `: ${formatNumber(found.value)}${precision}${own ? "" : `, the largest of its block of ${block}×${block}`}`;
  }

  /** Look at a place of the probe that is looked at; null when the mouse leaves. */
  lookAtPlace(place, isChosen) {
    const probe = (this.pointed ?? this.chosen)?.probe;
    const found = place && {probe, y: place[0], x: place[1]};
    if (isChosen) this.chosen = found;
    this.pointed = isChosen ? null : found;
    if (isChosen) this.draw(this.run.index(), this.kernel);
    else this.drawPlace();
  }

  choosePatch([probe, y, x]) {
    this.choose({probe, y, x});
  }

  /**
   * Choose a place of a probe.
   * @param {number} probe
   * @param {?number[]} position from 0 to 1, down and across: in the map, or in the probe's picture;
   *   null for the strongest place
   */
  chooseInMap(probe, position, inMap) {
    const {shape, field, map_shape} = this.layer;
    const picture = this.pictures.at(probe);
    const pixel = position && !inMap && field && picture?.canvas ? pixelAt(picture.size, position) : null;
    const map = this.mapOf(probe);
    const index = position && inMap ? indexAt(map_shape, position) : map && strongestOf(map, this.layer);
    const place = pixel ? nearestPlace(field, shape, pixel) : index ? middleOfBlock(index, this.layer) : [0, 0];
    this.choose({probe, y: place[0], x: place[1]});
  }

  /** Choose a place; the maps of its probe are shown beside the filters if there are any. */
  choose(place) {
    this.chosen = place;
    this.pointed = null;
    this.draw(this.run.index(), this.kernel);
    if (place.probe < this.run.probes.maps) this.page.chooseProbe(place.probe);
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

/** The strongest place, if possible of a probe with maps; else the middle of the first map. */
function firstPlace(places, {shape}, kept) {
  const middle = [0, ...shape.map(side => Math.floor(side / 2))];
  const [probe, y, x] = places.find(place => place[0] < kept) ?? places[0] ?? middle;
  return {probe, y, x};
}

/** The index of a map's value at a position from 0 to 1 in the square around it. */
function indexAt(mapShape, position) {
  const pixel = pixelAt(mapShape, position) ?? position.map((share, n) => share * mapShape[n]);
  return pixel.map((each, n) => Math.min(mapShape[n] - 1, Math.max(0, Math.floor(each))));
}

/** The index of the largest value of a map, or of the largest magnitude where values may be negative. */
function strongestOf({cells, width}, {rectified}) {
  const size = value => (rectified ? value : Math.abs(value));
  const best = cells.reduce((found, value, n) => (size(value) > size(cells[found]) ? n : found), 0);
  return [Math.floor(best / width), best % width];
}

/** The picture of a probe, and below it the map of the filter's responses. */
class ProbeMap {
  /** @param {function(?number[], boolean)} choose called with the position of a click, and whether it is in the map */
  constructor(probe, choose) {
    this.probe = probe;
    this.picture = make("canvas", {"aria-hidden": "true", class: "checked"});
    this.canvas = make("canvas", {"aria-hidden": "true"});
    this.painter = new CellPainter(this.canvas);
    this.element = makeButton(`probe ${probe}`, this.picture, event => choose(positionIn(event), event.target === this.canvas));
    this.element.append(this.canvas);
  }

  draw(pictures, probes, map, isPlaying) {
    drawPicture(this.picture, SIDE, pictures.at(this.probe));
    this.element.classList.toggle("empty", !map);
    if (map) {
      const {cells, height, width, range, colours} = map;
      const pixels = Math.round(SIDE * devicePixelRatio);
      const key = `${pixels},${height},${width},${colours.separator}`;
      if (key !== this.painter.key) this.painter.resize(new GridLayout(1, height, width, pixels, pixels), colours);
      this.canvas.classList.toggle("strip", height === 1 && width > 1);
      this.painter.key = key;
      this.painter.draw(cells, 1, range, [0], colours);
    }
    if (isPlaying) return;
    const values = map ? `: highest ${formatNumber(map.statistics[0])}, lowest ${formatNumber(map.statistics[1])}, mean ${formatNumber(map.statistics[2])}` : "";
    setLabel(this.element, describeProbe(probes, this.probe) + values);
  }
}

/** The position of a click in the canvas below the mouse, from 0 to 1; null for a key, or beside it. */
function positionIn(event) {
  if (event.detail === 0 || event.target.localName !== "canvas") return null;
  const {left, top, width, height} = event.target.getBoundingClientRect();
  return [(event.clientY - top) / height, (event.clientX - left) / width];
}

/** The patch of a probe at one of the filter's strongest places, and its response there. */
class Patch {
  /** @param {function} choose called with the place of a patch that is clicked */
  constructor(choose) {
    this.canvas = make("canvas", {"aria-hidden": "true", class: "checked"});
    this.text = make("span", {});
    this.element = makeButton("no place", this.canvas, () => choose(this.place));
    this.element.append(this.text);
  }

  draw(pictures, probes, place, field, chosen, isPlaying) {
    this.place = place;
    this.element.classList.toggle("empty", !place);
    if (!place) return;
    const [probe, y, x, value] = place;
    this.element.classList.toggle("mapless", probe >= probes.maps);
    this.element.setAttribute("aria-pressed", String(chosen?.probe === probe && chosen.y === y && chosen.x === x));
    drawPicture(this.canvas, PATCH, pictures.at(probe), fieldAt(field, y, x));
    setText(this.text, formatNumber(value));
    if (!isPlaying) setLabel(this.element, describePlace(probes, place));
  }
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
