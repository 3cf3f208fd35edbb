"""Choose what a picture shows of its layers: the filters, what training has added, or both."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from filtertrack.measures import drift
from filtertrack.outputs.run_selection import RunSelection, read_kernels, read_start
from filtertrack.render.look import DIVERGING, GREY, Look
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.run import Run

_SMALL_KERNEL = 25
"""Pixels of a kernel, below which edges and blobs are hard to see in the weights alone."""
_STRONG_START = 0.5
"""Cosine of a filter with its start, from which on a quarter of its sum of squares is its start."""


def parts_of(selection: RunSelection, look: Look) -> tuple[Look, ...]:
    """Return the look of each part of a picture: of the filters, of what was learned, or of both.

    Both are shown by default where the filters alone hardly tell what training did: where a kernel
    has fewer than 25 pixels, or where the start is still strong in the weights of half of the
    filters. The filters then have one scale over the whole run, as the difference has.

    Args:
        selection: The layers and steps; the first and the last snapshot may be read.
        look: The look that was asked for.

    Returns:
        One or two looks in which ``delta``, ``scale`` and ``colormap`` are chosen.

    Raises:
        DamagedSnapshotError: If a kernel cannot be read.

    Example:
        >>> from filtertrack.outputs.run_selection import select_from_run
        >>> selection = select_from_run("tests/golden/run-v1", layers="conv1")
        >>> [part.delta for part in parts_of(selection, Look())]
        [False, True]
    """
    if look.delta is not None:
        return (part_of(look),)
    pairs = [(run, name) for name in selection.layers for run in selection.runs]
    if not any(_needs_difference(run, name, selection.steps) for run, name in pairs):
        return (part_of(look),)
    scale = look.scale or "filter"
    return tuple(part_of(replace(look, delta=delta, scale=scale)) for delta in (False, True))


def part_of(look: Look) -> Look:
    """Return the look of a picture with one part: the difference if ``delta`` is true."""
    delta = bool(look.delta)
    scale = look.scale or ("filter" if delta else "frame")
    colormap = look.colormap or (DIVERGING if delta else GREY)
    return replace(look, delta=delta, scale=scale, colormap=colormap)


def is_small(info: LayerInfo) -> bool:
    """Return whether a layer's kernels are too small to tell what training did to them."""
    _, height, width, _ = info.shape
    return height * (width // info.slices) < _SMALL_KERNEL


def _needs_difference(run: Run, name: str, steps: Sequence[int]) -> bool:
    if steps[-1] == run.steps[0]:  # the start alone has no difference from itself
        return False
    if is_small(run.layer(name)):
        return True
    step, start = read_start(run, name)
    return step != steps[-1] and start_is_strong(start, read_kernels(run, name, steps[-1]))


def start_is_strong(start: np.ndarray, end: np.ndarray) -> bool:
    """Return whether the start is still strong in the weights of half of the filters.

    Args:
        start: The filters at the first snapshot: ``(filters, height, width, channels)``.
        end: The filters at the last one.
    """
    cosines = 1 - drift(end, start)
    known = cosines[np.isfinite(cosines)]
    return bool(len(known)) and float(np.median(np.abs(known))) >= _STRONG_START
