"""Finds where in a model the responses of a layer are read: after its activation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from filtertrack.capture.forward_trace import Call

_RECTIFIERS = frozenset({"relu", "relu6"})
_PASSED = (keras.layers.BatchNormalization, keras.layers.Dropout, keras.layers.SpatialDropout2D)


@dataclass(frozen=True, slots=True, eq=False)
class ResponsePoint:
    """Where the responses of a layer are read.

    Attributes:
        call: The index of the call whose output is read.
        read: What that is, in words.
        rectified: Whether it is never negative, and 0 below a threshold.
    """

    call: int
    read: str
    rectified: bool


def response_point(calls: Sequence[Call], layer: Any) -> ResponsePoint | None:
    """Return where the responses of a layer are read; None if it was not called.

    It is the output of the layer's activation, in the layer or after it, perhaps behind batch
    normalization and dropout. Where no activation follows directly, it is the layer's own output.

    Args:
        calls: Every call of a forward pass.
        layer: The layer. Of several calls, the first one counts.
    """
    own = next((n for n, call in enumerate(calls) if call.operation is layer), None)
    if own is None:
        return None
    activation = _activation_name(layer)
    if activation not in {"", "linear"}:
        return ResponsePoint(own, "the layer's output", activation in _RECTIFIERS)
    uses = Counter(id(tensor) for call in calls for tensor in call.inputs)
    reached = own
    while uses[id(calls[reached].output)] == 1:
        tensor = calls[reached].output
        reached = next(
            n for n, call in enumerate(calls) if any(each is tensor for each in call.inputs)
        )
        operation = calls[reached].operation
        kind = _activation(operation)
        if kind:
            read = f"the output of {operation.name}, after {layer.name}"
            return ResponsePoint(reached, read, kind in _RECTIFIERS)
        if not isinstance(operation, _PASSED):
            break
    return ResponsePoint(own, "the layer's output, without an activation", rectified=False)


def _activation(operation: Any) -> str:
    """Return the name of the activation function of a layer or operation; empty for none."""
    if isinstance(operation, keras.layers.Activation):
        return _activation_name(operation)
    if isinstance(operation, keras.layers.ReLU):
        return "leaky_relu" if operation.negative_slope else "relu"
    if not isinstance(operation, keras.layers.Layer) and type(operation).__name__ == "Relu":
        return "relu"
    return ""


def _activation_name(layer: Any) -> str:
    """Return the name of a layer's own activation function; empty if it is not known."""
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))
