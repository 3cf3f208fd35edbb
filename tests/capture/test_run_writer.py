import os
import subprocess
import sys
import threading
import time

import fsspec
import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Moment, Run, Snapshot
from filtertrack.capture.background_writer import BackgroundWriter
from filtertrack.capture.run_writer import RunWriter
from filtertrack.storage.paths import path_of
from filtertrack.storage.remote import RemotePath


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
    for step in range(5):
        run_writer.put(snapshot(step))
    moves.set()
    run_writer._background_writer.flush()
    run_writer.put_last(snapshot(4), after=4, averaged=False)
    run_writer.close()
    run = Run(tmp_path)
    assert run.steps == [0, 1, 4]
    assert run.moment(4).note == ""


@pytest.fixture
def remote_writer(conv_info, request):
    """A writer of a run on object storage, with three snapshots."""
    run_writer = RunWriter(path_of(f"memory://{request.node.name}/run"), None)
    run_writer.open([conv_info(bias=False)], {})
    run_writer.begin()
    for step in range(3):
        run_writer.put(snapshot(step))
    return run_writer


def snapshot(step):
    return Snapshot(Moment(step, step), {"conv1/kernel": np.full((3, 3, 1, 4), step, np.float32)})


def event_files(run_writer):
    names = Run(run_writer.folder).folder.names()
    return sorted(name for name in names if name.startswith("events.out.tfevents."))


def fail_once(monkeypatch, owner, name, error):
    """Replace a method by one whose first call fails."""
    method, errors = getattr(owner, name), [error]

    def failing(*args, **options):
        if errors:
            raise errors.pop()
        return method(*args, **options)

    monkeypatch.setattr(owner, name, failing)


LOST = ConnectionError("connection reset")


def test_failed_listings_at_the_end_lose_no_events(remote_writer, monkeypatch):
    """Listings are not retried, uploads are."""
    remote_writer._background_writer.flush()
    remote_writer.put(snapshot(3))

    def fail(*args, **options):
        raise LOST

    with monkeypatch.context() as patch:
        patch.setattr(fsspec.get_filesystem_class("memory"), "ls", fail)
        with pytest.raises(OSError, match="connection reset"):
            remote_writer.close()
    assert len(event_files(remote_writer)) == 2


def test_events_are_stored_after_an_upload_and_the_evolution_failed(
    remote_writer, monkeypatch, caplog
):
    """``close`` uploads again what the thread could not upload, and logs that it did."""
    fail_once(monkeypatch, RemotePath, "upload", LOST)

    def fail(*args):
        raise LOST

    monkeypatch.setattr(remote_writer._summaries, "add_evolution", fail)
    with pytest.raises(OSError, match="connection reset"):
        remote_writer.close()
    assert len(event_files(remote_writer)) == 1
    messages = [record.getMessage() for record in caplog.records]
    assert messages[-2:] == [
        "TensorBoard's event file was not stored: connection reset",
        "TensorBoard's event file is stored now: the second attempt succeeded",
    ]


def test_a_large_event_file_is_uploaded_completely(conv_info, monkeypatch, caplog):
    """An upload that takes longer than the time for a hanging write is not given up."""
    monkeypatch.setattr("filtertrack.capture.run_writer.BackgroundWriter", impatient)
    monkeypatch.setattr("filtertrack.capture.run_writer._SLOWEST_UPLOAD", 100)
    upload = RemotePath.upload

    def slow(path, file):
        time.sleep(1.0)
        upload(path, file)

    monkeypatch.setattr(RemotePath, "upload", slow)
    run_writer = RunWriter(path_of("memory://large/run"), None)
    run_writer.open([conv_info(bias=False)], {})
    run_writer.begin()
    run_writer.put(snapshot(0))
    run_writer.close()
    assert len(event_files(run_writer)) == 1
    assert caplog.text == ""


def impatient(*sinks, **options):
    return BackgroundWriter(*sinks, **options, timeout=0.05)


def test_an_event_file_that_cannot_be_uploaded_is_named(remote_writer, monkeypatch, caplog):
    """In the log and in the error, instead of a number of pictures."""

    def fail(*args):
        raise LOST

    monkeypatch.setattr(RemotePath, "upload", fail)
    with pytest.raises(FiltertrackError, match="TensorBoard's event file was not stored: conn"):
        remote_writer.close()
    assert "TensorBoard's event file was not stored: connection reset" in caplog.text
    assert "picture" not in caplog.text


def test_a_last_snapshot_that_cannot_be_drawn_does_not_prevent_the_upload(
    remote_writer, monkeypatch
):
    """The records before it are uploaded, here in a second file."""
    remote_writer._background_writer.flush()
    summaries = remote_writer._summaries
    draw = summaries._draw

    def fail_at_4(snapshot):
        if snapshot.step == 4:
            raise OSError("no space left")
        draw(snapshot)

    monkeypatch.setattr(summaries, "_is_drawn", lambda step: step == 3)
    monkeypatch.setattr(summaries, "_draw", fail_at_4)
    remote_writer.put(snapshot(3))
    remote_writer.put(snapshot(4))
    remote_writer._background_writer.flush()
    assert len(event_files(remote_writer)) == 2
    with pytest.raises(FiltertrackError, match="no space left"):
        remote_writer.close()


_UNCLOSED = """
import sys, time
{before}
import fsspec, numpy as np
from fsspec.implementations.local import LocalFileSystem
from filtertrack import LayerInfo, Moment, Snapshot
from filtertrack.capture.run_writer import RunWriter
from filtertrack.storage.paths import path_of

class SlowFiles(LocalFileSystem):
    protocol = "slow"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("slow://"))

    def pipe_file(self, path, value, **options):
        time.sleep(0.03)
        super().pipe_file(path, value, **options)

fsspec.register_implementation("slow", SlowFiles)
info = LayerInfo(
    name="c", path="c", class_name="Conv2D", kernel="c/kernel", bias=None,
    kernel_shape=(3, 3, 3, 4), axes=(3, 0, 1, 2), shape=(4, 3, 3, 3), dtype="float32",
    strides=(1, 1), dilation=(1, 1))
writer = RunWriter(path_of("slow://" + sys.argv[1]), None)
writer.open([info], {{}})
writer.begin()
for step in range(50):
    writer.put(Snapshot(Moment(step, step), {{"c/kernel": np.ones((3, 3, 3, 4), np.float32)}}))
assert writer._background_writer._queue.qsize() > 1
"""


@pytest.mark.parametrize("at_exit", ["exit function", "finalizer"])
def test_the_program_ends_with_snapshots_in_the_queue(tmp_path, read_events, at_exit):
    """Without ``close`` all snapshots and events are stored, and no temporary file is left.

    Also where Python does not have the function by which the queue is written early.
    """
    before = "import concurrent.futures.thread, threading; del threading._register_atexit"
    program = _UNCLOSED.format(before=before if at_exit == "finalizer" else "")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "run"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert ended.stderr == ""
    assert Run(tmp_path / "run").steps == [*range(50)]
    events = read_events(tmp_path / "run" / "filters")
    assert {step for step, _ in events} == {*range(50)}
    assert list(temporary.iterdir()) == []
