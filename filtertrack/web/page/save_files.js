// Saves the grids as a PNG, and an animation that the server draws.

import {make, saveFile} from "./dom.js";
import {requestBlob} from "./requests.js";
import {currentTheme} from "./theme.js";

const GAP = 16; // pixels between grids
const MOST_FPS = 50; // image formats cannot show more snapshots a second

/** Save the grids as they are drawn; throws an error if one of them is not. */
export function savePicture(page) {
  const runs = page.visibleRuns();
  if (!runs.length || runs.some(run => !run.snapshot()?.cells)) throw new Error("There is no picture to save at this step.");
  const canvases = runs.map(run => page.grids.get(run.name).canvas);
  const width = canvases.reduce((sum, each) => sum + each.width, GAP * (canvases.length - 1));
  const canvas = make("canvas", {width, height: Math.max(...canvases.map(each => each.height))});
  const context = canvas.getContext("2d");
  let left = 0;
  for (const each of canvases) {
    context.drawImage(each, left, 0);
    left += each.width + GAP;
  }
  const name = `${fileName(page)}-step-${page.step()}.png`;
  canvas.toBlob(blob => saveFile(blob, name), "image/png");
}

/** Save an animation of all steps, of the first two runs at most. */
export async function saveAnimation(page, ending) {
  const [first, second] = page.visibleRuns();
  if (!first) throw new Error("There is nothing to draw.");
  const {channels, scale, zero_centred, delta, colormap} = page.look;
  const isAll = page.numbers.length === first.layer.shape[0] && page.numbers.every((number, n) => number === n);
  const animation = await requestBlob("animation", {
    run: first.name, compare: second?.name, layer: first.layer.name, ending, channels, scale,
    zero_centred: zero_centred ? 1 : null, delta: delta ? 1 : null,
    colormap: first.kind === "colour" ? null : colormap, // it has colours of its own
    filters: isAll ? null : page.numbers.join(","), fps: Math.min(MOST_FPS, page.clock.speed), theme: currentTheme(),
  });
  saveFile(animation, fileName(page) + ending);
}

function fileName(page) {
  return page.look.layer.replaceAll("/", "_");
}
