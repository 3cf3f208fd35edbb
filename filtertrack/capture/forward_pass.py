"""Calls a Keras model in inference mode, compiled where the backend can, without changing anything.

The variables of the model are read as they are at each call. New values of variables, such as the
counters of random numbers, and new losses are discarded. The global states of random numbers, the
modes of torch's modules and the attributes of layers stay as they are.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from filtertrack.capture.distributed import local_array
from filtertrack.capture.layer_order import walk
from filtertrack.errors import FiltertrackError, listed

_OF_KERAS = "global_seed_generator"
"""Keras's name of the counter of random numbers that are drawn without a seed."""

_Tensors = Mapping[str, Any]
_Function = Callable[[_Tensors], list[Any]]


class ForwardPass:
    """A function of tensors that calls a model; this class runs it eagerly.

    Args:
        model: A built Keras model.
        function: Calls the model with inputs by name, and returns tensors.
    """

    def __init__(self, model: Any, function: _Function) -> None:
        self._layers = [layer for _, layer in walk(model)]
        self._model = model
        self._function = function

    def plan(self, inputs: _Tensors) -> None:
        """Call the function once, if the backend can without computing anything.

        Args:
            inputs: The inputs of the first pass.
        """
        self({name: tensor[:1] for name, tensor in inputs.items()})

    def __call__(self, inputs: _Tensors) -> list[Any]:
        """Return what the function returns for some inputs, with the present weights."""
        return self._unchanging(inputs)

    def _unchanging(self, inputs: _Tensors, values: Sequence[tuple[Any, Any]] = ()) -> list[Any]:
        """Call the function; on compiling backends, only while it is compiled.

        Args:
            inputs: The inputs.
            values: Variables with the values to use instead of their own.
        """
        with (
            _unchanged_random_numbers(),
            _unchanged_layers(self._layers),
            keras.StatelessScope(state_mapping=list(values)),
        ):
            return self._function(inputs)


class _TorchPass(ForwardPass):
    """Runs the function on torch, without gradients."""

    def __call__(self, inputs: _Tensors) -> list[Any]:
        import torch  # noqa: PLC0415 - only if it is the backend

        modules = [
            module for module in self._model.modules() if isinstance(module, torch.nn.Module)
        ]
        modes = [module.training for module in modules]
        try:
            with torch.no_grad():
                return self._unchanging(inputs)
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode


class _TensorFlowPass(ForwardPass):
    """Compiles the function to a graph of TensorFlow."""

    def __init__(self, model: Any, function: _Function) -> None:
        import tensorflow as tf  # noqa: PLC0415 - only if it is the backend

        super().__init__(model, function)
        self._compiled = tf.function(self._unchanging, autograph=False)

    def plan(self, inputs: _Tensors) -> None:
        graph = self._compiled.get_concrete_function(inputs).graph.as_graph_def()
        nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
        changing = {node.op for node in nodes if _changes_state(node.op)}
        if changing:
            raise FiltertrackError(
                f"it changes variables of TensorFlow, which is no part of its state in Keras, when "
                f"it is called ({listed(sorted(changing))})"
            )

    def __call__(self, inputs: _Tensors) -> list[Any]:
        outputs: list[Any] = self._compiled(inputs)
        return outputs


class _JaxPass(ForwardPass):
    """Compiles the function with jax; the result is computed asynchronously."""

    def __init__(self, model: Any, function: _Function) -> None:
        import jax  # noqa: PLC0415 - only if it is the backend

        super().__init__(model, function)
        self._variables = [*model.trainable_variables, *model.non_trainable_variables]
        self._several = jax.process_count() > 1
        self._compiled = jax.jit(self._with_values)

    def plan(self, inputs: _Tensors) -> None:
        self._compiled.eval_shape(self._values(), inputs)

    def __call__(self, inputs: _Tensors) -> list[Any]:
        outputs: list[Any] = self._compiled(self._values(), inputs)
        return outputs

    def _values(self) -> list[Any]:
        values = [variable.value for variable in self._variables]
        return list(map(local_array, values)) if self._several else values

    def _with_values(self, values: Sequence[Any], inputs: _Tensors) -> list[Any]:
        with _undistributed() if self._several else ExitStack():
            return self._unchanging(inputs, list(zip(self._variables, values, strict=True)))


