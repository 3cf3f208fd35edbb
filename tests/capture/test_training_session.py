import logging

import numpy as np
import pytest

from filtertrack import FilterTracker, Run
from filtertrack.capture.training_session import numbers_in


@pytest.mark.parametrize(
    ("logs", "numbers"),
    [
        (None, {}),
        ({"loss": np.float32(0.5), "count": 3}, {"loss": 0.5, "count": 3.0}),
        ({"loss": 1.0, "matrix": np.zeros((2, 2)), "name": "a", "none": None}, {"loss": 1.0}),
    ],
)
def test_only_single_numbers_of_the_logs_become_metrics(logs, numbers):
    """Callbacks may add values of any type."""
    assert numbers_in(logs) == numbers


def test_a_run_opened_during_training_holds_the_initial_weights(  # noqa: PLR0917
    tiny_model, data, tmp_path, caplog, monkeypatch, weights_of, assert_stored
):
    """They are stored as soon as that is possible."""
    import keras

    monkeypatch.setattr("filtertrack.capture.training_session._RETRY_PAUSE", 0.0)
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path / "run")])
    tiny_model.set_weights([2 * weight for weight in tiny_model.get_weights()])
    start = weights_of(tiny_model)
    snapshots = tmp_path / "run" / "filters" / "snapshots"
    snapshots.rename(tmp_path / "away")
    snapshots.write_text("in the way")

    def free(epoch, logs):
        if epoch == 2:
            snapshots.unlink()
            (tmp_path / "away").rename(snapshots)

    callbacks = [
        FilterTracker(tmp_path / "run"),
        keras.callbacks.LambdaCallback(on_epoch_begin=free),
    ]
    caplog.set_level(logging.INFO, "filtertrack")
    tiny_model.fit(*data, initial_epoch=1, epochs=3, verbose=0, callbacks=callbacks)
    run = Run(tmp_path / "run")
    assert run.steps == [0, 1, 2, 4]
    assert_stored(run, 2, start)
    assert_stored(run, 4, weights_of(tiny_model))
    assert "is no folder; remove it" in caplog.text
    assert "step 0 is missing" not in caplog.text
