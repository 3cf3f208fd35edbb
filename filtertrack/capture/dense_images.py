"""Image shapes of the inputs of Dense layers, which take images as flattened vectors."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import isqrt, prod
from typing import Any, NamedTuple, TypeAlias

import keras

from filtertrack.errors import FiltertrackError, listed, whole

DenseShapes: TypeAlias = Mapping[str, Sequence[int | str]]
"""Name or glob of Dense layers to ``(height, width)`` or ``(height, width, channels)``, or
``(channels, height, width, "channels_first")``."""

_LAST, _FIRST = "channels_last", "channels_first"
_EXPECTED = (
    "(height, width), (height, width, channels) or (channels, height, width, 'channels_first')"
)


class ImageShape(NamedTuple):
    """The shape of an image, and the order in which its values were flattened.

    Attributes:
        height: Number of rows.
        width: Number of columns.
        channels: Number of channels.
        data_format: ``"channels_last"``: the channels of a pixel are adjacent, as after Keras's
            ``Flatten``. ``"channels_first"``: one whole channel follows the other.
    """

    height: int
    width: int
    channels: int
    data_format: str

    @property
    def size(self) -> int:
        """The number of values."""
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        """Return the sizes for a message, such as ``"28x28"`` or ``"32x32x3"``."""
        return "x".join(map(str, self[: 2 if self.channels == 1 else 3]))


class DenseImages:
    """The Dense layers that are tracked, with the shape of the images they take.

    Args:
        shapes: Name or glob to shape. Of several that match a layer the first one applies.

    Raises:
        FiltertrackError: If a shape is not valid.

    Example:
        >>> images = DenseImages({"dense*": (28, 28)})
        >>> str(images.image_of(["dense_1"], keras.layers.Dense(64)))
        '28x28'
    """

    def __init__(self, shapes: DenseShapes | None = None) -> None:
        if shapes is not None and not isinstance(shapes, Mapping):
            raise FiltertrackError(
                f"dense: expected a dictionary of layer name to {_EXPECTED}, got {shapes!r:.200}"
            )
        self._images = {name: _image(name, shape) for name, shape in (shapes or {}).items()}

    def image_of(self, names: Sequence[str], layer: Any) -> ImageShape | None:
        """Return the shape of a layer's images; None unless it is a Dense layer that is named.

        Args:
            names: The names of the layer.
            layer: The layer.
        """
        if not _is_dense(layer):
            return None
        return next((image for p, image in self._images.items() if _matches(names, p)), None)

    def check(self, layers: Sequence[tuple[Sequence[str], Any]]) -> None:
        """Check that each pattern matches a Dense layer.

        Args:
            layers: Every layer of the model, with its names.

        Raises:
            FiltertrackError: If one matches none; the message lists the Dense layers.
        """
        dense = [names for names, layer in layers if _is_dense(layer)]
        for pattern in self._images:
            if any(_matches(names, pattern) for names in dense):
                continue
            kinds = [type(layer).__name__ for names, layer in layers if _matches(names, pattern)]
            near = get_close_matches(pattern, [names[0] for names in dense], n=1, cutoff=0.5)
            what = f"no Dense layer matches {pattern!r}" + (f", a {kinds[0]}" if kinds else "")
            hint = f" Did you mean {near[0]!r}?" if near else ""
            has = listed([names[0] for names in dense]) if dense else "no Dense layer"
            raise FiltertrackError(f"dense: {what}.{hint} The model has: {has}")


def check_inputs(path: str, kernel_shape: tuple[int, ...], image: ImageShape) -> None:
    """Check that an image has as many values as a Dense layer has inputs.

    Raises:
        FiltertrackError: If it does not; the message says which shape would fit.
    """
    inputs = kernel_shape[0]
    if len(kernel_shape) != 2 or image.size != inputs:
        raise FiltertrackError(
            f"dense: {path} has {inputs} inputs (its kernel is {kernel_shape}), and an image of "
            f"{image} has {image.size} values; {_fitting(inputs, image)} would fit"
        )


def _image(name: str, shape: object) -> ImageShape:
    sizes = list(shape) if isinstance(shape, (tuple, list)) else []
    data_format = sizes.pop() if len(sizes) == 4 else _LAST
    numbers = [whole(size) or 0 for size in sizes]
    if len(sizes) not in (2, 3) or min(numbers) < 1 or data_format not in (_LAST, _FIRST):
        raise FiltertrackError(f"dense: expected {_EXPECTED} for {name!r}, got {shape!r:.200}")
    if data_format == _FIRST:
        numbers = [*numbers[1:], numbers[0]]
    height, width, channels = (*numbers, 1)[:3]
    return ImageShape(height, width, channels, str(data_format))


def _is_dense(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Dense)


def _matches(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _fitting(inputs: int, image: ImageShape) -> tuple[int, ...]:
    """Return a shape of that many values: the given one with other channels, or a square one."""
    pixels = image.height * image.width
    if inputs % pixels == 0:
        return image.height, image.width, inputs // pixels
    for channels in (1, 3):
        side = isqrt(inputs // channels)
        if prod((side, side, channels)) == inputs:
            return (side, side, channels)[: 2 if channels == 1 else 3]
    height = next(n for n in range(isqrt(inputs), 0, -1) if inputs % n == 0)
    return height, inputs // height
