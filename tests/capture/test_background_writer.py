import logging
import re
import threading

import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.background_writer import BackgroundWriter, room_for


def failing(snapshot):
    raise OSError(f"no space for {snapshot}")


def test_every_sink_gets_every_snapshot_in_order():
    """In the order they were put, each to all sinks."""
    one, two = [], []
    recorder = BackgroundWriter({"one": one.append, "two": two.append}, room=4)
    for number in range(100):
        recorder.put(number)
    recorder.close()
    assert one == two == list(range(100))
    assert not recorder.lost


def test_a_sink_that_fails_loses_only_its_own(caplog):
    """The other sink gets everything; one warning at once, one sum at the end."""
    kept = []
    caplog.set_level(logging.WARNING, "filtertrack")
    recorder = BackgroundWriter({"pictures": failing, "snapshots": kept.append}, room=4)
    for number in range(5):
        recorder.put(number)
    recorder.close()
    assert kept == [0, 1, 2, 3, 4]
    assert recorder.lost == {"pictures": 5}
    assert [record.getMessage() for record in caplog.records] == [
        "could not write pictures, training goes on: no space for 0",
        "lost 5 pictures; the last time: no space for 4",
    ]


def test_strict_raises_where_training_can_see_it():
    """With ``strict`` the failure comes out of ``put`` or ``close``, once."""
    recorder = BackgroundWriter({"snapshots": failing}, room=4, strict=True)

    def put_and_close():
        recorder.put(1)
        recorder.close()

    with pytest.raises(FiltertrackError, match="could not write snapshots: no space for 1"):
        put_and_close()
    recorder.close()


def hanging(free, kept):
    """Return a sink that keeps what it is given, but hangs until something is set."""

    def hang(snapshot):
        free.wait(20)
        kept.append(snapshot)

    return hang


def test_a_disk_that_hangs_costs_its_patience_once(caplog):
    """With all places taken ``put`` waits, gives the snapshot up, and does not wait again."""
    free, kept = threading.Event(), []
    recorder = BackgroundWriter({"snapshots": hanging(free, kept)}, room=1, patience=0.2)
    for number in range(10):
        recorder.put(number)
    assert recorder.lost["snapshots"] >= 7
    free.set()
    recorder.close()
    assert len(kept) + recorder.lost["snapshots"] == 10
    assert kept[0] == 0
    assert "writing is slower than training" in caplog.text
    assert re.search(r"training waited 0\.[2-9] s for snapshots to be written", caplog.text)


def test_dropping_the_recorder_writes_what_waits():
    """Keras calls no hook when ``fit`` raises; the last reference going is enough."""
    kept = []
    recorder = BackgroundWriter({"snapshots": kept.append}, room=8)
    for number in range(5):
        recorder.put(number)
    del recorder
    assert kept == [0, 1, 2, 3, 4]


def test_closing_twice_is_harmless():
    """The second time there is nothing to do."""
    recorder = BackgroundWriter({"snapshots": print}, room=2)
    recorder.close()
    recorder.close()


def test_how_many_may_wait_depends_on_their_size():
    """At most 256 MB and 32 snapshots wait, and at least 2."""
    assert [room_for(size) for size in (0, 1000, 100 << 20, 1 << 40)] == [32, 32, 2, 2]
    assert room_for(32 << 20) == 8


def test_what_ends_a_run_comes_after_the_last_snapshot():
    """On the same thread; what fails then is counted as a sink's failure is."""
    seen = []

    def fail():
        raise OSError("no")

    recorder = BackgroundWriter(
        {"snapshots": seen.append}, {"a": lambda: seen.append("end"), "b": fail}, room=3
    )
    recorder.put("first")
    recorder.put("second")
    assert recorder.close() is True
    assert seen == ["first", "second", "end"]
    assert dict(recorder.lost) == {"b": 1}


def test_writing_that_hangs_is_given_up_and_counted(caplog):
    """Each snapshot that was not finished counts; the thread ends once it moves again."""
    free, kept = threading.Event(), []
    recorder = BackgroundWriter({"snapshots": hanging(free, kept)}, room=5, patience=0.05)
    for number in range(4):
        recorder.put(number)
    assert recorder.close() is False
    assert recorder.lost["snapshots"] == 4
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
    recorder = BackgroundWriter(sinks, room=5, patience=0.05)
    recorder.put("only")
    assert recorder.close() is False
    assert kept == ["only"]
    assert dict(recorder.lost) == {"pictures for TensorBoard": 1}
    assert "lost 1 picture for TensorBoard; the last time: writing did not finish" in caplog.text
    assert "snapshot" not in caplog.text
    free.set()


def test_a_snapshot_that_hangs_is_lost_with_its_picture():
    """Neither was finished."""
    free = threading.Event()
    sinks = {"snapshots": hanging(free, []), "pictures": print}
    recorder = BackgroundWriter(sinks, room=5, patience=0.05)
    recorder.put("first")
    recorder.put("second")
    recorder.close()
    assert dict(recorder.lost) == {"snapshots": 2, "pictures": 1}
    free.set()


def test_what_decides_is_asked_after_all_before_it():
    """On the thread; what it returns is handed on, nothing if it returns nothing."""
    kept = []
    recorder = BackgroundWriter({"snapshots": kept.append}, room=9)
    for number in range(3):
        recorder.put(number)
    recorder.put(lambda: list(kept))
    recorder.put(lambda: None)
    recorder.close()
    assert kept == [0, 1, 2, [0, 1, 2]]


def test_what_decides_may_fail(caplog):
    """It costs that snapshot, and is said."""
    kept = []

    def fail():
        raise ValueError("no")

    recorder = BackgroundWriter({"snapshots": kept.append}, room=9)
    recorder.put(fail)
    recorder.put("next")
    recorder.close()
    assert kept == ["next"]
    assert "lost 1 snapshot; the last time: no" in caplog.text


def test_what_does_not_count_is_lost_without_a_word():
    """Where there is no place for it."""
    free = threading.Event()
    recorder = BackgroundWriter({"snapshots": hanging(free, [])}, room=1, patience=0.05)
    recorder.put("at work")
    recorder.put("waits")
    for _ in range(3):
        recorder.put(lambda: None, counts=False)
    assert not recorder.lost
    free.set()
    recorder.close()


def test_a_snapshot_that_is_handed_over_again_counts_once(caplog):
    """Lost twice it is one; kept the second time it is none."""

    class Step:
        def __init__(self, step):
            self.step = step

    fails = True

    def sink(snapshot):
        if fails:
            raise OSError("full")

    recorder = BackgroundWriter({"snapshots": sink}, room=9)
    for step in (1, 2, 2):
        recorder.put(Step(step))
    recorder.settle()
    assert recorder.lost == {"snapshots": 2}
    fails = False
    recorder.put(lambda: Step(2))
    recorder.settle()
    assert recorder.lost == {"snapshots": 1}
    recorder.put(Step(1))
    recorder.close()
    assert not recorder.lost
    assert caplog.text.count("could not write snapshots") == 1
    assert "lost" not in caplog.text
