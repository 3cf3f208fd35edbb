"""The numbered folders of ``existing="new"``: ``exp1``, ``exp1-2``, ``exp1-3`` and so on."""

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from filtertrack.errors import FiltertrackError
from filtertrack.storage.files import names_in
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run import Run

_NUMBER = r"-([2-9]|[1-9][0-9]{1,4})"
"""Longer ones, such as dates, are the user's own."""


def last_numbered(folder: StoragePath) -> StoragePath:
    """Return the folder of the highest number that holds a run; ``folder`` where none does.

    Raises:
        FiltertrackError: If the folders cannot be listed.
    """
    return _numbered(folder, _highest(folder, Run.exists) or 1)


def next_numbered(folder: StoragePath) -> Iterator[StoragePath]:
    """Yield the folders after the highest number that is in use, by a run or by what is left of it.

    Raises:
        FiltertrackError: If the folders cannot be listed.
    """
    first = _highest(folder, lambda candidate: not Run.is_free(candidate)) + 1
    return (_numbered(folder, number) for number in count(first))


def _highest(folder: StoragePath, is_meant: Callable[[StoragePath], bool]) -> int:
    """Return the highest number whose folder is meant; 0 where none is."""
    numbers = [1, *_numbers(folder)]
    return next((n for n in sorted(numbers, reverse=True) if is_meant(_numbered(folder, n))), 0)


def _numbers(folder: StoragePath) -> list[int]:
    folder = _named(folder)
    try:
        names = names_in(folder.parent)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FiltertrackError(
            f"cannot list {str(folder.parent)!r}, which existing='new' needs to number folders: "
            f"{error.strerror or error}"
        ) from error
    matches = (re.fullmatch(re.escape(folder.name) + _NUMBER, name) for name in names)
    return [int(match[1]) for match in matches if match]


def _numbered(folder: StoragePath, number: int) -> StoragePath:
    if number == 1:
        return folder
    folder = _named(folder)
    return folder.parent / f"{folder.name}-{number}"


def _named(folder: StoragePath) -> StoragePath:
    """Return a folder by its own name, also where it was given as ``"."``."""
    if isinstance(folder, Path) and not folder.name.strip("."):
        return folder.resolve()
    return folder
