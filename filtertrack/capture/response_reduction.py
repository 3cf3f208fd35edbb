"""Reduces feature maps to what is stored of them: small maps, statistics, strongest places."""

import numpy as np

from filtertrack.response import PLACES, LayerResponse, ProbedLayer

_CHUNK = 1 << 21
"""Values that are reduced at once, at least those of one probe: temporary arrays are as large."""
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class ResponseReduction:
    """Collects the responses of one layer to all probes, in parts.

    A feature map with a value that is not finite has statistics of NaN and no strongest places.

    Args:
        layer: What is read of the layer.
        maps: Of how many probes maps are kept.
    """

    def __init__(self, layer: ProbedLayer, maps: int) -> None:
        self._layer = layer
        self._kept = maps
        self._count = 0
        self._maps: list[np.ndarray] = []
        self._statistics: list[np.ndarray] = []
        self._places: np.ndarray | None = None

    def add(self, outputs: np.ndarray) -> None:
        """Add the responses to the next probes.

        Args:
            outputs: Array of shape ``(probes, height, width, filters)``.
        """
        at_once = max(1, _CHUNK // max(1, outputs[:1].size))
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, len(outputs), at_once):
                part = outputs[start : start + at_once]
                self._add(np.ascontiguousarray(part, np.float32))

    def _add(self, outputs: np.ndarray) -> None:
        block = self._layer.block
        highest = _in_blocks(np.maximum, outputs, block)
        lowest = _in_blocks(np.minimum, outputs, block)
        statistics = _statistics(outputs, highest, lowest)
        self._statistics.append(statistics)
        missing = max(0, self._kept - self._count)
        if missing:
            high, low = highest[:missing], lowest[:missing]
            self._maps.append(
                high.copy() if highest is lowest else np.where(high >= -low, high, low)
            )
        finite = ~np.isnan(statistics[0])
        if not finite.all():
            highest = np.where(finite[:, np.newaxis, np.newaxis], highest, -np.inf)
        self._add_places(outputs, highest)
        self._count += len(outputs)

    def result(self) -> LayerResponse:
        """Return the responses to all probes."""
        statistics = np.concatenate(self._statistics, axis=1)
        maps = np.concatenate(self._maps)
        peaks = np.maximum(statistics[0], -statistics[1])[: self._kept, np.newaxis, np.newaxis]
        kind = np.int8 if (maps < 0).any() else np.uint8
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            scales = np.where(peaks > 0, np.iinfo(kind).max / peaks, 0)
            maps *= np.minimum(scales, np.finfo(np.float32).max)
            if np.isnan(peaks).any():
                maps[:] = np.where(np.isnan(peaks), 0, maps)
        if self._places is None:
            raise ValueError("no feature map was added")
        small = np.ascontiguousarray(np.moveaxis(np.rint(maps, out=maps).astype(kind), -1, 1))
        return LayerResponse(small, statistics, self._places)

    def _add_places(self, outputs: np.ndarray, highest: np.ndarray) -> None:
        """Add the strongest places among some probes.

        Args:
            outputs: The feature maps.
            highest: The highest value of each block of theirs.
        """
        filters = highest.shape[-1]
        least = _least_of_strongest(highest)
        if self._places is not None:
            least = np.fmax(least, self._places[:, -1, 3])
        if self._layer.rectified:
            least = np.maximum(least, np.finfo(np.float32).smallest_subnormal)
        where = np.flatnonzero(highest >= least)
        where = _peaks(highest, where[highest.ravel()[where] > -np.inf])
        values, owners = highest.ravel()[where], where % filters
        order = np.lexsort((-values, owners))  # stable: of equal values the first comes first
        starts = np.searchsorted(owners[order], np.arange(filters))
        ranks = np.arange(len(order)) - starts[owners[order]]
        order, ranks = order[ranks < PLACES], ranks[ranks < PLACES]
        probe, y, x, filter_ = chosen = np.unravel_index(where[order], highest.shape)
        if self._layer.block > 1:
            y, x = _inside(outputs, self._layer.block, chosen)
        places = np.full((filters, PLACES, 4), (-1, -1, -1, np.nan), np.float32)
        places[filter_, ranks] = np.stack([probe + self._count, y, x, values[order]], axis=-1)
        self._places = places if self._places is None else _best(self._places, places)


