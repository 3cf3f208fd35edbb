"""What was measured of a run, as text: tables for a terminal, CSV, JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table as Grid

from filtertrack.outputs.measurement import MeasuredLayer, Measurement
from filtertrack.render.caption import number_text
from filtertrack.snapshot import Moment, describe
from filtertrack.storage.files import write_whole

NOTHING = "–"
"""Where nothing can be said, or nothing is."""

Values = Mapping[str, Any]

_MOST_ROWS = 2048
"""Filters in a table for a terminal: what is longer is for a file."""
_ORIENTED = 0.2
"""Selectivity below which a direction says little."""


def overview(measured: Measurement, step: int | None = None) -> list[Grid]:
    """Return two tables with a row a layer: what its filters are, and the layer as a whole.

    Args:
        measured: The run.
        step: As it is at this step; None for the last.
    """
    first = next(iter(measured.layers.values()))
    when = _when(measured.moments[first.index(step)])
    kinds = _grid(f"What the filters are: {when}; formed, of the whole run", list(_KINDS))
    whole = _grid(f"The layers as a whole: {when}", list(_WHOLE))
    for layer in measured.layers.values():
        place = layer.index(step)
        values: Values = {
            "layer": layer.info.name,
            "filters": layer.info.filters,
            "half_formed": layer.half_formed,
            "mostly_formed": layer.mostly_formed,
            "at_rest": layer.at_rest,
            **{name: column[place] for name, column in layer.whole.items()},
        }
        kinds.add_row(*(text(values) for text in _KINDS.values()))
        whole.add_row(*(text(values) for text in _WHOLE.values()))
    whole.caption = _too_large(measured) or None
    return [kinds, whole]


def _too_large(measured: Measurement) -> str:
    """Say of which layers not everything is measured; nothing where there is none."""
    lines = [
        f"{layer.info.name} is too large to measure its {', '.join(layer.too_large_for)}"
        for layer in measured.layers.values()
        if layer.too_large_for
    ]
    return "\n".join(lines)


def each_filter(measured: Measurement, name: str, step: int | None = None) -> Grid:
    """Return a table with a row a filter of one layer.

    Args:
        measured: The run.
        name: Which layer.
        step: As it is at this step; None for the last.
    """
    layer = measured.layers[name]
    place = layer.index(step)
    grid = _grid(f"The filters of {name}: {_when(measured.moments[place])}", list(_FILTER))
    rows = layer.rows([place])
    shown = min(layer.info.filters, _MOST_ROWS)
    if shown < layer.info.filters:
        grid.caption = f"… and {layer.info.filters - shown} more; a CSV or JSON file holds all"
    for number in range(shown):
        values = {key: column[number] for key, column in rows.items()}
        grid.add_row(*(text(values) for text in _FILTER.values()))
    return grid


def write_csv(measured: Measurement, path: Path, step: int | None = None) -> None:
    """Write a row a filter and step as CSV; empty where nothing can be said.

    Args:
        measured: The run.
        path: The file; one that is there already is replaced.
        step: Rows of this step only; None for all.

    Raises:
        FiltertrackError: If that step was not measured.
        OSError: If the file cannot be written.
    """
    parts = [
        (layer, place)
        for layer in measured.layers.values()
        for place in (range(len(layer.steps)) if step is None else [layer.index(step)])
    ]

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        for number, (layer, place) in enumerate(parts):  # a snapshot at a time, for little memory
            table = layer.rows([place])
            if not number:
                writer.writerow(table)
            writer.writerows(zip(*map(_plain, table.values()), strict=True))
        text.detach()

    write_whole(path, write)


def write_json(measured: Measurement, path: Path, step: int | None = None) -> None:
    """Write everything that was measured as JSON; ``null`` where nothing can be said.

    Args:
        measured: The run.
        path: The file; one that is there already is replaced.
        step: The filters at this step only; None for all.

    Raises:
        FiltertrackError: If that step was not measured.
        OSError: If the file cannot be written.
    """
    layers = {name: _layer(layer, step) for name, layer in measured.layers.items()}
    whole = {"run": str(measured.run.path), "layers": layers}
    text = json.dumps(whole, allow_nan=False).encode()
    write_whole(path, lambda file: file.write(text))


def _layer(layer: MeasuredLayer, step: int | None) -> dict[str, Any]:
    places = range(len(layer.steps)) if step is None else [layer.index(step)]
    return {
        "kernel": list(layer.info.kernel_shape),
        "half_formed": _value(layer.half_formed),
        "mostly_formed": _value(layer.mostly_formed),
        "at_rest": _value(layer.at_rest),
        "too_large_for": list(layer.too_large_for),
        "formed": _plain(layer.formed),
        "steps": list(layer.steps),
        "layer": {key: _plain(values) for key, values in layer.whole.items()},
        "filters_at": [layer.steps[place] for place in places],
        "filters": {
            key: [_plain(values[place]) for place in places]
            for key, values in layer.filters.items()
        },
    }


def _grid(title: str, columns: Sequence[str]) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    grid.caption_justify = "left"
    grid.padding = (0, 0, 0, 1)
    for name in columns:
        left = name in {"layer", "label"}
        grid.add_column(name, justify="left" if left else "right", no_wrap=True, vertical="bottom")
    return grid


def _when(moment: Moment) -> str:
    when, step = describe(moment), f"step {moment.step}"
    return when if when.startswith(step) else f"{step}, {when}"


def _finite(text: Callable[[float], str]) -> Callable[[float], str]:
    """Return the same way to write a number, with a dash where nothing can be said."""
    return lambda value: text(value) if math.isfinite(value) else NOTHING


_count = _finite(lambda value: f"{value:.0f}" if value else NOTHING)
_step = _finite("{:.0f}".format)
_number = _finite("{:.2f}".format)
_share = _finite("{:.0%}".format)
_norm = _finite(number_text)


def _degrees(values: Values) -> str:
    """Write a direction where there is one to speak of."""
    oriented = values["selectivity"] >= _ORIENTED
    return f"{round(values['degrees']) % 180}°" if oriented else NOTHING


def _like(values: Values) -> str:
    cosine = values["twin_cosine"]
    return f"{values['twin']}: {cosine:.2f}" if math.isfinite(cosine) else NOTHING


def _of(name: str, text: Callable[[Any], str]) -> Callable[[Values], str]:
    """Return how one of a row's values is written."""
    return lambda values: text(values[name])


