"""Write a run's TensorBoard summaries: images, scalars, histograms, a table, and animations."""

import io
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from filtertrack import measures
from filtertrack.errors import FiltertrackError
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.filmstrip_picture import FilmstripPicture, card_rows, spread_steps
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.picture_parts import part_of
from filtertrack.outputs.run_selection import RunSelection, select_from_run, skip_damaged
from filtertrack.outputs.timeline import plan
from filtertrack.render.cells import (
    View,
    explain,
    explain_change,
    explain_scale,
    to_cells,
    to_channels,
    view_of,
)
from filtertrack.render.encoders.png import AnimatedPngWriter, to_png
from filtertrack.render.grid import PAGE, draw_pages
from filtertrack.render.layer_look import (
    bar_texts,
    noticeable_change,
    range_of_changes,
    without_small_changes,
)
from filtertrack.render.look import GREY, Look
from filtertrack.render.palette import colormap_levels, theme_palette
from filtertrack.render.scale_bar import draw_scale_bar
from filtertrack.render.text import font_size
from filtertrack.render.value_range import NO_RANGE, ValueRange, range_of_cells
from filtertrack.response import StoredProbes
from filtertrack.snapshot import LayerInfo, Moment, Snapshot, start_text
from filtertrack.storage.run import Run
from filtertrack.tensorboard_plugin.event_files import event_file_in
from filtertrack.tensorboard_plugin.response_summaries import card_bytes, response_values
from filtertrack.tensorboard_plugin.summary_values import (
    histogram_value,
    image_value,
    scalar_value,
    text_value,
)

_log = logging.getLogger("filtertrack")

_CARD = 320
"""Width of the images in pixels. TensorBoard's cards are about 350 pixels wide; a wider image would
be scaled down and lose its lines."""

_MOST_FRAMES, _FEWEST_FRAMES, _ALL_FRAMES = 60, 12, 600
"""Maximum and minimum of the frames of one layer's animation, and their sum over all layers."""
_PACE = Pace(fps=8.0)

_MEASURES = {
    "drift": (
        "Mean over filters of 1 - cos(w, w0): how far each filter has turned away from its start. "
        "0 is the start's direction, 1 at right angles to it."
    ),
    "norm": "Mean over filters of the Euclidean length of a filter's weights.",
    "roughness": (
        "Mean over filters of the squared difference between neighbouring pixels, over that "
        "between any two. 1 is noise; edges and blobs are smooth, well below 1."
    ),
}
_DISTRIBUTIONS = {
    "drift": "How far each filter has turned away from its start: 1 - cos(w, w0).",
    "roughness": "How rough each filter is: 1 is noise, edges and blobs are well below 1.",
}
_BYTES_PER_LAYER, _BYTES_PER_PAGE, _BYTES_PER_VALUE = 3000, 2000, 1.2
"""Size of a snapshot's events, measured on random kernels of 3x3x3x32 to 16x16x3x768."""


