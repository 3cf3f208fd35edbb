"""Fits probes to a model: its inputs, their shapes and types, and the values of pictures."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from PIL import Image

from filtertrack.capture.layer_kernels import copied
from filtertrack.capture.layer_order import walk
from filtertrack.capture.probes import Probes
from filtertrack.errors import FiltertrackError, counted
from filtertrack.outputs.picture_files import SIDE, read_picture
from filtertrack.storage.memory_limit import check_memory

_log = logging.getLogger("filtertrack")
_UNNAMED = "input"
"""The name of a single input that has none."""
_WHITE = 255
_LIKE_BYTES = 16
"""Values beyond this one are probably those of 8-bit pictures."""
_SCALED_UP = 10
"""Divisor of a model's input from which on the model takes values like those of 8-bit pictures."""


@dataclass(frozen=True, slots=True)
class _Input:
    """One input that a model declares.

    Attributes:
        name: Its name.
        shape: The length of each axis after the first; None where any is taken.
        dtype: The type of the values.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def text(self) -> str:
        """The shape in words."""
        sides = ", ".join("any" if n is None else str(n) for n in self.shape)
        return f"({sides},)" if len(self.shape) == 1 else f"({sides})"

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape, without the axis that counts images, is accepted."""
        return len(shape) == len(self.shape) and all(
            expected in {None, n} for expected, n in zip(self.shape, shape, strict=True)
        )


def resolved(probes: Probes, model: Any) -> dict[str, np.ndarray]:
    """Return the probes as arrays that a model takes.

    Pictures are read and resized. A last axis of length 1 is added or removed, as
    Keras does.

    Args:
        probes: The probes.
        model: A built model.

    Returns:
        The images by the name of the model's input, in the order of the inputs. Inputs without a
        name are ``"input"``, or ``"input_0"``, ``"input_1"``, … if they were given as a list.

    Raises:
        FiltertrackError: If the model takes other inputs or shapes; the message says which.
    """
    inputs = _inputs(model)
    if probes.files:
        name, images = _pictures(probes, model, inputs)
        return {name: images}
    given = _by_name(probes.images, inputs)
    declared = {each.name: each for each in inputs}
    found = {
        name: _fitting(images, declared[name]) if name in declared else _plain(images)
        for name, images in given.items()
    }
    if len(found) == 1:
        _check_values(next(iter(found.values())), model)
    return found


def _inputs(model: Any) -> list[_Input]:
    """Return the inputs that a model declares; none for a subclassed model."""
    tensors = list(getattr(model, "inputs", None) or ())
    names = [str(tensor.name) for tensor in tensors]
    by_key = getattr(model, "_inputs_struct", None)
    if isinstance(by_key, dict) and len(by_key) == len(tensors):
        key_of = {id(tensor): str(key) for key, tensor in by_key.items()}
        names = [key_of.get(id(tensor), name) for tensor, name in zip(tensors, names, strict=True)]
    if len(names) == 1 and names[0].startswith("keras_tensor"):  # a number of this program's
        names = [_UNNAMED]
    return [
        _Input(name, tuple(tensor.shape[1:]), str(tensor.dtype))
        for name, tensor in zip(names, tensors, strict=True)
    ]


def _by_name(images: Any, inputs: Sequence[_Input]) -> Mapping[str, np.ndarray]:
    """Return the images of each input.

    Raises:
        FiltertrackError: If they are those of other inputs.
    """
    names = [each.name for each in inputs]
    given = images
    if isinstance(given, np.ndarray):
        given = {_UNNAMED: given} if len(names) < 2 else [given]
    if isinstance(given, list) and len(given) == len(names or given):
        numbered = names or [f"{_UNNAMED}_{number}" for number in range(len(given))]
        given = dict(zip(numbered, given, strict=True))
    if len(given) == len(names) == 1:
        given = {names[0]: next(iter(given.values()))}
    if isinstance(given, Mapping) and (not names or set(given) == set(names)):
        return {name: given[name] for name in names or given}
    came = f"{len(given)} arrays" if isinstance(given, list) else ", ".join(given)
    raise FiltertrackError(
        f"probes: expected images for {counted(len(names), 'inputs')} of the model, "
        f"{', '.join(names)}, got {came}; give a dict of arrays by these names, or a list in this "
        f"order"
    )


def _plain(images: np.ndarray) -> np.ndarray:
    """Return images with floats no wider than those that Keras computes with."""
    floats = keras.config.floatx()
    return images.astype(floats) if images.dtype == np.float64 else images


