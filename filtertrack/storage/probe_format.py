"""Format of a run's probes: the file of the images, and the responses in each snapshot file.

``probes.npz`` holds each input of the model under ``inputs/`` and its name, the labels, and a JSON
text that describes what is read of each layer. A snapshot file holds three arrays for each of these
layers, whose shapes follow from that file.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from math import prod
from typing import Any, NamedTuple

import numpy as np

from filtertrack.errors import FiltertrackError, listed
from filtertrack.response import (
    PLACES,
    LayerResponse,
    ProbedLayer,
    ReceptiveField,
    StoredProbes,
)
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.local_files import damaged_file
from filtertrack.storage.memory_limit import check_memory, machine_memory
from filtertrack.storage.npz import ArrayReader, write_arrays
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run_format import Member, text_of

PROBES = "probes.npz"

_META = "meta"
_LABELS = "labels"
_INPUTS = "inputs/"
_MOST_TEXT = 1 << 22
_HEAD = 1 << 12
_DESCRIPTION = Member(_META, (), 4 * _MOST_TEXT + _HEAD, is_text=True)
_ARRAYS = ("response_maps", "response_statistics", "response_places")
_TYPES: Sequence[Collection[np.dtype[Any]]] = (
    {np.dtype("u1"), np.dtype("i1")},
    {np.dtype("f4")},
    {np.dtype("f4")},
)
"""Names of the arrays with the responses of a layer in a snapshot file, and their types."""


def write_probes(folder: StoragePath, probes: StoredProbes) -> None:
    """Write the probes of a run.

    Args:
        folder: The run's ``filters`` folder; it must exist.
        probes: The probes.

    Raises:
        FiltertrackError: If they are more than can be read again.
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
    text = json.dumps(meta, allow_nan=False)
    if len(text) > _MOST_TEXT:
        raise FiltertrackError(
            f"probes: what is read of {len(probes.layers)} layers takes {len(text)} characters, "
            f"expected at most {_MOST_TEXT}; choose fewer with Probes(layers=)"
        )
    # By number: the name of an input may be no safe name of a file.
    arrays = {f"{_INPUTS}{number}": probes.inputs[name] for number, name in enumerate(names)}
    check_memory(sum(array.nbytes for array in arrays.values()), "the probes take")
    if probes.labels is not None:
        arrays[_LABELS] = probes.labels
    arrays[_META] = np.array(text)
    (folder / PROBES).write_whole(lambda file: write_arrays(file, arrays))


def read_probes(
    folder: StoragePath, layers: Mapping[str, LayerInfo], within: str | None = None
) -> StoredProbes | None:
    """Read the probes of a run; None if it has none.

    Args:
        folder: The run's ``filters`` folder.
        layers: The layers of the run.
        within: A folder that links must not lead out of; None where links may lead anywhere.

    Raises:
        FiltertrackError: If the file is damaged or too large; the message names it.
        OSError: If it is on object storage and cannot be reached.
    """
    reader, path = ArrayReader(folder, within), folder / PROBES
    try:
        text = reader.read(PROBES, {_META: _DESCRIPTION.most})[_META]
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        meta = _parsed(text)
        members = [f"{_INPUTS}{number}" for number in range(len(meta["inputs"]))]
        wanted = [*members, *([_LABELS] if meta.get("labels") else [])]
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, error) from error
    arrays = reader.read(PROBES, dict.fromkeys(wanted, machine_memory()))
    try:
        inputs = dict(zip(meta["inputs"], (arrays[name] for name in members), strict=True))
        return _probes_of(meta, inputs, arrays.get(_LABELS), layers)
    except (ValueError, TypeError, AttributeError, FiltertrackError) as error:
        raise damaged_file(path, error) from error


class ProbesFile:
    """The file of a run's probes; it is read once, and again after it was replaced.

    Args:
        folder: The run's ``filters`` folder.
        within: As in ``read_probes``.
    """

    def __init__(self, folder: StoragePath, within: str | None = None) -> None:
        self._folder, self._within = folder, within
        self._known: _Known | None = None

    def read(self, layers: Mapping[str, LayerInfo], listing: object) -> StoredProbes | None:
        """Return the probes; None if there are none.

        Args:
            layers: The layers of the run.
            listing: The last listing of the run's snapshots. On object storage, where the stamp of
                a file takes a request, it is only asked for after another listing.

        Raises:
            FiltertrackError: As ``read_probes``.
            OSError: As ``read_probes``.
        """
        known = self._known
        if known and self._folder.is_remote and known.listing is listing:
            return known.probes
        stamp = self._stamp()
        if known and stamp is not None and stamp == known.stamp:
            self._known = known._replace(listing=listing)
            return known.probes
        probes = read_probes(self._folder, layers, self._within)
        if probes is not None:
            self._known = _Known(probes, stamp, listing)
        return probes

    def write(self, probes: StoredProbes, listing: object) -> None:
        """Write the probes: see ``write_probes``."""
        write_probes(self._folder, probes)
        self._known = _Known(probes, self._stamp(), listing)

    @property
    def last(self) -> StoredProbes | None:
        """The probes that were last read or written, whether the file still exists or not."""
        return self._known.probes if self._known else None

    def _stamp(self) -> int | None:
        """Return a number that changes when the file is replaced; None if it is not known."""
        try:
            return (self._folder / PROBES).stamp()
        except OSError:  # reading the file says why
            return None


