"""Measure filtertrack beside what people use today: ``make bench``.

Both sides of a comparison run in turn, each in a new process, on the same snapshots; ours several
times before and after the other, of which the median counts. Absolute times say little on a shared
machine: the ratios do. Files are judged by decoders that did not write them.

gifski is measured where it is on the PATH (``npm install gifski`` brings it).
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib as mpl

mpl.use("Agg")

import imageio
import imageio_ffmpeg
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageSequence

from filtertrack import LayerInfo, Moment, Run, Snapshot, animate, gif
from filtertrack.cells import View
from filtertrack.film import Film
from filtertrack.grid import draw, to_png
from filtertrack.measurement import measure_snapshot
from filtertrack.measures import drift, norm, roughness
from filtertrack.panel import Look
from filtertrack.scaling import value_range
from filtertrack.subject import choose
from filtertrack.timing import Pace, plan

KERNELS = {"colour": (7, 7, 3, 64), "one channel": (3, 3, 1, 32)}
COLUMNS, SIZE, FPS = 8, 700, 10
ROUNDS = 3
_MEGA = 1e6


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, what came out, and what the goal was."""

    what: str
    value: float
    unit: str
    goal: str
    reached: bool
    note: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, print a table, write it as JSON."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(Path(folder), options.frames, options.long))
    for row in rows:
        mark = "reached" if row.reached else "NOT reached"
        goal = f"goal {row.goal:<9} {mark}" if row.goal else ""
        print(f"{row.what:<66} {row.value:>9.3g} {row.unit:<7} {goal}  {row.note}", flush=True)
    result: dict[str, Any] = {"about": about(options), "rows": [asdict(row) for row in rows]}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.json}")
    if options.markdown:
        options.markdown.write_text(to_markdown(result["about"], rows))
    return 0


def to_markdown(facts: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Write the results as a page of the documentation."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    what = (
        f'Written by `make bench BENCH="--markdown docs/benchmark.md"` on {facts["date"]}: '
        f"{facts['machine']}, Python {facts['python']}, {versions}. Runs of {facts['frames']} "
        f"snapshots ({facts['long']} for memory), made up, from noise to smooth filters with noise "
        f"all along: colour is a kernel of 7×7×3×64, one channel one of 3×3×1×32; {COLUMNS} "
        f"columns, about {SIZE} pixels, caption and curves."
    )
    how = (
        "Both sides run in turn, each in a new process, ours several times before and after the "
        "other: the median counts. Absolute times say little, ratios more. Ours always begins with "
        "the weights on disk. Files are judged by ffmpeg, or Pillow for WebP. *Flicker* is by how "
        "many levels of 255 a pixel changes, on average, where nothing should change. gifski is "
        "given our size, as it would halve it."
    )
    exact = (
        "Exact are our PNG, our WebP, and our GIF of one channel. A GIF of colour filters is not, "
        "ours or anyone's: gifski's is nearer to the weights, at more than twice the bytes, and "
        "flickers a little, as it chooses colours anew for each frame. MP4 and WebM are not exact."
    )
    head = ["| what | value | goal | |", "|---|--:|--:|---|"]
    lines = ["# Beside what people use today", "", what, "", how, "", exact, "", *head]
    for row in rows:
        goal = "" if not row.goal else row.goal.replace(">=", "≥").replace("<=", "≤")
        missed = " **not reached**" if not row.reached else ""
        value = f"{row.value:.3g} {row.unit}".strip()
        lines.append(f"| {row.what} | {value} | {goal}{missed} | {row.note} |")
    return "\n".join(lines) + "\n"


def measure(folder: Path, frames: int, long: int) -> Iterator[Row]:
    """Measure every comparison.

    Args:
        folder: Where runs and animations go.
        frames: Snapshots of a run.
        long: Snapshots of the longer run, for memory.

    Yields:
        A row a figure.
    """
    for name, shape in KERNELS.items():
        run = make_run(folder / name.replace(" ", "-"), shape, frames)
        yield from _against_the_recipe(run, name, folder)
        yield from _against_finished_frames(run, name, folder)
    yield from apart(_against_drawing)
    if Path("/proc/self/status").exists():
        for ending in ("gif", "webp", "png", "mp4", "webm"):
            yield _memory(folder, ending, frames, long)


