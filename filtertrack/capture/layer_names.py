"""Names of the layers below one parent that do not depend on Keras's automatic numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from filtertrack.snapshot import name_parts


@lru_cache(maxsize=4096)
def snake_case(class_name: str) -> str:
    """Return Keras's name of the first layer of a class, as keras.src.utils.naming makes it.

    Example:
        >>> snake_case("Conv2D"), snake_case("SeparableConv2D"), snake_case("ConvLSTM2D")
        ('conv2d', 'separable_conv2d', 'conv_lstm2d')
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def child_names(
    names: Sequence[str], stems: Sequence[str], attributes: Sequence[str | None]
) -> list[str]:
    """Return a name for each layer below one parent.

    The name is the one the user gave. A layer that Keras named gets the name of the attribute that
    holds it, or a number among the layers of its class in this parent: Keras numbers names through
    the whole program, so that they change when a model is made or loaded again.

    Args:
        names: The names of the layers in Keras, in model order.
        stems: Keras's name of the first layer of each layer's class: see ``snake_case``.
        attributes: The attribute of the parent that holds each layer, such as ``"blocks/0"``; None
            if there is none.

    Example:
        >>> child_names(["conv2d_4", "conv2d_5", "head"], ["conv2d"] * 3, [None, "stem", "conv"])
        ['conv2d', 'stem', 'head']
    """
    numbered = _numbered(names, stems)
    counts = Counter(names)
    found = []
    for index, (name, attribute) in enumerate(zip(names, attributes, strict=True)):
        by_keras = numbered.get(index)
        held = attribute if by_keras is not None or counts[name] > 1 else None
        found.append(held or by_keras or name)
    return found


def _numbered(names: Sequence[str], stems: Sequence[str]) -> dict[int, str]:
    """Return the names Keras would give to the layers it named if they were the first it made."""
    by_stem: dict[str, list[tuple[int, int]]] = {}
    for index, (name, own) in enumerate(zip(names, stems, strict=True)):
        stem, number = name_parts(name)
        if stem == own:
            by_stem.setdefault(stem, []).append((number, index))
    return {
        index: f"{stem}_{count}" if count else stem
        for stem, layers in by_stem.items()
        for count, (_, index) in enumerate(sorted(layers))
    }