def _in_blocks(extreme: np.ufunc, outputs: np.ndarray, block: int) -> np.ndarray:
    """Return the highest or lowest value of each block: ``(probes, rows, columns, filters)``.

    Blocks at the lower and right border may be cut. With blocks of one value the result is the
    argument.
    """
    for axis in (1, 2) if block > 1 else ():
        every = [outputs[_along(axis, slice(start, None, block))] for start in range(block)]
        result = every[0].copy()
        for each in every[1:]:
            part = result[_along(axis, slice(each.shape[axis]))]
            extreme(part, each, out=part)
        outputs = result
    return outputs


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    """Return the index of a part along one axis."""
    return (*(slice(None),) * axis, part)


def _statistics(outputs: np.ndarray, highest: np.ndarray, lowest: np.ndarray) -> np.ndarray:
    """Return the highest, lowest and mean values: ``(3, probes, filters)``."""
    _, height, width, _ = outputs.shape
    # One axis after the other: numpy is fastest over the first one, and the error of the mean in
    # float32 does not grow with the whole map.
    high, low = highest.max(axis=1).max(axis=1), lowest.min(axis=1).min(axis=1)
    mean = outputs.sum(axis=1).sum(axis=1, dtype=np.float64) / (height * width)
    statistics = np.stack([high, low, mean.astype(np.float32)])
    statistics[:, ~(np.isfinite(high) & np.isfinite(low))] = np.nan
    return statistics


def _least_of_strongest(values: np.ndarray) -> np.ndarray:
    """Return a lower bound of the ninth strongest peak of each filter, from few of its peaks.

    The highest value of a column is a peak if the columns beside it have only lower ones.

    Args:
        values: Array of shape ``(probes, rows, columns, filters)``.

    Returns:
        Array of shape ``(filters,)``; minus infinity where fewer than nine peaks are found.
    """
    columns = values.max(axis=1)
    is_peak = np.ones(columns.shape, bool)
    is_peak[:, 1:] &= columns[:, 1:] > columns[:, :-1]
    is_peak[:, :-1] &= columns[:, :-1] > columns[:, 1:]
    peaks = np.where(is_peak, columns, -np.inf).reshape(-1, values.shape[-1])
    if len(peaks) < PLACES:
        return np.full(values.shape[-1], -np.inf, np.float32)
    least: np.ndarray = np.partition(np.ascontiguousarray(peaks.T), -PLACES, axis=1)[:, -PLACES]
    return least


def _peaks(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return which of some values have no stronger neighbour in height and width.

    Of equal neighbours only the first one counts.

    Args:
        values: Array of shape ``(probes, rows, columns, filters)``.
        where: Indices into its flat values.
    """
    _, rows, columns, filters = values.shape
    flat = values.ravel()
    places = where // filters
    y, x = places // columns % rows, places % columns
    for down, across in _NEIGHBOURS:
        inside = (y != (0 if down < 0 else rows - 1)) if down else np.True_
        if across:
            inside = inside & (x != (0 if across < 0 else columns - 1))
        shift = (down * columns + across) * filters
        neighbours = flat[np.where(inside, where + shift, where)]
        own = flat[where]
        stronger = neighbours >= own if shift < 0 else neighbours > own
        kept = ~(stronger & inside)
        where, y, x = where[kept], y[kept], x[kept]
    return where


def _inside(
    outputs: np.ndarray, block: int, blocks: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the highest values of some blocks.

    Args:
        outputs: The feature maps.
        block: The side of a block.
        blocks: Probe, row, column and filter of each block.
    """
    probe, y, x, filter_ = (each[:, np.newaxis, np.newaxis] for each in blocks)
    _, height, width, _ = outputs.shape
    offsets = np.arange(block)
    # At a border the last row or column is repeated, which comes after the first of equal values.
    rows = np.minimum(y * block + offsets[:, np.newaxis], height - 1)
    columns = np.minimum(x * block + offsets, width - 1)
    values = outputs[probe, rows, columns, filter_]
    inner = values.reshape(len(probe), block * block).argmax(axis=1)
    return blocks[1] * block + inner // block, blocks[2] * block + inner % block


def _best(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the strongest of the places of each filter in two arrays, strongest first."""
    places = np.concatenate([first, second], axis=1)
    order = np.argsort(-places[:, :, 3], axis=1, kind="stable")[:, :PLACES]  # NaN is last
    best: np.ndarray = np.take_along_axis(places, order[:, :, np.newaxis], axis=1)
    return best
