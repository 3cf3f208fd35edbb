"""Scenario: ResNet-50 over 300 epochs, a snapshot before training and after each epoch."""

import statistics
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.storing import Shapes, resnet50_shapes
from benchmarks.synthetic_runs import describe
from filtertrack import Moment, Run, Snapshot, animate
from filtertrack.capture.background_writer import BackgroundWriter, queue_capacity
from filtertrack.cli import main
from filtertrack.snapshot import total_bytes
from filtertrack.tensorboard_plugin.filter_summaries import default_image_layers
from filtertrack.tensorboard_plugin.summaries import Summaries
from scale_scenarios.process_cost import cost_of
from scale_scenarios.report import Row, Scenario, seconds, size
from scale_scenarios.size_estimates import bytes_below, event_bytes, file_bytes
from scale_scenarios.tensorboard_load import SLOW, VIEW, serve

_PLANNED = 301
_FIRST_LIMIT = (
    "the disk: 28 GB of snapshots, which the tracker says before the first batch; events take "
    "less than 0.1 GB. With `keep=50` snapshots take 9.4 GB, with `layers='first'` 11 MB. The "
    "next limit is the background, if snapshots are due more often than they can be stored and "
    "drawn. When two wait, training waits ten seconds at most; then a snapshot is given up, and "
    "counted. Memory is bounded: two wait, one is written, one is copied. TensorBoard's own tabs "
    "read all events at every start; the tab Filters reads no events."
)


class _Written(NamedTuple):
    """Seconds of each snapshot by activity, seconds of the end, and bytes of events."""

    copying: list[float]
    storing: list[float]
    drawing: list[float]
    evolution: float
    events: int


def resnet50(folder: Path, *, quick: bool) -> Scenario:
    """Write some of the snapshots as training does, and extrapolate."""
    count, shapes = (4, resnet50_shapes(8)) if quick else (40, resnet50_shapes())
    layers = [describe(name, shape) for name, shape in shapes.items()]
    stored, drawn = file_bytes(layers), event_bytes(layers)
    written = cost_of(_write, folder, shapes, count)
    took: _Written = written.value
    at_the_end = bytes_below(folder, "events.*") - took.events
    events = _PLANNED * took.events / count + at_the_end
    snapshot = bytes_below(folder, "*.npz") / count
    copies = total_bytes(layers) * (queue_capacity(total_bytes(layers)) + 2)
    last = f"filters_timelapse/{default_image_layers(layers)[-1]}"
    far = f"{count} snapshots, × {_PLANNED / count:.3g}"

    def extrapolated(function: Callable[..., Any], *arguments: Any) -> str:
        cost = cost_of(function, str(folder), *arguments)
        whole = seconds(cost.seconds * _PLANNED / count)
        return f"{seconds(cost.seconds)} ({far}: {whole}), {size(cost.memory)} of memory"

    rows = [
        Row("bytes a snapshot", size(stored), size(snapshot)),
        Row(
            f"bytes of {_PLANNED}", size(_PLANNED * stored), f"{size(_PLANNED * snapshot)} ({far})"
        ),
        Row(
            "files",
            f"{_PLANNED}, manifest, events, lock",
            f"{sum(p.is_file() for p in folder.rglob('*'))} with {count} snapshots",
        ),
        Row(
            f"bytes of events of {_PLANNED}",
            f"at most {size(_PLANNED * drawn)}, and the evolution",
            f"{size(events)} ({far}), {size(at_the_end)} of it at the end",
        ),
        Row("the training thread, a snapshot", "one copy", _halves(took.copying)),
        Row("the background, storing a snapshot", "one write", _halves(took.storing)),
        Row("the background, drawing and measuring it", "", _halves(took.drawing)),
        Row("pictures of the evolution, at the end", "", seconds(took.evolution)),
        Row(
            "memory of the training for it",
            f"at most {size(copies)} of copies",
            f"{size(written.memory)}, the model's own weights among them",
        ),
        Row("opening the run", "", str(cost_of(_open, str(folder)))),
        Row("`info`", "", str(cost_of(_info, str(folder)))),
        Row("one layer's history", "", extrapolated(_history, layers[-1].name)),
        Row("`animate`, of conv1", "", extrapolated(_animate)),
    ]
    for way in [VIEW] if quick else [VIEW, SLOW]:
        served = serve(way, folder, 1, last, {})
        rows.append(Row(f"`{way[0]}`: until all of {count} is read", "", str(served)))
    title = f"ResNet-50, 300 epochs: {len(layers)} kernels, {_PLANNED} snapshots"
    return Scenario(title, rows, _FIRST_LIMIT)


def _halves(times: list[float]) -> str:
    """Format the medians of the first and the second half, to show whether the cost grows."""
    middle = len(times) // 2
    first, second = (statistics.median(part) for part in (times[:middle], times[middle:]))
    return f"{seconds(first)}, later {seconds(second)}"


def _write(folder: Path, shapes: Shapes, count: int) -> _Written:
    """Pass snapshots to a BackgroundWriter, each after the previous one is written."""
    run = Run.create(folder, [describe(name, shape) for name, shape in shapes.items()])
    rng = np.random.default_rng(0)
    weights = {
        f"{name}/kernel": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    summaries = Summaries(run)
    storing: list[float] = []
    drawing: list[float] = []
    copying: list[float] = []
    done = threading.Semaphore(0)
    writer = BackgroundWriter(
        {
            "snapshots": _timed(run.append, storing),
            "pictures": _timed(summaries.add, drawing),
            "done": lambda _: done.release(),
        },
        {"pictures": summaries.finish},
        capacity=queue_capacity(total_bytes(list(run.layers.values()))),
        strict=True,
    )
    for step in range(count):
        weights["conv1/kernel"] += np.float32(0.05) * rng.normal(size=(7, 7, 3, 64)).astype("f4")
        start = time.perf_counter()
        copies = {name: array.copy() for name, array in weights.items()}
        writer.put(Snapshot(Moment(step, step, step * 5005, {"loss": 7 / (1 + step)}), copies))
        copying.append(time.perf_counter() - start)
        del copies
        done.acquire()
    writer.close()
    events = bytes_below(folder, "events.*")
    start = time.perf_counter()
    summaries.add_evolution(run)
    return _Written(copying, storing, drawing, time.perf_counter() - start, events)


def _timed(sink: Callable[[Snapshot], object], times: list[float]) -> Callable[[Snapshot], None]:
    def call(snapshot: Snapshot) -> None:
        start = time.perf_counter()
        sink(snapshot)
        times.append(time.perf_counter() - start)

    return call


def _open(path: str) -> int:
    return len(Run(path).layers)


def _info(path: str) -> None:
    with redirect_stdout(StringIO()):
        main(["info", path])


def _history(path: str, layer: str) -> float:
    return float(sum(kernels.max() for kernels in Run(path).history(layer)))


def _animate(path: str) -> None:
    animate(path, f"{path}/evolution.gif")
