"""How two sides are compared: in turn, in one process, by the median of several rounds."""

import math
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

Side = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: Of a comparison.
        frames: Snapshots of a run that becomes an animation.
        long: Snapshots of the longer run, for memory.
        history: Snapshots of the run of which one layer is read.
        epochs: Of a training.
        patches: Cut out of each photograph, for a training.
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
"""Shows that the benchmark works; its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Time:
    """What one side takes, in seconds.

    Attributes:
        wall: By the clock on the wall.
        cpu: Worked by all cores together.
    """

    wall: float
    cpu: float

    def __add__(self, other: "Time") -> "Time":
        """Return what both take."""
        return Time(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Time") -> "Time":
        """Return what this one takes more than the other."""
        return Time(self.wall - other.wall, self.cpu - other.cpu)

    def __truediv__(self, count: float) -> "Time":
        """Return what one of so many takes."""
        return Time(self.wall / count, self.cpu / count)


def timed(side: Side, worked: Callable[[], float] = time.process_time) -> Time:
    """Call a side once.

    Args:
        side: What is timed.
        worked: The clock of CPU seconds: that of the process, or of one thread.
    """
    wall, cpu = time.perf_counter(), worked()
    side()
    return Time(time.perf_counter() - wall, worked() - cpu)


def children() -> float:
    """Return the CPU seconds of processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def in_turn(
    sides: Mapping[str, Side],
    rounds: int,
    worked: Callable[[], float] = time.process_time,
    between: Side = lambda: None,
) -> dict[str, list[Time]]:
    """Time several sides, one after the other, round after round.

    Every second round goes backwards, so that no side always comes after the same other one. Each
    is called once before that, which is not counted.

    Args:
        sides: Name to what is timed.
        rounds: How many are counted.
        worked: The clock of CPU seconds.
        between: Called before each, and not timed.

    Returns:
        Name to what it took, a round each.
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
    """Return the median of wall and of CPU seconds, each by itself."""
    return Time(
        statistics.median(each.wall for each in times),
        statistics.median(each.cpu for each in times),
    )


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process: what ran before it here does not slow it down."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def apart_in_turn(sides: Mapping[str, tuple[Any, ...]], rounds: int) -> dict[str, list[Any]]:
    """Call several functions, each in a new process, one after the other, round after round.

    Args:
        sides: Name to a function and its arguments.
        rounds: How many; every second one goes backwards.

    Returns:
        Name to what the function returned, a round each.
    """
    results: dict[str, list[Any]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in list(sides.items())[:: -1 if number % 2 else 1]:
            results[name].append(apart(*side))
    return results


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        what: What was measured.
        value: What came out: for a ratio of times, by the clock on the wall.
        unit: ``"x"`` for a ratio.
        goal: What was wanted, or None.
        more: Whether more is better (else the goal is an upper bound).
        cpu: For a ratio of times, the same in CPU seconds of all cores.
        note: Such as the two sides' own times.
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
        """The goal in words; empty where there is none."""
        return "" if self.goal is None else f"{'≥' if self.more else '≤'} {self.goal:g}"


def at_least(what: str, value: float, unit: str, goal: float, note: str = "") -> Row:
    """Return a figure of which more is better."""
    return Row(what, value, unit, goal, more=True, note=note)


def at_most(what: str, value: float, unit: str, goal: float, note: str = "") -> Row:
    """Return a figure of which less is better."""
    return Row(what, value, unit, goal, note=note)


def times_faster(
    what: str, ours: Sequence[Time], theirs: Sequence[Time], goal: float | None = None
) -> Row:
    """Return how many times as long the other side takes: the median over the rounds."""
    wall, cpu = _ratios(theirs, ours)
    return Row(what, wall, "x", goal, more=True, cpu=cpu, note=_beside(ours, theirs))


def times_the_cost(
    what: str, ours: Sequence[Time], theirs: Sequence[Time], goal: float | None = None
) -> Row:
    """Return how many times as long as the other side ours takes: the median over the rounds."""
    wall, cpu = _ratios(ours, theirs)
    return Row(what, wall, "x", goal, cpu=cpu, note=_beside(ours, theirs))


def _ratios(one: Sequence[Time], other: Sequence[Time]) -> tuple[float, float]:
    """Return the median of wall and of CPU ratios.

    Of two sides in the same round, so that it matters less what else the machine does.
    """
    pairs = list(zip(one, other, strict=True))
    return (
        statistics.median(a.wall / b.wall for a, b in pairs),
        statistics.median(a.cpu / b.cpu if b.cpu else math.inf for a, b in pairs),
    )


def _beside(ours: Sequence[Time], theirs: Sequence[Time]) -> str:
    """Write both sides' wall seconds beside each other."""
    return f"{seconds(median(ours).wall)} against {seconds(median(theirs).wall)}"


def number(value: float) -> str:
    """Write a figure with three digits, or all those before the point.

    Example:
        >>> number(0.01234), number(12.34), number(1234.5)
        ('0.0123', '12.3', '1234')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """Write a time in the unit that suits it.

    Example:
        >>> seconds(0.00123), seconds(12.3), seconds(0.0000456)
        ('1.23 ms', '12.3 s', '45.6 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"
