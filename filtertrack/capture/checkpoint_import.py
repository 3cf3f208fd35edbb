"""Makes a run of checkpoint files or models: checks that their kernels match, and stores them."""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from filtertrack._version import __version__
from filtertrack.capture.array_layers import Axes
from filtertrack.capture.checkpoint_names import given_moment, read_names
from filtertrack.capture.checkpoint_search import (
    Source,
    by_step,
    check_count,
    check_exists,
    is_path,
    short_names,
)
from filtertrack.capture.existing_run_layers import match_layers
from filtertrack.capture.layer_source import LayerSource, select_infos
from filtertrack.capture.sources import open_source
from filtertrack.capture.summary_options import DEFAULT_SUMMARIES, ImageLayers, SummaryOptions
from filtertrack.errors import FiltertrackError, is_list, listed, whole
from filtertrack.outputs.animation import Progress
from filtertrack.snapshot import LayerInfo, Moment, Snapshot
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of
from filtertrack.storage.run import FOLDER, Run
from filtertrack.tensorboard_plugin.summaries import Summaries

_log = logging.getLogger("filtertrack")
_DRAWN = 10
"""Of n snapshots about ``_DRAWN * (1 + log(n / _DRAWN))`` are drawn for TensorBoard, which shows
ten images of a tag: drawing takes longer than copying weights."""


class OtherKernelsError(FiltertrackError):
    """A source does not have the kernels of the sources before it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A run that was made of models or files.

    Attributes:
        run: The run.
        unreadable: Files that could not be read or have no convolution, to the reason. The run
            lacks them.
        remarks: Sentences about kernels that are left out or may be read in another way.
    """

    run: Run
    unreadable: Mapping[str, str]
    remarks: tuple[str, ...]


def import_models(
    path: PathOrAddress,
    sources: Any,
    *,
    steps: Iterable[int] | None = None,
    layers: str | Sequence[str] | None = None,
    axes: Axes | None = None,
    metrics: Any = None,
    images: ImageLayers = None,
    histograms: bool = False,
) -> Run:
    """Make a run of models, modules, files or arrays: see ``Run.from_models``."""
    summaries = SummaryOptions(images, histograms)
    if not isinstance(sources, Mapping) and (not is_list(sources) or hasattr(sources, "shape")):
        raise FiltertrackError(
            f"sources: expected a list of models or files, or step to model, got "
            f"{type(sources).__name__}"
        )
    if isinstance(sources, Mapping):
        wrong = [key for key in sources if whole(key) is None]
        if wrong or steps is not None:
            problem = "steps as keys and as steps=" if not wrong else f"the key {wrong[0]!r:.100}"
            raise FiltertrackError(
                f"sources: expected step to model, such as {{0: first, 10: second}}, or a list "
                f"(of dictionaries, for arrays by name), got {problem}"
            )
        steps, sources = list(sources), list(sources.values())
    given = _with_moments(sources, steps, metrics)
    imported = import_sources(path, given, layers=layers, axes=axes, summaries=summaries)
    for name, reason in imported.unreadable.items():
        _log.warning("%s is left out: %s", name, reason)
    for remark in imported.remarks:
        _log.warning("%s", remark)
    return imported.run