def make_run(folder: Path, shape: tuple[int, int, int, int], frames: int) -> Run:
    """Write a run of made-up weights that go from noise to smooth filters, with noise all along.

    Args:
        folder: Where.
        shape: The kernel's, ``(height, width, channels, filters)``.
        frames: How many snapshots.

    Returns:
        The run.
    """
    info = LayerInfo(
        name="conv1",
        path="conv1",
        class_name="Conv2D",
        kernel="conv1/kernel",
        bias=None,
        kernel_shape=shape,
        axes=(3, 0, 1, 2),
        shape=(shape[3], *shape[:3]),
        dtype="float32",
    )
    run = Run.create(folder, [info])
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape)
    end = rng.normal(size=shape).cumsum(axis=0).cumsum(axis=1)
    end -= end.mean(axis=(0, 1))
    noise = np.zeros(shape)
    for step in range(frames):
        share = 1 - np.exp(-6 * step / frames)
        noise += 0.02 * rng.normal(size=shape)
        kernel = ((1 - share) * start + share * end + noise).astype(np.float32)
        loss = 3 * np.exp(-step / 40) + 0.1 * rng.random()
        metrics = {"loss": float(loss), "accuracy": float(1 - loss / 3.2)}
        moment = Moment(step, step // 10, step, metrics if step else {})
        run.append(Snapshot(moment, {"conv1/kernel": kernel}))
    return run


def _against_the_recipe(run: Run, name: str, folder: Path) -> Iterator[Row]:
    """From weights to a finished GIF, by hand and by us."""
    ours, theirs = folder / "ours.gif", folder / "theirs.gif"
    rounds = apart(time_gif, run.path, ours)
    slow = apart(time_recipe, run.path, theirs, "subplots")
    rounds += apart(time_gif, run.path, ours)
    better = apart(time_recipe, run.path, theirs, "subplots_reused")
    rounds += apart(time_gif, run.path, ours)
    seconds, cpu, share = (statistics.median(column) for column in zip(*rounds, strict=True))
    frames, colour = len(run.steps), name == "colour"
    yield Row(f"GIF, {name}: a frame", 1e3 * seconds / frames, "ms", "", reached=True)
    yield Row(f"GIF, {name}: CPU a frame", 1e3 * cpu / frames, "ms", "", reached=True)
    yield _at_least(
        f"GIF, {name}: times faster than a subplot a filter, mimsave",
        slow / seconds,
        "x",
        200 if colour else 250,
        f"{1e3 * slow / frames:.0f} ms a frame",
    )
    yield _at_least(
        f"GIF, {name}: times faster than the same with the axes reused",
        better / seconds,
        "x",
        25,
        f"{1e3 * better / frames:.0f} ms a frame",
    )
    yield _at_least(
        f"GIF, {name}: CPU that is the encoder's own compression",
        100 * share,
        "%",
        55 if colour else 70,
    )


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process: what ran before it here does not slow it down."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def time_gif(run: Path, output: Path) -> list[tuple[float, float, float]]:
    """Time our GIF, several rounds after one that is not counted.

    Returns:
        Of each round seconds, CPU seconds, and the share of these spent in Pillow's compressor.
    """
    clock = _CompressorClock()
    rounds = []
    with mock.patch.object(gif, "_compressed", clock):
        for _ in range(1 + ROUNDS):
            clock.seconds = 0.0
            wall, cpu = time.perf_counter(), time.process_time()
            animate(run, output, columns=COLUMNS, size=SIZE, fps=FPS)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rounds.append((wall, cpu, clock.seconds / cpu))
    return rounds[1:]


def time_ours(run: Path, output: Path) -> float:
    """Return the seconds of an animation of ours, after one that is not counted."""
    return _seconds(lambda: animate(run, output, columns=COLUMNS, size=SIZE, fps=FPS), 2)[-1]


def time_recipe(run: Path, output: Path, draw: str) -> float:
    """Return the seconds of a recipe, from the weights to the finished GIF."""
    frames = {"subplots": subplots, "subplots_reused": subplots_reused}[draw]
    return _seconds(lambda: imageio.mimsave(output, list(frames(Run(run))), fps=FPS))[0]


def time_mimsave(run: Path, output: Path) -> float:
    """Return the seconds of ``imageio.mimsave`` for finished frames."""
    exact = exact_frames(Run(run))
    return _seconds(lambda: imageio.mimsave(output, list(exact), fps=FPS))[0]


class _CompressorClock:
    """Stands in front of the GIF's compressor and counts the CPU time that it takes."""

    def __init__(self) -> None:
        self._compress = gif._compressed  # noqa: SLF001 - the clock has to stand right at it
        self._lock = threading.Lock()
        self.seconds = 0.0

    def __call__(self, picture: np.ndarray) -> bytes:
        began = time.thread_time()
        try:
            return self._compress(picture)
        finally:
            with self._lock:
                self.seconds += time.thread_time() - began


def _against_finished_frames(run: Run, name: str, folder: Path) -> Iterator[Row]:
    """Encoders that are given finished frames, against us who still have to draw them."""
    exact = exact_frames(run)
    ours, theirs, webp = (folder / file for file in ("ours.gif", "theirs.gif", "ours.webp"))
    rounds = apart(time_gif, run.path, ours)
    others = apart(time_mimsave, run.path, theirs)
    rounds += apart(time_gif, run.path, ours)
    seconds = statistics.median(wall for wall, _, _ in rounds)
    webp_seconds = apart(time_ours, run.path, webp)
    colour = name == "colour"
    label = f"against imageio.mimsave, {name}"
    wanted = 12 if colour else 10
    yield _at_least(f"{label}: times faster", others / seconds, "x", wanted)
    share = _size(ours) / _size(theirs)
    yield _at_most(f"{label}: bytes", share, "x", 0.13 if colour else 1.0)
    shown, seen = _decoded(ours), _decoded(theirs)
    if colour:
        better = _psnr(shown, exact) - _psnr(seen, exact)
        note = f"{_psnr(shown, exact):.1f} against {_psnr(seen, exact):.1f} dB"
        yield _at_least(f"{label}: PSNR better by", better, "dB", 2, note)
    else:
        yield _at_most(f"{label}: pixels that differ", _wrong(shown, exact), "", 0)
    note = f"mimsave: {_flicker(seen, exact):.2f}"
    yield _at_most(f"{label}: flicker", _flicker(shown, exact), "levels", 0, note)
    with Image.open(webp) as image:
        pictures = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    yield _at_most(f"WebP, {name}: bytes of mimsave's GIF", _size(webp) / _size(theirs), "x", 0.1)
    yield _at_most(f"WebP, {name}: pixels that differ", _wrong(pictures, exact), "", 0)
    frames = len(exact)
    yield Row(f"WebP, {name}: a frame", 1e3 * webp_seconds / frames, "ms", "", reached=True)
    yield Row(f"GIF, {name}: size", _size(ours) / _MEGA, "MB", "", reached=True)
    yield Row(f"WebP, {name}: size", _size(webp) / _MEGA, "MB", "", reached=True)
    for ending in ("png", "mp4", "webm"):
        output = folder / f"ours.{ending}"
        took = apart(time_ours, run.path, output)
        yield Row(f"{ending}, {name}: a frame", 1e3 * took / frames, "ms", "", reached=True)
        yield Row(f"{ending}, {name}: size", _size(output) / _MEGA, "MB", "", reached=True)
        if ending == "png":
            yield _at_most(
                f"png, {name}: pixels that differ", _wrong(_decoded(output), exact), "", 0
            )
        else:
            even = exact_frames(run, even=True)
            value = _psnr(_decoded(output), even)
            yield Row(f"{ending}, {name}: PSNR", value, "dB", "", reached=True)
    if colour and shutil.which("gifski"):
        yield from _against_gifski(run, exact, folder)


def _against_gifski(run: Run, exact: Sequence[np.ndarray], folder: Path) -> Iterator[Row]:
    ours = folder / "ours.gif"
    for number, frame in enumerate(exact):
        Image.fromarray(frame).save(folder / f"{number:05d}.png", compress_level=1)
    theirs = folder / "gifski.gif"
    gifski = str(shutil.which("gifski"))
    files = [str(folder / f"{number:05d}.png") for number in range(len(exact))]
    height, width = exact[0].shape[:2]  # otherwise it halves what is larger than 800x600
    size = ["--width", str(width), "--height", str(height)]
    command = [gifski, "--quiet", *size, "--output", str(theirs), *files]
    rounds = apart(time_gif, run.path, ours)
    others = _seconds(lambda: subprocess.run(command, check=True))[0]  # noqa: S603
    rounds += apart(time_gif, run.path, ours)
    seconds = statistics.median(wall for wall, _, _ in rounds)
    shown, seen = _decoded(ours), _decoded(theirs)
    label = "against gifski at its defaults, colour"
    yield _at_least(f"{label}: times faster", others / seconds, "x", 20)
    yield _at_most(f"{label}: bytes", _size(ours) / _size(theirs), "x", 0.65)
    note = f"gifski: {_flicker(seen, exact):.2f}"
    yield _at_most(f"{label}: flicker", _flicker(shown, exact), "levels", 0, note)
    note = f"{_psnr(shown, exact):.1f} against {_psnr(seen, exact):.1f} dB"
    better = _psnr(shown, exact) - _psnr(seen, exact)
    yield Row(f"{label}: PSNR better by", better, "dB", "", reached=True, note=note)


def _against_drawing() -> list[Row]:
    """Every measure of a layer, and those taken while training runs, against drawing it."""
    rng = np.random.default_rng(0)
    start, before, now = (rng.normal(size=(64, 7, 7, 3)).astype(np.float32) for _ in range(3))
    view = View("colour", 64, 7, 7)
    sides: dict[str, Callable[[], object]] = {
        "draw": lambda: [to_png(page) for page in draw(view, now, value_range(now), 320)],
        "all": lambda: measure_snapshot(now, start, before),
        "live": lambda: (drift(now, start), norm(now), roughness(now)),
    }
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(10 * ROUNDS + 1):
        for name, side in sides.items():
            began, worked = time.perf_counter(), time.process_time()
            side()
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - worked)
    draws, measures, live = (1e3 * statistics.median(wall[name][1:]) for name in sides)
    drawn, worked, _ = (1e3 * statistics.median(cpu[name][1:]) for name in sides)
    label = "measuring 64 filters of 7x7x3"
    note = f"{measures:.1f} against {draws:.1f} ms"
    used = f"{worked:.1f} against {drawn:.1f} ms"
    return [
        _at_most(f"{label}, everything: times drawing them", measures / draws, "x", 10, note),
        Row(f"{label}, everything: CPU, times drawing", worked / drawn, "x", "", True, used),
        Row(f"{label}, while training runs: times drawing", live / draws, "x", "", reached=True),
    ]


