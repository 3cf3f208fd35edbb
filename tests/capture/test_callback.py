import copy
import logging
import pickle
import re
from shutil import copytree

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Moment, Run
from filtertrack.snapshot import describe

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


def test_a_later_initial_epoch_trains_that_epoch_again(tiny_model, data, tmp_path, caplog):
    """From the weights of epoch 2: that snapshot stays as it is, what lay past it is replaced."""
    saved = {}
    watch = keep_weights(saved)
    tiny_model.fit(*data, epochs=4, verbose=0, callbacks=[FilterTracker(tmp_path), watch])
    before = {step: Run(tmp_path).file(step).read_bytes() for step in (0, 1, 2)}
    tiny_model.set_weights(saved[2])
    tiny_model.fit(*data, epochs=3, initial_epoch=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    assert {step: run.file(step).read_bytes() for step in (0, 1, 2)} == before
    assert_stored(run, 3, weights_of(tiny_model))
    assert "goes on from epoch 2: 2 snapshots past it deleted" in caplog.text


def keep_weights(saved):
    import keras

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            saved[epoch + 1] = self.model.get_weights()

    return Keep()


@pytest.mark.parametrize("existing", ["error", "new", "replace"])
def test_other_weights_at_an_earlier_epoch_delete_nothing(
    tiny_model, data, tmp_path, caplog, existing
):
    """Unless the user said so: what is there stays, and steps go on after it."""
    tiny_model.fit(*data, epochs=4, verbose=0, callbacks=[FilterTracker(tmp_path)])
    before = {step: Run(tmp_path).file(step).read_bytes() for step in range(5)}
    tiny_model.set_weights([2 * weight for weight in tiny_model.get_weights()])
    held = weights_of(tiny_model)
    tracker = FilterTracker(tmp_path, existing=existing)
    tiny_model.fit(*data, epochs=4, initial_epoch=2, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    if existing == "replace":
        assert run.steps == [0, 1, 2, 3, 4, 5]
        assert_stored(run, 3, held)
        assert run.file(2).read_bytes() == before[2]
    else:
        assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7]
        assert {step: run.file(step).read_bytes() for step in range(5)} == before
        assert_stored(run, 5, held)
        assert "2 snapshots past it stay" in caplog.text
    last = run.moment(run.steps[-1])
    assert (last.epoch, last.batch) == (4, 4)
    assert_stored(run, run.steps[-1], weights_of(tiny_model))


@pytest.mark.parametrize("how", ["again", "initial_epoch", "another program's"])
@pytest.mark.parametrize("schedule", ["epoch", "log", 2])
def test_the_boundary_of_two_fits_keeps_its_snapshot(tiny_model, data, tmp_path, how, schedule):
    """Its metrics, bit for bit, whichever way the second fit goes on, and the steps do not jump."""
    tracker = FilterTracker(tmp_path, schedule=schedule)
    options = {"batch_size": 8, "verbose": 0}
    tiny_model.fit(*data, epochs=3, callbacks=[tracker], **options)
    run = Run(tmp_path)
    last = run.steps[-1]
    before = run.file(last).read_bytes()
    assert "loss" in run.moment(last).metrics
    first = 0 if how == "again" else 3
    if how == "another program's":
        tracker = FilterTracker(tmp_path, schedule=schedule)
    tiny_model.fit(*data, initial_epoch=first, epochs=first + 2, callbacks=[tracker], **options)
    assert run.file(last).read_bytes() == before
    expected = 5 if schedule == "epoch" else 20
    assert run.steps[-1] == expected
    assert run.moment(expected).batch == 20
    assert run.verify() == {}


def test_weights_changed_between_two_fits_are_both_kept(tiny_model, data, tmp_path):
    """The last of the first fit, with its metrics, and what the second starts from; in order."""
    tracker = FilterTracker(tmp_path)
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=[tracker])
    ended = weights_of(tiny_model)
    tiny_model.set_weights([2 * weight for weight in tiny_model.get_weights()])
    changed = weights_of(tiny_model)
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[tracker])
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [run.moment(step).epoch for step in run.steps] == [0, 1, 2, 3, 3, 4, 5, 6]
    assert_stored(run, 3, ended)
    assert_stored(run, 4, changed)
    assert run.moment(3).metrics
    assert not run.moment(4).metrics
    assert_stored(run, 7, weights_of(tiny_model))


