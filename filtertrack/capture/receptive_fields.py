"""Computes receptive fields of feature maps from the calls of a forward pass.

Along each spatial axis, value ``n`` of a feature map depends on the pixels from ``stride * n +
first`` to ``stride * n + last``. A convolution or pooling enlarges these intervals, an elementwise
layer keeps them, and branches that meet are united (Araujo, Norris and Sim, "Computing Receptive
Fields of Convolutional Neural Networks", Distill 2019). A layer whose effect is not known exactly
has no field: neither have the layers behind it.
"""

import inspect
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any, TypeAlias

import keras
import numpy as np

from filtertrack.capture.forward_trace import Call, KerasFunction
from filtertrack.capture.keras_kernels import per_axis
from filtertrack.capture.layer_kernels import is_of_keras
from filtertrack.capture.layer_order import walk
from filtertrack.response import ReceptiveField


def fields_of_calls(
    calls: Sequence[Call], inputs: Mapping[str, Any], model: Any = None
) -> dict[int, tuple[str, ReceptiveField]]:
    """Return the receptive field of the output of each call, where it is known exactly.

    The field of the value at a place is the smallest rectangle that holds all pixels on which the
    value depends. Where it reaches beyond the image, or beyond what an inner layer crops, padding
    takes the place of pixels.

    Args:
        calls: Every call of a forward pass, in order. Tensors are followed by identity.
        inputs: The model's input tensors by name.
        model: The model. The graph of a functional one tells the input of a layer whose tensor was
            converted to another type before the layer was called. A call of another model, if it is
            among the calls, tells to what its input was converted.

    Returns:
        The index of a call to the name of the input, and the field in it. Outputs that depend on
        the whole image, and those of layers that are not known, are missing.
    """
    of_input = {
        name: _Field(name, (_PIXEL,) * (len(tensor.shape) - 1)) for name, tensor in inputs.items()
    }
    of_call: list[_Field | None] = []
    for call, origins in zip(calls, _origins(calls, inputs, model), strict=True):
        fields = [
            of_call[origin] if isinstance(origin, int) else of_input.get(origin or "")
            for origin in origins
        ]
        of_call.append(_field_of(call, fields))
    return {
        index: (field.input, found)
        for index, field in enumerate(of_call)
        if field is not None and (found := field.rectangle()) is not None
    }


def inputs_of_calls(
    calls: Sequence[Call], inputs: Mapping[str, Any], model: Any = None
) -> Sequence[str | None]:
    """Return the only input of the model that the output of each call depends on.

    Args:
        calls: As for ``fields_of_calls``.
        inputs: As for ``fields_of_calls``.
        model: As for ``fields_of_calls``.

    Returns:
        For each call the name of the input; None if there are several, or it is not known.
    """
    if len(inputs) == 1:
        return list(inputs) * len(calls)
    of_call: list[set[str | None]] = []
    for call, origins in zip(calls, _origins(calls, inputs, model), strict=True):
        found: set[str | None] = set()
        for tensor, origin in zip(call.inputs, origins, strict=True):
            if isinstance(origin, int):
                found |= of_call[origin]
            elif origin is not None or not _is_constant(tensor):
                found.add(origin)
        of_call.append(found)
    return [next(iter(found)) if len(found) == 1 else None for found in of_call]


def _origins(
    calls: Sequence[Call], inputs: Mapping[str, Any], model: Any
) -> list[list[int | str | None]]:
    """Return for each tensor that each call was given where it comes from.

    Returns:
        The index of the call whose output it is, the name of the model's input, or None if it is
        not known.
    """
    graph = _Graph(model, calls, list(inputs))
    of_tensor: dict[int, int | str] = {id(tensor): name for name, tensor in inputs.items()}
    received = next((call.inputs for call in calls if call.operation is model), ())
    if len(received) == len(inputs) == 1:  # perhaps converted
        of_tensor[id(received[0])] = next(iter(inputs))
    every = []
    for index, call in enumerate(calls):
        sources = graph.sources(index)
        known = len(sources) == len(call.inputs)
        origins: list[int | str | None] = [
            of_tensor.get(id(tensor), sources[number] if known else None)
            for number, tensor in enumerate(call.inputs)
        ]
        every.append(origins)
        if hasattr(call.output, "shape"):
            of_tensor[id(call.output)] = index  # also again: a layer may change its input in place
    return every


def _is_constant(tensor: Any) -> bool:
    return isinstance(tensor, (np.ndarray, np.generic, keras.Variable))


