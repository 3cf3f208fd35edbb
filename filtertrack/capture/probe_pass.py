"""Shows probes to a Keras model at each snapshot, and reads the feature maps of its layers.

The pass changes nothing of the training: see ``forward_pass``. The training thread computes the
feature maps; the background thread reduces them.
"""

import logging
import math
import re
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import keras
import numpy as np

from filtertrack.capture.forward_pass import make_forward_pass, same_trace
from filtertrack.capture.forward_trace import (
    Call,
    KerasFunction,
    functions_of_keras,
    leaf_operations,
    recorded_calls,
)
from filtertrack.capture.layer_order import walk
from filtertrack.capture.probe_inputs import resolved
from filtertrack.capture.probes import Probes
from filtertrack.capture.receptive_fields import fields_of_calls, inputs_of_calls
from filtertrack.capture.response_points import (
    ACTIVATION_FUNCTIONS,
    ResponsePoint,
    response_point,
)
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.errors import FiltertrackError, listed, size_text
from filtertrack.response import LayerResponse, ProbedLayer, StoredProbes, map_shape
from filtertrack.snapshot import LayerInfo, layer_of
from filtertrack.storage.memory_limit import machine_memory

_log = logging.getLogger("filtertrack")
_MOST_AT_ONCE = 512 << 20
"""Bytes of feature maps that one pass may compute; more probes are shown in parts."""
_MOST_WAITING = 64 << 20
"""Bytes of feature maps of which those of one snapshot only may wait for the background thread."""
_LOOPS = ("TimeDistributed", "RNN", "Bidirectional")
"""Classes of Keras that call the layers in them for each step of a sequence."""
_MOVING = ("Permute", "Reshape", "Transpose", "Moveaxis", "Swapaxes", "Lambda")
"""Classes of Keras that may move the axis of channels."""
_LONGEST_REASON = 300

_Failed = Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class _Read:
    """An output that is read at each pass.

    Attributes:
        operation: The layer or operation whose output it is.
        call: Which of the calls of that operation.
        channels_first: Whether the channels are before height and width.
        changed: Whether a later layer changes it in place, so that it must be copied.
    """

    operation: Any
    call: int
    channels_first: bool
    changed: bool