class _Known(NamedTuple):
    """Probes that were read or written, the stamp of their file, and the listing at that time."""

    probes: StoredProbes
    stamp: int | None
    listing: object


def _parsed(text: np.ndarray) -> Mapping[str, Any]:
    fault = _DESCRIPTION.fault_of(text)
    meta = None if fault else json.loads(text_of(text))
    if not isinstance(meta, dict) or not isinstance(meta.get("inputs"), list):
        raise ValueError(fault or "its description is no JSON object with inputs")  # noqa: TRY004 - damage
    return meta


def _probes_of(
    meta: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    infos: Mapping[str, LayerInfo],
) -> StoredProbes:
    try:
        layers = [_layer_of(values) for values in meta["layers"]]
        maps, channels_first = meta["maps"], meta["channels_first"]
    except KeyError as error:
        raise ValueError(f"its description lacks {error}") from error
    named = {layer.name: layer for layer in layers}
    if len(named) != len(layers) or len(inputs) != len(meta["inputs"]):
        raise ValueError("it names two layers or inputs alike")
    unknown = [name for name in named if name not in infos]
    if unknown:
        raise ValueError(f"it describes layer {unknown[0]:.100}, which the run does not have")
    return StoredProbes(inputs, named, maps, labels, channels_first)


def _layer_of(values: Mapping[str, Any]) -> ProbedLayer:
    known = {each.name: values[each.name] for each in fields(ProbedLayer) if each.name in values}
    for name in ("shape", "map_shape"):
        known[name] = tuple(known[name])
    if known.get("field") is not None:
        field = known["field"]
        known["field"] = ReceptiveField(
            *(tuple(field[each.name]) for each in fields(ReceptiveField))
        )
    return ProbedLayer(**known)


def response_arrays(
    responses: Mapping[str, LayerResponse],
    layers: Mapping[str, LayerInfo],
    probes: StoredProbes | None,
) -> dict[str, np.ndarray]:
    """Return the arrays of a snapshot file that hold responses, by their names there.

    Args:
        responses: The responses of each layer by its name; empty for none.
        layers: The layers of the run.
        probes: The probes of the run.

    Raises:
        FiltertrackError: If they are not responses to these probes.
    """
    if not responses:
        return {}
    if probes is None or responses.keys() != probes.layers.keys():
        raise FiltertrackError(
            f"responses of {listed(list(responses))} do not fit the probes of the run, which has "
            f"those of {listed(list(probes.layers if probes else ())) or 'no layer'}"
        )
    arrays = {}
    for name, response in responses.items():
        values = (response.maps, response.statistics, response.places)
        for member, value in zip(response_members(layers[name], probes), values, strict=True):
            fault = member.fault_of(value)
            if fault:
                raise FiltertrackError(fault)
            arrays[member.name] = value
        try:
            response_of(layers[name], probes, arrays)
        except ValueError as error:
            raise FiltertrackError(f"layer {name}: {error}") from error
    return arrays


def response_members(info: LayerInfo, probes: StoredProbes) -> list[Member]:
    """Return the descriptions of the arrays that hold the responses of a layer.

    Raises:
        FiltertrackError: If those of the layer were not recorded.
    """
    layer, filters = probes.layer(info.name), info.filters
    shapes: Sequence[tuple[int, ...]] = (
        (probes.maps, filters, *layer.map_shape),
        (3, probes.count, filters),
        (filters, PLACES, 4),
    )
    return [
        Member(f"{info.name}/{array}", shape, max(t.itemsize for t in types) * prod(shape) + _HEAD)
        for array, shape, types in zip(_ARRAYS, shapes, _TYPES, strict=True)
    ]


def response_of(
    info: LayerInfo, probes: StoredProbes, arrays: Mapping[str, np.ndarray]
) -> LayerResponse:
    """Return the responses that the arrays of ``response_members`` hold.

    Args:
        info: The layer.
        probes: The probes of the run.
        arrays: The arrays, by their names in a snapshot file; they have the expected shapes.

    Raises:
        ValueError: If they are of other types than are written, or a place is outside of the
            feature maps.
    """
    found = [arrays[f"{info.name}/{array}"] for array in _ARRAYS]
    for array, types, what in zip(found, _TYPES, _ARRAYS, strict=True):
        if array.dtype not in types:
            raise ValueError(f"{info.name}/{what} holds values of type {array.dtype}")
    response = LayerResponse(*found)
    _check_places(response.places, (probes.count, *probes.layer(info.name).shape))
    return response


def _check_places(places: np.ndarray, sizes: Sequence[int]) -> None:
    """Check that each place is one of the feature maps, or missing: (-1, -1, -1, NaN)."""
    at, values = places[..., :3], places[..., 3]
    inside = ((at >= 0) & (at < sizes) & (at == np.rint(at))).all(axis=-1)
    missing = (at == -1).all(axis=-1) & np.isnan(values)
    if not (inside | missing).all():
        raise ValueError("a strongest place is outside of the probes or of their feature maps")
