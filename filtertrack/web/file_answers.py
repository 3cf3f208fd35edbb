"""What an HTML file answers to the requests of its page, instead of a server.

``page/file_answers.js`` reads it. Cells, responses and pictures are messages as ``payload.py``
describes them, each in an element of its own; all other answers are one JSON text.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError
from filtertrack.render.cells import to_channels, view_of
from filtertrack.render.look import ORDERS
from filtertrack.snapshot import LayerInfo, safe_names
from filtertrack.storage.run import Run
from filtertrack.web import page_api
from filtertrack.web.file_data import ARRAY_LEVEL, element, text_size, to_text, zipped
from filtertrack.web.file_products import ProductsInFile, has_products, pack_products
from filtertrack.web.file_responses import (
    PackedResponses,
    PicturesInFile,
    ResponsesInFile,
    pack_pictures,
    pack_responses,
)
from filtertrack.web.file_rounding import pack_rounded
from filtertrack.web.file_run import FileRun, RunAtSteps, spread
from filtertrack.web.file_thinning import Extent, Thinning, describe_thinning
from filtertrack.web.metric_curves import MetricCurves, curves_of_metrics, readable_moments
from filtertrack.web.payload import (
    MOST_ACROSS,
    Part,
    filters_per_page,
    finite,
    pack,
    read_cells,
)
from filtertrack.web.probe_answers import ProbesSummary, describe_probes

_DIGITS = 4
"""Significant digits of measures."""
_MOST_LABELLED = 2000
"""Filters, summed over steps, of which a layer's labels are computed: one or two seconds."""
_HISTORY = 12
"""Steps of the pictures of an open filter, as in ``filter_history.js``: they are labelled first."""
_PICTURES = 4
"""One part in so many of the file's size is for the pictures of probes, before compression."""


@dataclass(slots=True)
class FileContents:
    """What is inside a file.

    Attributes:
        page_size: Bytes of the file without its contents.
        elements: Name to compressed bytes.
        map_sizes: Bytes of the maps of each probe, in the file.
        thinned: What was left out because of the limit, beside what the thinning says, in words.
        notes: What else the page says of the file; both lists may have an entry several times.
    """

    page_size: int
    elements: dict[str, bytes] = field(default_factory=dict)
    map_sizes: list[int] = field(default_factory=list)
    thinned: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, data: bytes) -> str:
        """Add an element, and return its name."""
        name = f"data-{len(self.elements)}"
        self.elements[name] = data
        return name

    @property
    def size(self) -> int:
        """Bytes of the file."""
        empty = sum(len(element(name, b"")) + 1 for name in self.elements)
        return self.page_size + empty + sum(map(text_size, self.elements.values()))


def make_contents(
    runs: Sequence[FileRun],
    thinning: Thinning,
    extent: Extent,
    max_size: int,
    notes: Sequence[str] = (),
) -> FileContents:
    """Return what is inside a file of these runs.

    Args:
        runs: The runs.
        thinning: What is left out.
        extent: How much there is.
        max_size: Bytes of the file, at most: the pictures of probes are reduced accordingly.
        notes: What the page says about the file beside what is left out of it.
    """
    contents = FileContents(extent.page_size, map_sizes=[0] * thinning.maps, notes=[*notes])
    answers = _answers(runs, contents, thinning, max_size)
    contents.notes += _left_out(runs)
    said = [describe_thinning(thinning, extent), *contents.thinned, *contents.notes]
    answers["notes"] = [note for note in dict.fromkeys(said) if note]
    text = json.dumps(answers, allow_nan=False, separators=(",", ":"))
    contents.elements["answers"] = zipped(text.encode())
    return contents


def _answers(
    runs: Sequence[FileRun],
    contents: FileContents,
    thinning: Thinning,
    max_size: int,
) -> dict[str, Any]:
    """Return what the page requests, without notes, and add messages: see ``file_answers.js``."""
    names = safe_names(run.name for run in runs)
    most_bytes = max_size // (_PICTURES * len(runs))
    answered = {
        name: _run(run.at(thinning.steps), run, contents, thinning, most_bytes)
        for name, run in zip(names, runs, strict=True)
    }
    return {
        "settings": {**page_api.page_settings(), "formats": []},
        "palettes": {each: to_text(page_api.colormap_bytes(each)) for each in page_api.COLORMAPS},
        "runs": answered,
    }


def _left_out(runs: Sequence[FileRun]) -> list[str]:
    """Say that the responses of a run were not wanted, or that their probes are damaged."""
    left_out = any(run.has_probes and not run.probes for run in runs)
    return ["responses are not in this file"] if left_out else []