def _fitting(images: np.ndarray, declared: _Input) -> np.ndarray:
    """Return images in the shape and type of an input.

    Raises:
        FiltertrackError: If they are of another shape.
    """
    shape = images.shape[1:]
    if declared.shape[-1:] == (1,) and declared.takes((*shape, 1)):
        images = images[..., np.newaxis]
    elif shape[-1:] == (1,) and declared.takes(shape[:-1]):
        images = images[..., 0]
    if not declared.takes(images.shape[1:]):
        where = "" if declared.name == _UNNAMED else f" in its input {declared.name!r}"
        raise FiltertrackError(
            f"probes: the model takes images of shape {declared.text}{where}, "
            f"got an array of shape {images.shape}; {_advice(images.shape, declared)}"
        )
    is_float = declared.dtype.startswith("float")
    return images.astype(declared.dtype) if images.dtype == np.float64 and is_float else images


def _advice(shape: tuple[int, ...], declared: _Input) -> str:
    """Return what to do about an array of another shape than the model takes."""
    _, *image = shape
    channels = declared.shape[-1] if declared.shape else None
    advice = {
        shape: "for one image give x[np.newaxis]",
        (*shape, 1): "for one image give x[np.newaxis, ..., np.newaxis]",
        (*image[1:], *image[:1]): "its channels come first: give np.moveaxis(x, 1, -1)",
        (*image[-1:], *image[:-1]): "its channels come last: give np.moveaxis(x, -1, 1)",
        (*image, channels or 1): f"for {channels} equal channels give "
        f"np.repeat(x[..., np.newaxis], {channels}, axis=-1)",
    }
    if shape and declared.takes((*image[:-1], channels or 1)):
        is_grey = image[-1] == 1
        repeat = f"for equal channels give np.repeat(x, {channels}, axis=-1)"
        advice[(*image[:-1], channels or 1)] = (
            repeat
            if is_grey
            else f"the images have {counted(image[-1], 'channels')}, and the model takes "
            f"{channels}: convert them as those of the training data"
        )
    fitting = [text for wanted, text in advice.items() if declared.takes(wanted)]
    same_axes = len(image) == len(declared.shape)
    resize = "resize the images, or give picture files, which are resized"
    return fitting[0] if fitting else resize if same_axes else "the first axis counts images"


# Values.


def _takes_bytes(model: Any) -> bool:
    """Whether a model rescales or normalizes its input from values of 0 to 255.

    The layers and operations before the first one with a kernel are looked at.
    """
    for operation in _in_order(model):
        if getattr(operation, "kernel", None) is not None:
            return False
        if any(divisor >= _SCALED_UP for divisor in _divisors(operation)):
            return True
    return False


def _in_order(model: Any) -> Iterator[Any]:
    """Yield the layers and operations of a model without others in them, as data flows."""
    graph = getattr(model, "_functional", None) or model
    # Without a graph, the order of the attributes is probably that in which data flows.
    for each in getattr(graph, "_operations", None) or [
        layer for path, layer in walk(model) if path
    ]:
        if not getattr(each, "_layers", ()):
            yield each
        elif hasattr(graph, "_operations"):
            yield from _in_order(each)


def _divisors(operation: Any) -> Iterator[float]:
    """Yield by what a layer or operation divides its input."""
    if isinstance(operation, keras.layers.Rescaling):
        yield from (1 / abs(scale) for scale in np.ravel(operation.scale) if scale)
    elif isinstance(operation, keras.layers.Normalization):
        if not operation.invert and operation.variance is not None:
            yield from np.sqrt(np.ravel(copied(operation.variance)))
    elif type(operation).__name__ in {"Divide", "TrueDivide", "Multiply"} and not isinstance(
        operation, keras.layers.Layer
    ):
        for node in operation._inbound_nodes:  # noqa: SLF001 - Keras has no public name
            for value in node.arguments.args:
                if isinstance(value, (int, float)) and value:
                    is_product = type(operation).__name__ == "Multiply"
                    yield abs(1 / value if is_product else value)


def _check_values(images: np.ndarray, model: Any) -> None:
    """Warn if the values of images are probably not in the range that the model takes."""
    if images.ndim < 3:
        return
    lowest, highest = float(images.min()), float(images.max())
    if _takes_bytes(model):
        if lowest >= 0 and 0 < highest <= 1:
            _log.warning(
                "probes: their values are within %g to %g, but the model rescales its input as "
                "from 0 to 255: if the training data are 0 to 255, give probes * 255",
                lowest,
                highest,
            )
    elif lowest >= 0 and _LIKE_BYTES < highest <= _WHITE:
        _log.warning(
            "probes: their values are within %g to %g, and the model has no Rescaling or "
            "Normalization at its input: if the training data are 0 to 1, give probes / 255",
            lowest,
            highest,
        )


