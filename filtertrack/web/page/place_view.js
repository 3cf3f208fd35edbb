// One place of a filter's feature map: the whole probe with the receptive field framed, and the map
// with the place framed. Mouse and arrow keys choose another place.

import {arrowOffset, CellCanvas} from "./cell_canvas.js";
import {make, setText} from "./dom.js";
import {describeProbe, drawPicture, fieldAt} from "./probe_pictures.js";

const SIDE = 144; // CSS pixels of the probe, and of the map

export class PlaceView {
  /** @param {function(number[], boolean)} look called with a row and a column of the feature map, and
   *   whether the place is chosen; with null when the mouse leaves */
  constructor(look) {
    this.look = look;
    this.picture = make("canvas", {class: "checked"});
    this.map = new CellCanvas(Infinity);
    this.pictureFrame = make("span", {class: "frame"});
    this.mapFrame = make("span", {class: "frame"});
    this.inPicture = this.makeSpot("The probe", event => this.placeInPicture(event), this.picture, this.pictureFrame);
    this.inMap = this.makeSpot("The map", event => this.placeInMap(event), this.map.element, this.mapFrame);
    this.text = make("p", {class: "reading place"});
    this.element = make("div", {class: "framed", hidden: true}, make("div", {class: "pair"}, this.inPicture, this.inMap), this.text);
  }

  makeSpot(name, placeAt, ...children) {
    const choose = (event, isChosen) => {
      const place = placeAt(event);
      if (place) this.look(place, isChosen);
    };
    return make("div", {
      class: "spot", tabindex: "0", role: "img", "aria-label": `${name}. Arrow keys choose another place.`,
      title: `${name}: point at a place, click to stay there, or use the arrow keys`,
      onmousemove: event => choose(event, false), onclick: event => choose(event, true),
      onmouseleave: () => this.look(null, false), onkeydown: event => this.moveWithKeys(event),
    }, ...children);
  }

  /**
   * Show a place.
   * @param {object} shown {probe, y, x} the place; {picture, probes} of the run; {field, shape, block}
   *   of the layer; {map} as CellCanvas draws it: {cells, height, width, range, colours}; null if there is none, undefined
   *   while it is loaded;
   *   {value} in words
   * @param {boolean} isPlaying whether texts are not read aloud
   */
  draw(shown, isPlaying) {
    this.element.hidden = !shown;
    this.shown = shown;
    if (!shown) return;
    const {probe, y, x, picture, probes, map, field, block, value} = shown;
    this.inPicture.hidden = picture?.canvas === null;
    drawPicture(this.picture, SIDE, picture);
    const part = fieldAt(field, y, x);
    this.pictureFrame.hidden = !part || !picture?.canvas;
    if (!this.pictureFrame.hidden) Object.assign(this.pictureFrame.style, framePosition(picture.size, part));
    this.inMap.classList.toggle("absent", map === undefined);
    if (map !== undefined) this.inMap.hidden = !map;
    if (map) {
      this.map.draw(SIDE, {...map, channels: 1}, map.cells, 0, map.range, map.colours);
      this.showMapFrame([y, x].map(index => Math.floor(index / block)));
    }
    this.text.setAttribute("aria-live", isPlaying ? "off" : "polite");
    setText(this.text, `${describeProbe(probes, probe)}, row ${y}, column ${x}${value}`);
  }

  showMapFrame([row, column]) {
    const {gap, scale, totalWidth, totalHeight} = this.map.painter.layout;
    const percent = (part, whole) => `${(100 * part) / whole}%`;
    Object.assign(this.mapFrame.style, {
      left: percent(gap + column * scale, totalWidth), top: percent(gap + row * scale, totalHeight),
      width: percent(scale, totalWidth), height: percent(scale, totalHeight),
    });
  }

  /** The place whose receptive field has its middle nearest to the mouse; null if that is not known. */
  placeInPicture(event) {
    const {picture, field, shape} = this.shown;
    if (!picture?.canvas || !field) return null;
    const box = this.picture.getBoundingClientRect();
    const pixel = pixelAt(picture.size, [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]);
    return pixel && nearestPlace(field, shape, pixel);
  }

  placeInMap(event) {
    const found = this.map.at(event);
    return found && middleOfBlock(found, this.shown);
  }

  moveWithKeys(event) {
    const offset = arrowOffset(event);
    if (!offset) return;
    event.preventDefault();
    event.stopPropagation();
    const {y, x, shape} = this.shown;
    this.look([y, x].map((index, n) => Math.min(shape[n] - 1, Math.max(0, index + offset[n]))), true);
  }
}

/** The pixel at a position in a square in whose middle a picture is drawn; null beside the picture. */
export function pixelAt(size, [down, across]) {
  const side = Math.max(...size);
  const pixel = [down, across].map((share, n) => share * side - (side - size[n]) / 2);
  return pixel.every((each, n) => each >= 0 && each < size[n]) ? pixel : null;
}

/** The place whose receptive field has its middle nearest to a pixel. */
export function nearestPlace({size, strides, offsets}, shape, pixel) {
  return pixel.map((each, n) => {
    const index = strides[n] ? Math.round((each - offsets[n] - size[n] / 2) / strides[n]) : 0;
    return Math.min(shape[n] - 1, Math.max(0, index));
  });
}

/** The place in the middle of the block that a value of a map was shrunk from. */
export function middleOfBlock(index, {block, shape}) {
  return index.map((each, n) => Math.min(shape[n] - 1, each * block + Math.floor(block / 2)));
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
