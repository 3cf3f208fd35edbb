"""A run in numbers: what its filters have become, and when."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError, counted
from filtertrack.measures import LABELS, finite_mean
from filtertrack.measures.limits import too_large_for
from filtertrack.outputs.run_selection import RunLike, RunSelection, Steps, select_from_run
from filtertrack.render.cells import to_channels, view_of
from filtertrack.snapshot import LayerInfo, Moment
from filtertrack.storage.memory_limit import size_text
from filtertrack.storage.run import Run, shorten

Table = dict[str, np.ndarray]
"""Columns of one length, by name: what ``pandas.DataFrame`` takes as it is."""

_MOST_MEMORY = 2e9
_ROW = 260
"""Bytes of a filter's measures at one snapshot."""
_MOST_WEIGHTS = 1 << 24
"""Weights of a filter: some copies of one are in memory at a time."""

_log = logging.getLogger("filtertrack")


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredLayer:
    """What was measured of one layer, at each snapshot.

    Attributes:
        info: The layer.
        steps: Each snapshot's step, ascending.
        filters: Of each filter: arrays of shape ``(snapshots, filters)`` by name.
        whole: Of the layer as a whole: arrays of shape ``(snapshots,)`` by name.
        formed: The step at which each filter had formed: ``(filters,)``, NaN where it has not.
        half_formed: The step by which half of the filters had formed; NaN where they have not.
        mostly_formed: The step by which nine in ten had.
        at_rest: The step after which the layer hardly moves; NaN where it still does.
        too_large_for: What could not be measured of so large a layer, by its name; NaN there.
    """

    info: LayerInfo
    steps: tuple[int, ...]
    filters: Mapping[str, np.ndarray]
    whole: Mapping[str, np.ndarray]
    formed: np.ndarray
    half_formed: float
    mostly_formed: float
    at_rest: float
    too_large_for: tuple[str, ...] = ()

    def place(self, step: int | None) -> int:
        """Return the number of the snapshot at a step; None for the last."""
        if step is None:
            return len(self.steps) - 1
        if step not in self.steps:
            raise FiltertrackError(
                f"step {step} is not measured; expected one of {shorten(self.steps)}"
            )
        return self.steps.index(step)

    def rows(self, places: Sequence[int]) -> Table:
        """Return a row a filter at each of some snapshots."""
        count = self.info.filters
        steps = np.array([self.steps[place] for place in places], np.int64)
        return {
            "layer": np.full(count * len(places), self.info.name),
            "step": np.repeat(steps, count),
            "filter": np.tile(np.arange(count), len(places)),
            **{name: values[list(places)].ravel() for name, values in self.filters.items()},
            "formed": np.tile(self.formed, len(places)),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """A run in numbers. Every table goes into ``pandas.DataFrame`` as it is.

    Attributes:
        run: The run.
        moments: When each snapshot was taken.
        layers: What was measured of each layer, by its name.

    Example:
        >>> measured = measure("tests/golden/run-v1")
        >>> table = measured.filters()  # a row a filter, as it is at the end
        >>> table["filter"].tolist()[-2:], table["label"].tolist()[-2:]
        ([4, 5], ['unknown', 'unknown'])
        >>> measured.layers["conv1"].whole["drift"].round(2).tolist()  # at each snapshot
        [0.0, 1.08, 0.97]
    """

    run: Run
    moments: tuple[Moment, ...]
    layers: Mapping[str, MeasuredLayer]

    def filters(self, step: int | None = None) -> Table:
        """Return a row a filter, at one step.

        Args:
            step: Which; None for the last.

        Returns:
            Columns by name: ``layer``, ``step``, ``filter``, then the measures, and the step at
            which it had ``formed``.

        Raises:
            FiltertrackError: If that step was not measured.
        """
        return _stacked([layer.rows([layer.place(step)]) for layer in self.layers.values()])

    def history(self) -> Table:
        """Return a row a filter and step: like ``filters``, at every step."""
        return _stacked([layer.rows(range(len(layer.steps))) for layer in self.layers.values()])

    def trajectories(self) -> Table:
        """Return a row a layer and step: the measures of the layer as a whole."""
        return _stacked(
            [
                {
                    "layer": np.full(len(layer.steps), layer.info.name),
                    "step": np.array(layer.steps, np.int64),
                    **layer.whole,
                }
                for layer in self.layers.values()
            ]
        )


def measure(
    run: RunLike,
    *,
    layers: str | Sequence[str] | None = None,
    steps: Steps | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    """Measure a run's filters at its snapshots: what they are, when they formed, which repeat.

    Drift and change are counted from the run's first snapshot. A damaged snapshot is left out, with
    a warning in the log. Four snapshots of one layer's weights are in memory at a time, and less
    than 1 GB beside them; the tables grow with snapshots and filters. What would take more, or
    minutes a snapshot, of a very large layer is left out: see ``MeasuredLayer.too_large_for``.

    Args:
        run: A run or its folder.
        layers: Which layers, by names or patterns; None for all.
        steps: Which snapshots: numbers, which have to be there, and ranges, which mean those of
            their numbers that are. None for all. What is said of when filters formed is no finer
            than the steps that are measured.
        progress: Called with the snapshots measured and those there are, of all layers.

    Returns:
        The measures, as tables.

    Raises:
        FiltertrackError: If there is no run, no such layer or step, or no snapshot, or if the
            tables would take more than 2 GB.

    Example:
        >>> import pandas  # doctest: +SKIP
        >>> pandas.DataFrame(measure("runs/demo").filters())  # doctest: +SKIP
    """
    selection = select_from_run(run, layers="*" if layers is None else layers, steps=steps)
    return measure_selection(selection, progress)


def measure_selection(
    selection: RunSelection, progress: Callable[[int, int], None] | None = None
) -> Measurement:
    """Measure what has been chosen: see ``measure``."""
    opened = selection.runs[0]
    _check_size(opened, selection)
    total = len(selection.layers) * len(selection.steps)
    measured = {}
    for number, name in enumerate(selection.layers):
        done = number * len(selection.steps)

        def report(here: int, done: int = done) -> None:
            if progress:
                progress(done + here, total)

        measured[name] = _measured_layer(opened, name, selection.steps, report)
    return Measurement(opened, selection.moments[0], MappingProxyType(measured))


def _check_size(run: Run, selection: RunSelection) -> None:
    """Refuse what would take much more memory than the snapshots themselves."""
    infos = [run.layer(name) for name in selection.layers]
    filters, snapshots = sum(info.filters for info in infos), len(selection.steps)
    memory = filters * snapshots * _ROW
    if memory > _MOST_MEMORY:
        raise FiltertrackError(
            f"the measures of {counted(filters, 'filters')} at {counted(snapshots, 'snapshots')} "
            f"would take about {size_text(memory)} of memory; choose fewer layers or steps"
        )
    for info in infos:
        weights = math.prod(info.shape[1:])
        if weights > _MOST_WEIGHTS:
            raise FiltertrackError(
                f"layer {info.name}: its filters have {weights} weights each, more than the "
                f"{_MOST_WEIGHTS} that can be measured; choose other layers"
            )


def _measured_layer(
    run: Run, name: str, steps: tuple[int, ...], report: Callable[[int], None]
) -> MeasuredLayer:
    info = run.layer(name)
    view = view_of(info)
    start = to_channels(view, _start(run, name, steps))
    end = to_channels(view, run.kernels(name, steps[-1]))
    left_out = too_large_for(start.shape)
    if left_out:
        _log.warning("layer %s is too large to measure its %s", name, ", ".join(left_out))
    before: np.ndarray | None = None
    columns: Table = {}
    whole, to_the_end = [], []
    for done, kernels in enumerate(run.history(name, steps)):
        now = to_channels(view, kernels)
        of_filters, of_layer = measure_snapshot(now, start, before, rgb=view.coloured)
        for key, values in of_filters.items():
            if not done:
                columns[key] = np.empty((len(steps), len(values)), values.dtype)
            columns[key][done] = values
        whole.append(of_layer)
        to_the_end.append(measures.rotation(now, end))
        before = now
        report(done + 1)
    formed = measures.formed_at(columns["structured"], steps)
    return MeasuredLayer(
        info,
        steps,
        MappingProxyType(columns),
        MappingProxyType({key: np.array([each[key] for each in whole]) for key in whole[0]}),
        formed,
        measures.formed_by(formed, 0.5),
        measures.formed_by(formed, 0.9),
        measures.settled_at(np.array(to_the_end), steps),
        left_out,
    )


def _start(run: Run, name: str, steps: Sequence[int]) -> np.ndarray:
    """Return a layer as it was before training; where that is damaged, as it is first."""
    first = run.steps[0]
    try:
        return run.kernels(name, first)
    except FiltertrackError as error:
        _log.warning("drift is counted from step %d: %s", steps[0], error)
        return run.kernels(name, steps[0])


def measure_snapshot(
    kernels: np.ndarray, start: np.ndarray, before: np.ndarray | None, *, rgb: bool = True
) -> tuple[Table, dict[str, float]]:
    """Take every measure of a layer at one snapshot.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same before training.
        before: The same at the snapshot before; None where there is none.
        rgb: Whether three channels are red, green and blue.

    Returns:
        Of each filter, arrays of shape ``(filters,)`` by name; and of the layer as a whole, numbers
        by name.
    """
    filters = _measure_filters(kernels, start, before, rgb=rgb)
    return filters, _measure_layer(kernels, start, filters)


def _measure_filters(
    kernels: np.ndarray, start: np.ndarray, before: np.ndarray | None, *, rgb: bool
) -> Table:
    """Return every measure of each filter, in the order in which they are shown."""
    twins = measures.twins(kernels)
    labels = measures.label(kernels, rgb=rgb)
    tuned = measures.orientation(kernels)
    gabor, blob = labels.fits.gabor, labels.fits.blob
    drift = measures.drift(kernels, start)
    return {
        "label": labels.names,
        "structured": labels.structured,
        "norm": measures.norm(kernels),
        "drift": drift,
        "unmoved": drift <= measures.UNMOVED,
        "change": measures.relative_change(kernels, start),
        "step_size": (
            np.full(len(kernels), np.nan)
            if before is None
            else measures.relative_change(kernels, before)
        ),
        "roughness": labels.structure.ratio,
        "p_value": labels.structure.p_value,
        "gabor": gabor.r2,
        "gabor_chance": gabor.chance,
        "gabor_excess": gabor.excess,
        "blob": blob.r2,
        "blob_chance": blob.chance,
        "blob_excess": blob.excess,
        "fit_p_value": labels.fits.p_value,
        "degrees": tuned.degrees,
        "selectivity": tuned.selectivity,
        "frequency": tuned.frequency,
        "blob_width": blob.size,
        "colour": labels.colour,
        "flat": labels.flat,
        "near_zero": measures.near_zero(kernels),
        "twin": twins.number,
        "twin_cosine": twins.cosine,
        "repeated": twins.repeated,
    }


def _measure_layer(kernels: np.ndarray, start: np.ndarray, filters: Table) -> dict[str, float]:
    """Return every measure of the layer as a whole: means of its filters', counts, its own."""
    _, height, width, channels = kernels.shape
    slices = len(kernels) * channels
    counts: dict[str, float] = {name: float((filters["label"] == name).sum()) for name in LABELS}
    whole = {
        "structured": finite_mean(filters["structured"]),
        **counts,
        "norm": finite_mean(filters["norm"]),
        "drift": finite_mean(filters["drift"]),
        "rotation": measures.rotation(kernels, start),
        "step_size": finite_mean(filters["step_size"]),
        "roughness": finite_mean(filters["roughness"]),
        "sparsity": measures.sparsity(kernels),
        "variance_entropy": measures.variance_entropy(kernels),
        "entropy_threshold": measures.entropy_threshold(slices, height, width),
        "orthogonality": measures.orthogonality(kernels),
        "effective_rank": measures.effective_rank(kernels),
        "unmoved": float(filters["unmoved"].sum()),
        "repeated": float(filters["repeated"].sum()),
        "near_zero": float(filters["near_zero"].sum()),
    }
    return whole | {name: math.nan for name in too_large_for(kernels.shape) if name in whole}


def _stacked(tables: Sequence[Table]) -> Table:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
