"""What is left out of an HTML file, and in which order, so that it is not larger than a limit."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from filtertrack.errors import FiltertrackError, size_text

FEWEST_STEPS = 2

_FEWEST_MAPS = 4
"""Probes whose maps are kept, at least, before weights are rounded."""
_MOST_PACKED = 4
"""Bytes of data that are packed as a trial, at most, for each byte of the file: the changes of
weights are seldom compressed better."""
_MOST_OF_TWO = 2
"""The same, of two steps: weights that are rounded are seldom compressed to half."""
_MOST_TRIED = 4
"""Numbers of steps that are tried, at most."""
_HALF, _WHOLE = 2, 4
"""Bytes of a weight: rounded, and exact."""


@dataclass(frozen=True, slots=True)
class Thinning:
    """What is left out of a file.

    Attributes:
        steps: The number of steps, of all that were selected.
        half: Whether weights are rounded to ``float16``.
        maps: Of how many probes the maps are kept, at most.
        responses: Whether there are responses at all.
    """

    steps: int
    half: bool = False
    maps: int = 0
    responses: bool = False


@dataclass(frozen=True, slots=True)
class Extent:
    """How much can be put into a file.

    Attributes:
        page_size: Bytes of the file without its contents.
        layers: The number of layers.
        steps: The number of steps; of the run that has most.
        weights: Values in the cells of a snapshot, of all runs and layers.
        maps: The number of probes with maps; of the run that has most.
        map_bytes: Bytes of the maps of one probe at one step, of all runs and layers.
        responses: Whether a run has responses.
    """

    page_size: int
    layers: int
    steps: int
    weights: int
    maps: int = 0
    map_bytes: int = 0
    responses: bool = False


class Contents(Protocol):
    """The contents of a file, before they are text."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def map_sizes(self) -> Sequence[int]:
        """Bytes of the maps of each probe in the file."""


_Contents = TypeVar("_Contents", bound=Contents)


def fit(
    extent: Extent, max_size: int, build: Callable[[Thinning], _Contents]
) -> tuple[_Contents, str]:
    """Return contents that are small enough, and what was left out of them, in words.

    First there are maps of fewer probes, then weights are rounded as well, then there are no
    responses, then steps between the first and the last are left out.

    Args:
        extent: How much there is.
        max_size: Bytes of the file, at most.
        build: Makes the contents.

    Raises:
        FiltertrackError: If two steps without responses are too large.
    """
    found = _with_all_steps(extent, max_size, build)
    built, thinning = found or _with_fewer_steps(extent, max_size, build)
    return built, describe_thinning(thinning, extent)


def _with_all_steps(
    extent: Extent, max_size: int, build: Callable[[Thinning], _Contents]
) -> tuple[_Contents, Thinning] | None:
    """Return contents with all steps that are small enough; None if there are none to be tried."""
    for thinning in _unthinned_steps(extent, _MOST_PACKED * max_size):
        built = build(thinning)
        if built.size > max_size and thinning.maps:
            maps = _fitting_maps(built, max_size)
            if maps < min(thinning.maps, 1 if thinning.half else _FEWEST_MAPS):
                continue
            thinning = replace(thinning, maps=maps)  # noqa: PLW2901
            built = build(thinning)
        if built.size <= max_size:
            return built, thinning
    return None


def _unthinned_steps(extent: Extent, most_packed: int) -> Iterator[Thinning]:
    """Yield what to try with all steps, except what is too large to be tried."""
    map_bytes = extent.map_bytes * extent.steps
    maps = min(extent.maps, most_packed // map_bytes) if map_bytes else extent.maps
    possible = [
        half
        for half, size in ((False, _WHOLE), (True, _HALF))
        if size * extent.weights * extent.steps <= most_packed
    ]
    if extent.responses and (maps or not extent.maps):
        for half in possible:
            yield Thinning(extent.steps, half, maps, responses=True)
    if False in possible:
        yield Thinning(extent.steps)


def _with_fewer_steps(
    extent: Extent, max_size: int, build: Callable[[Thinning], _Contents]
) -> tuple[_Contents, Thinning]:
    """Return contents with rounded weights and as many steps as fit, without responses.

    How many there can be follows from the size of two steps, and of more that were tried.

    Raises:
        FiltertrackError: If two steps are too large.
    """
    steps = min(extent.steps, FEWEST_STEPS)
    unpacked = _HALF * extent.weights * steps
    if unpacked > _MOST_OF_TWO * max_size:
        raise _too_large(extent, f"{size_text(unpacked)} before compression", max_size)
    fewest = built = build(Thinning(steps, half=True))
    if built.size > max_size:
        raise _too_large(extent, size_text(built.size), max_size)
    best, most = steps, extent.steps
    if _HALF * extent.weights * most > _MOST_PACKED * max_size:
        most = min(most, math.floor(steps * max_size / built.size))
    for _ in range(_MOST_TRIED):
        if most <= best:
            break
        tried = build(Thinning(most, half=True))
        if tried.size <= max_size:
            best, built = most, tried
        each = max(1, tried.size - fewest.size) / (most - steps)
        most = min(extent.steps, steps + math.floor(0.98 * (max_size - fewest.size) / each))
    return built, Thinning(best, half=True)


def _fitting_maps(contents: Contents, max_size: int) -> int:
    """Return of how many probes the maps can be kept."""
    without = contents.size - sum(contents.map_sizes)
    return int((without + np.cumsum(contents.map_sizes) <= max_size).sum())


def _too_large(extent: Extent, size: str, max_size: int) -> FiltertrackError:
    which = "this layer" if extent.layers == 1 else f"these {extent.layers} layers"
    return FiltertrackError(
        f"max_size: two steps of {which} take {size}, more than {size_text(max_size)}; choose "
        f"fewer layers (layers, --layers), or allow a larger file (max_size, --max-size)"
    )


def describe_thinning(thinning: Thinning, extent: Extent) -> str:
    """Return what is left out, in words; empty if nothing is."""
    rounded = "values are rounded to 16 bits" if thinning.half else ""
    fewer = f"{thinning.steps} of {extent.steps} steps" if thinning.steps < extent.steps else ""
    without = "no responses" if extent.responses and not thinning.responses else ""
    maps = ""
    if thinning.responses and thinning.maps < extent.maps:
        maps = f"maps of {thinning.maps} of {extent.maps} probes"
    return "; ".join(filter(None, [rounded, fewer, maps, without]))
