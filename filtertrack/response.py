"""Data classes of probes, the images shown to a model at each snapshot, and of its responses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from filtertrack.errors import FiltertrackError, counted, listed, printable, whole

PLACES = 9
"""Strongest places that are kept of each filter."""

_MOST_PIXELS = 1 << 24
"""Pixels of a side of a feature map and of a receptive field, its strides and offsets, at most:
places are stored as float32, which holds no larger whole numbers exactly."""
_MOST_INPUTS = 1000
_LONGEST_NAME, _LONGEST_TEXT = 255, 4096
"""Maximum numbers of characters of the name of a layer or input, and of other texts."""


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The part of an input image that one value of a feature map depends on.

    The value at row ``y`` depends on the pixel rows from ``y * strides[0] + offsets[0]`` on,
    ``size[0]`` of them; rows outside of the image are padding. Columns likewise.

    Attributes:
        size: Height and width in pixels.
        strides: Pixels between the fields of two neighbouring values, down and across.
        offsets: First row and column of the field of the value at (0, 0), which may be negative.

    Raises:
        FiltertrackError: If the fields are no such numbers.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    offsets: tuple[int, int]

    def __post_init__(self) -> None:
        """Check all fields, which may come from a file."""
        for name, least in (("size", 1), ("strides", 0), ("offsets", -_MOST_PIXELS)):
            pair = _pair(f"{name} of a receptive field", getattr(self, name), least)
            object.__setattr__(self, name, pair)

    def at(self, y: int, x: int) -> tuple[slice, slice]:
        """Return the rows and columns of the field of the value at a place.

        Example:
            >>> ReceptiveField((3, 3), (2, 2), (-1, -1)).at(0, 2)
            (slice(-1, 2, None), slice(3, 6, None))
        """
        starts = [n * s + o for n, s, o in zip((y, x), self.strides, self.offsets, strict=True)]
        down, across = (slice(n, n + side) for n, side in zip(starts, self.size, strict=True))
        return down, across


@dataclass(frozen=True, slots=True)
class ProbedLayer:
    """What is read of one layer at each snapshot.

    Attributes:
        name: The layer's name: a key of ``Run.layers``.
        read: What is read, in words, such as ``"after relu1"``.
        rectified: Whether what is read is never negative and 0 below a threshold, as after a ReLU:
            only then can a filter be silent.
        shape: Height and width of the layer's feature maps.
        map_shape: Height and width of the maps that are kept.
        block: Side of the block of values that one value of a map was shrunk from; 1 for none.
        input: The name of the only input of the model that the layer depends on, in which ``field``
            lies; empty if there are several, or it is not known.
        field: The receptive field of the layer's outputs; None if it is not known, or the whole
            image.

    Raises:
        FiltertrackError: If the fields contradict each other.
    """

    name: str
    read: str
    rectified: bool
    shape: tuple[int, int]
    map_shape: tuple[int, int]
    block: int = 1
    input: str = ""
    field: ReceptiveField | None = None

    def __post_init__(self) -> None:
        """Check all fields, which may come from a file."""
        object.__setattr__(self, "name", _text("name of a layer", self.name, _LONGEST_NAME))
        object.__setattr__(self, "read", _text(f"layer {self.name}: read", self.read))
        object.__setattr__(self, "input", _text(f"layer {self.name}: input", self.input))
        if type(self.rectified) is not bool:
            raise FiltertrackError(f"layer {self.name}: rectified: got {self.rectified!r:.100}")
        for what in ("shape", "map_shape"):
            pair = _pair(f"{what} of layer {self.name}", getattr(self, what), 1)
            object.__setattr__(self, what, pair)
        block = whole(self.block)
        if block is None or not 1 <= block <= _MOST_PIXELS:
            raise FiltertrackError(f"layer {self.name}: block: got {self.block!r:.100}")
        object.__setattr__(self, "block", block)
        if self.map_shape != tuple(math.ceil(n / block) for n in self.shape):
            raise FiltertrackError(
                f"layer {self.name}: feature maps of {self.shape} in blocks of {block} do not give "
                f"maps of {self.map_shape}"
            )
        if not isinstance(self.field, ReceptiveField | None):
            raise FiltertrackError(f"layer {self.name}: field: got {self.field!r:.100}")


@dataclass(frozen=True, slots=True, eq=False)
class StoredProbes:
    """The probes of a run, as the model takes them.

    Attributes:
        inputs: The images by the name of the model's input; the first axis counts probes.
        labels: The class of each probe, or None.
        layers: What is read of each layer, by its name.
        maps: Of how many probes, the first ones, maps are kept. Statistics and strongest places
            are those of all probes.
        channels_first: Whether the inputs have their channels before height and width.

    Raises:
        FiltertrackError: If the fields contradict each other.
    """

    inputs: Mapping[str, np.ndarray]
    layers: Mapping[str, ProbedLayer]
    maps: int
    labels: np.ndarray | None = None
    channels_first: bool = False

    def __post_init__(self) -> None:
        """Check all fields, which may come from a file."""
        names = [_text("name of an input", name, _LONGEST_NAME) for name in self.inputs]
        if not 1 <= len(set(names)) == len(names) <= _MOST_INPUTS:
            raise FiltertrackError(
                f"probes: expected 1 to {_MOST_INPUTS} inputs of different names, got {len(names)}"
            )
        for name, images in zip(names, self.inputs.values(), strict=True):
            if not images.size or not images.ndim or images.dtype.kind not in "buif":
                raise FiltertrackError(
                    f"probes: expected numbers with the images along the first axis for input "
                    f"{name}, got {images.dtype} of shape {images.shape}"
                )
        counts = {len(images) for images in self.inputs.values()}
        if len(counts) != 1:
            raise FiltertrackError(f"probes: the inputs have different numbers of images: {counts}")
        maps = whole(self.maps)
        if maps is None or not 0 <= maps <= min(counts):
            raise FiltertrackError(
                f"probes: maps: expected 0 to {min(counts)}, got {self.maps!r:.100}"
            )
        if type(self.channels_first) is not bool:
            raise FiltertrackError(f"probes: channels_first: got {self.channels_first!r:.100}")
        object.__setattr__(self, "maps", maps)
        object.__setattr__(self, "inputs", dict(zip(names, self.inputs.values(), strict=True)))
        object.__setattr__(self, "labels", _class_numbers(self.labels, min(counts)))

    @property
    def count(self) -> int:
        """The number of probes."""
        return len(next(iter(self.inputs.values())))

    def __repr__(self) -> str:
        """Return the probes in words and the layers, without their values."""
        return f"StoredProbes({self.describe()}; layers: {listed(list(self.layers)) or 'none'})"

    def describe(self) -> str:
        """Return the number of the probes, their shapes and their classes in words.

        Example:
            >>> StoredProbes({"input": np.zeros((4, 32, 32, 3))}, {}, 2, np.arange(4)).describe()
            '4 probes of 32×32×3 in 4 classes, maps of the first 2'
        """
        shapes = " and ".join(
            "×".join(map(str, images.shape[1:])) or "one number" for images in self.inputs.values()
        )
        count = None if self.labels is None else len(np.unique(self.labels))
        classes = f" in {count} {'class' if count == 1 else 'classes'}" if count else ""
        maps = "no maps" if not self.maps else f"maps of the first {self.maps}"
        return f"{counted(self.count, 'probes')} of {shapes}{classes}, {maps}"

    def text_of(self, name: str) -> str:
        """Return in words what is read of a layer: its output, the size of its maps, its field."""
        if name not in self.layers:
            return "not recorded"
        layer = self.layers[name]
        maps = "×".join(map(str, layer.map_shape))
        shrunk = f" of {'×'.join(map(str, layer.shape))}" if layer.block > 1 else ""
        field = "unknown" if layer.field is None else "×".join(map(str, layer.field.size))
        return f"{layer.read}; maps {maps}{shrunk}; receptive field {field}"

    def layer(self, name: str) -> ProbedLayer:
        """Return what is read of a layer.

        Raises:
            FiltertrackError: If nothing is; the message lists the layers.
        """
        if name not in self.layers:
            raise FiltertrackError(
                f"layer {name}: its responses were not recorded; there are those of: "
                f"{', '.join(self.layers) or 'no layer'}"
            )
        return self.layers[name]

    def input_of(self, input_name: str = "") -> np.ndarray:
        """Return the images of an input, as the model takes them.

        Args:
            input_name: The input; it does not matter if there is only one.

        Raises:
            FiltertrackError: If there are several, and none has this name.
        """
        if len(self.inputs) > 1 and input_name not in self.inputs:
            raise FiltertrackError(
                f"the model has several inputs ({', '.join(self.inputs)}), and the layer depends "
                f"on several of them, or it is not known on which, so that no picture can be shown"
            )
        return self.inputs.get(input_name, next(iter(self.inputs.values())))

    def image(self, number: int, layer: str = "") -> np.ndarray:
        """Return one probe, as the model takes it.

        Args:
            number: The number of the probe, from 0 on.
            layer: The layer whose input is meant, for models with several inputs.

        Raises:
            FiltertrackError: If there is no such probe, or the input of the layer is not known.
        """
        if not 0 <= number < self.count:
            raise FiltertrackError(
                f"probe {number}: the run has {counted(self.count, 'probes')}, numbered from 0 to "
                f"{self.count - 1}"
            )
        name = self.layers[layer].input if layer in self.layers else next(iter(self.inputs))
        image: np.ndarray = self.input_of(name)[number]
        return image

    def pictures(self, input_name: str = "") -> np.ndarray | None:
        """Return the images of an input with their channels last; None if they are no images.

        Args:
            input_name: The input; None is returned if there are several, and none has this name.

        Returns:
            Array of shape ``(probes, height, width, channels)``.
        """
        if len(self.inputs) > 1 and input_name not in self.inputs:
            return None
        images = self.input_of(input_name)
        if images.ndim != 4:
            return None
        return np.moveaxis(images, 1, -1) if self.channels_first else images


@dataclass(frozen=True, slots=True, eq=False)
class LayerResponse:
    """What the filters of one layer answered to the probes at one snapshot.

    Attributes:
        maps: The feature maps, each divided by its largest magnitude: ``uint8`` (255 is the largest
            value) or, where a value is negative, ``int8`` (127); of shape ``(maps, filters, height,
            width)``.
        statistics: ``float32`` array of shape ``(3, probes, filters)``: the highest, the lowest and
            the mean value of each feature map in full size.
        places: ``float32`` array of shape ``(filters, 9, 4)``: the strongest places as (probe, y,
            x, value), strongest first; (-1, -1, -1, NaN) where there are fewer.
    """

    maps: np.ndarray
    statistics: np.ndarray
    places: np.ndarray

    def __repr__(self) -> str:
        """Return the numbers of filters and probes, and the size of the maps, without values."""
        _, probes, filters = self.statistics.shape
        maps = "×".join(map(str, self.maps.shape[2:]))
        return (
            f"LayerResponse({counted(filters, 'filters')}, {counted(probes, 'probes')}, maps of "
            f"{maps} of the first {len(self.maps)})"
        )

    @property
    def highest(self) -> np.ndarray:
        """The highest value of each feature map: ``(probes, filters)``."""
        values: np.ndarray = self.statistics[0]
        return values

    @property
    def lowest(self) -> np.ndarray:
        """The lowest value of each feature map: ``(probes, filters)``."""
        values: np.ndarray = self.statistics[1]
        return values

    @property
    def mean(self) -> np.ndarray:
        """The mean value of each feature map: ``(probes, filters)``."""
        values: np.ndarray = self.statistics[2]
        return values

    def values(self, probe: int | None = None) -> np.ndarray:
        """Return the values of the maps.

        Args:
            probe: The number of a probe; None for all.

        Returns:
            ``float32`` array of shape ``(maps, filters, height, width)``, or without the first axis
            for one probe. A map with a value that is not finite is NaN.
        """
        kept = len(self.maps)
        if probe is not None and not 0 <= probe < kept:
            raise FiltertrackError(f"probe: expected a number from 0 to {kept - 1}, got {probe}")
        peaks = np.maximum(self.highest, -self.lowest)[:kept, :, np.newaxis, np.newaxis]
        chosen = slice(None) if probe is None else probe
        unit = np.float32(np.iinfo(self.maps.dtype).max)
        with np.errstate(invalid="ignore"):  # an infinite peak
            values: np.ndarray = self.maps[chosen] / unit * peaks[chosen]
        return values


@dataclass(frozen=True, slots=True, eq=False)
class StrongestPatches:
    """The parts of the probes that excite each filter of a layer most, at one snapshot.

    Attributes:
        pixels: ``float32`` array of shape ``(filters, 9, height, width, channels)``: the receptive
            field of each place, strongest first, or the whole picture where the field is not known
            or larger. Pixels outside of the picture and missing places are NaN.
        places: ``float32`` array of shape ``(filters, 9, 4)``, as in ``LayerResponse``.
        filters: The numbers of the filters.
    """

    pixels: np.ndarray
    places: np.ndarray
    filters: tuple[int, ...]

    def __repr__(self) -> str:
        """Return the number of filters and the size of the patches, without values."""
        size = "×".join(map(str, self.pixels.shape[2:]))
        filters = counted(len(self.filters), "filters")
        return f"StrongestPatches({filters}, up to {PLACES} patches of {size} each)"

    @property
    def values(self) -> np.ndarray:
        """The value of the feature map at each place: ``(filters, 9)``; NaN for missing places."""
        values: np.ndarray = self.places[..., 3]
        return values


@dataclass(frozen=True, slots=True, eq=False)
class DotProduct:
    """One value of a first layer's feature map as the dot product of a patch with a kernel.

    Spatial axes are those of the layer: width; height and width; or depth, height and width.

    Attributes:
        patch: The pixels below the kernel, after preprocessing, with zeros for padding:
            ``float32`` array of shape ``(height, width, channels)``. Of a grouped or depthwise
            convolution only the channels of the filter's group.
        kernel: The filter's weights, of the same shape.
        bias: The filter's bias; 0 if the layer has none.
        activated: The layer's output, after its activation function; None if the function is not
            known.
        region: The rows and columns of the model's input that the kernel spans; outside of the
            image is padding. Of a dilated kernel, only each so many pixels meet a weight.
        channels: The first and the last channel of the input that the filter has weights for, as a
            slice.
    """

    patch: np.ndarray
    kernel: np.ndarray
    bias: float
    activated: float | None
    region: tuple[slice, ...]
    channels: slice

    def __repr__(self) -> str:
        """Return the size of the patch, and how the output follows."""
        size = "×".join(map(str, self.patch.shape))
        after = "" if self.activated is None else f", activated {self.activated:.4g}"
        return (
            f"DotProduct(patch of {size}: sum {self.sum:.4g} + bias {self.bias:.4g} = "
            f"{self.output:.4g}{after})"
        )

    @property
    def product(self) -> np.ndarray:
        """Each weight multiplied with the pixel below it, of the shape of ``kernel``."""
        with np.errstate(over="ignore", invalid="ignore"):  # infinite pixels
            values: np.ndarray = self.patch * self.kernel
        return values

    @property
    def sum(self) -> float:
        """The dot product: the sum of ``product``."""
        with np.errstate(invalid="ignore"):  # infinite pixels
            return float(self.product.sum(dtype=np.float64))

    @property
    def output(self) -> float:
        """The layer's output before its activation function: the sum plus the bias."""
        return self.sum + self.bias