class Summaries:
    """Writes the TensorBoard summaries of one run: of each snapshot, and of the whole run.

    Args:
        run: The run; the event file is written to its folder. Drift is measured from the run's
            first snapshot, or from the first one that is added.
        keep: How many of the newest snapshots the run keeps, if it deletes older ones. As nothing
            can be deleted from an event file, only steps that are about evenly spaced on a
            logarithmic scale are drawn then: of n steps about ``keep * (1 + log(n / keep))``.
    """

    def __init__(self, run: Run, keep: int | None = None) -> None:
        self._run = run
        self._layers = list(run.layers.values())
        self._events = event_file_in(run.folder)
        self._keep = keep
        self._last: Moment | None = None
        """The moment of the last snapshot that was drawn."""
        self._skipped: Snapshot | None = None
        """The last snapshot, if it was not drawn."""
        self._start: dict[str, np.ndarray] = {}
        steps = run.steps
        self._first_step = steps[0] if steps else None
        self._noticeable: dict[str, np.ndarray] = {}
        """For each layer the change of each cell that is drawn, at least."""
        if steps:
            with suppress(FiltertrackError):  # damaged: then from the first one that is added
                self._start = {name: run.kernels(name, steps[0]) for name in run.layers}
        self._has_start = bool(self._start) or not steps
        """Whether the start of the run can be read; without it there is no difference from it."""

    def add(self, snapshot: Snapshot) -> None:
        """Write one snapshot's images and measures to the event file.

        A snapshot at or before the last step is ignored: TensorBoard would show both. Responses are
        drawn last: an error in drawing those of a layer is raised when all the others are written.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._last is not None and snapshot.step <= self._last.step:
            return
        if self._is_drawn(snapshot.step):
            self._draw(snapshot)
        else:
            self._skipped = snapshot

    def _is_drawn(self, step: int) -> bool:
        """Whether a step is far enough from the last drawn one on a logarithmic scale."""
        if self._first_step is None:
            self._first_step = step
        if self._keep is None or self._last is None:
            return True
        since_first, last = step - self._first_step, self._last.step - self._first_step
        return since_first >= last * (1 + 1 / self._keep)

    def _draw(self, snapshot: Snapshot) -> None:
        self._skipped = None
        values = [value for info in self._layers for value in self._values(info, snapshot)]
        if not self._events.started:
            self._events.start(snapshot.step)
        if self._last is None:
            values.insert(
                0, text_value("filters_layers", _table(self._layers), "The tracked layers.")
            )
        summary = Summary(value=values)
        moment = snapshot.moment
        self._events.append(Event(step=moment.step, wall_time=moment.wall_time, summary=summary))
        self._last = moment
        self._draw_responses(snapshot)

    def _draw_responses(self, snapshot: Snapshot) -> None:
        """Write the images and measures of the responses of a snapshot, if it has some."""
        probes = self._run.probes if snapshot.responses else None
        if probes is None:
            return
        values: list[Summary.Value] = []
        faults: list[Exception] = []
        for info in self._layers:
            if info.name in probes.layers and info.name in snapshot.responses:
                try:
                    kernels = info.canonical(snapshot.arrays[info.kernel])
                    response = snapshot.responses[info.name]
                    values += response_values(info, probes, kernels, response)
                except Exception as error:  # noqa: BLE001 - raised below
                    faults.append(error)
        moment = snapshot.moment
        summary = Summary(value=values)
        self._events.append(Event(step=moment.step, wall_time=moment.wall_time, summary=summary))
        if faults:
            raise faults[0]

    def add_evolution(self, run: Run) -> None:
        """Write an animation and a filmstrip of the whole run for each layer.

        TensorBoard keeps ten steps of a tag only, but passes an image file to the browser
        unchanged, so an animated PNG can show more.

        A layer that cannot be drawn, such as a too large one, is skipped with a warning.

        Raises:
            OSError: If the file cannot be written.
        """
        steps = run.steps
        if self._last is None or not steps:
            return
        most = max(_FEWEST_FRAMES, min(_MOST_FRAMES, _ALL_FRAMES // len(self._layers)))
        moving = _spread(steps, most)
        still = spread_steps(steps, epochs=self._last.counts_epochs)
        for info in self._layers:
            try:
                selection = select_from_run(
                    run, layers=[info.name], steps=[*moving, *still], least=0
                )
                draw = partial(_evolution, info, moving, still)
                selection, values = skip_damaged(selection, draw)
            except FiltertrackError as error:
                _log.warning("no picture of the evolution of %s: %s", info.name, error)
                continue
            if values:
                step, now = selection.steps[-1], time.time()
                self._events.append(Event(step=step, wall_time=now, summary=Summary(value=values)))

    @property
    def bytes_to_upload(self) -> int:
        """Number of bytes that ``finish`` must upload to object storage."""
        return self._events.bytes_to_upload

    def finish(self) -> None:
        """Draw the last snapshot, if it was not, and store all records.

        On object storage the event file is uploaded now, also if that snapshot cannot be drawn.

        Raises:
            OSError: If they cannot be written.
        """
        try:
            if self._skipped is not None:
                self._draw(self._skipped)
        finally:
            self._events.finish()

    def _values(self, info: LayerInfo, snapshot: Snapshot) -> Iterator[Summary.Value]:
        kernels = info.canonical(snapshot.arrays[info.kernel])
        start = self._start.setdefault(info.name, kernels)
        view = view_of(info, curves=False)
        yield _filters_image(info, view, kernels)
        if self._has_start and snapshot.step != self._first_step and view.kind != "matrix":
            if info.name not in self._noticeable:
                self._noticeable[info.name] = noticeable_change(to_cells(view, start))
            yield _learned_image(info, view, kernels, start, self._noticeable[info.name])
        values = _measure(to_channels(view, kernels), to_channels(view, start))
        for name, about in _MEASURES.items():
            mean = measures.finite_mean(values[name])
            if math.isfinite(mean):
                yield scalar_value(f"filter_measures/{info.name}/{name}", mean, about)
        for name, about in _DISTRIBUTIONS.items():
            finite = values[name][np.isfinite(values[name])]
            if len(finite):
                yield histogram_value(f"filter_distributions/{info.name}/{name}", finite, about)


def _filters_image(info: LayerInfo, view: View, kernels: np.ndarray) -> Summary.Value:
    """Return the image of a layer's filters, each on its own scale."""
    cells = to_cells(view, kernels)
    files, shape = _cards(view, cells, range_of_cells(cells), part_of(Look()))
    about = f"{explain(info)} {explain_scale(view)}"
    return image_value(f"filters/{info.name}", files, shape, about)


def _learned_image(
    info: LayerInfo, view: View, kernels: np.ndarray, start: np.ndarray, noticeable: np.ndarray
) -> Summary.Value:
    """Return the image of what training has added to a layer's filters since the start."""
    with np.errstate(invalid="ignore", over="ignore"):
        cells = to_cells(view, np.subtract(kernels, start, dtype=np.float64))
    cells = without_small_changes(cells, noticeable)
    values = range_of_changes(range_of_cells(cells), noticeable)
    files, shape = _cards(view, cells, values, part_of(Look(delta=True)))
    about = (
        f"What training has added: the difference of each weight from the run's first snapshot. "
        f"{explain(info)} {explain_change(view)}"
    )
    return image_value(f"filters_learned/{info.name}", files, shape, about)


