"""Which runs lie below TensorBoard's log folders; nothing outside them is ever opened."""

import errno
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from filtertrack.errors import FiltertrackError, UnreachableError
from filtertrack.storage.files import stamp_of
from filtertrack.storage.paths import StoragePath, is_address, path_of
from filtertrack.storage.run import FOLDER, SNAPSHOTS, Run
from filtertrack.storage.run_format import MANIFEST

_MOST_FOLDERS = 20_000
_DEEPEST = 12
_MOST_OPEN = 4
"""Runs on object storage that are kept open; each may hold 256 MB of what it has read."""
_ABSOLUTE = re.compile(r"""(['"])/(?:(?!\1)[^\n])*/""")
"""The folder of an absolute path in quotes, as messages name files."""
_FRESH, _FRESH_REMOTE = 3.0, 30.0
"""Seconds for which a search is believed; one over a connection takes longer."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Attributes:
        runs: Each run's folder by its name, sorted by name.
        notes: What was not searched or not shown, and why: a sentence each.
        unreachable: Whether a log folder could not be searched for now; of its runs, those are
            still there that were found before.
    """

    runs: dict[str, StoragePath]
    notes: tuple[str, ...] = ()
    unreachable: bool = False


@dataclass
class LogDirectory:
    """The runs below some log folders.

    Attributes:
        roots: Each log folder by the name before its runs' names; no name where it is the only one.
        notes: Which log folders cannot be searched, and why.
    """

    roots: dict[str, StoragePath]
    notes: tuple[str, ...] = ()
    _last: tuple[float, Found] | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _runs: dict[tuple[str, int], Run] = field(default_factory=dict, init=False)
    _lock_of_runs: threading.Lock = field(default_factory=threading.Lock, init=False)

    @classmethod
    def of_flags(cls, logdir: str | None, logdir_spec: str | None) -> "LogDirectory":
        """Make one from TensorBoard's flags.

        Args:
            logdir: ``--logdir``: one folder.
            logdir_spec: ``--logdir_spec``: folders with commas between them, each with a name and
                a colon before it, or none.

        Example:
            >>> LogDirectory.of_flags("", "a:/logs/1,/logs/2").roots
            {'a': PosixPath('/logs/1'), '2': PosixPath('/logs/2')}
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

    def find(self) -> Found:
        """Search the log folders, unless that was done a moment ago or is being done."""
        last = self._last
        if last and time.monotonic() - last[0] <= self._fresh(last[1]):
            return last[1]
        # One at a time searches; the others go on with what is known, if anything is.
        if not self._lock.acquire(blocking=last is None):
            return last[1] if last else Found({})
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
            FiltertrackError: If there is none of that name, or it cannot be read.
        """
        known = self._last[1].runs.get(name) if self._last else None
        # What was found once is not searched for again: that may take long.
        folder = known if known and _is_run(known) else self.find().runs.get(name)
        if folder is None:
            if self._last and self._last[1].unreachable:
                raise UnreachableError(errno.EIO, f"run {name!r} cannot be searched for now")
            raise FiltertrackError(f"there is no run {name!r} below the log folder")
        # Once more, as it may have been replaced by a link since.
        root = next((root for root in self.roots.values() if _is_inside(folder, root)), None)
        if root is None:
            raise FiltertrackError(f"run {name!r} leads out of the log folder; it is not read")
        # Its files may be links as well.
        local = isinstance(folder, Path)
        return Run(folder, within=os.path.realpath(str(root))) if local else self._opened(folder)

    def relative(self, text: str) -> str:
        """Name files in a message relative to the log folder; of others only the last part.

        Example:
            >>> LogDirectory.of_flags("/logs", "").relative("damaged file '/logs/a/b.npz': cut off")
            "damaged file 'a/b.npz': cut off"
        """
        for label, root in self.roots.items():
            name = label.replace("\\", r"\\")
            own = {str(root), os.path.realpath(root) if isinstance(root, Path) else str(root)}
            for folder in sorted(own, key=len, reverse=True):
                start = rf"(?<![\w./-]){re.escape(folder)}"
                text = re.sub(f"{start}/", f"{name}/" if name else "", text)
                text = re.sub(rf"{start}(?![\w.-])", name or "the log folder", text)
        return _ABSOLUTE.sub(r"\1…/", text)

    def _opened(self, folder: StoragePath) -> Run:
        """Open a run on object storage; one that is open already knows what it has read."""
        key = (str(folder), stamp_of(folder / FOLDER / MANIFEST))
        with self._lock_of_runs:
            run = self._runs.pop(key, None) or Run(folder)
            self._runs[key] = run
            while len(self._runs) > _MOST_OPEN:
                del self._runs[next(iter(self._runs))]
        return run

    def _fresh(self, found: Found) -> float:
        local = all(isinstance(root, Path) for root in self.roots.values())
        return _FRESH if local or found.unreachable else _FRESH_REMOTE

    def _search(self) -> Found:
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
                runs |= {name: run for name, run in before.items() if _is_below(run, root)}
                notes.append(f"{root} cannot be searched for runs: {error.strerror}.")
        if left < 0:
            notes.append(f"Only the first {_MOST_FOLDERS:,} folders were searched for runs.")
        if outside:
            notes.append(
                f"{outside} run{'s' * (outside > 1)} behind a link that leads out of the log "
                f"folder: not shown. Start TensorBoard with --logdir_spec to name such folders."
            )
        return Found(dict(sorted(runs.items())), tuple(notes), unreachable)


