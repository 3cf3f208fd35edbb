"""Benchmarks of the page as one HTML file: writing it, and opening and playing it in Chromium."""

import os
import statistics
import zlib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from benchmarks.comparison import (
    Row,
    Scale,
    Time,
    apart,
    at_most,
    in_turn,
    times_the_cost,
    write_to_disk,
)
from benchmarks.tab import chromium, launched, opened, pictures_a_second, played
from filtertrack.outputs.recorded_run import copy_recorded_run
from filtertrack.web.html_file import to_html

_WHAT = "HTML file of the demo"


def page_file(folder: Path, scale: Scale) -> Iterator[Row]:
    """Write the recorded run of ``filtertrack demo`` as an HTML file, open it, and play it."""
    path = folder / "page.html"
    # As the command line has it: the matrix products are small, and threads wait for each other.
    with patch.dict(os.environ, OPENBLAS_NUM_THREADS="1"):
        took = apart(_times, folder, path, scale.rounds)
    what = f"{_WHAT}: times writing its bytes once, to the disk"
    yield times_the_cost(what, took["ours"], took["bytes"], 10)
    what = f"{_WHAT}: times compressing its bytes once with zlib"
    yield times_the_cost(what, took["ours"], took["zlib"])
    yield Row(f"{_WHAT}: size", path.stat().st_size / 1e6, "MB")
    program = chromium()
    if program is None:
        return
    with launched(program) as browser:
        address = path.absolute().as_uri()
        first = [opened(browser, address)[0] for _ in range(scale.rounds)]
        what = f"{_WHAT}: from opening it to its first picture"
        yield at_most(what, statistics.median(first), "s", 0.5)
        yield pictures_a_second(_WHAT, played(browser, address))


def _times(folder: Path, path: Path, rounds: int) -> dict[str, list[Time]]:
    run = copy_recorded_run(folder / "demo")
    to_html(run, path)
    content = path.read_bytes()
    sides = {
        "ours": lambda: to_html(run, path),
        "bytes": lambda: write_to_disk(folder / "bytes", content),
        "zlib": lambda: zlib.compress(content),
    }
    return in_turn(sides, rounds)