def test_a_run_without_the_boundary_deletes_nothing(tiny_model, data, tmp_path):
    """A snapshot each 3 of 4 batches: also of an epoch that was interrupted they stay."""
    saved = {}
    options = {"batch_size": 8, "verbose": 0, "shuffle": False}
    tracker = FilterTracker(tmp_path / "a", schedule=3)
    tiny_model.fit(*data, epochs=4, callbacks=[tracker, keep_weights(saved)], **options)
    copytree(tmp_path / "a", tmp_path / "crashed")
    for step in (9, 12, 15, 16):
        Run(tmp_path / "crashed").remove(step)  # as if it had ended within the second epoch
    assert Run(tmp_path / "crashed").steps == [0, 3, 6]
    before = {step: Run(tmp_path / "a").file(step).read_bytes() for step in (0, 3, 6)}
    for name, steps in {
        "a": [0, 3, 6, 9, 12, 15, 16, 17, 19, 21],
        "crashed": [0, 3, 6, 7, 9, 11],
    }.items():
        tiny_model.set_weights(saved[1])
        tracker = FilterTracker(tmp_path / name, schedule=3)
        tiny_model.fit(*data, initial_epoch=1, epochs=2, callbacks=[tracker], **options)
        run = Run(tmp_path / name)
        assert run.steps == steps
        assert {step: run.file(step).read_bytes() for step in before} == before


def test_another_schedule_goes_on_after_the_last_step(tiny_model, data, tmp_path):
    """From batches to epochs: nothing of what is there is deleted."""
    options = {"batch_size": 8, "verbose": 0}
    tiny_model.fit(*data, epochs=2, callbacks=[FilterTracker(tmp_path, schedule=1)], **options)
    tracker = FilterTracker(tmp_path)
    tiny_model.fit(*data, initial_epoch=2, epochs=4, callbacks=[tracker], **options)
    run = Run(tmp_path)
    assert run.steps == [*range(11)]
    assert [run.moment(step).epoch for step in (8, 9, 10)] == [1, 3, 4]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # so Keras learns its length
@pytest.mark.parametrize("schedule", ["epoch", "log", 2, 3])
def test_resuming_a_dataset_of_unknown_length(tiny_model, data, tmp_path, schedule):
    """Ten batches an epoch, which nothing tells: batch 10 stays step 10, and none is invented."""

    def batches():
        for _ in range(10):
            yield data[0][:4], data[1][:4]

    for first, last in ((0, 1), (1, 2)):
        tracker = FilterTracker(tmp_path, schedule=schedule)
        options = {"epochs": last, "shuffle": False, "verbose": 0, "callbacks": [tracker]}
        tiny_model.fit(batches(), initial_epoch=first, **options)
    run = Run(tmp_path)
    if schedule == "epoch":
        assert run.steps == [0, 1, 2]
        assert [run.moment(step).batch for step in run.steps] == [0, None, None]
        return
    assert 10 in run.steps
    assert run.steps[-1] == 20
    assert run.moment(20).batch == 20
    assert [run.moment(step).batch for step in run.steps] == run.steps
    within = [run.moment(step) for step in run.steps if 10 < step < 20]
    assert all(moment.epoch == 1 and moment.batch - moment.epoch_batch == 10 for moment in within)


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


