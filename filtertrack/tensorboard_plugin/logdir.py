"""Find and open the runs below TensorBoard's log folders; no file outside them is read."""

import errno
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count, islice

from filtertrack.errors import FiltertrackError, UnreachableError, listed
from filtertrack.storage.paths import PathOrAddress, StoragePath, is_address, path_of
from filtertrack.storage.run import FOLDER, SNAPSHOTS, Run
from filtertrack.storage.run_folders import with_own_name
from filtertrack.storage.run_format import MANIFEST

ROOT = "."
"""The path of the log folder itself, below which runs are searched."""

_MOST_FOLDERS = 20_000
_DEEPEST = 12
_MOST_OPEN = 4
"""Maximum number of open runs on object storage; each caches up to 256 MB of arrays."""
_ABSOLUTE = re.compile(r"""(['"])/(?:(?!\1)[^\n])*/""")
"""The folder part of an absolute path in quotes, as error messages contain it."""
_FRESH, _FRESH_REMOTE = 3.0, 30.0
"""Seconds for which the result of a search is reused, on disk and on object storage."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search.

    Attributes:
        runs: Run name to folder, sorted by name.
        notes: Sentences about what was not searched or is not shown, and why.
        unreachable: Whether a log folder cannot be reached at the moment; of its runs, those from
            the search before are included.
        root: The name of the run that the log folder itself is; empty if it is none.
    """

    runs: dict[str, StoragePath]
    notes: tuple[str, ...] = ()
    unreachable: bool = False
    root: str = ""

    def folder(self, name: str) -> StoragePath | None:
        """Return the folder of a run; None if there is none of that name.

        The run at the root may also be named ``.``, as it is in links of earlier versions.
        """
        return self.runs.get(self.root if name == ROOT else name)


@dataclass
class LogDirectory:
    """The runs below one or more log folders.

    Attributes:
        roots: Prefix of the runs' names to log folder; the prefix is empty for a single one.
        notes: Sentences about log folders that cannot be searched.
    """

    roots: dict[str, StoragePath]
    notes: tuple[str, ...] = ()
    _last: tuple[float, SearchResult] | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _runs: dict[tuple[str, int], Run] = field(default_factory=dict, init=False)
    _lock_of_runs: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        """Accept plain paths."""
        self.roots = {prefix: path_of(root) for prefix, root in self.roots.items()}

    @classmethod
    def of_flags(cls, logdir: str | None, logdir_spec: str | None) -> "LogDirectory":
        """Make one from TensorBoard's flags.

        Args:
            logdir: ``--logdir``: one folder.
            logdir_spec: ``--logdir_spec``: folders separated by commas, each with an optional name
                and a colon before it.

        Example:
            >>> LogDirectory.of_flags("", "a:/logs/1,/logs/2").roots
            {'a': LocalPath('/logs/1'), '2': LocalPath('/logs/2')}
        """
        given = [("", logdir)] if logdir else [_named(part) for part in _parts(logdir_spec)]
        roots: dict[str, StoragePath] = {}
        notes = []
        for name, folder in given:
            try:
                path = _root(folder)
            except FiltertrackError as error:
                notes.append(f"{error}: its runs are not shown.")
                continue
            label = name or ("" if logdir else path.name)
            number = 2
            while label in roots:
                label, number = f"{name or path.name}_{number}", number + 1
            roots[label] = path
        return cls(roots, tuple(notes))

    def find(self) -> SearchResult:
        """Search the log folders, unless the last result is recent or a search is running."""
        last = self._last
        if last and time.monotonic() - last[0] <= self._fresh(last[1]):
            return last[1]
        # One thread searches at a time; the others use the last result, if there is one.
        if not self._lock.acquire(blocking=last is None):
            return last[1] if last else SearchResult({})
        try:
            if self._last is None or self._last is last:
                found = self._search()
                self._last = (time.monotonic(), found)
            return self._last[1]
        finally:
            self._lock.release()

    def open(self, name: str) -> Run:
        """Open a run by its name.

        Raises:
            FiltertrackError: If there is no run of that name, or it cannot be read.
            UnreachableError: If its log folder cannot be reached.
        """
        known = self._last[1].folder(name) if self._last else None
        # A known run needs no search, which may take long.
        folder = known if known and _is_run(known) else self.find().folder(name)
        if folder is None:
            if self._last and self._last[1].unreachable:
                raise UnreachableError(errno.EIO, f"run {name!r} cannot be searched for now")
            raise FiltertrackError(f"there is no run {name!r} below the log folder")
        # Checked again, as the folder may have been replaced by a link since the search.
        root = next((root for root in self.roots.values() if _is_inside(folder, root)), None)
        if root is None:
            raise FiltertrackError(f"run {name!r} leads out of the log folder; it is not read")
        if folder.is_remote:
            return self._open_cached(folder)
        return Run(folder, within=root.real_path())  # its files may be links as well

    def relative(self, text: str) -> str:
        """Replace paths in a message by paths relative to the log folder, others by their names.

        Example:
            >>> LogDirectory.of_flags("/logs", "").relative("damaged file '/logs/a/b.npz': cut off")
            "damaged file 'a/b.npz': cut off"
        """
        for label, root in self.roots.items():
            name = label.replace("\\", r"\\")
            for folder in sorted({str(root), root.real_path()}, key=len, reverse=True):
                start = rf"(?<![\w./-]){re.escape(folder)}"
                text = re.sub(f"{start}/", f"{name}/" if name else "", text)
                text = re.sub(rf"{start}(?![\w.-])", name or "the log folder", text)
        return _ABSOLUTE.sub(r"\1…/", text)

    def _open_cached(self, folder: StoragePath) -> Run:
        """Return an open run, which has cached the arrays it has read, or open it."""
        key = (str(folder), (folder / FOLDER / MANIFEST).stamp())
        with self._lock_of_runs:
            run = self._runs.pop(key, None) or Run(folder)
            self._runs[key] = run
            while len(self._runs) > _MOST_OPEN:
                del self._runs[next(iter(self._runs))]
        return run

    def _fresh(self, found: SearchResult) -> float:
        is_remote = any(root.is_remote for root in self.roots.values())
        return _FRESH_REMOTE if is_remote and not found.unreachable else _FRESH

    def _search(self) -> SearchResult:
        runs: dict[str, StoragePath] = {}
        notes = list(self.notes)
        outside, left, unreachable = 0, _MOST_FOLDERS, False
        before = self._last[1].runs if self._last else {}
        for label, root in self.roots.items():
            try:
                for below, folder in islice(_folders(root), left + 1):
                    left -= 1
                    if left < 0 or not _is_run(folder):
                        continue
                    if _is_inside(folder, root):
                        runs[_join(label, below)] = folder
                    else:
                        outside += 1
            except OSError as error:
                unreachable = True
                runs |= {name: run for name, run in before.items() if root.contains(run)}
                notes.append(f"{root} cannot be searched for runs: {error.strerror}.")
        if left < 0:
            notes.append(f"Only the first {_MOST_FOLDERS:,} folders were searched for runs.")
        if outside:
            notes.append(
                f"{outside} run{'s' * (outside > 1)} behind a link that leads out of the log "
                f"folder: not shown. Start TensorBoard with --logdir_spec to name such folders."
            )
        own_name = _name_root(runs, self.roots)
        return SearchResult(dict(sorted(runs.items())), tuple(notes), unreachable, own_name)


