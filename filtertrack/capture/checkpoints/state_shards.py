"""Checkpoints in several files, with an index as Hugging Face writes it."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from filtertrack.capture.checkpoints.checkpoint import refused
from filtertrack.capture.checkpoints.state_checkpoint import StateFile

_LONGEST_INDEX = 1 << 25
_MOST_FILES = 1000


class ShardedState(StateFile):
    """The arrays of several files: see ``StateFile``.

    Args:
        path: The index: JSON with ``weight_map``, the name of each array to the name of its file.
        open_file: Opens one of the files.

    Raises:
        FiltertrackError: If the index is damaged, or names a file that is not beside it.
    """

    def __init__(self, path: Path, open_file: Callable[[Path], StateFile]) -> None:
        names = _weight_map(path)
        with ExitStack() as stack:
            files = {}
            for name in dict.fromkeys(names.values()):
                files[name] = open_file(path.parent / name)
                stack.callback(files[name].close)
            self._files = {}
            for array, name in names.items():
                if array not in files[name].arrays:
                    raise refused(path, f"array {array!r:.100} is not in {name!r}")
                self._files[array] = files[name]
            self._close = stack.pop_all()
        self.arrays = {array: file.arrays[array] for array, file in self._files.items()}
        first = next(iter(files.values()))
        self.convention, self.in_order = first.convention, False
        self.remarks = tuple(dict.fromkeys(r for file in files.values() for r in file.remarks))

    def read(self, name: str) -> np.ndarray:
        """Read an array: see ``StateFile``."""
        return self._files[name].read(name)

    def close(self) -> None:
        """Close all files."""
        self._close.close()


def _weight_map(path: Path) -> dict[str, str]:
    """Return the name of each array to the name of its file in the same folder."""
    if path.stat().st_size > _LONGEST_INDEX:
        raise refused(path, f"an index of more than {_LONGEST_INDEX} bytes")
    try:
        values = json.loads(path.read_bytes().decode())
        names = dict(values["weight_map"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise refused(path, "expected JSON with the files of arrays in 'weight_map'") from error
    files = set()
    for name in names.values():
        if not isinstance(name, str) or not name or set(name) & {"/", "\\", ":", "\0"}:
            raise refused(path, f"expected names of files in the same folder, got {name!r:.100}")
        files.add(name)
    if not names or len(files) > _MOST_FILES:
        raise refused(path, f"it names {len(files)} files")
    missing = sorted(name for name in files if not (path.parent / name).is_file())
    if missing:
        raise refused(path, f"there is no file {missing[0]!r:.100} beside it")
    return names
