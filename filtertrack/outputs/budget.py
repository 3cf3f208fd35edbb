"""What an animation would take, and where to stop and ask."""

from filtertrack.errors import FiltertrackError
from filtertrack.storage.memory_limit import size_text

_FRAMES_AT_ONCE = 40
"""Pictures in memory at a time, with what compressors make of them: measured; video takes most."""
_MOST_MEMORY = 2e9
_MOST_DISK = 20e9


def check_budget(shape: tuple[int, int], frames: int, bytes_a_pixel: int) -> None:
    """Refuse an animation so large that it was hardly meant.

    Args:
        shape: Height and width of a frame, in pixels.
        frames: How many there are.
        bytes_a_pixel: 1 for a palette's entries, 3 for colours.

    Raises:
        FiltertrackError: If it would take more than 2 GB of memory, or might take more than 20 GB
            of disk; the message says how much.

    Example:
        >>> check_budget((100_000, 100_000), frames=10, bytes_a_pixel=1)
        Traceback (most recent call last):
        ...
        filtertrack.errors.FiltertrackError: 10 frames of 100000x100000 pixels would take about
        400.0 GB of memory and up to 100.0 GB of disk; choose a smaller size, fewer steps or
        seconds, or allow it with huge=True (--huge)
    """
    height, width = shape
    picture = height * width * bytes_a_pixel
    memory, disk = picture * _FRAMES_AT_ONCE, picture * frames
    if memory > _MOST_MEMORY or disk > _MOST_DISK:
        raise FiltertrackError(
            f"{frames} frames of {width}x{height} pixels would take about {size_text(memory)} of "
            f"memory and up to {size_text(disk)} of disk; choose a smaller size, fewer "
            f"steps or seconds, or allow it with huge=True (--huge)"
        )
