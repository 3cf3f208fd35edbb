"""Parse the JSON description of a Keras model: its layers, their classes and their options."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from filtertrack.capture.keras_kernels import KERNELS_OF_CLASS, KernelAttribute
from filtertrack.errors import FiltertrackError, printable

LONGEST_CONFIG = 1 << 24
"""Maximum number of characters of a model's description."""
_MOST_LAYERS = 100_000
_MOST_DEPTH = 64


@dataclass(frozen=True, slots=True)
class ConfigLayer:
    """A layer or model in the description of a model.

    Attributes:
        name: Its name in Keras; empty if the description has none.
        class_name: Its class.
        of_keras: Whether the description says that the class is Keras's own.
        options: The arguments of the class, such as ``strides``.
        graph: The layers of a functional or sequential model, in order; None for other layers.
        parts: The layers in other layers, such as wrappers, by the attribute that holds them:
            ``"layer"``, or ``"cells/lstm_cell"`` for layers in a list.
    """

    name: str
    class_name: str
    of_keras: bool
    options: Mapping[str, Any]
    graph: "tuple[ConfigLayer, ...] | None"
    parts: Mapping[str, "ConfigLayer"]


@lru_cache(maxsize=4)
def parse_config(text: str) -> ConfigLayer:
    """Parse the description of a model.

    The last results are kept, as the checkpoints of one training have the same description.

    Raises:
        FiltertrackError: If it is no JSON of a model, or has too many layers or levels.
    """
    if len(text) > LONGEST_CONFIG:
        raise FiltertrackError(f"the model's config has {len(text)} characters")
    try:
        found = json.loads(text)
        layer = _layer(found, [0], 0)
    except (ValueError, RecursionError) as error:
        raise FiltertrackError(f"the model's config cannot be parsed: {error}") from error
    if layer is None:
        raise FiltertrackError("the model's config does not describe a model")
    return layer


def _layer(value: Any, count: list[int], depth: int) -> ConfigLayer | None:
    """Parse the description of an object; None if it is something else than a layer."""
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        return None
    options = value.get("config")
    if isinstance(options, list):  # sequential models of the first versions of Keras 2
        options = {"layers": options}
    if not isinstance(options, dict):
        return None
    count[0] += 1
    if depth > _MOST_DEPTH or count[0] > _MOST_LAYERS:
        raise FiltertrackError(
            f"the model's config has more than {_MOST_LAYERS} layers or {_MOST_DEPTH} levels"
        )
    listed = options.get("layers")
    graph = None
    if isinstance(listed, list):
        layers = (_layer(each, count, depth + 1) for each in listed)
        graph = tuple(each for each in layers if each is not None)
    name = options.get("name", value.get("name"))
    module = value.get("module")
    return ConfigLayer(
        name=name if isinstance(name, str) else "",
        class_name=value["class_name"].rpartition(">")[2],
        of_keras=isinstance(module, str) and module.partition(".")[0] == "keras",
        options=options,
        graph=graph,
        parts={} if graph is not None else dict(_parts(options, count, depth + 1)),
    )


def _parts(
    options: Mapping[str, Any], count: list[int], depth: int
) -> Iterator[tuple[str, ConfigLayer]]:
    """Yield the layers among the arguments of a layer, by the attribute that may hold them."""
    for key, value in options.items():
        if isinstance(value, dict) and (part := _named_layer(value, count, depth)):
            yield key, part
        elif isinstance(value, list):
            for number, each in enumerate(value):
                if part := _named_layer(each, count, depth):
                    yield f"{key}/{number}", part


def _named_layer(value: Any, count: list[int], depth: int) -> ConfigLayer | None:
    """Parse a layer; other objects, such as initializers, have no name or no ``trainable``."""
    options = value.get("config") if isinstance(value, dict) else None
    if not isinstance(options, dict) or not {"name", "trainable"} & options.keys():
        return None
    # A type policy has a name as well.
    return None if "Policy" in str(value.get("class_name")) else _layer(value, count, depth)


def kernels_of(layer: ConfigLayer) -> tuple[KernelAttribute, ...]:
    """Return the kernels of a layer by its class, or by its options for a user's class.

    A user's subclass of a convolution has the options of that convolution, at least ``kernel_size``
    and the number of filters.

    Returns:
        The kernels in the order of the layer's variables; empty for a layer that does not convolve.
    """
    known = KERNELS_OF_CLASS.get(layer.class_name)
    if known is not None:
        return known
    options = layer.options
    size = options.get("kernel_size")
    rank = len(size) if isinstance(size, list) else 2
    if (
        size is None
        or not {"filters", "depth_multiplier"} & options.keys()
        or layer.class_name.startswith("LocallyConnected")
    ):
        return ()
    return KERNELS_OF_CLASS.get(f"{_kind(options)}{rank}D{_transposed(options)}", ())


def _kind(options: Mapping[str, Any]) -> str:
    """Return the class of convolution, without its axes, that takes certain options."""
    if "pointwise_initializer" in options:
        return "SeparableConv"
    if "recurrent_activation" in options:
        return "ConvLSTM"
    return "Conv" if "filters" in options else "DepthwiseConv"


def _transposed(options: Mapping[str, Any]) -> str:
    return "Transpose" if "output_padding" in options else ""


def option(layer: ConfigLayer, name: str, axes: int) -> tuple[int, ...]:
    """Return an option such as ``strides`` as a number for each spatial axis; empty if unknown.

    Args:
        layer: The layer.
        name: The name of the option.
        axes: The number of spatial axes.
    """
    value = layer.options.get(name)
    numbers = tuple(value) if isinstance(value, list) else (value,) * axes
    if len(numbers) != axes or not all(type(n) is int and n >= 0 for n in numbers):
        return ()
    return cast("tuple[int, ...]", numbers)


def text_option(layer: ConfigLayer, name: str) -> str:
    """Return an option that is a name, such as ``padding``; empty if unknown.

    For a function or a layer, such as ``activation`` may be, it is its name.
    """
    value = layer.options.get(name)
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name")
    return printable(value)[:200] if isinstance(value, str) else ""