def _cards(
    view: View, cells: np.ndarray, values: ValueRange, look: Look
) -> tuple[list[bytes], tuple[int, ...]]:
    """Return a PNG file a page, with a scale bar where a weight has one value, and their shape."""
    pages = draw_pages(view, cells, values, _CARD)
    texts = bar_texts(look, view, NO_RANGE)
    if texts is None:
        return list(map(to_png, pages)), pages[0].shape[:2]
    bar = draw_scale_bar(texts, pages[0].shape[1], font_size(_CARD))
    palette = theme_palette("dark", colormap_levels(look.colormap or GREY))
    cards = [np.concatenate([page, bar]) for page in pages]
    return [to_png(card, palette) for card in cards], cards[0].shape


def event_bytes(layers: Sequence[LayerInfo], probes: StoredProbes | None = None) -> int:
    """Estimate the size of one snapshot's events in bytes, within a factor of two.

    Args:
        layers: The layers of the run.
        probes: Its probes; None if it has none. Sparse responses take less than estimated.

    Example:
        >>> event_bytes([])
        0
    """
    size = 0.0
    for view in (view_of(info, curves=False) for info in layers):
        values = view.count * view.height * view.width * (3 if view.coloured else 1)
        pages, images = math.ceil(view.count / PAGE), 1 if view.kind == "matrix" else 2
        image = _BYTES_PER_PAGE * pages + _BYTES_PER_VALUE * values
        size += _BYTES_PER_LAYER + images * image
    if probes is not None:
        size += sum(card_bytes(info, probes) for info in layers if info.name in probes.layers)
    return round(size)


def _measure(kernels: np.ndarray, start: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return the measures of each filter that are fast enough to compute during training."""
    return {
        "drift": measures.drift(kernels, start),
        "norm": measures.norm(kernels),
        "roughness": measures.roughness(kernels),
    }


def _evolution(
    info: LayerInfo, moving: Sequence[int], still: Sequence[int], selection: RunSelection
) -> tuple[RunSelection, list[Summary.Value]]:
    """Return the animation and the filmstrip of a layer; nothing for a single snapshot.

    Args:
        info: The layer.
        moving: The steps of the animation.
        still: The steps of the filmstrip.
        selection: The layer at the readable ones of these steps.

    Returns:
        The selection, and the two images.
    """
    animated, side_by_side = selection.at(moving), selection.at(still)
    if len(animated.steps) < 2:
        return selection, []
    values = [_timelapse(animated, info)]
    if len(side_by_side.steps) > 1 and view_of(info).kind != "matrix":  # too small side by side
        values.append(_filmstrip(side_by_side, info))
    return selection, values


def _timelapse(selection: RunSelection, info: LayerInfo) -> Summary.Value:
    view = view_of(info)
    look = Look(filters=range(PAGE) if view.count > PAGE else None, delta=False)
    frames = AnimationFrames(selection, plan(selection.moments[0], _PACE), look, side=_CARD)
    file = io.BytesIO()
    with AnimatedPngWriter(file, frames.shape, frames.colours) as png:
        for frame, picture in zip(frames.timeline.frames, frames.pictures(), strict=True):
            png.add(picture, frame.seconds)
    filters = f"the first {PAGE} filters, " if view.count > PAGE else ""
    about = (
        f"Animation of {len(selection.steps)} snapshots, {filters}from {_first_moment(selection)} "
        f"on. "
        f"{explain(info, curves=True)} {explain_scale(view)}"
    )
    return image_value(f"filters_timelapse/{info.name}", [file.getvalue()], frames.shape, about)


def _filmstrip(selection: RunSelection, info: LayerInfo) -> Summary.Value:
    view = view_of(info)
    rows = min(view.count, card_rows(view, len(selection.steps)))
    look = Look(filters=range(rows) if rows else None, delta=False)
    picture = FilmstripPicture(selection, look).card(_CARD)
    about = (
        f"Filmstrip: filters from the first one down, steps from the first one across. "
        f"{explain(info)} {explain_scale(view)}"
    )
    return image_value(
        f"filters_filmstrip/{info.name}", [to_png(picture)], picture.shape[:2], about
    )


def _first_moment(selection: RunSelection) -> str:
    first = selection.moments[0][0]
    return start_text(first) if first.step else "the start of training"


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """Return at most ``most`` evenly spaced steps, with the first and the last."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(n * (len(steps) - 1) / (most - 1))] for n in range(most)]


def _table(layers: Sequence[LayerInfo]) -> str:
    """Return the tracked layers as a Markdown table."""
    rows = [
        f"| `{info.name}` | {info.class_name} | {'×'.join(map(str, info.kernel_shape))} "
        f"| {info.filters} | {info.shape[3]} | {'×'.join(map(str, info.strides))} | {info.dtype} |"
        for info in layers
    ]
    head = "| layer | class | kernel | filters | channels | strides | type |"
    return "\n".join([head, "|---|---|---|--:|--:|---|---|", *rows])
