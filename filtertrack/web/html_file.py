"""One HTML file that holds the page and what it shows, for a browser without a server.

Every text that comes from a run is inside the compressed data, and a content security policy
allows no other script than the file's own, no other style, and no request.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError, size_text
from filtertrack.outputs.run_selection import RunLike, RunSelection, Steps, select_from_run
from filtertrack.render.cells import to_channels, view_of
from filtertrack.render.look import ORDERS
from filtertrack.response import StoredProbes
from filtertrack.snapshot import LayerInfo, safe_names
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of
from filtertrack.storage.run import Run
from filtertrack.storage.run_format import Member
from filtertrack.web import page_api
from filtertrack.web.metric_curves import curves_of_metrics, readable_moments
from filtertrack.web.page_script import joined_script, page_files
from filtertrack.web.payload import CellsHead, Part, filters_per_page, pack, read_cells

MAX_SIZE = 8_000_000
"""Bytes of the file above which it is thinned."""

_LEVEL = 9
_DIGITS = 4
"""Significant digits of measures."""
_MOST_LABELLED = 2000
"""Filters, summed over steps, of which a layer's labels are computed: one or two seconds."""
_FEWEST_STEPS = 2
_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; \
form-action 'none'; img-src blob: data:; script-src '{script_hash}'; style-src '{style_hash}'">
<title>Filters</title>
<style>{style}</style>
</head>
<body>
{data}
<script>{script}</script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class HtmlFile:
    """An HTML file that was written.

    Attributes:
        path: Its path.
        size: Its bytes.
        thinned: What was left out to keep it small, in words; empty if nothing was.
    """

    path: StoragePath
    size: int
    thinned: str = ""


@dataclass(frozen=True, slots=True)
class _Thinning:
    """How a file is made smaller.

    Attributes:
        half: Whether values are rounded to ``float16``.
        steps: The number of steps, of all that were selected.
    """

    half: bool
    steps: int


def to_html(
    runs: RunLike | Sequence[RunLike],
    output: PathOrAddress | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    steps: Steps | None = None,
    max_size: int = MAX_SIZE,
) -> HtmlFile:
    """Write the interactive page of runs as one HTML file, which needs no server.

    The page plays, scrubs, compares and opens filters as the tab in TensorBoard does. The values
    are exact unless the file would be larger than ``max_size``: then they are rounded to
    ``float16``, and if that is not enough, steps between the first and the last are left out.

    Args:
        runs: A run or its folder, or several.
        output: The file; None for ``page.html`` in the first run's folder.
        layers: Layers, by names or patterns; None for all.
        steps: Numbers of snapshots and ranges; None for all.
        max_size: Bytes of the file, about.

    Returns:
        The file, and what was left out.

    Raises:
        FiltertrackError: If there is no run, no such layer or step, no snapshot, or if two steps
            alone are larger than ``max_size``.
        OSError: If the file cannot be written.

    Example:
        >>> to_html("runs/demo", "evolution.html", layers="conv1")  # doctest: +SKIP
    """
    given = list(runs) if isinstance(runs, (list, tuple)) else [cast("RunLike", runs)]
    if not given:
        raise FiltertrackError("runs: expected a run or several, got none")
    chosen = [
        select_from_run(run, layers="*" if layers is None else layers, steps=steps) for run in given
    ]
    text, thinned = fitting_text(chosen, max_size)
    path = path_of(output) if output is not None else _beside(chosen[0].runs[0])
    content = text.encode()
    path.write_whole(lambda file: file.write(content))
    return HtmlFile(path, len(content), thinned)


def _beside(run: Run) -> StoragePath:
    """Return the path of a file in a run's folder.

    Raises:
        FiltertrackError: If the run is in memory.
    """
    if not Run.exists(run.path):
        raise FiltertrackError(
            f"output: expected the path of a file, got None: {str(run.path)!r} is not a run on "
            f"disk, so there is no folder to write to"
        )
    return run.path / "page.html"


