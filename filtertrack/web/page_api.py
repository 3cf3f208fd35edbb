"""Answers to the page in JSON: its settings; layers, steps, orders, measures and labels of a run.

Those about probes, the open filter and metrics, and cells, are in ``probe_answers.py``,
``filter_answers.py``, ``metric_curves.py`` and ``payload.py``.

``http_api.md`` lists the routes over which TensorBoard serves these answers.
"""

from typing import Literal, NotRequired, TypeAlias, TypedDict, cast

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError
from filtertrack.outputs.picture_parts import is_small, start_is_strong
from filtertrack.outputs.run_selection import default_layer
from filtertrack.render.cells import Kind, explain, to_channels, view_of
from filtertrack.render.encoders.formats import ANIMATION_FORMATS
from filtertrack.render.filter_order import arrange
from filtertrack.render.layer_look import FULL_COLOUR, NOTICEABLE
from filtertrack.render.look import DIVERGING, GREY, LOOK_OPTIONS, ORDERS, STRONGEST, Order
from filtertrack.render.palette import NOT_FINITE_RGB, OUTLINED, THEMES, Rgb, colormap_levels
from filtertrack.snapshot import LayerInfo, total_bytes
from filtertrack.storage.run import Run
from filtertrack.web.payload import (
    MOST_ACROSS,
    filters_per_page,
    finite,
    first_readable,
    is_cut,
    read_first,
)

DIVERGING_COLORMAPS = (DIVERGING, "PuOr_r")
"""The colormaps for ranges with zero in their middle."""

COLORMAPS = (GREY, "viridis", "cividis", "magma", *DIVERGING_COLORMAPS)
"""The colormaps that the page offers, all safe for the colour-blind."""

CurveName: TypeAlias = Literal["norm", "drift", "roughness"]
"""A measure of one filter over training."""

_MOST_READ = 256 << 20
"""Bytes read to measure one filter over training, unless the fewest snapshots have more."""
_MOST_MEASURED, _FEWEST_MEASURED = 500, 8
"""Snapshots at which one filter is measured."""
_MOST_LABELLED = 1 << 18
"""Pixels of all filters of a layer that are labelled together, at most: about two seconds."""


class OptionSettings(TypedDict):
    """One option of ``Look``: its default and, if its values are few, all of them."""

    default: object
    choices: list[str]


class DefaultColormaps(TypedDict):
    """The colormaps of layers with one value a weight, where none is chosen."""

    filters: str
    learned: str


class PageSettings(TypedDict):
    """What the page needs to know before it shows a run.

    Attributes:
        look: The options of ``Look`` by name; of the colormaps those that the page offers.
        colormaps: Of each part of a picture: the filters, and their difference from the start. Maps
            of responses that are never negative have that of the filters, others that of the
            difference.
        diverging: The colormaps for ranges with zero in their middle.
        noticeable: Change of a weight that is drawn, at least, as a share of its filter's largest
            weight at the start.
        full_colour: Change that has the full colour, at least, in noticeable changes.
        formats: File name endings of the animations that can be saved; empty if none can.
        not_finite: The colour of NaN and infinity, as RGB.
        separators: Theme to the colour between cells, as RGB.
        outlines: Theme to the colour of each label that is outlined, as RGB, in the order of the
            legend.
    """

    look: dict[str, OptionSettings]
    colormaps: DefaultColormaps
    diverging: list[str]
    noticeable: float
    full_colour: float
    formats: list[str]
    not_finite: Rgb
    separators: dict[str, Rgb]
    outlines: dict[str, dict[str, Rgb]]


class RunList(TypedDict):
    """The runs below the log folders, and what could not be searched.

    Attributes:
        runs: Their names.
        notes: What could not be searched, and why.
        root: The name of the run that the log folder itself is, or empty. Links of earlier versions
            name it ``.``.
    """

    runs: list[str]
    notes: list[str]
    root: str


class LayerSummary(TypedDict):
    """One layer of a run.

    Attributes:
        name: Its name.
        shape: Filters, height, width and input channels.
        kind: How it is drawn by default: see ``cells.View``.
        slices: Slices of a 3-D kernel side by side in a cell.
        repeated: How often the row or column of a strip is repeated: see ``cells.View``.
        page_size: Filters shown at a time, at most.
        cut_channels: Input channels that are shown, if not all; else None.
        about: How it is drawn, in words.
        channels: The choices of input channels, where not all are possible, as in an HTML file.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    slices: int
    repeated: int
    page_size: int
    cut_channels: int | None
    about: str
    channels: NotRequired[list[str]]


class RunSummary(TypedDict):
    """A run's layers, and the name of the one to show first."""

    layers: list[LayerSummary]
    default_layer: str