def _with_moments(sources: Iterable[Any], steps: Iterable[int] | None, metrics: Any) -> Any:
    """Return the sources with their moments: a list by ascending steps, or an iterator."""
    if isinstance(sources, Iterator):
        numbers = count(1) if steps is None else iter(steps)
        return (
            _source(each, number, _moment_of(step, metrics, number))
            for number, (each, step) in enumerate(_paired(sources, numbers))
        )
    each_source = list(sources)
    if not each_source:
        raise FiltertrackError("sources: the list is empty; give at least one model or file")
    if steps is not None:
        given = list(steps)
        check_count(len(given), len(each_source), "steps", "sources")
        moments = [_moment_of(step, metrics, n) for n, step in enumerate(given)]
    elif all(map(is_path, each_source)):
        reading = read_names(short_names([os.fspath(p) for p in each_source]), keep_order=True)
        if None in reading.moments:
            raise FiltertrackError(
                f"no number in the name {os.fspath(each_source[reading.moments.index(None)])!r}, "
                f"although others have one; give the steps with steps="
            )
        moments = [
            replace(moment, metrics={**moment.metrics, **_metrics_of(metrics, moment.step, n)})
            for n, moment in enumerate(reading.moments)
            if moment
        ]
    else:
        moments = [_moment_of(n + 1, metrics, n) for n in range(len(each_source))]
    if metrics is not None and not isinstance(metrics, Mapping):
        check_count(len(metrics), len(each_source), "metrics", "sources")
    return by_step(
        _source(each, number, moment)
        for number, (each, moment) in enumerate(zip(each_source, moments, strict=True))
    )


def _paired(sources: Iterator[Any], steps: Iterator[int]) -> Iterator[tuple[Any, int]]:
    """Yield each source with its step."""
    for source in sources:
        step = next(steps, None)
        if step is None:
            raise FiltertrackError("steps: expected one for each source, got fewer")
        yield source, step


def _moment_of(step: int, metrics: Any, number: int) -> Moment:
    return given_moment(step, _metrics_of(metrics, step, number))


def _metrics_of(metrics: Any, step: int, number: int) -> Mapping[str, float]:
    """Return the metrics of a source from those by step, or in the order of the sources."""
    if metrics is None:
        return {}
    try:
        found = metrics.get(step, {}) if isinstance(metrics, Mapping) else metrics[number]
    except (IndexError, TypeError):
        found = None
    if not isinstance(found, Mapping):
        raise FiltertrackError(
            f"metrics: expected name to number for each source, such as [{{'loss': 0.3}}, …], or "
            f"step to these, got {metrics!r:.100}"
        )
    return found


def _source(given: Any, number: int, moment: Moment) -> Source:
    """Return a source by its number in the list."""
    if not is_path(given):
        return Source(given, f"source {number + 1} ({type(given).__name__})", moment)
    check_exists(Path(given))
    return Source(given, os.fspath(given), moment)


def infos_of(opened: LayerSource) -> Sequence[LayerInfo]:
    """Return the kernels of an open source.

    Raises:
        FiltertrackError: If it has none.
    """
    if not opened.infos:
        remarks = f" ({' '.join(opened.remarks)})" if opened.remarks else ""
        raise FiltertrackError(f"it holds no convolution kernel{remarks:.500}")
    return opened.infos


def check_free(path: PathOrAddress) -> None:
    """Check that a run can be created in a folder, before sources are read.

    Raises:
        FiltertrackError: If it holds a run, or is a file or lies below one.
    """
    folder = path_of(path)
    if not Run.is_free(folder):
        raise FiltertrackError(f"{str(folder)!r} already holds a run; give another folder")
    if folder.is_remote:
        return
    target = Path(str(folder)) / FOLDER
    existing = next((each for each in (target, *target.parents) if os.path.lexists(each)), None)
    if existing is not None and not existing.is_dir():
        raise FiltertrackError(
            f"cannot make a run in {str(folder)!r}: {str(existing)!r} is no folder; give another "
            f"folder"
        )


def _reason(source: Source, error: Exception) -> str:
    """Return why a source cannot be imported, without its name."""
    path = str(Path(source.source)) if source.is_file else source.name
    return str(error).removeprefix(f"cannot read {path!r}: ")


