"""A run on disk: an append-only folder of snapshots.

The layout, below the folder that the user named::

    filters/
      manifest.json                 format version, layers, library versions
      snapshots/000000000000.npz    one file a snapshot, named by its step

A snapshot is an ordinary uncompressed ``.npz``: each tracked kernel and bias under its Keras path,
and ``meta``, a JSON text with the moment. The listing of the folder is the index, so the cost of
adding a snapshot does not grow with the number already there.
"""

import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo, Moment, Snapshot
from filtertrack.storage.files import (
    damaged_file,
    is_temporary,
    make_folder,
    missing_file,
    names_in,
    remove_folder,
    remove_in,
    stamp_of,
    stamps_in,
    write_whole,
)
from filtertrack.storage.npz import ArrayReader, write_arrays
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of
from filtertrack.storage.prefetch import Prefetcher, Read
from filtertrack.storage.run_format import (
    MANIFEST,
    MOMENT,
    Described,
    Member,
    bias_of,
    check_storable,
    kernel_of,
    members_of,
    moment_of,
    read_manifest,
    weights_of,
    write_manifest,
)

FOLDER = "filters"
SNAPSHOTS = "snapshots"
_EVENTS = "events.out.tfevents."
_Found = TypeVar("_Found")
_SNAPSHOT_FILE = re.compile(r"([0-9]{12})\.npz")


