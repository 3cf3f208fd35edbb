"""Format of a run's files: the manifest, and the arrays of each snapshot file.

The manifest is a JSON file with the format version, the layers and the versions of libraries. A
snapshot file holds the kernel and bias of each layer and the moment; ``Member`` describes the
arrays, so that they are checked when they are read.
"""

import json
import math
import sys
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from zlib_ng.zlib_ng import crc32

from filtertrack.errors import FiltertrackError, printable
from filtertrack.snapshot import PLAIN_TYPES, LayerInfo, Moment, Snapshot, stored_type
from filtertrack.storage.local_files import damaged_file
from filtertrack.storage.paths import StoragePath

MANIFEST = "manifest.json"

FORMAT = 1
"""The version of the format. Newer versions are refused, older ones can be read."""

_LARGEST_MANIFEST = 8 << 20
_MOST_CHARACTERS = 1 << 20
_LARGEST_HEAD = 1 << 12
_LARGEST_VALUE = 8
"""Maxima: bytes of a manifest, characters of a moment's text, bytes of an ``.npy`` header
and bytes of one value (float64)."""

_UTF_32 = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"
_MOMENT_FIELDS = tuple(each.name for each in fields(Moment))
_NUMBERS = "".join({np.dtype(name).char for name in PLAIN_TYPES} | set("lLqQ"))
"""The type characters of stored numbers in numpy; some types have two."""


def write_manifest(
    folder: StoragePath, layers: Sequence[LayerInfo], software: Mapping[str, str]
) -> None:
    """Write a run's manifest.

    Args:
        folder: The run's ``filters`` folder; it must exist.
        layers: The layers of each snapshot.
        software: Library name to version.

    Raises:
        FiltertrackError: If it would be larger than the maximum for reading.
        OSError: If it cannot be written.
    """
    manifest = {
        "format": FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "software": dict(software),
        "layers": [info.to_dict() for info in layers],
    }
    text = json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1).encode()
    if len(text) > _LARGEST_MANIFEST:
        raise FiltertrackError(
            f"{len(layers)} layers take a manifest of {len(text)} bytes, expected at most "
            f"{_LARGEST_MANIFEST}; track fewer layers (layers=)"
        )
    (folder / MANIFEST).write_whole(lambda file: file.write(text))


def read_manifest(
    folder: StoragePath, within: str | None = None
) -> tuple[dict[str, LayerInfo], dict[str, str]]:
    """Read a run's manifest.

    Args:
        folder: The run's ``filters`` folder.
        within: A folder that links must not lead out of; None where links may lead anywhere.

    Returns:
        Layers by their names, and library name to version.

    Raises:
        FiltertrackError: If there is no manifest, or it is damaged or of a newer format; the
            message names the file.
        OSError: If it is on object storage and cannot be reached.
    """
    path, run = folder / MANIFEST, str(folder.parent)
    try:
        text = folder.read_entry(
            MANIFEST, lambda file: file.read(), most=_LARGEST_MANIFEST, within=within
        )
        manifest = json.loads(text or b"")
        checksum = _checksum(manifest) if isinstance(manifest, dict) else None
    except (FileNotFoundError, NotADirectoryError):
        raise FiltertrackError(
            f"no run in {run!r}: expected {folder.name}/{MANIFEST} in that folder; "
            f"give the folder that FilterTracker was given"
        ) from None
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, error) from error
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
    """Return the CRC-32 of a manifest's content, without the checksum field and any layout."""
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


class Described(Protocol):
    """Shape and type of an array: an array itself, or its ``.npy`` header."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""


class Member(NamedTuple):
    """The description of an array in a snapshot file.

    Attributes:
        name: The name it is stored under.
        shape: Its shape, or None if any shape is allowed.
        most: The maximum of its bytes, with its header.
        is_text: Whether it holds text instead of numbers.
    """

    name: str
    shape: tuple[int, ...] | None
    most: int
    is_text: bool = False

    def fault_of(self, array: Described) -> str | None:
        """Return how an array that was read differs from the description; None if it does not."""
        if self.shape is None:
            size = math.prod(n or 1 for n in array.shape) * array.dtype.itemsize
            if size > self.most:
                return f"{self.name} has the shape {array.shape}, more than is expected"
        elif array.shape != self.shape:
            return f"{self.name} has the shape {array.shape}, expected {self.shape}"
        if array.dtype.char not in ("U" if self.is_text else _NUMBERS):
            return f"{self.name} holds values of type {array.dtype}"
        return None


MOMENT = Member("meta", (), 4 * _MOST_CHARACTERS + _LARGEST_HEAD, is_text=True)
"""The snapshot's moment as a JSON text."""


