"""Checksums of past weights, which detect unchanged, changed and restored weights."""

from collections.abc import Mapping

import numpy as np

from filtertrack.snapshot import Moment
from filtertrack.storage.run_format import checksums

_MAX_MOMENTS = 10_000
"""Number of moments that are remembered; then the oldest are removed."""


class WeightChecksums:
    """Remembers the weights of each moment by their checksums.

    Attributes:
        count: Number of moments that were added.
        changed: The names of the arrays that have changed since the first moment.

    Example:
        >>> checksums = WeightChecksums()
        >>> for epoch in (0, 1, 2):
        ...     checksums.add(Moment(epoch, epoch), {"conv1/kernel": np.full(3, epoch)})
        >>> checksums.is_last({"conv1/kernel": np.full(3, 2)})
        True
        >>> checksums.moment_of({"conv1/kernel": np.full(3, 1)}).epoch
        1
    """

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self.changed: set[str] = set()
        self._moments: dict[int, Moment] = {}
        self._last: int | None = None
        self.count = 0

    def add(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the weights of a moment; of equal weights the latest moment is kept."""
        sums = checksums(arrays)
        self._first = self._first or sums
        self.changed.update(name for name in sums if sums[name] != self._first.get(name))
        self._last = _combined(sums)
        self._moments.pop(self._last, None)
        self._moments[self._last] = moment
        if len(self._moments) > _MAX_MOMENTS:
            del self._moments[next(iter(self._moments))]
        self.count += 1

    @property
    def unchanged(self) -> frozenset[str]:
        """The names of the arrays that have never changed."""
        return frozenset(self._first.keys() - self.changed)

    def is_last(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether these weights were added last; True if none were added."""
        return self._last is None or _combined(checksums(arrays)) == self._last

    def moment_of(self, arrays: Mapping[str, np.ndarray]) -> Moment | None:
        """Return the latest moment that had these weights; None if there is none."""
        return self._moments.get(_combined(checksums(arrays)))


def _combined(sums: Mapping[str, int]) -> int:
    return hash(tuple(sorted(sums.items())))
