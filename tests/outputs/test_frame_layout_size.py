import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.outputs.frame_layout import check_animation_size
from filtertrack.storage.memory_limit import size_text

SIDES = st.integers(1, 100_000)


def refused(shape, frames, bytes_a_pixel):
    try:
        check_animation_size(shape, frames, bytes_a_pixel)
    except FiltertrackError:
        return True
    return False


@pytest.mark.parametrize("bytes_a_pixel", [1, 3])
@pytest.mark.parametrize("shape", [(720, 640), (1200, 1080), (2160, 3840)])
def test_what_anyone_would_ask_for_is_allowed(shape, bytes_a_pixel):
    """Up to 4K, and a minute of ten snapshots a second."""
    check_animation_size(shape, 600, bytes_a_pixel)


def test_memory_has_an_end():
    """40 pictures may take 2 GB, however few there are; one row more may not."""
    check_animation_size((5_000, 10_000), frames=2, bytes_a_pixel=1)
    check_animation_size((5_000, 10_000), frames=100, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"about 2\.0 GB of memory"):
        check_animation_size((5_001, 10_000), frames=2, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"about 6\.0 GB of memory"):
        check_animation_size((5_000, 10_000), frames=2, bytes_a_pixel=3)


def test_a_disk_has_an_end():
    """All pictures may take 20 GB, however small each is; one more may not."""
    check_animation_size((1000, 1000), frames=20_000, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"up to 20\.0 GB of disk"):
        check_animation_size((1000, 1000), frames=20_001, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"up to 60\.0 GB of disk"):
        check_animation_size((1000, 1000), frames=20_000, bytes_a_pixel=3)


def test_the_error_says_how_much_and_what_to_do():
    """Frames, width by height, gigabytes of both, and the way round it."""
    with pytest.raises(FiltertrackError) as caught:
        check_animation_size((20_000, 30_000), frames=50, bytes_a_pixel=3)
    assert str(caught.value) == (
        "50 frames of 30000x20000 pixels would take about 72.0 GB of memory and up to 90.0 GB of "
        "disk; choose a smaller size, fewer steps or seconds, or allow it with huge=True (--huge)"
    )


@given(SIDES, SIDES, st.integers(2, 100_000), st.sampled_from([1, 3]))
@example(12_501, 10_000, 2, 1)
def test_less_of_what_is_allowed_is_allowed(height, width, frames, bytes_a_pixel):
    """Turned on its side it is the same; half the size, half the frames, or grey cost no more."""
    if refused((height, width), frames, bytes_a_pixel):
        assert refused((width, height), frames, bytes_a_pixel)
        assert refused((2 * height, width), frames, bytes_a_pixel)
        assert refused((height, width), 2 * frames, bytes_a_pixel)
        assert refused((height, width), frames, 3)
    else:
        check_animation_size((width, height), frames, bytes_a_pixel)
        check_animation_size((height, width), frames // 2, bytes_a_pixel)
        check_animation_size((height // 2, width), frames, 1)


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1 kB"), (31_400_000, "31 MB"), (999_000_000, "999 MB"), (2_040_000_000, "2.0 GB")],
)
def test_bytes_have_a_unit_that_says_something(count, text):
    """Never 0.0 GB."""
    assert size_text(count) == text


def test_a_small_part_of_what_is_refused_has_its_unit():
    """Much memory and little disk, or the other way round."""
    with pytest.raises(FiltertrackError, match=r"about 2\.0 GB of memory and up to 100 MB of disk"):
        check_animation_size((5_001, 10_000), frames=2, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"about 40 MB of memory and up to 20\.0 GB of disk"):
        check_animation_size((1000, 1000), frames=20_001, bytes_a_pixel=1)
