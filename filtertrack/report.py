"""What was measured of a run, as text: tables for a terminal, CSV, JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table as Grid

from filtertrack.caption import describe, number_text
from filtertrack.files import write_whole
from filtertrack.measurement import MeasuredLayer, Measurement
from filtertrack.snapshot import Moment

NOTHING = "–"
"""Where nothing can be said, or nothing is."""

Values = Mapping[str, Any]

_ORIENTED = 0.2
"""Selectivity below which a direction says little."""


def overview(measured: Measurement, step: int | None = None) -> list[Grid]:
    """Return two tables with a row a layer: what its filters are, and the layer as a whole.

    Args:
        measured: The run.
        step: As it is at this step; None for the last.
    """
    first = next(iter(measured.layers.values()))
    when = _when(measured.moments[first.place(step)])
    kinds = _grid(f"What the filters are: {when}; formed, of the whole run", list(_KINDS))
    whole = _grid(f"The layers as a whole: {when}", list(_WHOLE))
    for layer in measured.layers.values():
        place = layer.place(step)
        values = {name: column[place] for name, column in layer.whole.items()}
        kinds.add_row(*(text(layer, values) for text in _KINDS.values()))
        whole.add_row(*(text(layer, values) for text in _WHOLE.values()))
    return [kinds, whole]


def each_filter(measured: Measurement, name: str, step: int | None = None) -> Grid:
    """Return a table with a row a filter of one layer.

    Args:
        measured: The run.
        name: Which layer.
        step: As it is at this step; None for the last.
    """
    layer = measured.layers[name]
    place = layer.place(step)
    grid = _grid(f"The filters of {name}: {_when(measured.moments[place])}", list(_FILTER))
    rows = layer.rows([place])
    for number in range(layer.info.filters):
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
    table = measured.history() if step is None else measured.filters(step)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*map(_plain, table.values()), strict=True))
    write_whole(path, lambda file: file.write(text.getvalue().encode()))


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
    places = range(len(layer.steps)) if step is None else [layer.place(step)]
    return {
        "kernel": list(layer.info.kernel_shape),
        "half_formed": _value(layer.half_formed),
        "mostly_formed": _value(layer.mostly_formed),
        "at_rest": _value(layer.at_rest),
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
    grid.padding = (0, 0, 0, 1)
    for name in columns:
        left = name in {"layer", "label"}
        grid.add_column(name, justify="left" if left else "right", no_wrap=True, vertical="bottom")
    return grid


def _when(moment: Moment) -> str:
    return f"step {moment.step}, {describe(moment)}"


def _count(value: float) -> str:
    return str(int(value)) if value else NOTHING


def _step(value: float) -> str:
    return NOTHING if math.isnan(value) else str(int(value))


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else NOTHING


def _norm(value: float) -> str:
    return number_text(value) if math.isfinite(value) else NOTHING


def _share(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else NOTHING


def _degrees(degrees: float, selectivity: float) -> str:
    """Write a direction where there is one to speak of."""
    return f"{round(degrees) % 180}°" if selectivity >= _ORIENTED else NOTHING


def _like(number: int, cosine: float) -> str:
    return f"{number}: {cosine:.2f}" if math.isfinite(cosine) else NOTHING


_KINDS: Mapping[str, Callable[[MeasuredLayer, Values], str]] = {
    "layer": lambda layer, _: layer.info.name,
    "filters": lambda layer, _: str(layer.info.filters),
    "edge": lambda _, values: _count(values["edge"]),
    "blob": lambda _, values: _count(values["blob"]),
    "colour\nblob": lambda _, values: _count(values["colour blob"]),
    "other": lambda _, values: _count(values["other structure"]),
    "un-\nstruct.": lambda _, values: _count(values["unstructured"]),
    "un-\nknown": lambda _, values: _count(values["unknown"]),
    "half\nformed": lambda layer, _: _step(layer.half_formed),
    "90 %\nformed": lambda layer, _: _step(layer.mostly_formed),
    "at\nrest": lambda layer, _: _step(layer.at_rest),
}

_WHOLE: Mapping[str, Callable[[MeasuredLayer, Values], str]] = {
    "layer": lambda layer, _: layer.info.name,
    "struc-\ntured": lambda _, values: _share(values["structured"]),
    "rota-\ntion": lambda _, values: _number(values["rotation"]),
    "un-\nmoved": lambda _, values: _count(values["unmoved"]),
    "re-\npeated": lambda _, values: _count(values["repeated"]),
    "near\nzero": lambda _, values: _count(values["near_zero"]),
    "spar-\nsity": lambda _, values: _number(values["sparsity"]),
    "entropy": lambda _, values: _number(values["variance_entropy"]),
    "random\nfrom": lambda _, values: _number(values["entropy_threshold"]),
    "orthog-\nonality": lambda _, values: _number(values["orthogonality"]),
    "effect.\nrank": lambda _, values: _number(values["effective_rank"]),
}

_FILTER: Mapping[str, Callable[[Values], str]] = {
    "filter": lambda values: str(values["filter"]),
    "label": lambda values: str(values["label"]),
    "formed": lambda values: _step(values["formed"]),
    "norm": lambda values: _norm(float(values["norm"])),
    "drift": lambda values: _number(values["drift"]),
    "rough-\nness": lambda values: _number(values["roughness"]),
    "Gabor\nfit": lambda values: _number(values["gabor_excess"]),
    "blob\nfit": lambda values: _number(values["blob_excess"]),
    "direc-\ntion": lambda values: _degrees(values["degrees"], values["selectivity"]),
    "colour": lambda values: _number(values["colour"]),
    "flat": lambda values: _number(values["flat"]),
    "most\nlike": lambda values: _like(values["twin"], values["twin_cosine"]),
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
