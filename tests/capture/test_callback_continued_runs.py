"""``fit`` in a folder that already holds a run: refused, replaced or continued."""

from shutil import copytree

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run


def test_a_folder_that_holds_a_run_is_refused_before_training(tiny_model, data, tmp_path):
    """Training from epoch 0 changes nothing in it, and the error says what to do."""
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    before = tiny_model.get_layer("conv1").get_weights()[0]
    with pytest.raises(FiltertrackError, match="existing='replace'"):
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[FilterTracker(tmp_path)])
    np.testing.assert_array_equal(tiny_model.get_layer("conv1").get_weights()[0], before)


def test_replace_deletes_the_run_and_no_other_file(tiny_model, data, tmp_path):
    """``existing="replace"`` deletes the old run's snapshots and events only."""
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


def test_snapshots_after_initial_epoch_are_replaced(  # noqa: PLR0917
    tiny_model, data, tmp_path, caplog, weights_of, assert_stored
):
    """If training starts from the weights of epoch 2, that snapshot stays."""
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
def test_snapshots_stay_if_training_starts_from_other_weights(  # noqa: PLR0917
    tiny_model, data, tmp_path, caplog, existing, weights_of, assert_stored
):
    """Steps continue after them, unless ``existing="replace"``."""
    tiny_model.fit(*data, epochs=4, verbose=0, callbacks=[FilterTracker(tmp_path)])
    before = {step: Run(tmp_path).file(step).read_bytes() for step in range(5)}
    tiny_model.set_weights([2 * weight for weight in tiny_model.get_weights()])
    start_weights = weights_of(tiny_model)
    tracker = FilterTracker(tmp_path, existing=existing)
    tiny_model.fit(*data, epochs=4, initial_epoch=2, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    if existing == "replace":
        assert run.steps == [0, 1, 2, 3, 4, 5]
        assert_stored(run, 3, start_weights)
        assert run.file(2).read_bytes() == before[2]
    else:
        assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7]
        assert {step: run.file(step).read_bytes() for step in range(5)} == before
        assert_stored(run, 5, start_weights)
        assert "2 snapshots past it stay" in caplog.text
    last = run.moment(run.steps[-1])
    assert (last.epoch, last.batch) == (4, 4)
    assert_stored(run, run.steps[-1], weights_of(tiny_model))


@pytest.mark.parametrize(
    ("how", "schedule"),
    [
        ("again", "epoch"),
        ("again", 2),
        ("initial_epoch", "epoch"),
        ("initial_epoch", "log"),
        ("another program's", "log"),
        ("another program's", 2),
    ],
)
def test_the_snapshot_between_two_fits_is_kept(tiny_model, data, tmp_path, how, schedule):
    """With its metrics, bit for bit, and without a gap in the steps."""
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


def test_weights_changed_between_two_fits_are_stored_too(
    tiny_model, data, tmp_path, weights_of, assert_stored
):
    """The last of the first fit, with its metrics, then the start of the second."""
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


def test_snapshots_stay_if_the_run_lacks_the_start(tiny_model, data, tmp_path):
    """With a snapshot every 3 of 4 batches, also those of an interrupted epoch stay."""
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


def test_another_schedule_continues_after_the_last_step(tiny_model, data, tmp_path):
    """From batches to epochs, without deleting snapshots."""
    options = {"batch_size": 8, "verbose": 0}
    tiny_model.fit(*data, epochs=2, callbacks=[FilterTracker(tmp_path, schedule=1)], **options)
    tracker = FilterTracker(tmp_path)
    tiny_model.fit(*data, initial_epoch=2, epochs=4, callbacks=[tracker], **options)
    run = Run(tmp_path)
    assert run.steps == [*range(11)]
    assert [run.moment(step).epoch for step in (8, 9, 10)] == [1, 3, 4]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # so Keras learns its length
@pytest.mark.parametrize("schedule", ["epoch", "log", 2, 3])
def test_batches_before_are_read_from_the_run_if_the_length_is_unknown(
    tiny_model, data, tmp_path, schedule
):
    """Of ten batches an epoch, batch 10 stays step 10."""

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


def test_a_second_fit_of_the_same_tracker_continues_the_run(tiny_model, data, tmp_path):
    """``fit`` again with the same tracker and model counts on."""
    tracker = FilterTracker(tmp_path, schedule="log")
    for _ in range(2):
        tiny_model.fit(*data, epochs=2, batch_size=16, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert [run.moment(step).epoch for step in (4, 8)] == [2, 4]


def test_backup_and_restore_continues_the_run_after_a_crash(
    tiny_model, data, tmp_path, weights_of, assert_stored
):
    """It changes the first epoch, from which the run continues."""
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


@pytest.mark.parametrize(
    ("schedule", "batch", "again"),
    [(3, 4, 0), (3, 18, 0), (3, 18, 1), ("log", 4, 0), ("log", 18, 1), ("epoch", 18, 0)],
)
def test_a_fit_after_ctrl_c_continues_the_run(  # noqa: PLR0917
    tiny_model, data, tmp_path, schedule, batch, again, weights_of, assert_stored
):
    """With the same tracker: steps ascend, and nothing is deleted, replaced or stored twice."""
    import keras

    class Stop(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, number, logs=None):
            self.batches += 1
            if self.batches == batch + 1:
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


def test_a_refused_fit_is_refused_again(tiny_model, data, tmp_path):
    """Its folder holds the run of another training."""
    tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path)])
    tracker = FilterTracker(tmp_path)
    for _ in range(2):
        with pytest.raises(FiltertrackError, match="already holds a run"):
            tiny_model.fit(*data, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [0, 1]
