"""Checksums of past weights, to detect unchanged, changed and restored weights."""

from collections.abc import Mapping

import numpy as np

from filtertrack.snapshot import Moment
from filtertrack.storage.run_format import checksums

_MOST = 10_000
"""How many weights are remembered; then the oldest are forgotten."""


class WeightChecksums:
    """Remembers the weights of each moment by their checksums.

    Attributes:
        count: How many were added.
        moved: The names of the arrays that have changed since the first ones.

    Example:
        >>> seen = WeightChecksums()
        >>> for epoch in (0, 1, 2):
        ...     seen.add(Moment(epoch, epoch), {"conv1/kernel": np.full(3, epoch)})
        >>> seen.is_last({"conv1/kernel": np.full(3, 2)})
        True
        >>> seen.moment_of({"conv1/kernel": np.full(3, 1)}).epoch
        1
    """

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self.moved: set[str] = set()
        self._moments: dict[int, Moment] = {}
        self._last: int | None = None
        self.count = 0

    def add(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember the weights of a moment; of equal ones the latest moment is remembered."""
        sums = checksums(arrays)
        self._first = self._first or sums
        self.moved.update(name for name in sums if sums[name] != self._first.get(name))
        self._last = _one_of(sums)
        self._moments.pop(self._last, None)
        self._moments[self._last] = moment
        if len(self._moments) > _MOST:
            del self._moments[next(iter(self._moments))]
        self.count += 1

    @property
    def still(self) -> frozenset[str]:
        """The names of the arrays that have never changed."""
        return frozenset(self._first.keys() - self.moved)

    def is_last(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether these are the weights that were added last; also where none were."""
        return self._last is None or _one_of(checksums(arrays)) == self._last

    def moment_of(self, arrays: Mapping[str, np.ndarray]) -> Moment | None:
        """Return the moment that had these weights; None where none is known."""
        return self._moments.get(_one_of(checksums(arrays)))


def _one_of(sums: Mapping[str, int]) -> int:
    return hash(tuple(sorted(sums.items())))
