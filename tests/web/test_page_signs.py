"""The signs of strongest patterns equal the renderer's."""

import numpy as np
import pytest

from filtertrack import Moment, Snapshot
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.picture_parts import part_of
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.look import Look

LAST = 11

# Counts, whenever the grid is drawn, the pixels that the last drawing of the same step had not.
FLIPS = """() => {
  const figure = document.querySelector("figure.grid");
  const canvas = figure.querySelector("canvas");
  const drawn = {};
  window.changed = {};
  new MutationObserver(() => {
    const step = figure.dataset.drawn;
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const now = data.join();
    if (drawn[step] && drawn[step] !== now) window.changed[step] = (window.changed[step] ?? 0) + 1;
    drawn[step] = now;
    window.rounds = (window.rounds ?? 0) + 1;
  }).observe(figure, {attributes: true, attributeFilter: ["data-drawn"]});
}"""


def crossing(info, rng):
    """Return kernels of 4 channels whose sum crosses zero, in other filters at other steps."""
    height, width, channels, filters = info.kernel_shape
    pattern = rng.normal(size=(height, width, 1, filters))
    weights = rng.normal(size=(1, 1, channels, filters))
    weights -= weights.mean(axis=2, keepdims=True)
    kernels = []
    for step in range(LAST + 1):
        tilt = 0.2 * np.cos(2 * step + 3 * np.arange(filters))
        noise = 0.05 * rng.normal(size=info.kernel_shape)
        kernels.append((pattern * (weights + tilt) + noise).astype("float32"))
    return kernels


def steps_of_other_signs(run):
    """Return the steps at which a pattern alone has another sign than in the run."""
    layer = LayerCells(run, "deep", run.steps, part_of(Look(delta=False)))
    view = view_of(layer.info)
    alone = [to_cells(view, run.kernels("deep", step)) for step in run.steps]
    aligned = layer.walk(range(len(run.steps)))
    pairs = zip(run.steps, alone, aligned, strict=True)
    return [step for step, one, other in pairs if (one != other).any()]


@pytest.fixture
def info(conv_info):
    return conv_info("deep", (3, 3, 4, 9), bias=False)


def check(tab, logs, run, step, **look):
    """Compare both parts with the renderer's pictures."""
    for number, delta in enumerate((False, True)):
        look = {"scale": "filter", **look}
        tab.shows(tab.canvas.nth(number), logs.picture([run], "deep", step, delta=delta, **look))


def test_signs_follow_the_last_snapshot(logs, open_tab, rng, info):
    """In both parts and whatever step is opened first; the signs of single snapshots differ."""
    run = logs.write_kernels("z_signs", info, crossing(info, rng))
    assert len(steps_of_other_signs(run)) > 3
    for first in (0, LAST, 5):
        tab = open_tab().go(logs.address, runs='["z_signs"]', step=first).drawn(first).loaded()
        for step in (first, 3, LAST):
            tab.at.get_by_role("slider").fill(str(step))
            check(tab, logs, run, step)
    for scale in ("layer", "frame", "filter"):
        tab.choice("scale").select_option(scale)
        check(tab, logs, run, LAST, scale=scale)
        tab.at.get_by_role("slider").fill("2")
        check(tab, logs, run, 2, scale=scale)
        tab.at.get_by_role("slider").fill(str(LAST))


def test_signs_skip_damaged_snapshots(logs, open_tab, rng, info):
    """As the renderer does."""
    run = logs.write_kernels("z_signs_damaged", info, crossing(info, rng))
    for step in (4, 5, LAST):
        logs.damage(run.file(step))
    steps = [step for step in run.steps if step not in (4, 5, LAST)]
    tab = open_tab().go(logs.address, runs='["z_signs_damaged"]', step=0).drawn(0).loaded()
    for step in (0, 3, 6):
        tab.at.get_by_role("slider").fill(str(step))
        check(tab, logs, run, step, steps=steps)


def test_a_new_snapshot_changes_no_sign_while_playing(logs, open_tab, rng, info):
    """No step is drawn with two signs; once playback is paused, signs are the renderer's."""
    kernels = crossing(info, rng)
    run = logs.write_kernels("z_signs_live", info, kernels)
    tab = open_tab().poll_often().go(logs.address, runs='["z_signs_live"]', scale="frame")
    tab.drawn(LAST).loaded()
    tab.choice("speed").select_option("60")
    tab.frame.evaluate(FLIPS)
    tab.button("Play").click()
    for step in range(LAST + 1, LAST + 5):
        kernel = kernels[step % 7] * (-1 if step % 2 else 1)  # its patterns alone have other signs
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
        tab.says(".when", f"of {step + 1}")
        rounds = tab.frame.evaluate("window.rounds")
        tab.frame.wait_for_function(f"window.rounds > {rounds + 40}")
    assert tab.frame.evaluate("window.changed") == {}
    tab.button("Pause").click()
    for step in (2, 7, LAST + 4):
        tab.at.get_by_role("slider").fill(str(step))
        check(tab, logs, run, step, scale="frame")


def test_signs_of_a_run_larger_than_the_cache(logs, open_tab, rng, info):
    """Once every step was loaded they are the renderer's, also where cells are loaded again."""
    run = logs.write_kernels("z_signs_large", info, [*crossing(info, rng) * 6])
    tab = open_tab().set_constants("step_cache.js", MOST_BYTES="30e3")
    tab.go(logs.address, runs='["z_signs_large"]', scale="frame").drawn(71)
    assert "of 72 steps loaded" in tab.at.locator(".status").inner_text()
    for step in [*range(71, -1, -6), 0, 40, 20]:
        tab.at.get_by_role("slider").fill(str(step))
        tab.drawn(step)
    others = steps_of_other_signs(run)
    for step in (others[0], others[-1]):
        tab.at.get_by_role("slider").fill(str(step))
        check(tab, logs, run, step, scale="frame")