def fitting_text(selections: Sequence[RunSelection], max_size: int) -> tuple[str, str]:
    """Return the text of a file that is small enough, and what was left out of it, in words.

    Args:
        selections: Layers and steps of each run.
        max_size: Bytes of the text, about.

    Raises:
        FiltertrackError: If two steps alone are larger.
    """
    most = max(len(selection.steps) for selection in selections)
    thinning = _Thinning(half=False, steps=most)
    while True:
        thinned = _describe(thinning, most)
        text = html_text([_thinned(each, thinning.steps) for each in selections],
                         half=thinning.half, note=thinned)  # fmt: skip
        size = len(text.encode())
        if size <= max_size:
            return text, thinned
        if thinning.half and thinning.steps <= _FEWEST_STEPS:
            raise FiltertrackError(
                f"max_size: two steps of these layers take {size_text(size)}, more than "
                f"{size_text(max_size)}; choose fewer layers"
            )
        fewer = math.floor(0.9 * thinning.steps * max_size / size)
        steps_left = max(_FEWEST_STEPS, fewer) if thinning.half else thinning.steps
        thinning = _Thinning(half=True, steps=steps_left)


def _thinned(selection: RunSelection, steps: int) -> RunSelection:
    """Return a selection of a run of which only some of the selected steps are seen."""
    run = _RunAtSteps(selection.runs[0], _spread(selection.steps, steps))
    return replace(selection, runs=(run,))


def _describe(thinning: _Thinning, steps: int) -> str:
    rounded = "values are rounded to 16 bits" if thinning.half else ""
    fewer = f"{thinning.steps} of {steps} steps" if thinning.steps < steps else ""
    return "; ".join(filter(None, [rounded, fewer]))


def _spread(steps: Sequence[int], count: int) -> list[int]:
    """Return a number of evenly spaced steps, with the first and the last."""
    places = np.unique(np.linspace(0, len(steps) - 1, count).round().astype(int))
    return [steps[place] for place in places]


class _RunAtSteps(Run):
    """A run of which only some steps are seen.

    Args:
        run: The run.
        steps: These steps, ascending.
    """

    def __init__(self, run: Run, steps: Sequence[int]) -> None:
        self.path, self.layers, self.software = run.path, run.layers, run.software
        self._run = run
        self._chosen = list(steps)

    @property
    def steps(self) -> list[int]:
        """The chosen steps."""
        return self._chosen

    def stamps(self) -> dict[int, int]:
        """Return the chosen steps, all with the same number: the file does not change."""
        return dict.fromkeys(self._chosen, 0)

    def made(self) -> int:
        """Return 0: the file does not change."""
        return 0

    def version(self) -> str:
        """Return a constant: the file does not change."""
        return "file"

    @property
    def probes(self) -> StoredProbes | None:
        """The run's probes."""
        return self._run.probes

    def _read(self, step: int, members: Sequence[Member]) -> dict[str, np.ndarray]:
        return self._run._read(step, members)  # noqa: SLF001


