"""Data inside an HTML file: compressed bytes as the text of an element.

Five characters are the digits of four bytes to the base 85, which takes 6 % less than base64. None
of the characters has a meaning in HTML or in strings of JSON and JavaScript, so that the text is as
long inside a notebook. ``page/file_data.js`` is the inverse.
"""

import gzip

import numpy as np

ARRAY_LEVEL = 7
"""How hard arrays are compressed: 9 takes five times as long for 0.4 % fewer bytes."""
_TEXT_LEVEL = 9

_BASE = 85
_DIGITS = np.array([code for code in range(ord("#"), ord("~")) if chr(code) not in "&'<>\\`"], "u1")
_PLACES = (_BASE ** np.arange(4, -1, -1)).astype(np.uint32)


def zipped(data: bytes) -> bytes:
    """Compress bytes with gzip; the result depends on nothing else."""
    return gzip.compress(data, _TEXT_LEVEL, mtime=0)


def to_text(data: bytes) -> str:
    """Return bytes as text.

    Example:
        >>> to_text(b"filters")
        'Gvk,+GZJp'
    """
    groups = -(-len(data) // 4)
    numbers = np.frombuffer(data.ljust(4 * groups, b"\0"), ">u4")
    digits = numbers[:, np.newaxis] // _PLACES % _BASE
    text = _DIGITS[digits].tobytes().decode("ascii")
    return text[: 5 * groups - (4 * groups - len(data))]


def text_size(data: bytes) -> int:
    """Return the number of characters that ``to_text`` returns."""
    return len(data) + -(-len(data) // 4)


def element(name: str, data: bytes) -> str:
    """Return an element that holds compressed bytes; ``readBytes`` of the page returns them."""
    return f'<script type="application/gzip" id="{name}">{to_text(data)}</script>'