def getting_worse(model, data, tracker, place, **options):
    """Train so that the loss rises from epoch 3 on: ``EarlyStopping`` restores epoch 2."""
    import keras

    class Rises(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["watched"] = abs(epoch - 1.0)

    stop = keras.callbacks.EarlyStopping(
        "watched", mode="min", patience=2, restore_best_weights=True
    )
    callbacks = [Rises(), stop]
    callbacks.insert({"first": 0, "last": 2}[place], tracker)
    model.fit(*data, epochs=9, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("schedule", ["epoch", "log", 3])
def test_weights_that_are_restored_in_the_end(tiny_model, data, tmp_path, place, schedule):
    """The last snapshot is the model in hand, marked, with that epoch's metrics; in any order."""
    tracker = FilterTracker(tmp_path, schedule=schedule)
    getting_worse(tiny_model, data, tracker, place, batch_size=8)
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


def test_training_goes_on_after_weights_were_restored(tiny_model, data, tmp_path):
    """From the snapshot that was added; nothing is deleted, and nothing is stored twice."""
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
@pytest.mark.parametrize("place", ["first", "last"])
def test_weights_that_are_averaged_in_the_end(tiny_model, data, tmp_path, swap, place):
    """With ``use_ema`` the last snapshot is the model in hand, with SwapEMAWeights too."""
    import keras

    tiny_model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    callbacks = [] if swap is None else [keras.callbacks.SwapEMAWeights(swap_on_epoch=swap)]
    callbacks.insert(len(callbacks) if place == "last" else 0, FilterTracker(tmp_path))
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=callbacks)
    run = Run(tmp_path)
    assert_stored(run, run.steps[-1], weights_of(tiny_model))
    averaged_before = swap and place == "last"
    assert run.steps == ([0, 1, 2, 3] if averaged_before else [0, 1, 2, 3, 4])
    assert run.moment(run.steps[-1]).note == ("" if averaged_before else "averaged")


def test_weights_that_are_changed_in_the_end(tiny_model, data, tmp_path):
    """By a callback of the user's own: said as it is. The log's last word comes after it."""
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


def test_weights_that_stay_in_the_end_are_stored_once(tiny_model, data, tmp_path):
    """An ``EarlyStopping`` that restores the last epoch adds nothing."""
    import keras

    stop = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path), stop])
    assert Run(tmp_path).steps == [0, 1, 2, 3]


def test_captions_count_as_keras_does(tiny_model, data, tmp_path):
    """While an epoch runs, that epoch and its batch; after it, the epoch; both of how many."""
    tracker = FilterTracker(tmp_path, schedule="log")
    tiny_model.fit(*data, epochs=2, batch_size=8, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert [describe(run.moment(step)) for step in run.steps] == [
        "before training",
        "epoch 1 of 2, batch 1 of 4",
        "epoch 1 of 2, batch 2 of 4",
        "epoch 1 of 2, batch 3 of 4",
        "epoch 1 of 2",
        "epoch 2 of 2, batch 1 of 4",
        "epoch 2 of 2, batch 2 of 4",
        "epoch 2 of 2, batch 3 of 4",
        "epoch 2 of 2",
    ]


def pickled(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - made here


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("copied_by", "schedule"), [(pickled, "log"), (copy.deepcopy, "epoch")])
def test_a_copy_of_a_tracker_begins_anew(tiny_model, data, tmp_path, after, copied_by, schedule):  # noqa: PLR0917
    """By ``pickle`` and ``deepcopy``, before and after ``fit``: with a run of its own."""
    tracker = FilterTracker(tmp_path / "run", schedule=schedule, layers="conv1", existing="new")
    if after:
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[tracker])
    copied = copied_by(tracker)
    tiny_model.fit(*data, epochs=2, batch_size=8, verbose=0, callbacks=[copied])
    run = Run(copied.run_dir)
    assert str(run.path) == str(tmp_path / ("run-2" if after else "run"))
    assert list(run.layers) == ["conv1"]
    assert run.steps[-1] == (2 if schedule == "epoch" else 8)
    assert pickled(run).steps == run.steps
    for value in (run.moment(0), run.layers["conv1"]):
        assert pickled(value) == value
        assert copy.deepcopy(value) == value


def test_a_subclass_keeps_its_own_values_when_it_is_copied(tmp_path):
    """Only what belongs to a run is left out."""
    tracker = Named(tmp_path, name="mine")
    tracker._progress.epochs = 3
    copied = pickled(tracker)
    assert copied.name == "mine"
    assert copied._progress.epochs == 0


class Named(FilterTracker):
    """A tracker with a value of its own."""

    def __init__(self, *args, name, **options):
        super().__init__(*args, **options)
        self.name = name


