"""Benchmarks of animations: against matplotlib recipes, imageio and gifski."""

import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import imageio
import numpy as np
from PIL import Image, ImageSequence

from benchmarks.comparison import (
    Row,
    Scale,
    Time,
    apart,
    apart_in_turn,
    at_least,
    at_most,
    children,
    median,
    timed,
    times_faster,
)
from benchmarks.image_quality import decoded, flicker, psnr, wrong
from benchmarks.matplotlib_baselines import COLUMNS, SIZE, subplots, subplots_reused
from benchmarks.synthetic_runs import KERNELS, make_run
from filtertrack import Run, animate
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.encoders import gif
from filtertrack.render.look import Look

FPS = 10
_ROUNDS = 3
"""Upper bound on rounds: one side takes from seconds to half a minute."""
_REPEATS = 3
_ROUNDS_BY_HAND = 1
"""Rounds of a matplotlib recipe, which takes minutes."""
_MEGA = 1e6


def animations(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure speed, size and exactness of every format; gifski where it is on the PATH."""
    for name, shape in KERNELS.items():
        run = make_run(folder / name.replace(" ", "-"), shape, scale.frames)
        yield from _against_the_recipes(run, name, folder, min(scale.rounds, _ROUNDS_BY_HAND))
        yield from _against_finished_frames(run, name, folder, min(scale.rounds, _ROUNDS))


def memory(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure the memory of additional frames, where the system reports a process's peak."""
    if Path("/proc/self/status").exists():
        for ending in ("gif", "webp", "png", "mp4", "webm"):
            yield _memory(folder, ending, scale.frames, scale.long)


def _against_the_recipes(run: Run, name: str, folder: Path, rounds: int) -> Iterator[Row]:
    """Compare drawing and writing a GIF with matplotlib recipes."""
    took = apart_in_turn(
        {
            "ours": (time_gif, run.path, folder / "ours.gif"),
            "anew": (time_recipe, run.path, folder / "theirs.gif", subplots),
            "reused": (time_recipe, run.path, folder / "theirs.gif", subplots_reused),
        },
        rounds,
    )
    frames = len(run.steps)
    ours = [each / frames for each, _ in took["ours"]]
    anew, reused = ([each / frames for each in took[side]] for side in ("anew", "reused"))
    colour = name == "colour"
    label = f"GIF, {name}"
    yield Row(f"{label}: a frame", 1e3 * median(ours).wall, "ms")
    yield Row(f"{label}: CPU a frame", 1e3 * median(ours).cpu, "ms")
    against = "times faster than a subplot a filter, mimsave"
    yield times_faster(f"{label}: {against}", ours, anew, 200 if colour else 250)
    against = "times faster than the same with the axes reused"
    yield times_faster(f"{label}: {against}", ours, reused, 25)
    share = statistics.median(each for _, each in took["ours"])
    what = f"{label}: CPU that is the encoder's own compression"
    yield at_least(what, 100 * share, "%", 60 if colour else 70)


def time_gif(run: Path, output: Path) -> tuple[Time, float]:
    """Time our GIF several times, after a warm-up call.

    Returns:
        The median, and the share of CPU time spent in Pillow's compressor.
    """
    clock = _CompressorClock()
    times, shares = [], []
    with mock.patch.object(gif, "_compressed", clock):
        for _ in range(1 + _REPEATS):
            clock.seconds = 0.0
            times.append(timed(lambda: _animate(run, output)))
            shares.append(clock.seconds / times[-1].cpu)
    return median(times[1:]), statistics.median(shares[1:])


def time_ours(run: Path, output: Path) -> Time:
    """Time our animation, after a warm-up call."""
    _animate(run, output)
    return timed(lambda: _animate(run, output))


def time_recipe(run: Path, output: Path, draw: Callable[[Run], Iterable[np.ndarray]]) -> Time:
    """Time a recipe from the weights to the finished GIF, after two warm-up frames."""
    some: list[Any] = list(islice(draw(Run(run)), 2))
    imageio.mimsave(output, some, fps=FPS)
    return timed(lambda: imageio.mimsave(output, list(draw(Run(run))), fps=FPS))


def time_mimsave(run: Path, output: Path) -> Time:
    """Time ``imageio.mimsave`` of finished frames, after two warm-up frames."""
    exact = exact_frames(Run(run))
    some: list[Any] = exact[:2]
    imageio.mimsave(output, some, fps=FPS)
    return timed(lambda: imageio.mimsave(output, list(exact), fps=FPS))


def time_command(command: Sequence[str]) -> Time:
    """Time another program."""
    return timed(lambda: subprocess.run(command, check=True), children)  # noqa: S603


def _animate(run: Path, output: Path) -> None:
    animate(run, output, columns=COLUMNS, size=SIZE, fps=FPS)


class _CompressorClock:
    """Wraps the GIF's compressor and sums the CPU time of its calls."""

    def __init__(self) -> None:
        self._compress = gif._compressed  # noqa: SLF001 - there is no public function to time
        self._lock = threading.Lock()
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> bytes:
        began = time.thread_time()
        try:
            return self._compress(*arguments)
        finally:
            with self._lock:
                self.seconds += time.thread_time() - began


def _against_finished_frames(run: Run, name: str, folder: Path, rounds: int) -> Iterator[Row]:
    """Compare drawing and encoding with encoders that receive finished frames."""
    exact = exact_frames(run)
    ours, theirs, webp = (folder / file for file in ("ours.gif", "theirs.gif", "ours.webp"))
    took = apart_in_turn(
        {
            "ours": (time_gif, run.path, ours),
            "theirs": (time_mimsave, run.path, theirs),
            "webp": (time_ours, run.path, webp),
        },
        rounds,
    )
    mine, others = [each for each, _ in took["ours"]], took["theirs"]
    colour = name == "colour"
    label = f"against imageio.mimsave, {name}"
    yield times_faster(f"{label}: times faster", mine, others, 12 if colour else 10)
    share = _size(ours) / _size(theirs)
    yield at_most(f"{label}: bytes", share, "x", 0.13 if colour else 1.0)
    shown, seen = decoded(ours), decoded(theirs)
    if colour:
        better = psnr(shown, exact) - psnr(seen, exact)
        note = f"{psnr(shown, exact):.1f} against {psnr(seen, exact):.1f} dB"
        yield at_least(f"{label}: PSNR better by", better, "dB", 2, note)
    else:
        yield at_most(f"{label}: pixels that differ", wrong(shown, exact), "", 0)
    note = f"mimsave: {flicker(seen, exact):.2f}"
    yield at_most(f"{label}: flicker", flicker(shown, exact), "levels", 0, note)
    with Image.open(webp) as image:
        pictures = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    yield at_most(f"WebP, {name}: bytes of mimsave's GIF", _size(webp) / _size(theirs), "x", 0.1)
    yield at_most(f"WebP, {name}: pixels that differ", wrong(pictures, exact), "", 0)
    frames = len(exact)
    yield Row(f"WebP, {name}: a frame", 1e3 * median(took["webp"]).wall / frames, "ms")
    yield Row(f"GIF, {name}: size", _size(ours) / _MEGA, "MB")
    yield Row(f"WebP, {name}: size", _size(webp) / _MEGA, "MB")
    for ending in ("png", "mp4", "webm"):
        output = folder / f"ours.{ending}"
        each = apart(time_ours, run.path, output).wall / frames
        yield Row(f"{ending}, {name}: a frame", 1e3 * each, "ms")
        yield Row(f"{ending}, {name}: size", _size(output) / _MEGA, "MB")
        if ending == "png":
            yield at_most(f"png, {name}: pixels that differ", wrong(decoded(output), exact), "", 0)
        else:
            shown = decoded(output)
            value = psnr(shown, _repeated(run, exact_frames(run, even=True), len(shown)))
            yield Row(f"{ending}, {name}: PSNR", value, "dB")
    if colour and shutil.which("gifski"):
        yield from _against_gifski(run, exact, folder, rounds)


def _repeated(run: Run, frames: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Repeat frames as a video with a constant frame rate of ``count`` frames does."""
    timed = plan(select_from_run(run).moments[0], Pace()).frames
    ends = np.cumsum([frame.seconds for frame in timed])
    numbers = np.searchsorted(ends, (np.arange(count) + 0.5) / count * ends[-1])
    return [frames[number] for number in numbers]


def _against_gifski(
    run: Run, exact: Sequence[np.ndarray], folder: Path, rounds: int
) -> Iterator[Row]:
    ours = folder / "ours.gif"
    for number, frame in enumerate(exact):
        Image.fromarray(frame).save(folder / f"{number:05d}.png", compress_level=1)
    theirs = folder / "gifski.gif"
    gifski = str(shutil.which("gifski"))
    files = [str(folder / f"{number:05d}.png") for number in range(len(exact))]
    height, width = exact[0].shape[:2]  # otherwise it halves what is larger than 800x600
    size = ["--width", str(width), "--height", str(height)]
    command = [gifski, "--quiet", *size, "--output", str(theirs), *files]
    took = apart_in_turn(
        {"ours": (time_gif, run.path, ours), "theirs": (time_command, command)}, rounds
    )
    mine = [each for each, _ in took["ours"]]
    shown, seen = decoded(ours), decoded(theirs)
    label = "against gifski at its defaults, colour"
    yield times_faster(f"{label}: times faster", mine, took["theirs"], 20)
    yield at_most(f"{label}: bytes", _size(ours) / _size(theirs), "x", 0.65)
    note = f"gifski: {flicker(seen, exact):.2f}"
    yield at_most(f"{label}: flicker", flicker(shown, exact), "levels", 0, note)
    note = f"gifski: {psnr(seen, exact):.1f} dB"
    yield at_least(f"{label}: PSNR", psnr(shown, exact), "dB", 33, note)


def _memory(folder: Path, ending: str, frames: int, long: int) -> Row:
    """Compare the peak memory of two processes that draw few and many frames."""
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
        # Not ru_maxrss: a child process inherits it from its parent.
        peaks.append(int(result.stdout.partition("VmHWM:")[2].split()[0]) / 1024)
    note = f"{peaks[0]:.0f} and {peaks[1]:.0f} MB"
    what = f"{ending}: peak memory of {long} frames less that of {frames}"
    return at_most(what, peaks[1] - peaks[0], "MB", 5, note)


def exact_frames(run: Run, *, even: bool = False) -> list[np.ndarray]:
    """Draw every frame without a palette: the reference for each file."""
    selection = select_from_run(run)
    timeline = plan(selection.moments[0], Pace(fps=FPS))
    frames = AnimationFrames(
        selection, timeline, Look(), side=SIZE, columns=COLUMNS, indexed=False, even=even
    )
    colours = frames.colours
    return [p if colours is None else colours[p] for p in frames.pictures()]


def _size(path: Path) -> int:
    return path.stat().st_size