class Run:
    """A run on disk, to read from or to add to; reading works while training writes it.

    Args:
        path: The folder the tracker was given, such as ``"runs/exp1"`` (or ``filters`` in it).
        within: A folder that no link among the run's files may lead out of, its own path without
            links; None, as for a user's own runs, where links to regular files are followed.

    Raises:
        FiltertrackError: If there is no run, or its manifest is damaged or of a newer format.

    Example:
        >>> run = Run("tests/golden/run-v1")
        >>> list(run.layers), run.steps
        (['conv1', 'conv2'], [0, 1, 2])
        >>> run.kernels("conv1", step=0).shape  # (filters, height, width, channels)
        (4, 3, 3, 1)
    """

    def __init__(self, path: PathOrAddress, *, within: str | None = None) -> None:
        given = path_of(path)
        self.path: StoragePath = given.parent if _is_filters_folder(given) else given
        self.folder: StoragePath = self.path / FOLDER
        self._snapshots = self.folder / SNAPSHOTS
        self._listed = _Listed()
        self.within = within
        self._load = self._loading(ArrayReader(within))
        layers, software = read_manifest(self.folder, within)
        self.layers: Mapping[str, LayerInfo] = MappingProxyType(layers)
        self.software: Mapping[str, str] = MappingProxyType(software)

    def __repr__(self) -> str:
        """Name the folder, the layers and the number of snapshots."""
        return f"Run({str(self.path)!r}: {len(self.layers)} layers, {len(self.steps)} snapshots)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as the folder: what was read of it is read anew."""
        return partial(type(self), within=self.within), (self.path,)

    @staticmethod
    def exists(path: PathOrAddress) -> bool:
        """Whether the folder holds a run."""
        return (path_of(path) / FOLDER / MANIFEST).exists()

    @classmethod
    def is_free(cls, path: PathOrAddress) -> bool:
        """Whether a run may be made in the folder: it holds none, and no snapshots of a former one.

        Raises:
            OSError: If that cannot be told.
        """
        return not cls.exists(path) and not _holds_snapshots(path_of(path) / FOLDER / SNAPSHOTS)

    @classmethod
    def create(
        cls,
        path: PathOrAddress,
        layers: Sequence[LayerInfo],
        software: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a new run in a folder that holds none.

        Args:
            path: The folder; it is made where it is missing.
            layers: What each snapshot will hold.
            software: Library name to version, for the record.

        Raises:
            FiltertrackError: If the folder already holds a run, or what is left of one; if there is
                no layer, or one of a type that cannot be stored; if the run cannot be written.
        """
        if cls.exists(path):
            raise FiltertrackError(f"{str(path)!r} already holds a run")
        if not layers:
            raise FiltertrackError(f"no layers to keep in {str(path)!r}: give at least one")
        check_storable(layers)
        folder = path_of(path) / FOLDER
        try:
            make_folder(folder / SNAPSHOTS)
            if _holds_snapshots(folder / SNAPSHOTS):
                raise FiltertrackError(
                    f"{str(folder)!r} holds snapshots of a run whose manifest is gone; give "
                    f"another folder, or remove this one"
                )
            write_manifest(folder, layers, software or {})
        except OSError as error:
            file = error.filename or folder / MANIFEST
            raise FiltertrackError(
                f"cannot start a run: writing {str(file)!r} failed: {error.strerror}"
            ) from error
        return cls(path)

    @classmethod
    def delete(cls, path: PathOrAddress) -> None:
        """Remove a run: its manifest, snapshots and TensorBoard events, and nothing else.

        Raises:
            OSError: If a file cannot be removed.
        """
        folder = path_of(path) / FOLDER
        remove_folder(folder / SNAPSHOTS)
        remove_in(folder, lambda name: name.startswith(_EVENTS) or is_temporary(name))
        # Last: should anything fail, what is left is still a run, and not taken for a new one.
        (folder / MANIFEST).unlink(missing_ok=True)

    @property
    def steps(self) -> list[int]:
        """Every snapshot's step, ascending, as the folder is now; none where it is gone."""
        if not isinstance(self._snapshots, Path):
            return list(self.stamps())
        return sorted(_steps_of(self._listing(names_in, [])))

    def stamps(self) -> dict[int, int]:
        """Return every snapshot's step, ascending, with a number that changes with its file."""
        none: dict[str, int] = {}
        stamps = self._listing(stamps_in, none)
        listed = {step: stamps[_file_name(step)] for step in sorted(_steps_of(stamps))}
        self._listed.stamps = listed
        return listed

    def _listing(self, of: Callable[[StoragePath], _Found], empty: _Found) -> _Found:
        """List the snapshots' folder; it is empty where it is gone."""
        try:
            return of(self._snapshots)
        except (FileNotFoundError, NotADirectoryError):  # such as of a run that was being deleted
            return empty
        except OSError as error:
            if not isinstance(self._snapshots, Path):
                raise
            raise FiltertrackError(
                f"cannot read {str(self._snapshots)!r}: {error.strerror}"
            ) from error

    def made(self) -> int:
        """Return a number that changes when the run is made anew."""
        return stamp_of(self.folder / MANIFEST)

    def version(self) -> str:
        """Return a text that changes when a snapshot is added, replaced or removed."""
        if isinstance(self._snapshots, Path):
            # Its time is that of its last change; the count as well, in case clocks are coarse.
            changed, count = 0, len(self.steps)
            with suppress(FileNotFoundError, NotADirectoryError):
                changed = self._snapshots.stat().st_mtime_ns
        else:
            stamps = self.stamps()
            changed, count = zlib.crc32(repr(stamps).encode()), len(stamps)
        return f"{self.made():x}-{changed:x}-{count:x}"

    def file(self, step: int) -> StoragePath:
        """Return the path of a snapshot's file, whether it is there or not."""
        return self._snapshots / _file_name(step)

    def layer(self, name: str) -> LayerInfo:
        """Return a layer's description by its name.

        Raises:
            FiltertrackError: If the run has no such layer; the message says which it has.
        """
        try:
            return self.layers[name]
        except KeyError:
            known = ", ".join(self.layers)
            raise FiltertrackError(
                f"no layer {name!r} in {str(self.path)!r}; it has: {known}"
            ) from None

    def kernels(self, layer: str, step: int) -> np.ndarray:
        """Return one layer's filters at one step; no other layer is read.

        Args:
            layer: A key of ``layers``.
            step: One of ``steps``.

        Returns:
            Array of shape ``(filters, height, width, channels)``.

        Raises:
            FiltertrackError: If there is no such layer or step, or the file is damaged.
        """
        info = self.layer(layer)
        return info.canonical(self._read(step, [kernel_of(info)])[info.kernel])

    def bias(self, layer: str, step: int) -> np.ndarray | None:
        """Return one layer's bias at one step, or None where the layer has none.

        Raises:
            FiltertrackError: If there is no such layer or step, or the file is damaged.
        """
        info = self.layer(layer)
        return self._read(step, [bias_of(info)])[info.bias] if info.bias else None

    def moment(self, step: int) -> Moment:
        """Return when a snapshot was taken and its metrics; no weights are read.

        Raises:
            FiltertrackError: If there is no such step, or the file is damaged.
        """
        return self._moment(step, self._read(step, [MOMENT])[MOMENT.name])

    def snapshot(self, step: int, layers: Iterable[str] | None = None) -> Snapshot:
        """Return what one snapshot holds, all of it or of some layers.

        Args:
            step: One of ``steps``.
            layers: Keys of ``layers``; None for all. No other layer is read.

        Raises:
            FiltertrackError: If there is no such layer or step, or the file is damaged.
        """
        infos = self.layers.values() if layers is None else map(self.layer, layers)
        return self._snapshot(step, infos)

    def _snapshot(self, step: int, infos: Iterable[LayerInfo]) -> Snapshot:
        arrays = self._read(step, [MOMENT, *weights_of(infos)])
        return Snapshot(self._moment(step, arrays.pop(MOMENT.name)), arrays)

    def history(self, layer: str, steps: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield one layer's filters step after step, one snapshot in memory at a time.

        Args:
            layer: A key of ``layers``.
            steps: Which steps; None for all that are there now.

        Yields:
            Arrays of shape ``(filters, height, width, channels)``.
        """
        for step in self.steps if steps is None else steps:
            yield self.kernels(layer, step)

    def append(self, snapshot: Snapshot) -> None:
        """Add a snapshot; one at the same step is replaced. It is there whole or not at all.

        Raises:
            FiltertrackError: If it does not hold every tracked kernel in its shape.
            OSError: If the file cannot be written.
        """
        for info in self.layers.values():
            if info.kernel not in snapshot.arrays:
                raise FiltertrackError(f"the snapshot holds no {info.kernel!r}")
            info.canonical(snapshot.arrays[info.kernel])
        members = members_of(snapshot)
        write_whole(self.file(snapshot.step), lambda file: write_arrays(file, members))

    def remove(self, step: int) -> None:
        """Remove one snapshot, if it is there.

        Raises:
            OSError: If its file cannot be removed.
        """
        self.file(step).unlink(missing_ok=True)

    def truncate(self, step: int) -> None:
        """Remove every snapshot at or past a step: training starts again from there.

        Also what a writer that was killed left half written.

        Raises:
            OSError: If a snapshot cannot be removed.
        """
        for there in self.steps:
            if there >= step:
                self.remove(there)
        try:
            make_folder(self._snapshots)  # gone where the run was being deleted
        except FileExistsError:
            raise FiltertrackError(f"{str(self._snapshots)!r} is no folder; remove it") from None
        for folder in (self.folder, self._snapshots):
            with suppress(OSError):  # it takes room, and harms nothing
                remove_in(folder, is_temporary)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> dict[int, str]:
        """Read every snapshot whole and say which are damaged; it takes next to no memory.

        Args:
            progress: Called with the snapshots read and the snapshots there are, after each.

        Returns:
            Step to what is wrong with it; empty when all is well.
        """
        steps, damaged = self.steps, {}
        members = [MOMENT, *weights_of(self.layers.values())]
        for done, step in enumerate(steps, start=1):
            try:
                self._check(step, members)
            except FiltertrackError as error:
                damaged[step] = str(error)
            if progress:
                progress(done, len(steps))
        return damaged

    def _check(self, step: int, members: Sequence[Member]) -> None:
        """Check the arrays of a snapshot without holding them in memory."""
        reader, sizes = ArrayReader(self.within), {member.name: member.most for member in members}
        heads = self._found(step, lambda: reader.check(self.file(step), sizes))
        self._check_fit(step, members, heads)
        self.moment(step)

    @property
    def prefetches(self) -> bool:
        """Whether the next steps are read ahead, and arrays that were read are kept in memory."""
        return bool(getattr(self._snapshots, "concurrent", False))

    def _loading(self, reader: ArrayReader) -> Read:
        """Return what reads arrays of a snapshot."""
        # Not of this object, which would never be freed then but by the collector of circles.
        folder, listed = self._snapshots, self._listed
        if isinstance(folder, Path):
            # To make another Path would take longer.
            return lambda step, members: reader.read(f"{folder}{os.sep}{_file_name(step)}", members)

        def load(step: int, members: Mapping[str, int]) -> tuple[dict[str, np.ndarray], int]:
            return reader.read_remote(folder / _file_name(step), members)

        if not folder.concurrent:
            return lambda step, members: load(step, members)[0]
        return Prefetcher(load, lambda: listed.stamps).read

    def _moment(self, step: int, text: np.ndarray) -> Moment:
        try:
            moment = moment_of(text)
        except ValueError as error:
            raise damaged_file(self.file(step), error) from error
        if moment.step != step:
            raise damaged_file(self.file(step), f"it says it is step {moment.step}")
        return moment

    def _read(self, step: int, members: Sequence[Member]) -> dict[str, np.ndarray]:
        """Read arrays, their checksums checked; refuse one of another shape or type."""
        sizes = {member.name: member.most for member in members}
        arrays = self._found(step, lambda: self._load(step, sizes))
        self._check_fit(step, members, arrays)
        return arrays

    def _found(self, step: int, read: Callable[[], _Found]) -> _Found:
        try:
            return read()
        except FileNotFoundError:
            raise missing_file(self.file(step)) or FiltertrackError(
                f"no snapshot at step {step} in {str(self.path)!r}; steps: {shorten(self.steps)}"
            ) from None

    def _check_fit(
        self, step: int, members: Sequence[Member], arrays: Mapping[str, Described]
    ) -> None:
        for member in members:
            fault = member.fault_of(arrays[member.name])
            if fault:
                raise damaged_file(self.file(step), fault)


class _Listed:
    """The snapshots that were there when the folder was listed last."""

    def __init__(self) -> None:
        self.stamps: Mapping[int, int] = {}


def _holds_snapshots(folder: StoragePath) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return any(True for _ in _steps_of(names_in(folder)))
    return False


def _steps_of(names: Iterable[str]) -> Iterator[int]:
    matches = map(_SNAPSHOT_FILE.fullmatch, names)
    return (int(match[1]) for match in matches if match)


def _file_name(step: int) -> str:
    return f"{step:012d}.npz"


def _is_filters_folder(path: StoragePath) -> bool:
    return path.name == FOLDER and (path / MANIFEST).exists()


def shorten(steps: Sequence[int], most: int = 12) -> str:
    """Write steps in a message: all, or the first and the last."""
    shown = ", ".join(map(str, steps[:most]))
    return f"{shown}, … {steps[-1]}" if len(steps) > most else shown or "none"
