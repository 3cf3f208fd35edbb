"""What the page asks for about the open filter: its kernel at each step, and its layer's input.

The answers of ``/kernel`` and ``/input`` are messages as ``payload.py`` describes them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

import numpy as np

from filtertrack.errors import FiltertrackError, size_text
from filtertrack.response import StoredProbes
from filtertrack.snapshot import LayerInfo, Snapshot, total_bytes
from filtertrack.storage.dot_product import padded_input
from filtertrack.storage.layer_responses import steps_of
from filtertrack.storage.run import Run
from filtertrack.web.payload import as_floats, finite, pack
from filtertrack.web.step_answers import StepAnswer, StepsHead

MOST_WEIGHTS = 1 << 17
"""Weights of a filter whose kernel is sent, at most; also in ``kernel_cache.js``."""

_MOST_INPUT = 4 << 20
"""Bytes of an input that is sent, at most."""
_IMAGE_AXES = 2


class StepKernel(TypedDict):
    """The kernel of one filter at one step.

    Attributes:
        step: The step.
        bias: The filter's bias; 0 if the layer has none, None if it is not finite.
    """

    step: int
    bias: float | None


class KernelHead(StepsHead):
    """What the arrays of an answer of ``/kernel`` are: of ``float32`` or ``float64``.

    The shape of each is height, width and channels.

    Attributes:
        kernels: Of each array, in their order.
    """

    kernels: list[StepKernel]


class InputHead(TypedDict):
    """What a layer's filters slide over for one probe: one array.

    Attributes:
        type: ``"float32"``.
        shape: Height, width and channels of the array: the probe after preprocessing, with the
            zeros that the layer adds around it.
        origin: Row and column of the array's first value in the probe; negative where zeros are
            above the probe or to its left.
        strides: Of the layer, down and across.
        dilation: Of the layer, down and across.
        activation: The name of the layer's activation function; empty if it is not known.
    """

    type: Literal["float32"]
    shape: tuple[int, ...]
    origin: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    activation: str


def kernels_of_filter(
    run: Run,
    info: LayerInfo,
    number: int,
    first: int,
    last: int,
    *,
    rewrite: Callable[[str], str] = str,
) -> tuple[bytes, bool]:
    """Pack the kernel of one filter at the snapshots from ``first`` to ``last``.

    An answer holds as many snapshots as its limits allow, all of one type; its head says where to
    continue.

    Args:
        run: The run.
        info: The layer.
        number: The number of the filter.
        first: The first step.
        last: The last step.
        rewrite: Changes the reason why a snapshot cannot be read before it is sent, such as to
            shorten the paths in it.

    Returns:
        The message, and whether every snapshot could be read.

    Raises:
        FiltertrackError: If the filter has more than ``MOST_WEIGHTS`` weights.
    """
    count = math.prod(info.shape[1:])
    if count > MOST_WEIGHTS:
        raise FiltertrackError(
            f"layer {info.name}: a filter of {count} weights is not sent, only up to {MOST_WEIGHTS}"
        )
    answer = StepAnswer[Snapshot](run, first, last, rewrite)
    kernels: list[StepKernel] = []
    for step, snapshot in answer.readable_steps(
        lambda step: run.snapshot(step, [info.name]), total_bytes([info])
    ):
        weights = snapshot.arrays
        if not answer.add(as_floats(info.canonical(weights[info.kernel])[number])):
            break
        bias = weights[info.bias].reshape(-1)[number] if info.bias else 0.0
        kernels.append({"step": step, "bias": finite(float(bias))})
    head: KernelHead = {"kernels": kernels, **answer.head}
    return pack(head, answer.arrays), not answer.damaged


def input_of_probe(info: LayerInfo, probes: StoredProbes, number: int) -> bytes:
    """Pack what a first layer's filters slide over for one probe.

    Args:
        info: The layer: a 2-D convolution.
        probes: The probes of a run.
        number: The number of the probe.

    Raises:
        FiltertrackError: If there is no such probe, or the responses of the layer are no dot
            products with patches of it.
    """
    pixels, before = _padded(info, probes, number)
    strides, dilation = steps_of(info)
    head = InputHead(
        type="float32",
        shape=pixels.shape,
        origin=tuple(-zeros for zeros in before),
        strides=strides,
        dilation=dilation,
        activation=info.activation,
    )
    return pack(head, [pixels])


def why_no_products(run: Run, info: LayerInfo, probes: StoredProbes) -> str | None:
    """Return why responses of a layer are not shown as products of patch and kernel.

    Args:
        run: The run.
        info: The layer.
        probes: The probes of the run.

    Returns:
        None if they are; else a sentence, or an empty text for a layer that follows others: its
        input is no probe.
    """
    try:
        _padded(info, probes, 0)
    except FiltertrackError as error:
        is_first = info.preprocessing is not None or info.name == next(iter(run.layers))
        return str(error) if is_first else ""
    return None


def _padded(info: LayerInfo, probes: StoredProbes, number: int) -> tuple[np.ndarray, Sequence[int]]:
    """Return what a layer's filters slide over for a probe, and the zeros before the probe.

    Raises:
        FiltertrackError: As ``input_of_probe``.
    """
    if info.preprocessing is not None and len(info.kernel_shape) != _IMAGE_AXES + 2:
        raise FiltertrackError(
            f"layer {info.name}: products of patch and kernel are shown for 2-D convolutions only"
        )
    image = probes.image(number, info.name)
    if _padded_bytes(info, image) > _MOST_INPUT or math.prod(info.shape[1:]) > MOST_WEIGHTS:
        raise FiltertrackError(
            f"layer {info.name}: products of patch and kernel are shown for inputs of up to "
            f"{size_text(_MOST_INPUT)} and filters of up to {MOST_WEIGHTS} weights"
        )
    kernels = np.broadcast_to(np.float32(0), info.shape)  # only their shape matters
    pixels, _, before = padded_input(info, kernels, image)
    return pixels, before


def _padded_bytes(info: LayerInfo, image: np.ndarray) -> int:
    """Return the bytes of an image with all its padding, at most; 0 if it is no image."""
    if image.ndim != _IMAGE_AXES + 1:
        return 0
    height, width = image.shape[1:] if info.data_format == "channels_first" else image.shape[:2]
    added = sum(before + after for step in info.preprocessing or () for before, after in step.pads)
    added += max(info.shape[1:3]) * max(info.dilation, default=1)
    channels: int = image.size // (height * width)
    return 4 * channels * int(height + added) * int(width + added)
