"""What the page asks for about probes: their description, pictures and responses.

The answers of ``/probe`` and ``/responses`` are messages as ``payload.py`` describes them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError
from filtertrack.render.grid import PAGE, to_rgb
from filtertrack.render.value_range import range_of_cells
from filtertrack.response import LayerResponse, ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.probe_format import PROBES, response_members
from filtertrack.storage.run import Run, recorded_probes
from filtertrack.web.filter_answers import why_no_products
from filtertrack.web.payload import filters_per_page, finite, pack
from filtertrack.web.step_answers import StepAnswer, StepsHead

MOST_PROBES = PAGE
"""Probes whose maps of one filter are in one answer, at most."""

_MOST_SIDE = 512
"""Height and width of a probe's picture that is sent, at most."""
_MOST_LISTED = 4096
"""Labels that are sent, at most."""

ABSENT = "This snapshot holds no responses to the probes."
"""The reason why a snapshot has no responses."""


class FieldSummary(TypedDict):
    """The receptive field of a layer's outputs: see ``ReceptiveField``."""

    size: tuple[int, int]
    strides: tuple[int, int]
    offsets: tuple[int, int]


class ProbedLayerSummary(TypedDict):
    """What is read of one layer: see ``ProbedLayer``.

    Attributes:
        name: The layer's name.
        read: What is read, in words.
        rectified: Whether the values are never negative.
        shape: Height and width of the feature maps.
        map_shape: Height and width of the maps that are kept.
        block: Side of the block of values that one value of a map was shrunk from.
        input: The name of the input in which ``field`` lies.
        field: The receptive field; None if it is not known.
        products: Whether a response can be shown as the products of a patch and the kernel.
        reason: Why it cannot, for a layer that takes the probes themselves; else empty.
    """

    name: str
    read: str
    rectified: bool
    shape: tuple[int, int]
    map_shape: tuple[int, int]
    block: int
    input: str
    field: FieldSummary | None
    products: bool
    reason: str


class ProbesSummary(TypedDict):
    """The probes of a run.

    Attributes:
        count: Number of probes; 0 for a run without probes.
        maps: Of how many probes, the first ones, maps are kept.
        labels: The class of each probe; None without labels.
        layers: What is read of each layer; empty for a run without probes.
    """

    count: int
    maps: int
    labels: list[int] | None
    layers: list[ProbedLayerSummary]


class PictureHead(TypedDict):
    """The picture of a probe: one array of colours.

    Attributes:
        size: Height and width of the probe in pixels.
        type: ``"uint8"``; None if the probe is no picture.
        shape: Height, width and 3 colours of the array; smaller than ``size`` where that is large.
            None if the probe is no picture.
    """

    size: tuple[int, int] | None
    type: Literal["uint8"] | None
    shape: tuple[int, int, int] | None


class StepResponses(TypedDict):
    """The responses of the requested filters at one step.

    Attributes:
        step: The step.
        reach: The largest magnitude in each map, which the largest number of the type stands for;
            None where it is not finite.
        whole: The largest finite magnitude in all kept maps of each filter.
        silent: Of each filter whether it answered to no probe; None where that is not known, as of
            a layer whose responses may be negative.
        statistics: If one filter is requested, of each probe the highest, the lowest and the mean
            value of its feature map; else None.
        places: If one filter is requested, its strongest places as (probe, y, x, value), strongest
            first; else None.
    """

    step: int
    reach: list[float | None]
    whole: list[float]
    silent: list[bool | None]
    statistics: list[list[float | None]] | None
    places: list[list[float]] | None


class ResponsesHead(StepsHead):
    """What the arrays of an answer of ``/responses`` are: of ``uint8`` or ``int8``.

    The shape of each is maps, height and width. The maps are those of the requested probes, and for
    each of them of the requested filters.

    Attributes:
        responses: Of each array, in their order.
        absent: Step to the reason, for each snapshot that holds no responses.
    """

    responses: list[StepResponses]
    absent: dict[int, str]


