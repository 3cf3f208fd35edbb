"""Read the weights files of Keras 3: ``.weights.h5``, and the shards of a ``.weights.json``.

A group is named by the attribute that holds a layer, or in a list by the layer's class and a
number; its variables are numbered in ``vars``, whose attribute ``name`` is the layer's name since
Keras 3.6. These files do not tell the order of the layers, their strides and their padding: layers
are in natural order of their groups' names. In a subclassed model Keras writes layers whose
attribute comes after ``layers`` in the alphabet without the attribute's name; they get a number
within their class.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.hdf5 import Hdf5Array, Hdf5File, Hdf5Group
from filtertrack.capture.checkpoints.keras_config import ConfigLayer, kernels_of
from filtertrack.capture.checkpoints.stored_layers import (
    KERNEL_AXES,
    KerasFile,
    StoredKernels,
    StoredLayer,
    is_convolution,
)
from filtertrack.capture.layer_names import snake_case
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import name_parts

_GRAPHS = ("layers", "_layer_checkpoint_dependencies")
"""The groups that hold the layers of a functional or sequential model; the second in Keras 2.13."""
_NOT_LAYERS = {"vars", "optimizer", "_functional", "_metrics", "metrics", "_compile_metrics"}
_LEAVES = {
    "activation",
    "add",
    "average",
    "average_pooling2d",
    "batch_normalization",
    "concatenate",
    "dense",
    "dropout",
    "flatten",
    "global_average_pooling2d",
    "global_max_pooling2d",
    "input_layer",
    "layer_normalization",
    "leaky_re_lu",
    "max_pooling2d",
    "multiply",
    "normalization",
    "re_lu",
    "rescaling",
    "reshape",
    "softmax",
    "up_sampling2d",
    "zero_padding2d",
}
"""Keras's usual layers that neither convolve nor hold others: their groups are not opened."""
_MOST_DEPTH = 64
_MOST_MAP = 1 << 24
"""Maximum number of bytes of the list of shards."""
_MOST_SHARDS = 4096
_LSTM, _LSTM_CELL = "conv_lstm", "conv_lstm_cell"
_BIDIRECTIONAL, _FORWARD = ("Bidirectional", "layer"), "forward_layer"
"""The first layer of a Bidirectional in its description, and the attribute that holds it."""
_MOST_VARIABLES = 4
_SUBCLASSED = (
    "a subclassed model or layer: the file does not tell the order of its layers, nor all of their "
    "names, so they may differ from those that FilterTracker gives"
)
_WITHOUT_NAMES = (
    "an older Keras wrote this file without the names of layers: they are named by class and number"
)


def open_shards(path: Path) -> Checkpoint:
    """Open a ``.weights.json`` of Keras 3 with the files that it names.

    The files lie in the folder of the list: other paths are refused. A file of the folder may be a
    link, such as in a download cache.

    Raises:
        FiltertrackError: If a file is missing, damaged or elsewhere, or h5py is missing.
    """
    files: list[Hdf5File] = []
    try:
        for name in _shards(path):
            shard = path.with_name(name)
            if not shard.is_file():
                raise refused(path, f"it names {name!r}, which is no file in its folder")
            files.append(Hdf5File(shard))
        return read_weights(path, files, None)
    except FiltertrackError:
        for file in files:
            file.close()
        raise


def _shards(path: Path) -> list[str]:
    """Return the names of the files that a list of shards names."""
    if path.stat().st_size > _MOST_MAP:
        raise refused(path, f"a list of shards of more than {_MOST_MAP} bytes")
    try:
        found = json.loads(path.read_bytes())["weight_map"]
        names = [n for each in found.values() for n in (each if isinstance(each, list) else [each])]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise refused(path, "it is no list of the files of a model's weights") from error
    for name in names:
        if not isinstance(name, str) or not name or re.search(r"[/\\\0:]", name) or name in "..":
            raise refused(path, f"it names {str(name)[:200]!r}, expected a file in its folder")
    unique = list(dict.fromkeys(names))
    if not unique or len(unique) > _MOST_SHARDS:
        raise refused(path, f"it names {len(unique)} files")
    return unique


