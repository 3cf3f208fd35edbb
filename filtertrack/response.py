"""Data classes of probes, the images shown to a model at each snapshot, and of its responses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from filtertrack.errors import FiltertrackError

PLACES = 9
"""Strongest places that are kept of each filter."""


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The part of an input image that one value of a feature map depends on.

    The value at row ``y`` depends on the pixel rows from ``y * strides[0] + offsets[0]`` on,
    ``size[0]`` of them; rows outside of the image are padding. Columns likewise.

    Attributes:
        size: Height and width in pixels.
        strides: Pixels between the fields of two neighbouring values, down and across.
        offsets: First row and column of the field of the value at (0, 0), which may be negative.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    offsets: tuple[int, int]

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
        read: What is read, in words, such as ``"the output of relu1, after conv1"``.
        rectified: Whether what is read is never negative and 0 below a threshold, as after a ReLU:
            only then can a filter be silent.
        shape: Height and width of the layer's feature maps.
        map_shape: Height and width of the maps that are kept.
        block: Side of the block of values that one value of a map was shrunk from; 1 for none.
        input: The name of the model's input in which ``field`` lies.
        field: The receptive field of the layer's outputs; None if it is not known, or the whole
            image.
    """

    name: str
    read: str
    rectified: bool
    shape: tuple[int, int]
    map_shape: tuple[int, int]
    block: int = 1
    input: str = ""
    field: ReceptiveField | None = None


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
    """

    inputs: Mapping[str, np.ndarray]
    layers: Mapping[str, ProbedLayer]
    maps: int
    labels: np.ndarray | None = None
    channels_first: bool = False

    @property
    def count(self) -> int:
        """The number of probes."""
        return len(next(iter(self.inputs.values())))

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

    def pictures(self, input_name: str = "") -> np.ndarray | None:
        """Return the images of an input with their channels last; None if they are no images.

        Args:
            input_name: The input; empty for the first one.

        Returns:
            Array of shape ``(probes, height, width, channels)``.
        """
        images = self.inputs.get(input_name, next(iter(self.inputs.values())))
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
        values: np.ndarray = self.maps[chosen] / unit * peaks[chosen]
        return values


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
