"""Benchmarks of memory: peaks of ten times as many snapshots, filters or images.

Each side runs in a process of its own, after a small one of the same kind: its peak is what the
process needs in addition to the interpreter, the imports and what these keep.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.comparison import Row, Scale, apart
from benchmarks.synthetic_runs import describe, make_run, make_wide_run
from filtertrack import ArrayTracker, Moment, Run, Snapshot, animate
from filtertrack.cli import main
from filtertrack.snapshot import Preprocessing
from scale_scenarios.process_cost import memory, reset_peak

_LINEAR, _FLAT = 1.1, 0.2
"""Largest exponents that count as linear (1) and flat (0): the rest is caches and noise."""
_LEAST = 4 << 20
"""Bytes below which a peak is noise of the memory allocator."""

Make = Callable[[Path, int], None]
Task = Callable[[Path], object]


def memory_growth(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure the exponent of each peak: 0 is flat, 1 is linear.

    Only where the system reports a process's peak: on Linux.
    """
    if not Path("/proc/self/clear_refs").exists():
        return
    many = max(30, scale.history // 5)
    counts = {"snapshots": (many // 10, many), "filters": (64, 640), "images": (4, 40)}
    for what, tasks in _TASKS.items():
        for name, (make, task, goal) in islice(tasks.items(), None if scale.large else 1):
            small, large = (
                apart(_peak, task, _made(make, folder, count)) for count in counts[what]
            )
            yield _exponent(f"10 times the {what}: memory of {name}", small, large, goal)


def _made(make: Make, folder: Path, count: int) -> Path:
    """Make the input of a task of a size, with a small one in it, unless it is there."""
    given = folder / make.__name__ / str(count)
    if not given.exists():
        make(given, count)
        make(given / "small", 3)
    return given


def _exponent(what: str, small: float, large: float, goal: float) -> Row:
    ratio = max(large, _LEAST) / max(small, _LEAST)
    note = f"{small / 1e6:.3g} MB, then {large / 1e6:.3g} MB"
    return Row(f"{what}, exponent", math.log10(ratio), "", goal, note=note)


def _peak(task: Task, folder: Path) -> float:
    """Return the peak memory of a task in bytes, in addition to that at its start."""
    logging.getLogger("filtertrack").addHandler(logging.NullHandler())
    with redirect_stdout(StringIO()):
        task(folder / "small")
        reset_peak()
        before = memory("VmRSS")
        task(folder)
    return memory("VmHWM") - before


def _of_snapshots(folder: Path, count: int) -> None:
    make_run(folder, (7, 7, 3, 64), count)


def _of_small_snapshots(folder: Path, count: int) -> None:
    make_run(folder, (5, 5, 3, 8), count)  # measuring takes much longer than the other tasks


def _of_filters(folder: Path, count: int) -> None:
    make_run(folder, (7, 7, 3, count), 3)


def _of_probes(folder: Path, count: int) -> None:
    make_wide_run(folder, {"conv1": (7, 7, 3, 64)}, 3, probes=count)


def _of_images(folder: Path, count: int) -> None:
    first = replace(
        describe("conv1", (7, 7, 3, 64)), padding="valid", preprocessing=(Preprocessing(),)
    )
    run = Run.create(folder, [first])
    kernel = np.random.default_rng(0).normal(size=first.kernel_shape).astype(np.float32)
    run.append(Snapshot(Moment(0, 0), {first.kernel: kernel}))
    np.save(folder / "images.npy", np.zeros((count, 64, 64, 3), np.float32))


def _only_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", np.zeros((count, 64, 64, 3), np.float32))


def _animate(folder: Path) -> None:
    animate(folder, folder / "film.gif", fps=50)


def _measure(folder: Path) -> None:
    main(["measure", str(folder), "--csv", str(folder / "measures.csv")])


def _filmstrip(folder: Path) -> None:
    main(["filmstrip", str(folder), "-o", str(folder / "strip.png")])


def _html(folder: Path) -> None:
    main(["html", str(folder), "-o", str(folder / "page.html")])


def _verify(folder: Path) -> None:
    main(["verify", str(folder)])


def _track(folder: Path) -> None:
    """Take the snapshots of a run again, through the queue and the background thread."""
    run = Run(folder)
    with ArrayTracker(folder / "tracked", existing="replace") as tracker:
        for step in run.steps:
            kernel = run.snapshot(step).arrays["conv1/kernel"]
            tracker.snapshot(step, {"conv1": kernel}, axes="HWIO")


def _respond(folder: Path) -> None:
    Run(folder).responses("conv1", 0, np.load(folder / "images.npy"))


def _probe(folder: Path) -> None:
    """Train a small model for two epochs with probes."""
    import keras  # noqa: PLC0415 - only in the process that trains

    from filtertrack import FilterTracker  # noqa: PLC0415

    images = np.load(folder / "images.npy")
    model = keras.Sequential(
        [keras.Input(images.shape[1:]), keras.layers.Conv2D(32, 3), keras.layers.Flatten()]
    )
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    tracker = FilterTracker(folder / "probed", existing="replace", probes=images)
    x, y = np.zeros((8, 64, 64, 3), np.float32), np.zeros((8, 1), np.float32)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[tracker])


_TASKS: dict[str, dict[str, tuple[Make, Task, float]]] = {
    "snapshots": {
        "animate": (_of_snapshots, _animate, _FLAT),
        "filmstrip": (_of_snapshots, _filmstrip, _FLAT),
        "measure": (_of_small_snapshots, _measure, _LINEAR),
        "html": (_of_snapshots, _html, _LINEAR),
        "verify": (_of_snapshots, _verify, _FLAT),
        "ArrayTracker": (_of_snapshots, _track, _FLAT),
    },
    "filters": {
        "animate": (_of_filters, _animate, _LINEAR),
        "filmstrip": (_of_filters, _filmstrip, _LINEAR),
        "measure": (_of_filters, _measure, _LINEAR),
        "html": (_of_filters, _html, _LINEAR),
        "ArrayTracker": (_of_filters, _track, _LINEAR),
    },
    "images": {
        "measure, with probes": (_of_probes, _measure, _LINEAR),
        "html, with probes": (_of_probes, _html, _LINEAR),
        "Run.responses": (_of_images, _respond, _LINEAR),
        "FilterTracker, with probes": (_only_images, _probe, _LINEAR),
    },
}