def read_weights(path: Path, files: Sequence[Hdf5File], config: ConfigLayer | None) -> KerasFile:
    """Return the kernels in open weights files of Keras 3.

    Args:
        path: The file, for messages.
        files: The open HDF5 files; they are closed on an error.
        config: The model's description; None if there is none.
    """
    try:
        reader = _Reader()
        root = reader.layer(Hdf5Group.union([file.root() for file in files]), config)
        kernels = StoredKernels(root)
        kernels.check(path)
        told = {_WITHOUT_NAMES: reader.nameless, _SUBCLASSED: reader.by_attribute}
        remarks = [text for text, applies in told.items() if applies and kernels.infos]
        return KerasFile(path, files, kernels, remarks)
    except FiltertrackError as error:
        for file in files:
            file.close()
        raise error if str(path) in str(error) else refused(path, error) from error


class _Reader:
    """Finds the layers in the groups of a file.

    Attributes:
        nameless: Whether a layer has no name in the file.
        by_attribute: Whether layers are held by attributes of a subclassed model or layer.
    """

    def __init__(self) -> None:
        self.nameless = False
        self.by_attribute = False

    def layer(
        self,
        group: Hdf5Group | None,
        config: ConfigLayer | None,
        *,
        key: str = "",
        held: str | None = None,
        depth: int = 0,
    ) -> StoredLayer:
        """Return a layer and the layers in it.

        Args:
            group: Its group; None for a layer that the file holds in another place, or not at all.
            config: Its description; None if there is none.
            key: The name of its group, if that is made of the name of its class.
            held: The attribute of the parent that holds it.
            depth: The number of layers around it.
        """
        if depth > _MOST_DEPTH:
            raise FiltertrackError(f"its groups have more than {_MOST_DEPTH} levels")
        if config is None:
            found = StoredLayer(key, name_parts(key)[0], held)
        else:
            found = StoredLayer(config.name, snake_case(config.class_name), held, config)
        if group is None:
            return found
        convolves = bool(kernels_of(found.config)) or (bool(key) and is_convolution(found.stem))
        if convolves or not found.config.of_keras:
            convolves |= self._add_variables(found, group, key)
        if not convolves:
            found.children = list(self._children(group, found.config, depth + 1))
        if config is None and not found.stem:
            found.stem = _guessed_stem(found)
        return found

    def _add_variables(self, layer: StoredLayer, group: Hdf5Group, key: str) -> bool:
        """Add a layer's variables, and its name if it is not known.

        Returns:
            Whether they are those of the cell of a ConvLSTM.
        """
        own = group.group("vars")
        if not layer.config.name:
            stored = own.text("name") if own else None
            self.nameless |= own is not None and stored is None and bool(key)
            layer.name = stored or key or (layer.held or "").rpartition("/")[2]
        if layer.stem.startswith(_LSTM) or (not layer.stem and group.group("cell")):
            cell = group.group("cell/vars")
            if cell and (layer.stem or name_parts(cell.text("name") or "")[0] == _LSTM_CELL):
                layer.variables = dict(_numbered(cell))
                rank = len(next(iter(layer.variables.values())).shape) - 2 if layer.variables else 0
                layer.stem = layer.stem or f"{_LSTM}{rank}d"
                return True
        if own:
            layer.variables = dict(_numbered(own))
        return False

    def _children(self, group: Hdf5Group, config: ConfigLayer, depth: int) -> Iterator[StoredLayer]:
        """Yield the layers directly in a layer: those that its description names, then others."""
        taken = set(_NOT_LAYERS)
        if config.graph is not None:
            taken.update(_GRAPHS)
            yield from self._graph(group, config.graph, depth)
        for attribute, parts in _parts_by_attribute(config).items():
            if inside := group.group(attribute):
                taken.add(attribute)
                yield from self._parts(inside, attribute, parts, depth)
        if not config.of_keras:
            for name in sorted(set(group.names()) - taken, key=_natural):
                if inside := group.group(name):
                    found = list(self._attribute(inside, name, depth))
                    told = name in _GRAPHS and not config.class_name
                    self.by_attribute |= bool(found) and not told
                    yield from found

    def _graph(
        self, group: Hdf5Group, layers: Sequence[ConfigLayer], depth: int
    ) -> Iterator[StoredLayer]:
        """Yield the layers of a functional or sequential model."""
        graph = next((each for name in _GRAPHS if (each := group.group(name))), None)
        for key, layer in zip(_keys(layers), layers, strict=True):
            yield self.layer(graph.group(key) if graph else None, layer, depth=depth)

    def _parts(
        self, group: Hdf5Group, attribute: str, parts: Mapping[str, ConfigLayer], depth: int
    ) -> Iterator[StoredLayer]:
        """Yield the layer, or the layers in a list, that an attribute of a layer holds."""
        if attribute in parts:
            yield self.layer(group, parts[attribute], held=attribute, depth=depth)
            return
        layers = list(parts.values())
        for key, held, layer in zip(_keys(layers), parts, layers, strict=True):
            yield self.layer(group.group(key), layer, held=held, depth=depth)

    def _attribute(self, group: Hdf5Group, name: str, depth: int) -> Iterator[StoredLayer]:
        """Yield the layer that an attribute holds, or the layers in a list or dictionary."""
        inside = group.names()
        if name not in _GRAPHS and not {"vars", *_GRAPHS}.isdisjoint(inside):
            yield self.layer(group, None, held=name, depth=depth)
            return
        if depth > _MOST_DEPTH:
            raise FiltertrackError(f"its groups have more than {_MOST_DEPTH} levels")
        for key in sorted(inside, key=_natural):
            known = name_parts(key)[0] in _LEAVES
            each = None if known else group.group(key)
            held = None if name in _GRAPHS else f"{name}/{key}"
            if held and each and {"vars", *_GRAPHS}.isdisjoint(each.names()):
                yield from self._attribute(each, held, depth + 1)
            elif each or known:
                yield self.layer(each, None, key=key, held=held, depth=depth)


