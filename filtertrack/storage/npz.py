"""Read and write uncompressed ``.npz`` files; single arrays are read without the rest.

The files are ordinary ``.npz`` files, which ``np.load`` and zip programs read. ``zipfile`` is not
used, as it parses the whole index of a file to find one array: with 53 layers that takes ten times
as long as reading the array. It also accepts files that two programs may read differently; here
they are damaged files.
"""

import io
import struct
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from zlib_ng.zlib_ng import crc32

from filtertrack.errors import FiltertrackError
from filtertrack.storage.local_files import damaged_file
from filtertrack.storage.memory_limit import check_memory
from filtertrack.storage.paths import OpenFile, StoragePath
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

_DAMAGE = (MemoryError, ValueError, TypeError, EOFError, OverflowError, struct.error)
"""Errors that reading a damaged file raises, here and in numpy."""

_MOST_HEAD = 1 << 14
"""Maximum bytes of an array's ``.npy`` header: far more than any needs."""
_PART = 1 << 22
"""Bytes read at a time of an array that is only checked."""
_FIRST_INDEX = 1 << 14
"""Bytes prefetched at the end of a file whose index size is not known yet."""
_MARGIN = 1 << 8
"""Bytes prefetched behind each array: the text of the moment differs in length between files."""
_ALIGNMENT = 16
"""Alignment in bytes of all stored types, which memory allocators guarantee."""


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed ``.npz`` file.

    Args:
        file: The file, at its beginning.
        arrays: Name to array, of any type except objects.

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
    """The header of an ``.npy`` file.

    Attributes:
        shape: The array's shape.
        dtype: The type of its values.
        fortran: Whether the values are in Fortran order: the first index changes fastest.
        size: Size of the header in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    size: int


class ArrayReader:
    """Reads arrays from the ``.npz`` files of a folder that have similar indexes.

    The index of a file is compared with the one that was parsed last, and parsed only if it names
    other entries or positions. The result does not depend on which files were read before.

    Args:
        folder: The folder.
        within: A folder that links must not lead out of; None where links may lead anywhere.
    """

    def __init__(self, folder: StoragePath, within: str | None = None) -> None:
        self._folder = folder
        self._within = within
        self._index: ZipIndex | None = None
        self._heads: dict[str, int] = {}
        """Array name to the bytes of its entry before the content, in the last file."""

    def read(self, file_name: str, members: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Read arrays of a file and check their checksums.

        Args:
            file_name: The file's name.
            members: Array name to the maximum of its bytes, with its header: checked before memory
                is allocated.

        Returns:
            The arrays by their names.

        Raises:
            FileNotFoundError: If there is no such file.
            NotADirectoryError: If there is no such folder.
            FiltertrackError: If the file is damaged or on disk and cannot be read, or if the arrays
                take more than a fourth of the machine's memory; the message names the file.
            OSError: If it is on object storage and cannot be reached.
        """
        return self._folder.read_entry(
            file_name,
            lambda file: self._read_open(file, members),
            within=self._within,
            single=len(members) == 1,  # its checksum verifies it
        )

    def read_stamped(
        self, file_name: str, members: Mapping[str, int]
    ) -> tuple[dict[str, np.ndarray], int]:
        """Read arrays as ``read`` does, and return with them the file's stamp."""
        return self._folder.read_entry(
            file_name,
            lambda file: (self._read_open(file, members), file.stamp),
            within=self._within,
            single=len(members) == 1,
        )

    def check(self, file_name: str, members: Mapping[str, int]) -> dict[str, ArrayHead]:
        """Check arrays as ``read`` does, in parts, in constant memory.

        It also checks that every byte of the file belongs to an entry of its index: otherwise
        another program could read other content.

        Returns:
            The arrays' headers by their names.

        Raises:
            FileNotFoundError: As ``read``.
            FiltertrackError: As ``read``.
            OSError: As ``read``.
        """
        return self._folder.read_entry(
            file_name,
            lambda file: _check_open(file, members),
            within=self._within,
            single=len(members) == 1,
        )

    def _read_open(self, file: OpenFile, members: Mapping[str, int]) -> dict[str, np.ndarray]:
        try:
            last, size = self._index, file.size
            file.prefetch(lambda: self._expected(last, members, size))
            content, count, end = read_index(file, size, 0 if last is None else last.size)
            index = last
            if index is None or count != len(index.entries) or not index.is_like(content):
                index = self._index = parse_index(content, count)
                self._heads = {}
            entries = _select(index, content, end, members)
            total = sum(entry.size for entry in entries.values())
            check_memory(total, f"cannot read {file.name!r}: its arrays take")
            return {
                name: _parse(self._content(file, end, name, entry))
                for name, entry in entries.items()
            }
        except _DAMAGE as error:
            raise _read_error(file, error) from error

    def _expected(
        self, last: ZipIndex | None, members: Mapping[str, int], size: int
    ) -> list[tuple[int, int]]:
        """Return the byte ranges that will be read if the file is like the last one."""
        if last is None:
            return [(size - _FIRST_INDEX, size)]
        known = [(last.entries.get(_file_name(name)), self._heads.get(name)) for name in members]
        ranges = [(e.start, e.start + head + e.size + _MARGIN) for e, head in known if e and head]
        return [*ranges, (size - last.size - ENDS_SIZE, size)]

    def _content(self, file: OpenFile, end: int, name: str, entry: Entry) -> np.ndarray:
        """Read an entry's content and check its checksum."""
        known = self._heads.get(name)
        content = None if known is None else _load(file, end, name, entry, known)
        if content is None:
            head = self._heads[name] = head_at(file, end, _file_name(name), entry)
            content = _load(file, end, name, entry, head)
        if content is None or crc32(content) != entry.checksum:
            raise ValueError(f"the checksum of {name} does not fit its content")
        return content


