"""The dot product of one filter of a first convolution with a patch of an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from filtertrack.errors import FiltertrackError, is_list, whole
from filtertrack.measures.activations import ACTIVATIONS
from filtertrack.measures.convolution import convolve
from filtertrack.response import DotProduct
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.layer_responses import (
    activated,
    ignored_overflow,
    is_transposed,
    layer_input,
    padded,
    pads_of,
    steps_of,
)

_AXES = ("depth", "row", "column")
_SPACES = {1: "(x,)", 2: "(y, x)", 3: "(z, y, x)"}


def dot_product_at(
    info: LayerInfo,
    kernels: np.ndarray,
    bias: np.ndarray | None,
    image: np.ndarray,
    *,
    filter_number: int,
    at: Sequence[int],
) -> DotProduct:
    """Return how one value of a layer's feature map follows from an image.

    Args:
        info: The layer; its input must be the model's, or a known preprocessing of that.
        kernels: Its filters: ``(filters, height, width, channels)``.
        bias: A number for each filter; None for none.
        image: As the model takes it, without the axis that counts images.
        filter_number: The number of a filter.
        at: Where in the feature map: row and column.

    Raises:
        FiltertrackError: If the layer's input is not known, its output is no dot product with a
            patch, or the image, the filter or the place does not fit.
    """
    if is_transposed(info):
        raise FiltertrackError(
            f"layer {info.name}: a transposed convolution adds multiples of its kernel; its output "
            f"is no dot product of the kernel with a patch"
        )
    number = _checked("filter: expected a whole number", filter_number, info.filters)
    pixels, filters = layer_input(info, kernels, np.asarray(image)[np.newaxis])
    strides, dilation = steps_of(info)
    sides = filters.shape[1:-1]
    reach = [(side - 1) * apart + 1 for side, apart in zip(sides, dilation, strict=True)]
    pads = pads_of(info, pixels.shape[1:-1], sides)
    (whole_image,) = padded(info, pixels, pads)
    starts = _starts(info, whole_image.shape[:-1], reach, strides, at)
    below = whole_image[
        tuple(slice(n, n + length) for n, length in zip(starts, reach, strict=True))
    ]
    try:
        with ignored_overflow():
            outputs = convolve(
                below[np.newaxis],
                filters,
                strides=[1] * len(sides),
                dilation=dilation,
                pads=[(0, 0)] * len(sides),
            )
    except ValueError as error:
        raise FiltertrackError(f"layer {info.name}: {error}") from error
    biases = np.zeros(len(filters), np.float32) if bias is None else np.asarray(bias, np.float32)
    outputs = outputs + biases.reshape(-1)
    known = info.activation in ACTIVATIONS
    channels = _channels_of(number, filters, pixels.shape[-1])
    every = tuple(slice(None, None, apart) for apart in dilation)
    return DotProduct(
        patch=below[every][..., channels],
        kernel=filters[number].astype(np.float32),
        bias=float(biases.reshape(-1)[number]),
        activated=float(activated(info, outputs).reshape(-1)[number]) if known else None,
        region=_region(info, starts, reach, [before for before, _ in pads]),
        channels=channels,
    )


def _checked(what: str, value: Any, count: int) -> int:
    number = whole(value)
    if number is None or not 0 <= number < count:
        raise FiltertrackError(f"{what} from 0 to {count - 1}, got {value!r:.100}")
    return number


def _starts(
    info: LayerInfo,
    space: Sequence[int],
    reach: Sequence[int],
    strides: Sequence[int],
    at: Sequence[int],
) -> list[int]:
    """Return where the patch begins in the padded image, along each axis."""
    if not is_list(at) or len(at) != len(space):
        raise FiltertrackError(
            f"at: expected {_SPACES[len(space)]} for layer {info.name}, got {at!r:.100}"
        )
    counts = [
        (size - along) // stride + 1
        for size, along, stride in zip(space, reach, strides, strict=True)
    ]
    if min(counts) < 1:
        raise FiltertrackError(
            f"layer {info.name}: an image of {tuple(space)} is smaller than filters of "
            f"{tuple(reach)}"
        )
    places = [
        _checked(f"at: expected a {axis}", place, count)
        for axis, place, count in zip(_AXES[-len(space) :], at, counts, strict=True)
    ]
    return [place * stride for place, stride in zip(places, strides, strict=True)]


def _channels_of(number: int, filters: np.ndarray, channels: int) -> slice:
    """Return the channels that a filter has weights for: those of its group."""
    of_group = filters.shape[-1]
    group = number // (len(filters) // (channels // of_group))
    return slice(group * of_group, (group + 1) * of_group)


def _region(
    info: LayerInfo, starts: Sequence[int], reach: Sequence[int], pads: Sequence[int]
) -> tuple[slice, ...]:
    """Return the part of the model's input that the kernel spans, along each axis."""
    before = list(pads)
    for step in info.preprocessing or ():
        if step.pads:
            before = [n + zeros for n, (zeros, _) in zip(before, step.pads, strict=True)]
    firsts = [start - zeros for start, zeros in zip(starts, before, strict=True)]
    return tuple(slice(n, n + length) for n, length in zip(firsts, reach, strict=True))
