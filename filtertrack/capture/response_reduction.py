"""Reduces feature maps to what is stored of them: small maps, statistics, strongest places."""

from collections.abc import Sequence

import numpy as np

from filtertrack.response import PLACES, LayerResponse, ProbedLayer


class ResponseReduction:
    """Collects the responses of one layer to all probes, in parts.

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
        self._places: list[np.ndarray] = []

    def add(self, outputs: np.ndarray) -> None:
        """Add the responses to the next probes.

        Args:
            outputs: Array of shape ``(probes, height, width, filters)``.
        """
        outputs = outputs.astype(np.float32, copy=False)
        blocks = _blocks(outputs, self._layer.block, self._layer.map_shape)
        highest, lowest = blocks.max(axis=(2, 4)), blocks.min(axis=(2, 4))
        self._statistics.append(
            np.stack([highest.max((1, 2)), lowest.min((1, 2)), outputs.mean((1, 2))])
        )
        self._places.append(self._strongest(outputs, highest))
        missing = max(0, self._kept - self._count)
        strongest = np.where(highest >= -lowest, highest, lowest)[:missing]
        self._maps.append(np.moveaxis(strongest, -1, 1))
        self._count += len(outputs)

    def result(self) -> LayerResponse:
        """Return the responses to all probes."""
        statistics = np.concatenate(self._statistics, axis=1)
        peaks = np.maximum(statistics[0], -statistics[1])[: self._kept, :, np.newaxis, np.newaxis]
        maps = np.concatenate(self._maps)
        kind = np.int8 if (maps < 0).any() else np.uint8
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = np.nan_to_num(maps / peaks) * np.iinfo(kind).max
        return LayerResponse(
            np.rint(shares).astype(kind), statistics, _best(np.concatenate(self._places, axis=1))
        )

    def _strongest(self, outputs: np.ndarray, highest: np.ndarray) -> np.ndarray:
        """Return the strongest places of each filter: ``(filters, 9, 4)``."""
        count, height, width, filters = highest.shape
        values = np.moveaxis(highest, -1, 0).reshape(filters, -1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :PLACES]
        probe, down, across = np.unravel_index(order, (count, height, width))
        block = self._layer.block
        places = np.full((filters, PLACES, 4), (-1, -1, -1, np.nan), np.float32)
        for number in range(filters):
            for rank, (n, y, x) in enumerate(
                zip(probe[number], down[number], across[number], strict=True)
            ):
                part = outputs[n, y * block : (y + 1) * block, x * block : (x + 1) * block, number]
                inner = np.unravel_index(part.argmax(), part.shape)
                if self._layer.rectified and not part[inner] > 0:
                    continue
                places[number, rank] = (
                    self._count + n,
                    y * block + inner[0],
                    x * block + inner[1],
                    part[inner],
                )
        return places


def _blocks(outputs: np.ndarray, block: int, shape: Sequence[int]) -> np.ndarray:
    """Return outputs in blocks: ``(probes, rows, block, columns, block, filters)``."""
    count, height, width, filters = outputs.shape
    rows, columns = shape
    more = (0, rows * block - height), (0, columns * block - width)
    if any(after for _, after in more):
        outputs = np.pad(outputs, [(0, 0), *more, (0, 0)], mode="edge")
    return outputs.reshape(count, rows, block, columns, block, filters)


def _best(places: np.ndarray) -> np.ndarray:
    """Return the strongest of several places of each filter, strongest first."""
    order = np.argsort(-places[:, :, 3], axis=1, kind="stable")[:, :PLACES]
    best: np.ndarray = np.take_along_axis(places, order[:, :, np.newaxis], axis=1)
    return best
