"""Paths of runs: one interface to folders on disk and to addresses on object storage."""

import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, TypeVar, Union

from filtertrack.errors import FiltertrackError
from filtertrack.storage.local import LocalPath

_Result = TypeVar("_Result")

_FILE_SCHEME = re.compile(r"(?:file|local)://")
_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]+::)*[A-Za-z][A-Za-z0-9+.\-]+://")
_ADDRESS_IN_A_PATH = re.compile(r"(?:s3a?|gc?s|abfss?|az|oss|memory):/[^/]")


class OpenFile(Protocol):
    """A file that is open for reading.

    Attributes:
        name: Its path or address.
        size: Its size in bytes when it was opened.
        stamp: A number that changes when the file is replaced.
    """

    name: str
    size: int

    @property
    def stamp(self) -> int: ...  # noqa: D102 - described above

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position of the next read."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Read bytes from the current position."""

    def readinto(self, buffer: Any, /) -> int | None:
        """Read bytes into a buffer and return how many."""

    def prefetch(self, ranges: Callable[[], Sequence[tuple[int, int]]]) -> None:
        """Fetch byte ranges that will be read, in one request; on disk this does nothing."""


class StoragePath(Protocol):
    """A file or folder on disk (``LocalPath``) or on object storage (``RemotePath``).

    ``str()`` of it is the path or the address, without credentials.

    Attributes:
        is_remote: Whether each access is a request over a connection, and files are written whole.
        concurrent: Whether several reads at once are faster than one after another.
    """

    @property
    def is_remote(self) -> bool: ...  # noqa: D102 - described above

    @property
    def concurrent(self) -> bool: ...  # noqa: D102 - described above

    @property
    def name(self) -> str:
        """The last part of the path."""

    @property
    def parent(self) -> "StoragePath":
        """The folder that contains it."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The path split at the folders."""

    def __truediv__(self, name: str) -> "StoragePath":
        """Return the path of an entry of this folder."""

    def absolute(self) -> "StoragePath":
        """Return the path independent of the working directory."""

    def resolve(self) -> "StoragePath":
        """Return the absolute path with all links followed."""

    def real_path(self) -> str:
        """Return the path with all links followed as text; also for a path that does not exist."""

    def contains(self, other: "StoragePath") -> bool:
        """Whether another path is this folder or lies below it, with all links followed."""

    def exists(self) -> bool:
        """Whether the file or folder exists.

        Raises:
            OSError: If that cannot be determined.
        """

    def is_file(self) -> bool:
        """Whether the file exists; on disk False where that cannot be determined.

        Raises:
            OSError: If object storage cannot be reached.
        """

    def stamp(self) -> int:
        """Return a number that changes when the file is replaced.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """

    def names(self) -> Iterable[str]:
        """Return the names of the entries of the folder.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """

    def stamps(self) -> Mapping[str, int]:
        """Return the entries of the folder: name to a number that changes when it is replaced.

        Raises:
            OSError: If it does not exist, or cannot be reached.
        """

    def subfolders(self) -> list[str]:
        """Return the names of the folders in the folder, sorted.

        On disk a folder that cannot be listed has none.

        Raises:
            OSError: If object storage cannot be reached.
        """

    def blocking_file(self) -> Path | None:
        """Return the file that prevents a folder of this path, if any: itself or an ancestor."""

    def read_entry(
        self,
        name: str,
        read: Callable[[OpenFile], _Result],
        *,
        most: int | None = None,
        within: str | None = None,
        single: bool = False,
    ) -> _Result:
        """Open a file of the folder, read it with a function, and close it.

        A file on object storage may be replaced between two requests: then it is read again.

        Args:
            name: The file's name.
            read: Reads from the open file. It may be called more than once.
            most: Maximum size in bytes; None for any.
            within: A folder, as ``real_path`` returns it, that links must not lead out of; None
                where links may lead anywhere.
            single: Whether ``read`` verifies by itself that all it reads is of one file.

        Returns:
            What ``read`` returned.

        Raises:
            FileNotFoundError: If there is no such file.
            NotADirectoryError: If this is not a folder.
            FiltertrackError: If the file is not a regular file, too large, a broken link, or on
                disk and cannot be read.
            OSError: If it is on object storage and cannot be reached.
        """

    def read_error(self, error: OSError) -> Exception:
        """Return the error to raise for a file or folder that cannot be read.

        On disk a ``FiltertrackError`` that names it; on object storage the error itself, since a
        failed request says nothing about the file.
        """

    def write_whole(self, write: Callable[[BinaryIO], object]) -> None:
        """Write a file so that its name appears only once its content is complete.

        Args:
            write: Writes the content into the file it is given.

        Raises:
            OSError: If the file cannot be written.
        """

    def upload(self, file: Path) -> None:
        """Copy a file on disk to this path, as ``write_whole`` writes.

        Raises:
            OSError: If it cannot be copied.
        """

    def make_folder(self) -> None:
        """Make the folder and its ancestors, unless they exist.

        Raises:
            OSError: If it cannot be made.
        """

    def check_writable(self) -> None:
        """Make the folder and try to write a file in it, whatever its permissions are.

        Raises:
            OSError: If that fails.
        """

    def lock(self) -> Any:
        """Lock this file until the returned lock is released or the process ends.

        Returns:
            A lock with a method ``release``; None on object storage, which has no locks.

        Raises:
            filelock.Timeout: If another process or lock holds it.
            OSError: If it cannot be locked.
            NotImplementedError: If the file system does not support locks.
        """

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the file.

        Raises:
            OSError: If it cannot be removed.
        """

    def remove_tree(self) -> None:
        """Remove the folder with its content, if it exists; of a link the link only.

        Raises:
            OSError: If it cannot be removed.
        """


PathOrAddress: TypeAlias = Union[str, "os.PathLike[str]", StoragePath]


def is_address(text: str) -> bool:
    """Whether a text is an address on object storage, not a path on disk.

    Example:
        >>> [is_address(text) for text in ("s3://bucket/run", "runs/exp1", "C://runs", "file:///a")]
        [True, False, False, False]
    """
    return bool(_ADDRESS.match(text)) and not _FILE_SCHEME.match(text)


def path_of(given: Any) -> StoragePath:
    """Return the path for a folder on disk or an address. fsspec is loaded for addresses only.

    Args:
        given: A path on disk, an address that fsspec knows, or a path of universal-pathlib.

    Raises:
        FiltertrackError: If the storage cannot be used, for example because fsspec is not
            installed, or if the given value is an address in a ``Path``.

    Example:
        >>> path_of("runs/exp1").parts, path_of("runs/exp1").is_remote
        (('runs', 'exp1'), False)
    """
    if isinstance(given, LocalPath):
        return given
    if isinstance(given, (str, Path)) or not hasattr(given, "fs"):
        text = os.fspath(given)
        if not is_address(text):
            path = LocalPath(_FILE_SCHEME.sub("", text))
            if _ADDRESS_IN_A_PATH.match(path.as_posix()):
                raise FiltertrackError(
                    f"{text!r}: an address has '://', which a Path cannot hold; give it as text"
                )
            return path
    try:
        from filtertrack.storage.remote import RemotePath  # noqa: PLC0415 - needs fsspec
    except ModuleNotFoundError as error:
        raise FiltertrackError(
            f"runs on object storage need {error.name}: pip install 'filtertrack[s3]' (or [gcs])"
        ) from error
    return given if isinstance(given, RemotePath) else RemotePath.of(given)


def remove_files(folder: StoragePath, matches: Callable[[str], bool]) -> None:
    """Remove the files of a folder whose names match; nothing if the folder does not exist.

    Raises:
        OSError: If a file cannot be removed.
    """
    with suppress(FileNotFoundError):
        for name in list(folder.names()):
            if matches(name):
                (folder / name).unlink(missing_ok=True)
