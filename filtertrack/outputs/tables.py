"""Write the measures of a run as sentences, tables for a terminal, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table as TextTable

from filtertrack.errors import counted, listed, number_text
from filtertrack.measures import LABELS
from filtertrack.outputs.measurement import MeasuredLayer, Measurement
from filtertrack.snapshot import Moment, describe
from filtertrack.storage.local_files import write_whole

NOTHING = "–"
"""The text of a value that is zero or not known."""

Values = Mapping[str, Any]
Columns = Mapping[str, Callable[[Values], str]]
"""The head of each column of a table, and how a value of a row is formatted."""

_MOST_ROWS = 2048
"""Filters in a table for a terminal, at most: longer tables belong in a file."""
_ORIENTED = 0.2
"""Selectivity of an edge, at least, for its direction to be shown."""
_STANDARD_ERRORS = 3
"""Significant difference of the mean roughness from that of noise, in standard errors."""
_YES_OR_NO = {"silent"}
"""Columns of 0, 1 and NaN that files hold as False, True and not known."""
_NAMED = {
    "edge": "edges",
    "blob": "blobs",
    "colour blob": "colour blobs",
    "fine grating": "fine gratings",
    "other structure": "other structures",
}
"""Labels of structured filters, and their plurals."""


def with_pattern(measured: Measurement) -> Measurement:
    """Return the measures without layers of 1x1 kernels; of all layers if there are no others."""
    layers = {
        name: layer for name, layer in measured.layers.items() if _pixels(layer) > 1
    } or measured.layers
    return replace(measured, layers=layers)


def sentences(measured: Measurement, step: int | None = None) -> list[str]:
    """Return a sentence for each layer: what its filters are, since when, and which are silent.

    Args:
        measured: The measures of the run.
        step: The step; None for the last.

    Raises:
        FiltertrackError: If that step was not measured.

    Example:
        >>> from filtertrack.outputs.measurement import measure
        >>> print(sentences(measure("tests/golden/run-v1", layers="conv1"))[0][:67])
        conv1: 4 filters of 3x3, too small to be told from noise one by one
    """
    texts = []
    for name, layer in measured.layers.items():
        index = layer.place(step)
        clauses = [
            *_clauses(layer, measured.moments, index),
            *_answers(layer, measured.probe_count, index),
        ]
        texts.append(f"{name}: {'; '.join(clauses)}.")
    return texts


def _clauses(layer: MeasuredLayer, moments: Sequence[Moment], index: int) -> Iterator[str]:
    """Yield the clauses of a layer's sentence."""
    filters = counted(layer.info.filters, "filters")
    if reason := _why_not_labelled(layer):
        yield filters + reason
        return
    named = _named(layer, index)
    infinite = int((~np.isfinite(layer.filters["norm"][index])).sum())
    small = layer.whole["unknown"][index] - infinite > layer.info.filters / 2
    if small:
        yield from _small_kernels(layer, named, index)
    else:
        structured = f"none of {filters} is structured" + (" yet" if index else "")
        yield f"{named} of {filters}" if named else structured
    if infinite:
        yield f"{counted(infinite, 'filters')} with values that are not finite"
    if len(layer.steps) > 1:
        if not layer.filters["change"].any():
            yield "its weights never changed"
        elif named and not small:
            yield _formed(layer, moments, index)


def _why_not_labelled(layer: MeasuredLayer) -> str:
    """Say why a layer has no labels; empty if it has."""
    if not layer.info.filters:
        return " in it"
    if "label" in layer.too_large_for:
        return ", too many to compare each with noise"
    return "" if _pixels(layer) > 1 else " of 1x1 pixels, which have no spatial pattern"


def _named(layer: MeasuredLayer, index: int) -> str:
    """Count the structured filters of a layer by label: "2 edges and 1 blob"; empty if none."""
    counts = [(int(layer.whole[label][index]), plural) for label, plural in _NAMED.items()]
    *first, last = ["", *(counted(count, plural) for count, plural in counts if count)]
    return " and ".join(filter(None, [", ".join(filter(None, first)), last]))


