"""TensorBoard itself, started as people start it: until it has read everything, and what it took.

Reads ``/proc``: Linux only, as the figures of the documentation.
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

from plans.figures import memory, seconds, size

VIEW = ("filtertrack view", ("view", "--no-browser"))
FAST = ("tensorboard", ("--load_fast=true", "--logdir"))
SLOW = ("tensorboard --load_fast=false", ("--load_fast=false", "--logdir"))
Way = tuple[str, tuple[str, ...]]

_TAB = "/data/plugin/filtertrack"
_PATIENCE = 600.0
_PAUSE = 0.2
_REST = 20.0
"""Seconds after which a loader that ran out of files has gone round twice."""


@dataclass(frozen=True, slots=True)
class Served:
    """What TensorBoard took.

    Attributes:
        ready: Seconds until its own tabs had all that was written.
        memory: Bytes of all its processes, at their peaks.
        handles: Files that the one of its processes with the most had open.
        answers: Of the tab Filters: route to seconds and bytes, asked once everything was read.
    """

    ready: float
    memory: float
    handles: int
    answers: dict[str, tuple[float, int]]

    def __str__(self) -> str:
        """Write what it took as a whole."""
        return f"{seconds(self.ready)}, {size(self.memory)} of memory, {self.handles:,} open files"


def serve(way: Way, folder: Path, runs: int, last: str, routes: dict[str, str]) -> Served:
    """Start TensorBoard, wait until it has read everything, and ask the tab Filters.

    Args:
        way: How it is started.
        folder: Its log folder.
        runs: How many runs there are.
        last: The tag of an image that is written last of each.
        routes: Of the tab, such as ``/runs``, by the names their figures get.

    Raises:
        RuntimeError: If it ends, or takes longer than ten minutes.
    """
    start = time.perf_counter()
    with _started(way, folder) as (process, address):
        while (shown := _shown(address, last)) < runs:
            if process.poll() is not None or time.perf_counter() - start > _PATIENCE:
                raise RuntimeError(f"TensorBoard has {shown} of {runs} runs")
            time.sleep(_PAUSE)
        ready = time.perf_counter() - start
        answers = {name: _asked(address + _TAB + route)[:2] for name, route in routes.items()}
        family = list(_family(process.pid))
        most = sum(memory("VmHWM", each) for each in family)
        handles = max(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in family)
    return Served(ready, most, handles, answers)


def shown_with(files: int, way: Way, folder: Path, last: str) -> tuple[int, int] | None:
    """Start TensorBoard where a process may have only so many files open.

    Args:
        files: How many, by the soft limit: a program may raise it.
        way: How it is started.
        folder: Its log folder.
        last: The tag of an image that is written last of each run.

    Returns:
        How many runs its own tabs show once that has come to rest, and how many the tab Filters;
        None if it answers no more.
    """
    with _started(way, folder, files) as (_, address):
        time.sleep(_REST)
        try:
            ours = _asked(f"{address}{_TAB}/runs", _REST)[2]["runs"]
            return _shown(address, last, _REST), len(ours)
        except OSError:  # it has no file left to be one end of a connection
            return None


def _shown(address: str, last: str, patience: float = _PATIENCE) -> int:
    tags = _asked(f"{address}/data/plugin/images/tags", patience)[2]
    return sum(last in of_run for of_run in tags.values())


@contextlib.contextmanager
def _started(
    way: Way, folder: Path, files: int | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Start it; yields the process and its address."""
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
            process.kill()  # what is out of files does not always end when it is asked to


def _asked(address: str, patience: float = _PATIENCE) -> tuple[float, int, Any]:
    """Return the seconds and the bytes that an answer took, and what it says."""
    start = time.perf_counter()
    with urllib.request.urlopen(address, timeout=patience) as response:  # noqa: S310 - our own
        content = response.read()
    kind = response.headers.get_content_type()
    value = json.loads(content) if kind == "application/json" else None
    return time.perf_counter() - start, len(content), value


def _family(process: int) -> Iterator[int]:
    """Yield a process and those it started."""
    yield process
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    for child in children.split():
        yield from _family(int(child))
