"""Atomic writes and validated reads, on disk and on object storage alike.

On disk nothing is written through a link, and only regular files are read.
"""

import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, Union

from filtertrack.errors import FiltertrackError
from filtertrack.storage.paths import StoragePath

if TYPE_CHECKING:
    from filtertrack.storage.remote import RemoteFile

OpenFile: TypeAlias = Union[io.FileIO, "RemoteFile"]


_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""How a file is opened so that a pipe in its place does not block."""


def write_whole(path: StoragePath, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that its name appears only once its content is stored.

    Args:
        path: The file. One that is there already is replaced; of a link, the link itself, never
            what it points to.
        write: Writes the content into the file it is given.

    Raises:
        OSError: If the file cannot be written; nothing is left behind then.
    """
    if not isinstance(path, Path):
        path.write_whole(write)
        return
    # No other can know the name beforehand, and "x" opens nothing that is there, not even a link.
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
            error.filename = str(path)  # what the user asked for
        raise


def is_temporary(name: str) -> bool:
    """Whether a file of that name is what a killed writer left behind.

    Example:
        >>> is_temporary(".filtertrack.0f3a55c1d2e4b697.tmp"), is_temporary("manifest.json")
        (True, False)
    """
    return name.startswith(".") and name.endswith(".tmp")


def open_to_change(path: Path) -> io.BufferedRandom:
    """Open a file of our own to change parts of it; a link in its place is not followed.

    Raises:
        OSError: If it is not there, is a link, or cannot be written.
    """
    return open(path, "r+b", opener=_open_no_link)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINK)


def check_target(path: Path, endings: Iterable[str]) -> None:
    """See to it that a file of that name can be asked for, before anything is drawn for it.

    Args:
        path: The file to write.
        endings: Those its name may have.

    Raises:
        FiltertrackError: If its name ends otherwise, or there is no such folder.
    """
    endings = list(endings)
    if path.suffix.lower() not in endings:
        raise FiltertrackError(
            f"output {str(path)!r}: expected a name that ends in {', '.join(endings)}"
        )
    if not path.absolute().parent.is_dir():
        raise FiltertrackError(f"output {str(path)!r}: there is no folder {str(path.parent)!r}")


def open_regular(
    path: str | StoragePath, most: int | None = None, within: str | None = None
) -> tuple[OpenFile, int]:
    """Open a regular file to read it. A pipe or a device is refused, and never blocks.

    Args:
        path: The file; a text is a path on disk. A link to a regular file is followed.
        most: Bytes it may have; None for any number.
        within: A folder that no link may lead out of, all links in its own path resolved; None
            where links may lead anywhere.

    Returns:
        The file, and the bytes it has.

    Raises:
        FiltertrackError: If it is no regular file, is larger, or a link leads out of the folder.
        OSError: If there is no file, or it cannot be reached.
    """
    if not isinstance(path, (str, Path)):
        remote = path.open()
        _check_size(path, remote.size, most)
        return remote, remote.size
    # Before it is opened, since that alone makes some devices do something; and again when it is
    # open, since it may have been replaced in between.
    _check_regular(path, os.stat(path))  # noqa: PTH116 - a Path takes as long again
    opener = _open_to_read if within is None else _opener_within(within)
    file = open(path, "rb", buffering=0, opener=opener)  # noqa: SIM115 - see above
    try:
        status = os.fstat(file.fileno())
        _check_regular(path, status)
        _check_size(path, status.st_size, most)
    except BaseException:
        file.close()
        raise
    return file, status.st_size


def _open_to_read(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_WAIT)


def _opener_within(folder: str) -> Callable[[str, int], int]:
    """Return what opens a file, also through links, unless one leads out of a folder."""

    def opened(path: str, flags: int) -> int:
        if os.path.islink(path):  # noqa: PTH114 - also given as a text
            real = os.path.realpath(path)
            if not Path(real).is_relative_to(folder):
                raise FiltertrackError(
                    f"{path!r} is a link that leads out of {folder!r}; it is not read"
                )
            path = real
        return os.open(path, flags | _NO_WAIT | _NO_LINK)

    return opened


def _check_regular(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FiltertrackError(f"{str(path)!r} is not a regular file; it is not read")


def _check_size(path: str | StoragePath, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise damaged_file(path, f"it has {size} bytes, expected at most {most}")


def names_in(folder: StoragePath) -> Iterable[str]:
    """Return the names of what is in a folder.

    Raises:
        OSError: If it is not there, or cannot be reached.
    """
    # Half the time of Path.iterdir.
    return os.listdir(folder) if isinstance(folder, Path) else folder.entries()  # noqa: PTH208


def make_folder(folder: StoragePath) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        OSError: If it cannot be made.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder.mkdir()


def check_writable(folder: StoragePath) -> None:
    """Try to write a file, whatever the permissions say.

    Raises:
        OSError: If that cannot be done.
    """
    make_folder(folder)
    if not isinstance(folder, Path):
        folder.check_writable()
        return
    with tempfile.TemporaryFile(dir=folder):
        pass


def stamp_of(file: StoragePath) -> int:
    """Return a number that changes when a file is replaced.

    Raises:
        OSError: If it is not there, or cannot be reached.
    """
    return file.stat().st_mtime_ns // 1000 if isinstance(file, Path) else file.stamp()


def stamps_in(folder: StoragePath) -> dict[str, int]:
    """Return the names of what is in a folder, each with a number as ``stamp_of`` returns.

    Raises:
        OSError: If it is not there, or cannot be reached.
    """
    if not isinstance(folder, Path):
        return folder.entries()
    with os.scandir(folder) as entries:
        stamps = {}
        for entry in entries:
            with suppress(FileNotFoundError):  # removed since it was listed
                try:
                    status = entry.stat()
                except OSError:  # a link to nothing, or to itself
                    status = entry.stat(follow_symlinks=False)
                stamps[entry.name] = status.st_mtime_ns // 1000
        return stamps


def remove_in(folder: StoragePath, is_meant: Callable[[str], bool]) -> None:
    """Remove the files of a folder whose names are meant; nothing where there is no folder.

    Raises:
        OSError: If one cannot be removed.
    """
    with suppress(FileNotFoundError):
        for name in list(names_in(folder)):
            if is_meant(name):
                (folder / name).unlink(missing_ok=True)


def remove_folder(folder: StoragePath) -> None:
    """Remove a folder of files, if it is there.

    Raises:
        OSError: If it cannot be removed.
    """
    if isinstance(folder, Path):
        if folder.is_symlink():  # the link is the run's, what it points to need not be
            folder.unlink()
        while folder.exists():
            with suppress(FileNotFoundError):  # somebody else removes files there: go on
                shutil.rmtree(folder)
    else:
        remove_in(folder, bool)


def missing_file(path: StoragePath) -> FiltertrackError | None:
    """Return the error that explains why a file is not there that is in its folder's list.

    Returns:
        The error; None where the file is not in the list either.
    """
    if not isinstance(path, Path) or not path.is_symlink():
        return None
    return FiltertrackError(
        f"{str(path)!r} is a link to a file that is not there; what keeps the files of this run, "
        f"such as DVC or git-annex, has to fetch it"
    )


def damaged_file(path: str | StoragePath, reason: object) -> FiltertrackError:
    """Return the error that names a damaged file and says what is wrong with it."""
    return FiltertrackError(f"damaged file {str(path)!r}: {reason}")
