"""Feature maps of one layer for one image at each snapshot: stored in the run, or computed."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from filtertrack.errors import FiltertrackError, command_or_call, counted, listed
from filtertrack.outputs.run_selection import (
    DamagedSnapshotError,
    RunSelection,
    Steps,
    default_layer,
    read_kernels,
    select_from_run,
)
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.storage.layer_responses import arrays_expected, unknown_input
from filtertrack.storage.run import Run, recorded_probes, shorten

Responses: TypeAlias = "bool | int | Sequence[int] | np.ndarray | Sequence[np.ndarray] | None"
"""What responses are drawn for: ``True`` for the first probe of the run, numbers of its probes, or
images as the model takes them. ``None`` or ``False`` for no responses."""

_MOST_IMAGES = 16
_LAYOUTS = {3: "(length, channels)", 4: "(height, width, channels)"}
"""Axes of a kernel: the shape of an image that its layer takes."""

_log = logging.getLogger("filtertrack")


@dataclass(frozen=True, slots=True, eq=False)
class ResponseMaps:
    """The feature maps of a layer's filters for one image.

    Attributes:
        image: The image as the model takes it, channels last: ``(height, width, channels)``, or a
            signal: ``(length, channels)``.
        name: The title of the image.
        read: What is read of the layer, in words.
        rectified: Whether the maps are never negative, as after a ReLU.
        block: Side of the block of values that one value of a map was shrunk from; 1 for none.
        shape: Height and width of a map; the height is 1 for a signal.
        at: Returns the maps at a step: ``(filters, height, width)``. It raises
            ``DamagedSnapshotError`` if they cannot be read.
    """

    image: np.ndarray
    name: str
    read: str
    rectified: bool
    block: int
    shape: tuple[int, int]
    at: Callable[[int], np.ndarray]


def is_wanted(responses: Responses) -> bool:
    """Return whether responses are drawn."""
    return responses is not None and responses is not False


def probe_numbers(responses: Responses) -> list[int] | None:
    """Return the numbers of the probes that are asked for; None for images, or no responses.

    Example:
        >>> probe_numbers(True), probe_numbers([3, 5]), probe_numbers(np.zeros((1, 8, 8, 3)))
        ([0], [3, 5], None)
    """
    if isinstance(responses, bool):
        return [0] if responses else None
    if isinstance(responses, int | np.integer):
        return [int(responses)]
    if isinstance(responses, np.ndarray) and responses.ndim != 1:
        return None
    numbers = list(responses) if isinstance(responses, Iterable) else []
    if not numbers or not all(isinstance(number, int | np.integer) for number in numbers):
        return None
    return [int(number) for number in numbers]


def select_responses(
    run: Run,
    responses: Responses,
    *,
    layers: str | Sequence[str] | None = None,
    compare: Run | None = None,
    steps: Steps | None = None,
    least: int = 1,
) -> RunSelection:
    """Select a layer and the steps that hold its responses: see ``select_from_run``.

    Steps without responses to the probes are left out, with a warning in the log.

    Args:
        run: The run.
        responses: What responses are drawn for; where none are, steps without them are kept.
        layers: A layer; None for the first that has changed, if it has responses, else for the
            first that has.
        compare: A second run.
        steps: The steps; None for all.
        least: Number of steps that are needed.

    Raises:
        FiltertrackError: If the run has no probes, or as ``select_from_run`` raises it.
    """
    numbers = probe_numbers(responses)
    if numbers is None:
        return select_from_run(run, layers=layers, compare=compare, steps=steps, least=least)
    probed = _probed_layers(run)
    if layers is None:
        usual = default_layer(run)
        layers = usual if usual in probed else probed[0]
    selection = select_from_run(run, layers=layers, compare=compare, steps=steps, least=least)
    held = [moment.step for moment in selection.moments[0] if moment.probed]
    missing = [step for step in selection.steps if step not in set(held)]
    if missing:
        _log.warning(
            "left out %s without responses to the probes: step %s",
            counted(len(missing), "snapshots"),
            shorten(missing),
        )
    selection = selection.at(held)
    selection.check_enough("the others hold no responses to the probes")
    return selection


def _probed_layers(run: Run) -> list[str]:
    """Return the layers of a run whose responses to probes are stored; at least one."""
    first = [info.name for info in run.layers.values() if info.preprocessing is not None]
    command = command_or_call("`filtertrack responses RUN --images FILE`, or ", "")
    hint = (
        f"; for {listed(first)} any picture can be used without probes: {command}responses=images"
    )
    probes = recorded_probes(run, hint if first else "")
    names = [name for name in run.layers if name in probes.layers]
    if not names:
        raise FiltertrackError(f"{str(run.path)!r} has probes, but responses of no layer")
    return names


def check_takes_images(run: Run, layer: str) -> None:
    """Raise an error for a layer whose responses to an image do not follow from its kernel.

    The message says how its responses to probes are drawn or recorded.
    """
    info = run.layer(layer)
    if info.preprocessing is not None:
        return
    first = [each.name for each in run.layers.values() if each.preprocessing is not None]
    reason = (
        f"layer {info.name} is not the first convolution: its responses to a picture do not follow "
        f"from its kernel (those of {listed(first)} do)"
        if first
        else unknown_input(info)
    )
    recorded = run.probes is not None and info.name in run.probes.layers
    advice = (
        "its responses to the probes are recorded: "
        + command_or_call(
            f"`filtertrack animate RUN --responses --layers {info.name}`, or `filtertrack patches "
            f"RUN --layer {info.name}`",
            f"animate(run, responses=True, layers={info.name!r}), or "
            f"plot_strongest_patches(run, {info.name!r})",
        )
        if recorded
        else "train with FilterTracker(probes=images) to record what it answers to"
    )
    raise FiltertrackError(f"{reason}; {advice}")


def maps_of(selection: RunSelection, responses: Responses) -> list[ResponseMaps]:
    """Return the feature maps of a selected layer, for each probe or image.

    Args:
        selection: One layer of one run, and the steps.
        responses: What responses are drawn for.

    Raises:
        FiltertrackError: If there are several layers or runs, no such probe, or images that do not
            fit the layer.
        DamagedSnapshotError: If the first snapshot cannot be read.
    """
    if len(selection.runs) > 1:
        raise FiltertrackError(
            "responses: they cannot be compared with those of a second run; leave compare out"
        )
    if len(selection.layers) > 1:
        raise FiltertrackError(
            f"responses: they are drawn for one layer at a time, got {listed(selection.layers)}; "
            f"choose one with layers"
        )
    run, layer = selection.runs[0], selection.layers[0]
    numbers = probe_numbers(responses)
    if numbers is not None:
        if len(numbers) > _MOST_IMAGES:
            raise FiltertrackError(
                f"responses: expected at most {_MOST_IMAGES} probes, got {len(numbers)}"
            )
        return [_stored(run, layer, number) for number in numbers]
    images = _checked(run, layer, responses)
    step, several = selection.steps[0], len(images) > 1
    return [
        _computed(run, layer, step, image, f"picture {number}" if several else "picture")
        for number, image in enumerate(images, 1)
    ]


def _stored(run: Run, layer: str, number: int) -> ResponseMaps:
    probes = recorded_probes(run)
    described = probes.layer(layer)
    if not 0 <= number < probes.maps:
        kept = f"the probes 0 to {probes.maps - 1} of {probes.count}"
        none = f"none of {counted(probes.count, 'probes')}"
        raise FiltertrackError(
            f"probe {number}: maps were recorded of {kept if probes.maps else none}"
        )
    image, note = _image_of(probes, described, number)
    labels = probes.labels
    label = "" if labels is None or labels.ndim != 1 else f", class {labels[number]}"

    def at(step: int) -> np.ndarray:
        try:
            return run.probe_responses(layer, step).values(number)
        except FiltertrackError as error:
            raise DamagedSnapshotError(error, step) from error

    return ResponseMaps(
        image,
        f"probe {number}{label}{note}",
        described.read,
        described.rectified,
        described.block,
        described.map_shape,
        at,
    )


def _image_of(probes: StoredProbes, layer: ProbedLayer, number: int) -> tuple[np.ndarray, str]:
    """Return a probe as an image or a signal with its channels last, and what the title adds.

    Of several inputs it is the one that the layer depends on, and empty if that is not known; of a
    volume the slice in the middle. Numbers without an order in space are a signal of one channel.
    """
    if len(probes.inputs) > 1 and layer.input not in probes.inputs:
        return np.zeros((*layer.shape, 1), np.float32), ", which input is not known"
    image = probes.input_of(layer.input)[number]
    note = f", input {layer.input}" if len(probes.inputs) > 1 else ""
    if image.ndim < 2:
        return image.reshape(-1, 1), note
    if probes.channels_first:
        image = np.moveaxis(image, 0, -1)
    while image.ndim > 3:
        middle = len(image) // 2
        image, note = image[middle], f"{note}, slice {middle}"
    without_channels = image.ndim == 2 and layer.shape[0] > 1
    return (image[..., np.newaxis] if without_channels else image), note


def _computed(run: Run, layer: str, first: int, image: np.ndarray, name: str) -> ResponseMaps:
    channels_first = run.layer(layer).data_format == "channels_first"
    pixels = (np.moveaxis(image, -1, 0) if channels_first else image)[np.newaxis]

    def compute(step: int) -> np.ndarray:
        maps = np.moveaxis(run.responses(layer, step, pixels)[0], -1, 0)
        with_height: np.ndarray = maps[:, np.newaxis] if maps.ndim == 2 else maps
        return with_height

    def at(step: int) -> np.ndarray:
        try:
            return compute(step)
        except FiltertrackError as error:  # the image has fitted before
            raise DamagedSnapshotError(error, step) from error

    read_kernels(run, layer, first)  # tells a damaged snapshot from an image that does not fit
    height, width = compute(first).shape[1:]
    read = f"the dot product at each position, before {_what_follows(run, layer)}"
    return ResponseMaps(image, name, read, False, 1, (height, width), at)


def _what_follows(run: Run, layer: str) -> str:
    """Return what the model applies to a layer's dot product, as the run's probes tell it."""
    probed = run.probes.layers.get(layer) if run.probes else None
    if probed is None:
        return "the activation"
    if not probed.read.startswith(f"the output of {layer}"):
        return "any normalization and the activation"
    return "normalization" if "before normalization" in probed.read else "the activation"


def _checked(run: Run, layer: str, images: Responses) -> list[np.ndarray]:
    """Return the images, each with its channels last."""
    info = run.layer(layer)
    if len(info.kernel_shape) not in _LAYOUTS:
        raise FiltertrackError(f"responses: layer {info.name} does not slide over images")
    layout = _LAYOUTS[len(info.kernel_shape)]
    axes = len(info.kernel_shape) - 1
    if isinstance(images, str | os.PathLike):
        raise arrays_expected("responses", images)
    if isinstance(images, np.ndarray) and images.ndim == axes:
        raise FiltertrackError(
            f"responses: expected several images, got one of shape {images.shape}; give [image]"
        )
    if not isinstance(images, Iterable):
        raise FiltertrackError(
            f"responses: expected True, numbers of probes or arrays, got {images!r:.100}"
        )
    check_takes_images(run, layer)
    pictures = [np.asarray(image) for image in images]
    fits = [each.ndim == axes and each.size and each.dtype.kind in "buif" for each in pictures]
    if not 0 < len(pictures) <= _MOST_IMAGES or not all(fits):
        shapes = ", ".join(str(picture.shape) for picture in pictures[:3]) or "none"
        raise FiltertrackError(
            f"responses: expected 1 to {_MOST_IMAGES} images of shape {layout}, as the model takes "
            f"them, got {len(pictures)}: {shapes}"
        )
    if info.data_format == "channels_first":
        pictures = [np.moveaxis(picture, 0, -1) for picture in pictures]
    return pictures