def kernel_of(info: LayerInfo) -> Member:
    """Return the description of a layer's kernel."""
    most = _LARGEST_VALUE * math.prod(info.kernel_shape) + _LARGEST_HEAD
    return Member(info.kernel, info.kernel_shape, most)


def bias_of(info: LayerInfo) -> Member:
    """Return the description of the bias of a layer that has one."""
    # The bias of a custom layer may have any shape; none is larger than the kernel.
    most = _LARGEST_VALUE * max(math.prod(info.kernel_shape), info.filters) + _LARGEST_HEAD
    return Member(str(info.bias), None, most)


def weights_of(infos: Iterable[LayerInfo]) -> list[Member]:
    """Return the descriptions of the layers' kernels and biases."""
    return [
        member
        for info in infos
        for member in ([kernel_of(info), bias_of(info)] if info.bias else [kernel_of(info)])
    ]


def members_of(
    snapshot: Snapshot, responses: Mapping[str, np.ndarray] = MappingProxyType({})
) -> dict[str, np.ndarray]:
    """Return the arrays of a snapshot's file.

    Args:
        snapshot: The snapshot.
        responses: The arrays that hold its responses, by their names.

    Raises:
        FiltertrackError: If an array cannot be stored, or the metrics are too long.
    """
    members = {name: _storable(name, array) for name, array in snapshot.arrays.items()}
    if not members.keys().isdisjoint(responses):
        raise FiltertrackError("a kernel has the name of an array that holds responses")
    members.update(responses)
    # Last, as its length differs: the other arrays have the same positions in each file then.
    members[MOMENT.name] = np.array(_text_of(snapshot.moment))
    return members


def moment_of(text: np.ndarray) -> Moment:
    """Parse the moment in a snapshot file; unknown fields are ignored.

    Raises:
        ValueError: If it is not valid.
    """
    try:
        values = json.loads(text_of(text))
        known = {name: values[name] for name in _MOMENT_FIELDS if name in values}
        metrics = {printable(name): v for name, v in known.get("metrics", {}).items()}
        return Moment(**{**known, "metrics": metrics, "note": printable(known.get("note", ""))})
    except (TypeError, AttributeError, RecursionError, FiltertrackError) as error:
        raise ValueError(error) from error


def text_of(array: np.ndarray) -> str:
    """Return the text that an array holds.

    Raises:
        ValueError: If it contains invalid characters.
    """
    # Not decoded by numpy, which accepts some invalid characters and fails on others.
    return array.tobytes().decode(_UTF_32).rstrip("\0")


def check_storable(infos: Iterable[LayerInfo]) -> None:
    """Check that the weights of layers can be stored without loss.

    Raises:
        FiltertrackError: If a kernel is of a type that cannot be stored.
    """
    for info in infos:
        if stored_type(info.dtype) is None:
            raise FiltertrackError(
                f"layer {info.name}: its kernel is of type {info.dtype!r}, which cannot be stored "
                f"without loss; leave it out with layers=, or cast it to float32"
            )


def same_weights(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two sets of arrays have the same names and are stored as the same bytes."""
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
    """Return the CRC-32 of each array's stored bytes."""
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
        # JSON has no NaN and infinity: written as text, which float() parses.
        "metrics": {k: v if math.isfinite(v) else str(v) for k, v in moment.metrics.items()},
        "wall_time": moment.wall_time,
    }
    optional = ("epochs", "epoch_batch", "epoch_batches", "note", "probed")
    values = {name: getattr(moment, name) for name in optional}
    meta.update({k: v for k, v in values.items() if v is not None and v is not False and v != ""})
    text = json.dumps(meta, allow_nan=False)
    if len(text) > _MOST_CHARACTERS:
        raise FiltertrackError(f"the metrics of step {moment.step} take {len(text)} characters")
    return text
