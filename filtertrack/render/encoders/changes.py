"""What one picture of an animation changes in the one before: all that has to be stored."""

from typing import NamedTuple

import numpy as np


class Change(NamedTuple):
    """The smallest rectangle in which two pictures differ.

    Attributes:
        top: Its first row.
        left: Its first column.
        part: The later picture's pixels in it.
        differs: Which of them differ: booleans of shape ``(height, width)``.
    """

    top: int
    left: int
    part: np.ndarray
    differs: np.ndarray


def changed(before: np.ndarray | None, frame: np.ndarray, align: int = 1) -> Change:
    """Find what a picture changes.

    Args:
        before: The earlier picture; None if there is none: then all of it is new.
        frame: The later one: array of shape ``(height, width)`` or ``(height, width, channels)``.
        align: Top and left are rounded down to a multiple of this.

    Returns:
        The change. Where nothing differs it is the first pixel: a file has to hold something.

    Example:
        >>> before, frame = np.zeros((4, 4), int), np.zeros((4, 4), int)
        >>> frame[1, 2] = frame[2, 2] = 7
        >>> changed(before, frame).part
        array([[7], [7]])
    """
    if before is None:
        return Change(0, 0, frame, np.ones(frame.shape[:2], bool))
    unequal = before != frame
    differs = unequal if frame.ndim == 2 else np.logical_or.reduce(unequal, axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return Change(0, 0, frame[:1, :1], differs[:1, :1])
    top, left = int(rows[0]) // align * align, int(columns[0]) // align * align
    inside = slice(top, int(rows[-1]) + 1), slice(left, int(columns[-1]) + 1)
    return Change(top, left, frame[inside], differs[inside])
