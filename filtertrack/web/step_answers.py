"""Arrays of a run at successive steps, as many as one answer to the page holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypedDict, TypeVar

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.storage.run import Run

_MOST_BYTES = 1 << 20
"""Bytes of arrays in one answer, unless a single snapshot has more: the page unpacks an answer
between two frames."""
_MOST_SNAPSHOTS = 128
"""Snapshots in one answer, at most."""
_MOST_READ = 256 << 20
"""Bytes read for one answer, unless a single snapshot has more."""

Found = TypeVar("Found")


class StepsHead(TypedDict):
    """The part of a message's head that all answers about successive steps have.

    Attributes:
        damaged: Step to the reason, for each snapshot that could not be read.
        next: The first step that is left for another answer; None at the end.
        type: The dtype of the arrays; None without arrays.
        shape: The shape of each array; None without arrays.
    """

    damaged: dict[int, str]
    next: int | None
    type: str | None
    shape: tuple[int, ...] | None


@dataclass(slots=True)
class StepAnswer(Generic[Found]):
    """Steps from ``first`` to ``last`` of a run, until an answer is full.

    Attributes:
        run: The run.
        first: The first step.
        last: The last step.
        rewrite: Changes the reason why a snapshot cannot be read, such as to shorten paths in it.
        arrays: The array of each step that was added; all have the same dtype.
        damaged: Step to the reason, for each snapshot that could not be read.
        next: The first step that is left for another answer; None at the end.
    """

    run: Run
    first: int
    last: int
    rewrite: Callable[[str], str]
    arrays: list[np.ndarray] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    next: int | None = None

    def readable_steps(
        self, read: Callable[[int], Found], step_bytes: int
    ) -> Iterator[tuple[int, Found]]:
        """Read the steps, and yield each that is not damaged, until the answer is full.

        Args:
            read: Reads a step; a ``FiltertrackError`` means that the snapshot is damaged.
            step_bytes: Bytes that it reads.

        Yields:
            The step, and what was read.
        """
        steps = [step for step in self.run.steps if self.first <= step <= self.last]
        most = max(1, min(_MOST_SNAPSHOTS, _MOST_READ // max(1, step_bytes)))
        for step in steps[:most]:
            self.next = step
            try:
                found = read(step)
            except FiltertrackError as error:
                self.damaged[step] = self.rewrite(str(error))
                continue
            yield step, found
        self.next = steps[most] if most < len(steps) else None

    def add(self, array: np.ndarray) -> bool:
        """Add the array of the current step; return False if the answer is full without it.

        The first array always fits. The dtype may change where a resumed training has another.
        """
        size = (len(self.arrays) + 1) * array.nbytes
        if self.arrays and (array.dtype != self.arrays[0].dtype or size > _MOST_BYTES):
            return False
        self.arrays.append(array)
        return True

    @property
    def head(self) -> StepsHead:
        """The head of the message."""
        first = self.arrays[0] if self.arrays else None
        return {
            "damaged": self.damaged,
            "next": self.next,
            "type": None if first is None else first.dtype.name,
            "shape": None if first is None else first.shape,
        }
