"""A recorded run that is part of the package: something to see without training.

It holds the first layer of the model of ``scripts/demo.py``: 48 filters of 9×9×3, trained on
photographs, at 30 steps. ``scripts/record_run.py`` makes the file from such a run; weights are
rounded to 11 significant bits, so that it stays small.
"""

import zipfile
from importlib import resources
from pathlib import Path

from filtertrack.errors import FiltertrackError
from filtertrack.storage.run import Run

FILE = "recorded_run.zip"
"""The file, beside this module."""


def copy_recorded_run(folder: Path) -> Run:
    """Copy the recorded run to a folder; a copy that is there already is kept.

    Args:
        folder: A folder that does not exist, is empty, or holds an earlier copy.

    Returns:
        The run in the folder.

    Raises:
        FiltertrackError: If the folder holds something else.
        OSError: If the folder cannot be written.
    """
    if Run.exists(folder):
        return Run(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FiltertrackError(
            f"{folder}: expected a folder that is empty or does not exist; choose another with -o"
        )
    file = resources.files("filtertrack.outputs") / FILE
    with file.open("rb") as opened, zipfile.ZipFile(opened) as archive:
        archive.extractall(folder)
    return Run(folder)
