"""Cells of a picture of what filters answer to: the image, and the feature map of each filter."""

from dataclasses import replace

import numpy as np
from PIL import Image

from filtertrack.errors import FiltertrackError, number_text
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.picture_parts import part_of
from filtertrack.outputs.response_maps import ResponseMaps
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.outputs.value_pictures import picture_range
from filtertrack.render.cells import CURVE_HEIGHT, CURVE_WIDTH, View
from filtertrack.render.grid import Layout
from filtertrack.render.look import ALL, DIVERGING, GREY, Look
from filtertrack.render.palette import ALL_LEVELS
from filtertrack.render.scale_bar import BarTexts
from filtertrack.render.value_range import ValueRange
from filtertrack.response import map_shape

MAP_SIDE = 48
"""Height and width of a drawn feature map, at most, where no other is chosen."""
_LONGEST_MAP, _LONGEST_CURVE = 96, 512
"""Values of the drawn feature map of a signal, and of a signal drawn as a curve, at most."""
_STRIP = 4
"""Width of a strip in heights, about: its rows are repeated."""
_MOST_CHANNELS = 64
"""Channels of a signal that are drawn as rows of a heat map, at most."""
_COLOURS = 3


class ResponseCells(LayerCells):
    """The feature maps of one layer's filters for an image, at the snapshots of a run.

    Maps that are never negative are drawn from zero (dark) to their highest value (light), others
    with zero in the middle of a diverging colormap. A map of zeros is dark, or white: it has the
    colour of zero.

    Args:
        selection: One layer, and the steps.
        look: How filters are drawn; ``delta`` and ``scale`` are chosen.
        maps: The feature maps.
        numbers: The numbers of the filters in the order drawn, instead of those of the look.
        side: Height and width of a drawn map, at most; half the length of that of a signal.

    Attributes:
        maps: The feature maps.
    """

    def __init__(
        self,
        selection: RunSelection,
        look: Look,
        maps: ResponseMaps,
        numbers: np.ndarray | None = None,
        *,
        side: int = MAP_SIDE,
    ) -> None:
        colormap = GREY if maps.rectified else DIVERGING
        look = replace(look, channels=None, zero_centred=not maps.rectified, colormap=colormap)
        look = replace(look, smooth=False)
        super().__init__(selection.runs[0], selection.layers[0], selection.steps, look, numbers)
        self.maps = maps
        self._is_signal = maps.shape[0] == 1
        self._side = min(_LONGEST_MAP, 2 * side) if self._is_signal else side
        self._block, (height, width) = map_shape(maps.shape, self._side)
        rows = _strip_rows(width, 1) if self._is_signal else 1
        filters = self.info.filters if self._given is None else len(self._given)
        self.view = View("grey", filters, height * rows, width, repeated=rows)

    @property
    def name(self) -> str:
        """What is drawn, and the largest response where all maps have one scale.

        The text beside the scale bar says which maps have one.
        """
        name = "response" if self.view.filters == 1 else "responses"
        if self.look.scale == "layer":
            return f"{name}, up to {number_text(self.largest)}"
        return name

    @property
    def explanation(self) -> list[str]:
        """What is read of the layer, and how maps were shrunk: a phrase each."""
        words = [f"responses: {self.maps.read}"]
        block = self.maps.block * self._block
        if block > 1:
            size = f"{block} values" if self._is_signal else f"{block}x{block}"
            words.append(f"shrunk: the largest magnitude of each {size}")
        return words

    def bar_texts(self, values: ValueRange) -> BarTexts | None:
        """Return the texts of the scale bar: from zero where no map is ever negative."""
        texts = super().bar_texts(values)
        if texts is None or not self.maps.rectified:
            return texts
        return BarTexts("0", "", texts.high)

    @property
    def scale_text(self) -> str:
        """Which maps share a scale."""
        return super().scale_text.replace("filter", "map")

    def draw(
        self, cells: np.ndarray, values: ValueRange, layout: Layout, levels: range = ALL_LEVELS
    ) -> np.ndarray:
        """Draw maps: see ``LayerCells.draw``; a map of zeros has the colour of zero."""
        if self.maps.rectified:
            values = ValueRange(values.low, np.where(values.high > 0, values.high, 1.0))
        return super().draw(cells, values, layout, levels)

    def _drawn_range(self, values: ValueRange) -> ValueRange:
        values = super()._drawn_range(values)
        if not self.maps.rectified:
            return values
        return ValueRange(np.zeros_like(values.low), np.maximum(values.high, 0))

    def _kernels(self, number: int) -> np.ndarray:
        """Return the maps of the filters at a snapshot: ``(filters, height, width, 1)``."""
        maps = shrunk(self._drawn(self.maps.at(self._steps[number])), self._side)
        return maps[..., np.newaxis]


