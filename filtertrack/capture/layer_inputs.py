"""Finds what a Keras model does with its input before a convolution, from the model's graph."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import keras
import numpy as np

from filtertrack.capture.layer_kernels import copied
from filtertrack.snapshot import Preprocessing

_PADDING = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
_INERT = (
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
)
"""Layers that do nothing outside of training."""
_MOST_STEPS = 32


def preprocessing_of(
    model: Any, layer: Any, parents: Mapping[int, Any]
) -> tuple[Preprocessing, ...] | None:
    """Return the steps from the model's input to the input of a layer.

    Args:
        model: The model.
        layer: One of its layers.
        parents: ``id`` of a layer to the model that holds it.

    Returns:
        The steps in the order in which they are applied; None if they are not known, or if a layer
        with weights of its own is among them.
    """
    steps: list[Preprocessing] = []
    # A graph that cannot be walked, such as that of a shared or subclassed layer, is unknown.
    with suppress(Exception):
        for before in _layers_before(model, layer, parents):
            if len(steps) > _MOST_STEPS:
                return None
            step = _step_of(before)
            if step is not None:
                steps.append(step)
        return tuple(reversed(steps))
    return None


def _layers_before(model: Any, layer: Any, parents: Mapping[int, Any]) -> Iterator[Any]:
    """Yield the layers before a layer up to the model's input, the nearest first.

    Raises:
        LookupError: If the graph does not lead from the layer to the model's input.
    """
    tensor = layer.input
    if _calls(layer, parents.get(id(layer), model)) != 1:
        raise LookupError("the layer is called in several places")
    while True:
        operation = tensor._keras_history.operation  # noqa: SLF001 - Keras has no public name
        holder = parents.get(id(layer), model)
        if isinstance(operation, keras.Sequential):  # such as one of augmentation layers
            yield from reversed(operation.layers)
            tensor = _input_in(operation, holder)
            continue
        if not isinstance(operation, keras.layers.InputLayer):
            yield operation
            tensor = operation.input
            continue
        if holder is model:
            if len(model.inputs) > 1:
                raise LookupError("the model has several inputs")
            return
        layer, tensor = holder, _input_in(holder, parents.get(id(holder), model))


def _calls(layer: Any, holder: Any) -> int:
    """Return how often a layer is called in the graph of the model that holds it."""
    graph = getattr(holder, "_functional", holder)  # that of a sequential model
    nodes = {id(node) for nodes in graph._nodes_by_depth.values() for node in nodes}  # noqa: SLF001
    return sum(id(node) in nodes for node in layer._inbound_nodes)  # noqa: SLF001


def _input_in(inner: Any, outer: Any) -> Any:
    """Return the tensor of the outer model's graph that an inner model is called on."""
    graph = getattr(outer, "_functional", outer)  # that of a sequential model
    operations = {id(each) for each in graph._operations}  # noqa: SLF001 - also input layers
    for node in inner._inbound_nodes:  # noqa: SLF001 - Keras has no public name
        for tensor in node.input_tensors:
            if id(tensor._keras_history.operation) in operations:  # noqa: SLF001
                return tensor
    raise LookupError("the inner model is not called in the outer one")


def _step_of(layer: Any) -> Preprocessing | None:
    """Return what a layer does outside of training; None if it does nothing.

    Raises:
        LookupError: If it does something else.
    """
    if isinstance(layer, keras.layers.Rescaling):
        return Preprocessing(_numbers(layer.scale), _numbers(layer.offset))
    if isinstance(layer, keras.layers.Normalization):
        return _normalization(layer)
    if isinstance(layer, _PADDING):
        return Preprocessing(pads=tuple(_pads(layer.padding)))
    if isinstance(layer, _INERT) or _is_random(layer):
        return None
    raise LookupError(f"{type(layer).__name__} is no preprocessing")


def _is_random(layer: Any) -> bool:
    """Whether a layer of Keras augments images at random, and only during training."""
    name = type(layer).__name__
    # RandomCrop cuts out the middle when the model is not trained.
    is_augmentation = name.startswith("Random") and name != "RandomCrop"
    return type(layer).__module__.startswith("keras.") and is_augmentation


def _normalization(layer: Any) -> Preprocessing:
    mean, variance = (copied(value).astype(np.float64) for value in (layer.mean, layer.variance))
    if mean.ndim and max(mean.shape[:-1], default=1) > 1:
        raise LookupError("statistics of each pixel")
    spread = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if layer.invert:
        return Preprocessing(_numbers(spread), _numbers(mean))
    return Preprocessing(_numbers(1 / spread), _numbers(-mean / spread))


def _numbers(value: Any) -> tuple[float, ...]:
    numbers = np.asarray(value, np.float64).ravel()
    if not np.isfinite(numbers).all():
        raise LookupError("not finite")
    return tuple(numbers.tolist())


def _pads(padding: Any) -> list[tuple[int, int]]:
    pairs = [padding] if not isinstance(padding[0], (list, tuple)) else padding
    return [(int(before), int(after)) for before, after in pairs]