def _memory(folder: Path, ending: str, frames: int, long: int) -> Row:
    """Compare the peak memory of two processes, of which one draws so many more frames."""
    peaks = []
    for count in (frames, long):
        run = folder / f"memory-{count}"
        if not run.exists():
            make_run(run, KERNELS["colour"], count)
        code = (
            "import sys; from filtertrack import animate; animate(sys.argv[1], sys.argv[2], "
            f"columns={COLUMNS}, size={SIZE}, fps=50); print(open('/proc/self/status').read())"
        )
        command = [sys.executable, "-c", code, str(run), str(folder / f"memory.{ending}")]
        result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        # Not ru_maxrss: that is inherited from the process that starts another.
        peaks.append(int(result.stdout.partition("VmHWM:")[2].split()[0]) / 1024)
    note = f"{peaks[0]:.0f} and {peaks[1]:.0f} MB"
    what = f"{ending}: peak memory of {long} frames less that of {frames}"
    return _at_most(what, peaks[1] - peaks[0], "MB", 5, note)


def subplots(run: Run) -> Iterator[np.ndarray]:
    """Draw as people do: a new figure a frame, a subplot a filter."""
    losses = [run.moment(step).metrics.get("loss", np.nan) for step in run.steps]
    for step in run.steps:
        figure, axes = _figure(run, losses, step)
        kernel = np.load(run.file(step))["conv1/kernel"]
        for number, axis in enumerate(axes):
            axis.imshow(_normalised(kernel[..., number]), cmap="gray")
        figure.canvas.draw()
        yield np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
        plt.close(figure)


