"""Write zip records, and parse and compare the index of a zip file.

Source: the format's specification, APPNOTE 6.3, sections 4.3.7 to 4.3.16. A file that two programs
may read differently is an error. "Index" is the central directory, "entry" a stored file.
"""

import struct
from typing import NamedTuple

import numpy as np

from filtertrack.storage.paths import OpenFile

# Sizes are written in the 64-bit fields, as np.savez does: a snapshot may be larger than 4 GB.
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_SIZES = struct.Struct("<2H2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_CENTRAL_SIZES = struct.Struct("<2H3Q")
_EXTRA = struct.Struct("<2H")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_ENDS_64 = struct.Struct("<4sQ2H2L4Q4sLQL4s4H2LH")  # these three records in sequence
ENDS_SIZE = _ENDS_64.size
"""Bytes of the records behind a file's index."""
_VERSION = 45  # the first version with 64-bit sizes
_FIRST_DAY = 33  # 1 January 1980, so that the same arrays make the same file
_IN_64_BITS = 0xFFFFFFFF  # in a 32-bit field: the value is in the 64-bit field
_MANY = 0xFFFF
STORED = 0
"""The method of an entry that is not compressed."""
_UTF_8, _ENCRYPTED = 1 << 11, 1
_IN_64 = 1  # the extra field with 64-bit sizes

_MOST_INDEX = 1 << 24
"""Maximum bytes of a file's index: far more than any needs."""


def entry_records(name: bytes, size: int, checksum: int, start: int) -> tuple[bytes, bytes]:
    """Return the header before an entry's content, and the entry's record in the index.

    Args:
        name: The entry's name.
        size: Size of its uncompressed content in bytes.
        checksum: The CRC-32 of its content.
        start: The entry's position in the file.
    """
    flags = 0 if name.isascii() else _UTF_8
    sizes = (_IN_64_BITS, _IN_64_BITS, len(name))
    common = (_VERSION, flags, STORED, 0, _FIRST_DAY, checksum, *sizes)
    local = _LOCAL.pack(b"PK\3\4", *common, _LOCAL_SIZES.size) + name
    extra = _CENTRAL_SIZES.size
    central = _CENTRAL.pack(b"PK\1\2", _VERSION, *common, extra, 0, 0, 0, 0, _IN_64_BITS) + name
    return (
        local + _LOCAL_SIZES.pack(1, _LOCAL_SIZES.size - 4, size, size),
        central + _CENTRAL_SIZES.pack(1, extra - 4, size, size, start),
    )


def file_end(count: int, size: int, start: int) -> bytes:
    """Return the end of a file.

    Args:
        count: The number of entries.
        size: Size of the index in bytes.
        start: Position of the index.
    """
    few = min(count, _MANY)
    return (
        _END_64.pack(
            b"PK\6\6", _END_64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, start
        )
        + _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
        + _END.pack(b"PK\5\6", 0, 0, few, few, size, min(start, _IN_64_BITS), 0)
    )


class Entry(NamedTuple):
    """An entry as described by the index.

    Attributes:
        start: Its position in the file.
        size: Size of its content in bytes.
        checksum: The CRC-32 of its content.
        method: The compression method.
    """

    start: int
    size: int
    checksum: int
    method: int


class ZipIndex(NamedTuple):
    """A parsed index, to compare with the indexes of similar files.

    Attributes:
        size: Size of the index in bytes.
        entries: The entries by their names.
        records: Position in the index of each entry's record.
        last: Name of the last entry in the file, whose size may differ between similar files.
        same: Mask of the bytes that are the same in similar files: 255 for these, else 0.
        masked: The index with the mask applied.
    """

    size: int
    entries: dict[bytes, Entry]
    records: dict[bytes, int]
    last: bytes
    same: np.ndarray
    masked: bytes

    def is_like(self, content: np.ndarray) -> bool:
        """Whether another index has the same entries at the same positions."""
        return len(content) == self.size and (content & self.same).tobytes() == self.masked

    def entry(self, name: bytes, content: np.ndarray) -> Entry | None:
        """Return an entry of a file whose index is like this one; None if there is none."""
        known = self.entries.get(name)
        if known is None:
            return None
        at = self.records[name]
        if name == self.last:
            return _entry_of(content.data, at)
        checksum = int.from_bytes(content[at + 16 : at + 20].data, "little")
        return Entry(known.start, known.size, checksum, known.method)


def read_into(file: OpenFile, start: int, buffer: np.ndarray) -> int:
    """Read from a position of a file into a buffer, and return the number of bytes read.

    It repeats the read, as one system call may return less than requested, such as at most 2 GB.
    """
    file.seek(start)
    done = 0
    while done < len(buffer) and (count := file.readinto(buffer[done:].data)):
        done += count
    return done


def read_bytes(file: OpenFile, start: int, size: int) -> np.ndarray:
    """Read a number of bytes from a position of a file.

    Raises:
        EOFError: If the file ends before.
    """
    data = np.empty(size, np.uint8)
    if read_into(file, start, data) < size:
        raise EOFError("it is cut off")
    return data


def read_index(file: OpenFile, size: int, expected: int = 0) -> tuple[np.ndarray, int, int]:
    """Read a file's index.

    Args:
        file: The file.
        size: Size of the file in bytes.
        expected: Expected size of the index, which is read together with the file's end.

    Returns:
        The index, its number of entries, and its position.

    Raises:
        ValueError: If there is no index directly before the file's end.
    """
    first = max(0, size - expected - ENDS_SIZE)
    tail = read_bytes(file, first, size - first)
    count, length, start = _parse_end(tail[-ENDS_SIZE:].tobytes(), size)
    if length > _MOST_INDEX:
        raise ValueError(f"its index claims {length} bytes")
    if start < first:
        return read_bytes(file, start, length), count, start
    return tail[start - first : start - first + length], count, start


def _parse_end(ends: bytes, size: int) -> tuple[int, int, int]:
    """Parse the end of a file.

    Args:
        ends: The file's last bytes.
        size: Size of the file in bytes.

    Returns:
        The number of entries, and the size and position of the index.
    """
    at = size - _END.size
    signature, _, _, _, count, length, start, comment = _END.unpack(ends[-_END.size :])
    if signature != b"PK\5\6" or comment:
        raise ValueError("it does not end as a zip file does")
    if len(ends) == ENDS_SIZE:
        first, *_, count_64, length_64, start_64, second, _, place, _ = _ENDS_64.unpack(ends)[:14]
        if second == b"PK\6\7":
            at = size - ENDS_SIZE
            narrow = (min(count_64, _MANY), min(length_64, _IN_64_BITS), min(start_64, _IN_64_BITS))
            if (first, place) != (b"PK\6\6", at) or (count, length, start) != narrow:
                raise ValueError("its end is described in two ways")
            count, length, start = count_64, length_64, start_64
    if start + length != at:
        raise ValueError("its index does not lie right before its end")
    return count, length, start


def parse_index(content: np.ndarray, count: int) -> ZipIndex:
    """Parse an index.

    Raises:
        ValueError: If it cannot be parsed, or contains a name twice: programs differ in which of
            the two entries they read.
    """
    entries: dict[bytes, Entry] = {}
    records: dict[bytes, int] = {}
    same = np.full(len(content), 255, np.uint8)
    at = 0
    for _ in range(count):
        name, end = _name_of(content.data, at)
        if name in records:
            raise ValueError(f"it holds {_text(name)} twice")
        records[name], entries[name] = at, _entry_of(content.data, at)
        same[at + 16 : at + 20] = 0  # the checksum
        at = end
    if at != len(content):
        raise ValueError(f"its index has {len(content)} bytes, not the {at} that its entries take")
    last = max(entries, key=lambda name: entries[name].start, default=b"")
    if entries:
        at = records[last]
        first, end = _sizes_at(content.data, at)
        same[at + 20 : at + 28] = 0
        same[first : min(first + 16, end)] = 0
    masked = (content & same).tobytes()
    return ZipIndex(len(content), entries, records, last, same, masked)


def _name_of(index: memoryview, at: int) -> tuple[bytes, int]:
    """Return the name in an entry's record in the index, and the end of the record."""
    signature, *_, name, extra, comment, _, _, _, _ = _CENTRAL.unpack_from(index, at)
    if signature != b"PK\1\2":
        raise ValueError("its index cannot be read")
    start = at + _CENTRAL.size
    return bytes(index[start : start + name]), start + name + extra + comment


def _entry_of(index: memoryview, at: int) -> Entry:
    """Parse an entry's record in the index."""
    fields = _CENTRAL.unpack_from(index, at)
    flags, method, checksum, packed, size, start = (fields[n] for n in (3, 4, 7, 8, 9, -1))
    if flags & _ENCRYPTED:
        raise ValueError("it is encrypted")
    if _IN_64_BITS in (packed, size, start):
        first, end = _sizes_at(index, at)
        wide = (value for (value,) in struct.iter_unpack("<Q", index[first:end]))
        narrow = (size, packed, start)
        size, packed, start = (next(wide, -1) if n == _IN_64_BITS else n for n in narrow)
        if min(size, packed, start) < 0:
            raise ValueError("its index lacks a size")
    if method == STORED and packed != size:
        raise ValueError(f"an entry claims {size} bytes, and {packed}")
    return Entry(start, size, checksum, method)


def _sizes_at(index: memoryview, at: int) -> tuple[int, int]:
    """Return the start and end of an entry's 64-bit sizes in the index."""
    *_, name, extra, _, _, _, _, _ = _CENTRAL.unpack_from(index, at)
    at += _CENTRAL.size + name
    end = at + extra
    while at < end:
        kind, size = _EXTRA.unpack_from(index, at)
        at += _EXTRA.size
        if kind == _IN_64:
            return at, min(at + size, end)
        at += size
    return end, end


def head_at(file: OpenFile, end: int, name: bytes, entry: Entry) -> int:
    """Return the size of the header before an entry's content, read from the file."""
    before = min(_LOCAL.size + len(name), max(0, end - entry.start))
    head = head_size(read_bytes(file, entry.start, before).data, name)
    if entry.start + head + entry.size > end:
        raise ValueError(f"{_text(name)} claims {entry.size} bytes")
    return head


def head_size(data: memoryview, name: bytes) -> int:
    """Return the size of the header before an entry's content, from the entry's first bytes."""
    signature, *_, names, extra = _LOCAL.unpack_from(data)
    start = _LOCAL.size
    if signature != b"PK\3\4" or data[start : start + names] != name:
        raise ValueError(f"{_text(name)} is not where its index says")
    return start + int(names) + int(extra)


def check_covered(file: OpenFile, end: int, index: ZipIndex) -> None:
    """Check that a file consists of its entries only, without gaps.

    Raises:
        ValueError: If it contains other bytes, or an entry differs from the index.
    """
    at = 0
    for name, entry in sorted(index.entries.items(), key=lambda each: each[1].start):
        if entry.start != at:
            raise ValueError(f"it holds {abs(entry.start - at)} bytes that its index does not name")
        local = _LOCAL.unpack_from(read_bytes(file, at, min(_LOCAL.size, end - at)).data)
        *_, checksum, packed, size, _, _ = local
        if checksum != entry.checksum or {packed, size} - {entry.size, _IN_64_BITS}:
            raise ValueError(f"{_text(name)} is described in two ways")
        at += head_at(file, end, name, entry) + entry.size
    if at != end:
        raise ValueError(f"it holds {abs(end - at)} bytes that its index does not name")


def _text(name: bytes) -> str:
    """Return an entry's name for a message."""
    return name.decode(errors="replace").removesuffix(".npy")
