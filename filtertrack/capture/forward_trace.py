"""Records the calls of a Keras model's layers during one forward pass."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from threading import RLock, get_ident
from types import ModuleType
from typing import Any

import keras

from filtertrack.capture.layer_order import walk

_FUNCTIONS_OF_KERAS = RLock()
"""Held while functions of Keras are wrapped, so that two threads do not restore them in turn."""


@dataclass(frozen=True, slots=True, eq=False)
class KerasFunction:
    """A function of Keras that subclassed models and layers call.

    Attributes:
        name: Its name, such as ``"relu"``.
        module: The module that users take it from, such as ``keras.ops``.
    """

    name: str
    module: ModuleType


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a layer, of an operation of a functional model, or of a function.

    Attributes:
        operation: The layer, operation or ``KerasFunction``.
        inputs: The tensors that it was called with.
        output: What it returned.
        training: Whether it was told to compute what it does in training.
        alone: Whether it was called with one argument.
        version: On torch, how often the output had been changed in place when it was returned.
        copy: A copy of the output, made before anything could change that in place, or None.
    """

    operation: Any
    inputs: tuple[Any, ...]
    output: Any
    training: bool = False
    alone: bool = True
    version: int = 0
    copy: Any = None

    @property
    def changed(self) -> bool:
        """Whether the output was changed in place since it was returned, which torch can do."""
        return version_of(self.output) != self.version


@contextmanager
def recorded_calls(
    operations: Collection[Any], copied: Collection[Any] = ()
) -> Iterator[list[Call]]:
    """Record the calls of layers, operations and functions, in the order in which they return.

    The method ``call`` of each, or the function in its module, is wrapped inside the block only. It
    computes the same, and no other attribute changes. Functions that a layer without others in it,
    an operation or another function calls are left out.

    Args:
        operations: The layers, operations and functions, each once.
        copied: Those of them whose output is copied when they return.

    Yields:
        The calls, to which each call is appended.
    """
    calls: list[Call] = []
    thread, copies = get_ident(), {id(each) for each in copied}
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    functions = any(isinstance(each, KerasFunction) for each in operations)
    with _FUNCTIONS_OF_KERAS if functions else nullcontext():
        try:
            for operation in operations:
                if isinstance(operation, KerasFunction):
                    attributes, name = vars(operation.module), operation.name
                    call = attributes[name]
                else:
                    # Not setattr, in which Keras and torch track values.
                    attributes, name, call = operation.__dict__, "call", operation.call
                replaced.append((attributes, name, attributes.get(name)))
                attributes[name] = partial(
                    _recording, calls, thread, operation, call, id(operation) in copies
                )
            yield calls
        finally:
            for attributes, name, own in reversed(replaced):
                if own is None:
                    attributes.pop(name, None)
                else:
                    attributes[name] = own


def _recording(
    calls: list[Call],
    thread: int,
    operation: Any,
    call: Callable[..., Any],
    copies: bool,  # noqa: FBT001 - the arguments of the call follow
    *args: Any,
    **kwargs: Any,
) -> Any:
    before = len(calls)
    output = call(*args, **kwargs)
    if get_ident() != thread:
        return output
    if isinstance(operation, KerasFunction) or not getattr(operation, "_layers", ()):
        calls[before:] = [
            each for each in calls[before:] if not isinstance(each.operation, KerasFunction)
        ]
    flag = kwargs.get("training")
    training = not (flag is None or flag is False) or any(each is True for each in args)
    alone, copy = len(args) + len(kwargs) == 1, None
    if copies and hasattr(output, "clone"):  # on torch; no other backend changes tensors
        copy = output.clone()
    inputs = tuple(_tensors((args, kwargs)))
    calls.append(Call(operation, inputs, output, training, alone, version_of(output), copy))
    return output


def version_of(tensor: Any) -> int:
    """Return how often a tensor of torch was changed in place; 0 for others."""
    try:
        return int(getattr(tensor, "_version", 0))
    except RuntimeError:  # torch does not count those of its inference mode
        return 0


def _tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors among arguments."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        if hasattr(value, "shape"):
            yield value
        return
    for each in value:
        yield from _tensors(each)


def leaf_operations(model: Any) -> list[Any]:
    """Return the layers without layers in them, and the operations of graphs, each once."""
    found: dict[int, Any] = {}
    for _, layer in walk(model):
        for each in getattr(layer, "_operations", ()):  # of a functional model's graph
            if not hasattr(each, "_layers"):
                found[id(each)] = each
        if not getattr(layer, "_layers", ()):
            found[id(layer)] = layer
    return list(found.values())


def functions_of_keras(names: Collection[str]) -> list[KerasFunction]:
    """Return the functions of some names in ``keras.ops`` and ``keras.activations``."""
    modules = (keras.ops, keras.activations)
    return [KerasFunction(n, each) for each in modules for n in sorted(names) if n in vars(each)]
