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
from filtertrack.files import OpenFile, damaged_file, open_regular
from filtertrack.memory import check_memory

if TYPE_CHECKING:
    from filtertrack.remote import RemoteFile, RemotePath

_Read = TypeVar("_Read")

# What reading a damaged file raises, here and in numpy.
_DAMAGE = (OSError, MemoryError, ValueError, TypeError, EOFError, OverflowError, struct.error)

# The records of a zip file, as in its specification (APPNOTE 6.3), 4.3.7 to 4.3.16. Sizes are
# always in the 64-bit fields, as np.savez writes them too: a snapshot may have more than 4 GB.
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_SIZES = struct.Struct("<2H2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_CENTRAL_SIZES = struct.Struct("<2H3Q")
_EXTRA = struct.Struct("<2H")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_ENDS_64 = struct.Struct("<4sQ2H2L4Q4sLQL4s4H2LH")  # these three, one behind the other
_VERSION = 45  # the first with 64-bit sizes
_FIRST_DAY = 33  # 1 January 1980: the same arrays make the same file
_IN_64_BITS = 0xFFFFFFFF
_MANY = 0xFFFF
_STORED = 0
_UTF_8, _ENCRYPTED = 1 << 11, 1
_IN_64 = 1  # the extra field with 64-bit sizes

_MOST_INDEX = 1 << 24
_MOST_HEAD = 1 << 14
"""Bytes of a file's index, and of an array's ``.npy`` head, at most: far more than any needs."""
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
        member = f"{name}.npy".encode()
        head = _npy_head(array.dtype, array.shape)
        values = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        size, checksum = len(head) + len(values), crc32(values, crc32(head))
        sizes = (_IN_64_BITS, _IN_64_BITS, len(member))
        flags = 0 if name.isascii() else _UTF_8
        common = (_VERSION, flags, _STORED, 0, _FIRST_DAY, checksum, *sizes)
        file.write(_LOCAL.pack(b"PK\3\4", *common, _LOCAL_SIZES.size) + member)
        file.write(_LOCAL_SIZES.pack(1, _LOCAL_SIZES.size - 4, size, size) + head)
        file.write(values.data)
        extra = _CENTRAL_SIZES.size
        entry = (*common, extra, 0, 0, 0, 0, _IN_64_BITS)
        index += [_CENTRAL.pack(b"PK\1\2", _VERSION, *entry), member]
        index.append(_CENTRAL_SIZES.pack(1, extra - 4, size, size, start))
        start += _LOCAL.size + len(member) + _LOCAL_SIZES.size + size
    file.write(b"".join(index) + _end(len(arrays), sum(map(len, index)), start))


def _end(count: int, size: int, start: int) -> bytes:
    """Return the end of a file with so many entries, whose index has a size and a start."""
    few = min(count, _MANY)
    return (
        _END_64.pack(
            b"PK\6\6", _END_64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, start
        )
        + _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
        + _END.pack(b"PK\5\6", 0, 0, few, few, size, min(start, _IN_64_BITS), 0)
    )


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


class _Entry(NamedTuple):
    """An entry of a file, as its index describes it.

    Attributes:
        start: Where it starts.
        size: Bytes of its content.
        checksum: Of its content.
        method: How it is packed.
    """

    start: int
    size: int
    checksum: int
    method: int


class _Index(NamedTuple):
    """The index of a file, parsed, to be compared with those of files that are alike.

    Attributes:
        size: Bytes of the index.
        entries: The entries by their names.
        records: Where in the index the record of each entry starts.
        last: The entry that lies last: another size of it changes no other entry's place.
        same: What of the index does not depend on values: 255 for these bytes, 0 for the others.
        masked: The index where it is the same, else 0.
    """

    size: int
    entries: dict[bytes, _Entry]
    records: dict[bytes, int]
    last: bytes
    same: np.ndarray
    masked: bytes

    def is_like(self, content: np.ndarray) -> bool:
        """Whether an index names the same entries at the same places."""
        return len(content) == self.size and (content & self.same).tobytes() == self.masked

    def entry(self, name: bytes, content: np.ndarray) -> _Entry | None:
        """Return an entry of a file whose index is like this one."""
        known = self.entries.get(name)
        if known is None:
            return None
        at = self.records[name]
        if name == self.last:
            return _entry_of(content.data, at)
        checksum = int.from_bytes(content[at + 16 : at + 20].data, "little")
        return _Entry(known.start, known.size, checksum, known.method)


class ArrayReader:
    """Reads arrays out of ``.npz`` files that are much alike, as the snapshots of a run are.

    If a file's index names the same entries at the same places as that of the last one, it is not
    parsed again; else it decides. So each reader reads the same.

    Args:
        within: A folder that no link may lead out of; None where links may lead anywhere.
    """

    def __init__(self, within: str | None = None) -> None:
        self._within = within
        self._index: _Index | None = None
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
            content, count, start = _read_index(file, size, 0 if last is None else last.size)
            if last is None or count != len(last.entries) or not last.is_like(content):
                last = self._index = _parse_index(content, count)
                self._heads = {}
            entries = _wanted(path, last, content, start, members)
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
            content, count, start = _read_index(file, file.seek(0, io.SEEK_END))
            index = _parse_index(content, count)
            wanted = _wanted(path, index, content, start, members)
            heads = {name: _check_entry(file, start, name, each) for name, each in wanted.items()}
            _check_covered(file, start, index)
        except _DAMAGE as error:
            raise _named(path, file, error) from error
        return heads

    def _expected(
        self, last: _Index | None, members: Mapping[str, int], size: int
    ) -> list[tuple[int, int]]:
        """Return which bytes of a file will be read if it is as the last one was."""
        if last is None:
            return [(size - _INDEX, size)]
        known = [(last.entries.get(_file_name(name)), self._heads.get(name)) for name in members]
        return [
            # The text of the moment may be longer than the last one was.
            *((e.start, e.start + head + e.size + _LONGER) for e, head in known if e and head),
            (size - last.size - _ENDS_64.size, size),
        ]

    def _content(self, file: OpenFile, end: int, name: str, entry: _Entry) -> np.ndarray:
        """Read an entry's content, its checksum checked."""
        known = self._heads.get(name)
        content = None if known is None else _load(file, end, name, entry, known)
        if content is None:
            head = self._heads[name] = _head_at(file, end, name, entry)
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


def _read(file: OpenFile, start: int, size: int) -> np.ndarray:
    data = np.empty(size, np.uint8)
    file.seek(start)
    if file.readinto(data.data) < size:
        raise EOFError("it is cut off")
    return data


def _wanted(
    path: "str | Path | RemotePath",
    index: _Index,
    content: np.ndarray,
    end: int,
    members: Mapping[str, int],
) -> dict[str, _Entry]:
    """Return the entries of arrays, their sizes checked before memory is taken."""
    entries, total = {}, 0
    for name, most in members.items():
        entry = index.entry(_file_name(name), content)
        if entry is None:
            raise ValueError(f"it holds no {name}")
        if entry.method != _STORED:
            raise ValueError(f"{name} is packed in a way this package never writes")
        total += entry.size
        if entry.size > most or total > end:
            raise ValueError(f"{name} claims {entry.size} bytes")
        entries[name] = entry
    check_memory(total, f"cannot read {str(path)!r}: its arrays take")
    return entries


def _read_index(file: OpenFile, size: int, expected: int = 0) -> tuple[np.ndarray, int, int]:
    """Return a file's index, how many entries it names, and where it starts.

    Args:
        file: The file.
        size: Bytes it has.
        expected: Bytes the index has, probably: then it is read with the file's end.

    Raises:
        ValueError: If there is no index right before the file's end.
    """
    first = max(0, size - expected - _ENDS_64.size)
    tail = _read(file, first, size - first)
    count, length, start = _parse_end(tail[-_ENDS_64.size :].tobytes(), size)
    if length > _MOST_INDEX:
        raise ValueError(f"its index claims {length} bytes")
    if start < first:
        return _read(file, start, length), count, start
    return tail[start - first : start - first + length], count, start


def _parse_end(ends: bytes, size: int) -> tuple[int, int, int]:
    """Return how many entries a file has, and the size and start of its index.

    Args:
        ends: The file's last bytes.
        size: Bytes the file has.
    """
    at = size - _END.size
    signature, _, _, _, count, length, start, comment = _END.unpack(ends[-_END.size :])
    if signature != b"PK\5\6" or comment:
        raise ValueError("it does not end as a zip file does")
    if len(ends) == _ENDS_64.size:
        first, *_, count_64, length_64, start_64, second, _, place, _ = _ENDS_64.unpack(ends)[:14]
        if second == b"PK\6\7":
            at = size - _ENDS_64.size
            narrow = (min(count_64, _MANY), min(length_64, _IN_64_BITS), min(start_64, _IN_64_BITS))
            if (first, place) != (b"PK\6\6", at) or (count, length, start) != narrow:
                raise ValueError("its end is described in two ways")
            count, length, start = count_64, length_64, start_64
    if start + length != at:
        raise ValueError("its index does not lie right before its end")
    return count, length, start


def _parse_index(content: np.ndarray, count: int) -> _Index:
    """Parse an index.

    Raises:
        ValueError: If it cannot be parsed, or names an entry twice: programs differ in which of the
            two they read.
    """
    entries: dict[bytes, _Entry] = {}
    records: dict[bytes, int] = {}
    same = np.full(len(content), 255, np.uint8)
    at = 0
    for _ in range(count):
        name, end = _name_of(content.data, at)
        if name in records:
            raise ValueError(f"it holds {name.decode(errors='replace')} twice")
        records[name], entries[name] = at, _entry_of(content.data, at)
        same[at + 16 : at + 20] = 0  # the checksum
        at = end
    if at != len(content):
        raise ValueError(f"its index has {len(content)} bytes, not the {at} that its entries take")
    last = max(entries, key=lambda name: entries[name].start, default=b"")
    if entries:
        at = records[last]
        sizes = _sizes_at(content.data, at)
        same[at + 20 : at + 28] = 0
        if sizes is not None:
            same[sizes : sizes + 16] = 0
    masked = (content & same).tobytes()
    return _Index(len(content), entries, records, last, same, masked)


def _name_of(index: memoryview, at: int) -> tuple[bytes, int]:
    """Return what an entry is called, from its record in the index, and where the record ends."""
    signature, *_, name, extra, comment, _, _, _, _ = _CENTRAL.unpack_from(index, at)
    if signature != b"PK\1\2":
        raise ValueError("its index cannot be read")
    start = at + _CENTRAL.size
    return bytes(index[start : start + name]), start + name + extra + comment


def _entry_of(index: memoryview, at: int) -> _Entry:
    """Return where an entry is and what, from its record in the index."""
    fields = _CENTRAL.unpack_from(index, at)
    flags, method, checksum, packed, size, start = (fields[n] for n in (3, 4, 7, 8, 9, -1))
    if flags & _ENCRYPTED:
        raise ValueError("it is encrypted")
    if _IN_64_BITS in (packed, size, start):
        sizes = _sizes_at(index, at)
        if sizes is None:
            raise ValueError("its index names no sizes")
        wide = struct.iter_unpack("<Q", index[sizes : sizes + 24])
        size, packed, start = (
            next(wide)[0] if value == _IN_64_BITS else value for value in (size, packed, start)
        )
    if method == _STORED and packed != size:
        raise ValueError(f"an entry claims {size} bytes, and {packed}")
    return _Entry(start, size, checksum, method)


def _sizes_at(index: memoryview, at: int) -> int | None:
    """Return where in the index the 64-bit sizes of an entry are; None where there are none."""
    *_, name, extra, _, _, _, _, _ = _CENTRAL.unpack_from(index, at)
    at += _CENTRAL.size + name
    end = at + extra
    while at < end:
        kind, size = _EXTRA.unpack_from(index, at)
        if kind == _IN_64:
            return at + _EXTRA.size
        at += _EXTRA.size + size
    return None


def _load(file: OpenFile, end: int, name: str, entry: _Entry, head: int) -> np.ndarray | None:
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
    file.seek(entry.start)
    if entry.start + whole > end or file.readinto(data.data) < whole:
        return None
    return data[head:] if _head_size(data.data, name) == head else None


def _head_at(file: OpenFile, end: int, name: str, entry: _Entry) -> int:
    """Return how many bytes an entry has before its content."""
    before = min(_LOCAL.size + len(_file_name(name)), max(0, end - entry.start))
    head = _head_size(_read(file, entry.start, before).data, name)
    if entry.start + head + entry.size > end:
        raise ValueError(f"{name} claims {entry.size} bytes")
    return head


def _head_size(data: memoryview, name: str) -> int:
    """Return the same, from the entry's first bytes."""
    signature, *_, names, extra = _LOCAL.unpack_from(data)
    start = _LOCAL.size
    if signature != b"PK\3\4" or data[start : start + names] != _file_name(name):
        raise ValueError(f"{name} is not where its index says")
    return start + int(names) + int(extra)


def _check_entry(file: OpenFile, end: int, name: str, entry: _Entry) -> ArrayHead:
    """Check an entry's head and checksum without holding it in memory."""
    at = entry.start + _head_at(file, end, name, entry)
    left, checksum, head = entry.size, 0, None
    while left:
        part = _read(file, at, min(left, _PART))
        head = head or _parse_head(part, entry.size)
        checksum = crc32(part, checksum)
        at, left = at + len(part), left - len(part)
    if checksum != entry.checksum:
        raise ValueError(f"the checksum of {name} does not fit its content")
    return head or _parse_head(np.empty(0, np.uint8), 0)


def _check_covered(file: OpenFile, end: int, index: _Index) -> None:
    """See to it that a file's entries lie one behind the other, and nothing else lies there."""
    at = 0
    for name, entry in sorted(index.entries.items(), key=lambda each: each[1].start):
        if entry.start != at:
            raise ValueError(f"it holds {abs(entry.start - at)} bytes that its index does not name")
        called = name.decode(errors="replace")
        local = _LOCAL.unpack_from(_read(file, at, min(_LOCAL.size, end - at)).data)
        *_, checksum, packed, size, _, _ = local
        if checksum != entry.checksum or {packed, size} - {entry.size, _IN_64_BITS}:
            raise ValueError(f"{called} is described in two ways")
        at += _head_at(file, end, called.removesuffix(".npy"), entry) + entry.size
    if at != end:
        raise ValueError(f"it holds {abs(end - at)} bytes that its index does not name")


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
