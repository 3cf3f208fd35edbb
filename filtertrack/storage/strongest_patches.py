"""Cut the strongest patches of filters from the probes of a run."""

import math
from typing import Any

import numpy as np

from filtertrack.errors import FiltertrackError, is_list, repeatable, whole
from filtertrack.response import PLACES, ProbedLayer, StoredProbes, StrongestPatches
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.memory_limit import check_memory

_SIGNAL_AXES, _IMAGE_AXES = 3, 4


def cut_patches(
    info: LayerInfo, probes: StoredProbes, places: np.ndarray, filters: Any = None
) -> StrongestPatches:
    """Return the receptive fields of the strongest places of a layer's filters.

    Args:
        info: The layer.
        probes: The probes, with what is read of the layer.
        places: The places of all filters: ``(filters, 9, 4)``, as in ``LayerResponse``.
        filters: Numbers of filters; None for all.

    Raises:
        FiltertrackError: If the layer sees no images, there is no such filter, or the patches take
            too much memory.
    """
    numbers = _chosen(filters, info.filters)
    layer = probes.layer(info.name)
    pictures = _pictures(info, probes, layer)
    height, width, channels = pictures.shape[1:]
    field = layer.field
    sizes = (height, width) if field is None else map(min, field.size, (height, width))
    shape = (len(numbers), PLACES, *sizes, channels)
    check_memory(
        4 * math.prod(shape), f"layer {info.name}: the patches of {len(numbers)} filters take"
    )
    pixels = np.full(shape, np.nan, np.float32)
    chosen = places[list(numbers)]
    for patches, of_filter in zip(pixels, chosen, strict=True):
        for patch, (probe, y, x, _) in zip(patches, of_filter, strict=True):
            if probe >= 0:
                rows, columns = (None, None) if field is None else field.at(int(y), int(x))
                picture = pictures[int(probe)]
                _fill(patch, picture, _part(rows, height), _part(columns, width))
    return StrongestPatches(pixels, chosen, numbers)


def _chosen(filters: Any, count: int) -> tuple[int, ...]:
    if filters is None:
        return tuple(range(count))
    given = list(repeatable(filters)) if is_list(filters) else [filters]
    numbers = [whole(number) for number in given]
    known = [number for number in numbers if number is not None and 0 <= number < count]
    if not known or len(known) != len(numbers):
        raise FiltertrackError(
            f"filters: expected numbers from 0 to {count - 1}, got {given!r:.100}"
        )
    return tuple(known)


def _pictures(info: LayerInfo, probes: StoredProbes, layer: ProbedLayer) -> np.ndarray:
    """Return the images that a layer answers to: ``(probes, height, width, channels)``."""
    try:
        images = probes.input_of(layer.input)
    except FiltertrackError as error:
        raise FiltertrackError(f"layer {info.name}: {error}") from error
    if probes.channels_first and images.ndim > 2:
        images = np.moveaxis(images, 1, -1)
    if images.ndim == _SIGNAL_AXES and len(info.kernel_shape) == _SIGNAL_AXES:
        return images[:, np.newaxis]
    if images.ndim != _IMAGE_AXES:
        raise FiltertrackError(
            f"layer {info.name}: the probes are no images but arrays of shape {images.shape[1:]}"
        )
    return images


def _part(part: slice | None, size: int) -> slice:
    """Return a part along one axis, or the whole axis if the part is not known or larger."""
    return slice(0, size) if part is None or part.stop - part.start >= size else part


def _fill(patch: np.ndarray, picture: np.ndarray, rows: slice, columns: slice) -> None:
    """Copy a part of a picture into a patch, which stays as it is outside of the picture."""
    inside = [
        (max(0, part.start), min(size, part.stop))
        for part, size in zip((rows, columns), picture.shape[:2], strict=True)
    ]
    (top, bottom), (left, right) = inside
    if top < bottom and left < right:
        patch[
            top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
        ] = picture[top:bottom, left:right]
