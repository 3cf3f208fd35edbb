"""The responses of a layer, and the pictures of the probes, as data of an HTML file.

Maps are kept as they are stored, each probe's in messages of its own, so that the page unpacks only
those of the probe that it shows. ``page/file_responses.js`` reads them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.response import LayerResponse, StoredProbes
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.run import Run, recorded_probes
from filtertrack.web.file_data import ARRAY_LEVEL
from filtertrack.web.payload import pack
from filtertrack.web.probe_answers import ABSENT, draw_probe, response_at, silent_filters

_MOST_BYTES = 1 << 20
"""Bytes of the maps to one probe in a message, unless a single snapshot has more."""
_SIDES = (512, 256, 128, 64, 32)
"""Heights and widths of pictures, at most, of which the largest is chosen that is small enough."""


class MapsInFile(TypedDict):
    """The maps at some steps.

    Attributes:
        steps: The steps.
        type: ``"uint8"`` or ``"int8"``.
        maps: Of each probe the element with the maps of all filters.
    """

    steps: list[int]
    type: str
    maps: list[str]


class ResponsesInFile(TypedDict):
    """The responses of a layer.

    Attributes:
        parts: The maps, one entry after the other over the steps.
        map_shape: Height and width of a map.
        absent: Step to the reason, for each snapshot that holds no responses.
        damaged: Step to the reason, for each snapshot that could not be read.
        silent: Of each step with responses, whether each filter answered to no probe; None where
            that is not known, as of a layer whose responses may be negative.
        statistics: The element with the highest, the lowest and the mean value of each feature map
            of the probes with maps: an array of shape ``(3, probes, filters)`` a step.
        places: The element with the strongest places: an array of shape ``(4, filters, places)`` a
            step.
    """

    parts: list[MapsInFile]
    map_shape: tuple[int, int]
    absent: dict[int, str]
    damaged: dict[int, str]
    silent: list[list[bool | None] | None]
    statistics: str
    places: str


@dataclass(slots=True)
class MapPart:
    """The maps of a layer at some steps, packed: a message for each probe."""

    steps: list[int]
    type: str
    maps: list[bytes]


@dataclass(slots=True)
class PackedResponses:
    """The responses of a layer at the steps of a file, packed; see ``ResponsesInFile``.

    Attributes:
        strongest: The numbers of the probes in which strongest places are.
    """

    parts: list[MapPart] = field(default_factory=list)
    absent: dict[int, str] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    silent: list[list[bool | None] | None] = field(default_factory=list)
    statistics: bytes = b""
    places: bytes = b""
    strongest: set[int] = field(default_factory=set)

    def in_file(
        self, map_shape: tuple[int, int], maps: int, add: Callable[[bytes], str]
    ) -> ResponsesInFile:
        """Add the messages to a file.

        Args:
            map_shape: Height and width of a map.
            maps: Of how many probes the maps are added, at most.
            add: Adds an element, and returns its name.
        """
        parts: list[MapsInFile] = [
            {
                "steps": part.steps,
                "type": part.type,
                "maps": [add(each) for each in part.maps[:maps]],
            }
            for part in self.parts
        ]
        return {
            "parts": parts,
            "map_shape": map_shape,
            "absent": self.absent,
            "damaged": self.damaged,
            "silent": self.silent,
            "statistics": add(self.statistics),
            "places": add(self.places),
        }


def pack_responses(
    run: Run, info: LayerInfo, maps: int, rewrite: Callable[[str], str]
) -> PackedResponses:
    """Read and pack the responses of a layer at all steps of a run.

    Args:
        run: The run.
        info: The layer.
        maps: Of how many probes the maps are packed.
        rewrite: Changes the reason why a snapshot cannot be read, such as to shorten paths in it.

    Raises:
        FiltertrackError: If the run has no probes, or the file of the probes is damaged.
    """
    rectified = recorded_probes(run).layer(info.name).rectified
    found = PackedResponses()
    statistics: list[np.ndarray] = []
    places: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for step in run.steps:
        try:
            response = response_at(run, info, step)
        except FiltertrackError as error:
            found.damaged[step] = rewrite(str(error))
            continue
        if response is None:
            found.absent[step] = ABSENT
            continue
        kept = response.maps[:maps]
        if not waiting or not _fits(kept, waiting):
            _pack_maps(found, waiting)
            found.parts.append(MapPart([], kept.dtype.name, []))
        waiting.append(kept)
        found.parts[-1].steps.append(step)
        statistics.append(response.statistics[:, : len(kept)])
        places.append(np.moveaxis(response.places, -1, 0))
        numbers = np.unique(response.places[..., 0])
        found.strongest.update(int(number) for number in numbers if number >= 0)
        found.silent.append(_silent(response) if rectified else None)
    _pack_maps(found, waiting)
    found.statistics, found.places = _packed(statistics), _packed(places)
    return found


def _silent(response: LayerResponse) -> list[bool | None]:
    return silent_filters(response, range(response.highest.shape[1]))


def _fits(maps: np.ndarray, waiting: Sequence[np.ndarray]) -> bool:
    """Return whether maps fit into the same part as those before."""
    size = (len(waiting) + 1) * maps.nbytes
    return maps.dtype == waiting[0].dtype and size <= max(1, len(maps)) * _MOST_BYTES


def _pack_maps(found: PackedResponses, waiting: list[np.ndarray]) -> None:
    """Pack the maps that belong to the last part, and empty the list."""
    if waiting:
        found.parts[-1].maps = [
            _packed([maps[probe] for maps in waiting]) for probe in range(len(waiting[0]))
        ]
        waiting.clear()


def _packed(arrays: Sequence[np.ndarray]) -> bytes:
    head = {
        "responses": list(range(len(arrays))),
        "type": arrays[0].dtype.name if arrays else None,
        "shape": arrays[0].shape if arrays else None,
    }
    return pack(head, arrays, ARRAY_LEVEL)


class PicturesInFile(TypedDict):
    """The pictures of the probes of one input.

    Attributes:
        id: The element that holds them: an array of colours for each; None if they are no pictures.
        probes: The numbers of the probes.
    """

    id: str | None
    probes: list[int]


@dataclass(frozen=True, slots=True)
class PackedPictures:
    """The pictures of the probes of one input, packed; see ``PicturesInFile``.

    Attributes:
        message: The pictures; None if there are none.
        probes: The numbers of their probes.
        thinned: What was left out to keep them small, in words; empty if nothing was.
    """

    message: bytes | None = None
    probes: tuple[int, ...] = ()
    thinned: str = ""

    def in_file(self, add: Callable[[bytes], str]) -> PicturesInFile:
        """Add the pictures to a file; ``add`` adds an element, and returns its name."""
        name = None if self.message is None else add(self.message)
        return {"id": name, "probes": list(self.probes)}


def pack_pictures(
    probes: StoredProbes, numbers: Iterable[int], input_name: str, most_bytes: int
) -> PackedPictures:
    """Pack pictures of probes; large ones are reduced, and the last ones left out, to fit.

    Args:
        probes: The probes of a run.
        numbers: The numbers of the probes.
        input_name: The input of the model.
        most_bytes: Bytes of all pictures before they are compressed, at most.
    """
    pictures, wanted = probes.pictures(input_name), tuple(numbers)
    if pictures is None or not wanted:
        return PackedPictures()
    height, width = pictures.shape[1:3]
    for side in _SIDES:
        every = -(-max(height, width) // side)
        each = 3 * -(-height // every) * -(-width // every)
        if len(wanted) * each <= most_bytes:
            break
    chosen = wanted[: most_bytes // each]
    if not chosen:
        return PackedPictures(thinned="no pictures of probes")
    colours = [draw_probe(pictures[number], side) for number in chosen]
    shown = colours[0].shape[:2]
    notes = []
    if shown != draw_probe(pictures[chosen[0]]).shape[:2]:
        notes.append(f"pictures of probes are reduced to {shown[0]}×{shown[1]}")
    if len(chosen) < len(wanted):
        notes.append(f"pictures of {len(chosen)} of {len(wanted)} probes")
    head = {
        "responses": chosen,
        "size": (height, width),
        "type": "uint8",
        "shape": colours[0].shape,
    }
    return PackedPictures(pack(head, colours, ARRAY_LEVEL), chosen, "; ".join(notes))
