"""A run on disk: an append-only folder of snapshots.

The layout, below the folder that the user named::

    filters/
      manifest.json                 format version, layers, library versions
      snapshots/000000000000.npz    one file a snapshot, named by its step

A snapshot is an ordinary uncompressed ``.npz``: each tracked kernel and bias under its Keras path,
and ``meta``, a JSON text with the moment. The listing of the folder is the index, so the cost of
adding a snapshot does not grow with the number already there.
"""

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.files import damaged_file, write_whole
from filtertrack.manifest import MANIFEST, read_manifest, write_manifest
from filtertrack.npz import ArrayReader, write_arrays
from filtertrack.snapshot import LayerInfo, Moment, Snapshot

FOLDER = "filters"
SNAPSHOTS = "snapshots"
_META = "meta"
_SNAPSHOT_FILE = re.compile(r"([0-9]{12})\.npz")
_MAX_META_CHARACTERS = 1 << 20
_NPY_HEADER = 1 << 12
_WIDEST = 8  # bytes a value takes at most: float64
_NUMBERS = "fiub"  # numpy's kinds of types: floats, whole numbers, booleans


class _Member(NamedTuple):
    """An array of a snapshot's file.

    Attributes:
        name: What it is stored under.
        shape: Its shape, or None where that is not known.
        most: The bytes it may take.
        kinds: What it may hold, as numpy's kinds of types.
    """

    name: str
    shape: tuple[int, ...] | None
    most: int
    kinds: str = _NUMBERS


_MOMENT = _Member(_META, (), 4 * _MAX_META_CHARACTERS + _NPY_HEADER, "U")


def _kernel_of(info: LayerInfo) -> _Member:
    return _Member(
        info.kernel, info.kernel_shape, _WIDEST * math.prod(info.kernel_shape) + _NPY_HEADER
    )


def _bias_of(info: LayerInfo) -> _Member:
    # A layer of the user's own may have a bias of any shape; none is larger than its kernel.
    most = _WIDEST * max(math.prod(info.kernel_shape), info.filters) + _NPY_HEADER
    return _Member(str(info.bias), None, most)


