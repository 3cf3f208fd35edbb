"""Scenario: a hundred thousand snapshots of a small model, a training of months."""

import json
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.synthetic_runs import describe
from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate, measure
from filtertrack.cli import main
from filtertrack.outputs.xarray_export import to_xarray
from filtertrack.tensorboard_plugin.summaries import Summaries
from filtertrack.web.page_api import describe_steps
from filtertrack.web.payload import Part, cells_at
from scale_scenarios.process_cost import Cost, cost_of
from scale_scenarios.report import Row, Scenario, seconds, size
from scale_scenarios.size_estimates import bytes_below, disk_bytes, event_bytes, file_bytes
from scale_scenarios.tensorboard_load import SLOW, VIEW, serve

_SHAPES = {"conv1": (3, 3, 3, 16), "conv2": (3, 3, 16, 16)}
_EPOCH = _THIN = 100
_A_PIXEL = 632 * 632
"""Bytes of a frame of conv1 with default options."""
_FIRST_LIMIT = (
    "`animate` without options: with a picture for each snapshot it would last almost three "
    "hours, so it is refused before anything is drawn. `--seconds 12` shows as many pictures as a "
    "browser can, from the whole run. The next limit is `measure`, which fits patterns to every "
    "filter at every step and keeps all results in its tables: use `measure(run, steps=range(0, "
    "100_000, 100))`. Adding, listing, reading and the tab Filters are not affected. `keep=1000` "
    "bounds all of it, at 2,000 files."
)


def many_snapshots(folder: Path, *, quick: bool) -> Scenario:
    """Write all snapshot files; measure slow operations on some of them, and extrapolate."""
    count, some, many = (300, 40, 40) if quick else (100_000, 2_000, 20_000)
    layers = [describe(name, shape) for name, shape in _SHAPES.items()]
    stored = file_bytes(layers)
    written = cost_of(_write, folder, count)
    first, last = written.value
    path = str(folder)
    found = bytes_below(folder, "*.npz")
    rows = [
        Row("files", f"{count:,} and 1", f"{sum(p.is_file() for p in folder.rglob('*')):,}"),
        Row(
            "bytes",
            f"{size(count * stored)}, {size(count * disk_bytes(stored))} of disk",
            size(found),
        ),
        Row("adding one, the first and the last tenth", "alike", f"{first}, {last}"),
    ]
    whole: dict[str, tuple[Callable[..., Any], *tuple[Any, ...]]] = {
        "opening the run": (_open, path),
        "listing the steps": (_listing, path),
        "`info`": (_command, "info", path),
        "one layer's history": (_history, path),
        "`to_xarray`": (_labelled, path),
        "the tab's list of steps": (_steps, path),
        "the tab's first picture, and 127 more": (_first_picture, path),
        "`verify`": (_command, "verify", path),
        "`animate --seconds 12`": (_animate, path, 12.0),
    }
    for what, call in whole.items():
        cost = cost_of(*call)
        said = f": {cost.value}" if isinstance(cost.value, str) else ""
        rows.append(Row(what, "", f"{cost}{said}"))
    rows += _refused(path, count, some)
    rows += _measured(path, many, count)
    rows += _events(folder.with_name("events"), 2 * many, count, quick=quick)
    return Scenario(f"{count:,} snapshots of a small model", rows, _FIRST_LIMIT)