@dataclass(frozen=True, slots=True)
class _Interval:
    """The pixels, along one axis, on which the values of a tensor depend.

    Value ``n`` depends on those from ``stride * n + first`` to ``stride * n + last``.
    """

    stride: int
    first: int
    last: int

    def window(self, size: int, stride: int, before: int) -> "_Interval":
        """Return the intervals of windows over the values.

        Args:
            size: Values from the first to the last one of a window.
            stride: Values between two windows.
            before: Values of padding before the first value.
        """
        return _Interval(
            self.stride * stride,
            self.first - self.stride * before,
            self.last + self.stride * (size - 1 - before),
        )


_PIXEL = _Interval(1, 0, 0)
_Axes: TypeAlias = tuple[_Interval | None, ...]
"""The interval of each axis of a tensor after the first; None for one that is not known."""


@dataclass(frozen=True, slots=True)
class _Field:
    """The pixels on which the values of a tensor depend.

    Attributes:
        input: The name of the model's input.
        axes: The interval of each axis of the tensor after the first, along the same axis of the
            input. None where a value depends on all pixels, or it is not known on which.
    """

    input: str
    axes: _Axes

    def rectangle(self) -> ReceptiveField | None:
        """Return the field of a feature map; None if it is not known along all spatial axes."""
        known = [axis for axis in self.axes if axis is not None]
        spatial = len(self.axes) - 1  # the other one is that of the channels
        if len(known) != spatial or spatial not in {1, 2}:
            return None
        down, across = known if spatial == 2 else (_PIXEL, known[0])
        return ReceptiveField(
            (down.last - down.first + 1, across.last - across.first + 1),
            (down.stride, across.stride),
            (down.first, across.first),
        )


def _field_of(call: Call, fields: Sequence[_Field | None]) -> _Field | None:
    """Return the field of a call's output from those of its inputs."""
    operation = call.operation
    is_layer = isinstance(operation, keras.layers.Layer)
    given = []
    for tensor, field in zip(call.inputs, fields, strict=True):
        if field is not None and len(field.axes) == len(tensor.shape) - 1:
            given.append((tensor, field))
        elif is_layer or not _is_constant(tensor):
            return None  # it is no constant in a graph
    rule = _rule_of(operation)
    shape = tuple(getattr(call.output, "shape", ()))
    if rule is None or call.training or not given or len({field.input for _, field in given}) > 1:
        return None
    if len(shape) != len(given[0][0].shape):
        return None
    axes = rule(
        operation, [(tuple(tensor.shape)[1:], field.axes) for tensor, field in given], shape[1:]
    )
    return None if axes is None else _Field(given[0][1].input, axes)


# Rules: functions of an operation, the shape and axes of each input, and the output's shape.

_Given: TypeAlias = Sequence[tuple[tuple[Any, ...], _Axes]]
_Rule: TypeAlias = Callable[[Any, _Given, tuple[Any, ...]], _Axes | None]


def _elementwise(_: Any, given: _Given, shape: tuple[Any, ...]) -> _Axes | None:
    """Unite the intervals of tensors that are combined value by value, perhaps broadcast."""
    if any(len(along) != len(shape) for along, _ in given):
        return None
    return tuple(
        # A broadcast axis, of length 1, has the same pixels for all values of the output.
        None
        if any(along[number] != length for along, _ in given)
        else _union([axes[number] for _, axes in given])
        for number, length in enumerate(shape)
    )


def _union(intervals: Sequence[_Interval | None]) -> _Interval | None:
    known = [each for each in intervals if each is not None]
    if len(known) < len(intervals) or len({each.stride for each in known}) != 1:
        return None
    first, last = min(each.first for each in known), max(each.last for each in known)
    return _Interval(known[0].stride, first, last)


def _activation(layer: Any, given: _Given, shape: tuple[Any, ...]) -> _Axes | None:
    return _elementwise(layer, given, shape) if _keeps_places(layer) else None


def _mixing(layer: Any, given: _Given, shape: tuple[Any, ...]) -> _Axes | None:
    """Return the intervals after a layer that mixes the values along the axes it names."""
    axis = getattr(layer, "axis", -1)
    mixed = {n % (len(shape) + 1) - 1 for n in ([axis] if isinstance(axis, int) else axis)}
    if -1 in mixed or not _keeps_places(layer):  # the axis that counts images
        return None
    merged = [(_except(along, mixed, 0), _except(axes, mixed, None)) for along, axes in given]
    return _elementwise(layer, merged, _except(shape, mixed, 0))


