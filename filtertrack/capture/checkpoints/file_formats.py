"""Recognises the format of a checkpoint file and opens it with the reader of that format."""

from pathlib import Path

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
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
    raise refused(path, f"its format is not known; expected a file that ends with {FORMATS}")
