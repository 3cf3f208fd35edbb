"""Estimates of file sizes: snapshots, disk blocks and event files, from layer shapes."""

import math
from collections.abc import Iterable
from pathlib import Path

from filtertrack.render.cells import view_of
from filtertrack.snapshot import LayerInfo
from filtertrack.tensorboard_plugin.filter_summaries import default_image_layers

_BLOCK = 4096
"""Bytes of a block of the file system."""
_ARRAY_OVERHEAD, _SNAPSHOT_OVERHEAD = 360, 760
"""Bytes beside the values: names, headers and checksums of ``.npz``; the moment, in UTF-32."""
_LAYER_EVENTS = 900
"""Bytes of a layer's events without pictures: three scalars, and descriptions."""
_PICTURE = 2000
"""Bytes of a picture beside its values: the description, the palette and the scale bar."""
_VALUE_BYTES = {"matrix": 1.4, "colour": 2.0}
_CELL_VALUE = 4.5
"""PNG bytes of a value of noise in the picture of a matrix, in a cell in colour and in others."""


def file_bytes(layers: Iterable[LayerInfo]) -> int:
    """Estimate the bytes of a snapshot file of float32 kernels without biases.

    Args:
        layers: The layers in the file.
    """
    values = sum(4 * math.prod(info.kernel_shape) + _ARRAY_OVERHEAD for info in layers)
    return _SNAPSHOT_OVERHEAD + values


def disk_bytes(length: int) -> int:
    """Return the disk space of a file of ``length`` bytes: whole blocks."""
    return -(-length // _BLOCK) * _BLOCK


def event_bytes(layers: Iterable[LayerInfo]) -> float:
    """Estimate an upper bound on the bytes of one snapshot's events.

    Args:
        layers: The layers, of which the default ones have images.
    """
    given = list(layers)
    total, drawn = _LAYER_EVENTS * float(len(given)), default_image_layers(given)
    for view in (view_of(info, curves=False) for info in given if info.name in drawn):
        values = view.count * view.height * view.width * (3 if view.coloured else 1)
        picture = values * _VALUE_BYTES.get(view.kind, _CELL_VALUE) + _PICTURE
        total += picture * (1 if view.kind == "matrix" else 2)
    return total


def bytes_below(folder: Path, pattern: str = "*") -> int:
    """Return the bytes of all files below a folder whose names match a glob."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())
