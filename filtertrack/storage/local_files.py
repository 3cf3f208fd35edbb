"""Atomic writes and validated reads of files on disk.

No file is written through a link, and only regular files are read.
"""

import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from filtertrack.errors import FiltertrackError

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Flags with which opening a pipe or a terminal does not block."""


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that its name appears only once its content is stored.

    Args:
        path: The file. An existing one is replaced; of a link, the link itself, never its target.
        write: Writes the content into the file it is given.

    Raises:
        OSError: If the file cannot be written; no partial file is left then.
    """
    # The random name cannot be known beforehand, and "x" opens no existing file or link.
    temporary = path.with_name(f".filtertrack.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # the name that the user knows
        raise


def is_temporary(name: str) -> bool:
    """Whether a file name is one of the temporary files that a killed writer leaves.

    Example:
        >>> is_temporary(".filtertrack.0f3a55c1d2e4b697.tmp"), is_temporary("manifest.json")
        (True, False)
    """
    return name.startswith(".") and name.endswith(".tmp")


def open_to_change(path: Path) -> io.BufferedRandom:
    """Open an existing file to change parts of it; links are not followed.

    Raises:
        OSError: If it does not exist, is a link, or cannot be written.
    """
    return open(path, "r+b", opener=_open_no_link)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINK)


def check_target(path: Path, endings: Iterable[str]) -> None:
    """Check the name and folder of an output file, before anything is drawn for it.

    Args:
        path: The file to write.
        endings: The allowed file name endings.

    Raises:
        FiltertrackError: If its name has another ending, or its folder does not exist.
    """
    endings = list(endings)
    if path.suffix.lower() not in endings:
        raise FiltertrackError(
            f"output {str(path)!r}: expected a name that ends in {', '.join(endings)}"
        )
    if not path.absolute().parent.is_dir():
        raise FiltertrackError(f"output {str(path)!r}: there is no folder {str(path.parent)!r}")


class LocalFile(io.FileIO):
    """A regular file on disk, opened for reading.

    Attributes:
        name: Its path.
        size: Its size in bytes when it was opened.
        stamp: A number that changes when the file is replaced: its modification time in
            microseconds.
    """

    __slots__ = ("_modified", "size")

    name: str
    size: int
    _modified: int

    @property
    def stamp(self) -> int:
        """The modification time."""
        return self._modified // 1000

    def prefetch(self, ranges: Callable[[], Sequence[tuple[int, int]]]) -> None:
        """Do nothing: reads from disk need no request."""


def open_regular(path: str | Path, most: int | None = None, within: str | None = None) -> LocalFile:
    """Open a regular file for reading. Pipes and devices are refused, without blocking.

    Args:
        path: The file. Links to regular files are followed.
        most: Maximum size in bytes; None for any.
        within: A folder, with all links in its own path resolved, that links must not lead out of;
            None where links may lead anywhere.

    Raises:
        FiltertrackError: If it is not a regular file, is larger, or a link leads out of the folder.
        OSError: If there is no such file, or it cannot be opened.
    """
    # Checked before opening, as opening alone has effects on some devices; and again on the open
    # file, which may have been replaced in between.
    _check_regular(path, os.stat(path))  # noqa: PTH116 - Path.stat takes twice as long
    opener = _open_to_read if within is None else _opener_within(within)
    file = LocalFile(str(path), "rb", opener=opener)
    try:
        status = os.fstat(file.fileno())
        _check_regular(path, status)
        file.size, file._modified = status.st_size, status.st_mtime_ns  # noqa: SLF001 - it is made here
        check_size(path, file.size, most)
    except BaseException:
        file.close()
        raise
    return file


def _open_to_read(path: str, flags: int) -> int:
    return os.open(path, flags | _NONBLOCKING)


def _opener_within(folder: str) -> Callable[[str, int], int]:
    """Return an opener that follows links, except those that lead out of a folder."""

    def open_within(path: str, flags: int) -> int:
        if os.path.islink(path):  # noqa: PTH114 - also given as text
            real = os.path.realpath(path)
            if not Path(real).is_relative_to(folder):
                raise FiltertrackError(
                    f"{path!r} is a link that leads out of {folder!r}; it is not read"
                )
            path = real
        return os.open(path, flags | _NONBLOCKING | _NO_LINK)

    return open_within


def _check_regular(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FiltertrackError(f"{str(path)!r} is not a regular file; it is not read")


def check_size(path: object, size: int, most: int | None) -> None:
    """Check that a file is not larger than expected.

    Raises:
        FiltertrackError: If it is.
    """
    if most is not None and size > most:
        raise damaged_file(path, f"it has {size} bytes, expected at most {most}")


def damaged_file(path: object, reason: object) -> FiltertrackError:
    """Return the error that names a damaged file and the damage."""
    return FiltertrackError(f"damaged file {str(path)!r}: {reason}")
