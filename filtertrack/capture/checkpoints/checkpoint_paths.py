"""Recognises the paths of checkpoints, without the readers of their formats."""

from pathlib import Path

INDEX_SUFFIXES = (".safetensors.index.json", ".bin.index.json")
"""How the names of indexes of checkpoints in several files end."""
ARRAY_ENDINGS = (".npy", ".npz")
"""The endings of files of arrays, which may hold anything: see ``is_checkpoint``."""
_ENDINGS = (".keras", ".h5", ".hdf5", ".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".index")
_TENSORFLOW_INDEX = ".index"


def is_checkpoint(path: Path) -> bool:
    """Whether a path looks like that of a checkpoint, by its ending or its files.

    Files of numpy do not: they may as well hold data or metrics.
    """
    return is_checkpoint_name(path.name) or tensorflow_prefix(path) is not None


def is_checkpoint_name(name: str) -> bool:
    """Whether a name, or an address, ends like that of a checkpoint."""
    return name.lower().endswith((*_ENDINGS, ".weights.json", *INDEX_SUFFIXES))


def is_saved_model(path: Path) -> bool:
    """Whether a path is the folder of a SavedModel."""
    return path.is_dir() and tensorflow_prefix(path) is not None


def tensorflow_prefix(path: Path) -> Path | None:
    """Return the prefix of a checkpoint's files; None if there is no such checkpoint.

    Args:
        path: The prefix, the ``.index`` file, or the folder of a SavedModel.
    """
    if path.name.endswith(_TENSORFLOW_INDEX):
        is_file = path.is_file()
        return path.with_name(path.name.removesuffix(_TENSORFLOW_INDEX)) if is_file else None
    for prefix in (path, path / "variables" / "variables"):
        if prefix.name and prefix.with_name(prefix.name + _TENSORFLOW_INDEX).is_file():
            return prefix
    return None
