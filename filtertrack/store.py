"""A run on disk: an append-only folder of snapshots.

The layout, below the folder that the user named::

    filters/
      manifest.json                 format version, layers, library versions
      snapshots/000000000000.npz    one file a snapshot, named by its step

A snapshot is an ordinary uncompressed ``.npz``: each tracked kernel and bias under its Keras path,
and ``meta``, a JSON text with the moment. The listing of the folder is the index, so the cost of
adding a snapshot does not grow with the number already there.
"""

import io
import json
import math
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Self

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo, Moment, Snapshot

FORMAT = 1
"""The version of the layout. A reader refuses a newer one and reads every older one."""

FOLDER = "filters"
_MANIFEST = "manifest.json"
_SNAPSHOTS = "snapshots"
_META = "meta"
_SNAPSHOT_FILE = re.compile(r"(\d{12})\.npz")
_MAX_META_CHARACTERS = 1 << 20
# What zipfile and numpy raise over a damaged file; RuntimeError: a member that claims a password.
_DAMAGE = (zipfile.BadZipFile, KeyError, ValueError, EOFError, OverflowError, RuntimeError)


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
        manifest = _read_manifest(self.folder / _MANIFEST, self.path)
        self.layers: Mapping[str, LayerInfo] = MappingProxyType(_read_layers(manifest))
        self.software: Mapping[str, str] = MappingProxyType(dict(manifest.get("software") or {}))

    def __repr__(self) -> str:
        """Name the folder, the layers and the number of snapshots."""
        return f"Run({str(self.path)!r}: {len(self.layers)} layers, {len(self.steps)} snapshots)"

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether the folder holds a run."""
        return (Path(path) / FOLDER / _MANIFEST).exists()

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
        (folder / _SNAPSHOTS).mkdir(parents=True, exist_ok=True)
        manifest = {
            "format": FORMAT,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "software": dict(software or {}),
            "layers": [info.to_dict() for info in layers],
        }
        text = json.dumps(manifest, indent=1).encode()
        write_whole(folder / _MANIFEST, lambda file: file.write(text))
        return cls(path)

    @classmethod
    def delete(cls, path: str | os.PathLike[str]) -> None:
        """Remove a run: its manifest, snapshots and TensorBoard events, and nothing else.

        Raises:
            OSError: If a file cannot be removed.
        """
        folder = Path(path) / FOLDER
        (folder / _MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder / _SNAPSHOTS, ignore_errors=True)
        for events in folder.glob("events.out.tfevents.*"):
            events.unlink(missing_ok=True)

    @property
    def steps(self) -> list[int]:
        """Every snapshot's step, ascending, as the folder is now."""
        files = (self.folder / _SNAPSHOTS).iterdir()
        matches = (_SNAPSHOT_FILE.fullmatch(file.name) for file in files)
        return sorted(int(match[1]) for match in matches if match)

    def file(self, step: int) -> Path:
        """Return the path of a snapshot's file, whether it is there or not."""
        return self.folder / _SNAPSHOTS / f"{step:012d}.npz"

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
        return info.canonical(self._read(step, info.kernel, info.kernel_shape))

    def bias(self, layer: str, step: int) -> np.ndarray | None:
        """Return one layer's bias at one step, or None where the layer has none.

        Raises:
            FiltertrackError: If there is no such layer or step, or the file is damaged.
        """
        info = self.layer(layer)
        return None if info.bias is None else self._read(step, info.bias, None)

    def moment(self, step: int) -> Moment:
        """Return when a snapshot was taken and its metrics; no weights are read.

        Raises:
            FiltertrackError: If there is no such step, or the file is damaged.
        """
        text = str(self._read(step, _META, ()))
        try:
            meta = json.loads(text)
            moment = Moment(**meta)
        except (ValueError, TypeError, RecursionError, FiltertrackError) as error:
            raise _damaged(self.file(step), error) from error
        if moment.step != step:
            raise _damaged(self.file(step), f"it says it is step {moment.step}")
        return moment

    def snapshot(self, step: int) -> Snapshot:
        """Return everything one snapshot holds.

        Raises:
            FiltertrackError: If there is no such step, or the file is damaged.
        """
        arrays = {}
        for info in self.layers.values():
            arrays[info.kernel] = self._read(step, info.kernel, info.kernel_shape)
            if info.bias is not None:
                arrays[info.bias] = self._read(step, info.bias, None)
        return Snapshot(self.moment(step), arrays)

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
        members: dict[str, Any] = {n: _storable(n, a) for n, a in snapshot.arrays.items()}
        members[_META] = np.array(_meta_text(snapshot.moment))
        write_whole(self.file(snapshot.step), lambda file: np.savez(file, **members))

    def truncate(self, step: int) -> None:
        """Remove every snapshot at or past a step: training starts again from there.

        Raises:
            OSError: If a file cannot be removed.
        """
        for there in self.steps:
            if there >= step:
                self.file(there).unlink(missing_ok=True)

    def _read(self, step: int, member: str, shape: tuple[int, ...] | None) -> np.ndarray:
        """Read one array, its checksum checked, and refuse one of another shape."""
        path = self.file(step)
        try:
            with zipfile.ZipFile(path) as archive:
                entry = archive.getinfo(f"{member}.npy")
                if (
                    entry.compress_type != zipfile.ZIP_STORED
                    or entry.file_size > path.stat().st_size
                ):
                    raise _damaged(path, f"{member} is packed in a way this package never writes")
                array = _parse_npy(archive.read(entry))
        except FileNotFoundError:
            raise FiltertrackError(
                f"no snapshot at step {step} in {str(self.path)!r}; steps: {_shorten(self.steps)}"
            ) from None
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        except OSError as error:  # also a seek to where a damaged index points
            raise FiltertrackError(f"cannot read {str(path)!r}: {error.strerror}") from error
        if shape is not None and array.shape != shape:
            raise _damaged(path, f"{member} has the shape {array.shape}, expected {shape}")
        return array


