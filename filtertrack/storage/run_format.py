"""What every snapshot of a run holds: written once, in its manifest, and checked when read."""

import json
import math
import sys
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from zlib_ng.zlib_ng import crc32

from filtertrack.errors import FiltertrackError, printable
from filtertrack.snapshot import PLAIN_TYPES, LayerInfo, Moment, Snapshot, stored_type
from filtertrack.storage.files import damaged_file, missing_file, open_regular, write_whole
from filtertrack.storage.paths import StoragePath

MANIFEST = "manifest.json"

FORMAT = 1
"""The version of a run's layout. A reader refuses a newer one and reads every older one."""

_MOST = 8 << 20


def write_manifest(
    folder: StoragePath, layers: Sequence[LayerInfo], software: Mapping[str, str]
) -> None:
    """Write a run's manifest.

    Args:
        folder: The run's own folder; it is there.
        layers: What each snapshot will hold.
        software: Library name to version, for the record.

    Raises:
        FiltertrackError: If it would be larger than one that is read.
        OSError: If it cannot be written.
    """
    manifest = {
        "format": FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "software": dict(software),
        "layers": [info.to_dict() for info in layers],
    }
    text = json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1).encode()
    if len(text) > _MOST:
        raise FiltertrackError(
            f"{len(layers)} layers take a manifest of {len(text)} bytes, expected at most {_MOST}; "
            f"track fewer layers (layers=)"
        )
    write_whole(folder / MANIFEST, lambda file: file.write(text))


def read_manifest(
    folder: StoragePath, within: str | None = None
) -> tuple[dict[str, LayerInfo], dict[str, str]]:
    """Read a run's manifest.

    Args:
        folder: The run's own folder.
        within: A folder that no link may lead out of; None where links may lead anywhere.

    Returns:
        Layers by their names, and library name to version.

    Raises:
        FiltertrackError: If there is none, or it is damaged or of a newer format; the message names
            the file.
        OSError: If it is on object storage and cannot be reached.
    """
    path, run = folder / MANIFEST, str(folder.parent)
    try:
        file, _ = open_regular(path, _MOST, within)
        with file:
            manifest = json.loads(file.read())
        checksum = _checksum(manifest) if isinstance(manifest, dict) else None
    except (FileNotFoundError, NotADirectoryError):
        raise missing_file(path) or FiltertrackError(
            f"no run in {run!r}: expected {folder.name}/{MANIFEST} in that folder; "
            f"give the folder that FilterTracker was given"
        ) from None
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, error) from error
    except OSError as error:
        if not isinstance(path, Path):  # of the file itself nothing is known
            raise
        raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise damaged_file(path, "it names no format version")
    if manifest["format"] > FORMAT:
        raise FiltertrackError(
            f"{run!r} has format {manifest['format']!r:.20}, newer than the {FORMAT} this version "
            f"of filtertrack reads; update filtertrack"
        )
    if manifest.get("checksum") != checksum:
        raise damaged_file(path, "its checksum does not fit its content")
    software = manifest.get("software")
    if not isinstance(software, dict) or not all(isinstance(v, str) for v in software.values()):
        raise damaged_file(path, "it names no library versions")
    try:
        return _layers(manifest), software
    except FiltertrackError as error:
        raise damaged_file(path, error) from error


def _checksum(manifest: Mapping[str, Any]) -> int:
    """Return the CRC-32 of a manifest without its own checksum, however it is laid out."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _layers(manifest: Mapping[str, Any]) -> dict[str, LayerInfo]:
    entries = manifest.get("layers")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise FiltertrackError("it holds no list of layers")
    if not entries:
        raise FiltertrackError("it names no layers")
    layers = {info.name: info for info in map(LayerInfo.from_dict, entries)}
    if len(layers) != len(entries):
        raise FiltertrackError("it names two layers alike")
    arrays = [name for info in layers.values() for name in (info.kernel, info.bias) if name]
    if len(set(arrays)) != len(arrays):
        raise FiltertrackError("it names two arrays alike")
    return layers


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
