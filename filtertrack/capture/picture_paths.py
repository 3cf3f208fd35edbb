"""Finds the picture files that a user names with paths, folders and patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from filtertrack.capture.checkpoint_names import natural_order
from filtertrack.errors import FiltertrackError
from filtertrack.outputs.picture_files import read_picture

_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Of a folder's files, those with one of these endings are pictures."""


def files_of_pictures(given: Sequence[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """Return the picture files at paths, in folders and of patterns.

    Args:
        given: Files in the order in which they are taken; the files of a folder or pattern are
            taken in the natural order of their names.

    Raises:
        FiltertrackError: If a file cannot be read as a picture, or there is none.
    """
    paths = tuple(path for each in given for path in _paths_of(each))
    for path in paths:
        read_picture(path)
    return paths


def _paths_of(given: str | os.PathLike[str]) -> Iterator[Path]:
    path = Path(given).expanduser()
    if path.is_dir():
        inside = [each for each in path.iterdir() if not each.name.startswith(".")]
        found = [each for each in inside if each.suffix.lower() in _SUFFIXES]
        if not found:
            folders = any(each.is_dir() for each in inside)
            advice = f"; for those in its folders give {str(path / '*' / '*')!r}" if folders else ""
            raise FiltertrackError(f"probes: no picture in the folder {str(path)!r}{advice}")
    elif not path.exists() and glob.has_magic(str(path)):
        found = [Path(each) for each in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        found = [each for each in found if each.is_file()]
        if not found:
            raise FiltertrackError(f"probes: no file matches {str(path)!r}")
    else:
        found = [path]
    yield from sorted(found, key=lambda each: natural_order(str(each)))
