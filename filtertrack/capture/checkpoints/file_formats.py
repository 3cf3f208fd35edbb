"""Recognises the format of a checkpoint file and opens it with the reader of that format."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.hdf5 import SIGNATURE, Hdf5File
from filtertrack.capture.checkpoints.keras_archive import open_archive
from filtertrack.capture.checkpoints.keras_weights import open_shards, read_weights
from filtertrack.capture.checkpoints.legacy_h5 import is_legacy, read_legacy
from filtertrack.capture.checkpoints.safetensors_file import SafetensorsFile
from filtertrack.capture.checkpoints.state_checkpoint import StateCheckpoint
from filtertrack.capture.checkpoints.state_shards import INDEX_SUFFIXES, ShardedState
from filtertrack.capture.checkpoints.tensorflow_file import TensorflowFile, tensorflow_prefix
from filtertrack.capture.checkpoints.torch_file import TorchFile
from filtertrack.errors import FiltertrackError

FORMATS = (
    ".keras, .weights.h5, .weights.json, .h5, .safetensors, .pt, .pth, .bin, .ckpt, .index or "
    ".index.json"
)
"""The endings of files that can be opened, for messages."""
_TORCH_ENDINGS = (".pt", ".pth", ".bin", ".ckpt")
_ENDINGS = (
    ".keras",
    ".h5",
    ".hdf5",
    ".weights.json",
    ".safetensors",
    ".index",
    *_TORCH_ENDINGS,
    *INDEX_SUFFIXES,
)


def is_checkpoint(path: Path) -> bool:
    """Whether a path looks like that of a checkpoint, by its ending or the files beside it."""
    return path.name.lower().endswith(_ENDINGS) or tensorflow_prefix(path) is not None


def open_checkpoint(path: Path, *, axes: str | None = None) -> Checkpoint:
    """Open a checkpoint file.

    Args:
        path: The file. For a TensorFlow checkpoint its prefix or its ``.index`` file, or the folder
            of a SavedModel; for one in several files its index.
        axes: The letters of the kernels' axes, for files that do not tell: see
            ``kernel_axes.canonical_axes``. None for what is usual in the format.

    Raises:
        FiltertrackError: If there is no such file, its format is not known, it is damaged, or a
            package that reads it is missing; the message says what to do.
    """
    head = _first_bytes(path)
    for format_ in _FORMATS:
        if format_.recognises(head, path):
            return format_.open(path, axes)
    if not path.exists():
        raise FiltertrackError(f"no such file: {str(path)!r}")
    raise refused(path, f"its format is not known; expected a file that ends with {FORMATS}")


def _first_bytes(path: Path) -> bytes:
    """Return the bytes that identify the format of a regular file; empty for anything else."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEAD)


_HEAD = 64


# Whether a path is of a format.


def _is_tensorflow(_: bytes, path: Path) -> bool:
    return tensorflow_prefix(path) is not None


def _is_index(head: bytes, path: Path) -> bool:
    return bool(head) and path.name.endswith(INDEX_SUFFIXES)


def _is_keras_archive(head: bytes, path: Path) -> bool:
    return head.startswith(_ZIP) and path.suffix == ".keras"


def _is_hdf5(head: bytes, _: Path) -> bool:
    return head.startswith(SIGNATURE)


def _is_safetensors(head: bytes, path: Path) -> bool:
    if path.suffix.lower() == ".safetensors":
        return bool(head)
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= path.stat().st_size


def _is_torch(head: bytes, path: Path) -> bool:
    by_ending = path.suffix.lower() in _TORCH_ENDINGS
    if not head.startswith(_ZIP):
        return by_ending and head.startswith(_PICKLE)
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return by_ending


def _is_keras_index(head: bytes, _: Path) -> bool:
    return head.lstrip().startswith(b"{")


_ZIP = b"PK"
_PICKLE = b"\x80"


# How a file of a format is opened.


def _open_tensorflow(path: Path, axes: str | None) -> Checkpoint:
    return StateCheckpoint(path, TensorflowFile(tensorflow_prefix(path) or path), axes)


def _open_sharded_state(path: Path, axes: str | None) -> Checkpoint:
    one = SafetensorsFile if path.name.endswith(INDEX_SUFFIXES[0]) else TorchFile
    return StateCheckpoint(path, ShardedState(path, one), axes)


def _open_hdf5(path: Path, _: str | None) -> Checkpoint:
    """Open a weights file of Keras 3, or a file in the format of Keras 2."""
    file = Hdf5File(path)
    try:
        legacy = is_legacy(file)
    except FiltertrackError:
        file.close()
        raise
    return read_legacy(path, file) if legacy else read_weights(path, [file], None)


class _Format(NamedTuple):
    """A format of files.

    Attributes:
        recognises: Whether the first bytes of a file, and its path, are of this format.
        open: Opens the file, with the letters of the kernels' axes or None.
    """

    recognises: Callable[[bytes, Path], bool]
    open: Callable[[Path, str | None], Checkpoint]


_FORMATS = (
    _Format(_is_tensorflow, _open_tensorflow),
    _Format(_is_index, _open_sharded_state),
    _Format(_is_keras_archive, lambda path, _: open_archive(path)),
    _Format(_is_hdf5, _open_hdf5),
    _Format(_is_safetensors, lambda path, axes: StateCheckpoint(path, SafetensorsFile(path), axes)),
    _Format(_is_torch, lambda path, axes: StateCheckpoint(path, TorchFile(path), axes)),
    _Format(_is_keras_index, lambda path, _: open_shards(path)),
)
