import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.render.encoders.frame_compression import Compression, changed

MOST_WAITING = 4 * min(os.cpu_count(), 4)


def threads():
    return [one.name for one in threading.enumerate() if "filtertrack-compress" in one.name]


def put_all(compression, pictures):
    with compression:
        for picture in pictures:
            compression.put(picture, picture)


def test_results_are_written_in_order(rng):
    """Whatever each picture takes; results wait for earlier ones, together with their headers."""
    seconds, out = rng.uniform(0, 0.01, 100), []

    def compress(number):
        time.sleep(seconds[number])
        return b"%d" % number

    put_all(Compression(compress, lambda data, header: out.append((data, header))), range(100))
    assert out == [(b"%d" % number, number) for number in range(100)]
    assert not threads()


def test_compression_runs_on_other_threads():
    """Writing runs on the caller's thread."""
    compressing, writing = set(), set()

    def compress(number):
        compressing.add(threading.get_ident())
        return b""

    put_all(Compression(compress, lambda *_: writing.add(threading.get_ident())), range(20))
    assert writing == {threading.get_ident()}
    assert compressing
    assert not compressing & writing


def test_waiting_pictures_are_bounded(rng):
    """After ``put`` at most four pictures per thread wait, even if the first one is slow."""
    written, waiting = [], []

    def compress(number):
        time.sleep(0.05 if number % 10 == 0 else 0)
        return b""

    with Compression(compress, lambda data, number: written.append(number)) as compression:
        for number in range(60):
            compression.put(number, number)
            waiting.append(number + 1 - len(written))
    assert max(waiting) == MOST_WAITING
    assert written == list(range(60))


@pytest.mark.parametrize("fails_at", [0, 30, 59], ids=["first", "middle", "last"])
@pytest.mark.parametrize("fails_in", ["compress", "write"])
def test_errors_are_raised_and_threads_end(fails_in, fails_at):
    """An error of compressing or writing leaves the block; nothing after it is written."""
    out = []

    def fail(where, number):
        if (where, number) == (fails_in, fails_at):
            raise OSError("disk full")

    def compress(number):
        fail("compress", number)
        return b""

    def write(data, number):
        fail("write", number)
        out.append(number)

    with pytest.raises(OSError, match="disk full"):
        put_all(Compression(compress, write), range(60))
    assert out == list(range(fails_at))
    assert not threads()


def test_exception_in_the_block_stops_writing():
    """The exception is raised, waiting pictures are dropped, and the threads end."""
    out = []

    def put_and_fail():
        with Compression(bytes, lambda data, number: out.append(number)) as compression:
            for number in range(MOST_WAITING + 3):
                compression.put(b"", number)
            assert out == [0, 1, 2]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_and_fail()
    assert out == [0, 1, 2]
    assert not threads()


def test_empty_block_writes_nothing():
    """An empty block ends normally."""
    out = []
    put_all(Compression(bytes, lambda *args: out.append(args)), [])
    assert out == []


# Few colours, so that many pixels of two pictures are equal.
PAIRS = st.sampled_from([(2, 4, 5), (2, 4, 5, 3)]).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)


def unequal(before, frame):
    """Return which pixels differ in any channel."""
    return (before != frame).reshape(*frame.shape[:2], -1).any(axis=2)


def patched(before, change):
    after = before.copy()
    height, width = change.part.shape[:2]
    after[change.top : change.top + height, change.left : change.left + width] = change.part
    return after


@given(PAIRS, st.integers(1, 4))
def test_change_turns_the_earlier_picture_into_the_later(pair, align):
    """Grey or colour, with any alignment."""
    before, frame = pair
    change = changed(before, frame, align)
    np.testing.assert_array_equal(patched(before, change), frame)
    assert change.top % align == change.left % align == 0


@given(PAIRS, st.integers(1, 4))
def test_differs_marks_changed_pixels(pair, align):
    """Inside the rectangle any channel counts; outside nothing differs."""
    before, frame = pair
    change = changed(before, frame, align)
    height, width = change.part.shape[:2]
    assert change.differs.shape == (height, width)
    assert change.differs.dtype == bool
    everywhere = np.zeros(frame.shape[:2], bool)
    everywhere[change.top : change.top + height, change.left : change.left + width] = change.differs
    np.testing.assert_array_equal(everywhere, unequal(before, frame))


@given(PAIRS, st.integers(1, 4))
def test_rectangle_is_the_smallest(pair, align):
    """All four edges contain a difference; top and left up to their alignment."""
    before, frame = pair
    change = changed(before, frame, align)
    if change.differs.any():
        assert change.differs[:align].any()
        assert change.differs[:, :align].any()
        assert change.differs[-1].any()
        assert change.differs[:, -1].any()


def test_change_of_one_channel_is_found():
    """A single blue value; alignment extends the rectangle to the top and the left."""
    before = np.zeros((6, 8, 3), np.uint8)
    frame = before.copy()
    frame[3, 5, 2] = 1
    exact, even = changed(before, frame), changed(before, frame, align=2)
    assert (exact.top, exact.left, exact.part.tolist()) == (3, 5, [[[0, 0, 1]]])
    assert (even.top, even.left, even.part.shape) == (2, 4, (2, 2, 3))
    assert even.differs.tolist() == [[False, False], [False, True]]


@given(PAIRS)
def test_first_picture_is_all_new(pair):
    """The change is the whole picture, and every pixel differs."""
    change = changed(None, pair[0], align=2)
    assert (change.top, change.left) == (0, 0)
    np.testing.assert_array_equal(change.part, pair[0])
    assert change.differs.shape == pair[0].shape[:2]
    assert change.differs.all()


@given(PAIRS, st.integers(1, 4))
def test_no_change_is_the_first_pixel(pair, align):
    """Formats need at least one pixel; it does not differ."""
    change = changed(pair[0], pair[0].copy(), align)
    assert (change.top, change.left) == (0, 0)
    np.testing.assert_array_equal(change.part, pair[0][:1, :1])
    assert change.differs.tolist() == [[False]]
