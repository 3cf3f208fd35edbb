"""Files that can be believed: there whole or not at all when written, doubted when read.

On disk and on object storage alike: the one room that knows how these two differ.
"""

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, Union

from filtertrack.errors import FiltertrackError
from filtertrack.places import Place

if TYPE_CHECKING:
    from filtertrack.remote import RemoteFile

OpenFile: TypeAlias = Union[io.FileIO, "RemoteFile"]


def write_whole(path: Place, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that its name appears only once its content is stored.

    Args:
        path: The file; one that is there already is replaced.
        write: Writes the content into the file it is given.

    Raises:
        OSError: If the file cannot be written; nothing is left behind then.
    """
    if not isinstance(path, Path):
        path.write_whole(write)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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


def open_doubted(path: str | Place, most: int | None = None) -> tuple[OpenFile, int]:
    """Open a file to read; refuse what is no plain file: a link out of the folder, a pipe.

    Args:
        path: The file; a text is a path on disk.
        most: Bytes it may have; None for any number.

    Returns:
        The file, and the bytes it has.

    Raises:
        FiltertrackError: If it is no plain file, or larger.
        OSError: If there is no file, or it cannot be reached.
    """
    if isinstance(path, (str, Path)):
        size = check_regular(path, most)
        return open(path, "rb", buffering=0), size  # noqa: PTH123 - a Path takes as long again
    file = path.open()
    _check_size(path, file.size, most)
    return file, file.size


def check_regular(path: str | Path, most: int | None = None) -> int:
    """Refuse what is no plain file of a sensible size: a link out of the folder, a pipe.

    Args:
        path: The file.
        most: Bytes it may have; None for any number.

    Returns:
        Bytes it has.

    Raises:
        FiltertrackError: If it is neither.
        OSError: If there is no file.
    """
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise FiltertrackError(f"{str(path)!r} is not a regular file; it is not read")
    _check_size(path, status.st_size, most)
    return status.st_size


def _check_size(path: str | Place, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise damaged_file(path, f"it has {size} bytes, expected at most {most}")


def names_in(folder: Place) -> Iterable[str]:
    """Return the names of what is in a folder.

    Raises:
        OSError: If it is not there, or cannot be reached.
    """
    # Half the time of Path.iterdir.
    return os.listdir(folder) if isinstance(folder, Path) else folder.entries()  # noqa: PTH208


def make_folder(folder: Place) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        OSError: If it cannot be made.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder.mkdir()


def check_writable(folder: Place) -> None:
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


def stamp_of(file: Place) -> int:
    """Return a number that changes when a file is replaced.

    Raises:
        OSError: If it is not there, or cannot be reached.
    """
    return file.stat().st_mtime_ns // 1000 if isinstance(file, Path) else file.stamp()


def stamps_in(folder: Place) -> dict[str, int]:
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
                stamps[entry.name] = entry.stat().st_mtime_ns // 1000
        return stamps


def remove_in(folder: Place, is_meant: Callable[[str], bool]) -> None:
    """Remove the files of a folder whose names are meant; nothing where there is no folder.

    Raises:
        OSError: If one cannot be removed.
    """
    with suppress(FileNotFoundError):
        for name in list(names_in(folder)):
            if is_meant(name):
                (folder / name).unlink(missing_ok=True)


def remove_folder(folder: Place) -> None:
    """Remove a folder of files, if it is there.

    Raises:
        OSError: If it cannot be removed.
    """
    if isinstance(folder, Path):
        while folder.exists():
            with suppress(FileNotFoundError):  # somebody else removes files there: go on
                shutil.rmtree(folder)
    else:
        remove_in(folder, bool)


def damaged_file(path: str | Place, reason: object) -> FiltertrackError:
    """Return the error that names a damaged file and says what is wrong with it."""
    return FiltertrackError(f"damaged file {str(path)!r}: {reason}")
