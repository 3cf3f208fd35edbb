"""Figures of a plan: what was computed beside what was measured, and how both are written."""

import math
import multiprocessing
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filtertrack.render.cells import view_of
from filtertrack.snapshot import LayerInfo

# A small process that forks: each call begins alike, and does not import everything anew.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["plans.long_run", "plans.many_runs", "plans.resnet"])

_BLOCK = 4096
_OF_AN_ARRAY, _OF_A_SNAPSHOT = 360, 760
"""Bytes around the values: names, headers and checksums of ``.npz``; the moment, in UTF-32."""
_OF_A_LAYER = 3200
"""Bytes of a layer's events: two distributions of 30 buckets, three scalars, the least picture."""
_OF_A_VALUE, _OF_A_CELL = 1.2, 4.5
"""Bytes of a value in the picture of a matrix, and magnified: noise as PNG, measured."""
_LEAST_SHOWN = 1e-6


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        what: What is said.
        paper: As it was computed; empty where that cannot be.
        measured: As it was found here; empty where it was not simulated.
    """

    what: str
    paper: str = ""
    measured: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One thing that grows.

    Attributes:
        title: What is planned.
        rows: Its figures.
        breaks: Where it breaks first, and what then helps: Markdown.
    """

    title: str
    rows: Sequence[Row]
    breaks: str


class Cost(NamedTuple):
    """What something takes in a process of its own.

    Attributes:
        seconds: By the clock, without starting Python and importing what the library always needs.
        memory: Bytes of the whole process at its peak; 50 MB of them are Python and the library.
        value: What was returned.
    """

    seconds: float
    memory: float
    value: Any

    def __str__(self) -> str:
        """Write seconds and memory."""
        return f"{seconds(self.seconds)}, {size(self.memory)} of memory"


def cost_of(function: Callable[..., Any], *arguments: Any) -> Cost:
    """Call a function of a module in a new process, so that its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=_SERVER) as pool:
        return pool.submit(_counted, function, *arguments).result()


def _counted(function: Callable[..., Any], *arguments: Any) -> Cost:
    start = time.perf_counter()
    value = function(*arguments)
    return Cost(time.perf_counter() - start, memory("VmHWM"), value)


def memory(field: str, process: int | str = "self") -> float:
    """Return the bytes of memory of a process, from Linux's ``/proc``.

    Args:
        field: ``"VmRSS"``: now. ``"VmHWM"``: at its peak.
        process: Its number; this one by default.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return 1024.0 * int(found[1]) if found else 0.0


def forget_peak() -> None:
    """Let the peak of this process's memory be what it has now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def file_bytes(layers: Iterable[LayerInfo]) -> int:
    """Compute the bytes of a snapshot's file: float32 kernels without biases, and what is around.

    Args:
        layers: What it holds.
    """
    return _OF_A_SNAPSHOT + sum(4 * math.prod(info.kernel_shape) + _OF_AN_ARRAY for info in layers)


def disk_bytes(length: int) -> int:
    """Compute what a file of so many bytes takes on a disk: whole blocks."""
    return -(-length // _BLOCK) * _BLOCK


def event_bytes(layers: Iterable[LayerInfo]) -> float:
    """Compute the bytes of a snapshot's events, at most.

    Args:
        layers: What is drawn.
    """
    total = 0.0
    for view in map(view_of, layers):
        values = view.count * view.height * view.width * (3 if view.coloured else 1)
        total += values * (_OF_A_VALUE if view.kind == "matrix" else _OF_A_CELL) + _OF_A_LAYER
    return total


def bytes_below(folder: Path, pattern: str = "*") -> int:
    """Return the bytes of all files of a name, at any depth."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def seconds(value: float) -> str:
    """Write a time with three digits.

    Example:
        >>> seconds(0.012345), seconds(1.2345), seconds(754.3)
        ('12.3 ms', '1.23 s', '754 s')
    """
    value = max(value, _LEAST_SHOWN)
    return f"{_three(value)} s" if value >= 1 else f"{_three(1000 * value)} ms"


def size(value: float) -> str:
    """Write bytes with three digits.

    Example:
        >>> size(12_345), size(93_819_648), size(28.24e9)
        ('0.0123 MB', '93.8 MB', '28.2 GB')
    """
    return f"{_three(value / 1e9)} GB" if value >= 1e9 else f"{_three(value / 1e6)} MB"


def _three(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def to_markdown(facts: Mapping[str, str], plans: Iterable[Plan]) -> str:
    """Write plans as tables.

    Args:
        facts: With what it was measured: name to text.
        plans: In their order.
    """
    parts = [" · ".join(f"{name} {text}" for name, text in facts.items())]
    for plan in plans:
        lines = [f"| {plan.title} | on paper | measured |", "|---|---|---|"]
        lines += [f"| {row.what} | {row.paper} | {row.measured} |" for row in plan.rows]
        parts += ["\n".join(lines), f"**Breaks first:** {plan.breaks}"]
    return "\n\n".join(parts) + "\n"
