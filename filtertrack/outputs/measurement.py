"""Measure the filters of a run: the public function ``measure`` and its tables."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError, counted, listed, size_text
from filtertrack.measures import LABELS, finite_mean
from filtertrack.measures.limits import too_large_for
from filtertrack.outputs.response_measures import ResponseReader, response_means
from filtertrack.outputs.run_selection import (
    RunLike,
    RunSelection,
    Steps,
    read_kernels,
    select_from_run,
    skip_damaged,
)
from filtertrack.render.cells import to_channels, view_of
from filtertrack.response import ProbedLayer
from filtertrack.snapshot import LayerInfo, Moment
from filtertrack.storage.run import Run, shorten

Table = dict[str, np.ndarray]
"""Columns of one length, by name: an argument for ``pandas.DataFrame``."""

_MOST_MEMORY = 2e9
_ROW_BYTES, _RESPONSE_BYTES = 290, 40
"""Memory of the measures of a filter at one snapshot, and of those of its responses."""
_MOST_WEIGHTS = 1 << 24
"""Weights of a filter, at most: several copies of one are in memory at a time."""

_log = logging.getLogger("filtertrack")


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredLayer:
    """The measures of one layer at each snapshot.

    Attributes:
        info: The layer.
        steps: The step of each snapshot, ascending.
        filters: Measures of each filter: arrays of shape ``(snapshots, filters)`` by name.
        whole: Measures of the layer as a whole: arrays of shape ``(snapshots,)`` by name.
        formed: The step at which each filter had formed: ``(filters,)``, NaN where it has not.
        half_formed: The step by which half of the filters had formed; NaN where they have not.
        mostly_formed: The step by which nine in ten had formed; NaN where they have not.
        at_rest: The step after which the layer hardly changes; NaN where it still does.
        too_large_for: Names of measures that were left out since the layer is too large; they are
            NaN.
        probed: What was read of the layer when the model was shown the run's probes; None if
            nothing was.
        answers_from: The step from which on each filter answers to at least one probe at every
            snapshot with responses: ``(filters,)``, NaN where it does not at the end, or where that
            is not known; None if the run has no probes.
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
    probed: ProbedLayer | None = None
    answers_from: np.ndarray | None = None

    def __repr__(self) -> str:
        """Return the layer's name, its filters and the number of snapshots."""
        filters, snapshots = self.info.filters, counted(len(self.steps), "snapshots")
        return f"MeasuredLayer({self.info.name}: {counted(filters, 'filters')}, {snapshots})"

    def place(self, step: int | None) -> int:
        """Return the index of the snapshot at a step; None for the last.

        Raises:
            FiltertrackError: If that step was not measured.
        """
        if step is None:
            return len(self.steps) - 1
        if step not in self.steps:
            raise FiltertrackError(
                f"step {step} is not measured; expected one of {shorten(self.steps)}"
            )
        return self.steps.index(step)

    def rows(self, indices: Sequence[int]) -> Table:
        """Return a row a filter at each of some snapshots, given by their indices."""
        count = self.info.filters
        steps = np.array([self.steps[index] for index in indices], np.int64)
        since = {"formed": self.formed}
        if self.answers_from is not None:
            since["answers_from"] = self.answers_from
        return {
            "layer": np.full(count * len(indices), self.info.name),
            "step": np.repeat(steps, count),
            "filter": np.tile(np.arange(count), len(indices)),
            **{name: values[list(indices)].ravel() for name, values in self.filters.items()},
            **{name: np.tile(values, len(indices)) for name, values in since.items()},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """The measures of a run, as tables for ``pandas.DataFrame``.

    Attributes:
        run: The run.
        moments: The moment of each snapshot.
        layers: The measures of each layer, by its name.
        probe_count: The number of the run's probes; 0 if it has none, or if their file is damaged.
            With probes, there are measures of what filters answered to: ``silent``,
            ``lifetime_sparsity``, ``class_selectivity`` and ``preferred_class`` of each filter,
            ``silent_share`` and means of each layer. They are NaN where responses were not
            recorded, are damaged, or may be negative.

    Example:
        >>> measured = measure("tests/golden/run-v1")
        >>> table = measured.filters()  # a row a filter, at the last step
        >>> table["filter"].tolist()[-2:], table["label"].tolist()[-2:]
        ([4, 5], ['unknown', 'unknown'])
        >>> measured.layers["conv1"].whole["drift"].round(2).tolist()  # at each snapshot
        [0.0, 1.08, 0.97]
    """

    run: Run
    moments: tuple[Moment, ...]
    layers: Mapping[str, MeasuredLayer]
    probe_count: int = 0

    def __repr__(self) -> str:
        """Return the run's folder, the number of snapshots and the layers."""
        snapshots = counted(len(self.moments), "snapshots")
        return f"Measurement({str(self.run.path)!r}: {snapshots} of {listed(list(self.layers))})"

    def _repr_html_(self) -> str:
        """Return sentences and tables for a notebook, as ``filtertrack measure`` prints them."""
        from filtertrack.web.measurement_html import html_of  # noqa: PLC0415 - it imports this

        return html_of(self)

    def filters(self, step: int | None = None) -> Table:
        """Return a row a filter, at one step.

        Args:
            step: The step; None for the last.

        Returns:
            Columns by name: ``layer``, ``step``, ``filter``, the measures, and ``formed``, the step
            at which the filter had formed; of a run with probes also ``answers_from``, the step
            from which on it answers to at least one probe.

        Raises:
            FiltertrackError: If that step was not measured.
        """
        return _stacked([layer.rows([layer.place(step)]) for layer in self.layers.values()])

    def history(self) -> Table:
        """Return a row a filter and step: the table of ``filters`` at every step."""
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
    """Measure a run's filters: what they show, when they formed, which repeat, what they answer to.

    Drift and change are measured from the run's first snapshot. A snapshot with damaged kernels is
    left out, and the measures of damaged responses are NaN, with a warning in the log. Four
    snapshots of one layer's weights are in memory at a time, and less than 1 GB besides; the tables
    grow with snapshots and filters. Measures of a very large layer that would take more, or minutes
    a snapshot, are left out: see ``MeasuredLayer.too_large_for``.

    Args:
        run: A run or its folder.
        layers: Layers, by names or patterns; None for all.
        steps: Numbers of snapshots, each of which must exist, and ranges, which select the
            snapshots inside them. None for all. The steps at which filters formed are among those
            that are measured.
        progress: Called with the number of snapshots measured and of all, summed over the layers.
            If a damaged snapshot is found meanwhile, measuring starts again without it.

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
    """Measure the layers and steps of a selection: see ``measure``."""
    responses = ResponseReader(selection.runs[0])
    _check_size(selection, _ROW_BYTES + (_RESPONSE_BYTES if responses.recorded else 0))
    measured = skip_damaged(selection, lambda readable: _measured(readable, responses, progress))
    responses.warn()
    return measured


def _measured(
    selection: RunSelection,
    responses: ResponseReader,
    progress: Callable[[int, int], None] | None,
) -> Measurement:
    run = selection.runs[0]
    total = len(selection.layers) * len(selection.steps)
    layers = {}
    for number, name in enumerate(selection.layers):
        before = number * len(selection.steps)

        def report(done: int, before: int = before) -> None:
            if progress:
                progress(before + done, total)

        layers[name] = _measured_layer(run, name, selection.moments[0], responses, report)
    probes = responses.probes
    return Measurement(
        run, selection.moments[0], MappingProxyType(layers), probes.count if probes else 0
    )


def _check_size(selection: RunSelection, row_bytes: int) -> None:
    """Refuse tables that would take too much memory, and filters that are too large."""
    infos = [selection.runs[0].layer(name) for name in selection.layers]
    filters, snapshots = sum(info.filters for info in infos), len(selection.steps)
    memory = filters * snapshots * row_bytes
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
    run: Run,
    name: str,
    moments: Sequence[Moment],
    responses: ResponseReader,
    report: Callable[[int], None],
) -> MeasuredLayer:
    info = run.layer(name)
    steps = tuple(moment.step for moment in moments)
    view = view_of(info)
    start = to_channels(view, _start(run, name, steps))
    end = to_channels(view, read_kernels(run, name, steps[-1]))
    left_out = too_large_for(start.shape)
    if left_out:
        _log.warning("layer %s is too large to measure its %s", name, ", ".join(left_out))
    before: np.ndarray | None = None
    columns: Table = {}
    whole, rotations_to_end = [], []
    for index, moment in enumerate(moments):
        now = to_channels(view, read_kernels(run, name, moment.step))
        of_filters, of_layer = measure_snapshot(now, start, before, rgb=view.coloured)
        if responses.recorded:
            of_responses = responses.columns(name, moment)
            of_filters |= of_responses
            of_layer |= response_means(of_responses)
        for key, values in of_filters.items():
            if not index:
                columns[key] = np.empty((len(steps), len(values)), values.dtype)
            columns[key][index] = values
        whole.append(of_layer)
        rotations_to_end.append(measures.rotation(now, end))
        before = now
        report(index + 1)
    formed = measures.formed_at(columns["structured"], steps)
    return MeasuredLayer(
        info,
        steps,
        MappingProxyType(columns),
        MappingProxyType({key: np.array([each[key] for each in whole]) for key in whole[0]}),
        formed,
        measures.formed_by(formed, 0.5),
        measures.formed_by(formed, 0.9),
        measures.settled_at(np.array(rotations_to_end), steps),
        left_out,
        responses.probes.layers.get(name) if responses.probes else None,
        measures.answers_from(columns["silent"], steps) if responses.recorded else None,
    )


def _start(run: Run, name: str, steps: Sequence[int]) -> np.ndarray:
    """Return the kernels of the run's first step; if these are damaged, of the first selected."""
    first = run.steps[0]
    if first != steps[0]:
        try:
            return run.kernels(name, first)
        except FiltertrackError as error:
            _log.warning("drift is counted from step %d: %s", steps[0], error)
    return read_kernels(run, name, steps[0])


def measure_snapshot(
    kernels: np.ndarray, start: np.ndarray, before: np.ndarray | None, *, rgb: bool = True
) -> tuple[Table, dict[str, float]]:
    """Compute every measure of a layer at one snapshot.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The kernels before training, in the same shape.
        before: The kernels at the snapshot before; None at the first.
        rgb: Whether three channels are red, green and blue.

    Returns:
        Measures of each filter, arrays of shape ``(filters,)`` by name; and of the layer as a
        whole, numbers by name.
    """
    moved = measures.movement_since(kernels, start)
    compared = measures.compare_filters(kernels)
    filters = _measure_filters(kernels, start, before, moved, compared.twins, rgb=rgb)
    return filters, _measure_layer(kernels, moved.rotation, compared.orthogonality, filters)


def _measure_filters(
    kernels: np.ndarray,
    start: np.ndarray,
    before: np.ndarray | None,
    moved: measures.Movement,
    twins: measures.Twins,
    *,
    rgb: bool,
) -> Table:
    """Return every measure of each filter, in the order of the table's columns."""
    compacted = measures.compact(kernels)
    labels = measures.label(kernels, rgb=rgb, compacted=compacted)
    tuned = measures.orientation(compacted)
    gabor, blob, grating = labels.fits.gabor, labels.fits.blob, labels.fits.grating
    return {
        "label": labels.names,
        "structured": labels.structured,
        "norm": moved.norm,
        "drift": moved.drift,
        "unmoved": moved.drift <= measures.UNMOVED,
        "change": measures.relative_change(kernels, start),
        "step_size": (
            np.full(len(kernels), np.nan)
            if before is None
            else measures.relative_change(kernels, before)
        ),
        "roughness": labels.structure.ratio,
        "p_value": labels.structure.p_value,
        **_fit_columns("gabor", gabor),
        **_fit_columns("blob", blob),
        "fit_p_value": labels.fits.p_value,
        **_fit_columns("grating", grating),
        "grating_p_value": labels.fits.grating_p_value,
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


def _fit_columns(name: str, fit: measures.Fit) -> Table:
    """Return the columns of one family of templates; large layers fit into a gigabyte."""
    values = {"": fit.r2, "_chance": fit.chance, "_excess": fit.excess}
    return {f"{name}{suffix}": column.astype(np.float32) for suffix, column in values.items()}


def _measure_layer(
    kernels: np.ndarray, rotation: float, orthogonality: float, filters: Table
) -> dict[str, float]:
    """Return every measure of the layer as a whole: means and counts over filters, and its own."""
    _, height, width, channels = kernels.shape
    slices = len(kernels) * channels
    counts: dict[str, float] = {name: float((filters["label"] == name).sum()) for name in LABELS}
    whole = {
        "structured": finite_mean(filters["structured"]),
        **counts,
        "norm": finite_mean(filters["norm"]),
        "drift": finite_mean(filters["drift"]),
        "rotation": rotation,
        "step_size": finite_mean(filters["step_size"]),
        "roughness": finite_mean(filters["roughness"]),
        "sparsity": measures.sparsity(kernels),
        "variance_entropy": measures.variance_entropy(kernels),
        "entropy_threshold": measures.entropy_threshold(slices, height, width),
        "orthogonality": orthogonality,
        "effective_rank": measures.effective_rank(kernels),
        "unmoved": float(filters["unmoved"].sum()),
        "repeated": float(filters["repeated"].sum()),
        "near_zero": float(filters["near_zero"].sum()),
    }
    return whole | {name: math.nan for name in too_large_for(kernels.shape) if name in whole}


def _stacked(tables: Sequence[Table]) -> Table:
    """Return the rows of several tables in one."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
