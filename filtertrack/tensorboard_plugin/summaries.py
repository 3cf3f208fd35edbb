"""Write a run's TensorBoard summaries: images, scalars, histograms, a table, and animations."""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from filtertrack.errors import FiltertrackError, counted
from filtertrack.measures.movement import norm
from filtertrack.outputs.filmstrip_picture import spread_steps
from filtertrack.outputs.run_selection import select_from_run, skip_damaged
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.layer_look import noticeable_change
from filtertrack.response import StoredProbes
from filtertrack.snapshot import LayerInfo, Moment, Snapshot
from filtertrack.storage.run import Run
from filtertrack.tensorboard_plugin.event_files import event_file_in
from filtertrack.tensorboard_plugin.evolution_summaries import (
    evolution_values,
    steps_of_animations,
)
from filtertrack.tensorboard_plugin.filter_summaries import (
    default_image_layers,
    filter_event_bytes,
    filters_image,
    learned_image,
    measure_values,
)
from filtertrack.tensorboard_plugin.response_summaries import response_event_bytes, response_values
from filtertrack.tensorboard_plugin.summary_values import text_value

_log = logging.getLogger("filtertrack")


class Summaries:
    """Writes the TensorBoard summaries of one run: of each snapshot, and of the whole run.

    Args:
        run: The run; the event file is written to its folder. Drift is measured from the run's
            first snapshot, or from the first one that is added.
        keep: How many of the newest snapshots the run keeps, if it deletes older ones. As nothing
            can be deleted from an event file, only steps that are about evenly spaced on a
            logarithmic scale are drawn then: of n steps about ``keep * (1 + log(n / keep))``.
        images: Names of the layers that have images; None for ``default_image_layers``.
        histograms: Whether each layer has histograms.
    """

    def __init__(
        self,
        run: Run,
        keep: int | None = None,
        *,
        images: Collection[str] | None = None,
        histograms: bool = False,
    ) -> None:
        self._run = run
        self._layers = list(run.layers.values())
        self._images = default_image_layers(self._layers) if images is None else images
        self._histograms = histograms
        self._events = event_file_in(run.folder)
        self._keep = keep
        self._last: Moment | None = None
        """The moment of the last snapshot that was drawn."""
        self._skipped: Snapshot | None = None
        """The last snapshot, if it was not drawn."""
        self._start: dict[str, np.ndarray] = {}
        self._start_norm: dict[str, np.ndarray] = {}
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
            table = _table(self._layers, self._images)
            values.insert(0, text_value("filters_layers", table, "The tracked layers."))
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
                    values += response_values(
                        info,
                        probes,
                        kernels,
                        snapshot.responses[info.name],
                        image=info.name in self._images,
                        histograms=self._histograms,
                    )
                except Exception as error:  # noqa: BLE001 - raised below
                    faults.append(error)
        moment = snapshot.moment
        summary = Summary(value=values)
        self._events.append(Event(step=moment.step, wall_time=moment.wall_time, summary=summary))
        if faults:
            raise faults[0]

    def add_evolution(self, run: Run) -> None:
        """Write an animation and a filmstrip of the whole run for each layer that has images.

        TensorBoard keeps ten steps of a tag only, but passes an image file to the browser
        unchanged, so an animated PNG can show more.

        A layer that cannot be drawn, such as a too large one, is skipped with a warning.

        Raises:
            OSError: If the file cannot be written.
        """
        steps = run.steps
        if self._last is None or not steps:
            return
        drawn = [info for info in self._layers if info.name in self._images]
        moving = steps_of_animations(steps, len(drawn))
        still = spread_steps(steps, epochs=self._last.counts_epochs)
        for info in drawn:
            try:
                selection = select_from_run(
                    run, layers=[info.name], steps=[*moving, *still], least=0
                )
                draw = partial(evolution_values, info, moving, still)
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
        if info.name in self._images:
            remark = _remark(len(self._layers), len(self._images))
            yield filters_image(info, view, kernels, remark)
            if self._has_start and snapshot.step != self._first_step and view.kind != "matrix":
                if info.name not in self._noticeable:
                    self._noticeable[info.name] = noticeable_change(to_cells(view, start))
                yield learned_image(info, view, kernels, start, self._noticeable[info.name])
        if info.name not in self._start_norm:
            self._start_norm[info.name] = norm(start)
        start_norm = self._start_norm[info.name]
        yield from measure_values(
            info, view, kernels, start, start_norm, histograms=self._histograms
        )


def event_bytes(
    layers: Sequence[LayerInfo],
    probes: StoredProbes | None = None,
    *,
    images: Collection[str] | None = None,
    histograms: bool = False,
) -> int:
    """Estimate the size of one snapshot's events in bytes, within a factor of two.

    Args:
        layers: The layers of the run.
        probes: Its probes; None if it has none. Sparse responses take less than estimated.
        images: As ``Summaries`` takes them.
        histograms: Whether each layer has histograms.

    Example:
        >>> event_bytes([])
        0
    """
    drawn = default_image_layers(layers) if images is None else images
    size = 0.0
    for info in layers:
        view, image = view_of(info, curves=False), info.name in drawn
        size += filter_event_bytes(view, image=image, histograms=histograms)
        if probes is not None and info.name in probes.layers:
            size += response_event_bytes(info, probes, image=image, histograms=histograms)
    return round(size)


def _remark(layers: int, images: int) -> str:
    """Say how to have images of all layers; empty if all have some."""
    if images >= layers:
        return ""
    return (
        f"{counted(images, 'layers')} of {layers} have images here; images='*' makes those of all. "
        f"The tab Filters has every layer."
    )


def _table(layers: Sequence[LayerInfo], images: Collection[str]) -> str:
    """Return the tracked layers as a Markdown table."""
    rows = [
        f"| `{info.name}` | {info.class_name} | {'×'.join(map(str, info.kernel_shape))} "
        f"| {info.filters} | {info.shape[3]} | {'×'.join(map(str, info.strides))} | {info.dtype} "
        f"| {'yes' if info.name in images else 'no'} |"
        for info in layers
    ]
    head = "| layer | class | kernel | filters | channels | strides | type | images |"
    table = "\n".join([head, "|---|---|---|--:|--:|---|---|---|", *rows])
    return f"{_remark(len(layers), len(images))}\n\n{table}".lstrip()
