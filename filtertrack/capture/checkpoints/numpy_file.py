"""Reads arrays of numpy as kernels: ``.npy`` and ``.npz`` files, without pickles."""

import errno
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from filtertrack.capture.array_layers import describe_array
from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.kernel_axes import axes_missing
from filtertrack.errors import FiltertrackError, listed, printable
from filtertrack.snapshot import LayerInfo, safe_names, stored_type

MAGIC: bytes = npy_format.MAGIC_PREFIX
"""The first bytes of an ``.npy`` file."""
_KERNEL = "/kernel"
_MOST_ENTRIES = 10_000
_SMALL = 1 << 24
_MOST_EXPANSION = 100
"""Maximum bytes of a compressed array: 100 times those in the file, or 16 MB."""
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,  # an encrypted entry
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,  # of Python's parser, for a deeply nested header
)
"""What numpy and ``zipfile`` raise for a damaged file."""


class _Head(NamedTuple):
    """The header of an array.

    Attributes:
        shape: Its shape.
        fortran: Whether its values are in the order of Fortran.
        dtype: Its type.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class NumpyFile(Checkpoint):
    """The arrays of an ``.npy`` or ``.npz`` file that have an axis for each letter.

    A kernel's name is its key in an ``.npz`` file, without ``/kernel`` at the end, or the name of
    the ``.npy`` file.

    Args:
        path: The file.
        axes: The letters of the kernels' axes: see ``kernel_axes.canonical_axes``.

    Raises:
        FiltertrackError: If there are no letters, no array has as many axes, or the file is
            damaged. Arrays of Python objects are not loaded.
    """

    def __init__(self, path: Path, axes: str | None) -> None:
        super().__init__(path)
        if axes is None:
            raise axes_missing(f"the arrays in {str(path)!r}")
        left_out = []
        found = {}
        for key, head in self._heads().items():
            kind = head.dtype.name
            if len(head.shape) != len(axes) or not all(head.shape):
                left_out.append(f"{key} of shape {head.shape}")
            elif head.dtype.hasobject or stored_type(kind) is None:
                left_out.append(f"{key} of type {kind}")
            else:
                found[key] = head
        if not found:
            raise refused(
                path,
                f"axes {axes!r} has {len(axes)} letters, and it holds no array of numbers with as "
                f"many axes: {listed(left_out) or 'it is empty'}",
            )
        names = safe_names(key.removesuffix(_KERNEL) for key in found)
        self._keys = {f"{n}{_KERNEL}": key for n, key in zip(names, found, strict=True)}
        self.infos = [
            describe_array(
                name, printable(key)[:1000] or name, head.shape, head.dtype.name, letters=axes
            )
            for name, (key, head) in zip(names, found.items(), strict=True)
        ]
        if left_out:
            self.remarks = [f"left out, as axes {axes!r} does not fit: {listed(left_out)}"]

    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Read arrays: see ``Checkpoint``."""
        wanted = self.infos if infos is None else infos
        return {info.kernel: self._array(self._keys[info.kernel]) for info in wanted}

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def _heads(self) -> dict[str, _Head]:
        """Return the header of each array by its name."""
        if not zipfile.is_zipfile(self.path):
            with self._opened(None) as (_, head):
                return {printable(self.path.stem): head}
        with self._errors(), zipfile.ZipFile(self.path) as archive:
            entries = archive.infolist()
        names = [entry.filename for entry in entries if entry.filename.endswith(".npy")]
        if len(entries) > _MOST_ENTRIES or len(set(names)) < len(names):
            raise refused(self.path, "it has too many entries, or two of the same name")
        heads = {}
        for name in names:
            with self._opened(name) as (_, head):
                heads[name.removesuffix(".npy")] = head
        return heads

    def _array(self, key: str) -> np.ndarray:
        entry = f"{key}.npy" if zipfile.is_zipfile(self.path) else None
        with self._opened(entry) as (stream, head):
            content = stream.read(head.size)
            if len(content) < head.size:
                raise ValueError("it ends within an array")
            array = np.frombuffer(content, head.dtype)
            array = array.reshape(head.shape, order="F" if head.fortran else "C")
            return array.astype(head.dtype.newbyteorder("="), order="C")

    @contextmanager
    def _opened(self, entry: str | None) -> Iterator[tuple[IO[bytes], _Head]]:
        """Open an entry of the archive, or the file itself, at the values after the header."""
        with self._errors():
            if entry is None:
                with self.path.open("rb") as file:
                    yield file, _read_head(file, os.fstat(file.fileno()).st_size)
                return
            with zipfile.ZipFile(self.path) as archive, archive.open(entry) as stream:
                info = archive.getinfo(entry)
                most = max(_SMALL, _MOST_EXPANSION * info.compress_size)
                yield stream, _read_head(stream, min(info.file_size, most))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FiltertrackError:
            raise
        except (OSError, *_DAMAGE) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise  # zipfile seeks to a position before the file
            reason = f"it is damaged: {str(error) or type(error).__name__:.300}"
            raise refused(self.path, reason) from error


def _read_head(stream: IO[bytes], most: int) -> _Head:
    """Read the header of an array.

    Args:
        stream: At its start; afterwards at the values.
        most: Maximum bytes of the values.

    Raises:
        ValueError: If the header is damaged, or claims more.
    """
    version = npy_format.read_magic(stream)
    if version != (1, 0):  # later ones are for structured types, with headers of any length
        raise ValueError(f"version {version} of the .npy format is not for arrays of numbers")
    head = _Head(*npy_format.read_array_header_1_0(stream))
    if any(type(size) is not int or size < 0 for size in head.shape):
        raise ValueError(f"a shape of {head.shape!r:.100}")
    if not head.dtype.hasobject and head.size > most:
        raise ValueError(f"an array claims {head.size} bytes, more than there are")
    return head
