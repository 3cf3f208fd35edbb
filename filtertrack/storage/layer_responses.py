"""Responses of a stored layer to images: from its kernel, its bias and its description."""

import math
import os
from collections.abc import Sequence

import numpy as np

from filtertrack.errors import FiltertrackError, command_or_call, listed
from filtertrack.measures.activations import ACTIVATIONS, activate
from filtertrack.measures.convolution import Pads, convolve, convolve_transposed, same_pads
from filtertrack.snapshot import LayerInfo, Preprocessing
from filtertrack.storage.memory_limit import check_memory

_SPACES = {1: "width", 2: "height, width", 3: "depth, height, width"}


def responses(
    info: LayerInfo, kernels: np.ndarray, bias: np.ndarray | None, images: np.ndarray
) -> np.ndarray:
    """Return what a layer computes of images, before its activation function.

    Args:
        info: The layer; its input must be the model's, or a known preprocessing of that.
        kernels: Its filters: ``(filters, height, width, channels)``.
        bias: A number for each filter; None for none.
        images: As the model takes them: ``(images, height, width, channels)``, with one or three
            spatial axes for 1-D and 3-D kernels; in the layer's data format.

    Returns:
        ``float32`` array of shape ``(images, height, width, filters)``.

    Raises:
        FiltertrackError: If the layer's input is not known, or images do not fit.
    """
    pixels, filters = layer_input(info, kernels, images)
    with ignored_overflow():
        try:
            outputs = _outputs(info, filters, pixels)
        except ValueError as error:
            raise FiltertrackError(f"layer {info.name}: {error}") from error
        return outputs if bias is None else outputs + np.asarray(bias, np.float32).reshape(-1)


def ignored_overflow() -> np.errstate:
    """Return a context without numpy's warnings of values, or products, beyond ``float32``.

    They are infinite or NaN there, as in the model.
    """
    return np.errstate(over="ignore", invalid="ignore")


