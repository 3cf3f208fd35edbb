"""What the tab asks of a run, answered: its layers, snapshots, cells, measures and animations."""

import math
from typing import Any

import numpy as np

from filtertrack import measures
from filtertrack.errors import FiltertrackError
from filtertrack.outputs.run_selection import default_layer
from filtertrack.render.cells import explain, to_channels, view_of
from filtertrack.render.filter_order import ORDERS, Order, arrange
from filtertrack.render.palette import NOT_FINITE_RGB, THEMES, colormap_levels
from filtertrack.snapshot import LayerInfo, total_bytes
from filtertrack.storage.run import Run
from filtertrack.web.payload import MOST_ACROSS, is_cut, page_of, readable

_MOST_READ = 256 << 20
"""Bytes that are read to measure one filter over training, at most."""
_MOST_MEASURED = 500
_FEWEST_MEASURED = 8

COLORMAPS = ("gray", "viridis", "cividis", "magma", "RdBu_r", "PuOr_r")
"""Those the tab offers, for the colour-blind, too; the last two for zero-centred scales."""


def page_settings() -> dict[str, Any]:
    """Return what the page has to know of how things are drawn."""
    return {
        "notFinite": NOT_FINITE_RGB,
        "separators": {name: theme.separator for name, theme in THEMES.items()},
        "orders": ORDERS,
        "colormaps": COLORMAPS,
    }


def colours(name: str) -> bytes:
    """Return a colormap's colours, dark to light: three bytes each."""
    if name not in COLORMAPS:
        raise FiltertrackError(f"colormap: expected one of {', '.join(COLORMAPS)}, got {name!r}")
    return colormap_levels(name).tobytes()


def describe_run(run: Run) -> dict[str, Any]:
    """Return a run's layers: shapes, how they are looked at, how many filters make a page.

    And ``default_layer``: the name of the one that is worth showing first.
    """
    layers = [_describe_layer(info) for info in run.layers.values()]
    return {"layers": layers, "default_layer": default_layer(run)}


def _describe_layer(info: LayerInfo) -> dict[str, Any]:
    view = view_of(info)
    return {
        "name": info.name,
        "class": info.class_name,
        "kernel": info.kernel_shape,
        "shape": info.shape,
        "kind": view.kind,
        "slices": view.slices,
        "page": page_of(info),
        "cutChannels": MOST_ACROSS if is_cut(info, view) else None,
        "about": explain(info),
    }


def describe_steps(run: Run, known: str = "") -> dict[str, Any]:
    """Return a run's steps, and for each a number that changes when its file is replaced.

    Args:
        run: The run.
        known: The ``version`` of what is known already; where that is still so, only it is
            returned.
    """
    version = run.version()
    if version == known:
        return {"version": version}
    stamps = run.stamps()
    return {
        "version": version,
        "made": run.made(),
        "steps": list(stamps),
        "stamps": list(stamps.values()),
    }


def order(run: Run, info: LayerInfo, way: str) -> dict[str, Any]:
    """Return the filters' numbers in an order: by what they are at the last snapshot."""
    known: dict[str, Order] = {name: name for name in ORDERS}
    if way not in known:
        raise FiltertrackError(f"order: expected one of {', '.join(known)}, got {way!r}")
    view = view_of(info)
    steps = run.steps
    start = to_channels(view, readable(run, info, steps))
    end = to_channels(view, readable(run, info, steps[::-1]))
    return {"numbers": arrange(known[way], start, end, rgb=view.coloured).tolist()}


def trajectory(run: Run, info: LayerInfo, number: int) -> dict[str, Any]:
    """Return one filter's norm, drift and roughness over training, at evenly spaced snapshots."""
    view = view_of(info)
    steps = run.steps
    one = slice(number, number + 1)
    start = to_channels(view, readable(run, info, steps)[one])
    size = total_bytes([info])
    most = min(_MOST_MEASURED, max(_FEWEST_MEASURED, _MOST_READ // max(size, 1)))
    places = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    rows = []
    for step in (steps[place] for place in places):
        try:
            now = to_channels(view, run.kernels(info.name, step)[one])
        except FiltertrackError:
            continue
        values = (measures.norm(now), measures.drift(now, start), measures.roughness(now))
        rows.append((step, *(_number(float(value[0])) for value in values)))
    names = ("steps", "norm", "drift", "roughness")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def label_of_filter(run: Run, info: LayerInfo, number: int, step: int) -> dict[str, Any]:
    """Return what one filter is at a step, and the evidence."""
    view = view_of(info)
    kernels = to_channels(view, run.kernels(info.name, step)[number : number + 1])
    found = measures.label(kernels, rgb=view.coloured)
    return {
        "label": str(found.names[0]),
        "roughness": _number(float(found.structure.ratio[0])),
        "chance": _number(float(found.structure.p_value[0])),
        "gabor": _number(float(found.fits.gabor.r2[0])),
        "blob": _number(float(found.fits.blob.r2[0])),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