# Picture files.


def _pictures(probes: Probes, model: Any, inputs: Sequence[_Input]) -> tuple[str, np.ndarray]:
    """Read picture files in the size, channels and values that a model takes.

    Raises:
        FiltertrackError: If the model does not take pictures, or they take too much memory.
    """
    if len(inputs) > 1:
        raise FiltertrackError(
            f"probes: picture files need a model with one input, and this one has "
            f"{', '.join(each.name for each in inputs)}; give a dict of arrays"
        )
    first = any(getattr(layer, "data_format", "") == "channels_first" for _, layer in walk(model))
    height, width, channels = _picture_shape(model, inputs, channels_first=first)
    pictures = [read_picture(probes.files[0])]
    if height is None or width is None:
        scale = min(1, SIDE / max(pictures[0].size))
        free = [max(1, round(side * scale)) for side in pictures[0].size]
        width, height = width or free[0], height or free[1]
    size = probes.count * height * width * (channels or 1) * np.dtype(np.float32).itemsize
    check_memory(size, f"probes: {counted(probes.count, 'pictures')} take")
    takes_bytes = _takes_bytes(model)
    low, high = probes.values or ((0.0, 255.0) if takes_bytes else (0.0, 1.0))
    images = np.stack(
        [_pixels(read_picture(file), (width, height), channels) for file in probes.files]
    )
    images = (low + images / _WHITE * (high - low)).astype(np.float32)
    reason = (
        "as given by values="
        if probes.values
        else f"since the model {'rescales' if takes_bytes else 'does not rescale'} its input "
        f"(others: Probes(files, values=(low, high)))"
    )
    _log.info(
        "probes: %s, resized to %d x %d pixels, with values from %g to %g, %s",
        counted(probes.count, "pictures"),
        height,
        width,
        low,
        high,
        reason,
    )
    if channels is None:
        images = images[..., 0]
    elif first:
        images = np.moveaxis(images, -1, 1)
    return (inputs[0].name if inputs else _UNNAMED), np.ascontiguousarray(images)


def _picture_shape(
    model: Any, inputs: Sequence[_Input], *, channels_first: bool
) -> tuple[int | None, int | None, int | None]:
    """Return the height, width and channels of a model's input; None where they are free.

    Channels are None where the input has no axis of channels.

    Raises:
        FiltertrackError: If the input is none of grey or colour pictures.
    """
    if not inputs:
        return None, None, _checked_channels(_channels_of_kernel(model))
    shape = inputs[0].shape
    if len(shape) == 2:
        return shape[0], shape[1], None
    if len(shape) != 3:
        raise FiltertrackError(
            f"probes: pictures have a height, a width and channels, and the model takes shape "
            f"{inputs[0].text}; give an array as it takes it"
        )
    channels, *sides = shape if channels_first else (shape[2], *shape[:2])
    return sides[0], sides[1], _checked_channels(channels or _channels_of_kernel(model))


def _checked_channels(channels: int | None) -> int:
    if channels not in {1, 3}:
        raise FiltertrackError(
            f"probes: a picture has one channel (grey) or three (red, green, blue), and the model "
            f"takes {channels or 'an unknown number'}; give arrays"
        )
    return channels


def _channels_of_kernel(model: Any) -> int | None:
    """Return how many channels the first convolution takes; None if there is none."""
    for _, layer in walk(model):
        kernel = getattr(layer, "depthwise_kernel", getattr(layer, "kernel", None))
        if kernel is not None and len(kernel.shape) == 4:
            return int(kernel.shape[2]) * int(getattr(layer, "groups", 1))
    return None


def _pixels(picture: Image.Image, size: tuple[int, int], channels: int | None) -> np.ndarray:
    """Return the pixels of a picture in another size: ``(height, width, channels)``."""
    smaller = all(new <= old for new, old in zip(size, picture.size, strict=True))
    kind = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    # As real numbers: in whole ones, Pillow rounds twice.
    bands = [band.convert("F") for band in picture.convert("RGB" if channels == 3 else "L").split()]
    return np.stack([np.asarray(band.resize(size, kind)) for band in bands], axis=-1)
