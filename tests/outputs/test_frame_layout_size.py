"""Size limits of animations."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.errors import size_text
from filtertrack.outputs.frame_layout import check_animation_size

SIDES = st.integers(1, 100_000)


def refused(shape, frames, bytes_a_pixel):
    try:
        check_animation_size(shape, frames, bytes_a_pixel)
    except FiltertrackError:
        return True
    return False


@pytest.mark.parametrize("bytes_a_pixel", [1, 3])
@pytest.mark.parametrize("shape", [(720, 640), (1200, 1080), (2160, 3840)])
def test_common_sizes_are_allowed(shape, bytes_a_pixel):
    """Up to 4K, and a minute at ten snapshots a second."""
    check_animation_size(shape, 600, bytes_a_pixel)


def test_frames_of_more_than_2_gb_are_an_error():
    """Forty frames are in memory at once, however few there are."""
    check_animation_size((5_000, 10_000), frames=2, bytes_a_pixel=1)
    check_animation_size((5_000, 10_000), frames=100, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"about 2\.0 GB of memory"):
        check_animation_size((5_001, 10_000), frames=2, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"about 6\.0 GB of memory"):
        check_animation_size((5_000, 10_000), frames=2, bytes_a_pixel=3)


def test_files_of_more_than_20_gb_are_an_error():
    """Of all frames together, however small each is."""
    check_animation_size((1000, 1000), frames=20_000, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"up to 20\.0 GB of disk"):
        check_animation_size((1000, 1000), frames=20_001, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"up to 60\.0 GB of disk"):
        check_animation_size((1000, 1000), frames=20_000, bytes_a_pixel=3)


def test_the_message_names_the_size_and_what_to_do():
    """Frames, width by height, gigabytes, and the option that allows it."""
    with pytest.raises(FiltertrackError) as caught:
        check_animation_size((20_000, 30_000), frames=50, bytes_a_pixel=3)
    assert str(caught.value) == (
        "50 frames of 30000x20000 pixels would take about 72.0 GB of memory and up to 90.0 GB of "
        "disk; choose a smaller size, fewer steps or seconds, or allow it with huge=True (--huge)"
    )


@given(SIDES, SIDES, st.integers(2, 100_000), st.sampled_from([1, 3]))
@example(12_501, 10_000, 2, 1)
def test_a_smaller_animation_than_an_allowed_one_is_allowed(height, width, frames, bytes_a_pixel):
    """Half the size, half the frames, or grey; and width and height may be swapped."""
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
def test_bytes_have_a_suitable_unit(count, text):
    """Never 0.0 GB."""
    assert size_text(count) == text


def test_memory_and_disk_have_their_own_units():
    """Also where one of them is small."""
    with pytest.raises(FiltertrackError, match=r"about 2\.0 GB of memory and up to 100 MB of disk"):
        check_animation_size((5_001, 10_000), frames=2, bytes_a_pixel=1)
    with pytest.raises(FiltertrackError, match=r"about 40 MB of memory and up to 20\.0 GB of disk"):
        check_animation_size((1000, 1000), frames=20_001, bytes_a_pixel=1)
