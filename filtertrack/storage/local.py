"""Paths of runs on disk."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from filtertrack.errors import FiltertrackError
from filtertrack.storage.local_files import LocalFile, open_regular, write_whole

if TYPE_CHECKING:
    _SystemPath = Path
else:  # before Python 3.12 only the system's own class can be derived from
    _SystemPath = type(Path())

_Result = TypeVar("_Result")


class LocalPath(_SystemPath):
    """A ``pathlib.Path`` with the methods of ``StoragePath``, which describes them.

    No method is named like one of a file, as other libraries would take the path for a file then.

    Example:
        >>> LocalPath("runs/exp1") / "filters" == Path("runs/exp1/filters")
        True
    """

    __slots__ = ()

    is_remote = False
    concurrent = False

    def real_path(self) -> str:
        """Return the path with all links followed as text."""
        return os.path.realpath(self)  # Path.resolve raises an error for a link to itself

    def contains(self, other: object) -> bool:
        """Whether another path is this folder or lies below it, with all links followed."""
        return isinstance(other, LocalPath) and Path(other.real_path()).is_relative_to(
            self.real_path()
        )

    def is_file(self, **options: Any) -> bool:
        """Whether the file exists; False where that cannot be determined."""
        try:
            return super().is_file(**options)
        except OSError:
            return False

    def stamp(self) -> int:
        """Return the modification time in microseconds."""
        return self.stat().st_mtime_ns // 1000

    def names(self) -> list[str]:
        """Return the names of the entries of the folder."""
        return os.listdir(self)  # noqa: PTH208 - half the time of Path.iterdir

    def stamps(self) -> dict[str, int]:
        """Return the entries of the folder: name to modification time in microseconds."""
        with os.scandir(self) as entries:
            stamps = {}
            for entry in entries:
                with suppress(FileNotFoundError):  # removed since it was listed
                    try:
                        status = entry.stat()
                    except OSError:  # a broken link, or a link to itself
                        status = entry.stat(follow_symlinks=False)
                    stamps[entry.name] = status.st_mtime_ns // 1000
            return stamps

    def subfolders(self) -> list[str]:
        """Return the names of the folders in the folder, sorted; none if it cannot be listed."""
        try:
            with os.scandir(self) as entries:
                return sorted(entry.name for entry in entries if _is_folder(entry))
        except OSError:
            return []

    def blocking_file(self) -> Path | None:
        """Return the file that prevents a folder of this path, if any: itself or an ancestor."""
        path = self.absolute()
        existing = next(each for each in (path, *path.parents) if each.exists())
        return None if existing.is_dir() else existing

    def read_entry(
        self,
        name: str,
        read: Callable[[LocalFile], _Result],
        *,
        most: int | None = None,
        within: str | None = None,
        single: bool = False,  # noqa: ARG002 - the open file stays the same when it is replaced
    ) -> _Result:
        """Open a file of the folder, read it with a function, and close it."""
        path = f"{self}{os.sep}{name}"  # another Path would take longer
        try:
            with open_regular(path, most, within) as file:
                return read(file)
        except NotADirectoryError:
            raise
        except FileNotFoundError as error:
            if os.path.islink(path):  # noqa: PTH114 - of a text
                raise FiltertrackError(
                    f"{path!r} is a link to a file that is not there; what keeps the files of this "
                    f"run, such as DVC or git-annex, has to fetch it"
                ) from error
            raise
        except OSError as error:
            raise LocalPath(path).read_error(error) from error

    def read_error(self, error: OSError) -> FiltertrackError:
        """Return the error that names a file or folder that cannot be read."""
        return FiltertrackError(f"cannot read {str(self)!r}: {error.strerror}")

    def write_whole(self, write: Callable[[BinaryIO], object]) -> None:
        """Write a file so that its name appears only once its content is complete."""
        write_whole(self, write)

    def upload(self, file: Path) -> None:
        """Copy a file to this path, as ``write_whole`` writes."""
        with file.open("rb") as source:
            self.write_whole(lambda target: shutil.copyfileobj(source, target))

    def make_folder(self) -> None:
        """Make the folder and its ancestors, unless they exist."""
        self.mkdir(parents=True, exist_ok=True)

    def check_writable(self) -> None:
        """Make the folder and try to write a file in it, whatever its permissions are."""
        self.make_folder()
        with tempfile.TemporaryFile(dir=self):
            pass

    def lock(self) -> Any:
        """Lock this file; the operating system unlocks it when the process ends."""
        from filelock import FileLock  # noqa: PLC0415 - readers do not need it

        if self.is_symlink():
            self.unlink()
        lock = FileLock(self, thread_local=False)
        lock.acquire(blocking=False)
        return lock

    def remove_tree(self) -> None:
        """Remove the folder with its content, if it exists; of a link the link only."""
        if self.is_symlink():  # the link belongs to the run, its target need not
            self.unlink()
        while self.exists():
            with suppress(FileNotFoundError):  # another program removes files at the same time
                shutil.rmtree(self)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False
