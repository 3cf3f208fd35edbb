"""What is logged before the first batch: the tracked layers, their cost, and where to watch."""

import logging
import shlex
from collections.abc import Sequence

from filtertrack.errors import counted, listed
from filtertrack.snapshot import LayerInfo, total_bytes
from filtertrack.storage.memory_limit import size_text
from filtertrack.storage.paths import StoragePath
from filtertrack.tensorboard_plugin.summaries import event_bytes

_log = logging.getLogger("filtertrack")
_MUCH = 10**9
"""Bytes of a whole run from which on a warning names ways to take less."""


def announce(
    folder: StoragePath,
    layers: Sequence[LayerInfo],
    remarks: Sequence[str],
    planned: int | None,
) -> None:
    """Say what is tracked and what is not, what it will cost, and where to watch.

    Args:
        folder: The run's folder.
        layers: What each snapshot holds.
        remarks: What the user should know about the choice of layers, a sentence each.
        planned: About how many snapshots there will be; None where that is not known.
    """
    _show_log()
    size, path = total_bytes(layers) + event_bytes(layers), shlex.quote(str(folder))
    number = planned and counted(planned, "snapshots")
    whole = f"; about {number}: {size_text(size * planned)}" if planned else ""
    names = [info.name for info in layers]
    cost = f"{counted(len(names), 'kernels')}, {size_text(size)} a snapshot with pictures{whole}"
    _log.info("tracking %s in %s (%s)", listed(names), path, cost)
    for remark in remarks:
        _log.info("%s", remark)
    if planned and size * planned > _MUCH:
        _log.warning(
            "this run will take about %s: track fewer layers (layers='first', or names) or "
            "take fewer snapshots (schedule=N: every N batches)",
            size_text(size * planned),
        )
    _log.info(
        "watch: filtertrack view %s (or tensorboard --logdir %s: the tab Filters)", path, path
    )


def _show_log() -> None:
    """Show this package's messages where the program has set up no logging of its own."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("filtertrack: %(message)s"))
        # A handler that the program sets up later shows these messages as well.
        handler.addFilter(lambda _: not logging.getLogger().handlers)
        _log.addHandler(handler)
        if _log.level == logging.NOTSET:  # else it is what the user has set
            _log.setLevel(logging.INFO)
