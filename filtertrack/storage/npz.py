"""Uncompressed ``.npz`` files: written in one pass, and one array read without looking at the rest.

``np.load`` and every zip program read what is written here. It is written here because
``zipfile`` parses the whole index of a file to find one array in it: of 53 layers, that takes ten
times as long as reading the array. And ``zipfile`` accepts files that two programs may read
differently; here they are damage.
"""

import errno
import io
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from zlib_ng.zlib_ng import crc32

from filtertrack.errors import FiltertrackError, UnreachableError
from filtertrack.storage.files import OpenFile, damaged_file, open_regular
from filtertrack.storage.memory_limit import check_memory
from filtertrack.storage.zip_format import (
    ENDS_SIZE,
    STORED,
    Entry,
    ZipIndex,
    check_covered,
    entry_records,
    file_end,
    head_at,
    head_size,
    parse_index,
    read_bytes,
    read_index,
    read_into,
)

if TYPE_CHECKING:
    from filtertrack.storage.remote import RemoteFile, RemotePath

_Read = TypeVar("_Read")

# What reading a damaged file raises, here and in numpy.
_DAMAGE = (OSError, MemoryError, ValueError, TypeError, EOFError, OverflowError, struct.error)

_MOST_HEAD = 1 << 14
"""Bytes of an array's ``.npy`` head, at most: far more than any needs."""
_PART = 1 << 22
"""Bytes that are read at a time of an array that is only checked."""

# Of a file on object storage: what is fetched of its end to find the index there, and what is
# fetched behind an array, should it be a text that is longer than the last one.
_INDEX, _LONGER = 1 << 14, 1 << 8

_ALIGNMENT = 16  # of any type that is stored, and what an allocator promises


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed ``.npz`` file.

    Args:
        file: Where; it must be at its beginning.
        arrays: Name to array, of any type but objects.

    Raises:
        OSError: If it cannot be written.

    Example:
        >>> file = io.BytesIO()
        >>> write_arrays(file, {"conv1/kernel": np.arange(3)})
        >>> _ = file.seek(0)
        >>> np.load(file)["conv1/kernel"]
        array([0, 1, 2])
    """
    index, start = [], 0
    for name, array in arrays.items():
        head = _npy_head(array.dtype, array.shape)
        values = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        size, checksum = len(head) + len(values), crc32(values, crc32(head))
        before, record = entry_records(_file_name(name), size, checksum, start)
        file.write(before + head)
        file.write(values.data)
        index.append(record)
        start += len(before) + size
    file.write(b"".join(index) + file_end(len(arrays), sum(map(len, index)), start))


@lru_cache(maxsize=256)
def _npy_head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, fields)
    return head.getvalue()


class ArrayHead(NamedTuple):
    """What an ``.npy`` file says of its array.

    Attributes:
        shape: The array's shape.
        dtype: The type of its values.
        fortran: Whether its first axis is the one that changes fastest.
        size: Bytes of the head itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    size: int