class DefaultParts(TypedDict):
    """What a picture of a layer shows beside the filters, where it is not chosen.

    Attributes:
        learned: Whether their difference from the start is shown.
    """

    learned: bool


class StepList(TypedDict):
    """A run's steps; only ``version`` if that is already known to the page.

    Attributes:
        version: Changes whenever a snapshot is added, replaced or deleted.
        made: Identifies the run itself: changes when it is deleted and created again.
        steps: Of all snapshots, ascending.
        stamps: For each step a number that changes when its file is replaced.
    """

    version: str
    made: NotRequired[int]
    steps: NotRequired[list[int]]
    stamps: NotRequired[list[int]]


class FilterNumbers(TypedDict):
    """Numbers of a layer's filters in an order."""

    numbers: list[int]


class FilterTrajectory(TypedDict):
    """Measures of one filter over training, a value a step; None where not finite."""

    steps: list[int]
    norm: list[float | None]
    drift: list[float | None]
    roughness: list[float | None]


class FilterLabel(TypedDict):
    """The label of one filter and its evidence; None where not finite.

    Attributes:
        label: One of ``measures.LABELS``.
        roughness: Of the filter; 1 is noise.
        chance: p-value of that roughness.
        gabor: How much better than chance the best Gabor function fits: 0 is chance, 1 perfect; as
            ``gabor_excess`` of ``measure``.
        blob: The same for the best blob.
        grating: The same for the best fine grating.
    """

    label: str
    roughness: float | None
    chance: float | None
    gabor: float | None
    blob: float | None
    grating: float | None


class LayerLabels(TypedDict):
    """The labels of all filters of a layer at a step.

    Attributes:
        step: Of the snapshot.
        names: One of ``measures.LABELS`` for each filter; None for a layer that is too large.
    """

    step: int
    names: list[str] | None


def page_settings() -> PageSettings:
    """Return the options, colours and file formats that the page offers."""
    look: dict[str, OptionSettings] = {
        option.name: {"default": option.default, "choices": list(option.choices)}
        for option in LOOK_OPTIONS
    }
    look["colormap"]["choices"] = list(COLORMAPS)
    endings: dict[str, str] = {}
    for ending, form in ANIMATION_FORMATS.items():
        if form.is_available:
            endings.setdefault(form.mime, ending)  # .apng is another ending of .png
    return {
        "look": look,
        "colormaps": {"filters": GREY, "learned": DIVERGING},
        "diverging": list(DIVERGING_COLORMAPS),
        "noticeable": NOTICEABLE,
        "full_colour": FULL_COLOUR,
        "formats": list(endings.values()),
        "not_finite": NOT_FINITE_RGB,
        "separators": {name: theme.separator for name, theme in THEMES.items()},
        "outlines": {
            name: dict(zip(OUTLINED, theme.outlines, strict=True)) for name, theme in THEMES.items()
        },
    }


def colormap_bytes(name: str) -> bytes:
    """Return a colormap's colours from dark to light, three bytes each."""
    if name not in COLORMAPS:
        raise FiltertrackError(f"colormap: expected one of {', '.join(COLORMAPS)}, got {name!r}")
    return colormap_levels(name).tobytes()


def describe_run(run: Run) -> RunSummary:
    """Return a run's layers."""
    layers = [_describe_layer(info) for info in run.layers.values()]
    return {"layers": layers, "default_layer": default_layer(run)}


def _describe_layer(info: LayerInfo) -> LayerSummary:
    view = view_of(info, curves=False)
    return {
        "name": info.name,
        "shape": info.shape,
        "kind": view.kind,
        "slices": view.slices,
        "repeated": 1 if view.kind == "matrix" else view_of(info, STRONGEST).repeated,
        "page_size": filters_per_page(info),
        "cut_channels": MOST_ACROSS if is_cut(info, view) else None,
        "about": explain(info),
    }


