"""Reads safetensors files: 8 bytes of length, a JSON header, and the bytes of the arrays.

Source: the format's specification in the README of huggingface/safetensors.
"""

import json
import math
import os
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from filtertrack.capture.checkpoints.checkpoint import refused
from filtertrack.capture.checkpoints.kernel_candidates import StateArray
from filtertrack.capture.checkpoints.narrow_types import widened
from filtertrack.capture.checkpoints.state_checkpoint import StateFile

_HEAD = 8
_LONGEST_HEADER = 1 << 24
"""Maximum bytes of a header: those of the largest models take a few."""
_TYPES = {
    "BOOL": ("bool", 8),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "U16": ("uint16", 16),
    "I16": ("int16", 16),
    "U32": ("uint32", 32),
    "I32": ("int32", 32),
    "U64": ("uint64", 64),
    "I64": ("int64", 64),
    "F16": ("float16", 16),
    "F32": ("float32", 32),
    "F64": ("float64", 64),
    "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    # Known, and not read:
    "F8_E8M0": ("scale e8m0", 8),
    "F8_E4M3FNUZ": ("e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("e5m2fnuz", 8),
    "F6_E2M3": ("e2m3", 6),
    "F6_E3M2": ("e3m2", 6),
    "F4": ("e2m1", 4),
    "C64": ("complex64", 64),
}
"""Name of a type in the header to its name in numpy or Keras, and to the bits of a value."""
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}


class _Entry(NamedTuple):
    """An array in the file: its shape and type, and its bytes after the header."""

    array: StateArray
    start: int
    end: int


class SafetensorsFile(StateFile):
    """An open safetensors file: see ``StateFile``.

    Args:
        path: The file.

    Raises:
        FiltertrackError: If the file does not follow the specification.
        OSError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()  # of the position in the file
        self._file = path.open("rb", buffering=0)
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._begin, header = self._header()
            self._entries, metadata = _parse(header, self._size - self._begin)
        except ValueError as error:
            self._file.close()
            raise refused(path, error) from error
        except BaseException:
            self._file.close()
            raise
        self.arrays = {name: entry.array for name, entry in self._entries.items()}
        self.convention = "mlx" if metadata.get("format") == "mlx" else "torch"

    def _header(self) -> tuple[int, bytes]:
        """Return the position of the first array, and the header."""
        head = self._file.read(_HEAD) or b""
        length = int.from_bytes(head, "little")
        if len(head) < _HEAD or length > self._size - _HEAD:
            raise ValueError(
                f"not a safetensors file: it has {self._size} bytes, and claims a header of "
                f"{length} bytes"
            )
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header claims {length} bytes, more than {_LONGEST_HEADER}")
        return _HEAD + length, self._bytes(_HEAD, length).tobytes()

    def _bytes(self, start: int, size: int) -> np.ndarray:
        """Read bytes into an array of their own."""
        content: np.ndarray = np.empty(size, np.uint8)
        with self._lock:
            self._file.seek(start)
            done = 0
            while done < size:  # a single call reads at most 2 GB
                count = self._file.readinto(memoryview(content.data)[done:])
                if not count:
                    raise ValueError("it ends within an array")
                done += count
        return content

    def read(self, name: str) -> np.ndarray:
        """Read an array: see ``StateFile``."""
        entry = self._entries[name]
        try:
            content = self._bytes(self._begin + entry.start, entry.end - entry.start)
        except ValueError as error:
            raise refused(self._path, error) from error
        return widened(content, entry.array.dtype).reshape(entry.array.shape)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _parse(header: bytes, size: int) -> tuple[dict[str, _Entry], dict[str, str]]:
    """Parse and check a header: the arrays fill the bytes after it, without holes.

    Args:
        header: The header.
        size: The number of bytes after it.

    Raises:
        ValueError: If it does not follow the specification.
    """
    if not header.startswith(b"{"):
        raise ValueError("its header does not begin with '{'")
    try:
        values = json.loads(
            header.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (RecursionError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"its header is not valid JSON: {type(error).__name__}") from error
    metadata = values.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{_METADATA}: expected texts by name")
    entries = {name: _entry(name, value) for name, value in values.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            raise ValueError(
                f"array {name!r:.100}: its data begins at {entry.start}, and the array before it "
                f"ends at {end}"
            )
        end = entry.end
    if end != size:
        raise ValueError(f"its arrays take {end} bytes, and the file holds {size}")
    return entries, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("its header has a key twice")
    return values


def _refuse_constant(text: str) -> None:
    raise ValueError(f"its header holds the number {text}")


def _entry(name: str, value: Any) -> _Entry:
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        raise ValueError(f"array {name!r:.100}: expected dtype, shape and data_offsets")
    kind, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"array {name!r:.100}: its type {kind!r:.100} is not known")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"array {name!r:.100}: expected sizes and offsets from 0 on")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"array {name!r:.100}: expected two offsets in order")
    dtype, bits = _TYPES[kind]
    # A product of many large sizes would be a number of millions of digits.
    if len(shape) > 64 or max(shape, default=0) >= 1 << 62:
        raise ValueError(f"array {name!r:.100}: a shape of {len(shape)} axes is too large")
    taken = offsets[1] - offsets[0]
    if math.prod(shape) * bits != taken * 8:
        raise ValueError(
            f"array {name!r:.100}: a shape of {shape!r:.200} of type {kind} does not take {taken} "
            f"bytes"
        )
    return _Entry(StateArray(tuple(shape), dtype), *offsets)