def subplots_reused(run: Run) -> Iterator[np.ndarray]:
    """Draw as careful people do: the axes made once, their images changed."""
    losses = [run.moment(step).metrics.get("loss", np.nan) for step in run.steps]
    figure, axes = _figure(run, losses, 0)
    images = []
    kernel = np.load(run.file(run.steps[0]))["conv1/kernel"]
    for number, axis in enumerate(axes):
        images.append(axis.imshow(_normalised(kernel[..., number]), cmap="gray", vmin=0, vmax=1))
    marker = figure.axes[0].lines[-1]
    title = figure.texts[0]
    for step in run.steps:
        kernel = np.load(run.file(step))["conv1/kernel"]
        for number, image in enumerate(images):
            image.set_data(_normalised(kernel[..., number]))
        marker.set_xdata([step, step])
        title.set_text(_headline(run, step))
        figure.canvas.draw()
        yield np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)


def _figure(run: Run, losses: Sequence[float], step: int) -> tuple[Any, list[Any]]:
    """Make a figure about as large as ours: headline, loss with a marker, a subplot a filter."""
    count = run.layers["conv1"].filters
    rows = -(-count // COLUMNS)
    figure = plt.figure(figsize=(SIZE / 100, (rows * SIZE / COLUMNS + 100) / 100), dpi=100)
    places = figure.add_gridspec(rows + 1, COLUMNS)
    curve = figure.add_subplot(places[0, :])
    curve.plot(losses)
    curve.axvline(step)
    figure.suptitle(_headline(run, step))
    axes = []
    for number in range(count):
        axis = figure.add_subplot(places[1 + number // COLUMNS, number % COLUMNS])
        axis.set_xticks([])
        axis.set_yticks([])
        axes.append(axis)
    return figure, axes


def _headline(run: Run, step: int) -> str:
    moment = run.moment(step)
    return f"epoch {moment.epoch}, batch {moment.batch}, {dict(moment.metrics)}"


def _normalised(kernel: np.ndarray) -> np.ndarray:
    low, high = kernel.min(), kernel.max()
    unit: np.ndarray = (kernel - low) / (high - low)
    return unit if unit.shape[-1] == 3 else unit[..., 0]


def exact_frames(run: Run, *, even: bool = False) -> list[np.ndarray]:
    """Draw every frame without a palette: what each file is compared with."""
    subject = choose(run)
    timeline = plan(subject.moments[0], Pace(fps=FPS))
    film = Film(subject, timeline, Look(), side=SIZE, columns=COLUMNS, indexed=False, even=even)
    colours = film.colours
    return [p if colours is None else colours[p] for p in film.pictures()]


def _decoded(path: Path) -> list[np.ndarray]:
    """Decode a file with ffmpeg."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-f", "image2pipe", "-c:v", "ppm", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    frames, at = [], 0
    while at < len(data):
        head = data[at : at + 40].split(b"\n", 3)
        width, height = map(int, head[1].split())
        at += sum(len(part) + 1 for part in head[:3])
        frames.append(np.frombuffer(data, np.uint8, height * width * 3, at))
        frames[-1] = frames[-1].reshape(height, width, 3)
        at += height * width * 3
    return frames


def _psnr(shown: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    pairs = zip(shown, exact, strict=True)
    error = np.mean([np.square(a.astype(np.float32) - b).mean() for a, b in pairs])
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def _wrong(shown: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    return float(sum((a != b).any(axis=-1).sum() for a, b in zip(shown, exact, strict=True)))


def _flicker(shown: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Return by how many levels pixels change, on average, that should not change at all."""
    changes, count = 0.0, 0
    for number in range(1, len(exact)):
        still = (exact[number] == exact[number - 1]).all(axis=-1)
        apart = np.abs(shown[number].astype(np.int16) - shown[number - 1])[still]
        changes, count = changes + float(apart.sum()), count + apart.size
    return changes / max(count, 1)


def _seconds(action: Callable[[], object], rounds: int = 1) -> list[float]:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return seconds


def _at_least(what: str, value: float, unit: str, goal: float, note: str = "") -> Row:
    return Row(what, value, unit, f">= {goal:g}", value >= goal, note)


def _at_most(what: str, value: float, unit: str, goal: float, note: str = "") -> Row:
    return Row(what, value, unit, f"<= {goal:g}", value <= goal, note)


def _size(path: Path) -> int:
    return path.stat().st_size


def about(options: argparse.Namespace) -> dict[str, object]:
    """Say when and with what it was measured."""
    names = ("numpy", "pillow", "matplotlib", "imageio", "av")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {_cores()} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "frames": options.frames,
        "long": options.long,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--frames", type=int, default=200, help="snapshots (%(default)d)")
    parser.add_argument("--long", type=int, default=2000, help="for memory (%(default)d)")
    parser.add_argument("--markdown", type=Path, help="also a page for the documentation")
    parser.add_argument("--json", type=Path, default=Path("runs/benchmark.json"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
