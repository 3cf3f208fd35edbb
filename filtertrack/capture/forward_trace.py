"""Records the calls of a Keras model's layers during one forward pass."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from filtertrack.capture.layer_order import walk


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a layer, or of an operation of a functional model.

    Attributes:
        operation: The layer or operation.
        inputs: The tensors that it was called with.
        output: What it returned.
        training: Whether it was told to compute what it does in training.
    """

    operation: Any
    inputs: tuple[Any, ...]
    output: Any
    training: bool = False


@contextmanager
def recorded_calls(operations: Collection[Any]) -> Iterator[list[Call]]:
    """Record the calls of layers and operations, in the order in which they return.

    The method ``call`` of each is wrapped inside the block only. It computes the same, and no other
    attribute changes.

    Args:
        operations: The layers and operations, each once.

    Yields:
        The calls, to which each call is appended.
    """
    calls: list[Call] = []
    replaced: list[tuple[dict[str, Any], Any]] = []
    try:
        for operation in operations:
            attributes = operation.__dict__  # not setattr, in which Keras and torch track values
            replaced.append((attributes, attributes.get("call")))
            attributes["call"] = partial(_recording, calls, operation, operation.call)
        yield calls
    finally:
        for attributes, own in reversed(replaced):
            if own is None:
                attributes.pop("call", None)
            else:
                attributes["call"] = own


def _recording(
    calls: list[Call], operation: Any, call: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    output = call(*args, **kwargs)
    flag = kwargs.get("training")
    training = not (flag is None or flag is False) or any(each is True for each in args)
    calls.append(Call(operation, tuple(_tensors((args, kwargs))), output, training))
    return output


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