class ArrayReader:
    """Reads arrays out of ``.npz`` files that are much alike, as the snapshots of a run are.

    If a file's index names the same entries at the same places as that of the last one, it is not
    parsed again; else it decides. So each reader reads the same.

    Args:
        within: A folder that no link may lead out of; None where links may lead anywhere.
    """

    def __init__(self, within: str | None = None) -> None:
        self._within = within
        self._index: ZipIndex | None = None
        self._heads: dict[str, int] = {}
        """Bytes of each entry before its content, in the last file."""

    def read(self, path: str | Path, members: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Read arrays of a file on disk, their checksums checked.

        Args:
            path: The file.
            members: Names of the arrays, and the bytes each may take, with its head: checked before
                any memory is taken.

        Returns:
            The arrays by their names.

        Raises:
            FileNotFoundError: If there is no file.
            FiltertrackError: If it cannot be read or is damaged, or if its arrays take more than a
                fourth of the machine's memory; the message names it.
        """
        file, size = self._opened(path)
        with file:
            return self._read_open(path, file, members, size)

    def check(
        self, path: "str | Path | RemotePath", members: Mapping[str, int]
    ) -> dict[str, ArrayHead]:
        """Check arrays of a file as ``read`` does, in parts, so that it takes next to no memory.

        Also that each byte of the file belongs to what its index names: else another program may
        read something else in it.

        Returns:
            What is known of the arrays, by their names.

        Raises:
            FileNotFoundError: If there is no file.
            FiltertrackError: As by ``read``.
            OSError: If it is on object storage and cannot be reached.
        """
        if not isinstance(path, (str, Path)):
            return _while_replaced(
                path, lambda file: self._check_open(path, file, members), alone=len(members) == 1
            )[0]
        file, _ = self._opened(path)
        with file:
            return self._check_open(path, file, members)

    def read_remote(
        self, path: "RemotePath", members: Mapping[str, int]
    ) -> tuple[dict[str, np.ndarray], int]:
        """Read arrays of a file on object storage, as ``read`` does.

        A file that is replaced there while it is read looks damaged, or is read in parts of both,
        as it is not held open: then it is read again.

        Returns:
            The arrays by their names, and a number that changes when the file is replaced.

        Raises:
            FileNotFoundError: If there is no file.
            FiltertrackError: If it is damaged; the message names it.
            OSError: If it cannot be reached, or may not be read.
        """
        return _while_replaced(
            path,
            lambda file: self._read_open(path, file, members, file.size),
            alone=len(members) == 1,
        )

    def _opened(self, path: "str | Path | RemotePath") -> tuple[OpenFile, int]:
        try:
            return open_regular(path, within=self._within)
        except FileNotFoundError:
            raise
        except OSError as error:
            if not isinstance(path, (str, Path)):
                raise
            raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error

    def _read_open(
        self, path: "str | Path | RemotePath", file: OpenFile, members: Mapping[str, int], size: int
    ) -> dict[str, np.ndarray]:
        try:
            last = self._index
            if not isinstance(file, io.FileIO):
                file.fetch(self._expected(last, members, size))
            content, count, start = read_index(file, size, 0 if last is None else last.size)
            if last is None or count != len(last.entries) or not last.is_like(content):
                last = self._index = parse_index(content, count)
                self._heads = {}
            entries = _wanted(last, content, start, members)
            size = sum(entry.size for entry in entries.values())
            check_memory(size, f"cannot read {str(path)!r}: its arrays take")
            return {
                name: _parse(self._content(file, start, name, entry))
                for name, entry in entries.items()
            }
        except _DAMAGE as error:
            raise _named(path, file, error) from error

    def _check_open(
        self, path: "str | Path | RemotePath", file: OpenFile, members: Mapping[str, int]
    ) -> dict[str, ArrayHead]:
        try:
            content, count, start = read_index(file, file.seek(0, io.SEEK_END))
            index = parse_index(content, count)
            wanted = _wanted(index, content, start, members)
            for entry in wanted.values():  # in parts; but no more than can have been written
                check_memory(entry.size, f"cannot read {str(path)!r}: an array takes", share=1)
            heads = {name: _check_entry(file, start, name, each) for name, each in wanted.items()}
            check_covered(file, start, index)
        except _DAMAGE as error:
            raise _named(path, file, error) from error
        return heads

    def _expected(
        self, last: ZipIndex | None, members: Mapping[str, int], size: int
    ) -> list[tuple[int, int]]:
        """Return which bytes of a file will be read if it is as the last one was."""
        if last is None:
            return [(size - _INDEX, size)]
        known = [(last.entries.get(_file_name(name)), self._heads.get(name)) for name in members]
        return [
            # The text of the moment may be longer than the last one was.
            *((e.start, e.start + head + e.size + _LONGER) for e, head in known if e and head),
            (size - last.size - ENDS_SIZE, size),
        ]

    def _content(self, file: OpenFile, end: int, name: str, entry: Entry) -> np.ndarray:
        """Read an entry's content, its checksum checked."""
        known = self._heads.get(name)
        content = None if known is None else _load(file, end, name, entry, known)
        if content is None:
            head = self._heads[name] = head_at(file, end, _file_name(name), entry)
            content = _load(file, end, name, entry, head)
        if content is None or crc32(content) != entry.checksum:
            raise ValueError(f"the checksum of {name} does not fit its content")
        return content


def _while_replaced(
    path: "RemotePath", read: "Callable[[RemoteFile], _Read]", *, alone: bool
) -> tuple["_Read", int]:
    """Read a file on object storage, and again if it was replaced in between.

    Args:
        path: The file.
        read: Reads it.
        alone: Whether one array is read: its checksum shows that it is of one file.

    Returns:
        What was read, and a number that changes when the file is replaced.
    """
    for again in (True, True, False):
        file = path.open()
        try:
            found = read(file)
            if alone or file.fetched == 1 or not file.is_replaced():
                return found, file.stamp
        except (FiltertrackError, UnreachableError):
            if not (again and file.is_replaced()):
                raise
    raise UnreachableError(errno.EIO, "it is replaced again and again", str(path))


def _named(
    path: "str | Path | RemotePath", file: OpenFile, error: Exception
) -> FiltertrackError | OSError:
    """Return the error that names the file, for what reading it has raised."""
    if isinstance(error, MemoryError):
        return FiltertrackError(f"cannot read {str(path)!r}: there is too little memory")
    if isinstance(error, struct.error):  # it says only that there were too few bytes
        return damaged_file(path, "it is cut off, or its index cannot be read")
    if not isinstance(error, OSError):
        return damaged_file(path, error)
    if not isinstance(file, io.FileIO):  # of the file itself nothing is known
        return error
    return FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}")


