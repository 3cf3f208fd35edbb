// The pictures of a run's probes that are loaded in the browser, and the parts of them that are drawn.

import {AnswerCache} from "./answer_cache.js";
import {make} from "./dom.js";
import {requestProbe} from "./requests.js";

const MOST_PICTURES = 128; // kept in memory
const drawn = new WeakMap(); // canvas -> what drawPicture has drawn in it

/** Pictures by the number of the probe: {canvas, size}, with a canvas of null if it is no picture. */
export class ProbePictures extends AnswerCache {
  /**
   * @param {object} query of /probe: run, input, version
   * @param {function} changed as of AnswerCache
   */
  constructor(query, changed) {
    super(async probe => readPicture(await requestProbe({...query, probe})), changed, MOST_PICTURES);
  }
}

function readPicture({size, shape, arrays}) {
  return {canvas: shape && makePicture(shape, arrays[0]), size};
}

function makePicture([height, width], colours) {
  const canvas = make("canvas", {width, height});
  const pixels = new Uint8ClampedArray(4 * height * width).fill(255);
  for (let n = 0; n < height * width; n++) pixels.set(colours.subarray(3 * n, 3 * n + 3), 4 * n);
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

/**
 * Draw a part of a picture into a square canvas; what is outside of the picture stays transparent.
 * @param {HTMLCanvasElement} canvas
 * @param {number} side of the canvas in CSS pixels
 * @param {?object} picture {canvas, size}; undefined for an empty canvas
 * @param {?object} part {top, left, height, width} in the probe's pixels; null for the whole picture
 */
export function drawPicture(canvas, side, picture, part = null) {
  const pixels = Math.round(side * devicePixelRatio);
  const key = JSON.stringify([pixels, part]);
  const before = drawn.get(canvas);
  if (before && before.picture === picture && before.key === key) return;
  drawn.set(canvas, {picture, key});
  if (canvas.width !== pixels || canvas.height !== pixels) canvas.width = canvas.height = pixels;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, pixels, pixels);
  if (!picture?.canvas) return;
  const [height, width] = picture.size;
  const shown = part ?? {top: 0, left: 0, height, width};
  const scale = pixels / Math.max(shown.height, shown.width);
  const [marginX, marginY] = [shown.width, shown.height].map(each => (pixels - each * scale) / 2);
  context.imageSmoothingEnabled = scale < 1;
  context.save();
  context.beginPath();
  context.rect(marginX, marginY, shown.width * scale, shown.height * scale);
  context.clip();
  context.drawImage(picture.canvas, marginX - shown.left * scale, marginY - shown.top * scale, width * scale, height * scale);
  context.restore();
}

/** The part of a probe that a value of a feature map depends on; null if it is not known. */
export function fieldAt(field, y, x) {
  if (!field) return null;
  const [height, width] = field.size;
  const [top, left] = [y, x].map((place, n) => place * field.strides[n] + field.offsets[n]);
  return {top, left, height, width};
}

/** A probe in words: "probe 3", with its class if there are labels. */
export function describeProbe({labels}, probe) {
  const label = labels?.[probe];
  return `probe ${probe}${label === null || label === undefined ? "" : `, class ${label}`}`;
}

/** The numbers of the probes that can be chosen, in words. */
export function describeChoice({count, maps}) {
  if (count === 1) return "the only probe";
  return maps < count ? `0 to ${maps - 1} of ${count} have maps` : `0 to ${count - 1}`;
}
