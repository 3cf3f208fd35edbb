"""Guarded reading of HDF5 files: plain groups, arrays of numbers and texts, and nothing else.

Links, external files and virtual arrays are refused before they are followed, and sizes are checked
against the size of the file before memory is allocated. The C library of HDF5 parses the file
itself: a file that is damaged on purpose may crash or hang it, and then this process.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from filtertrack.capture.checkpoints.checkpoint import refused
from filtertrack.errors import FiltertrackError, size_text
from filtertrack.snapshot import PLAIN_TYPES

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""

_MOST_OPENED = 200_000
"""Maximum number of groups and arrays opened in a file; a cycle of links has more."""
_MOST_NAMES = 50_000
"""Maximum number of names in a group."""
_MOST_TEXTS = 4096
"""Maximum number of texts in an attribute; Keras splits larger lists."""
_MOST_TEXT = 1 << 24
"""Maximum number of bytes of an attribute of fixed size, and of characters of a text."""
_SMALL = 1 << 24
_MOST_STRUCTURE = 1 << 16
"""Larger reads are values of arrays: HDF5 reads the first 4096 bytes of a heap alone."""
_HEAP = b"GCOL\1"
"""The signature of a heap of texts, with its version."""
_HEAP_HEADER, _ENTRY = 16, struct.Struct("<HHLQ")
"""Bytes before the first entry of a heap, and an entry's number, references, and size."""
_MOST_EXPANSION = 100
"""A compressed array larger than 16 MiB may have this many times its bytes in the file."""
_MOST_TEXT_MEMORY = 1 << 28
"""Maximum number of bytes of the texts of an attribute, if all are as long as the longest one."""
_BFLOAT16 = np.dtype("V2")
"""How h5py stores bfloat16: two bytes without a meaning."""
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}

_DAMAGE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    SystemError,
    AttributeError,
)
"""What h5py raises for a damaged file."""


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what h5py raises for a damaged file into a ``FiltertrackError`` with the file's name."""
    try:
        yield
    except _DAMAGE as error:
        raise refused(path, f"it is damaged: {str(error) or type(error).__name__}") from error


def import_h5py() -> ModuleType:
    """Import h5py.

    Raises:
        FiltertrackError: If it is not installed.
    """
    try:
        import h5py  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise FiltertrackError(
            f"files of Keras are read with h5py: pip install 'filtertrack[h5]' ({error})"
        ) from error
    module: ModuleType = h5py
    return module


class FilePart(io.RawIOBase):
    """A part of a file as a file of its own, to read with h5py.

    HDF5 reads texts of variable length from heaps. These are checked as they are read: HDF5 1.14
    reads a heap with an entry of no size for ever, and a list of texts may name a long one many
    times. A heap that must not be read is replaced by zeros, which HDF5 reports as damage.

    Args:
        path: The file.
        start: Position of the part in bytes.
        size: Size of the part in bytes; None for the rest of the file.

    Attributes:
        size: Size of the part in bytes.
        texts: The number of texts that are about to be read.
    """

    def __init__(self, path: Path, start: int = 0, size: int | None = None) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._at = start, 0
        self.size = self._file.seek(0, io.SEEK_END) - start if size is None else size
        self.texts = 1

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it has positions."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, up to the end of the part."""
        at = self._at
        view = memoryview(buffer).cast("B")
        done = self._read_at(at, view)
        self._at += done
        if done <= _MOST_STRUCTURE:
            data = view[:done].tobytes()
            found = data.find(_HEAP)
            while found >= 0:
                if not self._is_allowed(at + found):
                    view[found:done] = bytes(done - found)
                    break
                found = data.find(_HEAP, found + 1)
        return done

    def _read_at(self, at: int, view: memoryview) -> int:
        view = view[: max(0, self.size - at)]
        self._file.seek(self._start + at)
        done = 0
        while done < len(view) and (count := self._file.readinto(view[done:])):
            done += count
        return done

    def _is_allowed(self, at: int) -> bool:
        """Whether the heap at a position can be read, in bounded time and memory."""
        head = bytearray(_HEAP_HEADER)
        self._read_at(at, memoryview(head))
        size = int.from_bytes(head[8:], "little")
        if size > min(_MOST_TEXT_MEMORY, self.size - at):
            return False
        heap = bytearray(size)
        self._read_at(at, memoryview(heap))
        largest = _largest_entry(heap)
        return largest is not None and largest * self.texts <= _MOST_TEXT_MEMORY

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _largest_entry(heap: bytearray) -> int | None:
    """Return the size of the largest text in a heap; None if sizes do not fit.

    Source: the HDF5 file format specification, III.E, with lengths of 8 bytes.
    """
    at, largest = _HEAP_HEADER, 0
    while at + _ENTRY.size <= len(heap):
        number, _, _, size = _ENTRY.unpack_from(heap, at)
        taken = _ENTRY.size + (size + 7) // 8 * 8 if number else size
        if not taken or at + taken > len(heap):
            return None
        largest = max(largest, size if number else 0)
        at += taken
    return largest


