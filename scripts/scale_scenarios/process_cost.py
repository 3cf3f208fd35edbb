"""Measures the wall time and peak memory of a function in a process of its own.

Memory is read from ``/proc``: Linux only.
"""

import multiprocessing
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from scale_scenarios.report import seconds, size

# A small process that forks: every call starts from the same state, without importing all again.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "scale_scenarios.many_snapshots",
        "scale_scenarios.many_runs",
        "scale_scenarios.probed_training",
        "scale_scenarios.resnet50",
    ]
)


class Cost(NamedTuple):
    """What a function takes in a process of its own.

    Attributes:
        seconds: Wall time, without the start of Python and the imports every command needs.
        memory: Peak memory of the whole process in bytes; 50 MB of it are Python and the library.
        value: The function's return value.
    """

    seconds: float
    memory: float
    value: Any

    def __str__(self) -> str:
        """Format seconds and memory."""
        return f"{seconds(self.seconds)}, {size(self.memory)} of memory"


def cost_of(function: Callable[..., Any], *arguments: Any) -> Cost:
    """Call a module-level function in a new process, so that its memory is measured alone."""
    with ProcessPoolExecutor(1, mp_context=SERVER) as pool:
        return pool.submit(measured, function, *arguments).result()


def measured(function: Callable[..., Any], *arguments: Any) -> Cost:
    """Call a function in this process, which should be a new one."""
    start = time.perf_counter()
    value = function(*arguments)
    return Cost(time.perf_counter() - start, memory("VmHWM"), value)


def memory(field: str, process: int | str = "self") -> float:
    """Return the memory of a process in bytes, from Linux's ``/proc``.

    Args:
        field: ``"VmRSS"``: current memory. ``"VmHWM"``: peak memory.
        process: Process id; this process by default.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return 1024.0 * int(found[1]) if found else 0.0


def cpu_of(process: int) -> float:
    """Return the CPU seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def reset_peak() -> None:
    """Reset the peak memory of this process to its current memory."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
