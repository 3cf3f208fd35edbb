"""Reads TensorFlow checkpoints: of ``tf.train.Checkpoint``, of ``tf.compat.v1.train.Saver``.

Only this module imports tensorflow, when a checkpoint is opened. Nothing in a checkpoint or a
SavedModel is executed: only the file of variables is read.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from filtertrack.capture.checkpoints.checkpoint import refused
from filtertrack.capture.checkpoints.kernel_candidates import StateArray
from filtertrack.capture.checkpoints.state_checkpoint import StateFile
from filtertrack.capture.keras_kernels import AxisOrder
from filtertrack.errors import FiltertrackError, counted
from filtertrack.snapshot import stored_type

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"
_INDEX = ".index"
_ITERATIONS = {"_iterations", "iterations", "iter"}
_LAYER = "layer"  # Keras 2: "layer-1", "layer_with_weights-0"
_TRAINED = "_trainable_variables"
_RATES = {"_learning_rate", "learning_rate"}


class TensorflowFile(StateFile):
    """An open TensorFlow checkpoint: see ``StateFile``.

    Args:
        path: Its prefix: the path of its files without ``.index`` or ``.data-…``.

    Raises:
        FiltertrackError: If tensorflow is not installed, or the checkpoint is damaged.
    """

    containers = ("model", "module")  # attributes of a tf.train.Checkpoint

    def __init__(self, path: Path) -> None:
        self._path = path
        tensorflow = _tensorflow(path)
        try:
            self._reader = tensorflow.train.load_checkpoint(str(path))
            shapes = self._reader.get_variable_to_shape_map()
            types = self._reader.get_variable_to_dtype_map()
            variables, self.remarks = _variables(self._reader, shapes)
        except Exception as error:  # tensorflow raises many kinds
            raise refused(path, f"tensorflow cannot read it: {type(error).__name__}") from error
        self.in_order = _GRAPH in shapes
        known = {name: each for name, each in variables.items() if each.key in shapes}
        self._keys = {name: each.key for name, each in known.items()}
        self.arrays = {
            name: StateArray(
                tuple(map(int, shapes[each.key])), str(types[each.key].name), each.orders
            )
            for name, each in known.items()
        }
        self._largest = _size_of_data(path)

    def read(self, name: str) -> np.ndarray:
        """Read a variable: see ``StateFile``."""
        shape, dtype, _ = self.arrays[name]
        stored = stored_type(dtype)
        # TensorFlow takes the memory for a shape before it looks at the data.
        if math.prod(shape) > self._largest:
            raise refused(self._path, f"{name} of shape {shape} is larger than the checkpoint")
        try:
            return np.asarray(self._reader.get_tensor(self._keys[name])).astype(stored)
        except Exception as error:  # tensorflow raises many kinds
            raise refused(self._path, f"{name}: {type(error).__name__}") from error

    def close(self) -> None:
        """Release the reader, and with it the files."""
        self._reader = None


def _tensorflow(path: Path) -> Any:
    try:
        import tensorflow as tf  # noqa: PLC0415 - takes seconds
    except ImportError as error:
        raise FiltertrackError(
            f"{str(path)!r} can be read where tensorflow is installed: "
            f"pip install 'filtertrack[tensorflow]'"
        ) from error
    return tf


def _size_of_data(path: Path) -> int:
    """Return the bytes of the files that hold the values."""
    begin = f"{path.name}.data-"
    return sum(each.stat().st_size for each in path.parent.iterdir() if each.name.startswith(begin))


class _Variable(NamedTuple):
    """A variable in the checkpoint: its key there, and the orders of axes that are possible."""

    key: str
    orders: tuple[AxisOrder, ...]


_ANY_ORDER: tuple[AxisOrder, ...] = ("convolution", "transposed", "depthwise")


def _variables(
    reader: Any, shapes: Mapping[str, Any]
) -> tuple[dict[str, _Variable], tuple[str, ...]]:
    """Return the variables of the model by their names, such as ``conv1/kernel``, and remarks."""
    if _GRAPH not in shapes:
        return {name: _Variable(name, _ANY_ORDER) for name in shapes}, ()
    from tensorflow.core.protobuf import trackable_object_graph_pb2  # noqa: PLC0415 - as above

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_GRAPH))
    edges, apart = _edges(graph.nodes)
    kernels = [shapes[key] for key in apart if len(shapes.get(key, ())) > 2]
    remark = (
        f"left out: {counted(len(kernels), 'kernels')} of layers in lists, which Keras does not "
        f"store in a TensorFlow checkpoint other than as variables of the optimizer"
    )
    return _named(edges), (remark,) if kernels else ()


class _Edge(NamedTuple):
    """A variable as an attribute of an object in the graph of a checkpoint.

    Attributes:
        path: The path of attributes to the object.
        attribute: The object's attribute, such as ``_kernel``; a number in a list of variables.
        key: The variable's key in the checkpoint.
        name: The variable's own name, such as ``conv1/kernel``; empty if it has none.
        siblings: All attributes of the object.
    """

    path: tuple[str, ...]
    attribute: str
    key: str
    name: str
    siblings: frozenset[str]

    @property
    def owner(self) -> str:
        """The path in the variable's own name."""
        return self.name.rpartition("/")[0]

    @property
    def has_layer_name(self) -> bool:
        """Whether the variable's own name has that of its layer, which a model may leave out."""
        in_list = self.path[-1:] and (self.path[-1].isdecimal() or self.path[-1].startswith(_LAYER))
        return "/" in self.owner or bool(self.owner and (in_list or self.attribute.isdecimal()))


