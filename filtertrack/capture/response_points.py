"""Finds where in a model the responses of a layer are read: after its activation."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from filtertrack.capture.forward_trace import Call, KerasFunction

_RECTIFIERS = frozenset({"relu", "relu6", "hard_sigmoid", "sparse_plus", "sparse_sigmoid"})
"""Activation functions that are never negative, and 0 below a threshold."""
ACTIVATION_FUNCTIONS = _RECTIFIERS | frozenset(
    [
        *("celu", "elu", "gelu", "glu", "hard_shrink", "hard_silu", "hard_swish", "hard_tanh"),
        *("leaky_relu", "log_sigmoid", "log_softmax", "mish", "selu", "sigmoid", "silu"),
        *("soft_shrink", "softmax", "softplus", "softsign", "sparsemax", "squareplus", "swish"),
        *("tanh", "tanh_shrink", "threshold"),
    ]
)
"""Names of the functions and operations of Keras that are activation functions."""
_NORMALIZATIONS = ("BatchNormalization", "GroupNormalization", "LayerNormalization")
_PASSED = (
    *_NORMALIZATIONS,
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout"),
    *("GaussianDropout", "GaussianNoise", "ActivityRegularization", "Identity"),
)
"""Layers between a convolution and its activation, by the names of their classes in Keras."""
_ACTIVATIONS = ("LeakyReLU", "PReLU", "ELU", "Softmax")
"""Layers that are activation functions, besides ``Activation`` and ``ReLU``."""


@dataclass(frozen=True, slots=True, eq=False)
class ResponsePoint:
    """Where the responses of a layer are read.

    Attributes:
        call: The index of the call whose output is read.
        read: What that is, in words.
        rectified: Whether it is never negative, and 0 below a threshold.
        is_shared: Whether the layer is called several times.
    """

    call: int
    read: str
    rectified: bool
    is_shared: bool = False


def response_point(calls: Sequence[Call], layer: Any) -> ResponsePoint | None:
    """Return where the responses of a layer are read; None if it was not called.

    It is the output of the layer's activation, in the layer or after it, perhaps behind
    normalization and dropout. Where none is found, or several layers use the output, it is the
    layer's own output.

    Args:
        calls: Every call of a forward pass.
        layer: The layer. Of several calls, the first one counts.
    """
    own = [number for number, call in enumerate(calls) if call.operation is layer]
    if not own:
        return None
    often = f", first of {len(own)} calls" if len(own) > 1 else ""
    point = _point(calls, own[0], layer)
    return ResponsePoint(point.call, f"{point.read}{often}", point.rectified, len(own) > 1)


def _point(calls: Sequence[Call], own: int, layer: Any) -> ResponsePoint:
    activation = getattr(layer, "activation", None)
    if not _is_linear(activation):
        read = f"the output of {layer.name} ({_function_name(activation)})"
        return ResponsePoint(own, read, _is_rectifier(activation))
    passed: list[Any] = []
    reached = own
    while len(users := _users(calls, calls[reached].output)) == 1:
        reached = users[0]
        operation = calls[reached].operation
        if _is_activation(operation):
            rectified = _is_rectifier(operation) and calls[reached].alone
            return ResponsePoint(reached, f"after {operation.name}", rectified)
        if not _is_layer_of(operation, _PASSED):
            break
        passed.append(operation)
    normalized = any(_is_layer_of(each, _NORMALIZATIONS) for each in passed)
    before = ", before normalization" if normalized else ""
    why = "several layers use it" if len(users) > 1 else "no activation was found after it"
    read = f"the output of {layer.name}{before}; {why}"
    return ResponsePoint(own, read, rectified=False)


def _users(calls: Sequence[Call], tensor: Any) -> list[int]:
    """Return the indices of the calls that use a tensor.

    A call that returns its input, as of dropout in inference mode, does not count.
    """
    return [
        number
        for number, call in enumerate(calls)
        if call.output is not tensor and any(each is tensor for each in call.inputs)
    ]


def _is_activation(operation: Any) -> bool:
    """Whether a layer, a function or an operation of a graph is an activation function."""
    if isinstance(operation, KerasFunction):
        return operation.name in ACTIVATION_FUNCTIONS
    if isinstance(operation, keras.layers.Activation):
        return not _is_linear(operation.activation)
    if isinstance(operation, keras.layers.Layer):
        return _is_layer_of(operation, ("ReLU", *_ACTIVATIONS))
    return _snake_case(type(operation).__name__) in ACTIVATION_FUNCTIONS


def _is_linear(activation: Any) -> bool:
    return activation is None or activation is keras.activations.linear


def _is_rectifier(activation: Any) -> bool:
    """Whether an activation is never negative, and 0 below a threshold.

    Args:
        activation: A function, a layer, or an operation of a graph. One of the user's own is not
            known.
    """
    if isinstance(activation, KerasFunction):
        return activation.name in _RECTIFIERS
    if not _is_of_library(activation):
        return False
    if isinstance(activation, keras.layers.Activation):
        return _is_rectifier(activation.activation)
    if hasattr(activation, "negative_slope"):
        # The layer ReLU, and the operation of keras.activations.relu: they have three options.
        threshold = getattr(activation, "threshold", None)
        return threshold is not None and not activation.negative_slope and threshold >= 0
    return _function_name(activation) in _RECTIFIERS


def _is_of_library(activation: Any) -> bool:
    """Whether Keras or its backend has the code of an activation."""
    code = activation
    if isinstance(activation, keras.Operation):
        code = inspect.unwrap(type(activation).call)
    package = str(getattr(code, "__module__", "")).partition(".")[0]
    return package in {"keras", "tensorflow", "jax", "torch"}


def _function_name(activation: Any) -> str:
    """Return the name of an activation."""
    return str(getattr(activation, "__name__", None) or _snake_case(type(activation).__name__))


def _snake_case(name: str) -> str:
    """Return the name of a function from that of its class.

    Example:
        >>> [_snake_case(name) for name in ("Relu6", "ReLU", "HardSilu")]
        ['relu6', 'relu', 'hard_silu']
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("LU", "lu")).lower()


def _is_layer_of(operation: Any, names: Sequence[str]) -> bool:
    """Whether an operation is a layer of one of several classes of Keras, or derived from it."""
    classes = [getattr(keras.layers, name, None) for name in names]
    return isinstance(operation, tuple(cls for cls in classes if cls is not None))
