import logging
import re
import threading
import time

import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.background_writer import BackgroundWriter, queue_capacity


def failing(snapshot):
    raise OSError(f"no space for {snapshot}")


def test_every_sink_gets_every_snapshot_in_order():
    """In the order they were put."""
    one, two = [], []
    writer = BackgroundWriter({"one": one.append, "two": two.append}, capacity=4)
    for number in range(100):
        writer.put(number)
    writer.close()
    assert one == two == list(range(100))
    assert not writer.lost


def test_a_failing_sink_does_not_affect_other_sinks(caplog):
    """It logs one warning at once, and the number of losses at the end."""
    kept = []
    caplog.set_level(logging.WARNING, "filtertrack")
    writer = BackgroundWriter({"pictures": failing, "snapshots": kept.append}, capacity=4)
    for number in range(5):
        writer.put(number)
    writer.close()
    assert kept == [0, 1, 2, 3, 4]
    assert writer.lost == {"pictures": 5}
    assert [record.getMessage() for record in caplog.records] == [
        "could not write pictures, training goes on: no space for 0",
        "lost 5 pictures; the last time: no space for 4",
    ]


def test_strict_raises_failures_in_put_or_close():
    """Each failure once."""
    writer = BackgroundWriter({"snapshots": failing}, capacity=4, strict=True)

    def put_and_close():
        writer.put(1)
        writer.close()

    with pytest.raises(FiltertrackError, match="could not write snapshots: no space for 1"):
        put_and_close()
    writer.close()


def hanging(free, kept):
    """Return a sink that keeps its snapshots, but hangs until an event is set."""

    def hang(snapshot):
        free.wait(20)
        kept.append(snapshot)

    return hang


def test_a_hanging_disk_delays_training_by_one_timeout(caplog):
    """With a full queue ``put`` waits, drops the snapshot, and does not wait again."""
    free, kept = threading.Event(), []
    writer = BackgroundWriter({"snapshots": hanging(free, kept)}, capacity=1, timeout=0.2)
    for number in range(10):
        writer.put(number)
    assert writer.lost["snapshots"] >= 7
    free.set()
    writer.close()
    assert len(kept) + writer.lost["snapshots"] == 10
    assert kept[0] == 0
    assert "writing is slower than training" in caplog.text
    assert re.search(r"training waited 0\.[2-9] s for snapshots to be written", caplog.text)


def test_dropping_the_writer_writes_the_queue():
    """Keras calls no hook when ``fit`` raises."""
    kept = []
    writer = BackgroundWriter({"snapshots": kept.append}, capacity=8)
    for number in range(5):
        writer.put(number)
    del writer
    assert kept == [0, 1, 2, 3, 4]


def test_close_may_be_called_twice():
    """The second call does nothing."""
    writer = BackgroundWriter({"snapshots": print}, capacity=2)
    writer.close()
    writer.close()


def test_queue_capacity_depends_on_the_size_of_a_snapshot():
    """At most 256 MB and 32 snapshots, at least 2."""
    assert [queue_capacity(size) for size in (0, 1000, 100 << 20, 1 << 40)] == [32, 32, 2, 2]
    assert queue_capacity(32 << 20) == 8


def test_finish_functions_are_called_after_the_last_snapshot():
    """On the same thread; their failures are counted like those of sinks."""
    called = []

    def fail():
        raise OSError("no")

    writer = BackgroundWriter(
        {"snapshots": called.append}, {"a": lambda: called.append("end"), "b": fail}, capacity=3
    )
    writer.put("first")
    writer.put("second")
    assert writer.close() is True
    assert called == ["first", "second", "end"]
    assert dict(writer.lost) == {"b": 1}


def test_flush_calls_the_finish_functions_after_a_full_queue():
    """The queue has no space for the command at first."""
    free, kept = threading.Event(), []
    finish = {"file": lambda: kept.append("end")}
    writer = BackgroundWriter({"snapshots": hanging(free, kept)}, finish, capacity=1)
    writer.put("first")
    writer.put("second")
    threading.Timer(0.2, free.set).start()
    writer.flush()
    assert kept == ["first", "second", "end"]


def test_flush_gives_up_a_hanging_queue():
    """After the time of one ``close``: the program can end."""
    free = threading.Event()
    writer = BackgroundWriter({"snapshots": hanging(free, [])}, capacity=1, timeout=0.05)
    writer.put("first")
    writer.put("second")
    start = time.monotonic()
    writer.flush()
    assert 0.3 <= time.monotonic() - start < 5
    free.set()


def test_a_failed_finish_is_reported_as_what_was_not_stored(caplog):
    """Once, however often it failed; not as a number of lost snapshots."""

    def fail():
        raise OSError("connection lost")

    writer = BackgroundWriter({"snapshots": print}, {"the event file": fail}, capacity=3)
    writer.flush()
    writer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "could not write the event file, training goes on: connection lost",
        "the event file was not stored: connection lost",
    ]


