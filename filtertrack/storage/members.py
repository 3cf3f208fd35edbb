"""The arrays in a snapshot's file: what they are called, how large they may be, what they hold."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, Protocol

import numpy as np
from zlib_ng.zlib_ng import crc32

from filtertrack.errors import FiltertrackError, printable
from filtertrack.snapshot import PLAIN_TYPES, LayerInfo, Moment, Snapshot, stored_type

_UTF_32 = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"
_MOST_CHARACTERS = 1 << 20
_HEADER = 1 << 12
_FIELDS = tuple(each.name for each in fields(Moment))
_WIDEST = 8  # bytes a value takes at most: float64
_NUMBERS = "".join({np.dtype(name).char for name in PLAIN_TYPES} | set("lLqQ"))
"""The types that are stored, as numpy's letters; some have two."""


class Described(Protocol):
    """What is known of an array: an array itself, or what its head says."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""


class Member(NamedTuple):
    """An array of a snapshot's file.

    Attributes:
        name: What it is stored under.
        shape: Its shape, or None where that is not known.
        most: The bytes it may take.
        is_text: Whether it holds a text; else numbers.
    """

    name: str
    shape: tuple[int, ...] | None
    most: int
    is_text: bool = False

    def fault_of(self, array: Described) -> str | None:
        """Return what is wrong with an array that was read as this one; None if nothing is."""
        if self.shape is None:
            size = math.prod(n or 1 for n in array.shape) * array.dtype.itemsize
            if size > self.most:
                return f"{self.name} has the shape {array.shape}, more than is expected"
        elif array.shape != self.shape:
            return f"{self.name} has the shape {array.shape}, expected {self.shape}"
        if array.dtype.char not in ("U" if self.is_text else _NUMBERS):
            return f"{self.name} holds values of type {array.dtype}"
        return None


MOMENT = Member("meta", (), 4 * _MOST_CHARACTERS + _HEADER, is_text=True)
"""When it was taken, as a JSON text."""


def kernel_of(info: LayerInfo) -> Member:
    """Return where a layer's kernel is."""
    return Member(info.kernel, info.kernel_shape, _WIDEST * math.prod(info.kernel_shape) + _HEADER)


def bias_of(info: LayerInfo) -> Member:
    """Return where the bias is of a layer that has one."""
    # A layer of the user's own may have a bias of any shape; none is larger than its kernel.
    most = _WIDEST * max(math.prod(info.kernel_shape), info.filters) + _HEADER
    return Member(str(info.bias), None, most)


def weights_of(infos: Iterable[LayerInfo]) -> list[Member]:
    """Return where the kernels and biases of layers are."""
    return [
        member
        for info in infos
        for member in ([kernel_of(info), bias_of(info)] if info.bias else [kernel_of(info)])
    ]


def members_of(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """Return a snapshot as the arrays of its file.

    Raises:
        FiltertrackError: If an array holds no numbers, or the metrics are endless.
    """
    members = {name: _storable(name, array) for name, array in snapshot.arrays.items()}
    # Last, as its length differs: so every other array lies where it lies in the other files.
    members[MOMENT.name] = np.array(_text_of(snapshot.moment))
    return members


def moment_of(text: np.ndarray) -> Moment:
    """Return the moment that a file's text describes; fields of a later version are ignored.

    Raises:
        ValueError: If it describes none.
    """
    try:
        # Not by numpy, which lets through, or fails on, what are no characters.
        values = json.loads(text.tobytes().decode(_UTF_32).rstrip("\0"))
        known = {name: values[name] for name in _FIELDS if name in values}
        metrics = {printable(name): v for name, v in known.get("metrics", {}).items()}
        return Moment(**{**known, "metrics": metrics, "note": printable(known.get("note", ""))})
    except (TypeError, AttributeError, RecursionError, FiltertrackError) as error:
        raise ValueError(error) from error


def check_storable(infos: Iterable[LayerInfo]) -> None:
    """See to it that the weights of layers can be stored so that they are read back exactly.

    Raises:
        FiltertrackError: If the kernel of one is of a type that cannot be stored.
    """
    for info in infos:
        if stored_type(info.dtype) is None:
            raise FiltertrackError(
                f"layer {info.name}: its kernel is of type {info.dtype!r}, which cannot be stored "
                f"without loss; leave it out with layers=, or cast it to float32"
            )


def same_weights(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two sets of arrays are stored as the same bytes under the same names."""
    if one.keys() != other.keys():
        return False
    for name, array in one.items():
        first, second = _storable(name, array), _storable(name, other[name])
        if (first.dtype, first.shape) != (second.dtype, second.shape):
            return False
        if not np.array_equal(_bytes_of(first), _bytes_of(second)):
            return False
    return True


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return a checksum of each array as it is stored: equal ones have equal bytes."""
    return {name: crc32(_bytes_of(_storable(name, array))) for name, array in arrays.items()}


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    stored = stored_type(array.dtype.name)
    if stored is None:
        raise FiltertrackError(f"{name}: cannot store values of type {array.dtype}")
    return array.astype(stored, copy=False)


def _text_of(moment: Moment) -> str:
    meta: dict[str, Any] = {
        "step": moment.step,
        "epoch": moment.epoch,
        "batch": moment.batch,
        # JSON has no NaN or infinity: as text, which float() reads back.
        "metrics": {k: v if math.isfinite(v) else str(v) for k, v in moment.metrics.items()},
        "wall_time": moment.wall_time,
    }
    optional = ("epochs", "epoch_batch", "epoch_batches", "note")
    values = {name: getattr(moment, name) for name in optional}
    meta.update({name: value for name, value in values.items() if value not in {None, ""}})
    text = json.dumps(meta, allow_nan=False)
    if len(text) > _MOST_CHARACTERS:
        raise FiltertrackError(f"the metrics of step {moment.step} take {len(text)} characters")
    return text
