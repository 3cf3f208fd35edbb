"""Match the filters of two runs: each filter of one with the most similar one of the other."""

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.measures.vectors import flat, unit
from filtertrack.outputs.layer_cells import LayerCells

_MOST_MATCHED = 4096
"""Filters of a layer that are matched, at most: the cosines of 4096 with 4096 take 128 MB."""


def match_filters(first: LayerCells, second: LayerCells) -> np.ndarray:
    """Pair the filters of two runs so that the sum of the pairs' cosines is the largest possible.

    What is compared is what is drawn at the last snapshot, such as strongest patterns: the channels
    of a deep layer have another order in each run.

    Args:
        first: The filters of the first run, in the order drawn.
        second: All filters of the second run, as they are stored.

    Returns:
        For each filter of the first run the number of its partner: ``int`` array of shape
        ``(filters,)``.

    Raises:
        FiltertrackError: If scipy is not installed, or the layer is one matrix or too large.
        DamagedSnapshotError: If a kernel cannot be read.
    """
    try:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise FiltertrackError(
            "match: pairing filters needs scipy: pip install 'filtertrack[match]'"
        ) from error
    if first.view.kind == "matrix":
        raise FiltertrackError("match: a 1x1 kernel is drawn as one matrix; leave it out")
    if second.info.filters > _MOST_MATCHED:
        raise FiltertrackError(
            f"match: expected at most {_MOST_MATCHED} filters, got {second.info.filters}"
        )
    ours, theirs = (
        np.nan_to_num(unit(_per_filter(layer.last_cells(), layer.view.cells_per_filter)))
        for layer in (first, second)
    )
    rows, partners = linear_sum_assignment(-(ours @ theirs.T))
    return np.asarray(partners[np.argsort(rows)])


def _per_filter(cells: np.ndarray, together: int) -> np.ndarray:
    """Return the values of each filter's cells in a row: ``(filters, values)``."""
    rows = flat(cells).astype(np.float64)
    return rows.reshape(len(rows) // together, rows.shape[1] * together)