class Hdf5File:
    """An open HDF5 file.

    Args:
        path: The file, for messages.
        content: The file, or a part of it; it is closed with this object, and on an error.

    Raises:
        FiltertrackError: If it cannot be opened.

    Attributes:
        path: The file.
        content: The file, or the part of it.
    """

    def __init__(self, path: Path, content: FilePart | None = None) -> None:
        self.path = path
        self.h5 = import_h5py()
        self._opened = 0
        with damage_named(path):
            self.content = FilePart(path) if content is None else content
            try:
                self._check_start()
                self._file = self.h5.File(self.content, "r")
            except BaseException:
                self.content.close()
                raise

    def _check_start(self) -> None:
        """Refuse a file that is no HDF5 file, or in which sizes do not have 8 bytes."""
        start = bytearray(16)
        self.content.seek(0)
        self.content.readinto(start)
        at = 13 if start[8] < 2 else 9  # the version
        if start[:8] != SIGNATURE or start[at : at + 2] != b"\x08\x08":
            raise refused(self.path, "its weights are no HDF5 file, or are damaged")

    def root(self) -> "Hdf5Group":
        """Return the file's root group."""
        return Hdf5Group("", [(self, self._file.id)])

    def count_opened(self) -> None:
        """Count an opened group or array, and refuse a file with too many."""
        self._opened += 1
        if self._opened > _MOST_OPENED:
            raise refused(self.path, f"it has more than {_MOST_OPENED} groups, or a cycle of links")

    def close(self) -> None:
        """Close the file."""
        with damage_named(self.path):
            self._file.close()
            self.content.close()


class Hdf5Group:
    """A group of an HDF5 file, or the union of the groups of a path in several files.

    Args:
        path: The group's path, for messages.
        parts: The group in each file, as h5py's low-level object.
    """

    def __init__(self, path: str, parts: Sequence[tuple[Hdf5File, Any]]) -> None:
        self.path = path
        self.parts = parts

    @classmethod
    def union(cls, groups: Sequence["Hdf5Group"]) -> "Hdf5Group":
        """Return the union of the groups of one path in several files."""
        return cls(groups[0].path, [part for group in groups for part in group.parts])

    def names(self) -> list[str]:
        """Return the names of groups and arrays in the group, unordered.

        Raises:
            FiltertrackError: If there are too many, or the file is damaged.
        """
        found: dict[str, None] = {}
        for file, group in self.parts:
            with damage_named(file.path):
                if group.get_num_objs() > _MOST_NAMES:
                    raise refused(file.path, f"{self.path!r} has more than {_MOST_NAMES} members")
                found.update(dict.fromkeys(name.decode() for name in group))
        return list(found)

    def count(self) -> int:
        """Return the number of groups and arrays in the group, in all files."""
        total = 0
        for file, group in self.parts:
            with damage_named(file.path):
                total += int(group.get_num_objs())
        return total

    def group(self, path: str) -> "Hdf5Group | None":
        """Return a group below this one; None if there is none.

        Raises:
            FiltertrackError: If it lies behind a link, or the file is damaged.
        """
        found = [(file, each) for file, each in self._members(path) if _is_group(file, each)]
        return Hdf5Group(f"{self.path}/{path}".strip("/"), found) if found else None

    def array(self, path: str) -> "Hdf5Array | None":
        """Return an array below this group; None if there is none.

        Raises:
            FiltertrackError: If it is no array of numbers that is stored in the file, or is larger
                than the file can hold.
        """
        for file, each in self._members(path):
            if not _is_group(file, each):
                with damage_named(file.path):
                    return _checked(file, f"{self.path}/{path}".strip("/"), each)
        return None

    def _members(self, path: str) -> Iterator[tuple[Hdf5File, Any]]:
        for file, group in self.parts:
            with damage_named(file.path):
                member = _member(file, group, path)
            if member is not None:
                yield file, member

    def text(self, attribute: str) -> str | None:
        """Return an attribute that is one text; None if there is none, or it is something else."""
        texts = self._attribute(attribute, single=True)
        return texts[0] if texts else None

    def texts(self, attribute: str) -> list[str] | None:
        """Return an attribute that is a list of texts; None if there is none.

        A list that Keras splits (``layer_names0``, ``layer_names1``, …) is joined.
        """
        whole = self._attribute(attribute)
        if whole is not None:
            return whole
        parts: list[list[str]] = []
        while (part := self._attribute(f"{attribute}{len(parts)}")) is not None:
            parts.append(part)
        return [text for part in parts for text in part] if parts else None

    def _attribute(self, name: str, *, single: bool = False) -> list[str] | None:
        for file, group in self.parts:
            with damage_named(file.path):
                found = _texts_of(file, group, name, single=single)
            if found is not None:
                return found
        return None