class ProbePass:
    """The forward pass of the probes of one training.

    Args:
        model: A built Keras model.
        probes: The probes.
        layers: The tracked layers whose responses are read, with the description of the kernel that
            their outputs belong to.

    Raises:
        FiltertrackError: If the model does not take the probes, or no layer has a feature map.

    Attributes:
        stored: The probes as they are stored, with what is read of each layer.
        remarks: Sentences for the user about layers whose responses are not read.
        waiting_bytes: Bytes of feature maps of a snapshot that wait for the background thread.
    """

    def __init__(self, model: Any, probes: Probes, layers: Sequence[tuple[Any, LayerInfo]]) -> None:
        self._model = model
        self._layers = list(layers)
        self._map_size = probes.map_size
        self._operations = _operations(model, [layer for layer, _ in layers])
        self._reads: dict[str, _Read] = {}
        self._described: dict[str, ProbedLayer] = {}
        self._skipped: defaultdict[str, list[str]] = defaultdict(list)
        self._bytes, self._channels_first = 0, False
        inputs = resolved(probes, model)
        self._waiting: Callable[[], PendingResponses | None] = lambda: None
        self._forward = make_forward_pass(model, self._outputs)
        with _explained(inputs):
            tensors = {name: keras.ops.convert_to_tensor(each) for name, each in inputs.items()}
            self._forward.plan(tensors)
        self.remarks: Sequence[str] = [
            f"no responses of {listed(n)}: {why}" for why, n in self._skipped.items()
        ]
        if not self._reads:
            raise FiltertrackError("; ".join(self.remarks) or "no layer is tracked")
        self._parts = _parts(tensors, probes.count, self._bytes)
        self.waiting_bytes = self._bytes * next(iter(self._parts[-1].values())).shape[0]
        self.stored = StoredProbes(
            inputs,
            self._described,
            min(probes.maps, probes.count),
            None if probes.labels is None else np.asarray(probes.labels),
            self._channels_first,
        )

    def responses(self, failed: _Failed) -> Mapping[str, LayerResponse]:
        """Show the model the probes; the result is computed when it is first read.

        Args:
            failed: Called, on the thread that reads the result, if it cannot be computed.

        Raises:
            FiltertrackError: If the model cannot be called any more.
        """
        reductions = [
            ResponseReduction(layer, self.stored.maps) for layer in self._described.values()
        ]
        *earlier, last = self._parts
        waiting = self._waiting()
        if waiting is not None and self.waiting_bytes > _MOST_WAITING:
            waiting.compute()
        with _explained(self.stored.inputs):
            for part in earlier:
                self._reduce(reductions, self._forward(part))
            outputs = self._forward(last)

        def result() -> Mapping[str, LayerResponse]:
            self._reduce(reductions, outputs)
            return dict(zip(self._described, (each.result() for each in reductions), strict=True))

        waiting = PendingResponses(result, failed)
        self._waiting = weakref.ref(waiting)  # the maps are released once they are stored
        return waiting

    def _reduce(self, reductions: Sequence[ResponseReduction], outputs: list[Any]) -> None:
        """Add feature maps to the reductions, and drop them one after the other."""
        for number, (reduction, read) in enumerate(
            zip(reductions, self._reads.values(), strict=True)
        ):
            reduction.add(_arranged(keras.ops.convert_to_numpy(outputs[number]), read))
            outputs[number] = None

    def _outputs(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Call the model, and return the output that is read of each layer."""
        copied = [read.operation for read in self._reads.values() if read.changed]
        with recorded_calls(self._operations, copied) as calls:
            self._model(_given(self._model, inputs), training=False)
        if not self._reads:
            self._plan(calls, inputs)
            read = {id(r.operation): r.operation for r in self._reads.values()}
            # Which call of a function is read depends on the layers whose own calls do not count.
            if not any(isinstance(each, KerasFunction) for each in read.values()):
                self._operations = list(read.values())
        outputs: defaultdict[int, list[Any]] = defaultdict(list)
        for call in calls:
            outputs[id(call.operation)].append(call.output if call.copy is None else call.copy)
        return [outputs[id(read.operation)][read.call] for read in self._reads.values()]

    def _plan(self, calls: Sequence[Call], inputs: Mapping[str, Any]) -> None:
        """Decide what is read of each layer."""
        fields = fields_of_calls(calls, inputs, self._model)
        self._channels_first = _has_channels_first(calls, inputs, self._layers)
        only_inputs = inputs_of_calls(calls, inputs, self._model)
        in_loops = _layers_in_loops(self._model)
        first = next(iter(inputs.values()))
        for layer, info in self._layers:
            point, name = response_point(calls, layer), layer_of(info)
            if point is None:
                self._skipped["the model does not call them"].append(name)
                continue
            output = calls[point.call].output
            if id(layer) in in_loops or not same_trace(output, first):
                self._skipped["called in a loop or in a function of its own"].append(name)
                continue
            shape = tuple(getattr(output, "shape", ()))
            channels_first = len(shape) > 2 and _is_channels_first(layer)
            size, fault = _size(shape, info, channels_first=channels_first, count=first.shape[0])
            if fault:
                self._skipped[fault].append(name)
                continue
            self._bytes += math.prod(shape[1:]) * _item_size(output)
            self._reads[info.name] = _Read(
                calls[point.call].operation,
                _number(calls, point.call),
                channels_first,
                calls[point.call].changed,
            )
            field = fields.get(point.call, (only_inputs[point.call] or "", None))
            if len(inputs) > 1 and field[0] and point.is_shared:
                point = replace(point, read=f"{point.read}, on input {field[0]}")
            self._described[info.name] = self._description(info, point, size, field)

    def _description(
        self, info: LayerInfo, point: ResponsePoint, size: tuple[int, int], field: tuple[str, Any]
    ) -> ProbedLayer:
        block, small = map_shape(size, self._map_size)
        return ProbedLayer(
            info.name, point.read, point.rectified, size, small, block, field[0], field[1]
        )


class PendingResponses(Mapping[str, LayerResponse]):
    """Responses that are computed when they are first read, by whichever thread.

    Args:
        compute: Computes them; it is called once and then dropped, with the feature maps.
        failed: Called with the error if that fails; the responses are empty then.
    """

    def __init__(self, compute: Callable[[], Mapping[str, LayerResponse]], failed: _Failed) -> None:
        self._compute: Callable[[], Mapping[str, LayerResponse]] | None = compute
        self._failed = failed
        self._known: Mapping[str, LayerResponse] = {}
        self._lock = Lock()

    def __getitem__(self, name: str) -> LayerResponse:
        return self.compute()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.compute())

    def __len__(self) -> int:
        return len(self.compute())

    def compute(self) -> Mapping[str, LayerResponse]:
        """Return the responses; compute them, or wait for the thread that does, if necessary."""
        with self._lock:
            compute, self._compute = self._compute, None
            if compute is not None:
                try:
                    self._known = compute()
                except Exception as error:  # noqa: BLE001 - the weights must be stored anyway
                    self._failed(error)
            return self._known


def _operations(model: Any, layers: Sequence[Any]) -> list[Any]:
    """Return what the first pass records: leaves of a model, given layers, functions, the model."""
    functions = functions_of_keras(ACTIVATION_FUNCTIONS)
    every = [*leaf_operations(model), *layers, *functions, model]
    return list({id(each): each for each in every}.values())


def _layers_in_loops(model: Any) -> set[int]:
    """Return the ``id`` of each layer that another one calls for each step of a sequence."""
    loops = tuple(getattr(keras.layers, name) for name in _LOOPS)
    return {
        id(inner)
        for _, layer in walk(model)
        if isinstance(layer, loops)
        for path, inner in walk(layer)
        if path
    }


def _has_channels_first(
    calls: Sequence[Call], inputs: Mapping[str, Any], layers: Sequence[tuple[Any, LayerInfo]]
) -> bool:
    """Whether the channels of a model's inputs are before height and width.

    The first layer behind an input that has a data format tells it, without one that moves axes
    before it; if there is neither, the tracked layers.
    """
    same_axes = {id(tensor) for tensor in inputs.values()}
    moved = False
    for call in calls:
        if any(id(tensor) in same_axes for tensor in call.inputs):
            if type(call.operation).__name__ in _MOVING:
                moved = True
            elif getattr(call.operation, "data_format", None) is not None:
                return _is_channels_first(call.operation)
            else:
                same_axes.add(id(call.output))
    return not moved and any(info.data_format == "channels_first" for _, info in layers)


def _is_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _size(
    shape: tuple[int | None, ...], info: LayerInfo, *, channels_first: bool, count: int
) -> tuple[tuple[int, int], str]:
    """Return height and width of a layer's feature maps, and why it has none; empty if it has."""
    none = (0, 0)
    if not shape or None in shape:
        return none, "the size of their outputs is not known in advance"
    if shape[0] != count:
        return none, "their outputs do not have one row for each probe"
    if len(shape) > 4:
        return none, "their maps have more than two axes"
    channels = shape[1] if channels_first else shape[-1]
    if len(shape) < 2 or channels != info.filters:
        return none, "their outputs have other channels than filters"
    size = [int(n or 0) for n in (shape[2:] if channels_first else shape[1:-1])]
    height, width = (1, 1, *size)[-2:]
    return (height, width), ""


def _number(calls: Sequence[Call], index: int) -> int:
    """Return which call of its operation a call is."""
    return Counter(id(call.operation) for call in calls[:index])[id(calls[index].operation)]


def _item_size(tensor: Any) -> int:
    """Return the bytes of a value of a tensor."""
    return {"float16": 2, "bfloat16": 2, "float64": 8}.get(
        keras.backend.standardize_dtype(tensor.dtype), 4
    )


def _arranged(outputs: np.ndarray, read: _Read) -> np.ndarray:
    """Return outputs of shape ``(probes, height, width, filters)``."""
    if read.channels_first:
        outputs = np.moveaxis(outputs, 1, -1)
    count, *size, filters = outputs.shape
    return outputs.reshape(count, *(1, 1, *size)[-2:], filters)


def _parts(tensors: Mapping[str, Any], count: int, bytes_each: int) -> list[Mapping[str, Any]]:
    """Return the probes in parts of equal size, whose feature maps fit into memory.

    Raises:
        FiltertrackError: If those of one probe do not.
    """
    if bytes_each > machine_memory() // 2:
        raise FiltertrackError(
            f"the feature maps of one probe take {size_text(bytes_each)} of memory; choose fewer "
            f"layers with Probes(layers=...), or smaller images"
        )
    number = min(count, math.ceil(count * bytes_each / _MOST_AT_ONCE) or 1)
    if number == 1:
        return [tensors]
    size = math.ceil(count / number)
    return [
        {name: tensor[start : start + size] for name, tensor in tensors.items()}
        for start in range(0, count, size)
    ]


def _given(model: Any, inputs: Mapping[str, Any]) -> Any:
    """Return inputs in the structure in which a model takes them."""
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:  # a class of the user's own
        by_number = all(name == f"input_{number}" for number, name in enumerate(inputs))
        if len(inputs) == 1:
            return next(iter(inputs.values()))
        return list(inputs.values()) if by_number else dict(inputs)
    if isinstance(structure, Mapping) and set(structure) == set(inputs):
        return dict(inputs)
    names = [each.name for each in model.inputs]
    values = [inputs[name] for name in names] if set(names) == set(inputs) else inputs.values()
    return keras.tree.pack_sequence_as(structure, list(values))


@contextmanager
def _explained(inputs: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Turn any error of a model into one sentence.

    Raises:
        FiltertrackError: For any error inside the block.
    """
    try:
        yield
    except Exception as error:
        given = ", ".join(f"{n}: {each.dtype} {each.shape}" for n, each in inputs.items())
        reason = f"{_first_line(error):.{_LONGEST_REASON}}"
        raise FiltertrackError(
            f"the model cannot be called with the probes ({given}): {reason}"
        ) from error


def _first_line(error: Exception) -> str:
    """Return the first line of a message; behind the one with which Keras names the layer."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    where = (
        re.match(r"Exception encountered when calling (\S+?)(\.call\(\))?\.$", lines[0])
        if lines
        else None
    )
    if where and len(lines) > 1:
        return f"{where[1]}: {lines[1]}"
    return lines[0] if lines else type(error).__name__