def probes_size(run: Run) -> int:
    """Return the bytes of the file of a run's probes; 0 if there is none."""
    try:
        return run.folder.read_entry(PROBES, lambda file: file.size, within=run.within)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def describe_probes(run: Run) -> ProbesSummary:
    """Return what the probes of a run are, and what is read of its layers.

    Raises:
        FiltertrackError: If the file of the probes is damaged.
    """
    probes = run.probes
    if probes is None:
        return {"count": 0, "maps": 0, "labels": None, "layers": []}
    return {
        "count": probes.count,
        "maps": probes.maps,
        "labels": None if probes.labels is None else probes.labels[:_MOST_LISTED].tolist(),
        "layers": [
            _summarise(layer, why_no_products(run, run.layers[name], probes))
            for name, layer in probes.layers.items()
            if name in run.layers
        ],
    }


def _summarise(layer: ProbedLayer, reason: str | None) -> ProbedLayerSummary:
    return {
        "name": layer.name,
        "read": layer.read,
        "rectified": layer.rectified,
        "shape": layer.shape,
        "map_shape": layer.map_shape,
        "block": layer.block,
        "input": layer.input,
        "field": _summarise_field(layer.field),
        "products": reason is None,
        "reason": reason or "",
    }


def _summarise_field(field: ReceptiveField | None) -> FieldSummary | None:
    if field is None:
        return None
    return {"size": field.size, "strides": field.strides, "offsets": field.offsets}


def picture_of_probe(probes: StoredProbes, number: int, input_name: str) -> bytes:
    """Pack the picture of a probe: see ``draw_probe``.

    Args:
        probes: The probes of a run.
        number: The number of a probe.
        input_name: The model's input; there is no picture if it is not known which.

    Raises:
        FiltertrackError: If there is no such probe.
    """
    if number >= probes.count:
        raise FiltertrackError(f"probe: expected 0 to {probes.count - 1}, got {number}")
    pictures = probes.pictures(input_name)
    if pictures is None:
        return pack(PictureHead(size=None, type=None, shape=None), [])
    height, width = pictures.shape[1:3]
    colours = draw_probe(pictures[number])
    head = PictureHead(size=(height, width), type="uint8", shape=colours.shape)
    return pack(head, [colours])


def draw_probe(picture: np.ndarray, most_side: int = _MOST_SIDE) -> np.ndarray:
    """Return a probe as RGB colours: its smallest value is black, its largest is white.

    Three channels are colours; other numbers of channels are averaged. Of a large picture only
    every n-th row and column is drawn.

    Args:
        picture: Array of shape ``(height, width, channels)``.
        most_side: Height and width of the result, at most.

    Returns:
        ``uint8`` array of shape ``(height, width, 3)``.
    """
    every = math.ceil(max(picture.shape[:2]) / most_side)
    cells = picture[np.newaxis, ::every, ::every].astype(np.float64)
    if cells.shape[-1] != 3:
        with np.errstate(invalid="ignore", over="ignore"):
            cells = np.repeat(cells.mean(axis=-1, keepdims=True), 3, axis=-1)
    colours: np.ndarray = to_rgb(cells, range_of_cells(cells))[0]
    return colours


@dataclass(frozen=True, slots=True)
class ResponsePart:
    """The responses of a layer that are requested: filters to one probe, or one filter to several.

    Attributes:
        run: The run.
        info: The layer.
        filters: Numbers of filters.
        probes: Numbers of probes of which maps are kept: one, or any number for a single filter.

    Raises:
        FiltertrackError: If the run has no probes, responses of the layer were not recorded, or
            there are no such filters or no such maps.
    """

    run: Run
    info: LayerInfo
    filters: tuple[int, ...]
    probes: tuple[int, ...]

    def __post_init__(self) -> None:
        """Validate the numbers of filters and probes."""
        stored = recorded_probes(self.run)
        stored.layer(self.info.name)
        most = filters_per_page(self.info)
        _check_numbers("filters", self.filters, self.info.filters, most)
        if self.probes:
            _check_numbers("probes", self.probes, stored.maps, MOST_PROBES)
        if len(self.filters) > 1 and len(self.probes) != 1:
            raise FiltertrackError(
                f"probes: expected one for {len(self.filters)} filters, got {len(self.probes)}; "
                f"several are possible for one filter"
            )

    @property
    def size(self) -> int:
        """Bytes of a snapshot's responses of the whole layer, which are read at once."""
        return sum(each.most for each in response_members(self.info, recorded_probes(self.run)))


