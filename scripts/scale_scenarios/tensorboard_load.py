"""Starts TensorBoard on a log folder and measures its loading time, memory and open files.

Reads ``/proc``: Linux only.
"""

import contextlib
import json
import re
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scale_scenarios.process_cost import memory
from scale_scenarios.report import seconds, size

VIEW = ("filtertrack view", ("view", "--no-browser"))
FAST = ("tensorboard", ("--load_fast=true", "--logdir"))
SLOW = ("tensorboard --load_fast=false", ("--load_fast=false", "--logdir"))
Way = tuple[str, tuple[str, ...]]

_TAB = "/data/plugin/filtertrack"
_PATIENCE = 600.0
_PAUSE = 0.2
_REST = 20.0
"""Seconds in which a loader that ran out of file handles has scanned the folder twice."""


@dataclass(frozen=True, slots=True)
class Served:
    """What TensorBoard needed.

    Attributes:
        ready: Seconds until its own tabs showed everything written.
        memory: Sum of the peak memory of its processes, in bytes.
        handles: Largest number of open files of one of its processes.
        answers: Route of the tab Filters to seconds and bytes, after everything was read.
    """

    ready: float
    memory: float
    handles: int
    answers: dict[str, tuple[float, int]]

    def __str__(self) -> str:
        """Format time, memory and open files."""
        return f"{seconds(self.ready)}, {size(self.memory)} of memory, {self.handles:,} open files"


def serve(way: Way, folder: Path, runs: int, last: str, routes: dict[str, str]) -> Served:
    """Start TensorBoard, wait until it has read everything, and request the tab's routes.

    Args:
        way: The command and its options.
        folder: The log folder.
        runs: Number of runs in it.
        last: The tag of the image that is written last in each run.
        routes: Name of a figure to a route of the tab, such as ``/runs``.

    Raises:
        RuntimeError: If TensorBoard exits, or takes longer than ten minutes.
    """
    start = time.perf_counter()
    with started(way, folder) as (process, address):
        while (shown := _shown(address, last)) < runs:
            if process.poll() is not None or time.perf_counter() - start > _PATIENCE:
                raise RuntimeError(f"TensorBoard has {shown} of {runs} runs")
            time.sleep(_PAUSE)
        ready = time.perf_counter() - start
        answers = {name: _asked(address + _TAB + route)[:2] for name, route in routes.items()}
        processes = list(family(process.pid))
        most = sum(memory("VmHWM", each) for each in processes)
        handles = max(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in processes)
    return Served(ready, most, handles, answers)


def shown_with(files: int, way: Way, folder: Path, last: str) -> tuple[int, int] | None:
    """Start TensorBoard with a limit on open files.

    Args:
        files: The soft limit, which a program may raise.
        way: The command and its options.
        folder: The log folder.
        last: The tag of the image that is written last in each run.

    Returns:
        Number of runs in its own tabs, and in the tab Filters; None if it does not answer.
    """
    with started(way, folder, files) as (_, address):
        time.sleep(_REST)
        try:
            ours = _asked(f"{address}{_TAB}/runs", _REST)[2]["runs"]
            return _shown(address, last, _REST), len(ours)
        except OSError:  # no file handle is left for a connection
            return None


def _shown(address: str, last: str, patience: float = _PATIENCE) -> int:
    tags = _asked(f"{address}/data/plugin/images/tags", patience)[2]
    return sum(last in of_run for of_run in tags.values())


@contextlib.contextmanager
def started(
    way: Way, folder: Path, files: int | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Start TensorBoard; yield the process and its address."""
    name, options = way
    program = Path(sysconfig.get_path("scripts")) / name.partition(" ")[0]
    command = [str(program), *options, str(folder), "--port", "0", "--host", "127.0.0.1"]
    if files is not None:
        command = ["/bin/sh", "-c", f'ulimit -Sn {files}; exec "$@"', "sh", *command]
    with (
        tempfile.NamedTemporaryFile("r") as said,
        Path(said.name).open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,  # noqa: S603
    ):
        try:
            start = time.perf_counter()
            while not (found := re.search(r"http://[\d.:]+\d", Path(said.name).read_text())):
                if process.poll() is not None or time.perf_counter() - start > _PATIENCE:
                    raise RuntimeError(f"TensorBoard did not start: {said.read()}")
                time.sleep(_PAUSE / 4)
            yield process, found[0]
        finally:
            process.kill()  # without file handles it may ignore SIGTERM


def _asked(address: str, patience: float = _PATIENCE) -> tuple[float, int, Any]:
    """Request an address; return seconds, bytes and the parsed JSON (None for other types)."""
    start = time.perf_counter()
    with urllib.request.urlopen(address, timeout=patience) as response:  # noqa: S310 - our own
        content = response.read()
    kind = response.headers.get_content_type()
    value = json.loads(content) if kind == "application/json" else None
    return time.perf_counter() - start, len(content), value


def family(process: int) -> Iterator[int]:
    """Yield a process id and those of its descendants."""
    yield process
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    for child in children.split():
        yield from family(int(child))
