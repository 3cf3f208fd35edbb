"""A recorded run that is part of the package: something to see without training.

It holds the first layer of the model of ``scripts/demo.py``: 48 filters of 9×9×3, trained on
photographs, at 30 steps. ``scripts/record_run.py`` makes the file from such a run; weights are
rounded to 11 significant bits, so that it stays small.
"""

import zipfile
from functools import partial
from importlib import resources
from pathlib import Path
from typing import BinaryIO

from filtertrack.errors import FiltertrackError
from filtertrack.storage.local_files import is_temporary, open_regular, write_whole
from filtertrack.storage.run import FOLDER, Run

FILE = "recorded_run.zip"
"""The file, beside this module."""

_MANIFEST = f"{FOLDER}/manifest.json"
_SNAPSHOTS = f"{FOLDER}/snapshots"


def copy_recorded_run(folder: Path) -> Run:
    """Copy the recorded run to a folder; an incomplete copy is completed.

    Args:
        folder: A folder that does not exist, is empty, or holds an earlier copy.

    Returns:
        The run in the folder.

    Raises:
        FiltertrackError: If the folder holds something else, such as another run.
        OSError: If the folder cannot be written.
    """
    files = _recorded_files()
    if _holds_other_files(folder, files):
        raise FiltertrackError(
            f"{folder}: expected a folder that is empty, does not exist or holds only the recorded "
            f"run; choose another with -o"
        )
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.stat().st_size < len(content):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, partial(_write, content))
    return Run(folder)


def _recorded_files() -> dict[str, bytes]:
    """Return the files of the recorded run by their paths; the manifest is the last one."""
    file = resources.files("filtertrack.outputs") / FILE
    with file.open("rb") as opened, zipfile.ZipFile(opened) as archive:
        names = sorted(archive.namelist(), key=lambda name: (name == _MANIFEST, name))
        return {name: archive.read(name) for name in names}


def _holds_other_files(folder: Path, files: dict[str, bytes]) -> bool:
    """Return whether a folder holds anything but a copy of the recorded run.

    Of a folder with the manifest of the recorded run, only the snapshots are compared: pictures of
    the run may be beside them.
    """
    if not folder.is_dir():
        return folder.exists()
    manifest = folder / _MANIFEST
    is_copy = manifest.is_file() and _read(manifest, files[_MANIFEST]) == files[_MANIFEST]
    for path in (folder / _SNAPSHOTS if is_copy else folder).rglob("*"):
        if path.is_dir() or is_temporary(path.name):
            continue
        content = files.get(path.relative_to(folder).as_posix())
        # An interrupted copy may have left the beginning of a file.
        if content is None or not content.startswith(_read(path, content)):
            return True
    return False


def _read(path: Path, expected: bytes) -> bytes:
    """Read as much of a regular file as shows whether it differs from the expected content."""
    with open_regular(path) as file:
        return file.read(len(expected) + 1)


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