def _run(
    run: RunAtSteps,
    whole: FileRun,
    contents: FileContents,
    thinning: Thinning,
    most_bytes: int,
) -> dict[str, Any]:
    layers = [info.name for info in whole.layers]
    summary = run.once("summary", compute=lambda: page_api.describe_run(run))
    described = [each for each in summary["layers"] if each["name"] in layers]
    default = summary["default_layer"]
    return {
        "summary": {
            "layers": [{**each, "channels": _channels(each)} for each in described],
            "default_layer": default if default in layers else layers[0],
        },
        "steps": page_api.describe_steps(run),
        "metrics": run.once_for_steps("metrics", compute=lambda: _metrics(run)),
        "probes": _probes(run, layers, thinning),
        "layers": {info.name: _layer(run, info, contents, thinning) for info in whole.layers},
        "pictures": _pictures(run, layers, contents, thinning, most_bytes),
    }


def _metrics(run: Run) -> MetricCurves:
    return curves_of_metrics(readable_moments(run))


def _channels(layer: page_api.LayerSummary) -> list[str]:
    """Return which input channels of a layer can be chosen: those that its cells hold."""
    return [str(channel) for channel in range(3)] if layer["kind"] == "colour" else []


def _layer(
    run: RunAtSteps, info: LayerInfo, contents: FileContents, thinning: Thinning
) -> dict[str, Any]:
    name, once, at_steps = info.name, run.once, run.once_for_steps
    return {
        "parts": once("parts", name, compute=lambda: page_api.default_parts(run, info)),
        "orders": once("orders", name, compute=lambda: _orders(run, info)),
        "trajectories": at_steps("curves", name, compute=lambda: _trajectories(run, info)),
        "labels": _labels(run, info),
        "cells": _cells(run, info, contents, half=thinning.half),
        "responses": _responses(run, info, contents, thinning),
        "products": _products(run, info, contents, thinning),
    }


def _is_matrix(info: LayerInfo) -> bool:
    """Return whether a layer is drawn as one matrix, of which no single filter can be opened."""
    return view_of(info, curves=False).kind == "matrix"


def _orders(run: Run, info: LayerInfo) -> dict[str, list[int]]:
    if _is_matrix(info):
        return {}
    return {order: page_api.order_of_filters(run, info, order)["numbers"] for order in ORDERS}


def _cells(
    run: RunAtSteps, info: LayerInfo, contents: FileContents, *, half: bool
) -> list[dict[str, Any]]:
    """Add the messages with the cells of each page of filters; return which element holds which."""
    pages = run.once_for_steps(
        "cells", info.name, half, compute=lambda: list(_pages_of_cells(run, info, half=half))
    )
    return [
        {
            "first": part.filters[0],
            "end": part.filters[-1] + 1,
            "delta": part.delta,
            "ids": [{"id": contents.add(message), "last": last} for message, last in messages],
        }
        for part, messages in pages
    ]


def _pages_of_cells(
    run: RunAtSteps, info: LayerInfo, *, half: bool
) -> Iterator[tuple[Part, list[tuple[bytes, int]]]]:
    """Yield each page of filters, with its messages and the last step of each.

    All pages of a layer are divided into messages at the same steps, so that the page can join
    filters of several: at those of the first page, which no other exceeds in size.
    """
    count = filters_per_page(info)
    for delta in _differences(info):
        ends: list[int] = []
        for first in range(0, info.filters, count):
            numbers = range(first, min(info.filters, first + count))
            part = Part(run, info, tuple(numbers), delta=delta)
            messages = list(_messages(run, part, ends, half=half))
            ends = [last for _, last in messages]
            yield part, messages


def _messages(
    run: RunAtSteps, part: Part, ends: Sequence[int], *, half: bool
) -> Iterator[tuple[bytes, int]]:
    """Yield the messages of a page of filters, and the last step of each.

    Args:
        run: The run.
        part: The filters.
        ends: The last step of each message; empty for as many steps in each as its limits allow.
        half: Whether weights are rounded to ``float16``.
    """
    limits = iter(ends)
    step: int | None = run.steps[0]
    while step is not None:
        limit = next(limits, run.steps[-1])
        head, arrays = read_cells(part, step, limit, run.shorten)
        last = limit if head["next"] is None else head["next"] - 1
        step = next((each for each in run.steps if each > last), None)
        head["next"] = step
        yield pack_rounded(head, arrays) if half else pack(head, arrays, ARRAY_LEVEL), last


def _trajectories(run: Run, info: LayerInfo) -> dict[str, Any]:
    """Return the measures of every filter at each readable step: rows of filters."""
    view, start = view_of(info, curves=False), None
    found: dict[str, Any] = {"steps": [], "norm": [], "drift": [], "roughness": []}
    for step in run.steps if not _is_matrix(info) else ():
        try:
            now = to_channels(view, run.kernels(info.name, step))
        except FiltertrackError:
            continue
        start = now if start is None else start
        found["steps"].append(step)
        for name, values in page_api.measures_of_filters(now, start).items():
            found[name].append(_numbers(values))
    return found


