"""Scenario: a thousand runs below one log folder, as a hyperparameter sweep writes them."""

import shutil
import time
from pathlib import Path

from benchmarks.synthetic_runs import make_run
from filtertrack.snapshot import LayerInfo
from filtertrack.tensorboard_plugin.logdir import LogDirectory
from filtertrack.tensorboard_plugin.summaries import Summaries
from scale_scenarios.process_cost import cost_of
from scale_scenarios.report import Row, Scenario, seconds, size
from scale_scenarios.size_estimates import bytes_below, disk_bytes, event_bytes, file_bytes
from scale_scenarios.tensorboard_load import FAST, SLOW, VIEW, Served, serve, shown_with

_SNAPSHOTS = 10
_SHAPE = (3, 3, 3, 16)
_A_FOLDER = 100
_AT_FIRST = 10
"""Approximate number of files that TensorBoard has open without any run."""
_LIMIT, _FEW = 1024, 512
_TAG = "filters_timelapse/conv1"
_FIRST_LIMIT = (
    "TensorBoard itself, which keeps one file open for each run: at about a thousand runs the "
    "usual limit of 1,024 open files is reached. Its fast loader then leaves runs out, and only a "
    "line in the log says so. With `--load_fast=false` TensorBoard stops answering, including the "
    "tab Filters. `filtertrack view` asks the system for more open files by itself; before "
    "`tensorboard`, use `ulimit -n 8192`. The tab keeps no files open. It stops at 20,000 "
    "folders, and says so."
)


def many_runs(folder: Path, *, quick: bool) -> Scenario:
    """Write one run, copy it, and start TensorBoard on all copies."""
    count = 20 if quick else 1000
    cost_of(_write, folder, count)
    found = cost_of(_search, str(folder))
    again = cost_of(_search_twice, str(folder)).value
    layers: list[LayerInfo] = list(_one(folder).values())
    snapshots = _SNAPSHOTS * disk_bytes(file_bytes(layers))
    rows = [
        Row("files", f"{count * (_SNAPSHOTS + 2):,}", f"{_files(folder):,}"),
        Row(
            "bytes of snapshots",
            f"{size(count * _SNAPSHOTS * file_bytes(layers))}, {size(count * snapshots)} of disk",
            size(bytes_below(folder, "*.npz")),
        ),
        Row(
            "bytes of events",
            f"at most {size(count * _SNAPSHOTS * event_bytes(layers))}, and the evolution",
            size(bytes_below(folder, "events.*")),
        ),
        Row("the tab's search for runs", "", f"{found}; the next one {seconds(again)}"),
    ]
    for way in [VIEW] if quick else [VIEW, FAST, SLOW]:
        served = serve(way, folder, count, _TAG, {"runs": "/runs"})
        rows += _rows(way[0], served, count)
    for way in [] if quick else [VIEW, SLOW]:
        shown = shown_with(_FEW, way, folder, _TAG)
        said = (
            "{:,} in its own tabs, {:,} in the tab Filters".format(*shown) if shown else "no answer"
        )
        what = f"`{way[0]}`, where {_FEW} files may be open: runs shown"
        rows.append(Row(what, "", said))
    return Scenario(
        f"{count:,} runs of {_SNAPSHOTS} snapshots under one log folder", rows, _FIRST_LIMIT
    )


def _rows(name: str, served: Served, count: int) -> list[Row]:
    took, length = served.answers["runs"]
    handles = f"{count:,} open files and about {_AT_FIRST}; the usual limit is {_LIMIT:,}"
    return [
        Row(f"`{name}`: until its own tabs have all", handles, str(served)),
        Row(f"`{name}`: the tab's list of runs", "", f"{seconds(took)}, {size(length)}"),
    ]


def _write(folder: Path, count: int) -> None:
    run = make_run(folder / "0" / "0", _SHAPE, _SNAPSHOTS)
    summaries = Summaries(run)
    for step in run.steps:
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    for number in range(1, count):
        shutil.copytree(str(run.path), folder / str(number // _A_FOLDER) / str(number))


def _one(folder: Path) -> dict[str, LayerInfo]:
    return dict(LogDirectory.of_flags(str(folder), None).open("0/0").layers)


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _search(folder: str) -> int:
    return len(LogDirectory.of_flags(folder, None).find().runs)


def _search_twice(folder: str) -> float:
    """Return the seconds of a second search in the same process."""
    _search(folder)
    start = time.perf_counter()
    _search(folder)
    return time.perf_counter() - start
