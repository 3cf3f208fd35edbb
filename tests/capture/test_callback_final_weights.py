"""Weights that other callbacks or the optimizer change at the end of ``fit``."""

import pytest

from filtertrack import FilterTracker, Run
from filtertrack.snapshot import describe


def getting_worse(model, data, tracker, position, **options):
    """Train so that the loss rises from epoch 3 on: ``EarlyStopping`` restores epoch 2."""
    import keras

    class Rises(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["watched"] = abs(epoch - 1.0)

    stop = keras.callbacks.EarlyStopping(
        "watched", mode="min", patience=2, restore_best_weights=True
    )
    callbacks = [Rises(), stop]
    callbacks.insert({"first": 0, "last": 2}[position], tracker)
    model.fit(*data, epochs=9, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("schedule", ["epoch", "log", 3])
def test_weights_restored_at_the_end_are_the_last_snapshot(  # noqa: PLR0917
    tiny_model, data, tmp_path, position, schedule, weights_of, assert_stored
):
    """With a note and that epoch's metrics, whatever the order of callbacks."""
    tracker = FilterTracker(tmp_path, schedule=schedule)
    getting_worse(tiny_model, data, tracker, position, batch_size=8)
    run = Run(tmp_path)
    last = run.moment(run.steps[-1])
    assert_stored(run, last.step, weights_of(tiny_model))
    assert last.note == "restored: epoch 2"
    assert last.epoch == 4
    assert last.step == {"epoch": 5, "log": 17, 3: 16}[schedule]
    assert "loss" in last.metrics
    if schedule != 3:
        assert last.metrics == run.moment(2 if schedule == "epoch" else 8).metrics
    assert describe(last) == "epoch 4 of 9 (restored: epoch 2)"


def test_a_fit_after_restored_weights_continues_from_their_snapshot(tiny_model, data, tmp_path):
    """Nothing is deleted or stored twice."""
    tracker = FilterTracker(tmp_path)
    getting_worse(tiny_model, data, tracker, "first")
    before = {step: Run(tmp_path).file(step).read_bytes() for step in range(6)}
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[tracker])
    other = FilterTracker(tmp_path)
    tiny_model.fit(*data, epochs=8, initial_epoch=6, verbose=0, callbacks=[other])
    run = Run(tmp_path)
    assert run.steps == [*range(10)]
    assert {step: run.file(step).read_bytes() for step in range(6)} == before
    assert [run.moment(step).epoch for step in run.steps] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert [run.moment(step).note for step in run.steps[6:]] == [""] * 4


@pytest.mark.parametrize("swap", [None, False, True])
@pytest.mark.parametrize("position", ["first", "last"])
def test_averaged_weights_are_the_last_snapshot(  # noqa: PLR0917
    tiny_model, data, tmp_path, swap, position, weights_of, assert_stored
):
    """With ``use_ema``, and with ``SwapEMAWeights`` as well."""
    import keras

    tiny_model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    callbacks = [] if swap is None else [keras.callbacks.SwapEMAWeights(swap_on_epoch=swap)]
    callbacks.insert(len(callbacks) if position == "last" else 0, FilterTracker(tmp_path))
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=callbacks)
    run = Run(tmp_path)
    assert_stored(run, run.steps[-1], weights_of(tiny_model))
    averaged_before = swap and position == "last"
    assert run.steps == ([0, 1, 2, 3] if averaged_before else [0, 1, 2, 3, 4])
    assert run.moment(run.steps[-1]).note == ("" if averaged_before else "averaged")


def test_weights_changed_by_another_callback_at_the_end_are_stored(
    tiny_model, data, tmp_path, weights_of, assert_stored
):
    """With a note; the log's last message comes after that."""
    import keras

    double = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: tiny_model.set_weights(
            [2 * weight for weight in tiny_model.get_weights()]
        )
    )
    trackers = [FilterTracker(tmp_path / "a"), FilterTracker(tmp_path / "b", schedule="log")]
    callbacks = [trackers[0], double, trackers[1], double]
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=callbacks)
    for name in "ab":
        run = Run(tmp_path / name)
        assert run.steps == [0, 1, 2, 3]
        assert_stored(run, 3, weights_of(tiny_model))
        assert run.moment(3).note == "changed after the last epoch"


def test_restoring_the_last_epoch_adds_no_snapshot(tiny_model, data, tmp_path):
    """As ``EarlyStopping`` does."""
    import keras

    stop = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path), stop])
    assert Run(tmp_path).steps == [0, 1, 2, 3]
