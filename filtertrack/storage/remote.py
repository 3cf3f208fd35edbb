"""Paths of runs on object storage, or on any other storage that fsspec reaches.

Loaded for addresses such as ``s3://bucket/run`` only: a folder on disk does not need fsspec.
"""

import errno
import io
import re
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import fsspec

from filtertrack.errors import FiltertrackError, UnreachableError
from filtertrack.storage.local_files import check_size
from filtertrack.storage.redaction import hide_secrets, without_userinfo
from filtertrack.storage.retry import RetryingFileSystem

_Result = TypeVar("_Result")

_ATOMIC = frozenset({"s3", "gs", "abfs", "az", "oss", "memory"})
"""Protocols of storage on which a put file appears whole or not at all, and without folders."""
_SAME_PROTOCOL = {"s3a": "s3", "gcs": "gs", "abfss": "abfs"}

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra of this package that installs what a scheme needs."""
_CONTENT_HASHES = ("ETag", "etag", "md5Hash")
_TIMES = (
    "mtime",
    "LastModified",
    "last_modified",
    "modified",
    "modify",
    "last_write_time",
    "created",
    "updated",
)
"""The names that fsspec's file systems give to a content hash and to times in a file's details."""

_SMALL_FILE = 1 << 17
"""Files of at most this many bytes are read whole: that takes no longer than reading a part."""
_SMALLEST_FETCH = 1 << 12
"""Bytes fetched at least, since more will be read nearby."""
_READS = 3
"""Attempts to read a file that is replaced while it is read."""


class RemotePath:
    """A file or folder on object storage: a ``StoragePath``, which describes its methods.

    Its text is its address, without credentials.
    """

    __slots__ = ("_address", "_connection", "_path")

    is_remote = True

    def __init__(self, connection: RetryingFileSystem, path: str, address: str) -> None:
        self._connection = connection
        self._path = path
        self._address = address

    @classmethod
    def of(cls, given: Any) -> Self:
        """Make one from an address or from a path of universal-pathlib.

        Raises:
            FiltertrackError: If there is no such storage, or a package for it is not installed.
        """
        userinfo = re.findall(r"(?<=://)[^/]*(?=@)", str(given))
        secrets = [secret for text in userinfo for secret in [text, *text.split(":")] if secret]
        address = without_userinfo(str(given))
        if not address.endswith("://"):
            address = address.rstrip("/")
        try:
            if isinstance(given, str):
                files, path = fsspec.core.url_to_fs(given)
            else:
                files, path = given.fs, given.path
        except ImportError as error:
            extra = _EXTRAS.get(address.partition("://")[0].lower())
            advice = f": pip install 'filtertrack[{extra}]'" if extra else ""
            raise FiltertrackError(f"cannot use {address!r}: {error}{advice}") from None
        except Exception as error:  # noqa: BLE001 - each storage has its own errors
            reason = hide_secrets(error, secrets)
            raise FiltertrackError(f"cannot use {address!r}: {reason}") from None
        return cls(RetryingFileSystem(files, secrets), str(path).rstrip("/"), address)

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"RemotePath({self._address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._address == other._address

    def __hash__(self) -> int:
        return hash(self._address)

    def __truediv__(self, name: str) -> Self:
        return type(self)(self._connection, f"{self._path}/{name}", f"{self._address}/{name}")

    @property
    def fs(self) -> Any:
        """The file system, under the name that universal-pathlib uses."""
        return self._connection.files

    @property
    def path(self) -> str:
        """The path within the file system, under the name that universal-pathlib uses."""
        return self._path

    @property
    def parent(self) -> Self:
        """The folder that contains it."""
        path, address = (text.rpartition("/")[0] for text in (self._path, self._address))
        return type(self)(self._connection, path, address)

    @property
    def parts(self) -> tuple[str, ...]:
        """The address split at the folders."""
        scheme, _, rest = self._address.partition("://")
        return (f"{scheme}://", *rest.split("/"))

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.parts[-1]

    def absolute(self) -> Self:
        """Return the same path: addresses are absolute."""
        return self

    def resolve(self) -> Self:
        """Return the same path: there are no links on object storage."""
        return self

    def real_path(self) -> str:
        """Return the address."""
        return self._address

    def contains(self, other: object) -> bool:
        """Whether another address is this folder or lies below it."""
        return isinstance(other, RemotePath) and f"{other}/".startswith(f"{self}/")

    @property
    def concurrent(self) -> bool:
        """Whether several threads can read at once."""
        return bool(getattr(self._connection.files, "async_impl", False))

    def exists(self) -> bool:
        """Whether the file exists.

        Raises:
            OSError: If it cannot be reached: then it may exist.
        """
        try:
            self._info()
        except FileNotFoundError:
            return False
        return True

    is_file = exists

    def stamp(self) -> int:
        """Return a number that changes when the file is replaced.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """
        return _stamp(self._info())

    def names(self) -> list[str]:
        """Return the names of the entries of the folder.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """
        return [name for name, _ in self._list()]

    def stamps(self) -> dict[str, int]:
        """Return the entries of the folder: name to a number that changes when it is replaced.

        It takes one request.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """
        return {name: _stamp(entry) for name, entry in self._list()}

    def subfolders(self) -> list[str]:
        """Return the names of the folders in the folder, sorted.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """
        return sorted(name for name, entry in self._list() if entry.get("type") == "directory")

    def blocking_file(self) -> None:
        """Return None: a file prevents no folder of its name."""
        return

    def read_entry(
        self,
        name: str,
        read: "Callable[[RemoteFile], _Result]",
        *,
        most: int | None = None,
        within: str | None = None,  # noqa: ARG002 - there are no links on object storage
        single: bool = False,
    ) -> _Result:
        """Open a file of the folder and read it with a function; again if it was replaced.

        Raises:
            FileNotFoundError: If there is no such file.
            OSError: If it cannot be reached.
        """
        path = self / name
        for attempt in range(1, _READS + 1):
            file = path.open()
            check_size(path, file.size, most)
            try:
                result = read(file)
                if single or file.fetched <= 1 or not file.is_replaced():
                    return result
            except (FiltertrackError, UnreachableError):
                if attempt == _READS or not file.is_replaced():
                    raise
        raise UnreachableError(errno.EIO, "it is replaced again and again", str(path))

    def read_error(self, error: OSError) -> OSError:
        """Return the error itself: a failed request says nothing about the file."""
        return error

    def open(self) -> "RemoteFile":
        """Open a file to read parts of it.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """
        info = self._info()
        return RemoteFile(self, int(info["size"] or 0), _stamp(info))

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges of a file at once, each from its start to before its end.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """
        if len(ranges) == 1:
            start, end = ranges[0]
            return [self._call("cat_file", self._path, start=start, end=end, weight=end - start)]
        starts, ends = (list(each) for each in zip(*ranges, strict=True))
        weight = sum(ends) - sum(starts)
        paths = [self._path] * len(ranges)
        return list(self._call("cat_ranges", paths, starts, ends, on_error="raise", weight=weight))

    def write_whole(self, write: Callable[[BinaryIO], object]) -> None:
        """Write a file so that its name appears only once its content is complete.

        If the connection fails, the write is retried for two minutes, with growing pauses.

        Raises:
            OSError: If it cannot be written.
        """
        buffer = io.BytesIO()
        write(buffer)
        content = buffer.getvalue()
        self._put(len(content), lambda path: ("pipe_file", path, content))

    def upload(self, file: Path) -> None:
        """Copy a file on disk to this path as ``write_whole``, without holding it in memory.

        Raises:
            OSError: If it cannot be copied.
        """
        self._put(file.stat().st_size, lambda path: ("put_file", str(file), path))

    def _put(self, size: int, request: Callable[[str], tuple[Any, ...]]) -> None:
        """Send a request that writes a file to a path; via a temporary name unless it is atomic."""
        if self._is_atomic:
            self._call_retrying(*request(self._path), weight=size)
            return
        temporary = self.parent / f".{self.name}.{uuid.uuid4().hex}.tmp"
        self._call_retrying(*request(temporary.path), weight=size)
        self._call_retrying("mv", temporary.path, self._path)

    def make_folder(self) -> None:
        """Make the folder and its ancestors, on storage that has folders.

        Raises:
            OSError: If it cannot be made.
        """
        if not self._is_atomic:
            self._call("makedirs", self._path, exist_ok=True)

    def check_writable(self) -> None:
        """Make the folder and try once to write a file in it.

        Raises:
            OSError: If that fails.
        """
        self.make_folder()
        probe = self / f".{uuid.uuid4().hex}.tmp"  # no file of that name exists
        self._call("pipe_file", probe.path, b"")
        with suppress(PermissionError):  # a new run needs permission to write only
            probe.unlink(missing_ok=True)

    def lock(self) -> None:
        """Return None: object storage has no locks."""
        return

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the file.

        Raises:
            OSError: If it cannot be removed.
        """
        try:
            self._call("rm_file", self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        """Remove the files in the folder, if it exists.

        Raises:
            OSError: If one cannot be removed.
        """
        with suppress(FileNotFoundError):
            for name in self.names():
                (self / name).unlink(missing_ok=True)

    @property
    def _is_atomic(self) -> bool:
        protocol = self._connection.files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        return bool({_SAME_PROTOCOL.get(name, name) for name in names} & _ATOMIC)

    def _call(self, method: str, *args: Any, weight: int = 0, **options: Any) -> Any:
        with self._named_errors():
            return self._connection.call(method, *args, weight=weight, **options)

    def _call_retrying(self, method: str, *args: Any, weight: int = 0) -> None:
        with self._named_errors():
            self._connection.call_retrying(method, *args, weight=weight)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Add the address to errors."""
        try:
            yield
        except OSError as error:
            error.filename = self._address
            raise

    def _list(self) -> list[tuple[str, Any]]:
        self._clear_cache()
        try:
            found = self._call("ls", self._path, detail=True)
        except FileNotFoundError:
            if self._is_atomic:  # storage without folders: an empty one does not exist
                return []
            raise
        named = ((entry["name"].rstrip("/").rpartition("/")[2], entry) for entry in found)
        return [(name, entry) for name, entry in named if name]

    def _info(self) -> Any:
        self._clear_cache()
        return self._call("info", self._path)

    def _clear_cache(self) -> None:
        """Clear fsspec's cached listings of the folder: other programs write there, too."""
        self._connection.files.invalidate_cache(self.parent.path)
        self._connection.files.invalidate_cache(self._path)


