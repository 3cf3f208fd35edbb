"""Measures of a layer's responses to the probes of a run, as columns of a table."""

import logging
import math
from collections.abc import Mapping

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError
from filtertrack.outputs.run_selection import DamagedSnapshotError
from filtertrack.response import LayerResponse, ProbedLayer, StoredProbes
from filtertrack.snapshot import Moment
from filtertrack.storage.run import Run

_log = logging.getLogger("filtertrack")

RESPONSE_COLUMNS = ("silent", "lifetime_sparsity", "class_selectivity", "preferred_class")
"""The measures of each filter."""


def readable_probes(run: Run) -> StoredProbes | None:
    """Return the probes of a run; None, with a warning in the log, if they cannot be read."""
    try:
        return run.probes
    except FiltertrackError as error:
        _log.warning("responses are not measured: %s", error)
        return None


def read_response_columns(
    run: Run, probes: StoredProbes, name: str, moment: Moment
) -> Mapping[str, np.ndarray]:
    """Read the responses of a layer at a snapshot, and measure them: see ``response_columns``.

    Raises:
        DamagedSnapshotError: If they cannot be read.
    """
    layer = probes.layers.get(name)
    if layer is None or not layer.rectified or not moment.probed:
        return _nothing(run.layer(name).filters)
    try:
        response = run.probe_responses(name, moment.step)
    except FiltertrackError as error:
        raise DamagedSnapshotError(error, moment.step) from error
    return response_columns(response, layer, probes.labels)


def response_columns(
    response: LayerResponse, layer: ProbedLayer, labels: np.ndarray | None
) -> Mapping[str, np.ndarray]:
    """Measure what each filter of a layer answered to.

    Args:
        response: The responses to all probes.
        layer: What was read of the layer.
        labels: The class of each probe, or None.

    Returns:
        Arrays of shape ``(filters,)`` by the names of ``RESPONSE_COLUMNS``; all NaN for a layer
        whose responses may be negative.
    """
    if not layer.rectified:
        return _nothing(response.statistics.shape[-1])
    columns = {
        **_nothing(response.statistics.shape[-1]),
        "silent": measures.silent(response.highest),
        "lifetime_sparsity": measures.lifetime_sparsity(response.mean),
    }
    if labels is not None:
        selectivity = measures.class_selectivity(response.mean, labels)
        columns |= {
            "class_selectivity": selectivity.selectivity,
            "preferred_class": selectivity.preferred,
        }
    return columns


def response_means(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the share of silent filters of a layer, and the means of the other measures.

    Each is over the filters for which it is defined; NaN if there are none.

    Args:
        columns: As ``response_columns`` returns them.
    """
    return {
        "silent_share": measures.finite_mean(columns["silent"]),
        "lifetime_sparsity": measures.finite_mean(columns["lifetime_sparsity"]),
        "class_selectivity": measures.finite_mean(columns["class_selectivity"]),
    }


def _nothing(filters: int) -> dict[str, np.ndarray]:
    return {name: np.full(filters, math.nan) for name in RESPONSE_COLUMNS}