def _file_name(name: str) -> bytes:
    return f"{name}.npy".encode()


def _wanted(
    index: ZipIndex,
    content: np.ndarray,
    end: int,
    members: Mapping[str, int],
) -> dict[str, Entry]:
    """Return the entries of arrays, their sizes checked before memory is taken."""
    entries, total = {}, 0
    for name, most in members.items():
        entry = index.entry(_file_name(name), content)
        if entry is None:
            raise ValueError(f"it holds no {name}")
        if entry.method != STORED:
            raise ValueError(f"{name} is packed in a way this package never writes")
        total += entry.size
        if entry.size > most or total > end:
            raise ValueError(f"{name} claims {entry.size} bytes")
        entries[name] = entry
    return entries


def _load(file: OpenFile, end: int, name: str, entry: Entry, head: int) -> np.ndarray | None:
    """Read an entry's content into memory in which an array's values are aligned.

    Args:
        file: The file.
        end: Where its entries end.
        name: The array's name.
        entry: Where it is.
        head: Bytes that lie before the content, probably.

    Returns:
        The content; None if another number of bytes lies before it.
    """
    whole = head + entry.size
    skew = -head % _ALIGNMENT
    data = np.empty(skew + whole, np.uint8)[skew:]
    if entry.start + whole > end or read_into(file, entry.start, data) < whole:
        return None
    return data[head:] if head_size(data.data, _file_name(name)) == head else None


def _check_entry(file: OpenFile, end: int, name: str, entry: Entry) -> ArrayHead:
    """Check an entry's head and checksum without holding it in memory."""
    at = entry.start + head_at(file, end, _file_name(name), entry)
    left, checksum, head = entry.size, 0, None
    while left:
        part = read_bytes(file, at, min(left, _PART))
        head = head or _parse_head(part, entry.size)
        checksum = crc32(part, checksum)
        at, left = at + len(part), left - len(part)
    if checksum != entry.checksum:
        raise ValueError(f"the checksum of {name} does not fit its content")
    return head or _parse_head(np.empty(0, np.uint8), 0)


def _parse(npy: np.ndarray) -> np.ndarray:
    """Look at the bytes of an ``.npy`` file as the array they hold, in this machine's byte order.

    Raises:
        ValueError: If the head does not fit the bytes behind it, or asks for pickled objects.
    """
    shape, dtype, fortran, size = _parse_head(npy, len(npy))
    array = npy[size:].view(dtype).reshape(shape, order="F" if fortran else "C")
    if not dtype.isnative:
        return array.astype(dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()


def _parse_head(npy: np.ndarray, size: int) -> ArrayHead:
    """Read the head of an ``.npy`` file.

    Args:
        npy: The file's first bytes.
        size: Bytes of all of it.

    Raises:
        ValueError: If the head does not fit the bytes behind it, or asks for pickled objects.
    """
    # The head's length comes after eight bytes, in two bytes or, from version 2 on, in four.
    start = npy[:12].tobytes()
    width = 2 if start[6:7] == b"\1" else 4
    values = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    if values > min(size, _MOST_HEAD):
        raise ValueError(f"its head claims {values} bytes")
    shape, fortran, dtype = _parse_fields(npy[:values].tobytes())
    if prod(shape) * dtype.itemsize != size - values:
        raise ValueError(f"its head claims the shape {shape} of {dtype}, not {size - values} bytes")
    return ArrayHead(shape, dtype, fortran, values)


@lru_cache(maxsize=256)
def _parse_fields(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read what an ``.npy`` file's head says; all snapshots of a layer have the same one."""
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        read_head = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_head(stream)
    except Exception as error:  # numpy lets through whatever Python's own parser raises
        raise ValueError(f"its head cannot be read: {error}") from error
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never read")
    if not all(type(n) is int and n >= 0 for n in shape):  # numpy takes True for a whole number
        raise ValueError(f"its head claims the shape {shape}")
    if not dtype.itemsize or dtype.subdtype is not None:
        raise ValueError(f"its head claims values of type {dtype}")
    return shape, bool(fortran), dtype