def _edges(nodes: Any) -> tuple[list[_Edge], list[str]]:
    """Return the variables below the root, each once, without those of optimizers.

    A variable that an optimizer holds as well may have its key below the optimizer: keys do not
    tell whether a variable is one of the model.

    Returns:
        The variables, and the keys of trained ones that only an optimizer holds.
    """
    edges: list[_Edge] = []
    trained: list[int] = []
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], int]] = [((), 0)]
    while waiting:
        path, number = waiting.pop()
        if number in seen or number >= len(nodes):
            continue
        seen.add(number)
        children = {
            c.local_name: c.node_id for c in nodes[number].children if c.node_id < len(nodes)
        }
        if nodes[number].slot_variables or (
            children.keys() & _ITERATIONS and children.keys() & _RATES
        ):
            if _TRAINED in children:
                trained += [child.node_id for child in nodes[children[_TRAINED]].children]
            continue
        for attribute, child in children.items():
            values = [each for each in nodes[child].attributes if each.name == _VALUE]
            if values and child not in seen:
                seen.add(child)
                key, name = values[0].checkpoint_key, values[0].full_name.partition(":")[0]
                edges.append(_Edge(path, attribute, key, name, frozenset(children)))
        waiting.extend(((*path, name), child) for name, child in reversed(children.items()))
    apart = [nodes[n].attributes for n in trained if n < len(nodes) and n not in seen]
    return edges, [each.checkpoint_key for found in apart for each in found if each.name == _VALUE]


def _named(edges: list[_Edge]) -> dict[str, _Variable]:
    """Name variables by the paths of their layers.

    The path is that in the variable's own name, unless that is only the model's name, or is the
    same for several layers, as in subclassed models; then it is the path of attributes. The name of
    the model, with which all paths may begin, is left out.
    """
    objects: dict[str, set[tuple[str, ...]]] = {}
    for edge in edges:
        if not edge.attribute.isdecimal():
            objects.setdefault(edge.owner, set()).add(edge.path)
    named = [edge.has_layer_name and len(objects.get(edge.owner, ())) <= 1 for edge in edges]
    paths = [
        edge.owner if own else _layer_path(edge) for edge, own in zip(edges, named, strict=True)
    ]
    roots = {
        kind: _shared_root([p for p, own in zip(paths, named, strict=True) if own == kind])
        for kind in (True, False)
    }
    new_keras = any(edge.attribute == "_kernel" for edge in edges)
    found: dict[str, _Variable] = {}
    for edge, own, path in zip(edges, named, paths, strict=True):
        # A list of variables numbers them.
        numbered = edge.attribute.isdecimal() and edge.name
        last = edge.name.rpartition("/")[2] if numbered else edge.attribute.lstrip("_")
        variable = _Variable(edge.key, _orders_of(edge, new_keras=new_keras))
        found.setdefault(f"{path.removeprefix(roots[own])}/{last}", variable)
    return found


def _shared_root(paths: list[str]) -> str:
    """Return the first part of all paths, with a slash; empty if they differ or have no other."""
    roots = {path.partition("/")[0] for path in paths if path}
    deep = all("/" in path for path in paths if path)
    return f"{roots.pop()}/" if len(roots) == 1 and deep else ""


def _layer_path(edge: _Edge) -> str:
    """Return the path of attributes to a layer, without those in which Keras keeps its layers."""
    path = edge.path[:-1] if edge.path[-1:] == ("cell",) else edge.path
    return "/".join(tuple(part for part in path if not part.startswith("_")) or path)


def _orders_of(edge: _Edge, *, new_keras: bool) -> tuple[AxisOrder, ...]:
    """Return the orders of axes that an attribute's name allows.

    In Keras 3 the attribute of a convolution and of a Dense layer is ``_kernel``; ``kernel`` is
    that of a transposed or depthwise convolution, or of a recurrent cell.
    """
    if edge.attribute == "_kernel":
        return ("convolution",)
    if new_keras and edge.attribute == "kernel" and "recurrent_kernel" not in edge.siblings:
        return ("transposed", "depthwise")
    return _ANY_ORDER
