"""Logs, before the first batch, the tracked layers, the size of the run, and how to view it."""

import logging
import math
import shlex
from collections.abc import Sequence

from filtertrack.errors import command_or_call, counted, listed, show_log, size_text
from filtertrack.response import PLACES, StoredProbes
from filtertrack.snapshot import LayerInfo, total_bytes
from filtertrack.storage.paths import StoragePath

_log = logging.getLogger("filtertrack")
_LARGE = 10**9
"""Bytes of a whole run above which a warning suggests ways to reduce them."""


def announce(
    folder: StoragePath,
    layers: Sequence[LayerInfo],
    remarks: Sequence[str],
    planned: int | None,
    probes: StoredProbes | None = None,
    *,
    events: int = 0,
    live: bool = False,
) -> None:
    """Log the tracked layers, remarks on them, the expected size, and how to view the run.

    Args:
        folder: The run's folder.
        layers: The tracked layers.
        remarks: Sentences about the choice of layers.
        planned: The approximate number of snapshots; None if it is unknown.
        probes: The probes that are shown to the model at each snapshot, or None.
        events: About how many bytes TensorBoard's events of a snapshot take.
        live: Whether a picture in a notebook follows training.
    """
    show_log()
    responses = response_bytes(layers, probes) if probes else 0
    size = total_bytes(layers) + events + responses
    path = shlex.quote(str(folder))
    number = planned and counted(planned, "snapshots")
    whole = f"; about {number}: {size_text(size * planned)}" if planned else ""
    names = [info.name for info in layers]
    cost = f"{counted(len(names), 'kernels')}, {size_text(size)} a snapshot with pictures{whole}"
    _log.info("tracking %s in %s (%s)", listed(names), path, cost)
    if probes:
        _log.info("%s, %s a snapshot", _described(probes), size_text(responses))
    for remark in remarks:
        _log.info("%s", remark)
    if planned and size * planned > _LARGE:
        _log.warning(
            "this run will take about %s: track fewer layers (layers='first', or names) or "
            "take fewer snapshots (schedule=N: every N batches)",
            size_text(size * planned),
        )
    call = f"filtertrack.view({str(folder)!r}) in a cell before this one"
    how = command_or_call(
        f"filtertrack view {path} (or tensorboard --logdir {path}: the tab Filters)",
        call if live else f"live=True, or {call}",
    )
    _log.info("watch: %s", how)


def response_bytes(layers: Sequence[LayerInfo], probes: StoredProbes) -> int:
    """Return the size of the responses of one snapshot in bytes.

    Args:
        layers: The layers of the run.
        probes: The probes, with what is read of each layer.
    """
    sizes = 0
    for info in layers:
        layer = probes.layers.get(info.name)
        if layer is not None:
            values = probes.maps * math.prod(layer.map_shape) + 4 * (3 * probes.count + 4 * PLACES)
            sizes += info.filters * values
    return sizes


def _described(probes: StoredProbes) -> str:
    """Describe the probes, and the maps that are kept of their responses."""
    layers = probes.layers.values()
    height, width = (max(each.map_shape[axis] for each in layers) for axis in (0, 1))
    shrunk = ", shrunk by largest magnitude" if any(each.block > 1 for each in layers) else ""
    of = f" of the first {probes.maps}" if probes.maps < probes.count else ""
    return (
        f"{counted(probes.count, 'probes')}: responses of {counted(len(layers), 'layers')}, maps"
        f"{of} up to {height}x{width}{shrunk}"
    )
