"""Scenario: a training with probes and a snapshot after each batch, also with the page open."""

import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from filtertrack import Run, animate, measure
from filtertrack.cli import main
from filtertrack.web.page_api import describe_steps
from scale_scenarios.process_cost import SERVER, Cost, cost_of, cpu_of, measured, memory
from scale_scenarios.report import Row, Scenario, seconds, size
from scale_scenarios.size_estimates import bytes_below
from scale_scenarios.tensorboard_load import VIEW, family, started

_PROBES, _BATCH = 16, 32
_SHAPE = (16, 16, 1)
_FLAGS = ("--no-sandbox", "--disable-gpu", "--enable-precise-memory-info")
_OPENED = "figure.grid[data-drawn]"
_PAUSE = 1.0
"""Seconds between two looks at the page."""
_PATIENCE = 60.0
"""Seconds until a page has to show something."""
_FIRST_LIMIT = (
    "the tracker's own time, if there is a snapshot after each batch: use `schedule='log'`, which "
    "takes snapshots where filters change, or `schedule=10` for every tenth batch. Only the files "
    "grow. The page keeps at most 600 MB of cells, around the step that it shows."
)

# Counts the longest pause between two pictures of the browser since the last reading.
_WATCH = """() => {
  let last = performance.now();
  window.longestPause = 0;
  const frame = () => {
    const now = performance.now();
    window.longestPause = Math.max(window.longestPause, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
_LOOK = """() => {
  const pause = window.longestPause;
  window.longestPause = 0;
  const drawn = document.querySelector("figure.grid[data-drawn]")?.dataset.drawn;
  const alerts = [...document.querySelectorAll(".alert")].filter(each => each.checkVisibility());
  const texts = alerts.map(each => each.innerText);
  return [Number(drawn ?? -1), pause, performance.memory.usedJSHeapSize, texts];
}"""


class _Trained(NamedTuple):
    """A training: its CPU seconds, those in our hooks by tenth of it, memory by tenth, losses."""

    cpu: float
    hooks: list[float]
    memory: list[float]
    lost: int


class _Look(NamedTuple):
    """What the page shows at one time, and what is stored then."""

    drawn: int
    pause: float
    heap: float
    alerts: list[str]
    stored: int


def probed_training(folder: Path, *, quick: bool) -> Scenario:
    """Train with a snapshot after each batch: alone, then with the page open on the run."""
    count, watched = (200, 200) if quick else (10_000, 12_000)
    bare = cost_of(_train, None, count)
    tracked = cost_of(_train, str(folder / "alone"), count)
    rows = [
        *_cost(bare, tracked, count),
        *_files(folder / "alone", count),
        *_readings(str(folder / "alone")),
    ]
    shutil.rmtree(folder / "alone")
    if shutil.which("chromium"):
        rows += _page(folder / "watched", watched)
    title = f"{count:,} snapshots with {_PROBES} probes, one after each batch"
    return Scenario(title, rows, _FIRST_LIMIT)


def _cost(bare: Cost, tracked: Cost, count: int) -> list[Row]:
    alone, ours = bare.value, tracked.value
    tenth = count // 10
    hooks = [seconds(ours.hooks[n] / tenth) for n in (0, -1)]
    used = [size(ours.memory[n]) for n in (0, -1)]
    more = (ours.cpu - alone.cpu) / count
    return [
        Row(
            "the training without a tracker",
            f"{count:,} batches",
            f"{seconds(bare.seconds)}, {seconds(alone.cpu)} of CPU",
        ),
        Row(
            "with it: a pass of the probes and a snapshot each batch",
            "",
            f"{seconds(tracked.seconds)}, {seconds(ours.cpu)} of CPU",
        ),
        Row("CPU of a snapshot, the background included", "", seconds(more)),
        Row(
            "CPU in the tracker's hook, a batch of the first and of the last tenth",
            "alike",
            ", ".join(hooks),
        ),
        Row("memory of the training after the first and the last tenth", "alike", ", ".join(used)),
        Row("snapshots lost", "0", f"{ours.lost:,}"),
    ]


def _files(folder: Path, count: int) -> list[Row]:
    found = bytes_below(folder, "*.npz")
    return [
        Row("bytes of snapshots and responses", "", f"{size(found)}, {size(found / count)} each"),
        Row("bytes of events", "", size(bytes_below(folder, "events.*"))),
    ]


def _readings(path: str) -> list[Row]:
    calls: dict[str, tuple[Any, ...]] = {
        "listing the steps": (_listing, path),
        "`verify`": (_command, "verify", path),
        "the tab's list of steps": (_steps, path),
        "one layer's responses": (_responses, path),
        "`animate --responses --seconds 12`": (_animate, path),
        "`measure`": (_measure, path),
    }
    return [Row(what, "", str(cost_of(*call))) for what, call in calls.items()]


def _page(folder: Path, count: int) -> list[Row]:
    """Train while a page shows the run; look at the page each second."""
    folder.mkdir(parents=True)
    with (
        started(VIEW, folder) as (server, address),
        _browser() as page,
        ProcessPoolExecutor(1, mp_context=SERVER) as pool,
    ):
        training = pool.submit(measured, _train, str(folder), count)
        looks, first = _watched(page, address, folder, training)
        trained = training.result()
        began = time.perf_counter()
        while (last := _look(page, folder)).drawn < count:
            if time.perf_counter() - began > _PATIENCE:
                raise RuntimeError(f"the page shows step {last.drawn} of {count}")
            time.sleep(0.1)
        caught = time.perf_counter() - began
        looks.append(last)
        processes = list(family(server.pid))
        cpu = sum(cpu_of(each) for each in processes)
        peak = sum(memory("VmHWM", each) for each in processes)
    alerts = {alert for look in looks for alert in look.alerts}
    behind = max(look.stored - look.drawn for look in looks)
    quarter = looks[len(looks) // 4]
    what = f"the page, open while {count:,} snapshots are written"
    return [
        Row(f"{what}: its first picture", "", seconds(first)),
        Row(
            f"{what}: the training meanwhile",
            "",
            f"{seconds(trained.seconds)}, {trained.value.lost} lost",
        ),
        Row(f"{what}: at most behind the run", "", f"{behind:,} of {count:,} snapshots"),
        Row(f"{what}: the last snapshot after the training's end", "", seconds(caught)),
        Row(
            f"{what}: longest pause of the page",
            "",
            seconds(max(look.pause for look in looks) / 1000),
        ),
        Row(
            f"{what}: its memory after a quarter, and at the end",
            "linear: its snapshots and their moments",
            f"{size(quarter.heap)}, {size(last.heap)}",
        ),
        Row(f"{what}: notices", "none", "; ".join(sorted(alerts)) or "none"),
        Row(f"{what}: the server", "", f"{seconds(cpu)} of CPU, {size(peak)} of memory"),
    ]


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser.new_page()
        browser.close()


def _watched(
    page: Any, address: str, folder: Path, training: "Future[Cost]"
) -> tuple[list[_Look], float]:
    """Open the page with the first snapshot, and look at it until the training ends."""
    while _stored(folder) < 1:
        if training.done():
            training.result()
            raise RuntimeError("the training wrote no snapshot")
        time.sleep(0.1)
    began = time.perf_counter()
    page.goto(f"{address}/data/plugin_entry.html?name=filtertrack")
    page.locator(_OPENED).first.wait_for(timeout=1000 * _PATIENCE)
    first = time.perf_counter() - began
    page.evaluate(_WATCH)
    looks = [_look(page, folder)]
    while not training.done():
        page.wait_for_timeout(1000 * _PAUSE)
        looks.append(_look(page, folder))
    return looks, first


def _look(page: Any, folder: Path) -> _Look:
    stored = _stored(folder)
    drawn, pause, heap, alerts = page.evaluate(_LOOK)
    return _Look(drawn, pause, heap, alerts, stored - 1)


def _stored(folder: Path) -> int:
    snapshots = folder / "filters" / "snapshots"
    return sum(file.suffix == ".npz" for file in snapshots.iterdir()) if snapshots.exists() else 0


def _train(folder: str | None, count: int) -> _Trained:
    """Train a small model on squares and stripes, with a tracker where a folder is given."""
    import keras  # noqa: PLC0415 - only in the process that trains

    logging.getLogger("filtertrack").addHandler(logging.NullHandler())
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(1024, *_SHAPE)).astype(np.float32)
    labels = rng.integers(0, 2, len(images))
    images[labels == 1, ::4] += 1
    images[labels == 0, :, ::4] += 1
    model = keras.Sequential(
        [
            keras.Input(_SHAPE),
            keras.layers.Conv2D(8, 5, activation="relu", name="conv1"),
            keras.layers.Conv2D(16, 3, activation="relu", name="conv2"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    hooks: list[float] = []
    used: list[float] = []
    callbacks: list[Any] = []
    if folder is not None:
        callbacks.append(_timed(folder, images[:_PROBES], count // 10, hooks, used))
    began = time.process_time()
    model.fit(
        _batches(images, labels, count), steps_per_epoch=count, callbacks=callbacks, verbose=0
    )
    lost = 0 if folder is None else count + 1 - len(Run(folder).steps)
    return _Trained(time.process_time() - began, hooks, used, lost)


def _batches(images: Any, labels: Any, count: int) -> Iterator[tuple[Any, Any]]:
    for number in range(count):
        part = slice(number * _BATCH % len(images), number * _BATCH % len(images) + _BATCH)
        yield images[part], labels[part]


def _timed(folder: str, probes: Any, tenth: int, hooks: list[float], used: list[float]) -> Any:
    """Return a tracker that adds up the CPU seconds of its hook, by tenths of the batches."""
    from filtertrack import FilterTracker  # noqa: PLC0415 - only in the process that trains

    class Timed(FilterTracker):
        def _on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            start = time.thread_time()
            super()._on_train_batch_end(batch, logs)
            if batch % tenth == 0:
                hooks.append(0.0)
            hooks[-1] += time.thread_time() - start
            if (batch + 1) % tenth == 0:
                used.append(memory("VmRSS"))

    return Timed(folder, schedule=1, probes=probes)


def _listing(path: str) -> int:
    return len(Run(path).steps)


def _command(name: str, path: str) -> None:
    with redirect_stdout(StringIO()):
        main([name, path])


def _steps(path: str) -> int:
    return len(str(describe_steps(Run(path))))


def _responses(path: str) -> float:
    run = Run(path)
    return float(sum(run.probe_responses("conv2", step).maps[0, 0, 0, 0] for step in run.steps))


def _animate(path: str) -> None:
    animate(path, f"{path}/a.gif", layers="conv1", responses=True, seconds=12.0)


def _measure(path: str) -> None:
    measure(path, layers="conv1")