class RemoteFile(io.RawIOBase):
    """A file on object storage, of which parts are fetched when they are read.

    Attributes:
        name: Its address.
        size: Its size in bytes when it was opened.
        stamp: A number that changes when the file is replaced.
        fetched: How many ranges were fetched.
    """

    def __init__(self, path: RemotePath, size: int, stamp: int) -> None:
        self.name = str(path)
        self.size = size
        self.stamp = stamp
        self.fetched = 0
        self._path = path
        self._position = 0
        self._parts: list[tuple[int, bytes]] = []
        """The ranges that were fetched last: the start and the bytes of each."""

    def is_replaced(self) -> bool:
        """Whether the file was replaced since it was opened.

        Raises:
            OSError: If it cannot be reached.
        """
        return self._path.stamp() != self.stamp

    def prefetch(self, ranges: Callable[[], Sequence[tuple[int, int]]]) -> None:
        """Fetch byte ranges that will be read, in one request."""
        self._fetch(ranges())

    def _fetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        if self.size <= _SMALL_FILE:
            ranges = [(0, self.size)]
        wanted = [(max(0, start), min(end, self.size)) for start, end in ranges]
        wanted = [(start, end) for start, end in wanted if start < end]
        if wanted:
            self.fetched += len(wanted)
            starts = [start for start, _ in wanted]
            read = zip(starts, self._path.read_ranges(wanted), strict=True)
            self._parts = [*self._parts[-1:], *read]

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position of the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"there is no byte {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer from the current position, and return how many bytes were read."""
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self.size)
        if end <= self._position:
            return 0
        start, data = self._part(self._position, end)
        found = memoryview(data)[self._position - start : end - start]
        view[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _part(self, start: int, end: int) -> tuple[int, bytes]:
        """Return the start and bytes of a fetched range that covers this one; fetch if needed."""
        for first, data in self._parts:
            if first <= start and end <= first + len(data):
                return first, data
        first = max(0, min(start, self.size - _SMALLEST_FETCH))
        self._fetch([(first, max(end, first + _SMALLEST_FETCH))])
        return self._parts[-1]


def _stamp(info: Any) -> int:
    """Return a number that changes when a file is replaced, from the details fsspec lists."""
    hashes = [info[key] for key in _CONTENT_HASHES if info.get(key)]
    known = hashes or [info.get(key) for key in _TIMES]
    return zlib.crc32(repr([info.get("size"), *known]).encode())
