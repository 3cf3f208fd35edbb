"""Measures of a layer's responses to the probes of a run, as columns of a table."""

import logging
import math
from collections.abc import Mapping

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError, listed
from filtertrack.response import LayerResponse, ProbedLayer, StoredProbes
from filtertrack.snapshot import Moment
from filtertrack.storage.run import Run, shorten

_log = logging.getLogger("filtertrack")

RESPONSE_COLUMNS = ("silent", "lifetime_sparsity", "class_selectivity", "preferred_class")
"""The measures of each filter."""


class ResponseReader:
    """Reads and measures what the filters of a run answered to; what cannot be read is NaN.

    Args:
        run: The run.

    Attributes:
        probes: The probes of the run; None if it has none, or their file is damaged.
        recorded: Whether the run has probes, readable or not.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._faults: dict[tuple[str, int], str] = {}
        self.probes: StoredProbes | None = None
        self.recorded = True
        try:
            self.probes = run.probes
            self.recorded = self.probes is not None
        except FiltertrackError as error:
            _log.warning("responses are not measured: %s", error)

    def columns(self, name: str, moment: Moment) -> Mapping[str, np.ndarray]:
        """Return the measures of a layer's filters at a snapshot: see ``response_columns``."""
        layer = self.probes.layers.get(name) if self.probes else None
        if self.probes is None or layer is None or not layer.rectified or not moment.probed:
            return _nothing(self._run.layer(name).filters)
        try:
            response = self._read(name, moment.step)
        except FiltertrackError as error:
            self._faults[name, moment.step] = str(error)
            return _nothing(self._run.layer(name).filters)
        return response_columns(response, layer, self.probes.labels)

    def _read(self, name: str, step: int) -> LayerResponse:
        response = self._run.probe_responses(name, step)
        if self._run.probes is not self.probes:
            raise FiltertrackError(f"the probes of {str(self._run.path)!r} were replaced meanwhile")
        return response

    def warn(self) -> None:
        """Log which responses could not be read, in one warning; nothing if all could."""
        if not self._faults:
            return
        names = listed(list(dict.fromkeys(name for name, _ in self._faults)))
        steps = shorten(sorted({step for _, step in self._faults}))
        first = next(iter(self._faults.values()))
        _log.warning("responses of %s are not measured at step %s: %s", names, steps, first)


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
