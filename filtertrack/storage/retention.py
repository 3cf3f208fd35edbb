"""What a run may forget, so that a training of months does not fill a disk.

Filters form early, and every doubling of the steps shows about as much that is new as the one
before. So what is old is kept at steps that are about evenly spaced on a logarithmic scale.
"""

import logging
import math
from bisect import insort
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise
from statistics import median

from filtertrack.errors import FiltertrackError, whole
from filtertrack.snapshot import Snapshot
from filtertrack.storage.run import Run

_log = logging.getLogger("filtertrack")


def check_keep(keep: object) -> None:
    """See to it that a value says how many snapshots are kept.

    Raises:
        FiltertrackError: If it is no whole number from 2 on.

    Example:
        >>> check_keep(50)
    """
    if (whole(keep) or 0) < 2:
        raise FiltertrackError(
            f"keep: expected a whole number of snapshots from 2 on, got {keep!r}"
        )


def surplus(steps: Sequence[int], keep: int) -> list[int]:
    """Say which snapshots of a run may go.

    The newest ``keep`` stay. Of the older ones at most ``keep`` stay, among them always the first.
    Each snapshot that comes makes one more of them old. When these are too many, the one goes that
    leaves the narrowest gap behind: the least ratio of the steps on both its sides.

    The rule looks at nothing but what is there. So asked after every snapshot or once at the end,
    by one training or by one that was interrupted and goes on, it leaves the same snapshots. Only
    what a training has forgotten before it is taken back to an earlier step does not come again.

    Args:
        steps: The steps that are there, ascending.
        keep: How many of the newest stay, and at most how many of the older ones: from 2 on.

    Returns:
        The steps that go, ascending; none of up to ``2 * keep`` snapshots. Of n it takes O(n log n)
        to tell.

    Raises:
        FiltertrackError: If ``keep`` is no whole number from 2 on.

    Example:
        >>> gone = surplus(range(1001), keep=8)
        >>> [step for step in range(1001) if step not in gone]
        [0, 1, 2, 9, 27, 67, 201, 904, 993, 994, 995, 996, 997, 998, 999, 1000]
    """
    check_keep(keep)
    if len(steps) <= 2 * keep:
        return []
    older = _Older(steps)
    for place in range(1, len(steps) - keep):
        older.add(place)
        if place >= keep:  # with the first, one more than may stay
            older.forget()
    return [step for step, gone in zip(steps, older.gone, strict=True) if gone]


class RetainedRun:
    """A run that is added to, and that forgets what it may.

    Args:
        run: The run; what it holds is thinned, too, once something is added.
        keep: See ``surplus``.
    """

    def __init__(self, run: Run, keep: int) -> None:
        self._run = run
        self._keep = keep
        self._steps: list[int] = []
        self._failed = False

    def append(self, snapshot: Snapshot) -> None:
        """Add a snapshot; then remove those that may go.

        One that cannot be removed stays, with a warning the first time, and is tried again.

        Raises:
            FiltertrackError: If the snapshot does not belong to the run.
            OSError: If it cannot be written.
        """
        self._run.append(snapshot)
        if not self._steps:
            self._steps = self._run.steps
        elif snapshot.step not in self._steps[-1:]:
            insort(self._steps, snapshot.step)
        going = surplus(self._steps, self._keep)
        if len(going) > 1:
            _log.info("keep=%d: %d older snapshots are removed", self._keep, len(going))
        for step in going:
            try:
                self._run.remove(step)
            except OSError as error:
                if not self._failed:
                    _log.warning("older snapshots stay, as they cannot be removed: %s", error)
                self._failed = True
                return
            self._steps.remove(step)


class _Older:
    """Snapshots that are no longer among the newest: a chain, from which one after another goes.

    Args:
        steps: The steps of all snapshots; the first is in the chain, and never goes.

    Attributes:
        gone: Of each snapshot, whether it went.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = steps
        self._before = list(range(-1, len(steps) - 1))
        self._after = list(range(1, len(steps) + 1))
        self._gaps: list[tuple[float, int]] = []
        self._last = 0
        self.gone = bytearray(len(steps))

    def add(self, place: int) -> None:
        """Put the next snapshot at the chain's end; the one after it is the first of the newest."""
        self._last = place
        self._weigh(place)

    def forget(self) -> None:
        """Let the one go that leaves the narrowest gap; of equals the latest."""
        while True:
            gap, negative = heappop(self._gaps)
            place = -negative
            # A gap may have been weighed before one of its sides went: it was weighed again then.
            if not self.gone[place] and gap == self._gap(place):
                break
        self.gone[place] = True
        before, after = self._before[place], self._after[place]
        self._after[before], self._before[after] = after, before
        for side in (before, after):
            if 0 < side <= self._last:
                self._weigh(side)

    def _weigh(self, place: int) -> None:
        heappush(self._gaps, (self._gap(place), -place))

    def _gap(self, place: int) -> float:
        """Return how wide the gap would be without it: the ratio of the steps on both its sides."""
        before = self._steps[self._before[place]]
        return self._steps[self._after[place]] / before if before else math.inf


def count_taken(steps: Sequence[int], keep: int) -> int:
    """Return about how many snapshots were taken in a run, those that went counted as well.

    Args:
        steps: The steps that are there, ascending.
        keep: How many of the newest stayed: how far these are apart tells how far all were.

    Example:
        >>> count_taken([0, 10, 20, 40, 80, 150, 160, 170], keep=3)
        18
    """
    newest = steps[-keep:]
    if len(newest) < 2:
        return len(steps)
    apart = median(after - before for before, after in pairwise(newest))
    return max(len(steps), round((steps[-1] - steps[0]) / apart) + 1)


def worth_drawing(number: int, keep: int) -> bool:
    """Say whether a snapshot is drawn where what is drawn cannot be taken back: in event files.

    The first ``keep`` are all drawn, then every second until ``keep`` more are, then every fourth,
    and so on: of n snapshots about ``keep * log2(1 + n / keep)``.

    Args:
        number: Which snapshot of the run it is, counted from 0, those that went counted as well.
        keep: How many are drawn before the pauses double: from 2 on.

    Raises:
        FiltertrackError: If ``keep`` is no whole number from 2 on.

    Example:
        >>> [number for number in range(40) if worth_drawing(number, keep=4)]
        [0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 36]
    """
    check_keep(keep)
    # Pauses of 2^b begin at keep * (2^b - 1), which is a multiple of 2^b less keep.
    pause = 1 << ((number // keep + 1).bit_length() - 1)
    return (number + keep) % pause == 0
