import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.render.encoders.changes import changed

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
