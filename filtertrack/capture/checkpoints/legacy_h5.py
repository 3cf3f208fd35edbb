"""Read the ``.h5`` files of Keras 2, and of Keras 3 in that format: whole models, or weights only.

Each layer of the model has a group whose attribute ``weight_names`` lists its weights, those of
layers in it as well. A whole model has its description in ``model_config``. A file of weights only
has the names of layers and weights and their order, but no class: that follows from the automatic
names, from the names of the weights, and otherwise from their shapes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.hdf5 import Hdf5File, Hdf5Group
from filtertrack.capture.checkpoints.keras_config import ConfigLayer, kernels_of, parse_config
from filtertrack.capture.checkpoints.stored_layers import (
    KerasFile,
    StoredArray,
    StoredKernels,
    StoredLayer,
    is_convolution,
)
from filtertrack.capture.layer_names import snake_case
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import name_parts

_MODEL, _CONFIG, _LAYERS, _WEIGHTS = "model_weights", "model_config", "layer_names", "weight_names"
_SUFFIX = re.compile(r":\d+$")
_CELL = re.compile(r"/conv_ls\w*cell\w*$")
"""The cell of a ConvLSTM in the path of its weights."""
_FIRST_NAMES = re.compile(r"(?:(.*)_)?(W|b)(?:_\d+)?")
"""The names of weights in files that Keras 1 wrote first, such as ``conv1_W_1``."""
_ATTRIBUTES = {"W": "kernel", "b": "bias"}
_KERNELS = {"kernel", "depthwise_kernel"}
_HOLDERS = {"sequential", "functional", "time_distributed", "bidirectional"}
"""Automatic names of layers that hold others."""
_MOST_DEPTH = 64

_Owners = Mapping[str, Mapping[str, str]]
"""Path of the layer that owns weights to attribute name to the array's path in the group."""


def is_legacy(file: Hdf5File) -> bool:
    """Whether an HDF5 file of Keras is in the format of Keras 2."""
    root = file.root()
    return root.group(_MODEL) is not None or root.texts(_LAYERS) is not None


def read_legacy(path: Path, file: Hdf5File) -> Checkpoint:
    """Return the kernels in an open file in the format of Keras 2.

    Args:
        path: The file, for messages.
        file: The open HDF5 file; it is closed on an error.

    Raises:
        FiltertrackError: If it is damaged.
    """
    try:
        root = file.root()
        weights = root.group(_MODEL) or root
        text = root.text(_CONFIG)
        config = parse_config(text) if text else None
        model = StoredLayer(config.name if config else "", "")
        if config is not None and config.graph is not None:
            model.children = [_described(weights, each) for each in config.graph]
        else:
            names = weights.texts(_LAYERS) or []
            model.children = [_named(weights, name) for name in names]
        kernels = StoredKernels(model)
        kernels.check(path)
        return KerasFile(path, [file], kernels)
    except FiltertrackError as error:
        file.close()
        raise error if str(path) in str(error) else refused(path, error) from error


def _described(weights: Hdf5Group, config: ConfigLayer) -> StoredLayer:
    """Return a layer of the model's description with the weights in its group."""
    layer = _tree(config, None)
    leaves = [leaf for leaf in _leaves(layer, ()) if kernels_of(leaf[1].config)]
    if leaves and (group := weights.group(config.name)):
        owners = _owners(group)
        for leaf, owner in _pairs(leaves, owners):
            leaf.variables = _arrays(group, owners[owner])
    return layer


def _tree(config: ConfigLayer, held: str | None) -> StoredLayer:
    """Return a layer and the layers in it, without weights."""
    layer = StoredLayer(config.name, snake_case(config.class_name), held, config)
    if config.class_name == "Bidirectional" and (one := config.parts.get("layer")):
        layer.children = [
            _tree(_directed(config.parts.get(f"{way}_layer", one), way), f"{way}_layer")
            for way in ("forward", "backward")
        ]
    elif config.graph is not None:
        layer.children = [_tree(each, None) for each in config.graph]
    elif not kernels_of(config):
        layer.children = [_tree(part, name) for name, part in config.parts.items()]
    return layer