def test_a_hanging_finish_is_reported_as_what_was_not_stored(caplog):
    """When ``close`` gives it up."""
    free = threading.Event()
    writer = BackgroundWriter(
        {}, {"the event file": lambda: free.wait(20)}, capacity=3, timeout=0.05
    )
    assert writer.close() is False
    assert "the event file was not stored: writing did not finish" in caplog.text
    assert "lost" not in caplog.text
    free.set()


@pytest.mark.parametrize("way", ["close", "flush"])
def test_a_slow_finish_has_the_time_that_it_needs(way):
    """As much as ``finish_time`` returns, beyond that for a hanging write."""
    kept = []

    def finish():
        time.sleep(1.0)
        kept.append("end")

    writer = BackgroundWriter(
        {"snapshots": print},
        {"the event file": finish},
        finish_time=lambda: 20.0,
        capacity=3,
        timeout=0.05,
    )
    getattr(writer, way)()
    assert kept == ["end"]


def test_a_finish_that_succeeds_when_it_is_repeated_is_not_reported(caplog):
    """At the program's end it is called twice."""
    errors = [OSError("connection lost")]

    def finish():
        if errors:
            raise errors.pop()

    writer = BackgroundWriter({"snapshots": print}, {"the event file": finish}, capacity=3)
    writer.flush()
    writer.close()
    assert not writer.lost
    assert "was not stored" not in caplog.text


def test_close_gives_up_hanging_writes_and_counts_them(caplog):
    """Each unfinished snapshot counts; the thread ends when it resumes."""
    free, kept = threading.Event(), []
    writer = BackgroundWriter({"snapshots": hanging(free, kept)}, capacity=5, timeout=0.05)
    for number in range(4):
        writer.put(number)
    assert writer.close() is False
    assert writer.lost["snapshots"] == 4
    assert "lost 4 snapshots; the last time: writing did not finish" in caplog.text
    free.set()
    for thread in threading.enumerate():
        if thread.name == "filtertrack":
            thread.join(5)
    assert kept == [0]


def test_a_hanging_picture_is_lost_but_not_its_snapshot(caplog):
    """The log reports one lost picture and no lost snapshot."""
    free, kept = threading.Event(), []
    sinks = {"snapshots": kept.append, "pictures for TensorBoard": hanging(free, [])}
    writer = BackgroundWriter(sinks, capacity=5, timeout=0.05)
    writer.put("only")
    assert writer.close() is False
    assert kept == ["only"]
    assert dict(writer.lost) == {"pictures for TensorBoard": 1}
    assert "lost 1 picture for TensorBoard; the last time: writing did not finish" in caplog.text
    assert "snapshot" not in caplog.text
    free.set()


def test_a_hanging_snapshot_is_lost_with_its_picture():
    """Neither was finished."""
    free = threading.Event()
    sinks = {"snapshots": hanging(free, []), "pictures": print}
    writer = BackgroundWriter(sinks, capacity=5, timeout=0.05)
    writer.put("first")
    writer.put("second")
    writer.close()
    assert dict(writer.lost) == {"snapshots": 2, "pictures": 1}
    free.set()


def test_a_decision_is_called_after_all_earlier_snapshots():
    """On the thread; its return value is written, unless it is None."""
    kept = []
    writer = BackgroundWriter({"snapshots": kept.append}, capacity=9)
    for number in range(3):
        writer.put(number)
    writer.put(lambda: list(kept))
    writer.put(lambda: None)
    writer.close()
    assert kept == [0, 1, 2, [0, 1, 2]]


def test_a_failing_decision_loses_its_snapshot(caplog):
    """With a warning."""
    kept = []

    def fail():
        raise ValueError("no")

    writer = BackgroundWriter({"snapshots": kept.append}, capacity=9)
    writer.put(fail)
    writer.put("next")
    writer.close()
    assert kept == ["next"]
    assert "lost 1 snapshot; the last time: no" in caplog.text


def test_a_dropped_snapshot_that_does_not_count_is_not_logged():
    """With ``counts=False``."""
    free = threading.Event()
    writer = BackgroundWriter({"snapshots": hanging(free, [])}, capacity=1, timeout=0.05)
    writer.put("at work")
    writer.put("waits")
    for _ in range(3):
        writer.put(lambda: None, counts=False)
    assert not writer.lost
    free.set()
    writer.close()


def test_a_snapshot_that_is_written_again_counts_once(caplog):
    """Lost twice it counts once; written the second time it does not count."""

    class Step:
        def __init__(self, step):
            self.step = step

    fails = True

    def sink(snapshot):
        if fails:
            raise OSError("full")

    writer = BackgroundWriter({"snapshots": sink}, capacity=9)
    for step in (1, 2, 2):
        writer.put(Step(step))
    writer.flush()
    assert writer.lost == {"snapshots": 2}
    fails = False
    writer.put(lambda: Step(2))
    writer.flush()
    assert writer.lost == {"snapshots": 1}
    writer.put(Step(1))
    writer.close()
    assert not writer.lost
    assert caplog.text.count("could not write snapshots") == 1
    assert "lost" not in caplog.text
