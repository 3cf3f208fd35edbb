"""Recognises the format of a checkpoint file and opens it with the reader of that format."""

from collections.abc import Callable
from pathlib import Path

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.hdf5 import SIGNATURE, Hdf5File
from filtertrack.capture.checkpoints.keras_archive import open_archive
from filtertrack.capture.checkpoints.keras_weights import open_shards, read_weights
from filtertrack.capture.checkpoints.legacy_h5 import is_legacy, read_legacy
from filtertrack.errors import FiltertrackError

FORMATS = ".keras, .weights.h5, .weights.json, .h5, .safetensors, .pt, .pth, .ckpt or .index"
"""The endings of files that can be opened, for messages."""


def is_checkpoint(path: Path) -> bool:
    """Whether a path looks like that of a checkpoint file, by its ending."""
    return path.suffix.lower() in {
        ".keras",
        ".h5",
        ".hdf5",
        ".json",
        ".safetensors",
        ".pt",
        ".pth",
        ".ckpt",
        ".index",
    }


def open_checkpoint(path: Path, *, axes: str | None = None) -> Checkpoint:  # noqa: ARG001
    """Open a checkpoint file.

    Args:
        path: The file. For a TensorFlow checkpoint its prefix or its ``.index`` file.
        axes: The letters of the kernels' axes, for files that do not tell: see
            ``kernel_axes.canonical_axes``. None for what is usual in the format.

    Raises:
        FiltertrackError: If there is no such file, its format is not known, it is damaged, or a
            package that reads it is missing; the message says what to do.
    """
    if not path.exists():
        raise FiltertrackError(f"no such file: {str(path)!r}")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(_HEAD)
        for begins, opens in _BY_CONTENT:
            if begins(head, path):
                return opens(path)
    raise refused(path, f"its format is not known; expected a file that ends with {FORMATS}")


def _open_hdf5(path: Path) -> Checkpoint:
    """Open a weights file of Keras 3, or a file in the format of Keras 2."""
    file = Hdf5File(path)
    try:
        legacy = is_legacy(file)
    except FiltertrackError:
        file.close()
        raise
    return read_legacy(path, file) if legacy else read_weights(path, [file], None)


_HEAD = 64
"""Bytes at the beginning of a file that identify its format."""
_BY_CONTENT: tuple[tuple[Callable[[bytes, Path], bool], Callable[[Path], Checkpoint]], ...] = (
    (lambda head, path: head.startswith(b"PK") and path.suffix == ".keras", open_archive),
    (lambda head, _: head.startswith(SIGNATURE), _open_hdf5),
    (lambda head, _: head.lstrip().startswith(b"{"), open_shards),
)
"""Whether a file has a format, by its first bytes and its name, and what opens it."""