def _parts_by_attribute(config: ConfigLayer) -> dict[str, dict[str, ConfigLayer]]:
    """Return the layers in a layer that is no model: attribute to path to layer."""
    found: dict[str, dict[str, ConfigLayer]] = {}
    for path, layer in config.parts.items():
        held = _FORWARD if (config.class_name, path) == _BIDIRECTIONAL else path
        found.setdefault(held.partition("/")[0], {})[held] = layer
    return found


def _guessed_stem(layer: StoredLayer) -> str:
    """Return the name of the class of a layer that is known by its attribute only.

    A layer with layers in it is mostly named by Keras, as users name convolutions.
    """
    stem = name_parts(layer.name)[0]
    return stem if layer.children or is_convolution(stem) else ""


def _numbered(group: Hdf5Group) -> Iterator[tuple[str, Hdf5Array]]:
    """Yield the first variables of a layer, at most as many as a convolution has.

    The first variable of a convolution is a kernel. That of an optimizer is its step, and others
    have the shapes of kernels.
    """
    for number in range(min(_MOST_VARIABLES, group.count())):
        array = group.array(str(number))
        if array is None or (number == 0 and len(array.shape) not in KERNEL_AXES):
            return
        yield str(number), array


def _keys(layers: Sequence[ConfigLayer]) -> list[str]:
    """Return the names of the groups of layers in a list: the class, with a number."""
    counts: dict[str, int] = {}
    keys = []
    for layer in layers:
        stem = snake_case(layer.class_name)
        count = counts[stem] = counts.get(stem, -1) + 1
        keys.append(f"{stem}_{count}" if count else stem)
    return keys


def _natural(name: str) -> tuple[bool, list[tuple[str, int]]]:
    """Return a key that sorts names with their numbers as numbers, and private ones last."""
    parts = re.findall(r"(\D*)(\d{0,9})", name)
    return name.startswith("_"), [(text, int(number or -1)) for text, number in parts]
