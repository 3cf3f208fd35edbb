"""Read and write a run: a folder of snapshots, on disk or on object storage.

The layout, below the folder that the user named::

    filters/
      manifest.json                 format version, layers, library versions
      probes.npz                    the probes, if the model was shown any
      snapshots/000000000000.npz    one file per snapshot, named by its step

A snapshot is an uncompressed ``.npz`` file: each tracked kernel and bias under its Keras path, the
responses to the probes (see ``probe_format``), and ``meta``, a JSON text with the moment. There is
no index besides the listing of the folder, so the cost of adding a snapshot does not grow with
their number.
"""

import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Self, TypeVar

import numpy as np

from filtertrack.errors import FiltertrackError, whole
from filtertrack.response import DotProduct, LayerResponse, StoredProbes, StrongestPatches
from filtertrack.snapshot import LayerInfo, Moment, Snapshot
from filtertrack.storage.dot_product import dot_product_at
from filtertrack.storage.layer_responses import activated, responses, unknown_input
from filtertrack.storage.local_files import damaged_file, is_temporary
from filtertrack.storage.npz import ArrayReader, write_arrays
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of, remove_files
from filtertrack.storage.prefetch import Prefetcher, Read
from filtertrack.storage.probe_format import (
    PROBES,
    ProbesFile,
    response_arrays,
    response_members,
    response_of,
)
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
from filtertrack.storage.strongest_patches import cut_patches

_log = logging.getLogger("filtertrack")

FOLDER = "filters"
SNAPSHOTS = "snapshots"
_EVENTS = "events.out.tfevents."
_Result = TypeVar("_Result")
_SNAPSHOT_FILE = re.compile(r"([0-9]{12})\.npz")


