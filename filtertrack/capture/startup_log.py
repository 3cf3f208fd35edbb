"""Logs, before the first batch, the tracked layers, the size of the run, and how to view it."""

import logging
import shlex
from collections.abc import Sequence

from filtertrack.errors import counted, listed, size_text
from filtertrack.snapshot import LayerInfo, total_bytes
from filtertrack.storage.paths import StoragePath
from filtertrack.tensorboard_plugin.summaries import event_bytes

_log = logging.getLogger("filtertrack")
_LARGE = 10**9
"""Bytes of a whole run above which a warning suggests ways to reduce them."""


def announce(
    folder: StoragePath,
    layers: Sequence[LayerInfo],
    remarks: Sequence[str],
    planned: int | None,
) -> None:
    """Log the tracked layers, remarks on them, the expected size, and how to view the run.

    Args:
        folder: The run's folder.
        layers: The tracked layers.
        remarks: Sentences about the choice of layers.
        planned: The approximate number of snapshots; None if it is unknown.
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
    if planned and size * planned > _LARGE:
        _log.warning(
            "this run will take about %s: track fewer layers (layers='first', or names) or "
            "take fewer snapshots (schedule=N: every N batches)",
            size_text(size * planned),
        )
    _log.info(
        "watch: filtertrack view %s (or tensorboard --logdir %s: the tab Filters)", path, path
    )


def _show_log() -> None:
    """Print this package's messages if the program has configured no logging."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("filtertrack: %(message)s"))
        # Handlers that the program configures later print these messages as well.
        handler.addFilter(lambda _: not logging.getLogger().handlers)
        _log.addHandler(handler)
        if _log.level == logging.NOTSET:  # otherwise the user has set it
            _log.setLevel(logging.INFO)
