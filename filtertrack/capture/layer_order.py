"""Walks the layers of a Keras model in the order in which data flows, with a path for each.

A path names a layer's position in the model. It does not depend on whether the model is built, was
saved and loaded, or how many models the program has made before.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from filtertrack.capture.layer_names import child_names, snake_case

_NOT_ATTRIBUTES = ("_layers", "_modules", "_self_")
"""Attributes in which Keras, torch and TensorFlow list all sublayers of a layer."""

FirstBuilds = Mapping[int, int]
"""``id`` of a layer to its index in the order in which layers were built, if it is known."""


def walk(
    model: Any,
    *,
    first_builds: FirstBuilds | None = None,
    is_whole: Callable[[Any], bool] = lambda _: False,
) -> Iterator[tuple[str, Any]]:
    """Yield every layer below a model in the order in which data flows, each once.

    The order in a functional or sequential model is that of its graph. In other models it is the
    order in which layers were built, if that is known (it is the order of their first call), and
    otherwise the order of the attributes.

    Args:
        model: A Keras model or layer. It is yielded first, with an empty path.
        first_builds: The order in which layers were built, as far as it was observed.
        is_whole: Whether to skip the layers inside a layer.

    Yields:
        The path, such as ``"encoder/conv1"``, and the layer.
    """
    yield from _walk(model, "", set(), first_builds or {}, is_whole)


def _walk(
    layer: Any,
    path: str,
    seen: set[int],
    first_builds: FirstBuilds,
    is_whole: Callable[[Any], bool],
) -> Iterator[tuple[str, Any]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    if path and is_whole(layer):
        return
    for name, child in _in_order(_named_children(layer), first_builds):
        yield from _walk(child, f"{path}/{name}" if path else name, seen, first_builds, is_whole)


def _in_order(children: list[tuple[str, Any]], first_builds: FirstBuilds) -> list[tuple[str, Any]]:
    """Sort the children by their build order; children of unknown order keep their index."""
    if not first_builds:
        return children
    built = [_first_build(child, first_builds) for _, child in children]
    known = [index for index, number in enumerate(built) if number is not None]
    ordered = list(children)
    for index, source in zip(known, sorted(known, key=lambda i: built[i] or 0), strict=True):
        ordered[index] = children[source]
    return ordered


def _first_build(layer: Any, first_builds: FirstBuilds) -> int | None:
    """Return the smallest build index of a layer and the layers in it; None if unknown."""
    inside = (first_builds[id(each)] for _, each in walk(layer) if id(each) in first_builds)
    return min(inside, default=None)


def _named_children(layer: Any) -> list[tuple[str, Any]]:
    """Return the direct sublayers of a layer, in order, each with a name: see ``child_names``."""
    children = _children(layer)
    attributes = _attributes(layer)
    names = child_names(
        [str(child.name) for child in children],
        [snake_case(type(child).__name__) for child in children],
        [attributes.get(id(child)) for child in children],
    )
    return list(zip(names, children, strict=True))


def _children(layer: Any) -> list[Any]:
    """Return the direct sublayers of a layer, in order."""
    # A functional model's own list is in the order of its graph; other layers may be attributes.
    own = list(layer.layers) if isinstance(layer, keras.Model) else []
    # Keras has no public list of the sublayers of a layer.
    both = [*own, *getattr(layer, "_layers", ())]
    return list({id(child): child for child in both}.values())


def _attributes(layer: Any) -> dict[int, str]:
    """Return the attribute that holds each sublayer by its ``id``, such as ``"blocks/0"``."""
    found: dict[int, str] = {}
    if _has_graph(layer):
        return found
    held = vars(layer)
    # torch keeps modules apart from other attributes.
    named = {**held, **held.get("_modules", {})}
    for name in sorted(named, key=lambda name: name.startswith("_")):  # stable: public ones first
        if not name.startswith(_NOT_ATTRIBUTES):
            _add_layers(named[name], name, found)
    return found


def _has_graph(layer: Any) -> bool:
    """Whether a layer holds its sublayers in a graph, each with another name."""
    return isinstance(layer, keras.Sequential) or hasattr(layer, "_nodes_by_depth")


def _add_layers(value: Any, name: str, found: dict[int, str]) -> None:
    """Add a layer, or the layers in a list, tuple or dictionary, to ``found``."""
    if isinstance(value, keras.layers.Layer):
        found.setdefault(id(value), name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _add_layers(each, f"{name}/{key}", found)
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            _add_layers(each, f"{name}/{number}", found)
