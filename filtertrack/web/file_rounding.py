"""Cells in 16 bits, for an HTML file that would be too large with exact ones.

A ``float16`` has 11 significant bits, but a range of only 6e-8 to 65504. So the values of each cell
at each snapshot are divided by a power of two of their own before they are rounded.
``page/cells_message.js`` multiplies them again.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from filtertrack.web.file_data import ARRAY_LEVEL
from filtertrack.web.payload import pack

_STEP = 8
"""Exponents are multiples of it, plus a constant: as weights change, most exponents stay the same,
and the data is compressed better."""
_LARGEST = 15
"""Binary exponent below which the values are before they are rounded."""
_LOWEST = -1050
"""The lowest exponent: its power of two is a ``float64``, and the smallest positive ``float64``
divided by it is a ``float16``."""


def pack_rounded(head: Mapping[str, object], arrays: Sequence[np.ndarray]) -> bytes:
    """Pack cells as ``payload.pack`` does, rounded to ``float16``.

    The head gets ``exponents``, the power of two of each cell of each array, and ``rounded_from``,
    the type of the cells.

    Args:
        head: See ``CellsHead``.
        arrays: ``float32`` or ``float64`` arrays of shape ``(cells, ...)``; may be empty.
    """
    if not arrays:
        return pack(head, arrays, ARRAY_LEVEL)
    halves, exponents = zip(*map(round_cells, arrays), strict=True)
    about = {
        "type": "float16",
        "rounded_from": arrays[0].dtype.name,
        "exponents": [each.tolist() for each in exponents],
    }
    return pack({**head, **about}, halves, ARRAY_LEVEL)


def round_cells(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round the values of cells to 11 significant bits.

    The error of a value is at most 2**-11 of it, or 2**-31 of the largest finite magnitude in its
    cell. Infinity and NaN stay what they are, and no finite value becomes infinite.

    Args:
        cells: ``float32`` or ``float64`` array of shape ``(cells, ...)``.

    Returns:
        A ``float16`` array of the same shape, and the exponent of each cell: its values are those
        of the array times two to the power of it.
    """
    each = cells.reshape(len(cells), -1)
    largest = np.where(np.isfinite(each), np.abs(each), 0).max(axis=1, initial=0)
    _, exponents = np.frexp(largest)
    exponents = np.maximum(-(-exponents // _STEP) * _STEP - _LARGEST, _LOWEST)
    by_cell = exponents[:, np.newaxis]
    with np.errstate(over="ignore", under="ignore"):
        halves = np.ldexp(each, -by_cell).astype(np.float16)
        # The largest numbers of 32 and 64 bits are rounded up to infinity.
        is_over = np.isfinite(each) & np.isinf(np.ldexp(halves.astype(each.dtype), by_cell))
    halves = np.where(is_over, np.nextafter(halves, np.float16(0)), halves)
    return halves.reshape(cells.shape), exponents
