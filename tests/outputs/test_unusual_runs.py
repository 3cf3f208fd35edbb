import time

import numpy as np
import pytest

from filtertrack import Moment, Snapshot, animate, filmstrip, measure
from filtertrack.outputs.curves import plot_trajectories
from filtertrack.tensorboard_plugin.summaries import Summaries

VALUES = {
    "NaN": np.nan,
    "infinite": np.inf,
    "minus infinite": -np.inf,
    "zero": 0.0,
    "constant": 0.25,
    "denormal": 1e-45,
    "huge": 1e38,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("kernel_shape", [(3, 3, 1, 4), (3, 3, 3, 4), (3, 3, 8, 4), (1, 1, 8, 4)])
def test_unusual_weights_are_drawn_and_measured(make_run, conv_info, kernel_shape, value):
    """A weight, a filter or a layer of that value gives pictures and measures without warnings."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=[0])
    arrays = dict(run.snapshot(0).arrays)
    summaries = Summaries(run)
    for step, index in enumerate([(0, 0, 0, 0), (..., 1), ...], start=1):
        kernel = arrays["conv1/kernel"].copy()
        kernel[index] = value
        arrays["conv1/kernel"] = kernel
        run.append(Snapshot(Moment(step, step), arrays))
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    for scale in ("frame", "filter", "layer"):
        animate(run, run.path / "a.gif", size=100, scale=scale)


def test_a_layer_without_filters_is_drawn(make_run, conv_info):
    """Its events and its animation are empty, without an error."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 0)), steps=range(2))
    summaries = Summaries(run)
    for step in run.steps:
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    animate(run, run.path / "a.gif")


def test_long_layer_names_are_shortened_in_pictures(make_run, conv_info, tmp_path):
    """With the longest name a manifest may hold, each picture is still drawn within seconds."""
    name = "block/" * 41 + "conv"
    run = make_run(
        conv_info(name, kernel="conv/kernel", bias=False), conv_info("other", bias=False)
    )
    began = time.process_time()
    animate(run, tmp_path / "a.gif", layers=[name], outline=True)
    animate(run, tmp_path / "b.gif", layers=[name, "other"])
    animate(run, tmp_path / "c.gif", layers=[name, "other"], compare=run)
    figure = filmstrip(run, tmp_path / "a.png", layers=name)
    first, *phrases = figure.texts[0].get_text().replace("\n", " · ").split(" · ")
    assert first.endswith("block/conv")
    assert len(first) <= 60
    assert phrases[-1] == "columns: epochs"
    curves = plot_trajectories(measure(run), tmp_path / "b.png")
    assert curves.axes[0].get_ylabel().endswith("block/conv")
    assert time.process_time() - began < 20