def default_parts(run: Run, info: LayerInfo) -> DefaultParts:
    """Return what a picture of a layer shows by default: see ``picture_parts.parts_of``.

    The start is the first readable snapshot, and the end the last one. Where no snapshot can be
    read, only the filters are shown.
    """
    if is_small(info):
        return {"learned": True}
    steps = run.steps
    try:
        start, end = (read_first(run, info, each) for each in (steps, steps[::-1]))
    except FiltertrackError:  # the page shows the reason at each step
        return {"learned": False}
    return {"learned": start_is_strong(start, end)}


def describe_steps(run: Run, known: str = "") -> StepList:
    """Return a run's steps.

    Args:
        run: The run.
        known: The ``version`` of an earlier answer; if it is still current, only that is returned.
    """
    version = run.version()
    if version == known:
        return {"version": version}
    stamps = run.stamps()
    return {
        "version": version,
        "made": run.made(),
        "steps": list(stamps),
        "stamps": list(stamps.values()),
    }


def order_of_filters(run: Run, info: LayerInfo, order: str) -> FilterNumbers:
    """Return the filters' numbers in an order, as of the last readable snapshot."""
    orders: dict[str, Order] = {name: name for name in ORDERS}
    if order not in orders:
        raise FiltertrackError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")
    view = view_of(info, curves=False)
    steps = run.steps
    start = to_channels(view, read_first(run, info, steps))
    end = to_channels(view, read_first(run, info, steps[::-1]))
    return {"numbers": arrange(orders[order], start, end, rgb=view.coloured).tolist()}


def trajectory_of_filter(run: Run, info: LayerInfo, number: int) -> FilterTrajectory:
    """Return one filter's norm, drift and roughness at evenly spaced snapshots.

    Drift is from the first readable snapshot. Damaged snapshots are left out.
    """
    view = view_of(info, curves=False)
    steps = run.steps
    one = slice(number, number + 1)
    start = to_channels(view, read_first(run, info, steps)[one])
    most = _MOST_READ // max(total_bytes([info]), 1)
    most = min(_MOST_MEASURED, max(_FEWEST_MEASURED, most))
    chosen = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)
    found: FilterTrajectory = {"steps": [], "norm": [], "drift": [], "roughness": []}
    for index in np.unique(chosen):
        try:
            now = to_channels(view, run.kernels(info.name, steps[index])[one])
        except FiltertrackError:
            continue
        found["steps"].append(steps[index])
        for name, values in measures_of_filters(now, start).items():
            found[name].append(finite(values[0]))
    return found


def measures_of_filters(kernels: np.ndarray, start: np.ndarray) -> dict[CurveName, np.ndarray]:
    """Return the measures of filters over training, by the names in ``FilterTrajectory``.

    Args:
        kernels: The filters at a step, as ``to_channels`` returns them.
        start: The same filters at the start.
    """
    return {
        "norm": measures.norm(kernels),
        "drift": measures.drift(kernels, start),
        "roughness": measures.roughness(kernels),
    }


def label_of_filter(run: Run, info: LayerInfo, number: int, step: int) -> FilterLabel:
    """Return one filter's label at a step, and the evidence for it."""
    view = view_of(info, curves=False)
    kernels = to_channels(view, run.kernels(info.name, step)[number : number + 1])
    found = measures.label(kernels, rgb=view.coloured)
    evidence = {name: finite(values[0]) for name, values in evidence_of(found).items()}
    return cast("FilterLabel", {"label": str(found.names[0]), **evidence})


def labels_of_filters(run: Run, info: LayerInfo, step: int | None = None) -> LayerLabels:
    """Return the labels of all filters of a layer at a step; by default the last readable one."""
    view = view_of(info, curves=False)
    if step is None:
        step, kernels = first_readable(run, info, run.steps[::-1])
    else:
        kernels = run.kernels(info.name, step)
    filters, height, width, _ = info.shape
    if filters * height * width > _MOST_LABELLED:
        return {"step": step, "names": None}
    names = measures.label(to_channels(view, kernels), rgb=view.coloured).names
    return {"step": step, "names": names.tolist()}


def evidence_of(labels: measures.Labels) -> dict[str, np.ndarray]:
    """Return the evidence for labels, by the names of the fields of ``FilterLabel``."""
    return {
        "roughness": labels.structure.ratio,
        "chance": labels.structure.p_value,
        "gabor": labels.fits.gabor.excess,
        "blob": labels.fits.blob.excess,
        "grating": labels.fits.grating.excess,
    }