class Run:
    """A run, for reading and for adding snapshots; it can be read while training writes it.

    Args:
        path: The folder that the tracker was given, such as ``"runs/exp1"``, or ``filters`` in it.
        within: A folder, with all links in its own path resolved, that links among the run's files
            must not lead out of; None, for a user's own runs, where they may lead anywhere.

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
        self._listing = _Listing()
        self.within = within
        self._probes = ProbesFile(self.folder, within)
        self._load = _loader(self._snapshots, within, self._listing)
        layers, software = read_manifest(self.folder, within)
        self.layers: Mapping[str, LayerInfo] = MappingProxyType(layers)
        self.software: Mapping[str, str] = MappingProxyType(software)

    def __repr__(self) -> str:
        """Return the folder and the numbers of layers and snapshots."""
        return f"Run({str(self.path)!r}: {len(self.layers)} layers, {len(self.steps)} snapshots)"

    def _repr_html_(self) -> str | None:
        """Return the interactive page for a notebook; None if nothing can be shown."""
        from filtertrack.web.notebook_page import run_html  # noqa: PLC0415

        try:
            return run_html(self)
        except (FiltertrackError, OSError) as error:
            _log.warning("the page cannot be shown: %s", error)
            return None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the path only: a copy reads the run again."""
        return partial(type(self), within=self.within), (self.path,)

    @staticmethod
    def exists(path: PathOrAddress) -> bool:
        """Whether the folder holds a run."""
        return (path_of(path) / FOLDER / MANIFEST).exists()

    @classmethod
    def is_free(cls, path: PathOrAddress) -> bool:
        """Whether a run can be created in the folder: it holds neither a run nor snapshots.

        Raises:
            OSError: If that cannot be determined.
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
            path: The folder; it is made if it does not exist.
            layers: The layers of each snapshot.
            software: Library name to version, stored in the manifest.

        Raises:
            FiltertrackError: If the folder already holds a run or snapshots of one; if there is no
                layer, or one of a type that cannot be stored; if the run cannot be written.
        """
        if cls.exists(path):
            raise FiltertrackError(f"{str(path)!r} already holds a run")
        if not layers:
            raise FiltertrackError(f"no layers to keep in {str(path)!r}: give at least one")
        check_storable(layers)
        folder = path_of(path) / FOLDER
        try:
            (folder / SNAPSHOTS).make_folder()
            if _holds_snapshots(folder / SNAPSHOTS):
                raise FiltertrackError(
                    f"{str(folder)!r} holds snapshots of a run whose manifest is gone; give "
                    f"another folder, or remove this one"
                )
            if (folder / PROBES).exists():  # of a run whose other files are gone
                (folder / PROBES).unlink(missing_ok=True)
            write_manifest(folder, layers, software or {})
        except OSError as error:
            file = error.filename or folder / MANIFEST
            raise FiltertrackError(
                f"cannot start a run: writing {str(file)!r} failed: {error.strerror}"
            ) from error
        return cls(path)

    @classmethod
    def from_models(
        cls,
        path: PathOrAddress,
        sources: Iterable[Any] | Mapping[int, Any],
        *,
        steps: Iterable[int] | None = None,
        layers: str | Sequence[str] | None = None,
        axes: str | Mapping[str, str] | None = None,
        metrics: Sequence[Mapping[str, float]] | Mapping[int, Mapping[str, float]] | None = None,
        images: str | Sequence[str] | None = None,
        histograms: bool = False,
    ) -> "Run":
        """Make a run of models, checkpoint files or arrays: of each the convolution kernels.

        One source is read at a time. If one cannot be used, nothing is left of the run; only a
        damaged file is left out, with a warning in the log.

        Args:
            path: The run's folder, which holds no run.
            sources: Models or layers of Keras, modules of torch, checkpoint files, or dictionaries
                of arrays by name; a list, an iterator, or step to source. All have the same
                kernels.
            steps: The step of each source. None for those in the names of files if all are files
                (see ``filtertrack import``), else 1, 2, 3, …
            layers: Names or patterns such as ``"block1/*"``; None for every convolution.
            axes: The letters of the axes of arrays, such as ``"HWIO"``, or name to letters.
            metrics: Name to number for each source, or step to these.
            images: The layers that have images in TensorBoard, as ``FilterTracker`` takes them.
            histograms: Add histograms to TensorBoard: of each layer's weights, their drift and
                their roughness.

        Returns:
            The run, with images for TensorBoard as the tracker makes them.

        Raises:
            FiltertrackError: If the folder holds a run, or sources cannot be read or have different
                kernels; the message names the source and the layers.
            OSError: If the run cannot be written.

        Example:
            >>> Run.from_models("runs/finetuned", [pretrained, tuned])  # doctest: +SKIP
            Run('runs/finetuned': 53 layers, 2 snapshots)
        """
        from filtertrack.capture.checkpoint_import import import_models  # noqa: PLC0415

        return import_models(
            path,
            sources,
            steps=steps,
            layers=layers,
            axes=axes,
            metrics=metrics,
            images=images,
            histograms=histograms,
        )

    @classmethod
    def delete(cls, path: PathOrAddress) -> None:
        """Remove a run: its manifest, snapshots and TensorBoard events, and nothing else.

        Raises:
            OSError: If a file cannot be removed.
        """
        folder = path_of(path) / FOLDER
        (folder / SNAPSHOTS).remove_tree()
        remove_files(folder, lambda name: name.startswith(_EVENTS) or is_temporary(name))
        (folder / PROBES).unlink(missing_ok=True)
        # Last: if anything fails before, the rest is still a run and is not mistaken for a new one.
        (folder / MANIFEST).unlink(missing_ok=True)

    @property
    def steps(self) -> list[int]:
        """Every snapshot's step, ascending, as the folder is now; none if it does not exist."""
        if self._snapshots.is_remote:  # one request lists names and stamps
            return list(self.stamps())
        return sorted(_steps_of(self._list(self._snapshots.names, [])))

    def stamps(self) -> dict[int, int]:
        """Return every snapshot's step, ascending, with a number that changes with its file."""
        empty: Mapping[str, int] = {}
        stamps = self._list(self._snapshots.stamps, empty)
        listed = {step: stamps[_file_name(step)] for step in sorted(_steps_of(stamps))}
        self._listing.stamps = listed
        return listed

    def _list(self, names: Callable[[], _Result], empty: _Result) -> _Result:
        """List the snapshots' folder; return ``empty`` if it does not exist."""
        try:
            return names()
        except (FileNotFoundError, NotADirectoryError):  # such as of a run that is being deleted
            return empty
        except OSError as error:
            raise self._snapshots.read_error(error) from error

    def made(self) -> int:
        """Return a number that changes when the run is created again."""
        return (self.folder / MANIFEST).stamp()

    def version(self) -> str:
        """Return a text that changes when a snapshot is added, replaced or removed."""
        if self._snapshots.is_remote:
            stamps = self.stamps()
            changed, count = zlib.crc32(repr(stamps).encode()), len(stamps)
        else:
            # The folder's time is that of its last change; the count helps where clocks are coarse.
            changed, count = 0, len(self.steps)
            with suppress(FileNotFoundError, NotADirectoryError):
                changed = self._snapshots.stamp()
        return f"{self.made():x}-{changed:x}-{count:x}"

    def file(self, step: int) -> StoragePath:
        """Return the path of a snapshot's file, whether it exists or not."""
        return self._snapshots / _file_name(step)

    def layer(self, name: str) -> LayerInfo:
        """Return a layer's description by its name.

        Raises:
            FiltertrackError: If the run has no such layer; the message lists its layers.
        """
        try:
            return self.layers[name]
        except KeyError:
            known = ", ".join(self.layers)
            raise FiltertrackError(
                f"no layer {name!r} in {str(self.path)!r}; it has: {known}"
            ) from None

    def kernels(self, layer: str, step: int) -> np.ndarray:
        """Return one layer's kernel at one step; no other layer is read.

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
        """Return one layer's bias at one step, or None if the layer has none.

        Raises:
            FiltertrackError: If there is no such layer or step, or the file is damaged.
        """
        info = self.layer(layer)
        return self._read(step, [bias_of(info)])[info.bias] if info.bias else None

    def responses(
        self, layer: str, step: int, images: np.ndarray, *, activation: bool = False
    ) -> np.ndarray:
        """Return what a first convolution computes of images at one step: its feature maps.

        It is the dot product of each filter with the images at each position, plus the bias. Only
        numpy is needed. Dropout and random augmentation before the layer do nothing, as outside of
        training.

        Args:
            layer: A key of ``layers``. Its input must be the model's input, or a known
                preprocessing of it (``Rescaling``, ``Normalization``, ``ZeroPadding``).
            step: One of ``steps``.
            images: As the model takes them: an array of shape ``(images, height, width,
                channels)``; without height for 1-D layers, with depth before it for 3-D ones, and
                with channels in second place for a layer of ``channels_first``.
            activation: Apply the layer's activation function as well.

        Returns:
            ``float32`` array of shape ``(images, height, width, filters)``.

        Raises:
            FiltertrackError: If there is no such layer or step, its input or its padding is not
                known, the images do not fit it, or the file is damaged.

        Example:
            >>> run = Run("runs/demo")  # doctest: +SKIP
            >>> run.responses("conv1", 0, photographs).shape  # doctest: +SKIP
            (4, 64, 64, 48)
        """
        info = self._first_layer(layer)
        outputs = responses(info, *self._weights(info, step), images)
        return activated(info, outputs) if activation else outputs

    def dot_product(
        self,
        layer: str,
        step: int,
        image: np.ndarray | int,
        filter_number: int,
        at: Sequence[int],
    ) -> DotProduct:
        """Return how one value of a first layer's feature map follows from an image.

        The patch below the kernel, the kernel, their product, its sum, and the bias: its ``output``
        is the value of ``responses`` at that place.

        Args:
            layer: A key of ``layers``; see ``responses``.
            step: One of ``steps``.
            image: As the model takes it: an array of shape ``(height, width, channels)``, or as
                ``responses`` takes several. Or the number of one of the run's probes.
            filter_number: The number of a filter, from 0 on.
            at: Row and column in the feature map; ``(x,)`` for 1-D layers and ``(z, y, x)`` for 3-D
                ones.

        Raises:
            FiltertrackError: As ``responses``, and if there is no such probe, filter or place, or
                the layer is a transposed convolution, whose outputs are no such dot products.

        Example:
            >>> run = Run("runs/demo")  # doctest: +SKIP
            >>> value = run.dot_product("conv1", 30, photograph, 3, (10, 12))  # doctest: +SKIP
            >>> value.product.shape, value.sum + value.bias == value.output  # doctest: +SKIP
            ((9, 9, 3), True)
        """
        info = self._first_layer(layer)
        pixels = (
            np.asarray(image)
            if whole(image) is None
            else recorded_probes(self).image(int(image), layer)
        )
        weights = self._weights(info, step)
        return dot_product_at(info, *weights, pixels, filter_number=filter_number, at=at)

    def _first_layer(self, layer: str) -> LayerInfo:
        """Return a layer whose responses to any image follow from its kernel."""
        info = self.layer(layer)
        if info.preprocessing is None:
            first = [each.name for each in self.layers.values() if each.preprocessing is not None]
            probes = self.probes
            recorded = probes is not None and layer in probes.layers
            raise FiltertrackError(unknown_input(info, first, recorded=recorded))
        return info

    def _weights(self, info: LayerInfo, step: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a layer's filters and its bias."""
        arrays = self._read(step, weights_of([info]))
        return info.canonical(arrays[info.kernel]), arrays[info.bias] if info.bias else None

    @property
    def probes(self) -> StoredProbes | None:
        """The probes that the model was shown at each snapshot; None if there were none.

        They are read again after their file was replaced; on object storage, after the next listing
        of ``steps``.

        Raises:
            FiltertrackError: If their file is damaged.
        """
        return self._probes.read(self.layers, self._listing.stamps)

    def probe_responses(self, layer: str, step: int) -> LayerResponse:
        """Return what a layer's filters answered to the run's probes at one step.

        Args:
            layer: A key of ``probes.layers``.
            step: One of ``steps``.

        Raises:
            FiltertrackError: If the run has no probes, or none of the layer or at the step, or the
                file is damaged.

        Example:
            >>> run = Run("runs/demo")  # doctest: +SKIP
            >>> run.probe_responses("conv2", 12).values(probe=0).shape  # doctest: +SKIP
            (48, 32, 32)
        """
        return self._responses(self.layer(layer), recorded_probes(self), step)

    def _responses(self, info: LayerInfo, probes: StoredProbes, step: int) -> LayerResponse:
        members = response_members(info, probes)
        try:
            arrays = self._read(step, members)
        except FiltertrackError:
            if self.moment(step).probed:
                raise
            raise FiltertrackError(
                f"step {step} of {str(self.path)!r} holds no responses to the probes"
            ) from None
        try:
            return response_of(info, probes, arrays)
        except ValueError as error:
            raise damaged_file(self.file(step), error) from error

    def strongest_patches(
        self, layer: str, step: int, filters: Iterable[int] | None = None
    ) -> StrongestPatches:
        """Return the parts of the probes that excite each filter of a layer most, at one step.

        Each is the receptive field of one of the nine highest values of the filter's feature maps,
        in the values of the probes.

        Args:
            layer: A key of ``probes.layers``.
            step: One of ``steps``.
            filters: Numbers of filters; None for all.

        Raises:
            FiltertrackError: As ``probe_responses``, and if the layer's probes are no images, there
                is no such filter, or the patches take more than a fourth of the memory.

        Example:
            >>> run = Run("runs/demo")  # doctest: +SKIP
            >>> run.strongest_patches("conv2", 12).pixels.shape  # doctest: +SKIP
            (48, 9, 21, 21, 3)
        """
        info, probes = self.layer(layer), recorded_probes(self)
        places = self._responses(info, probes, step).places
        return cut_patches(info, probes, places, filters)

    def moment(self, step: int) -> Moment:
        """Return a snapshot's moment, with its metrics; no weights are read.

        Raises:
            FiltertrackError: If there is no such step, or the file is damaged.
        """
        return self._moment(step, self._read(step, [MOMENT])[MOMENT.name])

    def snapshot(self, step: int, layers: Iterable[str] | None = None) -> Snapshot:
        """Return one snapshot, of all or some layers, without its responses to the probes.

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
        """Yield one layer's kernel step by step, one snapshot in memory at a time.

        Args:
            layer: A key of ``layers``.
            steps: The steps; None for all that the run has now.

        Yields:
            Arrays of shape ``(filters, height, width, channels)``.
        """
        for step in self.steps if steps is None else steps:
            yield self.kernels(layer, step)

    def append(self, snapshot: Snapshot) -> None:
        """Add a snapshot, atomically; one at the same step is replaced.

        Raises:
            FiltertrackError: If it lacks a tracked kernel, or one has another shape, or if its
                responses are not those to the run's probes.
            OSError: If the file cannot be written.
        """
        for info in self.layers.values():
            if info.kernel not in snapshot.arrays:
                raise FiltertrackError(f"the snapshot holds no {info.kernel!r}")
            info.canonical(snapshot.arrays[info.kernel])
        # Not read again: a training whose file of probes was removed goes on as before.
        probes = self._probes.last or self.probes if snapshot.responses else None
        responses = response_arrays(snapshot.responses, self.layers, probes)
        moment = replace(snapshot.moment, probed=bool(responses))
        members = members_of(replace(snapshot, moment=moment), responses)
        self.file(snapshot.step).write_whole(lambda file: write_arrays(file, members))

    def store_probes(self, probes: StoredProbes) -> None:
        """Store the probes, before the first snapshot with responses to them.

        Raises:
            FiltertrackError: If they describe a layer that the run does not have, or are too large.
            OSError: If they cannot be written.
        """
        for name in probes.layers:
            self.layer(name)
        self._probes.write(probes, self._listing.stamps)

    def remove(self, step: int) -> None:
        """Remove one snapshot, if it exists.

        Raises:
            OSError: If its file cannot be removed.
        """
        self.file(step).unlink(missing_ok=True)

    def truncate(self, step: int) -> None:
        """Remove every snapshot at or past a step, from which training starts again.

        Temporary files of killed writers are removed as well.

        Raises:
            OSError: If a snapshot cannot be removed.
        """
        for existing in self.steps:
            if existing >= step:
                self.remove(existing)
        try:
            self._snapshots.make_folder()  # missing if the run was being deleted
        except FileExistsError:
            raise FiltertrackError(f"{str(self._snapshots)!r} is no folder; remove it") from None
        for folder in (self.folder, self._snapshots):
            with suppress(OSError):  # they only take space
                remove_files(folder, is_temporary)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> dict[int, str]:
        """Read every snapshot and return the damaged ones, in constant memory.

        Where ``probes.npz`` is missing or damaged, the responses of a snapshot cannot be read: each
        snapshot that holds some is named with that reason.

        Args:
            progress: Called after each snapshot with the number read and the number to read.

        Returns:
            Step to a description of the damage; empty if no snapshot is damaged.
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
        sizes = {member.name: member.most for member in members}
        reader = ArrayReader(self._snapshots, self.within)
        heads = self._found(step, lambda: reader.check(_file_name(step), sizes))
        self._check_fit(step, members, heads)
        if self.moment(step).probed:
            probes = self.probes
            if probes is None:
                raise damaged_file(self.folder / PROBES, "it is missing, and responses refer to it")
            for name in probes.layers:
                self.probe_responses(name, step)

    def _moment(self, step: int, text: np.ndarray) -> Moment:
        try:
            moment = moment_of(text)
        except ValueError as error:
            raise damaged_file(self.file(step), error) from error
        if moment.step != step:
            raise damaged_file(self.file(step), f"it says it is step {moment.step}")
        return moment

    def _read(self, step: int, members: Sequence[Member]) -> dict[str, np.ndarray]:
        """Read arrays and check their checksums, shapes and types."""
        sizes = {member.name: member.most for member in members}
        arrays = self._found(step, lambda: self._load(step, sizes))
        self._check_fit(step, members, arrays)
        return arrays

    def _found(self, step: int, read: Callable[[], _Result]) -> _Result:
        try:
            return read()
        except (FileNotFoundError, NotADirectoryError):
            raise FiltertrackError(
                f"no snapshot at step {step} in {str(self.path)!r}; steps: {shorten(self.steps)}"
            ) from None

    def _check_fit(
        self, step: int, members: Sequence[Member], arrays: Mapping[str, Described]
    ) -> None:
        for member in members:
            fault = member.fault_of(arrays[member.name])
            if fault:
                raise damaged_file(self.file(step), fault)


