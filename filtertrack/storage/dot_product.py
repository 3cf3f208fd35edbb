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
    number = _checked("filter: expected a whole number", filter_number, info.filters)
    whole_image, filters, before = padded_input(info, kernels, image)
    strides, dilation = steps_of(info)
    sides = filters.shape[1:-1]
    reach = [(side - 1) * apart + 1 for side, apart in zip(sides, dilation, strict=True)]
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
    channels = _channels_of(number, filters, whole_image.shape[-1])
    every = tuple(slice(None, None, apart) for apart in dilation)
    return DotProduct(
        patch=below[every][..., channels],
        kernel=filters[number].astype(np.float32),
        bias=float(biases.reshape(-1)[number]),
        activated=float(activated(info, outputs).reshape(-1)[number]) if known else None,
        region=tuple(
            slice(n - zeros, n - zeros + length)
            for n, zeros, length in zip(starts, before, reach, strict=True)
        ),
        channels=channels,
    )


def padded_input(
    info: LayerInfo, kernels: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return what the filters of a convolution slide over for one image.

    Args:
        info: The layer; its input must be the model's, or a known preprocessing of that.
        kernels: Its filters: ``(filters, height, width, channels)``.
        image: As the model takes it, without the axis that counts images.

    Returns:
        The image after preprocessing, with the zeros that the layer adds around it, as ``float32``
        array of shape ``(*space, channels)``; the filters: ``(filters, *space, channels)``; and
        along each spatial axis the zeros before the image, of the preprocessing and of the layer.

    Raises:
        FiltertrackError: If the layer's input is not known, its output is no dot product with a
            patch, or the image does not fit.
    """
    if is_transposed(info):
        raise FiltertrackError(
            f"layer {info.name}: a transposed convolution adds multiples of its kernel; its output "
            f"is no dot product of the kernel with a patch"
        )
    pixels, filters = layer_input(info, kernels, np.asarray(image)[np.newaxis])
    pads = pads_of(info, pixels.shape[1:-1], filters.shape[1:-1])
    (whole_image,) = padded(info, pixels, pads)
    around = zip(pads, *(step.pads for step in info.preprocessing or () if step.pads), strict=True)
    return whole_image, filters, [sum(before for before, _ in axis) for axis in around]


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