@dataclass(frozen=True)
class Hdf5Array:
    """An array in an HDF5 file, whose values are not read yet.

    Attributes:
        file: The file.
        path: The array's path in the file.
        shape: Its shape.
        dtype: The name of its type in Keras.
        stored: The type of its values in the file, in this machine's order of bytes.
        dataset: h5py's low-level object.
    """

    file: Hdf5File
    path: str
    shape: tuple[int, ...]
    dtype: str
    stored: np.dtype[Any]
    dataset: Any

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return prod(self.shape) * self.stored.itemsize

    def read(self) -> np.ndarray:
        """Read the values; float32 for bfloat16.

        Raises:
            FiltertrackError: If the file is damaged.
        """
        with damage_named(self.file.path):
            values = np.empty(self.shape, self.stored)
            every = self.file.h5.h5s.ALL
            if self.stored != _BFLOAT16:
                self.dataset.read(every, every, values)
                return values
            self.dataset.read(every, every, values, self.dataset.get_type())
            # The upper half of a float32.
            return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _member(file: Hdf5File, group: Any, path: str) -> Any:
    """Open a member of a group, without following links; None if there is none."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    for name in names:
        key = name.encode()
        if not _is_group(file, group) or not group.links.exists(key):
            return None
        if group.links.get_info(key).type != file.h5.h5l.TYPE_HARD:
            raise refused(file.path, f"{path!r} is a link, which could lead to other files")
        file.count_opened()
        group = file.h5.h5o.open(group, key)
    return group if names else None


@lru_cache(maxsize=64)
def _name_of(dtype: np.dtype[Any]) -> str:
    """Return the name of a type, which numpy makes anew at each access."""
    return str(dtype.name)


def _is_group(file: Hdf5File, found: Any) -> bool:
    return isinstance(found, file.h5.h5g.GroupID)


def _checked(file: Hdf5File, path: str, dataset: Any) -> Hdf5Array:
    """Describe a dataset after a check of its storage, type and size."""
    h5 = file.h5
    if not isinstance(dataset, h5.h5d.DatasetID):
        raise refused(file.path, f"{path!r} is no array")
    plist = dataset.get_create_plist()
    layout = plist.get_layout()
    if layout == h5.h5d.VIRTUAL or plist.get_external_count():
        raise refused(file.path, f"the values of {path!r} lie in another file")
    kind = dataset.get_type()
    marked = _texts_of(file, dataset, "dtype", single=True)
    narrow = kind.get_class() == h5.h5t.OPAQUE and kind.get_size() == _BFLOAT16.itemsize
    if not narrow and kind.get_class() not in (h5.h5t.FLOAT, h5.h5t.INTEGER):
        raise refused(file.path, f"{path!r} holds no plain numbers")
    space = dataset.get_space()
    if space.get_simple_extent_type() not in (h5.h5s.SIMPLE, h5.h5s.SCALAR):
        raise refused(file.path, f"{path!r} has no shape")
    shape = tuple(map(int, space.get_simple_extent_dims()))
    stored = _BFLOAT16 if narrow else kind.dtype.newbyteorder("=")
    name = _name_of(stored)
    if not narrow and name not in PLAIN_TYPES:
        raise refused(file.path, f"{path!r} holds numbers of the type {name}")
    _check_size(file, path, dataset, plist, prod(shape) * kind.get_size())
    dtype = "bfloat16" if narrow or marked == ["bfloat16"] else name
    return Hdf5Array(file, path, shape, dtype, stored, dataset)


def _check_size(file: Hdf5File, path: str, dataset: Any, plist: Any, declared: int) -> None:
    """Refuse an array that claims more values than the file holds."""
    inside = dataset.get_storage_size()
    chunked = plist.get_layout() == file.h5.h5d.CHUNKED
    most = max(_SMALL, _MOST_EXPANSION * inside) if chunked else inside
    if inside > file.content.size or declared > most:
        raise refused(
            file.path,
            f"{path!r} claims {size_text(declared)} and the file holds {size_text(inside)} of it",
        )
    if not chunked:
        return
    if prod(plist.get_chunk()) * dataset.get_type().get_size() > max(_SMALL, declared):
        raise refused(file.path, f"the parts of {path!r} are larger than the array")
    for index in range(plist.get_nfilters()):
        if plist.get_filter(index)[0] not in _FILTERS:
            raise refused(
                file.path,
                f"{path!r} is compressed with a filter other than {', '.join(_FILTERS.values())}",
            )


def _texts_of(file: Hdf5File, owner: Any, name: str, *, single: bool) -> list[str] | None:
    """Read an attribute of texts; None if there is none, or it is something else."""
    h5, key = file.h5, name.encode()
    if not h5.h5a.exists(owner, key):
        return None
    attribute = h5.h5a.open(owner, key)
    count = prod(attribute.shape)
    if count == 0:
        return []
    kind = attribute.get_type()
    if kind.get_class() != h5.h5t.STRING or (single and count != 1):
        return None
    if count > _MOST_TEXTS or attribute.get_storage_size() > _MOST_TEXT:
        raise refused(file.path, f"its attribute {name!r} has more than {_MOST_TEXTS} texts")
    file.content.texts = count
    values = np.empty(attribute.shape, attribute.dtype)
    attribute.read(values)
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.flat]
    if sum(map(len, texts)) > _MOST_TEXT:
        raise refused(file.path, f"its attribute {name!r} has more than {_MOST_TEXT} characters")
    return texts