def recorded_probes(run: Run, hint: str = "") -> StoredProbes:
    """Return the probes of a run.

    Args:
        run: The run.
        hint: What the message of the error says besides.

    Raises:
        FiltertrackError: If it has none, with the advice how to record responses, or if their file
            is damaged.
    """
    probes = run.probes
    if probes is None:
        raise FiltertrackError(
            f"{str(run.path)!r} has no probes; train with FilterTracker(probes=images) to record "
            f"what filters answer to{hint}"
        )
    return probes


class _Listing:
    """The result of the last listing of the snapshots' folder: step to stamp."""

    def __init__(self) -> None:
        self.stamps: Mapping[int, int] = {}


def _loader(folder: StoragePath, within: str | None, listing: _Listing) -> Read:
    """Return a function that reads arrays of a snapshot, with prefetching where that is faster.

    It holds no reference to the ``Run``, which would then only be freed by the cycle collector.
    """
    reader = ArrayReader(folder, within)
    if folder.concurrent:
        read = Prefetcher(
            lambda step, members: reader.read_stamped(_file_name(step), members),
            lambda: listing.stamps,
        )
        return read.read
    return lambda step, members: reader.read(_file_name(step), members)


def _holds_snapshots(folder: StoragePath) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return any(True for _ in _steps_of(folder.names()))
    return False


def _steps_of(names: Iterable[str]) -> Iterator[int]:
    matches = map(_SNAPSHOT_FILE.fullmatch, names)
    return (int(match[1]) for match in matches if match)


def _file_name(step: int) -> str:
    return f"{step:012d}.npz"


def _is_filters_folder(path: StoragePath) -> bool:
    return path.name == FOLDER and (path / MANIFEST).exists()


def shorten(steps: Sequence[int], most: int = 12) -> str:
    """Format steps for a message: all, or the first ones and the last."""
    shown = ", ".join(map(str, steps[:most]))
    return f"{shown}, … {steps[-1]}" if len(steps) > most else shown or "none"