def _labels(run: RunAtSteps, info: LayerInfo) -> dict[str, Any]:
    """Return the labels of every filter, at as many steps as are fast to label."""
    found: dict[str, Any] = {"steps": []}
    most = 0 if _is_matrix(info) else max(1, _MOST_LABELLED // info.filters)
    history = spread(run.steps, min(len(run.steps), most, _HISTORY))
    others = [step for step in run.steps if step not in history]
    more = spread(others, min(len(others), most - len(history)))
    for step in sorted([*history, *more]):
        try:
            labels = run.once(
                "labels", info.name, step, compute=partial(_labels_at, run, info, step)
            )
        except FiltertrackError:
            continue
        found["steps"].append(step)
        for name, values in labels.items():
            found.setdefault(name, []).append(values)
    return found


def _labels_at(run: Run, info: LayerInfo, step: int) -> dict[str, list[Any]]:
    """Return the names of the labels of every filter, and the evidence for them."""
    view = view_of(info, curves=False)
    labels = measures.label(to_channels(view, run.kernels(info.name, step)), rgb=view.coloured)
    evidence = page_api.evidence_of(labels).items()
    return {"names": labels.names.tolist(), **{name: _numbers(values) for name, values in evidence}}


def _numbers(values: np.ndarray) -> list[float | None]:
    """Return numbers with a few digits; None where one is not finite, which JSON cannot hold."""
    return [finite(value, _DIGITS) for value in values.tolist()]


def _probes(run: RunAtSteps, layers: Sequence[str], thinning: Thinning) -> ProbesSummary:
    """Return what the probes are, of which the file holds responses; none if it holds none."""
    if not thinning.responses or run.probes is None:
        return {"count": 0, "maps": 0, "labels": None, "layers": []}
    summary = describe_probes(run)
    summary["maps"] = min(summary["maps"], thinning.maps)
    summary["layers"] = [each for each in summary["layers"] if each["name"] in layers]
    for each in summary["layers"]:
        each["products"] = has_products(run, run.layer(each["name"]), run.probes)
    return summary


def _packed_responses(
    run: RunAtSteps, info: LayerInfo, thinning: Thinning
) -> PackedResponses | None:
    """Return the responses of a layer; None if they are not in the file."""
    if not thinning.responses or run.probes is None or info.name not in run.probes.layers:
        return None
    return run.once_for_steps(
        "responses",
        info.name,
        compute=lambda: pack_responses(run, info, thinning.maps, run.shorten),
    )


def _responses(
    run: RunAtSteps, info: LayerInfo, contents: FileContents, thinning: Thinning
) -> ResponsesInFile | None:
    """Add the messages with the responses of a layer; return which element holds which."""
    packed = _packed_responses(run, info, thinning)
    if packed is None or run.probes is None:
        return None
    for part in packed.parts:
        for probe, message in enumerate(part.maps[: thinning.maps]):
            contents.map_sizes[probe] += len(element("data-000", b"")) + text_size(message)
    return packed.in_file(run.probes.layers[info.name].map_shape, thinning.maps, contents.add)


def _products(
    run: RunAtSteps, info: LayerInfo, contents: FileContents, thinning: Thinning
) -> ProductsInFile | None:
    """Add the inputs of a layer for the probes with maps; None if products cannot be shown."""
    probes = run.probes
    if probes is None or not thinning.responses or info.name not in probes.layers:
        return None
    if not has_products(run, info, probes):
        return None
    maps = min(probes.maps, thinning.maps)
    packed = run.once_for_steps(
        "products", info.name, compute=lambda: pack_products(run, info, probes, probes.maps)
    )
    if len(packed.inputs) < maps:
        contents.notes.append(f"patch × kernel for {len(packed.inputs)} of {maps} probes")
    for probe, message in enumerate(packed.inputs[:maps]):
        contents.map_sizes[probe] += len(element("data-000", b"")) + text_size(message)
    return packed.in_file(maps, contents.add)


def _pictures(
    run: RunAtSteps,
    layers: Sequence[str],
    contents: FileContents,
    thinning: Thinning,
    most_bytes: int,
) -> dict[str, PicturesInFile]:
    """Add the pictures of the probes that the page can show, of each input of these layers."""
    probes = run.probes
    if probes is None or not thinning.responses:
        return {}
    numbers = set(range(min(probes.maps, thinning.maps)))
    for info in map(run.layer, layers):
        packed = _packed_responses(run, info, thinning)
        numbers |= packed.strongest if packed else set()
    inputs = {probes.layers[name].input for name in layers if name in probes.layers}
    found: dict[str, PicturesInFile] = {}
    for name in sorted(inputs):
        pictures = pack_pictures(probes, sorted(numbers), name, most_bytes // len(inputs))
        contents.thinned.append(pictures.thinned)
        found[name] = pictures.in_file(contents.add)
    return found


def cell_values(info: LayerInfo) -> int:
    """Return the number of values in the cells of a layer at one step."""
    view = view_of(info, curves=False)
    if view.kind == "matrix":
        return info.filters * min(info.shape[3], MOST_ACROSS)
    values = view.count * view.height * view.width * (3 if view.coloured else 1)
    return values * len(_differences(info))


def _differences(info: LayerInfo) -> list[bool]:
    """Return for each kind of cells in the file whether it holds differences from the start.

    The difference of strongest patterns is not the pattern of the difference; other differences
    are computed by the page.
    """
    return [False, True] if view_of(info, curves=False).kind == "pattern" else [False]
