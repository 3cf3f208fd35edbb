import logging
import time
import zipfile

import numpy as np
import pytest

from filtertrack import FilterTracker, Moment, Run, Snapshot, animate, filmstrip, measure
from filtertrack.outputs.curves import plot_trajectories
from filtertrack.tensorboard_plugin.summaries import Summaries

STRANGE = {
    "NaN": np.nan,
    "infinite": np.inf,
    "minus infinite": -np.inf,
    "zero": 0.0,
    "constant": 0.25,
    "denormal": 1e-45,
    "huge": 1e38,
}


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("kernel_shape", [(3, 3, 1, 4), (3, 3, 3, 4), (3, 3, 8, 4), (1, 1, 8, 4)])
def test_strange_weights_are_drawn_and_measured(make_run, conv_info, kernel_shape, value):
    """One weight, one filter or all of that value: pictures and measures without a warning."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=[0])
    arrays = dict(run.snapshot(0).arrays)
    summaries = Summaries(run)
    for step, where in enumerate([(0, 0, 0, 0), (..., 1), ...], start=1):
        kernel = arrays["conv1/kernel"].copy()
        kernel[where] = value
        arrays["conv1/kernel"] = kernel
        run.append(Snapshot(Moment(step, step), arrays))
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    for scale in ("frame", "filter", "layer"):
        animate(run, run.path / "a.gif", size=100, scale=scale)


def test_a_layer_without_filters(make_run, conv_info):
    """Nothing to see is no error."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 0)), steps=range(2))
    summaries = Summaries(run)
    for step in run.steps:
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    animate(run, run.path / "a.gif")


def test_a_layer_name_of_any_length(make_run, conv_info, tmp_path):
    """Of the longest that a manifest may hold each picture is drawn at once, the name cut."""
    name = "block/" * 41 + "conv"
    run = make_run(
        conv_info(name, kernel="conv/kernel", bias=False), conv_info("other", bias=False)
    )
    began = time.process_time()
    animate(run, tmp_path / "a.gif", layers=[name], outline=True)
    animate(run, tmp_path / "b.gif", layers=[name, "other"])
    animate(run, tmp_path / "c.gif", layers=[name, "other"], compare=run)
    figure = filmstrip(run, tmp_path / "a.png", layers=name)
    assert figure.texts[0].get_text().endswith("block/conv · columns: epochs")
    assert len(figure.texts[0].get_text()) < 100
    curves = plot_trajectories(measure(run), tmp_path / "b.png")
    assert curves.axes[0].get_ylabel().endswith("block/conv")
    assert time.process_time() - began < 20


NAMES = [
    "a/b",
    "../../escape",
    ".",
    "with spaces and . dots",
    "Ünï😀code",
    "x" * 300,
    "x" * 300 + "y",
    "Case",
    "case",
    "a b",
    "a_b",
    "a:b",
    "<script>alert(1)</script>",
    "a\x1b[2Jb",
    "new\nline",
]


def test_strange_names(tmp_path, read_events):
    """Any name Keras takes: tracked, stored inside the folder, drawn, and told apart."""
    import keras

    refused = "/." if keras.backend.backend() == "torch" else "/"  # by Keras itself, in any layer
    takes = str.maketrans(dict.fromkeys(refused, "|"))
    layers = [keras.layers.Conv2D(2, 1, name=name.translate(takes)) for name in NAMES]
    model = keras.Sequential([keras.Input((4, 4, 2)), *layers])
    tracker = FilterTracker(tmp_path / "run")
    tracker.set_model(model)  # tensorflow's graphs do not take all of these names in fit
    tracker.snapshot(0)
    tracker.snapshot(1)
    tracker.close()
    run = Run(tmp_path / "run")
    assert len(run.layers) == len(NAMES)
    held = iter(model.layers)
    for name, info in run.layers.items():
        kernel = keras.ops.convert_to_numpy(next(held).kernel)
        np.testing.assert_array_equal(run.snapshot(1).arrays[info.kernel], kernel)
        assert name.isascii()
        assert info.path.isprintable()
        animate(run, tmp_path / "a.gif", layers=name, size=50)
    with zipfile.ZipFile(run.file(1)) as archive:
        for member in archive.namelist():
            assert (tmp_path / member).resolve().is_relative_to(tmp_path.resolve())
    assert {p.name for p in tmp_path.iterdir()} == {"run", "a.gif"}
    tags = {value.tag for _, value in read_events(run.folder)}
    assert sum(tag.startswith("filters/") for tag in tags) == len(NAMES)


def test_a_layer_that_changes_its_shape(tmp_path, caplog):
    """Its snapshots are refused and counted; the loop goes on."""
    import keras

    class Growing(keras.layers.Layer):
        def build(self, shape):
            self.small = self.add_weight(shape=(3, 3, shape[-1], 6))
            self.large = self.add_weight(shape=(3, 3, shape[-1], 7))
            self.kernel = self.small

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((4, 4, 2)), Growing(name="growing")])
    caplog.set_level(logging.WARNING, "filtertrack")
    tracker = FilterTracker(tmp_path, layers=lambda layer: True)
    tracker.set_model(model)
    for step in range(4):
        if step == 2:
            model.layers[0].kernel = model.layers[0].large
        tracker.snapshot(step)
    tracker.close()
    assert Run(tmp_path).steps == [0, 1]
    assert "expected a kernel of shape (3, 3, 2, 6), got (3, 3, 2, 7)" in caplog.text
    assert "lost 2 snapshots" in caplog.text
