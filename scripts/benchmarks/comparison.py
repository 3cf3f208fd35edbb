"""Times two or more sides of a comparison in alternating rounds, and describes each result."""

import math
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Side = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of a benchmark.

    Attributes:
        rounds: Rounds of a comparison.
        frames: Snapshots of a run that is animated.
        long: Snapshots of the longer run, for memory.
        history: Snapshots of a run from which one layer is read.
        epochs: Epochs of a training.
        patches: Patches cut out of each photograph, for a training.
        large: Whether a large model, ResNet-50, is measured as well.
    """

    rounds: int
    frames: int
    long: int
    history: int
    epochs: int
    patches: int
    large: bool


FULL = Scale(9, frames=200, long=2000, history=1000, epochs=12, patches=1500, large=True)
QUICK = Scale(1, frames=12, long=24, history=20, epochs=1, patches=40, large=False)
"""Only checks that the benchmark works: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Time:
    """The time of one side, in seconds.

    Attributes:
        wall: Wall time.
        cpu: CPU time of all cores together.
    """

    wall: float
    cpu: float

    def __add__(self, other: "Time") -> "Time":
        """Return the sum of two times."""
        return Time(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Time") -> "Time":
        """Return the difference of two times."""
        return Time(self.wall - other.wall, self.cpu - other.cpu)

    def __truediv__(self, count: float) -> "Time":
        """Return the time of one of ``count`` parts."""
        return Time(self.wall / count, self.cpu / count)


def timed(side: Side, worked: Callable[[], float] = time.process_time) -> Time:
    """Time one call of a side.

    Args:
        side: The function to time.
        worked: Clock of CPU seconds: of the process, or of one thread.
    """
    wall, cpu = time.perf_counter(), worked()
    side()
    return Time(time.perf_counter() - wall, worked() - cpu)


def children() -> float:
    """Return the CPU seconds of the finished child processes of this process."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def in_turn(
    sides: Mapping[str, Side],
    rounds: int,
    worked: Callable[[], float] = time.process_time,
    between: Side = lambda: None,
) -> dict[str, list[Time]]:
    """Time several sides in alternating order, after one warm-up call of each.

    Every second round runs in reverse order, so that no side always follows the same other side.

    Args:
        sides: Name to the function to time.
        rounds: Number of timed rounds.
        worked: Clock of CPU seconds.
        between: Called before each side, not timed.

    Returns:
        Name to the times of all rounds.
    """
    for side in sides.values():
        between()
        side()
    times: dict[str, list[Time]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in list(sides.items())[:: -1 if number % 2 else 1]:
            between()
            times[name].append(timed(side, worked))
    return times


def median(times: Sequence[Time]) -> Time:
    """Return the median of the wall times and the median of the CPU times."""
    return Time(
        statistics.median(each.wall for each in times),
        statistics.median(each.cpu for each in times),
    )


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, unaffected by earlier work in this one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def apart_in_turn(sides: Mapping[str, tuple[Any, ...]], rounds: int) -> dict[str, list[Any]]:
    """Call several functions in alternating order, each call in a new process.

    Args:
        sides: Name to a function and its arguments.
        rounds: Number of rounds; every second one runs in reverse order.

    Returns:
        Name to the return values of all rounds.
    """
    results: dict[str, list[Any]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in list(sides.items())[:: -1 if number % 2 else 1]:
            results[name].append(apart(*side))
    return results


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        what: The quantity.
        value: The measured value; for a ratio of times, that of wall times.
        unit: ``"x"`` for a ratio.
        goal: The bound to reach, or None.
        more: Whether the goal is a lower bound (else an upper bound).
        cpu: For a ratio of times, the ratio of CPU times of all cores.
        note: Additional text, such as the times of both sides.
    """

    what: str
    value: float
    unit: str
    goal: float | None = None
    more: bool = False
    cpu: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the goal is reached, or there is none."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.more else self.value <= self.goal

    @property
    def wanted(self) -> str:
        """The goal as text; empty where there is none."""
        return "" if self.goal is None else f"{'≥' if self.more else '≤'} {self.goal:g}"


def at_least(what: str, value: float, unit: str, goal: float, note: str = "") -> Row:
    """Return a figure whose goal is a lower bound."""
    return Row(what, value, unit, goal, more=True, note=note)


def at_most(what: str, value: float, unit: str, goal: float, note: str = "") -> Row:
    """Return a figure whose goal is an upper bound."""
    return Row(what, value, unit, goal, note=note)


def times_faster(
    what: str, ours: Sequence[Time], theirs: Sequence[Time], goal: float | None = None
) -> Row:
    """Return the ratio of their time to ours: the median over the rounds."""
    wall, cpu = _ratios(theirs, ours)
    return Row(what, wall, "x", goal, more=True, cpu=cpu, note=_beside(ours, theirs))


def times_the_cost(
    what: str, ours: Sequence[Time], theirs: Sequence[Time], goal: float | None = None
) -> Row:
    """Return the ratio of our time to theirs: the median over the rounds."""
    wall, cpu = _ratios(ours, theirs)
    return Row(what, wall, "x", goal, cpu=cpu, note=_beside(ours, theirs))


def _ratios(one: Sequence[Time], other: Sequence[Time]) -> tuple[float, float]:
    """Return the medians of the wall and CPU ratios.

    Each ratio compares two sides of the same round, which reduces the effect of other load.
    """
    pairs = list(zip(one, other, strict=True))
    return (
        statistics.median(a.wall / b.wall for a, b in pairs),
        statistics.median(a.cpu / b.cpu if b.cpu else math.inf for a, b in pairs),
    )


def _beside(ours: Sequence[Time], theirs: Sequence[Time]) -> str:
    """Format the median wall times of both sides."""
    return f"{seconds(median(ours).wall)} against {seconds(median(theirs).wall)}"


def number(value: float) -> str:
    """Format a figure with three digits, or all digits before the decimal point.

    Example:
        >>> number(0.01234), number(12.34), number(1234.5)
        ('0.0123', '12.3', '1234')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """Format a time in s, ms or µs.

    Example:
        >>> seconds(0.00123), seconds(12.3), seconds(0.0000456)
        ('1.23 ms', '12.3 s', '45.6 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def write_to_disk(path: Path, content: bytes) -> None:
    """Write a new file and wait until it is on the disk: the least that storing its bytes takes.

    Args:
        path: The file, which is replaced.
        content: Its bytes.
    """
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())