def _root(folder: str) -> StoragePath:
    if is_address(folder):
        return path_of(folder)
    return Path(os.path.expanduser(folder)).absolute()  # noqa: PTH111 - keeps unknown users


def _parts(spec: str | None) -> list[str]:
    return [part.strip() for part in (spec or "").split(",") if part.strip()]


def _named(part: str) -> tuple[str, str]:
    """Split ``name:path`` where TensorBoard does; not at the colon of a drive or of an address."""
    name, colon, path = part.partition(":")
    whole = part.startswith("/") or is_address(part) or os.path.splitdrive(part)[0]
    return (name, path) if colon and not whole else ("", part)


def _join(label: str, below: str) -> str:
    return "/".join(filter(None, [label, "" if below == "." and label else below]))


def _is_run(folder: StoragePath) -> bool:
    if isinstance(folder, Path):
        return os.path.isfile(folder / FOLDER / MANIFEST)  # noqa: PTH113 - never raises
    return Run.exists(folder)


def _is_inside(folder: StoragePath, root: StoragePath) -> bool:
    """Whether a run's files lie below a log folder, all links followed."""
    if not isinstance(root, Path) or not isinstance(folder, Path):
        return _is_below(folder, root)
    real = Path(os.path.realpath(root))
    return all(
        Path(os.path.realpath(path)).is_relative_to(real)
        for path in (folder / FOLDER, folder / FOLDER / SNAPSHOTS)
    )


def _is_below(folder: StoragePath, root: StoragePath) -> bool:
    return type(folder) is type(root) and f"{folder}/".startswith(f"{root}/")


def _folders(root: StoragePath) -> Iterator[tuple[str, StoragePath]]:
    """Yield a folder and those below it, level by level, each once; hidden ones are left out.

    Each comes with its name below the root: ``.`` is the root's own.
    """
    seen: set[str] = set()
    level: list[tuple[str, StoragePath]] = [(".", root)]
    for _ in range(_DEEPEST):
        further: list[tuple[str, StoragePath]] = []
        for below, folder in level:
            real = os.path.realpath(folder) if isinstance(folder, Path) else str(folder)
            if real in seen:
                continue
            seen.add(real)
            yield below, folder
            further += [
                (name if below == "." else f"{below}/{name}", folder / name)
                for name in (_children(folder) if isinstance(folder, Path) else folder.folders())
                if name != FOLDER and not name.startswith(".")
            ]
        level = further


def _children(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_folder(entry))
    except OSError:
        return []


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False
