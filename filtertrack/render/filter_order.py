"""Orders of filters in a picture: by similarity, orientation, drift or label."""

import math
from collections.abc import Callable

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.measures import LABELS, drift, label, norm, orientation, similarity
from filtertrack.measures.vectors import blocks, flat, unit
from filtertrack.render.look import MOST_FILTERS, Order

_MOST_COSINES = 4096
"""Filters whose cosines are all kept in memory, at most."""
_MOST_PRODUCTS = 10**11
"""Multiplications to order filters by similarity, at most: about a minute."""


def arrange(order: Order, start: np.ndarray, end: np.ndarray, *, rgb: bool = True) -> np.ndarray:
    """Order filters by one of their properties.

    Args:
        order: ``"stored"``: as in the kernel. ``"similarity"``: each filter is followed by the most
            similar one that is left, starting with the longest. ``"orientation"``: by the
            direction of the edges, from horizontal over rising to vertical and falling; filters
            without a direction last. ``"drift"``: the largest drift first. ``"label"``: edges,
            blobs, colour blobs, fine gratings, other structure, then the rest; edges by their
            direction, the others by similarity.
        start: The filters at the first snapshot: ``(filters, height, width, channels)``.
        end: The filters at the last one.
        rgb: Whether three channels are red, green and blue.

    Returns:
        The filters' numbers in that order: ``int`` array of shape ``(filters,)``.

    Raises:
        FiltertrackError: If there are so many filters that it would take minutes or gigabytes.

    Example:
        >>> start = np.array([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
        >>> end = np.array([[[[1.0, 0.1]]], [[[0.1, 1.0]]]])
        >>> arrange("drift", start, end).tolist()
        [1, 0]
    """
    if len(end) > MOST_FILTERS:
        raise FiltertrackError(
            f"order: expected at most {MOST_FILTERS} filters, got {len(end)}; choose some of them"
        )
    orders: dict[Order, Callable[[], np.ndarray]] = {
        "stored": lambda: np.arange(len(end)),
        "similarity": lambda: _chain(end),
        "orientation": lambda: np.argsort(orientation(end).degrees, kind="stable"),
        "label": lambda: _by_label(end, rgb=rgb),
        "drift": lambda: np.argsort(-drift(end, start), kind="stable"),
    }
    return orders[order]()


def _by_label(kernels: np.ndarray, *, rgb: bool) -> np.ndarray:
    """Return filters grouped by label, in the order of ``LABELS``."""
    names = label(kernels, rgb=rgb).names
    groups = []
    for name in LABELS:
        members = np.flatnonzero(names == name)
        inside = kernels[members]
        within = np.argsort(orientation(inside).degrees) if name == "edge" else _chain(inside)
        groups.append(members[within])
    return np.concatenate(groups)


def _chain(kernels: np.ndarray) -> np.ndarray:
    """Start with the longest filter, and follow each with the most similar one that is left."""
    cosines = _cosines(kernels)
    left = np.ones(len(kernels), bool)
    current = int(np.nan_to_num(norm(kernels), posinf=0.0).argmax()) if len(kernels) else 0
    chain = []
    for _ in kernels:
        chain.append(current)
        left[current] = False
        current = int(np.where(left, cosines(current), -np.inf).argmax())
    return np.array(chain, np.intp)


def _cosines(kernels: np.ndarray) -> Callable[[int], np.ndarray]:
    """Return a function from a filter's number to its cosines with all filters.

    For moderate numbers of filters it looks them up in a table, for large ones it computes them.
    """
    count, weights = len(kernels), math.prod(kernels.shape[1:])
    if count <= _MOST_COSINES:
        return similarity(kernels).__getitem__
    if count * count * weights > _MOST_PRODUCTS:
        raise FiltertrackError(
            f"order: to compare {count} filters of {weights} weights each would take minutes; "
            f"choose another order than similarity and label, or some of the filters"
        )
    rows = np.empty((count, weights), np.float32)
    for part in blocks(kernels):
        rows[part] = np.nan_to_num(unit(flat(kernels[part])))
    return lambda number: rows @ rows[number]