def import_sources(
    path: PathOrAddress,
    sources: Iterable[Source],
    *,
    layers: str | Sequence[str] | None = None,
    axes: Axes | None = None,
    summaries: SummaryOptions = DEFAULT_SUMMARIES,
    progress: Progress | None = None,
) -> Imported:
    """Store the kernels of sources as a run, one source in memory at a time.

    A file that cannot be read is left out. Other errors and Ctrl-C leave
    nothing: what was written is deleted. A process that is killed leaves a run of the first ones.

    Args:
        path: The run's folder, which holds no run.
        sources: The sources, by ascending steps; an iterator is not read ahead.
        layers: Names or patterns of the layers; None for all convolutions.
        axes: The letters of the axes of kernels that do not tell them.
        summaries: What TensorBoard shows of the run.
        progress: Called after each source with the number done and of all.

    Raises:
        FiltertrackError: If the folder cannot take a new run, no source can be read, or sources
            have other kernels than the first.
        OSError: If the run cannot be written.
    """
    folder = path_of(path)
    check_free(folder)
    total = len(sources) if isinstance(sources, Sequence) else 0
    with _RunMaker(folder, layers, axes, summaries) as maker:
        for done, source in enumerate(sources, start=1):
            maker.add(source)
            if progress:
                progress(done, total)
        return maker.finish()


def selected(
    source: Source, infos: Sequence[LayerInfo], layers: str | Sequence[str] | None
) -> tuple[LayerInfo, ...]:
    """Return the selected kernels of a source.

    Raises:
        OtherKernelsError: If a name or pattern matches none of them.
    """
    try:
        return select_infos(infos, layers)
    except FiltertrackError as error:
        raise OtherKernelsError(f"{source.name}: {error}") from error


def matched(
    source: Source,
    infos: Sequence[LayerInfo],
    first: Source,
    stored: Sequence[LayerInfo],
) -> list[LayerInfo]:
    """Return the kernels of the first source that those of another one continue.

    Args:
        source: The other source.
        infos: Its kernels.
        first: The first source.
        stored: Its kernels, which are those of the run.

    Raises:
        OtherKernelsError: If they differ; the message names the layers.
    """
    found = match_layers(infos, stored)
    if found is not None:
        return found
    shapes, others = ({info.name: info.kernel_shape for info in each} for each in (stored, infos))
    differences = [
        f"{name} has the shape {others[name]}, before {shape}"
        for name, shape in shapes.items()
        if name in others and others[name] != shape
    ]
    lacking = [name for name in shapes if name not in others]
    further = [name for name in others if name not in shapes]
    differences += [f"it lacks {listed(lacking, 3)}"] if lacking else []
    differences += [f"it also has {listed(further, 3)}"] if further else []
    raise OtherKernelsError(
        f"{source.name} has other kernels than {first.name}: "
        f"{listed(differences, 4) or 'their axes or biases differ'}. All snapshots of a run have "
        f"the same kernels: choose layers that all sources have (layers=, --layers), or leave this "
        f"one out"
    )


class Preview(NamedTuple):
    """What would be imported of a source.

    Attributes:
        source: The source.
        infos: Its selected kernels; empty if it cannot be read.
        problem: Why it is left out, as it cannot be read or has no convolution; else empty.
        remarks: Sentences about its other kernels.
    """

    source: Source
    infos: Sequence[LayerInfo]
    problem: str
    remarks: Sequence[str] = ()


def preview(
    sources: Iterable[Source],
    *,
    layers: str | Sequence[str] | None = None,
    axes: Axes | None = None,
) -> Iterator[Preview]:
    """Yield what ``import_sources`` would store of each source; names and shapes are read only.

    Raises:
        OtherKernelsError: If sources have other kernels than the first.
    """
    first: tuple[Source, Sequence[LayerInfo]] | None = None
    for source in sources:
        try:
            with open_source(source.source, axes=axes) as opened:
                infos = selected(source, infos_of(opened), layers)
                remarks = tuple(opened.remarks)
        except OtherKernelsError:
            raise
        except (FiltertrackError, OSError) as error:
            yield Preview(source, (), _reason(source, error))
            continue
        first = first or (source, infos)
        matched(source, infos, *first)
        yield Preview(source, infos, "", remarks)