def test_numpy_integers_are_whole_numbers(tiny_model, data, tmp_path):
    """As schedule, as ``keep``, as steps, epochs and batches of a loop by hand."""
    tracker = FilterTracker(tmp_path, schedule=np.int64(2), keep=np.int32(50))
    tiny_model.fit(*data, epochs=1, batch_size=8, verbose=0, callbacks=[tracker])
    tracker.snapshot(np.int64(7), epoch=np.uint8(2), batch=np.int16(7))
    tracker.close()
    run = Run(tmp_path)
    assert run.steps == [0, 2, 4, 7]
    assert run.moment(7) == Moment(7, 2, 7, {}, run.moment(7).wall_time)


@pytest.mark.parametrize("level", [logging.ERROR, logging.DEBUG])
def test_a_log_level_set_by_the_user_is_kept(run_program, level):
    """Also in a program that has configured no logging."""
    ended = run_program(
        f"""
        import logging
        log = logging.getLogger("filtertrack")
        log.setLevel({level})
        train(FilterTracker("run"))
        assert log.level == {level}, log.level
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert ("filtertrack: tracking" in ended.stderr) == (level == logging.DEBUG)


def test_layers_that_never_move_are_said_once(tiny_model, data, tmp_path, caplog):
    """At the end, quietly, and whether they are frozen; not those that moved."""
    import keras

    caplog.set_level(logging.INFO, "filtertrack")
    tiny_model.get_layer("conv1").trainable = False
    tiny_model.compile("sgd", "mse")
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path / "a")])
    said = [r for r in caplog.records if "did not change" in r.getMessage()]
    assert [(r.levelno, r.getMessage()) for r in said] == [
        (logging.INFO, "did not change (frozen): conv1")
    ]
    caplog.clear()
    tiny_model.compile(keras.optimizers.SGD(0.0), "mse")
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path / "c")])
    assert "did not change: conv2" in caplog.text
    assert "did not change (frozen): conv1" in caplog.text
    caplog.clear()
    tiny_model.get_layer("conv1").trainable = True
    tiny_model.compile("sgd", "mse")
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path / "b")])
    assert "did not change" not in caplog.text


@pytest.mark.parametrize("again", [0, 1])
@pytest.mark.parametrize("batch", [4, 18])
@pytest.mark.parametrize("schedule", [3, "log", "epoch"])
def test_a_fit_after_ctrl_c_goes_on(tiny_model, data, tmp_path, schedule, batch, again):  # noqa: PLR0917
    """With the same tracker: steps ascend, and nothing is deleted, replaced or stored twice."""
    import keras

    class Stop(keras.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, number, logs=None):
            self.seen += 1
            if self.seen == batch + 1:
                raise KeyboardInterrupt

    options = {"batch_size": 4, "verbose": 0}
    tracker = FilterTracker(tmp_path, schedule=schedule)
    x, y = (np.concatenate([each, each[:8]]) for each in data)
    with pytest.raises(KeyboardInterrupt):
        tiny_model.fit(x, y, epochs=3, callbacks=[tracker, Stop()], **options)
    tracker.close()
    run = Run(tmp_path)
    before = {step: run.file(step).read_bytes() for step in run.steps}
    if schedule == 3:
        assert list(before) == [*range(0, batch + 2, 3)]
    first = again if batch > 9 else 0
    tiny_model.fit(x, y, initial_epoch=first, epochs=first + 2, callbacks=[tracker], **options)
    assert {step: run.file(step).read_bytes() for step in before} == before
    new = [step for step in run.steps if step not in before]
    assert min(new) > max(before)
    moments = [run.moment(step) for step in run.steps]
    assert [m.epoch for m in moments] == sorted(m.epoch for m in moments)
    assert_stored(run, new[-1], weights_of(tiny_model))
    if schedule == 3 and not first:
        assert new[:2] == {4: [5, 6], 18: [19, 21]}[batch]
        assert run.moment(new[0]).epoch_batch == {4: 5, 18: 9}[batch]


def test_a_fit_that_was_refused_is_not_gone_on_with(tiny_model, data, tmp_path):
    """Its folder holds the run of another training: refused again."""
    tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path)])
    tracker = FilterTracker(tmp_path)
    for _ in range(2):
        with pytest.raises(FiltertrackError, match="already holds a run"):
            tiny_model.fit(*data, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [0, 1]


def test_a_run_that_can_be_opened_only_later_has_its_start(
    tiny_model, data, tmp_path, caplog, monkeypatch
):
    """The weights that training started from are stored once that is possible."""
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
