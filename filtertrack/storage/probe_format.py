"""Format of a run's probes: the file of the images, and the responses in each snapshot file.

``probes.npz`` holds each input of the model under ``inputs/`` and its name, the labels, and a JSON
text that describes what is read of each layer. A snapshot file holds three arrays for each of these
layers, whose shapes follow from that file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.response import (
    PLACES,
    LayerResponse,
    ProbedLayer,
    ReceptiveField,
    StoredProbes,
)
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.local_files import damaged_file
from filtertrack.storage.memory_limit import machine_memory
from filtertrack.storage.npz import ArrayReader, write_arrays
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run_format import Member, text_member

PROBES = "probes.npz"

_META = "meta"
_LABELS = "labels"
_INPUTS = "inputs/"
_MOST_TEXT = 1 << 22
_HEAD = 1 << 12
_ARRAYS = ("response_maps", "response_statistics", "response_places")


def write_probes(folder: StoragePath, probes: StoredProbes) -> None:
    """Write the probes of a run.

    Args:
        folder: The run's ``filters`` folder; it must exist.
        probes: The probes.

    Raises:
        OSError: If the file cannot be written.
    """
    names = list(probes.inputs)
    meta = {
        "inputs": names,
        "labels": probes.labels is not None,
        "maps": probes.maps,
        "channels_first": probes.channels_first,
        "layers": [asdict(layer) for layer in probes.layers.values()],
    }
    arrays = {_META: np.array(json.dumps(meta, allow_nan=False))}
    # By number: the name of an input may be no safe name of a file.
    arrays |= {f"{_INPUTS}{number}": probes.inputs[name] for number, name in enumerate(names)}
    if probes.labels is not None:
        arrays[_LABELS] = probes.labels
    (folder / PROBES).write_whole(lambda file: write_arrays(file, arrays))


def read_probes(folder: StoragePath, within: str | None = None) -> StoredProbes | None:
    """Read the probes of a run; None if it has none.

    Args:
        folder: The run's ``filters`` folder.
        within: A folder that links must not lead out of; None where links may lead anywhere.

    Raises:
        FiltertrackError: If the file is damaged or too large.
        OSError: If it is on object storage and cannot be reached.
    """
    reader, path = ArrayReader(folder, within), folder / PROBES
    try:
        text = reader.read(PROBES, {_META: 4 * _MOST_TEXT + _HEAD})[_META]
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        meta = _parsed(text)
        members = {f"{_INPUTS}{number}": name for number, name in enumerate(meta["inputs"])}
        wanted = [*members, *([_LABELS] if meta["labels"] else [])]
        arrays = reader.read(PROBES, dict.fromkeys(wanted, machine_memory()))
        return _probes_of(meta, {name: arrays[member] for member, name in members.items()}, arrays)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged_file(path, error) from error


def _parsed(text: np.ndarray) -> Mapping[str, Any]:
    fault = text_member(_META, _MOST_TEXT).fault_of(text)
    meta = None if fault else json.loads(str(text))
    if not isinstance(meta, dict):
        raise ValueError(fault or "its description is no JSON object")  # noqa: TRY004 - damage
    return meta


def _probes_of(
    meta: Mapping[str, Any], inputs: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]
) -> StoredProbes:
    layers = [_layer_of(values) for values in meta["layers"]]
    labels = arrays.get(_LABELS)
    counts = {len(array) for array in [*inputs.values(), *([] if labels is None else [labels])]}
    if len(counts) != 1 or not 0 <= int(meta["maps"]) <= min(counts):
        raise ValueError("its inputs and labels are of different numbers of probes")
    if any(array.dtype.kind not in "buif" for array in arrays.values()):
        raise ValueError("its inputs or labels are no numbers")
    return StoredProbes(
        inputs,
        {layer.name: layer for layer in layers},
        int(meta["maps"]),
        labels,
        bool(meta["channels_first"]),
    )


def _layer_of(values: Mapping[str, Any]) -> ProbedLayer:
    known = {each.name: values[each.name] for each in fields(ProbedLayer) if each.name in values}
    for name in ("shape", "map_shape"):
        known[name] = _pair(known[name])
    if known.get("field") is not None:
        known["field"] = ReceptiveField(
            *(_pair(known["field"][each.name]) for each in fields(ReceptiveField))
        )
    return ProbedLayer(**known)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    if not (type(first) is int and type(second) is int and abs(first) + abs(second) < 1 << 32):
        raise ValueError(f"expected two whole numbers, got {values!r:.100}")
    return first, second


def response_arrays(responses: Mapping[str, LayerResponse]) -> dict[str, np.ndarray]:
    """Return the arrays of a snapshot file that hold responses, by their names there."""
    return {
        f"{name}/{array}": value
        for name, response in responses.items()
        for array, value in zip(
            _ARRAYS, (response.maps, response.statistics, response.places), strict=True
        )
    }


def response_members(info: LayerInfo, probes: StoredProbes) -> list[Member]:
    """Return the descriptions of the arrays that hold the responses of a layer.

    Raises:
        FiltertrackError: If those of the layer were not recorded.
    """
    layer, filters = probes.layer(info.name), info.filters
    shapes = (
        (probes.maps, filters, *layer.map_shape),
        (3, probes.count, filters),
        (filters, PLACES, 4),
    )
    return [
        Member(f"{info.name}/{array}", shape, 4 * int(np.prod(shape, dtype=object)) + _HEAD)
        for array, shape in zip(_ARRAYS, shapes, strict=True)
    ]


def response_of(arrays: Iterable[np.ndarray]) -> LayerResponse:
    """Return the responses that the arrays of ``response_members`` hold.

    Raises:
        FiltertrackError: If they are of other types than are written.
    """
    maps, statistics, places = arrays
    if maps.dtype not in {np.dtype("u1"), np.dtype("i1")}:
        raise FiltertrackError(f"maps hold values of type {maps.dtype}, expected uint8 or int8")
    return LayerResponse(maps, statistics, places)