def _directed(config: ConfigLayer, way: str) -> ConfigLayer:
    """Return a layer of a Bidirectional, whose name Keras begins with the direction."""
    name = config.name if config.name.startswith(way) else f"{way}_{config.name}"
    return replace(config, name=name)


def _leaves(
    layer: StoredLayer, above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], StoredLayer]]:
    """Yield each layer with its path."""
    path = (*above, layer.name)
    yield path, layer
    for child in layer.children:
        yield from _leaves(child, path)


def _pairs(
    leaves: list[tuple[tuple[str, ...], StoredLayer]], owners: _Owners
) -> Iterator[tuple[StoredLayer, str]]:
    """Yield each convolution with the owner of its weights.

    It is the owner with the longest end in common with the layer's path. Layers in wrappers have no
    name of their own in the files of Keras 2: what is left is paired in order.
    """
    free = [owner for owner, names in owners.items() if not _KERNELS.isdisjoint(names)]
    unnamed = []
    for path, leaf in leaves:
        best = max(free, key=lambda owner: _common(path, owner), default="")
        if free and _common(path, best):
            free.remove(best)
            yield leaf, best
        else:
            unnamed.append(leaf)
    if len(unnamed) == len(free):
        yield from zip(unnamed, free, strict=True)


def _common(path: tuple[str, ...], owner: str) -> int:
    """Return the number of names at the end that a path and an owner have in common."""
    count = 0
    for mine, theirs in zip(reversed(path), reversed(owner.split("/")), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _owners(group: Hdf5Group) -> dict[str, dict[str, str]]:
    """Return the paths of weights in a layer's group by their owners and attributes."""
    found: dict[str, dict[str, str]] = {}
    for name in group.texts(_WEIGHTS) or []:
        owner, _, attribute = _SUFFIX.sub("", name).rpartition("/")
        if not owner and (first := _FIRST_NAMES.fullmatch(attribute)):
            owner, attribute = first[1] or "", _ATTRIBUTES[first[2]]
        found.setdefault(_CELL.sub("", owner), {})[attribute] = name
    return found


def _arrays(group: Hdf5Group, names: Mapping[str, str]) -> dict[str, StoredArray]:
    arrays = {attribute: group.array(name) for attribute, name in names.items()}
    return {attribute: array for attribute, array in arrays.items() if array is not None}


def _named(weights: Hdf5Group, name: str) -> StoredLayer:
    """Return a layer of a file without a description, with the layers in it."""
    layer = StoredLayer(name, _stem_of(name))
    group = weights.group(name)
    for owner, names in _owners(group).items() if group else ():
        if group and not _KERNELS.isdisjoint(names):
            parts = [part for part in owner.split("/") if part]
            below = parts[parts.index(name) + 1 :] if name in parts else parts
            _descendant(layer, below).variables = _arrays(group, names)
    return layer


def _descendant(layer: StoredLayer, path: list[str]) -> StoredLayer:
    """Return the layer at a path below another one, which is made if it is missing."""
    if len(path) > _MOST_DEPTH:
        raise FiltertrackError(f"the names of its weights have more than {_MOST_DEPTH} parts")
    for name in path:
        child = next((each for each in layer.children if each.name == name), None)
        if child is None:
            held = "layer" if layer.stem == "time_distributed" else None
            child = StoredLayer(name, _stem_of(name), held)
            layer.children.append(child)
        layer = child
    return layer


def _stem_of(name: str) -> str:
    """Return the name that Keras gave to the layer's class; empty if the user gave the name."""
    stem = name_parts(name)[0]
    return stem if is_convolution(stem) or stem in _HOLDERS else ""
