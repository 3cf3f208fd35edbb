import logging
import re
import threading

import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.background_writer import BackgroundWriter, queue_capacity


def failing(snapshot):
    raise OSError(f"no space for {snapshot}")


def test_every_sink_gets_every_snapshot_in_order():
    """In the order they were put, each to all sinks."""
    one, two = [], []
    writer = BackgroundWriter({"one": one.append, "two": two.append}, capacity=4)
    for number in range(100):
        writer.put(number)
    writer.close()
    assert one == two == list(range(100))
    assert not writer.lost


def test_a_sink_that_fails_loses_only_its_own(caplog):
    """The other sink gets everything; one warning at once, one sum at the end."""
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


def test_strict_raises_where_training_can_see_it():
    """With ``strict`` the failure comes out of ``put`` or ``close``, once."""
    writer = BackgroundWriter({"snapshots": failing}, capacity=4, strict=True)

    def put_and_close():
        writer.put(1)
        writer.close()

    with pytest.raises(FiltertrackError, match="could not write snapshots: no space for 1"):
        put_and_close()
    writer.close()


def hanging(free, kept):
    """Return a sink that keeps what it is given, but hangs until something is set."""

    def hang(snapshot):
        free.wait(20)
        kept.append(snapshot)

    return hang


def test_a_disk_that_hangs_costs_its_patience_once(caplog):
    """With all places taken ``put`` waits, gives the snapshot up, and does not wait again."""
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


def test_dropping_the_recorder_writes_what_waits():
    """Keras calls no hook when ``fit`` raises; the last reference going is enough."""
    kept = []
    writer = BackgroundWriter({"snapshots": kept.append}, capacity=8)
    for number in range(5):
        writer.put(number)
    del writer
    assert kept == [0, 1, 2, 3, 4]


def test_closing_twice_is_harmless():
    """The second time there is nothing to do."""
    writer = BackgroundWriter({"snapshots": print}, capacity=2)
    writer.close()
    writer.close()


def test_how_many_may_wait_depends_on_their_size():
    """At most 256 MB and 32 snapshots wait, and at least 2."""
    assert [queue_capacity(size) for size in (0, 1000, 100 << 20, 1 << 40)] == [32, 32, 2, 2]
    assert queue_capacity(32 << 20) == 8


def test_what_ends_a_run_comes_after_the_last_snapshot():
    """On the same thread; what fails then is counted as a sink's failure is."""
    seen = []

    def fail():
        raise OSError("no")

    writer = BackgroundWriter(
        {"snapshots": seen.append}, {"a": lambda: seen.append("end"), "b": fail}, capacity=3
    )
    writer.put("first")
    writer.put("second")
    assert writer.close() is True
    assert seen == ["first", "second", "end"]
    assert dict(writer.lost) == {"b": 1}


def test_writing_that_hangs_is_given_up_and_counted(caplog):
    """Each snapshot that was not finished counts; the thread ends once it moves again."""
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


def test_a_picture_that_hangs_is_lost_without_its_snapshot(caplog):
    """The snapshot is on disk: the end says that one picture was lost, and no snapshot."""
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


def test_a_snapshot_that_hangs_is_lost_with_its_picture():
    """Neither was finished."""
    free = threading.Event()
    sinks = {"snapshots": hanging(free, []), "pictures": print}
    writer = BackgroundWriter(sinks, capacity=5, timeout=0.05)
    writer.put("first")
    writer.put("second")
    writer.close()
    assert dict(writer.lost) == {"snapshots": 2, "pictures": 1}
    free.set()


def test_what_decides_is_asked_after_all_before_it():
    """On the thread; what it returns is handed on, nothing if it returns nothing."""
    kept = []
    writer = BackgroundWriter({"snapshots": kept.append}, capacity=9)
    for number in range(3):
        writer.put(number)
    writer.put(lambda: list(kept))
    writer.put(lambda: None)
    writer.close()
    assert kept == [0, 1, 2, [0, 1, 2]]


def test_what_decides_may_fail(caplog):
    """It costs that snapshot, and is said."""
    kept = []

    def fail():
        raise ValueError("no")

    writer = BackgroundWriter({"snapshots": kept.append}, capacity=9)
    writer.put(fail)
    writer.put("next")
    writer.close()
    assert kept == ["next"]
    assert "lost 1 snapshot; the last time: no" in caplog.text


def test_what_does_not_count_is_lost_without_a_word():
    """Where there is no place for it."""
    free = threading.Event()
    writer = BackgroundWriter({"snapshots": hanging(free, [])}, capacity=1, timeout=0.05)
    writer.put("at work")
    writer.put("waits")
    for _ in range(3):
        writer.put(lambda: None, counts=False)
    assert not writer.lost
    free.set()
    writer.close()


def test_a_snapshot_that_is_handed_over_again_counts_once(caplog):
    """Lost twice it is one; kept the second time it is none."""

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