def _except(values: tuple[Any, ...], axes: Collection[int], instead: Any) -> tuple[Any, ...]:
    return tuple(instead if n in axes else value for n, value in enumerate(values))


def _convolution(layer: Any, given: _Given, shape: tuple[Any, ...]) -> _Axes | None:
    if not _keeps_places(layer):
        return None
    dilation = per_axis(layer.dilation_rate, len(shape) - 1)
    return _windows(layer, given, layer.kernel_size, dilation)


def _pooling(layer: Any, given: _Given, shape: tuple[Any, ...]) -> _Axes | None:
    return _windows(layer, given, layer.pool_size, (1,) * (len(shape) - 1))


def _windows(
    layer: Any, given: _Given, size: int | tuple[int, ...], dilation: tuple[int, ...]
) -> _Axes | None:
    ((along, axes),) = given
    spatial = _spatial_axes(layer, len(along))
    sizes = per_axis(size, len(spatial))
    strides = per_axis(layer.strides, len(spatial))
    found: list[_Interval | None] = [None] * len(along)
    for n, side, stride, apart in zip(spatial, sizes, strides, dilation, strict=True):
        reach = (side - 1) * apart + 1
        before = _padding_before(layer.padding, along[n], reach, stride)
        axis = axes[n]
        if axis is not None and before is not None:
            found[n] = axis.window(reach, stride, before)
    return tuple(found)


def _padding_before(padding: str, length: int | None, reach: int, stride: int) -> int | None:
    """Return how many values of padding are before the first one; None if it is not known."""
    if padding == "causal":
        return reach - 1
    if padding == "valid":
        return 0
    if length is None or padding != "same":
        return None
    return max((math.ceil(length / stride) - 1) * stride + reach - length, 0) // 2


def _shift(layer: Any, given: _Given, shape: tuple[Any, ...]) -> _Axes:
    """Return the intervals after zeros were added around the values, or values cut off."""
    ((_, axes),) = given
    pads = hasattr(layer, "padding")
    sides = layer.padding if pads else layer.cropping
    pairs = [sides] if isinstance(sides[0], int) else sides
    found = list(axes)
    for n, (before, _) in zip(_spatial_axes(layer, len(shape)), pairs, strict=True):
        axis = axes[n]
        found[n] = axis and axis.window(1, 1, before if pads else -before)
    return tuple(found)


def _spatial_axes(layer: Any, axes: int) -> range:
    """Return the spatial axes of a layer's tensors, counted from the axis after the first."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return range(1, axes) if first else range(axes - 1)


def _keeps_places(layer: Any) -> bool:
    """Whether a layer's own activation function, if any, computes each value from one value."""
    function = getattr(layer, "activation", None)
    if function is None:
        return True
    if isinstance(function, keras.layers.Layer):
        return _rule_of(function) is _elementwise
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    name = getattr(function, "__name__", "")
    return package in {"keras", "tensorflow", "jax", "torch"} and name in _FUNCTIONS.split()


_FUNCTIONS = (
    "linear relu relu6 leaky_relu elu selu celu gelu silu swish sigmoid hard_sigmoid hard_silu "
    "hard_swish tanh hard_tanh tanh_shrink soft_shrink hard_shrink softplus softsign exponential "
    "mish squareplus log_sigmoid sparse_plus sparse_sigmoid threshold"
)
"""Activation functions that compute each value from one value."""

_OPERATIONS = (
    "Abs Absolute Add Cast Celu Clip Copy Divide Elu Erf Exp Expm1 Gelu HardShrink HardSigmoid "
    "HardSilu HardTanh LeakyRelu Log Log1p LogSigmoid Maximum Minimum Multiply Negative Power "
    "Reciprocal Relu Relu6 Rsqrt Selu Sigmoid Sign Silu SoftShrink Softplus Softsign Sqrt Square "
    "Squareplus Subtract Tanh TanhShrink TrueDivide"
)
"""Operations of ``keras.ops`` that compute each value from one value of each input."""

_ELEMENTWISE = (
    "Add Subtract Multiply Average Maximum Minimum BatchNormalization Identity Normalization "
    "Rescaling ReLU LeakyReLU PReLU ELU ActivityRegularization AlphaDropout Dropout "
    "GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D RandomBrightness "
    "RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform RandomErasing "
    "RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective "
    "RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear "
    "RandomTranslation RandomZoom"
)
_CONVOLUTIONS = "Conv1D Conv2D DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D"
_POOLINGS = "MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D"

