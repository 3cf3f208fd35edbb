// What is shown, as files.

import {make, save} from "./dom.js";
import {askBlob} from "./requests.js";
import {theme} from "./theme.js";

const BESIDE = 16; // pixels between grids
const FASTEST = 50; // snapshots a second: more, no picture format shows

/** Save the grids as they are drawn; throws where one of them is not. */
export function savePicture(page) {
  const runs = page.shown();
  if (!runs.length || runs.some(run => !run.snapshot()?.cells)) throw new Error("There is no picture to save at this step.");
  const canvases = runs.map(run => page.views.get(run.name).canvas);
  const width = canvases.reduce((sum, each) => sum + each.width, BESIDE * (canvases.length - 1));
  const canvas = make("canvas", {width, height: Math.max(...canvases.map(each => each.height))});
  const context = canvas.getContext("2d");
  let left = 0;
  for (const each of canvases) {
    context.drawImage(each, left, 0);
    left += each.width + BESIDE;
  }
  const name = `${fileName(page)}-step-${page.step()}.png`;
  canvas.toBlob(blob => save(blob, name), "image/png");
}

/** Let the server draw an animation of all steps, of the first two runs at most, and save it. */
export async function saveAnimation(page, ending) {
  const [first, second] = page.shown();
  if (!first) throw new Error("There is nothing to draw.");
  const {channels, scale, centred, delta, colormap} = page.look;
  const whole = page.numbers.length === first.layer.shape[0] && page.numbers.every((number, n) => number === n);
  const drawn = await askBlob("animation", {
    run: first.name, compare: second?.name, layer: first.layer.name, ending, channels, scale,
    zero_centred: centred ? 1 : null, delta: delta ? 1 : null,
    colormap: first.kind === "colour" || colormap === "gray" ? null : colormap,
    filters: whole ? null : page.numbers.join(","), fps: Math.min(FASTEST, page.player.speed), theme: theme(),
  });
  save(drawn, fileName(page) + ending);
}

function fileName(page) {
  return page.look.layer.replaceAll("/", "_");
}