def _small_kernels(layer: MeasuredLayer, named: str, index: int) -> Iterator[str]:
    """Yield what can be said of kernels in which most filters cannot be told from noise."""
    height, width = layer.info.shape[1:3]
    slices = f"{layer.info.slices}x" if layer.info.slices > 1 else ""
    size = f"{slices}{height}x{width // layer.info.slices}"
    filters = f"{counted(layer.info.filters, 'filters')} of {size}"
    small = "too small to be told from noise one by one"
    yield f"{named} of {filters}; the others are {small}" if named else f"{filters}, {small}"
    yield from _whole_layer(layer.filters["roughness"][index])


def _whole_layer(roughness: np.ndarray) -> Iterator[str]:
    """Yield what the mean roughness of a layer's filters says, if there are enough filters."""
    finite = roughness[np.isfinite(roughness)]
    if len(finite) < 2:
        return
    mean, error = finite.mean(), finite.std(ddof=1) / math.sqrt(len(finite))
    if abs(mean - 1) <= _STANDARD_ERRORS * error:
        compared = "neither smoother nor rougher than noise"
    else:
        compared = f"{'smoother' if mean < 1 else 'rougher'} than noise"
    yield f"together they are {compared} (mean roughness {mean:.2f}; noise has 1)"


def _formed(layer: MeasuredLayer, moments: Sequence[Moment], index: int) -> str:
    """Say from when on half of a layer's filters were structured."""
    whole_run = "" if index == len(layer.steps) - 1 else "over the whole run "
    if not math.isfinite(layer.half_formed):
        return f"{whole_run}fewer than half were structured at the end"
    moment = moments[layer.steps.index(int(layer.half_formed))]
    if moment.step == layer.steps[0]:
        return f"{whole_run}half were structured from the first snapshot on"
    if moment.counts_epochs:
        return f"{whole_run}half were structured from epoch {moment.epoch} on"
    number = f"step {moment.step}" if moment.batch is None else f"batch {moment.batch}"
    return f"{whole_run}half were structured from {number} on"


def _answers(layer: MeasuredLayer, probes: int, index: int) -> Iterator[str]:
    """Yield which filters answered to none of the probes, and what was read of the layer."""
    if layer.probed is None:
        return
    read, of_probes = f"(read: {layer.probed.read})", f"of {counted(probes, 'probes')}"
    if not layer.probed.rectified:
        yield f"responses to probes may be negative {read}"
        return
    silent = _silent(layer, index)
    if not math.isfinite(silent):
        return
    unknown = int(np.isnan(layer.filters["silent"][index]).sum())
    if silent:
        filters = counted(int(silent), "filters")
        numbers = np.flatnonzero(layer.filters["silent"][index] == 1)
        named = f"number{'s' if len(numbers) > 1 else ''} {listed([str(n) for n in numbers])}"
        yield f"{filters} silent ({named}), with no response to any {of_probes} {read}"
    elif not unknown:
        yield f"each filter responds to some {of_probes} {read}"
    if unknown:
        yield f"responses of {counted(unknown, 'filters')} are not finite"


def _silent(layer: MeasuredLayer, index: int) -> float:
    """Count the silent filters of a layer; NaN where that is not known."""
    silent = layer.filters["silent"][index] if "silent" in layer.filters else np.empty(0)
    known = silent[np.isfinite(silent)]
    return float(known.sum()) if len(known) else math.nan


def _pixels(layer: MeasuredLayer) -> int:
    return layer.info.shape[1] * layer.info.shape[2]