def _check_open(file: OpenFile, members: Mapping[str, int]) -> dict[str, ArrayHead]:
    try:
        content, count, end = read_index(file, file.size)
        index = parse_index(content, count)
        entries = _select(index, content, end, members)
        for entry in entries.values():  # a size that cannot have been written is damage
            check_memory(entry.size, f"cannot read {file.name!r}: an array takes", share=1)
        heads = {name: _check_entry(file, end, name, each) for name, each in entries.items()}
        check_covered(file, end, index)
    except _DAMAGE as error:
        raise _read_error(file, error) from error
    return heads


def _read_error(file: OpenFile, error: Exception) -> FiltertrackError:
    """Return the error that names the file, for one that was raised when it was read."""
    if isinstance(error, MemoryError):
        return FiltertrackError(f"cannot read {file.name!r}: there is too little memory")
    if isinstance(error, struct.error):  # its message is about the number of bytes only
        return damaged_file(file.name, "it is cut off, or its index cannot be read")
    return damaged_file(file.name, error)


def _file_name(name: str) -> bytes:
    return f"{name}.npy".encode()


def _select(
    index: ZipIndex,
    content: np.ndarray,
    end: int,
    members: Mapping[str, int],
) -> dict[str, Entry]:
    """Return the entries of arrays, and check their sizes before memory is allocated."""
    entries, total = {}, 0
    for name, most in members.items():
        entry = index.entry(_file_name(name), content)
        if entry is None:
            raise ValueError(f"it holds no {name}")
        if entry.method != STORED:
            raise ValueError(f"{name} is compressed, which this package never writes")
        total += entry.size
        if entry.size > most or total > end:
            raise ValueError(f"{name} claims {entry.size} bytes")
        entries[name] = entry
    return entries


def _load(file: OpenFile, end: int, name: str, entry: Entry, head: int) -> np.ndarray | None:
    """Read an entry's content into memory that is aligned for an array's values.

    Args:
        file: The file.
        end: The end of its entries.
        name: The array's name.
        entry: The array's entry.
        head: The expected number of bytes before the content.

    Returns:
        The content; None if another number of bytes precedes it.
    """
    whole = head + entry.size
    skew = -head % _ALIGNMENT
    data = np.empty(skew + whole, np.uint8)[skew:]
    if entry.start + whole > end or read_into(file, entry.start, data) < whole:
        return None
    return data[head:] if head_size(data.data, _file_name(name)) == head else None


def _check_entry(file: OpenFile, end: int, name: str, entry: Entry) -> ArrayHead:
    """Check an entry's header and checksum without holding it in memory."""
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
    """Return the bytes of an ``.npy`` file as an array in the machine's byte order.

    Raises:
        ValueError: If the header does not fit the data, or asks for pickled objects.
    """
    shape, dtype, fortran, size = _parse_head(npy, len(npy))
    array = npy[size:].view(dtype).reshape(shape, order="F" if fortran else "C")
    if not dtype.isnative:
        return array.astype(dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()


def _parse_head(npy: np.ndarray, size: int) -> ArrayHead:
    """Parse the header of an ``.npy`` file.

    Args:
        npy: The file's first bytes.
        size: Size of the file in bytes.

    Raises:
        ValueError: If the header does not fit the size, or asks for pickled objects.
    """
    # The header's length follows after eight bytes, in two bytes or, from version 2 on, in four.
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
    """Parse the fields of an ``.npy`` header; cached, as a layer's snapshots have the same one."""
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        read_head = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_head(stream)
    except Exception as error:  # numpy does not convert the errors of Python's parser
        raise ValueError(f"its head cannot be read: {error}") from error
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never read")
    if not all(type(n) is int and n >= 0 for n in shape):  # numpy accepts True as a number
        raise ValueError(f"its head claims the shape {shape}")
    if not dtype.itemsize or dtype.subdtype is not None:
        raise ValueError(f"its head claims values of type {dtype}")
    return shape, bool(fortran), dtype
