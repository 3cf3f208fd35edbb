"""Write the measures of a run as tables for a terminal, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table as TextTable

from filtertrack.outputs.measurement import MeasuredLayer, Measurement
from filtertrack.render.caption import number_text
from filtertrack.snapshot import Moment, describe
from filtertrack.storage.local_files import write_whole

NOTHING = "–"
"""The text of a value that is zero or not known."""

Values = Mapping[str, Any]

_MOST_ROWS = 2048
"""Filters in a table for a terminal, at most: longer tables belong in a file."""
_ORIENTED = 0.2
"""Selectivity of an edge, at least, for its direction to be shown."""


def overview(measured: Measurement, step: int | None = None) -> list[TextTable]:
    """Return two tables with a row a layer: labels of its filters, and measures of the layer.

    Args:
        measured: The measures of the run.
        step: The step; None for the last.
    """
    first = next(iter(measured.layers.values()))
    when = _when(measured.moments[first.place(step)])
    labels = _text_table(f"What the filters are: {when}; formed, of the whole run", list(_LABELS))
    whole = _text_table(f"The layers as a whole: {when}", list(_WHOLE))
    for layer in measured.layers.values():
        index = layer.place(step)
        values: Values = {
            "layer": layer.info.name,
            "filters": layer.info.filters,
            "half_formed": layer.half_formed,
            "mostly_formed": layer.mostly_formed,
            "at_rest": layer.at_rest,
            **{name: column[index] for name, column in layer.whole.items()},
        }
        labels.add_row(*(text(values) for text in _LABELS.values()))
        whole.add_row(*(text(values) for text in _WHOLE.values()))
    whole.caption = _too_large(measured) or None
    return [labels, whole]


def _too_large(measured: Measurement) -> str:
    """Name the measures that were left out of large layers; empty where there are none."""
    lines = [
        f"{layer.info.name} is too large to measure its {', '.join(layer.too_large_for)}"
        for layer in measured.layers.values()
        if layer.too_large_for
    ]
    return "\n".join(lines)


def each_filter(measured: Measurement, name: str, step: int | None = None) -> TextTable:
    """Return a table with a row a filter of one layer.

    Args:
        measured: The measures of the run.
        name: The layer's name.
        step: The step; None for the last.
    """
    layer = measured.layers[name]
    index = layer.place(step)
    table = _text_table(f"The filters of {name}: {_when(measured.moments[index])}", list(_FILTER))
    rows = layer.rows([index])
    shown = min(layer.info.filters, _MOST_ROWS)
    if shown < layer.info.filters:
        table.caption = f"… and {layer.info.filters - shown} more; a CSV or JSON file holds all"
    for number in range(shown):
        values = {key: column[number] for key, column in rows.items()}
        table.add_row(*(text(values) for text in _FILTER.values()))
    return table


def write_csv(measured: Measurement, path: Path, step: int | None = None) -> None:
    """Write a row a filter and step as CSV; a value that is not known is empty.

    Args:
        measured: The measures of the run.
        path: The file; an existing one is replaced.
        step: Rows of this step only; None for all.

    Raises:
        FiltertrackError: If that step was not measured.
        OSError: If the file cannot be written.
    """
    parts = [
        (layer, index)
        for layer in measured.layers.values()
        for index in (range(len(layer.steps)) if step is None else [layer.place(step)])
    ]

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        for number, (layer, index) in enumerate(parts):  # one snapshot at a time in memory
            table = layer.rows([index])
            if not number:
                writer.writerow(table)
            writer.writerows(zip(*map(_plain, table.values()), strict=True))
        text.detach()

    write_whole(path, write)


def write_json(measured: Measurement, path: Path, step: int | None = None) -> None:
    """Write all measures as JSON; a value that is not known is ``null``.

    Args:
        measured: The measures of the run.
        path: The file; an existing one is replaced.
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
    indices = range(len(layer.steps)) if step is None else [layer.place(step)]
    return {
        "kernel": list(layer.info.kernel_shape),
        "half_formed": _value(layer.half_formed),
        "mostly_formed": _value(layer.mostly_formed),
        "at_rest": _value(layer.at_rest),
        "too_large_for": list(layer.too_large_for),
        "formed": _plain(layer.formed),
        "steps": list(layer.steps),
        "layer": {key: _plain(values) for key, values in layer.whole.items()},
        "filters_at": [layer.steps[index] for index in indices],
        "filters": {
            key: [_plain(values[index]) for index in indices]
            for key, values in layer.filters.items()
        },
    }


def _text_table(title: str, columns: Sequence[str]) -> TextTable:
    table = TextTable(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.caption_justify = "left"
    table.padding = (0, 0, 0, 1)
    for name in columns:
        left = name in {"layer", "label"}
        table.add_column(name, justify="left" if left else "right", no_wrap=True, vertical="bottom")
    return table


def _when(moment: Moment) -> str:
    when, step = describe(moment), f"step {moment.step}"
    return when if when.startswith(step) else f"{step}, {when}"


def _finite(text: Callable[[float], str]) -> Callable[[float], str]:
    """Return a function that formats finite numbers with ``text``, and others as ``NOTHING``."""
    return lambda value: text(value) if math.isfinite(value) else NOTHING


_count = _finite(lambda value: f"{value:.0f}" if value else NOTHING)
_step = _finite("{:.0f}".format)
_number = _finite("{:.2f}".format)
_share = _finite("{:.0%}".format)
_norm = _finite(number_text)


def _degrees(values: Values) -> str:
    """Format the direction of a filter; ``NOTHING`` where it is not oriented."""
    oriented = values["selectivity"] >= _ORIENTED
    return f"{round(values['degrees']) % 180}°" if oriented else NOTHING


def _like(values: Values) -> str:
    """Format the number of the most similar filter and the cosine with it."""
    cosine = values["twin_cosine"]
    return f"{values['twin']}: {cosine:.2f}" if math.isfinite(cosine) else NOTHING


def _of(name: str, text: Callable[[Any], str]) -> Callable[[Values], str]:
    """Return a function that formats the named value of a row."""
    return lambda values: text(values[name])


Columns = Mapping[str, Callable[[Values], str]]

_LABELS: Columns = {
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
    """Return plain Python values for CSV and JSON; None for one that is not known."""
    return [_value(value) for value in np.asarray(values).tolist()]


def _value(value: Any) -> Any:
    """Return a number rounded to six digits, about the precision of a weight; others unchanged."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.6g}")
