"""Cells of an animation that shows what filters answer to: the picture, and their responses."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.run_selection import DamagedSnapshotError, RunSelection
from filtertrack.render.caption import number_text
from filtertrack.render.cells import View
from filtertrack.render.look import DIVERGING, Look

MAP_SIDE = 48
"""Height and width of a drawn response, at most."""
_MOST_IMAGES = 16
_KERNEL_AXES = 4


class ResponseCells(LayerCells):
    """The responses of one layer's filters to an image, at the snapshots of a run.

    Args:
        selection: One layer, and the steps.
        look: How filters are drawn; ``delta`` and ``scale`` are chosen.
        image: With the values that the model takes: ``(height, width, channels)``.

    Raises:
        FiltertrackError: If the layer's responses do not follow from its kernel.
    """

    def __init__(self, selection: RunSelection, look: Look, image: np.ndarray) -> None:
        signed = replace(look, channels=None, zero_centred=True, colormap=DIVERGING, smooth=False)
        run, name = selection.runs[0], selection.layers[0]
        super().__init__(run, name, selection.steps, signed)
        first = self.info.data_format == "channels_first"
        self._image = (np.moveaxis(image, -1, 0) if first else image)[np.newaxis]
        self._read(self._steps[0])  # tells a damaged snapshot from an image that does not fit
        height, width = self._maps(0).shape[1:]
        self.view = View("grey", len(self.numbers), height, width)

    @property
    def name(self) -> str:
        """What is drawn, and the largest response where all maps have one scale."""
        if self.look.scale == "layer":
            return f"responses, up to {number_text(self.largest)}"
        return "responses, each on its own scale"

    def _kernels(self, number: int) -> np.ndarray:
        """Return the responses of the filters at a snapshot: ``(filters, height, width, 1)``."""
        try:
            return self._maps(number)[..., np.newaxis]
        except FiltertrackError as error:  # the image has fitted before
            raise DamagedSnapshotError(error, self._steps[number]) from error

    def _maps(self, number: int) -> np.ndarray:
        maps = self._run.responses(self.info.name, self._steps[number], self._image)[0]
        return self._drawn(shrunk(np.moveaxis(maps, -1, 0)))


class PictureCells(LayerCells):
    """A picture that filters answer to: one cell, the same at every snapshot.

    Args:
        selection: One layer, and the steps.
        look: How filters are drawn.
        image: As the model takes it: ``(height, width, channels)``.
        name: The title of the picture.
    """

    def __init__(self, selection: RunSelection, look: Look, image: np.ndarray, name: str) -> None:
        plain = replace(look, channels=None, filters=None, order="stored", smooth=False)
        plain = replace(plain, scale="frame", zero_centred=False, colormap=None)
        super().__init__(selection.runs[0], selection.layers[0], selection.steps, plain)
        grey = image.shape[-1] != 3
        self._picture = image.mean(axis=-1, keepdims=True) if grey else image
        self.view = View("grey" if grey else "colour", 1, *image.shape[:2])
        self._name = name

    @property
    def name(self) -> str:
        """The title of the picture."""
        return self._name

    def _kernels(self, number: int) -> np.ndarray:  # noqa: ARG002 - the same at every snapshot
        return self._picture[np.newaxis]

    def labels(self, position: float) -> np.ndarray:  # noqa: ARG002 - see above
        """Return the label of a picture, which has none."""
        return np.array(["unknown"])


def check_images(
    selection: RunSelection, images: np.ndarray | Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return images to answer to, each of shape ``(height, width, channels)``.

    Raises:
        FiltertrackError: If they are no images, or too many, or there are several layers or runs.
    """
    if len(selection.runs) > 1 or len(selection.layers) > 1:
        raise FiltertrackError("responses: they are drawn of one layer of one run; choose one")
    info = selection.runs[0].layer(selection.layers[0])
    if len(info.kernel_shape) != _KERNEL_AXES:
        raise FiltertrackError(f"responses: layer {info.name} does not slide over images")
    if isinstance(images, str | os.PathLike):
        raise FiltertrackError(
            f"responses: expected arrays, got the text {str(images)!r:.100}; "
            f"`filtertrack responses --images` reads files"
        )
    if isinstance(images, np.ndarray) and images.ndim == 3:
        raise FiltertrackError(
            f"responses: expected several images, got one of shape {images.shape}; give [image]"
        )
    pictures = [np.asarray(image) for image in images]
    if not 0 < len(pictures) <= _MOST_IMAGES or not all(map(_is_image, pictures)):
        shapes = ", ".join(str(picture.shape) for picture in pictures[:3]) or "none"
        raise FiltertrackError(
            f"responses: expected 1 to {_MOST_IMAGES} images of shape (height, width, channels), "
            f"as the model takes them, got {len(pictures)}: {shapes}"
        )
    if info.data_format == "channels_first":
        pictures = [np.moveaxis(picture, 0, -1) for picture in pictures]
    return pictures


def _is_image(picture: np.ndarray) -> bool:
    return picture.ndim == 3 and picture.size > 0 and picture.dtype.kind in "buif"


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
    factor = max(1, -(-height // side), -(-width // side))
    if factor == 1:
        return maps
    down, across = -(-height // factor), -(-width // factor)
    more = (0, down * factor - height), (0, across * factor - width)
    blocks = np.pad(maps, [(0, 0), *more], mode="edge").reshape(count, down, factor, across, factor)
    flat = blocks.transpose(0, 1, 3, 2, 4).reshape(count, down, across, factor * factor)
    largest = np.abs(flat).argmax(axis=-1)[..., np.newaxis]
    values: np.ndarray = np.take_along_axis(flat, largest, axis=-1)[..., 0]
    return values
