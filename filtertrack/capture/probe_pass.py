"""Shows probes to a Keras model in inference mode, and reads the feature maps of its layers.

The pass changes nothing of the training: the model is called with the present values of its
variables in a stateless scope. On TensorFlow and jax the pass is compiled once.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from filtertrack.capture.forward_trace import leaf_operations, recorded_calls
from filtertrack.capture.layer_kernels import copied
from filtertrack.capture.probe_inputs import resolved
from filtertrack.capture.probes import Probes
from filtertrack.capture.receptive_fields import fields_of_calls
from filtertrack.capture.response_points import ResponsePoint, response_point
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.response import LayerResponse, ProbedLayer, StoredProbes, map_shape
from filtertrack.snapshot import LayerInfo

_log = logging.getLogger("filtertrack")
_MOST_WAITING = 256 << 20
"""Bytes of feature maps that may wait for the background thread; more are reduced at once."""


class ProbePass:
    """The forward pass of the probes of one training.

    Args:
        model: A built Keras model.
        probes: The probes.
        layers: The tracked layers whose responses are read, with their descriptions.

    Raises:
        FiltertrackError: If the model does not take the probes.

    Attributes:
        stored: The probes as they are stored, with what is read of each layer.
    """

    def __init__(self, model: Any, probes: Probes, layers: Sequence[tuple[Any, LayerInfo]]) -> None:
        self._model = model
        self._inputs = resolved(probes, model)
        self._operations = [*leaf_operations(model), model]
        self._points: dict[str, ResponsePoint] = {}
        self._layers = list(layers)
        self._described: dict[str, ProbedLayer] = {}
        self._map_size = probes.map_size
        self._forward = _compiled(self._outputs, model)
        self._first = [copied(each) for each in self._forward(self._values(), self._inputs)]
        self.stored = StoredProbes(
            self._inputs,
            self._described,
            min(probes.maps, probes.count),
            None if probes.labels is None else np.asarray(probes.labels),
            any(info.data_format == "channels_first" for _, info in layers),
        )

    def responses(self) -> Mapping[str, LayerResponse]:
        """Show the model the probes; the result is computed when it is first read."""
        outputs = self._forward(self._values(), self._inputs)
        return PendingResponses(self.stored, outputs)

    def _values(self) -> Any:
        model = self._model
        return (
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
        )

    def _outputs(self, values: Any, inputs: Mapping[str, Any]) -> list[Any]:
        """Call the model, and return the output that is read of each layer."""
        with recorded_calls(self._operations) as calls:
            _call(self._model, values, inputs)
        if not self._points:
            self._plan(calls, inputs)
        return [calls[point.call].output for point in self._points.values()]

    def _plan(self, calls: Sequence[Any], inputs: Mapping[str, Any]) -> None:
        fields = fields_of_calls(calls, inputs, self._model)
        for layer, info in self._layers:
            point = response_point(calls, layer)
            if point is None:
                continue
            shape = tuple(calls[point.call].output.shape)
            if len(shape) != 4 or shape[-1] != info.filters:
                continue
            self._points[info.name] = point
            block, small = map_shape((shape[1], shape[2]), self._map_size)
            name, field = fields.get(point.call, ("", None))
            self._described[info.name] = ProbedLayer(
                info.name,
                point.read,
                point.rectified,
                (shape[1], shape[2]),
                small,
                block,
                name or next(iter(inputs)),
                field,
            )


class PendingResponses(Mapping[str, LayerResponse]):
    """Responses that are computed from feature maps when they are first read.

    Args:
        probes: What is read of each layer.
        outputs: The feature maps of each layer.
    """

    def __init__(self, probes: StoredProbes, outputs: Sequence[Any]) -> None:
        self._probes = probes
        self._outputs: Sequence[Any] | None = outputs
        self._known: dict[str, LayerResponse] = {}

    def __getitem__(self, name: str) -> LayerResponse:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, LayerResponse]:
        outputs, self._outputs = self._outputs, None
        if outputs is not None:
            for layer, output in zip(self._probes.layers.values(), outputs, strict=True):
                reduction = ResponseReduction(layer, self._probes.maps)
                reduction.add(copied(output))
                self._known[layer.name] = reduction.result()
        return self._known


def _call(model: Any, values: Any, inputs: Mapping[str, Any]) -> None:
    """Call a model in inference mode without changing any of its variables."""
    trainable, others = values
    pairs = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, others, strict=True),
    ]
    given = next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)
    with keras.StatelessScope(state_mapping=pairs):
        model(given, training=False)


Forward = Callable[[Any, Mapping[str, Any]], list[Any]]


def _compiled(outputs: Forward, model: Any) -> Forward:
    """Return a function compiled for the backend, unless the model runs eagerly."""
    backend = keras.backend.backend()
    compiled: Forward
    if backend == "torch":
        import torch  # noqa: PLC0415 - only if it is the backend

        compiled = torch.no_grad()(_on_tensors(outputs))
    elif getattr(model, "run_eagerly", False):
        compiled = _on_tensors(outputs)
    elif backend == "jax":
        import jax  # noqa: PLC0415 - only if it is the backend

        compiled = jax.jit(outputs)
    else:
        import tensorflow as tf  # noqa: PLC0415 - only if it is the backend

        compiled = tf.function(outputs, autograph=False)
    return compiled


def _on_tensors(outputs: Forward) -> Forward:
    """Return a function that converts the images to tensors first."""

    def converted(values: Any, inputs: Mapping[str, Any]) -> list[Any]:
        return outputs(values, {k: keras.ops.convert_to_tensor(v) for k, v in inputs.items()})

    return converted
