"""Files on object storage, or on anything else that fsspec reaches.

Only loaded for an address such as ``s3://bucket/run``: a folder on disk needs nothing of this.
"""

import io
import re
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Self

import fsspec

from filtertrack.errors import FiltertrackError
from filtertrack.storage.redaction import hide_secrets
from filtertrack.storage.retry import RetryingFileSystem

_WHOLE_AT_ONCE = frozenset({"s3", "gs", "abfs", "az", "oss", "memory"})
"""Storages where a file that is put appears whole or not at all, and that know no folders."""

_TIMES = (
    *("mtime", "LastModified", "last_modified", "modified", "modify", "last_write_time"),
    *("created", "updated"),
)

_ALIKE = {"s3a": "s3", "gcs": "gs", "abfss": "abfs"}

_SMALL = 1 << 17
"""A file of so few bytes is read at once: it takes no longer than a part of it."""
_AT_LEAST = 1 << 12
"""Bytes that are fetched where fewer are asked for: more will be."""


class RemotePath:
    """A file or folder on object storage, with those methods of ``pathlib.Path`` that are needed.

    As text it is its address, without credentials.
    """

    __slots__ = ("_address", "_connection", "_path")

    def __init__(self, connection: RetryingFileSystem, path: str, address: str) -> None:
        self._connection = connection
        self._path = path
        self._address = address

    @classmethod
    def of(cls, given: Any) -> Self:
        """Make one of an address, or of a path of universal-pathlib's.

        Raises:
            FiltertrackError: If there is no such storage, or what it needs is not installed.
        """
        userinfo = re.findall(r"(?<=://)[^/]*(?=@)", str(given))
        secrets = [secret for whole in userinfo for secret in [whole, *whole.split(":")] if secret]
        address = re.sub(r"(?<=://)[^/]*@", "", str(given))
        if not address.endswith("://"):
            address = address.rstrip("/")
        try:
            if isinstance(given, str):
                files, path = fsspec.core.url_to_fs(given)
            else:
                files, path = given.fs, given.path
        except ImportError as error:
            raise FiltertrackError(
                f"cannot use {address!r}: {error}. For s3:// pip install 'filtertrack[s3]', for "
                f"gs:// 'filtertrack[gcs]'"
            ) from None
        except Exception as error:  # noqa: BLE001 - each storage has errors of its own
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
        """The file system, as universal-pathlib calls it."""
        return self._connection.files

    @property
    def path(self) -> str:
        """What the file system calls it, as universal-pathlib calls it."""
        return self._path

    @property
    def parent(self) -> Self:
        """The folder it lies in."""
        path, address = (text.rpartition("/")[0] for text in (self._path, self._address))
        return type(self)(self._connection, path, address)

    @property
    def parts(self) -> tuple[str, ...]:
        """The address, split where folders begin."""
        scheme, _, rest = self._address.partition("://")
        return (f"{scheme}://", *rest.split("/"))

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1]

    def absolute(self) -> Self:
        """Return the same: an address is never relative."""
        return self

    @property
    def concurrent(self) -> bool:
        """Whether several threads may read at once."""
        return bool(getattr(self._connection.files, "async_impl", False))

    def exists(self) -> bool:
        """Whether it is there. Where that cannot be known it is an error, not no.

        Raises:
            OSError: If it cannot be reached.
        """
        try:
            self._info()
        except FileNotFoundError:
            return False
        return True

    def stamp(self) -> int:
        """Return a number that changes when the file is replaced.

        Raises:
            OSError: If it is not there, or cannot be reached.
        """
        return _stamp(self._info())

    def entries(self) -> dict[str, int]:
        """List a folder: each name in it to a number that changes when the file is replaced.

        Raises:
            OSError: If it is not there, or cannot be reached.
        """
        return {name: _stamp(entry) for name, entry in self._list()}

    def folders(self) -> list[str]:
        """Return the names of the folders in a folder, sorted.

        Raises:
            OSError: If it is not there, or cannot be reached.
        """
        return sorted(name for name, entry in self._list() if entry.get("type") == "directory")

    def open(self) -> "RemoteFile":
        """Open a file to read parts of it.

        Raises:
            OSError: If it is not there, or cannot be reached.
        """
        info = self._info()
        return RemoteFile(self, int(info["size"] or 0), _stamp(info))

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read parts of a file, all at once: from each start to before each end.

        Raises:
            OSError: If it is not there, or cannot be reached.
        """
        if len(ranges) == 1:
            (start, end), weight = ranges[0], ranges[0][1] - ranges[0][0]
            return [self._call("cat_file", self._path, start=start, end=end, weight=weight)]
        starts, ends = (list(each) for each in zip(*ranges, strict=True))
        weight = sum(ends) - sum(starts)
        paths = [self._path] * len(ranges)
        read = self._call("cat_ranges", paths, starts, ends, on_error="raise", weight=weight)
        return list(read)

    def write_whole(self, write: Callable[[BinaryIO], object]) -> None:
        """Write a file so that its name appears only once all of its content is there.

        Where the connection fails it is tried again for two minutes, with growing pauses.

        Raises:
            OSError: If it cannot be written.
        """
        content = io.BytesIO()
        write(content)
        data = content.getvalue()
        if self._appears_whole:
            self._insist("pipe_file", self._path, data, weight=len(data))
            return
        temporary = self.parent / f".{self.name}.{uuid.uuid4().hex}.tmp"
        self._insist("pipe_file", temporary.path, data, weight=len(data))
        self._insist("mv", temporary.path, self._path)

    def check_writable(self) -> None:
        """Try to write a file, once.

        Raises:
            OSError: If that cannot be done.
        """
        probe = self / f".{uuid.uuid4().hex}.tmp"  # no file or link of that name is there
        self._call("pipe_file", probe.path, b"")
        with suppress(PermissionError):  # to write is enough for a new run
            probe.unlink(missing_ok=True)

    def mkdir(self) -> None:
        """Make a folder, and those above it, where there is such a thing as a folder.

        Raises:
            OSError: If it cannot be made.
        """
        if not self._appears_whole:
            self._call("makedirs", self._path, exist_ok=True)

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove a file.

        Raises:
            OSError: If it cannot be removed.
        """
        try:
            self._call("rm_file", self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    @property
    def _appears_whole(self) -> bool:
        protocol = self._connection.files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        return bool({_ALIKE.get(name, name) for name in names} & _WHOLE_AT_ONCE)

    def _call(self, method: str, *args: Any, weight: int = 0, **options: Any) -> Any:
        with self._named():
            return self._connection.call(method, *args, weight=weight, **options)

    def _insist(self, method: str, *args: Any, weight: int = 0) -> None:
        with self._named():
            self._connection.insist(method, *args, weight=weight)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in what goes wrong."""
        try:
            yield
        except OSError as error:
            error.filename = self._address
            raise

    def _list(self) -> list[tuple[str, Any]]:
        self._forget()
        try:
            found = self._call("ls", self._path, detail=True)
        except FileNotFoundError:
            if self._appears_whole:  # no folders there: one without files is not to be seen
                return []
            raise
        named = ((entry["name"].rstrip("/").rpartition("/")[2], entry) for entry in found)
        return [(name, entry) for name, entry in named if name]

    def _info(self) -> Any:
        self._forget()
        return self._call("info", self._path)

    def _forget(self) -> None:
        """Forget what fsspec remembers of a folder: others write there, too."""
        self._connection.files.invalidate_cache(self.parent.path)
        self._connection.files.invalidate_cache(self._path)


class RemoteFile(io.RawIOBase):
    """A file that is read in parts, each fetched when it is asked for.

    Attributes:
        size: Bytes it had when it was opened.
        stamp: A number that changes when it is replaced.
        fetched: Parts that were fetched.
    """

    def __init__(self, path: RemotePath, size: int, stamp: int) -> None:
        self.size = size
        self.stamp = stamp
        self.fetched = 0
        self._path = path
        self._at = 0
        self._held: list[tuple[int, bytes]] = []

    def is_replaced(self) -> bool:
        """Whether another file has taken its place since it was opened.

        Raises:
            OSError: If it cannot be reached.
        """
        return self._path.stamp() != self.stamp

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Fetch parts at once that will be read: from each start to before each end."""
        wanted = [(max(0, start), min(end, self.size)) for start, end in ranges]
        if self.size <= _SMALL:
            wanted = [(0, self.size)]
        wanted = [(start, end) for start, end in wanted if start < end]
        if wanted:
            starts = [start for start, _ in wanted]
            self.fetched += len(wanted)
            read = zip(starts, self._path.read_ranges(wanted), strict=True)
            self._held = [*self._held[-1:], *read]

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read anywhere: yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"there is no byte {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from where the file is, as far as there is something."""
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self.size)
        if end <= self._at:
            return 0
        start, data = self._holding(self._at, end)
        found = memoryview(data)[self._at - start : end - start]
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _holding(self, start: int, end: int) -> tuple[int, bytes]:
        """Return a part that was fetched and holds these bytes; fetch it if there is none."""
        for at, data in self._held:
            if at <= start and end <= at + len(data):
                return at, data
        first = max(0, min(start, self.size - _AT_LEAST))
        self.fetch([(first, max(end, first + _AT_LEAST))])
        return self._held[-1]


def _stamp(info: Any) -> int:
    """Return a number that changes when a file is replaced, from what its storage says of it."""
    content = [info[key] for key in ("ETag", "etag", "md5Hash") if info.get(key)]
    # Where the content has no name: when it was written, as each storage calls that.
    known = content or [info.get(key) for key in _TIMES]
    return zlib.crc32(repr([info.get("size"), *known]).encode())