def _measured(path: str, some: int, count: int) -> list[Row]:
    few, more = (cost_of(_measure, path, range(n)) for n in (some // 4, some))
    thin = cost_of(_measure, path, range(0, count, _THIN))
    return [
        Row("`measure`, of conv1", "", _extrapolated(few, more, some, count)),
        Row(f"`measure`, of every {_THIN}th", f"{count // _THIN:,} snapshots", str(thin)),
    ]


def _extrapolated(few: Cost, more: Cost, some: int, count: int) -> str:
    """Extrapolate from two sizes to all: their difference excludes the fixed cost."""
    rest = (count - some) / (some - some // 4)
    time_of, memory = (b + rest * max(0.0, b - a) for a, b in zip(few[:2], more[:2], strict=True))
    return f"{more} of {some:,} (all: {seconds(time_of)}, {size(memory)})"


def _refused(path: str, count: int, some: int) -> list[Row]:
    """Animate all snapshots, which is refused with an error, and then some of them."""
    paper = f"{count:,} frames, {size(count * _A_PIXEL)} at most, {seconds(count / 10)} long"
    said = cost_of(_animate, path, None)
    few, more = (cost_of(_animate, path, None, n) for n in (some // 4, some))
    return [
        Row("`animate`", paper, f"{said}: {said.value}"),
        Row("`animate --huge`", "", f"{_extrapolated(few, more, some, count)}: {more.value}"),
    ]


def _events(folder: Path, some: int, count: int, *, quick: bool) -> list[Row]:
    """Write events of some snapshots, and start TensorBoard on a quarter of them and on all."""
    layers = [describe(name, shape) for name, shape in _SHAPES.items()]
    parts = {n: folder / str(n) for n in (some // 4, some)}
    written = [cost_of(_summarise, part, n) for n, part in parts.items()][-1]
    found = bytes_below(parts[some], "events.*") / some
    rows = [
        Row(
            "bytes of events",
            f"at most {size(count * event_bytes(layers))}",
            f"{size(some * found)} of {some:,} (all: {size(count * found)})",
        ),
        Row("drawing and measuring one", "", seconds(written.seconds / some)),
    ]
    for way in [VIEW] if quick else [VIEW, SLOW]:
        served = [serve(way, part, 1, "filters_timelapse/conv2", {}) for part in parts.values()]
        few, more = (Cost(each.ready, each.memory, None) for each in served)
        took = _extrapolated(few, more, some, count)
        rows.append(Row(f"`{way[0]}`: until its own tabs have all", "", took))
    return rows


def _snapshots(count: int) -> Any:
    rng = np.random.default_rng(0)
    arrays = {
        f"{name}/kernel": rng.normal(size=shape).astype(np.float32)
        for name, shape in _SHAPES.items()
    }
    for step in range(count):
        moved = arrays["conv1/kernel"] + 0.02 * rng.normal(size=_SHAPES["conv1"])
        arrays = {**arrays, "conv1/kernel": moved.astype(np.float32)}
        metrics = {"loss": 3 / (1 + step), "accuracy": step / count}
        yield Snapshot(Moment(step, step // _EPOCH, step, metrics), arrays)


def _write(folder: Path, count: int) -> tuple[str, str]:
    """Return the mean time of an append in the first and in the last tenth."""
    run = Run.create(folder, [describe(name, shape) for name, shape in _SHAPES.items()])
    tenth = count // 10
    times = [0.0]
    for snapshot in _snapshots(count):
        start = time.perf_counter()
        run.append(snapshot)
        times.append(time.perf_counter() - start)
    first, last = sum(times[1 : tenth + 1]) / tenth, sum(times[-tenth:]) / tenth
    return seconds(first), seconds(last)


def _summarise(folder: Path, count: int) -> None:
    run = Run.create(folder, [describe(name, shape) for name, shape in _SHAPES.items()])
    summaries = Summaries(run)
    for snapshot in _snapshots(count):
        summaries.add(snapshot)
        if snapshot.step in {0, count - 1}:  # the filmstrip needs two snapshots
            run.append(snapshot)
    summaries.add_evolution(run)


def _open(path: str) -> int:
    return len(Run(path).layers)


def _listing(path: str) -> int:
    return len(Run(path).steps)


def _command(name: str, path: str) -> None:
    with redirect_stdout(StringIO()):
        main([name, path])


def _history(path: str) -> float:
    return float(sum(kernels[0, 0, 0, 0] for kernels in Run(path).history("conv1")))


def _labelled(path: str) -> int:
    return int(to_xarray(path, "conv1").sizes["step"])


def _steps(path: str) -> str:
    return size(len(json.dumps(describe_steps(Run(path)))))


def _first_picture(path: str) -> str:
    run = Run(path)
    info = run.layer("conv1")
    packed, _ = cells_at(Part(run, info, tuple(range(info.filters))), 0, run.steps[-1])
    return size(len(packed))


def _animate(path: str, length: float | None, some: int | None = None) -> str:
    steps = None if some is None else [range(some)]
    draw = partial(animate, path, f"{path}/a.gif", layers="conv1", steps=steps, seconds=length)
    try:
        written = draw()
    except FiltertrackError as error:
        return f"refused, *{error}*"
    return f"{written.frames:,} frames, {size(written.path.stat().st_size)}"


def _measure(path: str, steps: range) -> None:
    measure(path, layers="conv1", steps=steps)
