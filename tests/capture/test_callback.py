"""``FilterTracker`` in ``fit``: snapshots, schedules, options, errors, the log, copies."""

import copy
import logging
import pickle
import re

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Moment, Run
from filtertrack.snapshot import describe


def test_every_snapshot_equals_the_weights_in_keras(  # noqa: PLR0917
    tiny_model, data, tmp_path, weights_of, watching, assert_stored
):
    """Each stored kernel and bias equals ``get_weights`` of its epoch bit for bit."""
    weights_at = {0: weights_of(tiny_model)}
    tracker = FilterTracker(tmp_path)
    tiny_model.fit(
        *data, epochs=3, verbose=0, callbacks=[tracker, watching(tiny_model, weights_at)]
    )
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    for step, weights in weights_at.items():
        assert_stored(run, step, weights)
    assert [run.moment(step).batch for step in run.steps] == [0, 1, 2, 3]
    assert "loss" in run.moment(3).metrics
    assert not run.moment(0).metrics


def test_log_schedule_takes_batches_and_every_epoch(  # noqa: PLR0917
    tiny_model, data, tmp_path, weights_of, watching, assert_stored
):
    """Log-spaced batches first, then epochs; each snapshot holds that batch's weights."""
    weights_at = {0: weights_of(tiny_model)}
    tracker = FilterTracker(tmp_path, schedule="log")
    tiny_model.fit(
        *data,
        epochs=9,
        batch_size=2,
        verbose=0,
        callbacks=[tracker, watching(tiny_model, weights_at, batches=True)],
    )
    run = Run(tmp_path)
    assert run.steps[:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14]
    assert {16 * epoch for epoch in range(10)} <= set(run.steps)
    assert run.steps[-4:] == [96, 112, 128, 144]
    for step in run.steps:
        assert_stored(run, step, weights_at[step])
    assert [run.moment(step).epoch for step in (14, 16, 32, 144)] == [0, 1, 2, 9]
    assert run.moment(14).batch == 14


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [(5, [0, 5, 10, 15, 16]), (lambda epoch, batch: batch in {3, 9}, [0, 3, 9, 16])],
    ids=["number", "function"],
)
def test_batch_schedules_also_store_the_final_weights(  # noqa: PLR0917
    tiny_model, data, tmp_path, schedule, steps, weights_of, assert_stored
):
    """With every N batches or a function, the trained model is always the last snapshot."""
    tracker = FilterTracker(tmp_path, schedule=schedule)
    tiny_model.fit(*data, epochs=2, batch_size=4, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == steps
    assert_stored(Run(tmp_path), steps[-1], weights_of(tiny_model))


def test_steps_per_execution_triggers_one_snapshot_per_report(
    tiny_model, data, tmp_path, weights_of, assert_stored
):
    """Keras reports eight batches at once; the log schedule takes each report once."""
    import keras

    if keras.backend.backend() == "torch":
        pytest.skip("Keras on torch allows one step an execution only")
    tiny_model.compile("sgd", "mse", steps_per_execution=8)
    tracker = FilterTracker(tmp_path, schedule="log")
    tiny_model.fit(*data, epochs=2, batch_size=2, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [0, 8, 16, 24, 32]
    assert_stored(Run(tmp_path), 32, weights_of(tiny_model))


def test_epoch_schedules_define_no_batch_hook(tmp_path):
    """Keras would otherwise call it after every batch."""
    import keras

    def hooked(tracker):
        return tracker.on_train_batch_end.__func__ is not (
            keras.callbacks.Callback.on_train_batch_end
        )

    assert not hooked(FilterTracker(tmp_path))
    assert hooked(FilterTracker(tmp_path, schedule="log"))


def test_tracking_does_not_change_the_trained_weights(data, tmp_path):
    """They are equal with and without the tracker, bit for bit."""
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


def test_step_0_of_a_model_built_by_its_first_batch(data, tmp_path, watching):
    """It holds the initial values of the layers."""
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


def test_snapshots_of_an_interrupted_fit_are_stored(tiny_model, data, tmp_path):
    """Although Keras calls no hook then."""
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
def test_a_folder_deleted_during_training_does_not_stop_it(
    tiny_model, data, tmp_path, caplog, strict
):
    """Snapshots are lost; with ``strict`` an error is raised."""
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


def test_an_unknown_layer_name_is_an_error_with_a_suggestion(tiny_model, data, tmp_path):
    """The error lists the existing names and the most similar one."""
    with pytest.raises(FiltertrackError, match=r"Did you mean 'conv1'.*conv1, conv2"):
        tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path, layers="conv_1")])
    assert not Run.exists(tmp_path)


def test_a_model_without_a_convolution_is_refused_before_training(data, tmp_path):
    """And nothing is written."""
    import keras

    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    with pytest.raises(FiltertrackError, match="no convolution"):
        model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_an_unwritable_folder_is_refused_before_training(tiny_model, data, tmp_path):
    """A folder below a file cannot be made; the error names it."""
    (tmp_path / "file").write_text("")
    before = tiny_model.get_weights()
    with pytest.raises(FiltertrackError, match=r"cannot write in .*file/run.*another folder"):
        tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path / "file" / "run")])
    for old, new in zip(before, tiny_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("bad", [{"existing": "keep"}, {"schedule": "weekly"}, {"schedule": 0}])
def test_invalid_options_are_errors_of_the_constructor(tmp_path, bad):
    """Not of the training."""
    with pytest.raises(FiltertrackError, match=next(iter(bad))):
        FilterTracker(tmp_path, **bad)


def test_the_log_names_the_tracked_layers_and_the_commands(tiny_model, data, tmp_path, caplog):
    """At the start the layers and how to view them, at the end how to animate them."""
    caplog.set_level(logging.INFO, "filtertrack")
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    text = caplog.text
    assert "tracking conv1, conv2" in text
    assert "filtertrack view " in text
    assert f"2 snapshots in {tmp_path}" in text
    assert f"filtertrack animate {tmp_path}" in text


def test_captions_count_epochs_and_batches_like_keras(tiny_model, data, tmp_path):
    """During an epoch that epoch and its batch, after it the epoch; both with their totals."""
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
def test_a_copied_or_pickled_tracker_starts_a_new_run(  # noqa: PLR0917
    tiny_model, data, tmp_path, after, copied_by, schedule
):
    """Copied by ``pickle`` or ``deepcopy``, before or after ``fit``."""
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


def test_attributes_of_a_subclass_are_copied(tmp_path):
    """Only attributes of a training are not."""
    tracker = Named(tmp_path, name="mine")
    tracker._progress.epochs = 3
    copied = pickled(tracker)
    assert copied.name == "mine"
    assert copied._progress.epochs == 0


class Named(FilterTracker):
    """A tracker with an attribute of its own."""

    def __init__(self, *args, name, **options):
        super().__init__(*args, **options)
        self.name = name


def test_numpy_integers_are_accepted(tiny_model, data, tmp_path):
    """As ``schedule`` and ``keep``, and as steps, epochs and batches of ``snapshot``."""
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


def test_layers_that_did_not_change_are_logged_once(tiny_model, data, tmp_path, caplog):
    """At the end, at level INFO, frozen layers separately."""
    import keras

    caplog.set_level(logging.INFO, "filtertrack")
    tiny_model.get_layer("conv1").trainable = False
    tiny_model.compile("sgd", "mse")
    tiny_model.fit(*data, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path / "a")])
    logged = [r for r in caplog.records if "did not change" in r.getMessage()]
    assert [(r.levelno, r.getMessage()) for r in logged] == [
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