def layer_input(
    info: LayerInfo, kernels: np.ndarray, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a layer receives for images, and its filters with all spatial axes.

    Args:
        info: The layer, as in ``responses``.
        kernels: Its filters: ``(filters, height, width, channels)``.
        images: As in ``responses``.

    Returns:
        The images after preprocessing, as ``float32`` array of shape ``(images, *space,
        channels)``, and the filters: ``(filters, *space, channels)``.

    Raises:
        FiltertrackError: If the layer's input is not known, or images do not fit.
    """
    if info.preprocessing is None:
        raise FiltertrackError(unknown_input(info))
    axes = len(info.kernel_shape) - 2
    if axes not in _SPACES:
        raise FiltertrackError(f"layer {info.name}: it does not slide over images")
    with ignored_overflow():
        pixels = _channels_last(info, images, axes).astype(np.float32, copy=False)
        for step in info.preprocessing:
            pixels = _preprocessed(info, pixels, step)
    filters = _with_space(info, kernels, axes)
    _check_channels(info, filters, pixels)
    return pixels, filters


def unknown_input(info: LayerInfo, first: Sequence[str] = (), *, recorded: bool = False) -> str:
    """Return the message that responses of a layer do not follow from its kernel.

    Args:
        info: The layer.
        first: Names of the layers whose responses do.
        recorded: Whether the layer's responses to probes were recorded.
    """
    hint = "; Run.probe_responses has its responses to the probes" if recorded else ""
    if first:
        return (
            f"layer {info.name}: its input is the output of other layers; responses follow from "
            f"the kernel alone for {listed(first)}{hint}"
        )
    return (
        f"layer {info.name}: the run does not say how its input follows from the model's input (it "
        f"lies behind other layers, or the model's graph or file does not tell), so its responses "
        f"do not follow from its kernel{hint}"
    )


def activated(info: LayerInfo, outputs: np.ndarray) -> np.ndarray:
    """Return outputs of a layer after its activation function.

    Raises:
        FiltertrackError: If the function is not known.
    """
    if info.activation not in ACTIVATIONS:
        raise FiltertrackError(
            f"layer {info.name}: its activation {info.activation or 'function'!r} is not one of "
            f"the functions of Keras without parameters: {listed(list(ACTIVATIONS), most=30)}"
        )
    return activate(outputs, info.activation)


def arrays_expected(option: str, given: object) -> FiltertrackError:
    """Return the error for the path of a picture where arrays are expected."""
    files = command_or_call(
        "`filtertrack responses --images` reads files", "imageio.v3.imread reads a file"
    )
    return FiltertrackError(f"{option}: expected arrays, got the text {str(given)!r:.100}; {files}")


def _channels_last(info: LayerInfo, images: np.ndarray, axes: int) -> np.ndarray:
    if isinstance(images, str | os.PathLike):
        raise arrays_expected("images", images)
    images = np.asarray(images)
    first = info.data_format == "channels_first"
    if images.ndim != axes + 2 or images.dtype.kind not in "buif":
        layout = f"channels, {_SPACES[axes]}" if first else f"{_SPACES[axes]}, channels"
        raise FiltertrackError(
            f"images: expected numbers of shape (images, {layout}) for layer {info.name}, got "
            f"{images.dtype} of shape {images.shape}{_advice(info, images, axes)}"
        )
    last: np.ndarray = np.moveaxis(images, 1, -1) if first else images
    return last


def _advice(info: LayerInfo, images: np.ndarray, axes: int) -> str:
    """Return what to do about images of too few axes; empty if that is not known."""
    channels = info.shape[3] * info.groups
    first = info.data_format == "channels_first"
    if images.ndim == axes + 1 and images.shape[0 if first else -1] == channels:
        return "; for one image give image[np.newaxis]"
    if images.ndim == axes + 1 and channels == 1:
        index = ":, np.newaxis" if first else "..., np.newaxis"
        return f"; for images without channels give images[{index}]"
    if images.ndim == axes and channels == 1:
        index = "np.newaxis, np.newaxis" if first else "np.newaxis, ..., np.newaxis"
        return f"; for one image without channels give image[{index}]"
    return ""


def _preprocessed(info: LayerInfo, images: np.ndarray, step: Preprocessing) -> np.ndarray:
    if step.pads:
        return padded(info, images, step.pads)
    if not {len(step.scale), len(step.offset)} <= {1, images.shape[-1]}:
        raise FiltertrackError(
            f"images: layer {info.name} takes {max(len(step.scale), len(step.offset))} channels, "
            f"got {images.shape[-1]}"
        )
    scaled: np.ndarray = images.astype(np.float64) * np.array(step.scale) + np.array(step.offset)
    return scaled.astype(np.float32)


def padded(info: LayerInfo, images: np.ndarray, pads: Pads) -> np.ndarray:
    """Return images with zeros around them along each spatial axis.

    Raises:
        FiltertrackError: If the padding has another number of axes, or takes too much memory.
    """
    _check_padding(info, images.shape, pads)
    return np.pad(images, [(0, 0), *pads, (0, 0)])


def _check_padding(info: LayerInfo, shape: tuple[int, ...], pads: Pads) -> None:
    count, *space, channels = shape
    if len(pads) != len(space):
        raise FiltertrackError(
            f"layer {info.name}: its padding of {len(pads)} axes does not fit images of "
            f"{len(space)}"
        )
    sides = [n + sum(zeros) for n, zeros in zip(space, pads, strict=True)]
    _check_size(info, (count, *sides, channels))


def _check_size(info: LayerInfo, shape: Sequence[int]) -> None:
    # As much as there is: strides, dilation and padding may come from a damaged file.
    check_memory(4 * math.prod(shape), f"layer {info.name}: responses take", share=1)


def _with_space(info: LayerInfo, kernels: np.ndarray, axes: int) -> np.ndarray:
    """Return filters with all spatial axes: ``(filters, *space, channels)``."""
    if axes == 1:
        return kernels[:, 0]
    if axes == 2:
        return kernels
    filters, height, width, channels = kernels.shape
    apart = kernels.reshape(filters, height, info.slices, width // info.slices, channels)
    return apart.transpose(0, 2, 1, 3, 4)


def _check_channels(info: LayerInfo, filters: np.ndarray, pixels: np.ndarray) -> None:
    of_group = filters.shape[-1]
    expected = of_group * info.groups if not _is_depthwise(info) else None
    if expected is not None and pixels.shape[-1] != expected:
        raise FiltertrackError(
            f"images: layer {info.name} takes {expected} channels, got {pixels.shape[-1]}"
        )


def _outputs(info: LayerInfo, filters: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    strides, dilation = steps_of(info)
    if is_transposed(info):
        sides = zip(pixels.shape[1:-1], strides, filters.shape[1:-1], dilation, strict=True)
        shape = [(n - 1) * stride + (side - 1) * apart + 1 for n, stride, side, apart in sides]
        _check_size(info, (len(pixels), *shape, len(filters)))
        crops = _crops(info, filters.shape[1:-1], strides, dilation)
        return convolve_transposed(pixels, filters, strides=strides, dilation=dilation, crops=crops)
    pads = pads_of(info, pixels.shape[1:-1], filters.shape[1:-1])
    _check_padding(info, pixels.shape, pads)
    return convolve(pixels, filters, strides=strides, dilation=dilation, pads=pads)


def steps_of(info: LayerInfo) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the strides and the dilation of a layer along each spatial axis.

    Raises:
        FiltertrackError: If they are not from 1 on, or of another number.
    """
    ones = (1,) * (len(info.kernel_shape) - 2)
    steps = tuple(info.strides) or ones, tuple(info.dilation) or ones
    if any(len(each) != len(ones) or min(each) < 1 for each in steps):
        raise FiltertrackError(
            f"layer {info.name}: strides {info.strides} and dilation {info.dilation} do not fit a "
            f"kernel of {info.kernel_shape}"
        )
    return steps


def pads_of(info: LayerInfo, space: Sequence[int], sides: Sequence[int]) -> Pads:
    """Return the zeros that a layer adds before and after its input along each spatial axis.

    Args:
        info: The layer.
        space: The sides of its input.
        sides: The sides of its filters.

    Raises:
        FiltertrackError: If its padding is not known.
    """
    strides, dilation = steps_of(info)
    if info.padding == "same":
        return same_pads(space, sides, strides, dilation)
    if info.padding == "causal":
        return [(dilation[0] * (sides[0] - 1), 0)]
    if info.padding == "valid":
        return [(0, 0)] * len(space)
    raise FiltertrackError(
        f"layer {info.name}: its padding is not known, which the responses depend on"
    )


def _crops(
    info: LayerInfo, sides: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Pads:
    """Return what a transposed convolution leaves out: ``same`` gives stride times the pixels."""
    crops = []
    for side, stride, apart in zip(sides, strides, dilation, strict=True):
        reach = (side - 1) * apart + 1
        if info.padding == "valid":
            crops.append((0, min(0, reach - stride)))
        else:
            before = max(0, reach - stride) // 2
            crops.append((before, reach - stride - before))
    return crops


def is_transposed(info: LayerInfo) -> bool:
    """Whether the kernel of a layer of Keras has its filters before its channels."""
    return info.axes[0] == len(info.axes) - 2 and not _is_depthwise(info)


def _is_depthwise(info: LayerInfo) -> bool:
    """Whether the first two axes, channels and filters per channel, make the filters."""
    last = len(info.axes) - 1
    return info.axes[:2] == (last - 1, last) and math.prod(info.kernel_shape[-2:]) == info.filters
