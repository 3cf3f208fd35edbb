"""Retention of snapshots: which older snapshots of a run are deleted.

Filters form early, and each doubling of the steps shows about as much change as the one before. So
older snapshots are kept at steps that are about evenly spaced on a logarithmic scale.
"""

import logging
import math
from bisect import insort
from collections.abc import Sequence
from heapq import heappop, heappush

from filtertrack.errors import FiltertrackError, whole
from filtertrack.snapshot import Snapshot
from filtertrack.storage.run import Run

_log = logging.getLogger("filtertrack")


def check_keep(keep: object) -> None:
    """Check the value of ``keep=``.

    Raises:
        FiltertrackError: If it is not a whole number from 2 on.

    Example:
        >>> check_keep(50)
    """
    if (whole(keep) or 0) < 2:
        raise FiltertrackError(
            f"keep: expected a whole number of snapshots from 2 on, got {keep!r}"
        )


def surplus(steps: Sequence[int], keep: int) -> list[int]:
    """Return the steps of the snapshots to delete.

    The newest ``keep`` snapshots stay, and at most ``keep`` older ones, always with the first. Each
    new snapshot adds one to the older ones. If these are too many, the one is deleted that leaves
    the narrowest gap: the smallest ratio of the steps before and after it.

    The rule depends on the existing steps only. So the same snapshots remain whether it is applied
    after every snapshot or once at the end, in one training or in several. Only snapshots that were
    deleted before a training returned to an earlier step are missing then.

    Args:
        steps: The existing steps, ascending.
        keep: How many of the newest snapshots stay, and at most how many older ones: from 2 on.

    Returns:
        The steps to delete, ascending; none for up to ``2 * keep`` snapshots. It takes O(n log n).

    Raises:
        FiltertrackError: If ``keep`` is not a whole number from 2 on.

    Example:
        >>> deleted = surplus(range(1001), keep=8)
        >>> [step for step in range(1001) if step not in deleted]
        [0, 1, 2, 9, 27, 67, 201, 904, 993, 994, 995, 996, 997, 998, 999, 1000]
    """
    check_keep(keep)
    if len(steps) <= 2 * keep:
        return []
    older = _Older(steps)
    for index in range(1, len(steps) - keep):
        older.add(index)
        if index >= keep:  # with the first one, there is one too many
            older.delete_one()
    return [step for step, deleted in zip(steps, older.deleted, strict=True) if deleted]


class RetainedRun:
    """A run from which older snapshots are deleted when new ones are added.

    Args:
        run: The run. Its existing snapshots are deleted by the same rule, with the first addition.
        keep: See ``surplus``.
    """

    def __init__(self, run: Run, keep: int) -> None:
        self._run = run
        self._keep = keep
        self._steps: list[int] = []
        self._failed = False

    def append(self, snapshot: Snapshot) -> None:
        """Add a snapshot, then delete older ones.

        If one cannot be deleted, the first time is a warning, and the next addition tries again.

        Raises:
            FiltertrackError: If the snapshot does not fit the run.
            OSError: If it cannot be written.
        """
        self._run.append(snapshot)
        if not self._steps:
            self._steps = self._run.steps
        elif snapshot.step not in self._steps[-1:]:
            insort(self._steps, snapshot.step)
        to_delete = surplus(self._steps, self._keep)
        if len(to_delete) > 1:
            _log.info("keep=%d: %d older snapshots are removed", self._keep, len(to_delete))
        for step in to_delete:
            try:
                self._run.remove(step)
            except OSError as error:
                if not self._failed:
                    _log.warning("older snapshots stay, as they cannot be removed: %s", error)
                self._failed = True
                return
            self._steps.remove(step)


class _Older:
    """The snapshots that are older than the newest ones: a linked list to delete from.

    Args:
        steps: The steps of all snapshots; the first is in the list, and is never deleted.

    Attributes:
        deleted: Whether each snapshot was deleted.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = steps
        self._before = list(range(-1, len(steps) - 1))
        self._after = list(range(1, len(steps) + 1))
        self._gaps: list[tuple[float, int]] = []
        self._last = 0
        self.deleted = bytearray(len(steps))

    def add(self, index: int) -> None:
        """Append the next snapshot; the one after it is the first of the newest."""
        self._last = index
        self._push(index)

    def delete_one(self) -> None:
        """Delete the snapshot that leaves the narrowest gap; of equal ones the latest."""
        while True:
            gap, negative = heappop(self._gaps)
            index = -negative
            # An entry is outdated if a neighbour was deleted later: another one was pushed then.
            if not self.deleted[index] and gap == self._gap(index):
                break
        self.deleted[index] = True
        before, after = self._before[index], self._after[index]
        self._after[before], self._before[after] = after, before
        for neighbour in (before, after):
            if 0 < neighbour <= self._last:
                self._push(neighbour)

    def _push(self, index: int) -> None:
        heappush(self._gaps, (self._gap(index), -index))

    def _gap(self, index: int) -> float:
        """Return the gap that deleting a snapshot leaves: the ratio of its neighbours' steps."""
        before = self._steps[self._before[index]]
        return self._steps[self._after[index]] / before if before else math.inf
