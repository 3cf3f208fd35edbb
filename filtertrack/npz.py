"""Uncompressed ``.npz`` files: written in one pass, and one array read without looking at the rest.

``np.load`` and every zip program read what is written here. It is written here because
``zipfile`` reads the whole index of a file to find one array in it: of 53 layers, that takes ten
times as long as reading the array.
"""

import errno
import io
import struct
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from zlib_ng.zlib_ng import crc32

from filtertrack.errors import FiltertrackError, UnreachableError
from filtertrack.files import OpenFile, damaged_file, open_regular

if TYPE_CHECKING:
    from filtertrack.remote import RemotePath

# What zipfile and numpy raise over a damaged file. RuntimeError: a member that claims a password;
# MemoryError: one that claims a size which the (sparse) file has.
_DAMAGE = (
    *(zipfile.BadZipFile, KeyError, ValueError, EOFError, OverflowError, RuntimeError),
    *(MemoryError, struct.error),
)

# The records of a zip file, as in its specification (APPNOTE 6.3), 4.3.7 to 4.3.16. Sizes are
# always in the 64-bit fields, as np.savez writes them too: a snapshot may have more than 4 GB.
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_SIZES = struct.Struct("<2H2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_CENTRAL_SIZES = struct.Struct("<2H3Q")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_VERSION = 45  # the first with 64-bit sizes
_FIRST_DAY = 33  # 1 January 1980: the same arrays make the same file
_IN_64_BITS = 0xFFFFFFFF
_MANY = 0xFFFF
_UTF_8 = 1 << 11

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
        common = (_VERSION, flags, zipfile.ZIP_STORED, 0, _FIRST_DAY, checksum, *sizes)
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


class _Place(NamedTuple):
    """Where an array lay in the last file.

    Attributes:
        start: Where its entry starts.
        head: Bytes before its values: the entry's own head, and that of ``.npy``.
        size: Bytes of all of it.
    """

    start: int
    head: int
    size: int


class ArrayReader:
    """Reads arrays out of ``.npz`` files that are much alike, as the snapshots of a run are.

    Where an array lay in one file it is expected in the next. If it is there, with the right
    checksum, nothing else of the file is read but its end, which shows that it is not cut off and
    has as many entries. If anything is otherwise, the file's index is read, and decides.
    """

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._entries = -1

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
            FiltertrackError: If it cannot be read or is damaged; the message names it.
        """
        try:
            file, size = open_regular(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error
        with file:
            return self._read_open(path, file, members, size)

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
        for again in (True, True, False):
            file = path.open()
            try:
                arrays = self._read_open(path, file, members, file.size)
                if len(members) == 1 or file.fetched == 1 or not file.is_replaced():
                    return arrays, file.stamp
            except (FiltertrackError, UnreachableError):
                if not (again and file.is_replaced()):
                    raise
        raise UnreachableError(errno.EIO, "it is replaced again and again", str(path))

    def _read_open(
        self, path: "str | Path | RemotePath", file: OpenFile, members: Mapping[str, int], size: int
    ) -> dict[str, np.ndarray]:
        try:
            if not isinstance(file, io.FileIO):
                file.fetch(self._expected(members, size))
            arrays = self._in_place(file, members, size)
            return self._by_index(file, members, size) if arrays is None else arrays
        except _DAMAGE as error:
            raise damaged_file(path, error) from error
        except OSError as error:  # also a seek to where a damaged index points
            if not isinstance(file, io.FileIO):  # of the file itself nothing is known
                raise
            raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error

    def _expected(self, members: Mapping[str, int], size: int) -> list[tuple[int, int]]:
        """Return which bytes of a file will be read if it is as the last one was."""
        known = [self._places[name] for name in members if name in self._places]
        # The text of the moment may be longer than the last one was.
        ranges = [(place.start, place.start + place.size + _LONGER) for place in known]
        return [*ranges, (size - (_END.size if known else _INDEX), size)]

    def _in_place(
        self, file: OpenFile, members: Mapping[str, int], size: int
    ) -> dict[str, np.ndarray] | None:
        """Read arrays where they lay in the last file; None if anything there is not as it was."""
        if not _ends_well(file, size, self._entries):
            return None
        arrays = {}
        for name, most in members.items():
            place = self._places.get(name)
            npy = place and _entry_at(file, place, f"{name}.npy", min(size, most))
            if npy is None:
                return None
            arrays[name] = _parse(npy)
        return arrays

    def _by_index(
        self, file: OpenFile, members: Mapping[str, int], size: int
    ) -> dict[str, np.ndarray]:
        """Read arrays where the file's index says they are, and remember the places."""
        arrays = {}
        with zipfile.ZipFile(file) as archive:
            self._entries = len(archive.infolist())
            for name, most in members.items():
                entry = archive.getinfo(f"{name}.npy")
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{name} is packed in a way this package never writes")
                if not entry.compress_size == entry.file_size <= min(size, most):
                    raise ValueError(f"{name} claims {entry.file_size} bytes")
                array = _parse(np.frombuffer(bytearray(archive.read(entry)), np.uint8))
                file.seek(entry.header_offset)
                *_, names, extra = _LOCAL.unpack(file.read(_LOCAL.size))
                whole = _LOCAL.size + names + extra + entry.file_size
                self._places[name] = _Place(entry.header_offset, whole - array.nbytes, whole)
                arrays[name] = array
        return arrays


def _entry_at(file: OpenFile, place: _Place, member: str, most: int) -> np.ndarray | None:
    """Read the bytes of an entry that is expected at a place; None if it is not, or damaged."""
    data = _load(file, place)
    if len(data) < _LOCAL.size + len(member) + _LOCAL_SIZES.size:
        return None
    head = _LOCAL.unpack_from(data.data)
    signature, _, flags, method, _, _, checksum, _, size, names, extra = head
    start = _LOCAL.size + names
    name = data[_LOCAL.size : start].tobytes()
    expected = (b"PK\3\4", 0, zipfile.ZIP_STORED, member.encode())
    if (signature, flags & ~_UTF_8, method, name) != expected:
        return None
    if size == _IN_64_BITS and extra == _LOCAL_SIZES.size:
        _, _, size, _ = _LOCAL_SIZES.unpack_from(data.data, start)
    start += extra
    if size > most:
        return None
    if start + size != len(data):  # a text that is longer or shorter than the last
        del data
        data = _load(file, place._replace(size=start + size))
    npy = data[start:]
    return npy if len(npy) == size and crc32(npy) == checksum else None


def _load(file: OpenFile, place: _Place) -> np.ndarray:
    """Read what is at a place into memory in which its values are aligned."""
    skew = -place.head % _ALIGNMENT
    data = np.empty(skew + place.size, np.uint8)[skew:]
    file.seek(place.start)
    return data[: file.readinto(data.data)]


def _ends_well(file: OpenFile, size: int, entries: int) -> bool:
    """Whether a file ends with an index of so many entries that lies right before its end.

    So it is not cut off, and nothing was added that replaces what lies before.
    """
    file.seek(max(0, size - _END.size))
    tail = file.read(_END.size)
    if len(tail) < _END.size:
        return False
    signature, _, _, _, count, length, start, comment = _END.unpack(tail)
    between = size - _END.size - start - length
    return (signature, count, comment) == (b"PK\5\6", min(entries, _MANY), 0) and (
        between in {0, _END_64.size + _LOCATOR.size}
    )


def _parse(npy: np.ndarray) -> np.ndarray:
    """Look at the bytes of an ``.npy`` file as the array they hold.

    Raises:
        ValueError: If the head does not fit the bytes behind it, or asks for pickled objects.
    """
    # The head's length comes after eight bytes, in two bytes or, from version 2 on, in four.
    start = npy[:12].tobytes()
    width = 2 if start[6:7] == b"\1" else 4
    values = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    try:
        shape, fortran, dtype = _parse_head(npy[:values].tobytes())
    except Exception as error:  # numpy lets through whatever Python's own parser raises
        raise ValueError(f"its head cannot be read: {error}") from error
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never read")
    array = npy[values:].view(dtype).reshape(shape, order="F" if fortran else "C")
    return array if array.flags.aligned else array.copy()


@lru_cache(maxsize=256)
def _parse_head(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an ``.npy`` file's head; all snapshots of a layer have the same one."""
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    read_head = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    parsed: tuple[tuple[int, ...], bool, np.dtype[Any]] = read_head(stream)
    return parsed