class Run:
    """A run on disk, to read from or to add to; reading works while training writes it.

    Args:
        path: The folder the tracker was given, such as ``"runs/exp1"`` (or ``filters`` in it).

    Raises:
        FiltertrackError: If there is no run, or its manifest is damaged or of a newer format.

    Example:
        >>> run = Run("tests/golden/run-v1")
        >>> list(run.layers), run.steps
        (['conv1', 'conv2'], [0, 1, 2])
        >>> run.kernels("conv1", step=0).shape  # (filters, height, width, channels)
        (4, 3, 3, 1)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = Path(path)
        self.path = given.parent if _is_filters_folder(given) else given
        self.folder = self.path / FOLDER
        self._snapshots = self.folder / SNAPSHOTS
        self._reader = ArrayReader()
        layers, software = read_manifest(self.folder)
        self.layers: Mapping[str, LayerInfo] = MappingProxyType(layers)
        self.software: Mapping[str, str] = MappingProxyType(software)

    def __repr__(self) -> str:
        """Name the folder, the layers and the number of snapshots."""
        return f"Run({str(self.path)!r}: {len(self.layers)} layers, {len(self.steps)} snapshots)"

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether the folder holds a run."""
        return (Path(path) / FOLDER / MANIFEST).exists()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        layers: Sequence[LayerInfo],
        software: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a new run in a folder that holds none.

        Args:
            path: The folder; it is made where it is missing.
            layers: What each snapshot will hold.
            software: Library name to version, for the record.

        Raises:
            FiltertrackError: If the folder already holds a run.
            OSError: If the folder cannot be written.
        """
        if cls.exists(path):
            raise FiltertrackError(f"{str(path)!r} already holds a run")
        folder = Path(path) / FOLDER
        (folder / SNAPSHOTS).mkdir(parents=True, exist_ok=True)
        write_manifest(folder, layers, software or {})
        return cls(path)

    @classmethod
    def delete(cls, path: str | os.PathLike[str]) -> None:
        """Remove a run: its manifest, snapshots and TensorBoard events, and nothing else.

        Raises:
            OSError: If a file cannot be removed.
        """
        folder = Path(path) / FOLDER
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
        for events in folder.glob("events.out.tfevents.*"):
            events.unlink(missing_ok=True)

    @property
    def steps(self) -> list[int]:
        """Every snapshot's step, ascending, as the folder is now."""
        # Half the time of Path.iterdir.
        matches = map(_SNAPSHOT_FILE.fullmatch, os.listdir(self._snapshots))  # noqa: PTH208
        return sorted(int(match[1]) for match in matches if match)

    def file(self, step: int) -> Path:
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
        return info.canonical(self._read(step, [_kernel_of(info)])[info.kernel])

    def bias(self, layer: str, step: int) -> np.ndarray | None:
        """Return one layer's bias at one step, or None where the layer has none.

        Raises:
            FiltertrackError: If there is no such layer or step, or the file is damaged.
        """
        info = self.layer(layer)
        return self._read(step, [_bias_of(info)])[info.bias] if info.bias else None

    def moment(self, step: int) -> Moment:
        """Return when a snapshot was taken and its metrics; no weights are read.

        Raises:
            FiltertrackError: If there is no such step, or the file is damaged.
        """
        return self._moment(step, self._read(step, [_MOMENT])[_META])

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

    def _snapshot(
        self, step: int, infos: Iterable[LayerInfo], reader: ArrayReader | None = None
    ) -> Snapshot:
        members = [_MOMENT]
        for info in infos:
            members += [_kernel_of(info), _bias_of(info)] if info.bias else [_kernel_of(info)]
        arrays = self._read(step, members, reader)
        return Snapshot(self._moment(step, arrays.pop(_META)), arrays)

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
        members = {n: _storable(n, a) for n, a in snapshot.arrays.items()}
        # Last, as its length differs: so every other array lies where it lies in the other files.
        members[_META] = np.array(_meta_text(snapshot.moment))
        write_whole(self.file(snapshot.step), lambda file: write_arrays(file, members))

    def truncate(self, step: int) -> None:
        """Remove every snapshot at or past a step: training starts again from there.

        Also what a writer that was killed left half written.

        Raises:
            OSError: If a file cannot be removed.
        """
        for there in self.steps:
            if there >= step:
                self.file(there).unlink(missing_ok=True)
        for left_behind in self._snapshots.glob(".*.tmp"):
            left_behind.unlink(missing_ok=True)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> dict[int, str]:
        """Read every snapshot whole and say which are damaged.

        Args:
            progress: Called with the snapshots read and the snapshots there are, after each.

        Returns:
            Step to what is wrong with it; empty when all is well.
        """
        steps, damaged = self.steps, {}
        for done, step in enumerate(steps, start=1):
            try:
                # A reader that knows no places yet: so the file's index is checked as well.
                self._snapshot(step, self.layers.values(), ArrayReader())
            except FiltertrackError as error:
                damaged[step] = str(error)
            if progress:
                progress(done, len(steps))
        return damaged

    def _moment(self, step: int, text: np.ndarray) -> Moment:
        try:
            moment = Moment(**json.loads(str(text)))
        except (ValueError, TypeError, RecursionError, FiltertrackError) as error:
            raise damaged_file(self.file(step), error) from error
        if moment.step != step:
            raise damaged_file(self.file(step), f"it says it is step {moment.step}")
        return moment

    def _read(
        self, step: int, members: Sequence[_Member], reader: ArrayReader | None = None
    ) -> dict[str, np.ndarray]:
        """Read arrays, their checksums checked; refuse one of another shape or type."""
        path = f"{self._snapshots}{os.sep}{_file_name(step)}"  # a Path would take longer to make
        try:
            arrays = (reader or self._reader).read(
                path, {member.name: member.most for member in members}
            )
        except FileNotFoundError:
            raise FiltertrackError(
                f"no snapshot at step {step} in {str(self.path)!r}; steps: {shorten(self.steps)}"
            ) from None
        for name, shape, _, kinds in members:
            found = arrays[name]
            if shape is not None and found.shape != shape:
                raise damaged_file(path, f"{name} has the shape {found.shape}, expected {shape}")
            if found.dtype.kind not in kinds:
                raise damaged_file(path, f"{name} holds values of type {found.dtype}")
        return arrays


def _file_name(step: int) -> str:
    return f"{step:012d}.npz"


def _is_filters_folder(path: Path) -> bool:
    return path.name == FOLDER and (path / MANIFEST).exists()


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """Widen what ``.npy`` cannot name (bfloat16: exactly, to float32); refuse what is no number."""
    if array.dtype.kind in _NUMBERS:
        return array
    if array.dtype.name in {"bfloat16", "float8_e4m3fn", "float8_e5m2"}:
        return array.astype(np.float32)
    raise FiltertrackError(f"{name}: cannot store values of type {array.dtype}")


def _meta_text(moment: Moment) -> str:
    meta = {
        "step": moment.step,
        "epoch": moment.epoch,
        "batch": moment.batch,
        # JSON has no NaN or infinity: as text, which float() reads back.
        "metrics": {k: v if math.isfinite(v) else str(v) for k, v in moment.metrics.items()},
        "wall_time": moment.wall_time,
    }
    text = json.dumps(meta, allow_nan=False)
    if len(text) > _MAX_META_CHARACTERS:
        raise FiltertrackError(f"the metrics of step {moment.step} take {len(text)} characters")
    return text


def shorten(steps: Sequence[int], most: int = 12) -> str:
    """Write steps in a message: all, or the first and the last."""
    shown = ", ".join(map(str, steps[:most]))
    return f"{shown}, … {steps[-1]}" if len(steps) > most else shown or "none"