def overview(measured: Measurement, step: int | None = None) -> list[TextTable]:
    """Return tables with a row a layer: labels of its filters, changes, measures of the kernel.

    Labels that no filter has are left out. A last table has the measures of responses, if the run
    has probes.

    Args:
        measured: The measures of the run.
        step: The step; None for the last.
    """
    first = next(iter(measured.layers.values()))
    when = _when(measured.moments[first.place(step)])
    rows: list[Values] = [
        {
            "layer": layer.info.name,
            "filters": layer.info.filters,
            "half_formed": layer.half_formed,
            "mostly_formed": layer.mostly_formed,
            "at_rest": layer.at_rest,
            "silent": _silent(layer, layer.place(step)),
            **{name: column[layer.place(step)] for name, column in layer.whole.items()},
        }
        for layer in measured.layers.values()
    ]
    tables = [
        _text_table(f"What the filters are: {when}", _LABELS, rows, optional=LABELS),
        _text_table(f"How they changed: {when}; structured, at rest: whole run", _CHANGES, rows),
        _text_table(f"The layers as a whole: {when}", _WHOLE, rows),
    ]
    tables[-1].caption = _too_large(measured) or None
    if measured.probe_count:
        probes = counted(measured.probe_count, "probes")
        title = f"What the filters respond to: {when}; {probes}"
        tables.append(_text_table(title, _RESPONSES, rows, optional=("class selectivity",)))
    return tables


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
    title = f"The filters of {name}: {_when(measured.moments[index])}"
    return _filter_table(title, layer, index, _FILTER, ("colour", "degrees", "copy of"))


def _filter_table(
    title: str, layer: MeasuredLayer, index: int, heads: Columns, optional: Sequence[str]
) -> TextTable:
    """Return a table with a row a filter of a layer at one snapshot."""
    columns = layer.rows([index])
    shown = min(layer.info.filters, _MOST_ROWS)
    rows = [{key: column[number] for key, column in columns.items()} for number in range(shown)]
    table = _text_table(title, heads, rows, optional)
    if shown < layer.info.filters:
        table.caption = f"… and {layer.info.filters - shown} more; a CSV or JSON file holds all"
    return table


def responses_of_filters(
    measured: Measurement, name: str, step: int | None = None
) -> TextTable | None:
    """Return a table with a row a filter of one layer: the measures of its responses to probes.

    Args:
        measured: The measures of the run.
        name: The layer's name.
        step: The step; None for the last.

    Returns:
        The table; None if the layer has no such measures at that step.
    """
    layer = measured.layers[name]
    index = layer.place(step)
    if not math.isfinite(_silent(layer, index)):
        return None
    title = f"What the filters of {name} respond to: {_when(measured.moments[index])}"
    return _filter_table(title, layer, index, _FILTER_RESPONSES, _OF_CLASSES)


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
            writer.writerows(zip(*(_plain(*column) for column in table.items()), strict=True))
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
    whole: dict[str, Any] = {"run": str(measured.run.path), "layers": layers}
    if measured.probe_count:
        whole["probes"] = measured.probe_count
    text = json.dumps(whole, allow_nan=False).encode()
    write_whole(path, lambda file: file.write(text))


def _layer(layer: MeasuredLayer, step: int | None) -> dict[str, Any]:
    indices = range(len(layer.steps)) if step is None else [layer.place(step)]
    probed: dict[str, Any] = {}
    if layer.probed is not None:
        read = {"read": layer.probed.read, "rectified": layer.probed.rectified}
        probed["responses"] = read
    if layer.answers_from is not None:
        probed["answers_from"] = _plain("answers_from", layer.answers_from)
    return {
        "kernel": list(layer.info.kernel_shape),
        "half_formed": _value(layer.half_formed),
        "mostly_formed": _value(layer.mostly_formed),
        "at_rest": _value(layer.at_rest),
        "too_large_for": list(layer.too_large_for),
        **probed,
        "formed": _plain("formed", layer.formed),
        "steps": list(layer.steps),
        "layer": {key: _plain(key, values) for key, values in layer.whole.items()},
        "filters_at": [layer.steps[index] for index in indices],
        "filters": {
            key: [_plain(key, values[index]) for index in indices]
            for key, values in layer.filters.items()
        },
    }