def _is_filters_folder(path: Path) -> bool:
    return path.name == FOLDER and (path / _MANIFEST).exists()


def _read_manifest(path: Path, run: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise FiltertrackError(
            f"no run in {str(run)!r}: expected {FOLDER}/{_MANIFEST} in that folder; "
            f"give the folder that FilterTracker was given"
        ) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise _damaged(path, "it names no format version")
    if manifest["format"] > FORMAT:
        raise FiltertrackError(
            f"{str(run)!r} has format {manifest['format']}, newer than the {FORMAT} this version "
            f"of filtertrack reads; update filtertrack"
        )
    return manifest


def _read_layers(manifest: Mapping[str, Any]) -> dict[str, LayerInfo]:
    entries = manifest.get("layers")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise FiltertrackError("the manifest holds no list of layers")
    layers = {info.name: info for info in map(LayerInfo.from_dict, entries)}
    if len(layers) != len(entries):
        raise FiltertrackError("the manifest names two layers alike")
    return layers


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """Widen what ``.npy`` cannot name (bfloat16: exactly, to float32); refuse what is no number."""
    if array.dtype.kind in "fiub":
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


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that its name appears only once its content is on disk.

    Args:
        path: The file; one that is there already is replaced.
        write: Writes the content into the file it is given.

    Raises:
        OSError: If the file cannot be written; nothing is left behind then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _parse_npy(data: bytes) -> np.ndarray:
    """Read an ``.npy`` file's bytes; no memory is taken that the bytes do not fill.

    Raises:
        ValueError: If the header does not fit the bytes behind it, or asks for pickled objects.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never read")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()


def _damaged(path: Path, reason: object) -> FiltertrackError:
    return FiltertrackError(f"damaged file {str(path)!r}: {reason}")


def _shorten(steps: Sequence[int], most: int = 12) -> str:
    shown = ", ".join(map(str, steps[:most]))
    return f"{shown}, … {steps[-1]}" if len(steps) > most else shown or "none"
