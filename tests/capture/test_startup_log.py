import logging
import re

import numpy as np

from filtertrack import FilterTracker
from filtertrack.capture.startup_log import announce


def test_the_announced_size_is_within_a_factor_of_two(tiny_model, data, tmp_path, caplog):
    """Of snapshots and events."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(32, 9, name="colour"),
            keras.layers.Conv2D(64, 3, name="deep"),
            keras.layers.Conv2D(64, 1, name="matrix"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile("sgd", "mse")
    caplog.set_level(logging.INFO, "filtertrack")
    x, y = np.zeros((2, 32, 32, 3), "float32"), np.zeros((2, 64), "float32")
    model.fit(x, y, epochs=20, verbose=0, callbacks=[FilterTracker(tmp_path)])
    logged = float(re.search(r"about 21 snapshots: ([\d.]+) MB", caplog.text)[1])
    written = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) / 1e6
    assert written / 2 < logged < 2 * written


def test_a_run_over_1_gb_is_warned_of(tmp_path, conv_info, caplog):
    """With a remedy; smaller runs give no warning."""
    caplog.set_level(logging.WARNING, "filtertrack")
    large = conv_info(kernel_shape=(3, 3, 512, 512))
    announce(tmp_path, [large], [], planned=100)
    assert not caplog.records
    announce(tmp_path, [large], [], planned=200)
    assert "about 1.9 GB" in caplog.text
    assert "layers='first'" in caplog.text
    assert "schedule=N" in caplog.text


def test_first_message_of_a_program_has_the_prefix(run_program):
    """Also a warning about the probes, which comes before the list of layers."""
    ended = run_program(
        """
        train(FilterTracker("run", probes=np.zeros((2, 9, 9, 3))))
        """
    )
    assert "filtertrack: could not show the probes" in ended.stderr
    assert "\ncould not show" not in ended.stderr
