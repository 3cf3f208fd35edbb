"""The story of one filter: its own measures over the run, as metrics beside those of training."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError
from filtertrack.outputs.run_selection import RunSelection, read_kernels, read_start
from filtertrack.render.cells import to_channels, view_of
from filtertrack.render.look import Look


def check_single(selection: RunSelection, look: Look) -> None:
    """Check that one filter of one layer of one run is drawn.

    Raises:
        FiltertrackError: If there are several, or the layer is drawn as one matrix.
    """
    if len(selection.layers) > 1 or len(selection.runs) > 1:
        raise FiltertrackError("big: expected one layer of one run; choose it with layers")
    info = selection.runs[0].layer(selection.layers[0])
    if view_of(info).kind == "matrix":
        raise FiltertrackError("big: a 1x1 kernel is drawn as one matrix, not filter by filter")
    chosen = cast("tuple[range, ...] | None", look.filters)
    drawn = info.filters if chosen is None else sum(map(len, chosen))
    if drawn != 1:
        raise FiltertrackError(
            f"big: expected one filter, got {drawn}; choose it with filters, such as filters=[5]"
        )


def story_of(selection: RunSelection, number: int) -> list[Mapping[str, float]]:
    """Return the drift from the run's start and the roughness of one filter at each step.

    Args:
        selection: One layer of one run.
        number: The number of the filter.

    Returns:
        For each step the measures by name; those that are not finite are left out.

    Raises:
        DamagedSnapshotError: If a kernel cannot be read.
    """
    (run,), (layer,) = selection.runs, selection.layers
    view, one = view_of(run.layer(layer)), slice(number, number + 1)
    start = to_channels(view, read_start(run, layer)[1][one])
    kernels = (to_channels(view, read_kernels(run, layer, step)[one]) for step in selection.steps)
    return [_measured(kernel, start) for kernel in kernels]


def _measured(kernel: np.ndarray, start: np.ndarray) -> dict[str, float]:
    values = {
        "its drift": float(measures.drift(kernel, start)[0]),
        "its roughness": float(measures.roughness(kernel)[0]),
    }
    return {name: value for name, value in values.items() if np.isfinite(value)}