_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("Concatenate", "Dense", "LayerNormalization", "Softmax"), _mixing),
    **dict.fromkeys(_CONVOLUTIONS.split(), _convolution),
    **dict.fromkeys(_POOLINGS.split(), _pooling),
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D"), _shift),
    "Activation": _activation,
}
"""The rule of each class in ``keras.layers``, by its name, at inference."""

_HARMLESS = frozenset({"build", "from_config", "get_config"})
"""Methods that a user's subclass may have without computing another output."""


def _rule_of(operation: Any) -> _Rule | None:
    """Return the rule of a layer or operation; None if what it computes is not known.

    A user's subclass has the rule of Keras's class unless it has a method or property of the same
    name as one there.
    """
    if isinstance(operation, KerasFunction):
        return _elementwise if operation.name in _FUNCTIONS.split() else None
    own = list(takewhile(lambda cls: not is_of_keras(cls), type(operation).__mro__))
    base = type(operation).__mro__[len(own)]
    changed = {name for cls in own for name in vars(cls) if hasattr(base, name)} - _HARMLESS
    if any(not name.startswith("__") or name == "__call__" for name in changed):
        return None
    if base is getattr(keras.layers, base.__name__, None):
        return _RULES.get(base.__name__)
    is_operation = base.__module__.startswith("keras.src.ops.") and not own
    return _elementwise if is_operation and base.__name__ in _OPERATIONS.split() else None


class _Graph:
    """The connections between operations that the graphs of functional models tell.

    Args:
        model: The model; one without a graph has no connections.
        calls: Every call of a forward pass.
        inputs: The names of the given inputs; that of a single one may differ from the graph's.
    """

    def __init__(self, model: Any, calls: Sequence[Call], inputs: Sequence[str]) -> None:
        self._calls = calls
        self._call_of: dict[int, int] = {}
        called = Counter(id(call.operation) for call in calls)
        for index, call in enumerate(calls):
            if called[id(call.operation)] == 1:
                self._call_of[id(call.operation)] = index
        self._top = model
        self._holders: dict[int, Any] = {}
        nodes = defaultdict(list)
        for _, layer in walk(model) if model is not None else ():
            graph = _graph_of(layer)
            if graph is not None:
                self._holders[id(layer)] = graph
                for node in chain.from_iterable(graph._nodes_by_depth.values()):  # noqa: SLF001
                    nodes[id(node.operation)].append((layer, node))
        self._node_of = {key: found[0] for key, found in nodes.items() if len(found) == 1}
        top = self._holders.get(id(model))
        names = [each.name for each in top.inputs] if top is not None else []
        self._names = inputs if len(inputs) == len(names) == 1 else names

    def sources(self, index: int) -> list[int | str | None]:
        """Return the origin of each tensor that a call was given.

        Returns:
            For each tensor the index of the call whose output it is, the name of the model's input,
            or None if it is not known; empty if nothing is known.
        """
        operation = self._calls[index].operation
        if id(operation) not in self._node_of or self._call_of.get(id(operation)) != index:
            return []
        holder, node = self._node_of[id(operation)]
        return [self._source(tensor, holder) for tensor in node.input_tensors]

    def _source(self, tensor: Any, holder: Any) -> int | str | None:
        history = tensor._keras_history  # noqa: SLF001 - Keras has no public name
        inner = self._holders.get(id(history.operation))
        if inner is not None:
            if id(history.operation) not in self._node_of:
                return None
            return self._source(inner.outputs[history.tensor_index], history.operation)
        inputs = self._holders[id(holder)].inputs
        number = next((n for n, each in enumerate(inputs) if each is tensor), None)
        if number is None:
            return self._call_of.get(id(history.operation))
        if holder is self._top:
            return self._names[number]
        if id(holder) not in self._node_of:
            return None
        outer, node = self._node_of[id(holder)]
        return self._source(node.input_tensors[number], outer)


def _graph_of(layer: Any) -> Any:
    """Return the graph that a model follows when it is called; None if it has none."""
    graph = getattr(layer, "_functional", None) or layer
    own = inspect.unwrap(type(layer).call).__module__.partition(".")[0] != "keras"
    return None if own or not hasattr(graph, "_nodes_by_depth") else graph
