"""Weights on their way to the browser: packed so that less travels, and nothing is lost.

A message is the length of its head as four bytes (little-endian, like all numbers in it), the head
as JSON, and the arrays of one shape and type one after another. Before that is compressed, each
array but the first is combined with the one before it by exclusive or: what training has not
changed becomes zeros; and the bytes are sorted by their place in a number, so that signs and
exponents, which are alike, lie together.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from zlib_ng import zlib_ng

_GZIP = 31
"""What zlib calls its window, for a gzip head."""
_LEVEL = 2


def pack(head: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """Pack arrays of one shape and type.

    Args:
        head: What is said of them, as JSON can hold it.
        arrays: ``float32`` or ``float64``, each of the same shape; there may be none.

    Returns:
        The message, compressed (gzip).
    """
    text = json.dumps(head, allow_nan=False).encode()
    parts = [len(text).to_bytes(4, "little"), text]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError("the arrays of a message are of one type")
    if arrays:
        parts.append(_shuffled(np.stack(arrays)))
    compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, _GZIP)
    return b"".join([*map(compressor.compress, parts), compressor.flush()])


def _shuffled(arrays: np.ndarray) -> bytes:
    size = arrays.dtype.itemsize
    numbers = np.ascontiguousarray(arrays).astype(f"<f{size}", copy=False).view(f"<u{size}")
    changes = numbers.copy()
    changes[1:] ^= numbers[:-1]
    return np.ascontiguousarray(changes.view(np.uint8).reshape(-1, size).T).tobytes()
