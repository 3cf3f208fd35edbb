"""Numbered run folders of ``existing="new"``: ``exp1``, ``exp1-2``, ``exp1-3`` and so on."""

import re
from collections.abc import Callable, Iterator
from itertools import count

from filtertrack.errors import FiltertrackError
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of
from filtertrack.storage.run import Run

_NUMBER = r"-([2-9]|[1-9][0-9]{1,4})"
"""A folder's number. Longer ones, such as dates, are part of the user's own names."""


def last_numbered(folder: PathOrAddress) -> StoragePath:
    """Return the folder with the highest number that holds a run; ``folder`` if none does.

    Raises:
        FiltertrackError: If the folders cannot be listed.
    """
    path = path_of(folder)
    return _numbered(path, _highest(path, Run.exists) or 1)


def next_numbered(folder: PathOrAddress) -> Iterator[StoragePath]:
    """Yield the folders after the highest number in use, by a run or by the remains of one.

    Raises:
        FiltertrackError: If the folders cannot be listed.
    """
    path = path_of(folder)
    first = _highest(path, lambda candidate: not Run.is_free(candidate)) + 1
    return (_numbered(path, number) for number in count(first))


def _highest(folder: StoragePath, matches: Callable[[StoragePath], bool]) -> int:
    """Return the highest number whose folder matches; 0 if none does."""
    numbers = [1, *_numbers(folder)]
    return next((n for n in sorted(numbers, reverse=True) if matches(_numbered(folder, n))), 0)


def _numbers(folder: StoragePath) -> list[int]:
    folder = with_own_name(folder)
    try:
        names = folder.parent.names()
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
    folder = with_own_name(folder)
    return folder.parent / f"{folder.name}-{number}"


def with_own_name(folder: StoragePath) -> StoragePath:
    """Return a folder under its own name, also where it was given as ``"."`` or ``".."``."""
    return folder if folder.name.strip(".") else folder.resolve()