def _text_table(
    title: str, columns: Columns, rows: Sequence[Values], optional: Sequence[str] = ()
) -> TextTable:
    """Return a table with whole words in its heads; optional columns without values are left out.

    A head has a line a word.
    """
    table = TextTable(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.caption_justify = "left"
    table.padding, table.show_edge = 0, False  # the box has a space between columns
    texts = {name: [text(values) for values in rows] for name, text in columns.items()}
    shown = {
        name: column
        for name, column in texts.items()
        if name not in optional or set(column) - {NOTHING}
    }
    for name in shown:
        left = name in {"layer", "label"}
        head = name.replace(" ", "\n").replace("90\n%", "90 %")
        table.add_column(head, justify="left" if left else "right", no_wrap=True, vertical="bottom")
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
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
_norm = _finite(number_text)


def _degrees(values: Values) -> str:
    """Format the direction of a filter; ``NOTHING`` where it is not oriented."""
    oriented = values["selectivity"] >= _ORIENTED
    return f"{round(values['degrees']) % 180}°" if oriented else NOTHING


def _best_fit(values: Values) -> str:
    """Format the fit of the best template; ``NOTHING`` where none is fitted."""
    fits = [values[f"{name}_excess"] for name in ("gabor", "blob", "grating")]
    return _number(max((fit for fit in fits if math.isfinite(fit)), default=math.nan))


def _copy_of(values: Values) -> str:
    """Format the number of the filter that a filter nearly repeats."""
    return str(values["twin"]) if values["repeated"] else NOTHING


def _of(name: str, text: Callable[[Any], str]) -> Callable[[Values], str]:
    """Return a function that formats the named value of a row."""
    return lambda values: text(values[name])


_LABELS: Columns = {
    "layer": _of("layer", str),
    **{name: _of(name, _count) for name in LABELS},
}

_CHANGES: Columns = {
    "layer": _of("layer", str),
    "filters": _of("filters", str),
    "half structured": _of("half_formed", _step),
    "90 % structured": _of("mostly_formed", _step),
    "at rest": _of("at_rest", _step),
    "rotation": _of("rotation", _number),
    "unmoved": _of("unmoved", _count),
    "repeated": _of("repeated", _count),
}

_WHOLE: Columns = {
    "layer": _of("layer", str),
    "near zero": _of("near_zero", _count),
    "sparsity": _of("sparsity", _number),
    "variance entropy": _of("variance_entropy", _number),
    "random from": _of("entropy_threshold", _number),
    "orthogonality": _of("orthogonality", _number),
    "effective rank": _of("effective_rank", _number),
}

_OF_CLASSES = ("class selectivity", "preferred class")
_RESPONSES: Columns = {
    "layer": _of("layer", str),
    "filters": _of("filters", str),
    "silent": _of("silent", _step),
    "lifetime sparsity": _of("lifetime_sparsity", _number),
    "class selectivity": _of("class_selectivity", _number),
}
_FILTER_RESPONSES: Columns = {
    "filter": _of("filter", str),
    "silent": _of("silent", _finite(lambda value: "yes" if value else "no")),
    "answers from": _of("answers_from", _step),
    "lifetime sparsity": _of("lifetime_sparsity", _number),
    "class selectivity": _of("class_selectivity", _number),
    "preferred class": _of("preferred_class", _step),
}

_FILTER: Columns = {
    "filter": _of("filter", str),
    "label": _of("label", str),
    "structured from": _of("formed", _step),
    "norm": _of("norm", _norm),
    "drift": _of("drift", _number),
    "roughness": _of("roughness", _number),
    "best fit": _best_fit,
    "degrees": _degrees,
    "colour": _of("colour", _number),
    "copy of": _copy_of,
}


def _plain(name: str, values: np.ndarray | Sequence[Any]) -> list[Any]:
    """Return a column's plain Python values for CSV and JSON; None for one that is not known."""
    plain = [_value(value) for value in np.asarray(values).tolist()]
    if name not in _YES_OR_NO:
        return plain
    return [value if value is None else bool(value) for value in plain]


def _value(value: Any) -> Any:
    """Return a number rounded to six digits, about the precision of a weight; others unchanged."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.6g}")