def _check_numbers(name: str, numbers: Sequence[int], count: int, most: int) -> None:
    if not 0 < len(numbers) <= most or len(set(numbers)) < len(numbers):
        raise FiltertrackError(f"{name}: expected 1 to {most} of them, each once")
    wrong = [n for n in numbers if n not in range(count)]
    if wrong:
        known = f"numbers from 0 to {count - 1}" if count else "none, as there are none"
        raise FiltertrackError(f"{name}: expected {known}, got {wrong[0]}")


def response_at(run: Run, info: LayerInfo, step: int) -> LayerResponse | None:
    """Return the responses of a layer at a step; None if the snapshot holds none.

    Raises:
        FiltertrackError: If the snapshot is damaged.
    """
    return run.probe_responses(info.name, step) if run.moment(step).probed else None


def responses_at(
    part: ResponsePart, first: int, last: int, rewrite: Callable[[str], str] = str
) -> tuple[bytes, bool]:
    """Pack the responses at the snapshots from ``first`` to ``last``.

    An answer holds as many snapshots as its limits allow, all of one type; its head says where to
    continue.

    Args:
        part: The filters and the probes.
        first: The first step.
        last: The last step.
        rewrite: Changes the reason why a snapshot cannot be read before it is sent, such as to
            shorten the paths in it.

    Returns:
        The message, and whether every snapshot could be read.
    """
    rectified = recorded_probes(part.run).layer(part.info.name).rectified
    answer = StepAnswer[LayerResponse | None](part.run, first, last, rewrite)
    responses: list[StepResponses] = []
    absent: dict[int, str] = {}
    for step, response in answer.readable_steps(
        lambda step: response_at(part.run, part.info, step), part.size
    ):
        if response is None:
            absent[step] = ABSENT
        elif answer.add(_maps(part, response)):
            responses.append(_describe(part, response, step, rectified=rectified))
        else:
            break
    head: ResponsesHead = {"responses": responses, "absent": absent, **answer.head}
    return pack(head, answer.arrays), not answer.damaged


def _maps(part: ResponsePart, response: LayerResponse) -> np.ndarray:
    """Return the requested maps: ``(maps, height, width)``."""
    chosen = response.maps[np.ix_(part.probes, part.filters)]
    maps: np.ndarray = chosen.reshape(-1, *chosen.shape[2:])
    return maps


def _describe(
    part: ResponsePart, response: LayerResponse, step: int, *, rectified: bool
) -> StepResponses:
    filters = list(part.filters)
    reach = np.maximum(response.highest, -response.lowest)[: len(response.maps)]
    whole = np.where(np.isfinite(reach), reach, 0)[:, filters].max(axis=0, initial=0)
    one = filters[0] if len(filters) == 1 else None
    return {
        "step": step,
        "reach": [finite(value) for value in reach[np.ix_(part.probes, filters)].ravel()],
        "whole": whole.tolist(),
        "silent": silent_filters(response, filters) if rectified else [None] * len(filters),
        "statistics": None if one is None else _statistics(response, part.probes, one),
        "places": None if one is None else _places(response.places[one]),
    }


def silent_filters(response: LayerResponse, filters: Sequence[int]) -> list[bool | None]:
    """Return whether filters of a rectified layer answered to no probe; None if not known."""
    silent = measures.silent(response.highest[:, filters])
    return [None if math.isnan(value) else bool(value) for value in silent]


def _statistics(
    response: LayerResponse, probes: Sequence[int], number: int
) -> list[list[float | None]]:
    of_filter = response.statistics[:, list(probes), number].T
    return [[finite(value) for value in values] for values in of_filter]


def _places(places: np.ndarray) -> list[list[float]]:
    known = places[np.isfinite(places).all(axis=-1) & (places[:, 0] >= 0)]
    found: list[list[float]] = known.tolist()
    return found
