import logging
import zipfile

import numpy as np

from filtertrack import FilterTracker, Run, animate

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


def test_any_layer_name_is_tracked_and_drawn(tmp_path, read_events):
    """Every name that Keras accepts is stored inside the folder, and stays distinct."""
    import keras

    refused = "/." if keras.backend.backend() == "torch" else "/"  # characters that Keras refuses
    accepted = str.maketrans(dict.fromkeys(refused, "|"))
    layers = [keras.layers.Conv2D(2, 1, name=name.translate(accepted)) for name in NAMES]
    model = keras.Sequential([keras.Input((4, 4, 2)), *layers])
    tracker = FilterTracker(tmp_path / "run", images="*")
    tracker.set_model(model)  # not fit: tensorflow's graphs refuse some of these names
    tracker.snapshot(0)
    tracker.snapshot(1)
    tracker.close()
    run = Run(tmp_path / "run")
    assert len(run.layers) == len(NAMES)
    layers = iter(model.layers)
    for name, info in run.layers.items():
        kernel = keras.ops.convert_to_numpy(next(layers).kernel)
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


def test_snapshots_of_a_kernel_that_changes_its_shape_are_refused(tmp_path, caplog):
    """They are counted as lost, and the training loop continues."""
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
