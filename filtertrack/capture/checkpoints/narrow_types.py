"""Values of types that numpy does not have, as float32: bfloat16 and two of 8 bits."""

from functools import cache

import numpy as np

_MANTISSA, _BIAS = 3, 7
"""Of float8_e4m3fn: one sign, four bits of exponent, three of mantissa; no infinity."""


def widened(content: np.ndarray, dtype: str) -> np.ndarray:
    """Return little-endian bytes as values, in a type that represents them exactly.

    Args:
        content: The bytes, of type uint8 and of one axis.
        dtype: ``"bfloat16"``, ``"float8_e4m3fn"``, ``"float8_e5m2"`` or a type of numpy.

    Returns:
        An array of one axis: of float32 for the three, else of the type itself. A view of
        ``content`` if possible.

    Example:
        >>> widened(np.array([0x80, 0x3F], np.uint8), "bfloat16")
        array([1.], dtype=float32)
        >>> widened(np.array([0x38, 0x7E], np.uint8), "float8_e4m3fn").tolist()
        [1.0, 448.0]
    """
    values: np.ndarray
    if dtype == "bfloat16":  # the upper half of a float32
        values = (content.view("<u2").astype(np.uint32) << 16).view(np.float32)
    elif dtype == "float8_e5m2":  # the upper half of a float16
        values = (content.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    elif dtype == "float8_e4m3fn":
        values = _e4m3_values()[content]
    elif dtype == "bool":  # whose bytes are 0 or 1 in numpy
        values = content != 0
    else:  # in the machine's order of bytes
        plain = np.dtype(dtype)
        values = content.view(plain.newbyteorder("<")).astype(plain, copy=False)
    return values


@cache
def _e4m3_values() -> np.ndarray:
    """Return the 256 values of float8_e4m3fn.

    Source: Micikevicius et al. 2022, FP8 formats for deep learning, table 1.
    """
    codes = np.arange(256)
    exponents, mantissas = (codes >> _MANTISSA) & 15, codes & 7
    fractions = mantissas / 8 + (exponents > 0)
    values = fractions * 2.0 ** (np.maximum(exponents, 1) - _BIAS)
    values[codes & 127 == 127] = np.nan
    signed: np.ndarray = np.where(codes < 128, values, -values).astype(np.float32)
    return signed
