"""Which runs lie below TensorBoard's log folders; nothing outside them is ever opened."""

import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filtertrack.errors import FiltertrackError
from filtertrack.manifest import MANIFEST
from filtertrack.store import FOLDER, SNAPSHOTS, Run

_MOST_FOLDERS = 20_000
_DEEPEST = 12
_FRESH = 3.0
"""Seconds for which a search is believed."""

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Attributes:
        runs: Each run's folder by its name, sorted by name.
        notes: What was not searched or not shown, and why: a sentence each.
    """

    runs: dict[str, Path]
    notes: tuple[str, ...] = ()


@dataclass
class Catalogue:
    """The runs below some log folders.

    Attributes:
        roots: Each log folder by the name before its runs' names; no name where it is the only one.
        notes: Which log folders cannot be searched, and why.
    """

    roots: dict[str, Path]
    notes: tuple[str, ...] = ()
    _last: tuple[float, Found] | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @classmethod
    def of_flags(cls, logdir: str | None, logdir_spec: str | None) -> "Catalogue":
        """Make one from TensorBoard's flags.

        Args:
            logdir: ``--logdir``: one folder.
            logdir_spec: ``--logdir_spec``: folders with commas between them, each with a name and
                a colon before it, or none.

        Example:
            >>> Catalogue.of_flags("", "a:/logs/1,/logs/2").roots
            {'a': PosixPath('/logs/1'), '2': PosixPath('/logs/2')}
        """
        given = [("", logdir)] if logdir else [_named(part) for part in _parts(logdir_spec)]
        roots: dict[str, Path] = {}
        notes = []
        for name, folder in given:
            if _REMOTE.match(folder):
                notes.append(f"{folder} is not on this machine's disk: its runs are not shown.")
                continue
            path = Path(os.path.expanduser(folder)).absolute()  # noqa: PTH111 - keeps unknown users
            label = name or ("" if logdir else path.name)
            number = 2
            while label in roots:
                label, number = f"{name or path.name}_{number}", number + 1
            roots[label] = path
        return cls(roots, tuple(notes))

    def find(self) -> Found:
        """Search the log folders, unless that was done a moment ago or is being done."""
        last = self._last
        if last and time.monotonic() - last[0] <= _FRESH:
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
            raise FiltertrackError(f"there is no run {name!r} below the log folder")
        # Once more, as it may have been replaced by a link since.
        if not any(_inside(folder, root) for root in self.roots.values()):
            raise FiltertrackError(f"run {name!r} leads out of the log folder; it is not read")
        return Run(folder)

    def _search(self) -> Found:
        runs: dict[str, Path] = {}
        outside, left = 0, _MOST_FOLDERS
        for label, root in self.roots.items():
            for folder in _folders(root):
                left -= 1
                if left < 0:
                    break
                if not _is_run(folder):
                    continue
                if _inside(folder, root):
                    below = folder.relative_to(root).as_posix()
                    runs[_join(label, below)] = folder
                else:
                    outside += 1
        notes = list(self.notes)
        if left < 0:
            notes.append(f"Only the first {_MOST_FOLDERS:,} folders were searched for runs.")
        if outside:
            notes.append(
                f"{outside} run{'s' * (outside > 1)} behind a link that leads out of the log "
                f"folder: not shown. Start TensorBoard with --logdir_spec to name such folders."
            )
        return Found(dict(sorted(runs.items())), tuple(notes))


def _parts(spec: str | None) -> list[str]:
    return [part.strip() for part in (spec or "").split(",") if part.strip()]


def _named(part: str) -> tuple[str, str]:
    """Split ``name:path`` where TensorBoard does; not at the colon of a drive or of an address."""
    name, colon, path = part.partition(":")
    whole = part.startswith("/") or _REMOTE.match(part) or os.path.splitdrive(part)[0]
    return (name, path) if colon and not whole else ("", part)


def _join(label: str, below: str) -> str:
    return "/".join(filter(None, [label, "" if below == "." and label else below]))


def _is_run(folder: Path) -> bool:
    return os.path.isfile(folder / FOLDER / MANIFEST)  # noqa: PTH113 - never raises


def _inside(folder: Path, root: Path) -> bool:
    """Whether a run's files lie below a log folder, all links followed."""
    real = Path(os.path.realpath(root))
    return all(
        Path(os.path.realpath(path)).is_relative_to(real)
        for path in (folder / FOLDER, folder / FOLDER / SNAPSHOTS)
    )


def _folders(root: Path) -> Iterator[Path]:
    """Yield a folder and those below it, level by level, each once; hidden ones are left out."""
    seen: set[str] = set()
    level = [root]
    for _ in range(_DEEPEST):
        below: list[Path] = []
        for folder in level:
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            yield folder
            below += _children(folder)
        level = below


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
    return [folder / entry.name for entry in sorted(found, key=_name) if _is_folder(entry)]


def _name(entry: "os.DirEntry[str]") -> str:
    return entry.name


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.name != FOLDER and entry.is_dir()
    except OSError:  # such as a link to itself
        return False
