"""Files that can be believed: there whole or not at all when written, doubted when read."""

import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from filtertrack.errors import FiltertrackError

# What zipfile and numpy raise over a damaged file; RuntimeError: a member that claims a password.
_DAMAGE = (zipfile.BadZipFile, KeyError, ValueError, EOFError, OverflowError, RuntimeError)


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


def check_regular(path: Path, most: int | None = None) -> None:
    """Refuse what is no plain file of a sensible size: a link out of the folder, a pipe.

    Args:
        path: The file.
        most: Bytes it may have; None for any number.

    Raises:
        FiltertrackError: If it is neither.
        OSError: If there is no file.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FiltertrackError(f"{str(path)!r} is not a regular file; it is not read")
    if most is not None and status.st_size > most:
        raise damaged_file(path, f"it has {status.st_size} bytes, expected at most {most}")


def read_member(path: Path, member: str, most: int) -> np.ndarray:
    """Read one array of an uncompressed ``.npz``, its checksum checked; no other is read.

    Args:
        path: The file.
        member: The array's name.
        most: Bytes the array may take, with its header: checked before any memory is taken.

    Returns:
        The array.

    Raises:
        FileNotFoundError: If there is no file.
        FiltertrackError: If it cannot be read or is damaged; the message names it.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{member}.npy")
            if entry.compress_type != zipfile.ZIP_STORED:
                raise damaged_file(path, f"{member} is packed in a way this package never writes")
            if not entry.file_size <= min(path.stat().st_size, most):
                raise damaged_file(path, f"{member} claims {entry.file_size} bytes")
            return _parse_npy(archive.read(entry))
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise damaged_file(path, error) from error
    except OSError as error:  # also a seek to where a damaged index points
        raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error


def damaged_file(path: Path, reason: object) -> FiltertrackError:
    """Return the error that names a damaged file and says what is wrong with it."""
    return FiltertrackError(f"damaged file {str(path)!r}: {reason}")


def _parse_npy(data: bytes) -> np.ndarray:
    """Read an ``.npy`` file's bytes; no memory is taken that the bytes do not fill.

    Raises:
        ValueError: If the header does not fit the bytes behind it, or asks for pickled objects.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never read")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()
