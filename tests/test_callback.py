import logging
import re

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run

LAYERS = ("conv1", "conv2")


def weights_of(model):
    return {name: model.get_layer(name).get_weights() for name in LAYERS}


def watching(model, held, batches=False):
    """Keep what Keras holds after each epoch, or after each batch."""
    import keras

    if batches:

        class Watch(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                held[max(held) + 1] = weights_of(self.model)  # on jax this brings it up to date

        return Watch()
    return keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: held.update({epoch + 1: weights_of(model)})
    )


def assert_stored(run, step, weights):
    """What a step's file holds is what Keras held, bit for bit."""
    with np.load(run.file(step)) as file:
        for name, (kernel, bias) in weights.items():
            np.testing.assert_array_equal(file[f"{name}/kernel"], kernel, strict=True)
            np.testing.assert_array_equal(file[f"{name}/bias"], bias, strict=True)


def test_every_snapshot_is_what_keras_held(tiny_model, data, tmp_path):
    """Each stored kernel and bias equals ``get_weights`` of its epoch bit for bit."""
    held = {0: weights_of(tiny_model)}
    tracker = FilterTracker(tmp_path)
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=[tracker, watching(tiny_model, held)])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    for step, weights in held.items():
        assert_stored(run, step, weights)
    assert [run.moment(step).batch for step in run.steps] == [0, 1, 2, 3]
    assert "loss" in run.moment(3).metrics
    assert not run.moment(0).metrics


def test_log_schedule_takes_batches_and_every_epoch(tiny_model, data, tmp_path):
    """Log-spaced batches first, then epochs; each snapshot is that batch's weights."""
    held = {0: weights_of(tiny_model)}
    tracker = FilterTracker(tmp_path, schedule="log")
    tiny_model.fit(
        *data,
        epochs=9,
        batch_size=2,
        verbose=0,
        callbacks=[tracker, watching(tiny_model, held, batches=True)],
    )
    run = Run(tmp_path)
    assert run.steps[:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14]
    assert {16 * epoch for epoch in range(10)} <= set(run.steps)
    assert run.steps[-4:] == [96, 112, 128, 144]
    for step in run.steps:
        assert_stored(run, step, held[step])
    assert [run.moment(step).epoch for step in (14, 16, 32, 144)] == [0, 1, 2, 9]
    assert run.moment(14).batch == 14


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [(5, [0, 5, 10, 15, 16]), (lambda epoch, batch: batch in {3, 9}, [0, 3, 9, 16])],
    ids=["number", "function"],
)
def test_other_schedules_end_with_the_last_batch(tiny_model, data, tmp_path, schedule, steps):
    """Every N batches, or where a function says; the trained model is always the last snapshot."""
    tracker = FilterTracker(tmp_path, schedule=schedule)
    tiny_model.fit(*data, epochs=2, batch_size=4, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == steps
    assert_stored(Run(tmp_path), steps[-1], weights_of(tiny_model))


def test_several_steps_an_execution(tiny_model, data, tmp_path):
    """Where Keras reports eight batches at once, the log schedule still takes each report once."""
    import keras

    if keras.backend.backend() == "torch":
        pytest.skip("Keras on torch allows one step an execution only")
    tiny_model.compile("sgd", "mse", steps_per_execution=8)
    tracker = FilterTracker(tmp_path, schedule="log")
    tiny_model.fit(*data, epochs=2, batch_size=2, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [0, 8, 16, 24, 32]
    assert_stored(Run(tmp_path), 32, weights_of(tiny_model))


def test_no_batch_hook_without_need(tmp_path):
    """An epoch schedule defines no batch hook: Keras would call it after every batch."""
    import keras

    def hooked(tracker):
        return tracker.on_train_batch_end.__func__ is not (
            keras.callbacks.Callback.on_train_batch_end
        )

    assert not hooked(FilterTracker(tmp_path))
    assert hooked(FilterTracker(tmp_path, schedule="log"))


def test_training_is_not_changed(data, tmp_path):
    """With and without the tracker the trained weights are the same, bit for bit."""
    import keras

    trained = []
    for callbacks in ([], [FilterTracker(tmp_path, schedule="log")]):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3),
                keras.layers.Dropout(0.5),
                keras.layers.GlobalMaxPooling2D(),
            ]
        )
        model.compile("adam", "mse")
        targets = np.zeros((32, 4), "float32")
        model.fit(data[0], targets, epochs=3, batch_size=8, verbose=0, callbacks=callbacks)
        trained.append(model.get_weights())
    for without, tracked in zip(*trained, strict=True):
        np.testing.assert_array_equal(without, tracked)