def make_forward_pass(model: Any, function: _Function) -> ForwardPass:
    """Return a function of tensors that calls a model, as the backend and the model's options fit.

    Args:
        model: A built Keras model.
        function: Calls the model with inputs by name, and returns tensors.
    """
    backend = keras.backend.backend()
    eager = getattr(model, "run_eagerly", False)
    if backend == "torch":
        return _TorchPass(model, function)
    if backend == "tensorflow" and not eager:
        return _TensorFlowPass(model, function)
    if backend == "jax" and not eager and getattr(model, "_jit_compile", None) is not False:
        return _JaxPass(model, function)
    return ForwardPass(model, function)


def same_trace(tensor: Any, other: Any) -> bool:
    """Whether a tensor can be used where another one can: not if it is of an inner function.

    The body of a loop, or a function that is compiled or rematerialized by itself, has tensors that
    do not exist outside of it.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        import torch  # noqa: PLC0415 - only if it is the backend

        return not torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # noqa: SLF001
    attribute = {"jax": "_trace", "tensorflow": "graph"}.get(backend, "")
    return getattr(tensor, attribute, None) is getattr(other, attribute, None)


def _changes_state(operation: str) -> bool:
    """Whether an operation of TensorFlow changes a variable."""
    return operation.startswith(("Assign", "ResourceScatter", "ResourceApply", "Rng")) or (
        operation.startswith("Stateful") and not operation.startswith("StatefulPartitionedCall")
    )


@contextmanager
def _unchanged_layers(layers: Sequence[Any]) -> Iterator[None]:
    """Restore the marks and losses that a call leaves on layers, and refuse to build any.

    Raises:
        FiltertrackError: Inside the block, if a layer makes its weights when it is called.
    """
    marks = ("built", "_called", "_maybe_build")
    before = [
        {name: vars(layer)[name] for name in marks if name in vars(layer)} for layer in layers
    ]
    held = [getattr(layer, "_losses", None) for layer in layers]
    losses = [(each, list(each)) for each in held if each]
    try:
        for layer in layers:
            if not layer.built:
                vars(layer)["_maybe_build"] = _refused if _makes_weights(layer) else _not_built
        yield
    finally:
        for layer, marked in zip(layers, before, strict=True):
            for name in marks:
                vars(layer).pop(name, None)
            vars(layer).update(marked)
        for kept, values in losses:  # of the last step of an eager training
            kept[:] = values


def _makes_weights(layer: Any) -> bool:
    build = type(layer).build
    inherited = build in {keras.Model.build, keras.Sequential.build}
    return not inherited and not getattr(build, "_is_default", False)


def _not_built(_: Any) -> None:
    """Do nothing."""


def _refused(_: Any) -> None:
    raise FiltertrackError("it has a layer that was never called before, so without weights")


@contextmanager
def _unchanged_random_numbers() -> Iterator[None]:
    """Restore the global states of random numbers of Python, numpy and the backend."""
    python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - that of users
    of_keras = global_state.get_global_attribute(_OF_KERAS)
    try:
        with _unchanged_numbers_of_backend():
            yield
    finally:
        # It is made at its first use, from Python's random numbers.
        global_state.set_global_attribute(_OF_KERAS, of_keras)
        random.setstate(python)
        np.random.set_state(of_numpy)  # noqa: NPY002


@contextmanager
def _unchanged_numbers_of_backend() -> Iterator[None]:
    backend = keras.backend.backend()
    if backend == "torch":
        import torch  # noqa: PLC0415 - only if it is the backend

        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    elif backend == "tensorflow":
        from tensorflow.python.eager import context  # noqa: PLC0415 - only if it is the backend

        # Seeds of eager operations; TensorFlow has no public access to them.
        seeds = getattr(context.context(), "_rng", None)
        state = seeds and seeds.getstate()
        try:
            if seeds:
                # TensorFlow keeps the state of an operation by its seed: use other ones.
                seeds.seed()
            yield
        finally:
            if seeds:
                seeds.setstate(state)
    else:
        yield


@contextmanager
def _undistributed() -> Iterator[None]:
    """Call layers without the layouts of ``keras.distribution``, which span all processes."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