def html_text(selections: Sequence[RunSelection], *, half: bool = False, note: str = "") -> str:
    """Return the text of an HTML file with the page and what it shows.

    Args:
        selections: The layers of each run, which is shown at all its steps.
        half: Whether values are rounded to ``float16``.
        note: What was left out, in words, for the page's status line.
    """
    cells: dict[str, bytes] = {}
    answers = _answers(selections, cells, half=half, note=note)
    blobs = {"answers": gzip.compress(_json(answers), _LEVEL, mtime=0), **cells}
    script = joined_script("file_page", {"requests": "file_answers"}, page_files(".js"))
    style = page_files(".css")["style"]
    data = "\n".join(
        f'<script type="application/gzip" id="{name}">{base64.b64encode(blob).decode()}</script>'
        for name, blob in blobs.items()
    )
    return _TEMPLATE.format(
        script_hash=_hash(script), style_hash=_hash(style), style=style, data=data, script=script
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _answers(
    selections: Sequence[RunSelection], blobs: dict[str, bytes], *, half: bool, note: str
) -> dict[str, Any]:
    """Return what the page asks for, and add the cells to ``blobs``: see ``file_answers.js``."""
    settings = page_api.page_settings()
    names = safe_names(selection.runs[0].path.name or "run" for selection in selections)
    return {
        "settings": {**settings, "formats": [], "channels": False},
        "notes": [*([note] if note else []), *_left_out(selections)],
        "palettes": {
            each: base64.b64encode(page_api.colormap_bytes(each)).decode()
            for each in page_api.COLORMAPS
        },
        "runs": {
            name: _run(selection, blobs, half=half)
            for name, selection in zip(names, selections, strict=True)
        },
    }


def _left_out(selections: Sequence[RunSelection]) -> list[str]:
    """Say that responses are left out, if a run has any."""
    for selection in selections:
        try:
            if selection.runs[0].probes is not None:
                return ["responses are not in this file"]
        except FiltertrackError:  # the file of the probes is damaged: their responses are left out
            return ["responses are not in this file"]
    return []


def _run(selection: RunSelection, blobs: dict[str, bytes], *, half: bool) -> dict[str, Any]:
    run, layers = selection.runs[0], selection.layers
    summary = page_api.describe_run(run)
    summary["layers"] = [each for each in summary["layers"] if each["name"] in layers]
    if summary["default_layer"] not in layers:
        summary["default_layer"] = layers[0]
    infos = [run.layer(layer) for layer in layers]
    return {
        "summary": summary,
        "steps": page_api.describe_steps(run),
        "metrics": curves_of_metrics(readable_moments(run)),
        "layers": {info.name: _layer(run, info, blobs, half=half) for info in infos},
    }


def _layer(run: Run, info: LayerInfo, blobs: dict[str, bytes], *, half: bool) -> dict[str, Any]:
    view = view_of(info, curves=False)
    deltas = [False, True] if view.kind == "pattern" else [False]
    return {
        "parts": page_api.default_parts(run, info),
        "orders": _orders(run, info) if view.kind != "matrix" else {},
        "trajectories": _trajectories(run, info),
        "labels": _labels(run, info),
        "cells": [
            each for delta in deltas for each in _cells(run, info, blobs, delta=delta, half=half)
        ],
    }


def _orders(run: Run, info: LayerInfo) -> dict[str, list[int]]:
    return {order: page_api.order_of_filters(run, info, order)["numbers"] for order in ORDERS}


def _cells(
    run: Run, info: LayerInfo, blobs: dict[str, bytes], *, delta: bool, half: bool
) -> Iterator[dict[str, Any]]:
    """Yield which element holds the cells of each page of filters, and add their messages."""
    count = filters_per_page(info)
    for first in range(0, info.filters, count):
        end = min(info.filters, first + count)
        part = Part(run, info, tuple(range(first, end)), delta=delta)
        ids = []
        for head, arrays in _messages(part):
            name = f"cells-{len(blobs)}"
            blobs[name] = pack(*_rounded(head, arrays, half=half), level=_LEVEL)
            last = head["next"] - 1 if head["next"] is not None else run.steps[-1]
            ids.append({"id": name, "last": last})
        yield {"first": first, "end": end, "delta": delta, "ids": ids}


def _messages(part: Part) -> Iterator[tuple[CellsHead, list[np.ndarray]]]:
    steps = part.run.steps
    step: int | None = steps[0]
    while step is not None:
        head, arrays = read_cells(part, step, steps[-1])
        step = head["next"]
        yield head, arrays


def _rounded(
    head: CellsHead, arrays: list[np.ndarray], *, half: bool
) -> tuple[CellsHead, list[np.ndarray]]:
    if not half or not arrays:
        return head, arrays
    with np.errstate(over="ignore"):
        return {**head, "type": "float16"}, [array.astype(np.float16) for array in arrays]


def _trajectories(run: Run, info: LayerInfo) -> dict[str, Any]:
    """Return the measures of every filter at each readable step: rows of filters."""
    view, start = view_of(info, curves=False), None
    found: dict[str, Any] = {"steps": [], "norm": [], "drift": [], "roughness": []}
    for step in run.steps:
        try:
            now = to_channels(view, run.kernels(info.name, step))
        except FiltertrackError:
            continue
        start = now if start is None else start
        found["steps"].append(step)
        found["norm"].append(_numbers(measures.norm(now)))
        found["drift"].append(_numbers(measures.drift(now, start)))
        found["roughness"].append(_numbers(measures.roughness(now)))
    return found


def _labels(run: Run, info: LayerInfo) -> dict[str, Any]:
    """Return the labels of every filter, at as many steps as are fast to label."""
    view = view_of(info, curves=False)
    found: dict[str, Any] = {"steps": [], "names": []}
    evidence: dict[str, list[list[float | None]]] = {}
    for step in _spread(run.steps, min(len(run.steps), max(1, _MOST_LABELLED // info.filters))):
        try:
            kernels = to_channels(view, run.kernels(info.name, step))
        except FiltertrackError:
            continue
        labels = measures.label(kernels, rgb=view.coloured)
        found["steps"].append(step)
        found["names"].append(labels.names.tolist())
        for name, values in page_api.evidence_of(labels).items():
            evidence.setdefault(name, []).append(_numbers(values))
    return {**found, **evidence}


def _numbers(values: np.ndarray) -> list[float | None]:
    """Return numbers with a few digits; None where one is not finite, which JSON cannot hold."""
    return [
        float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in values.tolist()
    ]
