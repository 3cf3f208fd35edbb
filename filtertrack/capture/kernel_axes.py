"""Orders of a kernel's axes, written as letters, and what they make of a kernel's shape."""

from math import prod
from typing import NamedTuple

from filtertrack.errors import FiltertrackError

_FILTERS, _CHANNELS, _PER_CHANNEL = "O", "I", "M"
_SPACE = "DHW"
_MEANINGS = (
    "O filters, I input channels, D, H and W depth, height and width, "
    "M filters per input channel of a depthwise kernel"
)
SPACES = {1: "W", 2: "HW", 3: "DHW"}
"""The letters of the spatial axes, by their number."""


def axes_missing(what: str) -> FiltertrackError:
    """Return the error for arrays that are given without the letters of their axes."""
    return FiltertrackError(
        f"axes: say which axis of {what} is which, such as axes='HWIO' (Keras) or 'OIHW' (torch)"
    )


class CanonicalAxes(NamedTuple):
    """How a kernel becomes an array of the axis order ``(filters, height, width, channels)``.

    Attributes:
        axes: The transposition that makes the filters the first axis.
        shape: The shape after that.
    """

    axes: tuple[int, ...]
    shape: tuple[int, int, int, int]


def canonical_axes(letters: str, kernel_shape: tuple[int, ...]) -> CanonicalAxes:
    """Return the axes and the shape that make ``(filters, height, width, channels)`` of a kernel.

    A kernel without height becomes one row high; the slices of a 3-D kernel are placed side by
    side. A kernel without ``O`` is one filter; one without ``I`` has one channel. The filters of a
    depthwise kernel (``M``) have one channel each, in the order of the layer's output.

    Args:
        letters: A letter for each axis, upper or lower case, each at most once: ``O`` filters,
            ``I`` input channels, ``D``, ``H`` and ``W`` depth, height and width, ``M`` filters per
            input channel.
        kernel_shape: The kernel's shape.

    Raises:
        FiltertrackError: If the letters do not fit the shape.

    Example:
        >>> canonical_axes("OIHW", (64, 3, 7, 7))
        CanonicalAxes(axes=(0, 2, 3, 1), shape=(64, 7, 7, 3))
        >>> canonical_axes("HWIM", (3, 3, 8, 2)).shape
        (16, 3, 3, 1)
    """
    if isinstance(letters, str):
        letters = letters.upper()
    _check(letters, kernel_shape)
    depthwise = _PER_CHANNEL in letters
    groups = (
        (_CHANNELS, _PER_CHANNEL) if depthwise else (_FILTERS,),
        ("H",),
        ("D", "W"),
        () if depthwise else (_CHANNELS,),
    )
    numbers = [tuple(letters.index(each) for each in group if each in letters) for group in groups]
    sizes = [prod(kernel_shape[axis] for axis in group) for group in numbers]
    axes = tuple(axis for group in numbers for axis in group)
    return CanonicalAxes(axes, (sizes[0], sizes[1], sizes[2], sizes[3]))


def _check(letters: str, kernel_shape: tuple[int, ...]) -> None:
    known = _FILTERS + _CHANNELS + _SPACE + _PER_CHANNEL
    if not isinstance(letters, str) or set(letters) - set(known):
        raise FiltertrackError(
            f"axes: expected letters such as 'HWIO' or 'OIHW' ({_MEANINGS}), got {letters!r:.100}"
        )
    if len(letters) != len(kernel_shape):
        raise FiltertrackError(
            f"axes: {letters!r} has {len(letters)} letters, and the kernel of shape "
            f"{kernel_shape} has {len(kernel_shape)} axes; give a letter for each"
        )
    if len(set(letters)) != len(letters) or "W" not in letters:
        raise FiltertrackError(
            f"axes: expected each letter once, W among them ({_MEANINGS}), got {letters!r}"
        )
    if _PER_CHANNEL in letters and (_CHANNELS not in letters or _FILTERS in letters):
        raise FiltertrackError(
            f"axes: M stands beside I and without O, as in 'HWIM', got {letters!r}"
        )
    if "D" in letters and len(letters) != len("DHWIO"):
        raise FiltertrackError(
            f"axes: D stands beside O, I, H and W, as in 'DHWIO', got {letters!r}; give the kernel "
            f"an axis of size 1 for each that it lacks"
        )