class PictureCells(LayerCells):
    """An image that filters answer to: one cell, the same at every snapshot.

    Three channels are drawn as colours, one as grey, any other number as their mean. A signal of
    one channel is a curve, one of several channels a heat map: channels down, positions across.

    Args:
        selection: One layer, and the steps.
        look: How filters are drawn.
        maps: The feature maps, which have the image.
        side: Height and width in pixels, at most: a larger image is shrunk by area. None for any.

    Attributes:
        explanation: What is drawn of the image where it is not all of it: a phrase each.
    """

    def __init__(
        self, selection: RunSelection, look: Look, maps: ResponseMaps, *, side: int | None = None
    ) -> None:
        plain = replace(look, channels=None, filters=None, order="stored", smooth=False)
        plain = replace(plain, scale="layer", zero_centred=False, colormap=None)
        run, layer = selection.runs[0], selection.layers[0]
        super().__init__(run, layer, selection.steps, plain, np.zeros(1, np.intp), spectra=False)
        self._name = maps.name
        self.explanation = list[str]()
        image = maps.image.astype(np.float64)
        self._values = picture_range(image)
        if image.ndim == 2:
            self._picture, self.view = self._signal(image)
        else:
            grey = image.shape[-1] != _COLOURS
            if grey and image.shape[-1] > 1:
                self.explanation.append(f"picture: mean of {image.shape[-1]} channels")
            image = image.mean(axis=-1, keepdims=True) if grey else image
            self._picture = image if side is None else _resized(image, side)
            self.view = View("grey" if grey else "colour", 1, *self._picture.shape[:2])

    @property
    def name(self) -> str:
        """The title of the picture."""
        return self._name

    @property
    def fixed_range(self) -> ValueRange:
        """The values drawn darkest and lightest."""
        return self._values

    def values(self, cells: np.ndarray) -> ValueRange:  # noqa: ARG002 - the same at every snapshot
        """Return the values drawn darkest and lightest."""
        return self._values

    def bar_texts(self, values: ValueRange) -> BarTexts | None:  # noqa: ARG002 - see scale_text
        """Return None: the text beside the picture says its range."""
        return None

    @property
    def scale_text(self) -> str:
        """The range of the values."""
        low, high = (float(each[0]) for each in (self._values.low, self._values.high))
        return f"values {low:.4g} to {high:.4g}"

    def labels(self, position: float) -> np.ndarray:  # noqa: ARG002 - the same at every snapshot
        """Return the label of a picture, which has none."""
        return np.array(["unknown"])

    def _kernels(self, number: int) -> np.ndarray:  # noqa: ARG002 - the same at every snapshot
        return self._picture[np.newaxis]

    def _signal(self, signal: np.ndarray) -> tuple[np.ndarray, View]:
        """Return a signal of shape ``(length, channels)`` as pixels, and how it is drawn."""
        length, channels = signal.shape
        if channels > _MOST_CHANNELS:
            self.explanation.append(f"picture: mean of {channels} channels")
            signal, channels = signal.mean(axis=1, keepdims=True), 1
        most = _LONGEST_CURVE if channels == 1 else _LONGEST_MAP
        block = map_shape((1, length), most)[0]
        if block > 1:
            self.explanation.append(f"picture: the largest magnitude of each {block} samples")
        rows = shrunk(signal.T[:, np.newaxis], most)[:, 0]
        if channels == 1:
            return rows[..., np.newaxis], View("curve", 1, CURVE_HEIGHT, CURVE_WIDTH)
        rows = rows.repeat(_strip_rows(rows.shape[1], channels), axis=0)
        return rows[..., np.newaxis], View("grey", 1, *rows.shape)


def response_look(look: Look) -> Look:
    """Return the look of filters beside their responses; ``scale`` and ``colormap`` are chosen.

    Raises:
        FiltertrackError: If the difference from the start or each channel is asked for.
    """
    if look.delta:
        raise FiltertrackError(
            "responses: filters answer with their weights, not with the difference from the start; "
            "leave delta out"
        )
    if look.channels == ALL:
        raise FiltertrackError("responses: a filter has one, not one a channel; leave channels out")
    return part_of(replace(look, delta=False))


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    """Return an image of at most so many pixels a side: each is the mean of what it covers."""
    share = side / max(image.shape[:2])
    if share >= 1:
        return image
    height, width = (max(1, round(share * size)) for size in image.shape[:2])
    channels = [
        Image.fromarray(channel.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _strip_rows(length: int, channels: int) -> int:
    """Return how often each row of a strip is repeated, so that it is not too narrow."""
    return max(1, round(length / channels / _STRIP))


def shrunk(maps: np.ndarray, side: int = MAP_SIDE) -> np.ndarray:
    """Shrink maps by a whole factor: each block becomes its value of largest magnitude.

    So no strong answer is lost.

    Args:
        maps: Array of shape ``(maps, height, width)``.
        side: Height and width of the result, at most.

    Example:
        >>> shrunk(np.array([[[1.0, -3.0, 0.0, 2.0]]]), side=2)
        array([[[-3.,  2.]]])
    """
    count, height, width = maps.shape
    factor, (down, across) = map_shape((height, width), side)
    if factor == 1:
        return maps
    more = (0, down * factor - height), (0, across * factor - width)
    blocks = np.pad(maps, [(0, 0), *more], mode="edge").reshape(count, down, factor, across, factor)
    flat = blocks.transpose(0, 1, 3, 2, 4).reshape(count, down, across, factor * factor)
    largest = np.abs(flat).argmax(axis=-1)[..., np.newaxis]
    values: np.ndarray = np.take_along_axis(flat, largest, axis=-1)[..., 0]
    return values
