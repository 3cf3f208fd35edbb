"""Files that can be believed: there whole or not at all when written, doubted when read."""

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

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


def check_regular(path: Path, most: int | None = None) -> int:
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
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FiltertrackError(f"{str(path)!r} is not a regular file; it is not read")
    if most is not None and status.st_size > most:
        raise damaged_file(path, f"it has {status.st_size} bytes, expected at most {most}")
    return status.st_size


def read_members(path: Path, members: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Read arrays of an uncompressed ``.npz``, their checksums checked; no others are read.

    Args:
        path: The file.
        members: Names of the arrays, and the bytes each may take, with its header: checked before
            any memory is taken.

    Returns:
        The arrays by their names.

    Raises:
        FileNotFoundError: If there is no file.
        FiltertrackError: If it cannot be read or is damaged; the message names it.
    """
    try:
        size = check_regular(path)
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for member, most in members.items():
                entry = archive.getinfo(f"{member}.npy")
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise damaged_file(
                        path, f"{member} is packed in a way this package never writes"
                    )
                if not entry.file_size <= min(size, most):
                    raise damaged_file(path, f"{member} claims {entry.file_size} bytes")
                arrays[member] = _parse_npy(archive.read(entry))
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise damaged_file(path, error) from error
    except OSError as error:  # also a seek to where a damaged index points
        raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error
    return arrays


def damaged_file(path: Path, reason: object) -> FiltertrackError:
    """Return the error that names a damaged file and says what is wrong with it."""
    return FiltertrackError(f"damaged file {str(path)!r}: {reason}")


def _parse_npy(data: bytes) -> np.ndarray:
    """Read an ``.npy`` file's bytes; no memory is taken that the bytes do not fill.

    Raises:
        ValueError: If the header does not fit the bytes behind it, or asks for pickled objects.
    """
    # The header's length comes after eight bytes, in two bytes or, from version 2 on, in four.
    width = 2 if data[6:7] == b"\1" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    shape, fortran, dtype = _parse_header(data[:start])
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never read")
    flat = np.frombuffer(data, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C").copy()


@lru_cache(maxsize=256)
def _parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an ``.npy`` file's header; all snapshots of a layer have the same one."""
    stream = io.BytesIO(header)
    version = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    parsed: tuple[tuple[int, ...], bool, np.dtype[Any]] = read_header(stream)
    return parsed