def map_shape(shape: tuple[int, int], side: int) -> tuple[int, tuple[int, int]]:
    """Return by which whole factor feature maps are shrunk, and their shape then.

    Args:
        shape: Height and width of the feature maps.
        side: Height and width of the result, at most.

    Example:
        >>> map_shape((112, 100), 32)
        (4, (28, 25))
    """
    block = max(1, *(math.ceil(n / side) for n in shape))
    return block, (math.ceil(shape[0] / block), math.ceil(shape[1] / block))


def _pair(what: str, values: Any, least: int) -> tuple[int, int]:
    """Return two whole numbers of any type as ``int``, and check their range."""
    numbers = [whole(n) for n in values] if isinstance(values, tuple) else []
    known = [n for n in numbers if n is not None and least <= n <= _MOST_PIXELS]
    if len(known) != 2 or len(numbers) != 2:
        raise FiltertrackError(f"{what}: expected two whole numbers, got {values!r:.100}")
    return known[0], known[1]


def _text(what: str, text: Any, most: int = _LONGEST_TEXT) -> str:
    """Return a text with characters replaced that are not printable, and check its length."""
    if not isinstance(text, str) or len(text) > most:
        raise FiltertrackError(f"{what}: expected at most {most} characters, got {text!r:.100}")
    return printable(text)


def _class_numbers(labels: Any, count: int) -> np.ndarray | None:
    """Return labels as whole numbers."""
    if labels is None:
        return None
    numbers = np.asarray(labels)
    are_whole = numbers.dtype.kind in "biu"
    if numbers.dtype.kind == "f" and (np.abs(numbers) < 1 << 53).all():
        are_whole = bool((numbers == np.rint(numbers)).all())
    if numbers.shape != (count,) or not are_whole:
        raise FiltertrackError(
            f"labels: expected a whole number for each of {count} probes, got {numbers.dtype} of "
            f"shape {numbers.shape}"
        )
    return numbers.astype(np.int64) if numbers.dtype.kind == "f" else numbers
