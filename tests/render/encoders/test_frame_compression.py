import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.render.encoders.frame_compression import Compression, changed

MOST_UNDER_WAY = 4 * min(os.cpu_count(), 4)


def threads():
    return [one.name for one in threading.enumerate() if "filtertrack-compress" in one.name]


def put_all(compression, pictures):
    with compression:
        for picture in pictures:
            compression.put(picture, picture)


def test_results_come_out_in_the_order_of_the_pictures(rng):
    """However long each takes: what is ready early waits, with what was put beside it."""
    seconds, out = rng.uniform(0, 0.01, 100), []

    def compress(number):
        time.sleep(seconds[number])
        return b"%d" % number

    put_all(Compression(compress, lambda data, place: out.append((data, place))), range(100))
    assert out == [(b"%d" % number, number) for number in range(100)]
    assert not threads()


def test_pictures_are_compressed_away_from_the_caller_and_written_on_its_thread():
    """Compressing may run anywhere but there; a file is written by one thread only."""
    compressing, writing = set(), set()

    def compress(number):
        compressing.add(threading.get_ident())
        return b""

    put_all(Compression(compress, lambda *_: writing.add(threading.get_ident())), range(20))
    assert writing == {threading.get_ident()}
    assert compressing
    assert not compressing & writing


def test_a_bounded_number_is_under_way(rng):
    """Once ``put`` is back at most two pictures a thread wait, even if the first is slow."""
    written, waiting = [], []

    def compress(number):
        time.sleep(0.05 if number % 10 == 0 else 0)
        return b""

    with Compression(compress, lambda data, number: written.append(number)) as compression:
        for number in range(60):
            compression.put(number, number)
            waiting.append(number + 1 - len(written))
    assert max(waiting) == MOST_UNDER_WAY
    assert written == list(range(60))


@pytest.mark.parametrize("fails_at", [0, 30, 59], ids=["first", "middle", "last"])
@pytest.mark.parametrize("fails_in", ["compress", "write"])
def test_an_error_surfaces_and_the_threads_end(fails_in, fails_at):
    """What compressing or writing raises comes out of the block; nothing behind it is written."""
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


def test_after_an_exception_in_the_block_nothing_more_is_written():
    """The exception itself comes out, what waited is dropped, and the threads end."""
    out = []

    def put_and_fail():
        with Compression(bytes, lambda data, number: out.append(number)) as compression:
            for number in range(MOST_UNDER_WAY + 3):
                compression.put(b"", number)
            assert out == [0, 1, 2]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_and_fail()
    assert out == [0, 1, 2]
    assert not threads()


def test_without_any_picture_nothing_is_written():
    """An empty block ends by itself."""
    out = []
    put_all(Compression(bytes, lambda *args: out.append(args)), [])
    assert out == []


# Few colours, so that pictures are alike in many pixels.
PAIRS = st.sampled_from([(2, 4, 5), (2, 4, 5, 3)]).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)


def unequal(before, frame):
    """Say for each pixel whether any of its channels differs, whatever their number."""
    return (before != frame).reshape(*frame.shape[:2], -1).any(axis=2)


def patched(before, change):
    after = before.copy()
    height, width = change.part.shape[:2]
    after[change.top : change.top + height, change.left : change.left + width] = change.part
    return after


@given(PAIRS, st.integers(1, 4))
def test_a_change_is_all_that_differs(pair, align):
    """Putting the part into the earlier picture makes the later one, grey or colour, aligned."""
    before, frame = pair
    change = changed(before, frame, align)
    np.testing.assert_array_equal(patched(before, change), frame)
    assert change.top % align == change.left % align == 0


@given(PAIRS, st.integers(1, 4))
def test_differs_says_which_pixels(pair, align):
    """Within the rectangle it is what differs in any channel; outside of it nothing does."""
    before, frame = pair
    change = changed(before, frame, align)
    height, width = change.part.shape[:2]
    assert change.differs.shape == (height, width)
    assert change.differs.dtype == bool
    everywhere = np.zeros(frame.shape[:2], bool)
    everywhere[change.top : change.top + height, change.left : change.left + width] = change.differs
    np.testing.assert_array_equal(everywhere, unequal(before, frame))


@given(PAIRS, st.integers(1, 4))
def test_the_rectangle_has_no_margin(pair, align):
    """All four edges differ somewhere; top and left may be off by what they are rounded down."""
    before, frame = pair
    change = changed(before, frame, align)
    if change.differs.any():
        assert change.differs[:align].any()
        assert change.differs[:, :align].any()
        assert change.differs[-1].any()
        assert change.differs[:, -1].any()


def test_one_channel_of_one_pixel_is_a_change():
    """A single blue value is found where it is; rounding down makes room on top and on the left."""
    before = np.zeros((6, 8, 3), np.uint8)
    frame = before.copy()
    frame[3, 5, 2] = 1
    exact, even = changed(before, frame), changed(before, frame, align=2)
    assert (exact.top, exact.left, exact.part.tolist()) == (3, 5, [[[0, 0, 1]]])
    assert (even.top, even.left, even.part.shape) == (2, 4, (2, 2, 3))
    assert even.differs.tolist() == [[False, False], [False, True]]


@given(PAIRS)
def test_without_an_earlier_picture_all_is_new(pair):
    """The change is the whole picture, and every pixel of it differs."""
    change = changed(None, pair[0], align=2)
    assert (change.top, change.left) == (0, 0)
    np.testing.assert_array_equal(change.part, pair[0])
    assert change.differs.shape == pair[0].shape[:2]
    assert change.differs.all()


@given(PAIRS, st.integers(1, 4))
def test_where_nothing_differs_it_is_the_first_pixel(pair, align):
    """A file has to hold something: one pixel, which does not differ."""
    change = changed(pair[0], pair[0].copy(), align)
    assert (change.top, change.left) == (0, 0)
    np.testing.assert_array_equal(change.part, pair[0][:1, :1])
    assert change.differs.tolist() == [[False]]