def _root(folder: str) -> StoragePath:
    if is_address(folder):
        return path_of(folder)
    # Unlike Path.expanduser it accepts the names of unknown users.
    return path_of(os.path.expanduser(folder)).absolute()  # noqa: PTH111


def run_at(path: PathOrAddress) -> Run:
    """Open a run; if there is none at the path, name the runs below it in the error.

    Raises:
        FiltertrackError: If there is no run, or it cannot be read.
    """
    try:
        return Run(path)
    except FiltertrackError as error:
        below = [] if Run.exists(path) else list(LogDirectory.of_flags(str(path), None).find().runs)
        if not below:
            raise
        known = listed([f"{str(path).rstrip('/')}/{name}" for name in below])
        raise FiltertrackError(f"{error}; below it are the runs {known}") from error


def _parts(spec: str | None) -> list[str]:
    return [part.strip() for part in (spec or "").split(",") if part.strip()]


def _named(part: str) -> tuple[str, str]:
    """Split ``name:path`` as TensorBoard does, not at the colon of a drive or of an address."""
    name, colon, path = part.partition(":")
    whole = part.startswith("/") or is_address(part) or os.path.splitdrive(part)[0]
    return (name, path) if colon and not whole else ("", part)


def _join(label: str, below: str) -> str:
    return "/".join(filter(None, [label, "" if below == ROOT and label else below]))


def _name_root(runs: dict[str, StoragePath], roots: Mapping[str, StoragePath]) -> str:
    """Rename the run at the root of a single log folder to the name of that folder.

    Where a run below the root has that name, the first free number is added.

    Returns:
        The new name; empty if there is no such run.
    """
    if ROOT not in runs:
        return ""
    folder = runs.pop(ROOT)
    own = with_own_name(roots[""]).name or ROOT  # the root of a file system has no name
    names = chain([own], (f"{own}_{number}" for number in count(2)))
    root = next(name for name in names if name not in runs)
    runs[root] = folder
    return root


def _is_run(folder: StoragePath) -> bool:
    return (folder / FOLDER / MANIFEST).is_file()


def _is_inside(folder: StoragePath, root: StoragePath) -> bool:
    """Whether a run's files lie below a log folder, with all links followed."""
    return all(root.contains(path) for path in (folder / FOLDER, folder / FOLDER / SNAPSHOTS))


def _folders(root: StoragePath) -> Iterator[tuple[str, StoragePath]]:
    """Yield a folder and the folders below it, level by level, each once, without hidden ones.

    Yields:
        The path below the root, ``.`` for the root itself, and the folder.
    """
    seen: set[str] = set()
    level: list[tuple[str, StoragePath]] = [(ROOT, root)]
    for _ in range(_DEEPEST):
        next_level: list[tuple[str, StoragePath]] = []
        for below, folder in level:
            real = folder.real_path()
            if real in seen:
                continue
            seen.add(real)
            yield below, folder
            next_level += [
                (name if below == ROOT else f"{below}/{name}", folder / name)
                for name in folder.subfolders()
                if name != FOLDER and not name.startswith(".")
            ]
        level = next_level
