// Saves the grids with their scale bars as a PNG, and an animation that the server draws.

import {make, saveFile} from "./dom.js";
import {requestBlob} from "./requests.js";
import {currentTheme} from "./theme.js";

const GAP = 16; // CSS pixels between grids
const BAR = 26; // CSS pixels of a scale bar below a grid
const MOST_FPS = 50; // image formats cannot show more snapshots a second

/** Save the grids as they are drawn, side by side; throws an error if one of them is not. */
export function savePicture(page) {
  const runs = page.visibleRuns();
  if (!runs.length || runs.some(run => run.parts.some(part => !run.snapshot(part)?.cells))) throw new Error("There is no picture to save at this step.");
  const grids = runs.flatMap(run => page.views.get(run.name).grids);
  const [gap, bar] = [GAP, BAR].map(side => Math.round(side * devicePixelRatio));
  const widths = grids.map(grid => Math.max(grid.canvas.width, ...grid.bars.map(each => Math.ceil(each.widthOfDrawing))));
  const bars = Math.max(...grids.map(grid => grid.bars.length));
  const width = widths.reduce((sum, each) => sum + each, gap * (grids.length - 1));
  const canvas = make("canvas", {width, height: Math.max(...grids.map(grid => grid.canvas.height)) + bars * bar});
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  let left = 0;
  grids.forEach((grid, n) => {
    context.drawImage(grid.canvas, left, 0);
    grid.bars.forEach((each, row) => each.drawInto(context, left, grid.canvas.height + (row + 0.5) * bar));
    left += widths[n] + gap;
  });
  const name = `${fileName(page)}-step-${page.step()}.png`;
  canvas.toBlob(blob => saveFile(blob, name), "image/png");
}

/** Save an animation of all steps, of the first two runs at most. */
export async function saveAnimation(page, ending) {
  const [first, second] = page.visibleRuns();
  if (!first) throw new Error("There is nothing to draw.");
  const {channels, scale, zero_centred, delta, colormap, order, one_scale} = page.look;
  const {numbers} = first;
  const isWhole = numbers.length === first.layer.shape[0];
  const isStored = isWhole && numbers.every((number, n) => number === n);
  // Of two runs each has its own order; of one, it is as it was when it was chosen.
  const chosen = second && isWhole ? {order} : {filters: isStored ? null : numbers.join(",")};
  const animation = await requestBlob("animation", {
    run: first.name, compare: second?.name, layer: first.layer.name, ending, channels, scale,
    zero_centred: zero_centred ? 1 : null, delta, one_scale: second && one_scale ? 1 : null,
    colormap: first.kind === "colour" ? null : colormap, // it has colours of its own
    ...chosen, fps: Math.min(MOST_FPS, page.clock.speed), theme: currentTheme(),
  });
  saveFile(animation, fileName(page) + ending);
}

function fileName(page) {
  return page.look.layer.replaceAll("/", "_");
}
