"""Walk the layers of a Keras model in the order in which data flows, each with its path.

A path names a layer's position in the model. It does not depend on whether the model is built, was
saved and loaded, or how many models the program has made before.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from filtertrack.snapshot import name_parts

_NOT_ATTRIBUTES = ("_layers", "_modules", "_self_")
"""Where Keras, torch and TensorFlow list the layers in a layer, whatever attribute holds them."""

FirstBuilds = Mapping[int, int]
"""``id`` of a layer to its place in the order in which layers were built, as far as it is known."""


def walk(
    model: Any,
    *,
    first_builds: FirstBuilds | None = None,
    is_whole: Callable[[Any], bool] = lambda _: False,
) -> Iterator[tuple[str, Any]]:
    """Yield every layer below a model in the order in which data flows, each once.

    The order in a functional or sequential model is that of its graph. Elsewhere it is the order in
    which layers were built where that is known, which is the order of their first call, and else
    that of the attributes.

    Args:
        model: A Keras model or layer. It is yielded first, with an empty path.
        first_builds: In which order layers were built, where that was seen.
        is_whole: Whether the layers inside a layer are skipped.

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
    """Sort those layers of one parent that were seen being built; the others keep their places."""
    if not first_builds:
        return children
    built = [_first_build(child, first_builds) for _, child in children]
    places = [place for place, number in enumerate(built) if number is not None]
    ordered = list(children)
    for place, source in zip(places, sorted(places, key=lambda p: built[p] or 0), strict=True):
        ordered[place] = children[source]
    return ordered


def _first_build(layer: Any, first_builds: FirstBuilds) -> int | None:
    """Return when the first of a layer and the layers in it was built; None where unknown."""
    inside = (first_builds[id(each)] for _, each in walk(layer) if id(each) in first_builds)
    return min(inside, default=None)


def _named_children(layer: Any) -> list[tuple[str, Any]]:
    """Return the layers directly in a layer, in order, each with a name.

    That is the name the user gave to the layer. A layer that Keras named is called as the attribute
    that holds it, or numbered among its like in this parent: Keras numbers such names through the
    whole program, so they are others when a model is made or loaded again.
    """
    children = _children(layer)
    attributes = _attributes(layer)
    numbered = _numbered(children)
    given = [str(child.name) for child in children]
    names = []
    for name, child in zip(given, children, strict=True):
        by_keras = numbered.get(id(child))
        unclear = by_keras is not None or given.count(name) > 1
        held = attributes.get(id(child)) if unclear else None
        names.append(held or by_keras or name)
    return list(zip(names, children, strict=True))


def _numbered(children: list[Any]) -> dict[int, str]:
    """Return the names that Keras would give to the layers it named, were they the first ones."""
    by_stem: dict[str, list[tuple[int, int]]] = {}
    for child in children:
        stem, number = name_parts(str(child.name))
        if stem == _stem_of(child):
            by_stem.setdefault(stem, []).append((number, id(child)))
    return {
        layer: f"{stem}_{place}" if place else stem
        for stem, layers in by_stem.items()
        for place, (_, layer) in enumerate(sorted(layers))
    }


def _children(layer: Any) -> list[Any]:
    """Return the layers directly in a layer, in order."""
    # A functional model's own list is in the order of its graph; more may hang beside the graph.
    own = list(layer.layers) if isinstance(layer, keras.Model) else []
    # Keras has no public list of the layers in a layer.
    both = [*own, *getattr(layer, "_layers", ())]
    return list({id(child): child for child in both}.values())


def _attributes(layer: Any) -> dict[int, str]:
    """Return under which attribute each layer in a layer is held, such as ``"blocks/0"``."""
    found: dict[int, str] = {}
    if _has_graph(layer):
        return found
    held = vars(layer)
    # torch keeps modules apart from other attributes.
    named = {**held, **held.get("_modules", {})}
    for name in sorted(named, key=lambda name: name.startswith("_")):  # stable: public ones first
        if not name.startswith(_NOT_ATTRIBUTES):
            _note(named[name], name, found)
    return found


def _has_graph(layer: Any) -> bool:
    """Whether a layer names the layers in it, each differently, and holds them by no attribute."""
    return isinstance(layer, keras.Sequential) or hasattr(layer, "_nodes_by_depth")


def _note(value: Any, name: str, found: dict[int, str]) -> None:
    """Note where a layer is, or those in a list, tuple or dictionary."""
    if isinstance(value, keras.layers.Layer):
        found.setdefault(id(value), name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _note(each, f"{name}/{key}", found)
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            _note(each, f"{name}/{number}", found)


def _stem_of(layer: Any) -> str:
    """Return what Keras calls the first layer of a class, as keras.src.utils.naming makes it."""
    name = re.sub(r"\W+", "", type(layer).__name__)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