Columns = Mapping[str, Callable[[Values], str]]

_KINDS: Columns = {
    "layer": _of("layer", str),
    "filters": _of("filters", str),
    "edge": _of("edge", _count),
    "blob": _of("blob", _count),
    "colour\nblob": _of("colour blob", _count),
    "other": _of("other structure", _count),
    "un-\nstruct.": _of("unstructured", _count),
    "un-\nknown": _of("unknown", _count),
    "half\nformed": _of("half_formed", _step),
    "90 %\nformed": _of("mostly_formed", _step),
    "at\nrest": _of("at_rest", _step),
}

_WHOLE: Columns = {
    "layer": _of("layer", str),
    "struc-\ntured": _of("structured", _share),
    "rota-\ntion": _of("rotation", _number),
    "un-\nmoved": _of("unmoved", _count),
    "re-\npeated": _of("repeated", _count),
    "near\nzero": _of("near_zero", _count),
    "spar-\nsity": _of("sparsity", _number),
    "entropy": _of("variance_entropy", _number),
    "random\nfrom": _of("entropy_threshold", _number),
    "orthog-\nonality": _of("orthogonality", _number),
    "effect.\nrank": _of("effective_rank", _number),
}

_FILTER: Columns = {
    "filter": _of("filter", str),
    "label": _of("label", str),
    "formed": _of("formed", _step),
    "norm": _of("norm", _norm),
    "drift": _of("drift", _number),
    "rough-\nness": _of("roughness", _number),
    "Gabor\nfit": _of("gabor_excess", _number),
    "blob\nfit": _of("blob_excess", _number),
    "direc-\ntion": _degrees,
    "colour": _of("colour", _number),
    "flat": _of("flat", _number),
    "most\nlike": _like,
}


def _plain(values: np.ndarray | Sequence[Any]) -> list[Any]:
    """Return plain values for CSV and JSON; None where nothing can be said."""
    return [_value(value) for value in np.asarray(values).tolist()]


def _value(value: Any) -> Any:
    """Return a value with six digits, as many as a weight has; whole numbers as such."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.6g}")