def test_a_model_built_by_its_first_batch(data, tmp_path):
    """Step 0 of a model without a declared input is what its layers were initialised to."""
    import keras

    class Lazy(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, kernel_initializer=start, name="conv")
            self.pool = keras.layers.GlobalAveragePooling2D()

        def call(self, inputs):
            return self.pool(self.conv(inputs))

    start = keras.initializers.GlorotUniform(seed=7)
    model = Lazy()
    build = model.conv.build
    model.compile(keras.optimizers.SGD(0.5), "mse")
    targets = np.ones((32, 4), "float32")
    tracker = FilterTracker(tmp_path, schedule="log")
    model.fit(data[0], targets, epochs=2, batch_size=8, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    (name,) = run.layers
    expected = keras.ops.convert_to_numpy(
        keras.initializers.GlorotUniform(seed=7)((3, 3, 3, 4), "float32")
    )
    first, second = (run.kernels(name, step) for step in (0, 1))
    np.testing.assert_array_equal(first, expected.transpose(3, 0, 1, 2))
    assert (first != second).any()
    assert model.conv.build == build, "the watching wrapper is off again"


def test_a_folder_with_a_run_is_refused_before_training(tiny_model, data, tmp_path):
    """Training from epoch 0 into a folder that holds a run changes nothing and says what to do."""
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    before = tiny_model.get_layer("conv1").get_weights()[0]
    with pytest.raises(FiltertrackError, match="existing='replace'"):
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    np.testing.assert_array_equal(tiny_model.get_layer("conv1").get_weights()[0], before)


def test_replace_starts_a_new_run_and_keeps_what_is_not_ours(tiny_model, data, tmp_path):
    """``existing="replace"`` removes the old run's snapshots and events, and no other file."""
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path)])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "filters" / "notes.txt").write_text("mine too")
    (old,) = (tmp_path / "filters").glob("events.*")
    tracker = FilterTracker(tmp_path, existing="replace")
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [0, 1]
    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "filters" / "notes.txt").exists()
    (new,) = (tmp_path / "filters").glob("events.*")
    assert new != old


