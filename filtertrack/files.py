"""Files that can be believed: there whole or not at all when written, doubted when read."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from filtertrack.errors import FiltertrackError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that its name appears only once its content is on disk.

    Args:
        path: The file; one that is there already is replaced.
        write: Writes the content into the file it is given.

    Raises:
        OSError: If the file cannot be written; nothing is left behind then.
    """
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
    if most is not None and status.st_size > most:
        raise damaged_file(path, f"it has {status.st_size} bytes, expected at most {most}")
    return status.st_size


def damaged_file(path: str | Path, reason: object) -> FiltertrackError:
    """Return the error that names a damaged file and says what is wrong with it."""
    return FiltertrackError(f"damaged file {str(path)!r}: {reason}")
