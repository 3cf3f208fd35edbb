"""Recognises the format of a checkpoint file and opens it with the reader of that format."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.checkpoint_paths import INDEX_SUFFIXES, tensorflow_prefix
from filtertrack.capture.checkpoints.hdf5 import SIGNATURE, Hdf5File
from filtertrack.capture.checkpoints.keras_archive import CONFIG, WEIGHTS, open_archive
from filtertrack.capture.checkpoints.keras_weights import open_shards, read_weights
from filtertrack.capture.checkpoints.legacy_h5 import is_legacy, read_legacy
from filtertrack.capture.checkpoints.numpy_file import MAGIC, NumpyFile
from filtertrack.capture.checkpoints.safetensors_file import SafetensorsFile
from filtertrack.capture.checkpoints.state_checkpoint import StateCheckpoint, StateFile
from filtertrack.capture.checkpoints.state_shards import ShardedState
from filtertrack.capture.checkpoints.tensorflow_file import TensorflowFile
from filtertrack.capture.checkpoints.torch_file import TorchFile
from filtertrack.errors import FiltertrackError

FORMATS = (
    ".keras, .weights.h5, .weights.json, .h5, .hdf5, .safetensors, .pt, .pth, .bin, .ckpt, "
    ".index, .index.json, .npy or .npz"
)
"""The endings of files that can be opened, for messages."""
_CONTENTS = {
    ".keras": "Keras archive",
    ".h5": "HDF5 file",
    ".hdf5": "HDF5 file",
    ".json": "JSON file",
    ".npy": "array of numpy",
    ".npz": "archive of numpy",
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), "file of torch.save"),
}
"""What a file with an ending should be, for messages."""
_TORCH_ENDINGS = {".pt", ".pth", ".bin", ".ckpt"}
_PICKLE = b"\x80"
_ZIP = b"PK\x03\x04"
_HEAD = 16


class _Format(NamedTuple):
    """A format of files.

    Attributes:
        recognises: Whether a path, and the first bytes of the file, are of this format.
        open: Opens the file, with the letters of the kernels' axes or None.
    """

    recognises: Callable[[Path, bytes], bool]
    open: Callable[[Path, str | None], Checkpoint]


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
    if path.is_file() and not path.stat().st_size:
        raise refused(path, "it is empty")
    head = _first_bytes(path)
    for format_ in _FORMATS:
        if format_.recognises(path, head):
            return format_.open(path, axes)
    if not path.exists():
        raise FiltertrackError(f"no such file: {str(path)!r}")
    if path.is_dir():
        raise refused(path, "it is a folder, and no SavedModel; expected a file in it")
    content = _CONTENTS.get(path.suffix.lower())
    if content is not None:
        raise refused(path, f"it is no {content}, though its name says so")
    raise refused(path, f"its format is not known; expected a file that ends with {FORMATS}")


def _first_bytes(path: Path) -> bytes:
    """Return the first bytes of a regular file; empty for anything else."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEAD)


def _is_index(path: Path, head: bytes) -> bool:
    return bool(head) and path.name.endswith(INDEX_SUFFIXES)


def _is_tensorflow(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return tensorflow_prefix(path) is not None


def _is_safetensors(path: Path, head: bytes) -> bool:
    return bool(head) and (path.suffix.lower() == ".safetensors" or head[8:9] == b"{")


def _is_torch(path: Path, head: bytes) -> bool:
    if head.startswith(_PICKLE):
        return path.suffix.lower() in _TORCH_ENDINGS
    names = _entries(path, head)
    if names is None:
        return head.startswith(_ZIP) and path.suffix.lower() in _TORCH_ENDINGS
    return any(name.endswith("/data.pkl") for name in names)


def _is_archive(path: Path, head: bytes) -> bool:
    if path.suffix.lower() == ".keras":
        return head.startswith(_ZIP[:2])
    return {CONFIG, WEIGHTS} <= set(_entries(path, head) or ())


def _is_numpy(path: Path, head: bytes) -> bool:
    if path.suffix.lower() == ".npz":
        return head.startswith(_ZIP[:2])
    return head.startswith(MAGIC) or any(n.endswith(".npy") for n in _entries(path, head) or ())


def _entries(path: Path, head: bytes) -> list[str] | None:
    """Return the names in a zip file; None for other files, and for a damaged one."""
    if not head.startswith(_ZIP):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return None


def _is_hdf5(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return head.startswith(SIGNATURE)


def _is_shards(path: Path, head: bytes) -> bool:
    return path.suffix.lower() == ".json" and head.lstrip().startswith(b"{")


def _open_hdf5(path: Path, axes: str | None) -> Checkpoint:  # noqa: ARG001
    """Open a weights file of Keras 3, or a file in the format of Keras 2."""
    file = Hdf5File(path)
    try:
        legacy = is_legacy(file)
    except FiltertrackError:
        file.close()
        raise
    return read_legacy(path, file) if legacy else read_weights(path, [file], None)


def _open_sharded(path: Path, axes: str | None) -> Checkpoint:
    one = SafetensorsFile if path.name.endswith(INDEX_SUFFIXES[0]) else TorchFile
    return _open_state(path, ShardedState(path, one), axes)


def _open_state(path: Path, file: StateFile, axes: str | None) -> Checkpoint:
    return StateCheckpoint(path, file, axes)


_FORMATS = (
    _Format(_is_index, _open_sharded),
    _Format(
        _is_tensorflow,
        lambda p, axes: _open_state(p, TensorflowFile(tensorflow_prefix(p) or p), axes),
    ),
    _Format(_is_archive, lambda p, _: open_archive(p)),
    _Format(_is_hdf5, _open_hdf5),
    _Format(_is_shards, lambda p, _: open_shards(p)),
    _Format(_is_safetensors, lambda p, axes: _open_state(p, SafetensorsFile(p), axes)),
    _Format(_is_torch, lambda p, axes: _open_state(p, TorchFile(p), axes)),
    _Format(_is_numpy, NumpyFile),
)