def test_a_later_initial_epoch_goes_on_with_the_run(tiny_model, data, tmp_path):
    """``initial_epoch`` continues; what lay past the epoch it starts from is replaced."""
    tiny_model.fit(*data, epochs=4, verbose=0, callbacks=[FilterTracker(tmp_path)])
    before = Run(tmp_path).kernels("conv1", 1).copy()
    weights = weights_of(tiny_model)
    tiny_model.fit(*data, epochs=3, initial_epoch=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    assert_stored(run, 2, weights)
    assert_stored(run, 3, weights_of(tiny_model))
    np.testing.assert_array_equal(run.kernels("conv1", 1), before)


def test_a_second_fit_of_the_same_tracker_goes_on(tiny_model, data, tmp_path):
    """``fit`` again with the same tracker and model counts on."""
    tracker = FilterTracker(tmp_path, schedule="log")
    for _ in range(2):
        tiny_model.fit(*data, epochs=2, batch_size=16, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert [run.moment(step).epoch for step in (4, 8)] == [2, 4]


def test_backup_and_restore_goes_on_after_a_crash(tiny_model, data, tmp_path):
    """After a crash ``BackupAndRestore`` moves the first epoch; the run goes on from there."""
    import keras

    class CrashError(Exception):
        pass

    def crash(epoch, logs):
        if epoch == 2:
            raise CrashError

    def fit(*more):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        tracker = FilterTracker(tmp_path / "run")
        tiny_model.fit(*data, epochs=4, verbose=0, callbacks=[backup, tracker, *more])

    with pytest.raises(CrashError):
        fit(keras.callbacks.LambdaCallback(on_epoch_begin=crash))
    fit()
    run = Run(tmp_path / "run")
    assert run.steps == [0, 1, 2, 3, 4]
    assert_stored(run, 4, weights_of(tiny_model))


def test_an_interrupted_fit_keeps_what_was_taken(tiny_model, data, tmp_path):
    """Keras calls no hook when ``fit`` is interrupted; everything taken is on disk all the same."""
    import keras

    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    tracker = FilterTracker(tmp_path)
    stop = keras.callbacks.LambdaCallback(on_epoch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        tiny_model.fit(*data, epochs=5, verbose=0, callbacks=[tracker, stop])
    tracker.close()
    assert Run(tmp_path).steps == [0, 1, 2, 3]


@pytest.mark.parametrize("strict", [False, True])
def test_a_disk_that_fails_in_mid_training(tiny_model, data, tmp_path, caplog, strict):
    """A run's folder that goes away costs snapshots, never training; ``strict`` raises."""
    import keras

    def remove(epoch, logs):
        if epoch == 1:
            (tmp_path / "run").rename(tmp_path / "gone")

    tracker = FilterTracker(tmp_path / "run", strict=strict)
    callbacks = [tracker, keras.callbacks.LambdaCallback(on_epoch_begin=remove)]
    caplog.set_level(logging.WARNING, "filtertrack")
    if strict:
        with pytest.raises(FiltertrackError, match=r"could not write (snapshots|pictures)"):
            tiny_model.fit(*data, epochs=4, verbose=0, callbacks=callbacks)
        return
    history = tiny_model.fit(*data, epochs=4, verbose=0, callbacks=callbacks)
    assert len(history.history["loss"]) == 4
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert sum("could not write snapshots, training goes on" in text for text in warnings) == 1
    assert any(re.search("lost [345] snapshots", text) for text in warnings)
    assert len(warnings) < 6, "a few warnings, not one a snapshot"


def test_an_unknown_layer_is_named_with_the_nearest(tiny_model, data, tmp_path):
    """A layer name that does not exist names those that do, and the nearest."""
    with pytest.raises(FiltertrackError, match=r"Did you mean 'conv1'.*conv1, conv2"):
        tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path, layers="conv_1")])
    assert not Run.exists(tmp_path)


def test_a_model_without_a_convolution(data, tmp_path):
    """No convolution: an error before the first batch, and nothing is written."""
    import keras

    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    with pytest.raises(FiltertrackError, match="no convolution"):
        model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(tiny_model, data, tmp_path):
    """A folder below a file cannot be made: an error before the first batch names the folder."""
    (tmp_path / "file").write_text("")
    before = tiny_model.get_weights()
    with pytest.raises(FiltertrackError, match=r"cannot write in .*file/run.*another folder"):
        tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path / "file" / "run")])
    for old, new in zip(before, tiny_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("bad", [{"existing": "keep"}, {"schedule": "weekly"}, {"schedule": 0}])
def test_options_are_checked_at_once(tmp_path, bad):
    """An option that does not fit is an error where it is given."""
    with pytest.raises(FiltertrackError, match=next(iter(bad))):
        FilterTracker(tmp_path, **bad)


def test_the_log_says_what_is_tracked_and_how_to_see_all(tiny_model, data, tmp_path, caplog):
    """At the start: the layers and how to watch them; at the end: what next."""
    caplog.set_level(logging.INFO, "filtertrack")
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    text = caplog.text
    assert "tracking conv1, conv2" in text
    assert "filtertrack view " in text
    assert f"2 snapshots in {tmp_path}" in text
    assert f"filtertrack animate {tmp_path}" in text
