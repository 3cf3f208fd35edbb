"""Calls a Keras model in inference mode, compiled where the backend can, without changing anything.

The variables of the model are read as they are at each call. New values of Keras's variables, such
as the counters of random numbers, and new losses are discarded. These are restored after a call:

- the global states of random numbers;
- the attributes of layers, also the elements of those that are lists, dicts or sets;
- on torch the modes, buffers and other tensors of modules;
- on TensorFlow, with ``run_eagerly``, the variables and random generators of TensorFlow itself. A
  compiled model that changes these, or calls a Python function, is refused.

State elsewhere, such as in arrays of numpy or in objects that are no layers, is not known here. A
layer that changes it whenever Python calls it also changes it when the pass does.
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

    def _holders(self) -> Sequence[Any]:
        """Return the layers and modules whose attributes a call must not change."""
        return self._layers

    def _unchanging(self, inputs: _Tensors, values: Sequence[tuple[Any, Any]] = ()) -> list[Any]:
        """Call the function; on compiling backends, only while it is compiled.

        Args:
            inputs: The inputs.
            values: Variables with the values to use instead of their own.
        """
        with (
            _unchanged_random_numbers(),
            _unchanged_attributes(self._holders()),
            _without_building(self._layers),
            keras.StatelessScope(state_mapping=list(values)),
        ):
            return self._function(inputs)


class _TorchPass(ForwardPass):
    """Runs the function on torch, with modules in evaluation mode and without gradients."""

    def _holders(self) -> Sequence[Any]:
        # Keras does not register the layers of a sequential or functional model in torch.
        modules = [module for layer in self._layers for module in layer.modules()]
        return list({id(each): each for each in modules}.values())

    def __call__(self, inputs: _Tensors) -> list[Any]:
        import torch  # noqa: PLC0415 - only if it is the backend

        holders = self._holders()
        tensors = [
            value
            for holder in holders
            for value in (*vars(holder).values(), *vars(holder).get("_buffers", {}).values())
            if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter)
        ]
        with torch.no_grad():
            values = [tensor.clone() for tensor in tensors]
            try:
                with _unchanged_attributes(holders):
                    for layer in self._layers:
                        layer.eval()
                    return self._unchanging(inputs)
            finally:
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.data.copy_(value)  # autograd does not count this as a change


class _EagerTensorFlowPass(ForwardPass):
    """Runs the function on TensorFlow without a graph."""

    def __call__(self, inputs: _Tensors) -> list[Any]:
        variables = self._variables()
        values = [variable.numpy() for variable in variables]
        try:
            return self._unchanging(inputs)
        finally:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _variables(self) -> list[Any]:
        """Return the variables of TensorFlow that layers hold, without those of Keras."""
        import tensorflow as tf  # noqa: PLC0415 - only if it is the backend

        optimizer = getattr(self._model, "optimizer", None)
        of_keras = [*self._model.variables, *(optimizer.variables if optimizer else ())]
        known = {id(variable.value) for variable in of_keras}
        found = [
            # TensorFlow does not look into the collections that Keras tracks.
            *(each for layer in self._layers for each in _leaves(vars(layer))),
            *tf.train.TrackableView(self._model).descendants(),
        ]
        variables = {id(each): each for each in found if isinstance(each, tf.Variable)}
        return [variable for key, variable in variables.items() if key not in known]


class _TensorFlowPass(ForwardPass):
    """Compiles the function to a graph of TensorFlow."""

    def __init__(self, model: Any, function: _Function) -> None:
        import tensorflow as tf  # noqa: PLC0415 - only if it is the backend

        super().__init__(model, function)
        self._compiled = tf.function(self._unchanging, autograph=False)

    def plan(self, inputs: _Tensors) -> None:
        graph = self._compiled.get_concrete_function(inputs).graph.as_graph_def()
        nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
        operations = {node.op for node in nodes}
        if calling := operations & {"EagerPyFunc", "PyFunc"}:
            raise FiltertrackError(
                f"it calls a Python function, which may change anything ({listed(sorted(calling))}:"
                f" of tf.py_function, or of tf.numpy_function without stateful=False)"
            )
        changing = {each for each in operations if _changes_state(each)}
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
    if backend == "tensorflow":
        return (_EagerTensorFlowPass if eager else _TensorFlowPass)(model, function)
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
    prefixes = ("Assign", "LookupTableInsert", "ResourceScatter", "ResourceApply", "Rng")
    return operation.startswith(prefixes) or (
        operation.startswith("Stateful") and not operation.startswith("StatefulPartitionedCall")
    )


@contextmanager
def _unchanged_attributes(holders: Sequence[Any]) -> Iterator[None]:
    """Restore the attributes of objects, and the elements of those that are lists, dicts or sets.

    Args:
        holders: Layers or modules, each once.
    """
    before = [(vars(each), dict(vars(each))) for each in holders]
    elements = [
        (value, held, kind(held))
        for _, attributes in before
        for value in attributes.values()
        for held in [_unwrapped(value)]
        for kind in _COLLECTIONS
        if isinstance(held, kind)
    ]
    try:
        yield
    finally:
        for value, held, kept in elements:
            _restore_elements(value, held, kept)
        for attributes, kept in before:
            _restore_attributes(attributes, kept)


_COLLECTIONS = (list, dict, set)


def _restore_attributes(attributes: dict[str, Any], kept: Mapping[str, Any]) -> None:
    """Restore those attributes that have changed; another thread may use the others meanwhile."""
    for name in attributes.keys() - kept.keys():
        del attributes[name]
    for name, value in kept.items():
        if attributes.get(name, attributes) is not value:
            attributes[name] = value


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the values in nested collections."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple, set)):
        yield value
        return
    for each in value:
        yield from _leaves(each)


def _unwrapped(value: Any) -> Any:
    """Return the collection inside of a wrapper of TensorFlow; other values as they are."""
    if not isinstance(value, _COLLECTIONS):
        return value
    return getattr(value, "__wrapped__", getattr(value, "_storage", value))


def _restore_elements(value: Any, held: Any, kept: Any) -> None:
    """Restore the elements of a collection, if they are others than those that were kept.

    Args:
        value: The collection, perhaps wrapped by TensorFlow.
        held: The collection itself.
        kept: A list, dict or set of the elements.
    """
    kind = type(kept)
    values = [list(each.values() if kind is dict else each) for each in (held, kept)]
    # The methods of the plain classes: Keras tracks what is added to its own ones.
    if list(map(id, values[0])) == list(map(id, values[1])) and (kind is list or held == kept):
        return
    if kind is list:
        list.__setitem__(held, slice(None), kept)
    else:
        kind.clear(held)
        kind.update(held, kept)
    for name in ("_update_snapshot", "_self_update_snapshot"):
        # Otherwise TensorFlow takes this for a change behind its back.
        getattr(value, name, lambda: None)()


@contextmanager
def _without_building(layers: Sequence[Any]) -> Iterator[None]:
    """Refuse to build layers; ``_unchanged_attributes`` restores what this changes.

    Raises:
        FiltertrackError: Inside the block, if a layer makes its weights when it is called.
    """
    for layer in layers:
        if not layer.built:
            vars(layer)["_maybe_build"] = _refused if _makes_weights(layer) else _not_built
    yield


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