class _RunMaker:
    """Creates a run at the first source that can be read; deletes it after an error."""

    def __init__(
        self,
        folder: StoragePath,
        layers: str | Sequence[str] | None,
        axes: Axes | None,
        options: SummaryOptions,
    ) -> None:
        self._folder, self._layers, self._axes = folder, layers, axes
        self._options = options
        self._run: Run | None = None
        self._summaries: Summaries | None = None
        self._first: tuple[Source, tuple[LayerInfo, ...]] | None = None
        self._last = -1
        self._unreadable: dict[str, str] = {}
        self._remarks: dict[str, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or self._run is None:
            return
        with suppress(FiltertrackError, OSError):
            if self._summaries is not None:
                self._summaries.finish()
        with suppress(OSError):
            Run.delete(self._folder)
        for folder in (self._folder / FOLDER, self._folder):
            if not folder.is_remote:
                with suppress(OSError):  # not empty, as the user's own files are in it
                    Path(str(folder)).rmdir()

    def add(self, source: Source) -> None:
        """Store the kernels of a source, or note that it cannot be read."""
        if source.moment.step <= self._last:
            raise FiltertrackError(
                f"steps: expected ascending steps, got {source.moment.step} of {source.name!r} "
                f"after {self._last}"
            )
        self._last = source.moment.step
        try:
            arrays = self._read(source)
        except OtherKernelsError:
            raise
        except (FiltertrackError, OSError) as error:
            if not source.is_file:
                raise FiltertrackError(f"{source.name}: {error}") from error
            self._unreadable[source.name] = _reason(source, error)
            return
        self._store(Snapshot(replace(source.moment, wall_time=_time_of(source)), arrays), source)

    def _read(self, source: Source) -> dict[str, np.ndarray]:
        """Read the kernels and biases of a source, by their names in the run."""
        with open_source(source.source, axes=self._axes) as opened:
            infos = infos_of(opened)
            chosen = selected(source, infos, self._layers)
            first = self._first or (source, chosen)
            held = matched(source, chosen, *first)
            arrays = opened.read(chosen)
            self._first, remarks = first, opened.remarks
        self._remarks.update(dict.fromkeys(remarks))
        names = {
            name: stored_name
            for info, stored in zip(chosen, held, strict=True)
            for name, stored_name in ((info.kernel, stored.kernel), (info.bias, stored.bias))
            if name and stored_name
        }
        return {stored_name: arrays[name] for name, stored_name in names.items()}

    def _store(self, snapshot: Snapshot, source: Source) -> None:
        if self._run is None or self._summaries is None:
            _, layers = self._first or (source, ())
            images = [info.name for info in self._options.image_layers(layers)]
            software = {"filtertrack": __version__, "imported": _kind_of(source)}
            self._run = Run.create(self._folder, layers, software)
            self._summaries = Summaries(
                self._run, _DRAWN, images=images, histograms=self._options.histograms
            )
        self._run.append(snapshot)
        self._summaries.add(snapshot)

    def finish(self) -> Imported:
        """Draw the evolution for TensorBoard, and return the run."""
        if self._run is None or self._summaries is None:
            reasons = [f"{name}: {reason}" for name, reason in self._unreadable.items()]
            if not reasons:
                raise FiltertrackError("sources: there are none; give at least one model or file")
            among = f"none of {len(reasons)} files can be imported: " if len(reasons) > 1 else ""
            raise FiltertrackError(f"{among}{listed(reasons, 3)}")
        self._summaries.add_evolution(self._run)
        self._summaries.finish()
        return Imported(self._run, self._unreadable, tuple(self._remarks))


def _kind_of(source: Source) -> str:
    """Return what a run is made of, for its manifest."""
    if not source.is_file:
        return "models or arrays"
    return f"{Path(source.source).suffix.removeprefix('.') or 'checkpoint'} files"


def _time_of(source: Source) -> float:
    """Return the time at which a file was written; now for a model."""
    if source.is_file:
        with suppress(OSError):
            return Path(source.source).stat().st_mtime
        with suppress(OSError):  # the prefix of a TensorFlow checkpoint
            return Path(f"{os.fspath(source.source)}.index").stat().st_mtime
    return time.time()
