import threading

import numpy as np
import pytest

from filtertrack import FilterTracker, Moment, Run, Snapshot
from filtertrack.capture.background_writer import BackgroundWriter
from filtertrack.capture.run_writer import RunWriter


def fit(model, data, folder, **options):
    tracker = FilterTracker(folder, schedule=options.pop("schedule", "epoch"))
    model.fit(*data, verbose=0, callbacks=[tracker, *options.pop("callbacks", ())], **options)


def kept_weights(keras, saved):
    return keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: saved.update({epoch + 1: saved["model"].get_weights()})
    )


@pytest.mark.parametrize("missing", [range(9), range(5, 9), range(8, 9), range(4, 6)])
@pytest.mark.parametrize("same", [True, False])
def test_unreadable_snapshots_are_not_overwritten(  # noqa: PLR0917
    keras, tiny_model, data, tmp_path, caplog, missing, same
):
    """Such as links to files that are not fetched; later they are as before."""
    saved = {"model": tiny_model}
    fit(tiny_model, data, tmp_path / "run", epochs=8, callbacks=[kept_weights(keras, saved)])
    run = Run(tmp_path / "run")
    before = {step: run.file(step).read_bytes() for step in run.steps}
    store = tmp_path / "annex"
    store.mkdir()
    for step in missing:
        run.file(step).symlink_to(run.file(step).rename(store / f"{step}").with_suffix(".gone"))
    if same:
        tiny_model.set_weights(saved[4])
    fit(tiny_model, data, tmp_path / "run", initial_epoch=4, epochs=6)
    for step in missing:
        (store / f"{step}").rename((store / f"{step}").with_suffix(".gone"))
    assert run.verify() == {}
    assert {step: run.file(step).read_bytes() for step in range(9)} == before
    assert run.steps == [*range(12)]
    assert [run.moment(step).epoch for step in (9, 10, 11)] == [4, 5, 6]
    assert "cannot be read: they stay, and steps go on after them" in caplog.text


def test_snapshots_larger_than_memory_are_not_overwritten(
    tiny_model, data, tmp_path, caplog, monkeypatch
):
    """They cannot be compared, so that they count as other weights."""
    fit(tiny_model, data, tmp_path, epochs=3)
    run = Run(tmp_path)
    before = {step: run.file(step).read_bytes() for step in run.steps}
    with monkeypatch.context() as patch:
        patch.setattr("filtertrack.storage.memory_limit._SMALL", 0)
        patch.setattr("filtertrack.storage.memory_limit.machine_memory", lambda: 0)
        fit(tiny_model, data, tmp_path, initial_epoch=3, epochs=4)
    assert {step: run.file(step).read_bytes() for step in range(4)} == before
    assert run.steps == [0, 1, 2, 3, 4, 5]
    assert "memory" in caplog.text


def test_only_the_weights_of_the_start_are_read(keras, tiny_model, data, tmp_path, monkeypatch):
    """Of the later snapshots only the moments."""
    saved = {"model": tiny_model}
    fit(tiny_model, data, tmp_path, epochs=8, callbacks=[kept_weights(keras, saved)])
    tiny_model.set_weights(saved[3])
    whole, read = Run.snapshot, []

    def noted(run, step, *rest):
        read.append((threading.current_thread() is threading.main_thread(), step))
        return whole(run, step, *rest)

    monkeypatch.setattr(Run, "snapshot", noted)
    fit(tiny_model, data, tmp_path, initial_epoch=3, epochs=4)
    assert (True, 3) in read
    assert {step for is_main, step in read if is_main and step > 4} == set()
    assert Run(tmp_path).steps == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("frozen", [False, True])
def test_an_unwritten_last_snapshot_is_stored_at_the_end(  # noqa: PLR0917
    keras, tiny_model, data, tmp_path, caplog, frozen
):
    """With its metrics, if the disk is writable again."""
    if frozen:
        tiny_model.compile(keras.optimizers.SGD(0.0), "mse")
    snapshots = tmp_path / "run" / "filters" / "snapshots"
    away = tmp_path / "away"
    tracker = FilterTracker(tmp_path / "run")

    def settle():
        tracker._session._run_writer._background_writer.flush()

    def remove(epoch, logs):
        if epoch == 2:
            settle()
            snapshots.rename(away)

    def bring_back(logs):
        settle()
        away.rename(snapshots)

    breaks = keras.callbacks.LambdaCallback(on_epoch_begin=remove, on_train_end=bring_back)
    tiny_model.fit(*data, epochs=3, verbose=0, callbacks=[tracker, breaks])
    run = Run(tmp_path / "run")
    assert run.steps == [0, 1, 2, 3]
    assert (run.moment(3).note, list(run.moment(3).metrics)) == ("", ["loss"])
    kernel = keras.ops.convert_to_numpy(tiny_model.get_layer("conv1").kernel)
    np.testing.assert_array_equal(run.snapshot(3).arrays["conv1/kernel"], kernel)
    assert "could not write snapshots, training goes on" in caplog.text
    assert "lost" not in caplog.text


def test_a_dropped_last_snapshot_is_stored_at_the_end(conv_info, tmp_path, monkeypatch):
    """If the queue was full."""
    monkeypatch.setattr(
        "filtertrack.capture.run_writer.BackgroundWriter",
        lambda *sinks, **options: BackgroundWriter(
            *sinks, **{**options, "capacity": 1}, timeout=0.05
        ),
    )
    moves, append = threading.Event(), Run.append

    def hang(run, snapshot):
        moves.wait(60)
        append(run, snapshot)

    monkeypatch.setattr(Run, "append", hang)
    run_writer = RunWriter(tmp_path, None)
    run_writer.open([conv_info(bias=False)], {})
    run_writer.begin()
    snapshots = [
        Snapshot(Moment(step, step), {"conv1/kernel": np.full((3, 3, 1, 4), step, np.float32)})
        for step in range(5)
    ]
    for snapshot in snapshots:
        run_writer.put(snapshot)
    moves.set()
    run_writer._background_writer.flush()
    run_writer.put_last(snapshots[-1], after=4, averaged=False)
    run_writer.close()
    run = Run(tmp_path)
    assert run.steps == [0, 1, 4]
    assert run.moment(4).note == ""
