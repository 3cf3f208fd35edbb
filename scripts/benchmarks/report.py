"""Formats benchmark results as a Markdown page with a chart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.comparison import Row, number

Results = Mapping[str, Sequence[Row]]

_TITLES = {
    "training": "Training",
    "probes": "Probes",
    "drawing": "Drawing a grid",
    "events": "What is written for TensorBoard",
    "tab": "The tab in TensorBoard",
    "page_file": "The page as one HTML file",
    "storing": "On disk",
    "checkpoints": "Checkpoint files, and responses",
    "starting": "Starting a command",
    "growth": "Growth",
    "animations": "Animations",
    "memory": "Memory of animations",
}
_ABOUT = {
    "training": (
        "A snapshot is what the training thread pays: a copy of the weights, as the *bare copy* "
        "of the same kernels. Storing, drawing and measuring follow on a background thread, whose "
        "CPU time has its own row. `fit` starts from the same weights each time, its functions "
        "compiled before. On a shared machine one `fit` takes longer than the next, so a ratio is "
        "that of the sums of each epoch's median over the rounds, and of the median rest; "
        "*nothing of ours* is the same ratio of two sides that are alike: the noise that is left. "
        "*Hooks and background work* is more exact: all the time in our hooks, and all the CPU "
        "time of the background thread as if nothing had run beside it. `plot_to_image` is what "
        "TensorFlow's documentation shows: a figure a layer, with a subplot a filter."
    ),
    "probes": (
        "The bare pass is the same model on the same images in inference mode, compiled by "
        "TensorFlow. A snapshot adds nothing else on the training thread; the background thread "
        "reduces the feature maps to small maps, statistics and the strongest places."
    ),
    "drawing": (
        "A layer becomes a PNG of about 320 pixels, as TensorBoard shows it. The documentation's "
        "`plot_to_image` makes one of 1000 pixels; *at our size* it is given a smaller figure. "
        "torchvision has no magnifying of its own: `repeat_interleave`, for `encode_png` after "
        "turning the small grid into bytes."
    ),
    "events": (
        "`tf.summary.image` is given the finished picture; ours begins with the weights, draws "
        "and measures them, and writes scalars and distributions as well."
    ),
    "tab": (
        "Chromium without a window, server and browser on the same two cores. The page is opened "
        "anew each time, without TensorBoard's own page around it, which takes seconds before it "
        "shows any tab. Played is at 60 snapshots a second, for four seconds."
    ),
    "page_file": (
        "The recorded run of `filtertrack demo`: 46 snapshots of 48 filters of 9×9×3. Writing its "
        "bytes is `write` and `fsync` of the finished file; ours reads the run, measures and "
        "labels every filter at every step, and compresses. Opened and played as the tab is."
    ),
    "storing": (
        "Appending is against one `write` and `fsync` of the same bytes; reading against `open`, "
        "`seek` and `read` of that layer's bytes in each file. Ours checks each checksum as well."
    ),
    "growth": (
        "The exponent of the cost as one thing grows tenfold: 0 is no growth, 1 is linear; up to "
        "1.1 counts as that, and up to 0.2 as none."
    ),
    "animations": (
        "Each side in a new process, after a first call that is not counted (but for gifski, a "
        "program of its own). The recipes take minutes and run once. The runs are made up: from "
        "noise to smooth filters, with noise all along; colour is a kernel of 7×7×3×64, one "
        "channel one of 3×3×1×32; 8 columns, about 700 pixels, caption and curves. Ours begins "
        "with the weights on disk. Files are judged by ffmpeg, or Pillow for WebP. *Flicker* is "
        "by how many levels of 255 a pixel changes, on average, where nothing should change. "
        "gifski is given our size, as it would halve it. Exact are our PNG, our WebP, and our "
        "GIF of one channel. A GIF of colour filters is not, ours or anyone's: both gifski's and "
        "ours have a palette for each frame, and gifski's flickers a little. MP4 and WebM are not "
        "exact."
    ),
}
_TITLE: dict[str, Any] = {"fontsize": 10, "loc": "left"}
_REACHED, _MISSED, _GOAL = "#0072b2", "#d55e00", "#333333"  # told apart by the colour-blind


def to_markdown(facts: Mapping[str, Any], results: Results, chart: str) -> str:
    """Format the results as a Markdown page.

    Args:
        facts: Date, machine and versions.
        results: Group to rows.
        chart: File name of the chart, beside the page.
    """
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    goals = [row for group in results.values() for row in group if row.goal is not None]
    missed = sum(not row.reached for row in goals)
    when = (
        f'Written by `make bench BENCH="--markdown docs/benchmark.md"` on {facts["date"]} '
        f"({facts['minutes']:.0f} minutes): {facts['machine']}, Python {facts['python']}, "
        f"{versions}."
    )
    how = (
        "Both sides of a comparison run in turn, forwards and backwards, from three rounds up to "
        "ten times as many for what takes milliseconds; what takes minutes runs once. A ratio is "
        "the median of the rounds' ratios. Absolute times say little on a shared machine, ratios "
        "more. *CPU* is the same figure in CPU time: of all threads, but for the training "
        f"thread's own rows. Of {len(goals)} goals {missed or 'none'} "
        f"{'is' if missed == 1 else 'are'} not reached."
    )
    picture = (
        f"![bars: how many times faster, and what part of the allowed cost]({chart})\n\n"
        "Ratios that have a goal. Blue: the goal (the line) is reached. Orange: it is not."
    )
    parts = ["# Beside what people use today", when, how, picture]
    for group, each in results.items():
        parts += [f"## {_TITLES[group]}", *([_ABOUT[group]] if group in _ABOUT else [])]
        parts.append(_table(each))
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    lines = ["| what | value | CPU | goal | |", "|---|--:|--:|---|---|"]
    for row in rows:
        goal = row.wanted + ("" if row.reached else " **not reached**")
        value = f"{number(row.value)} {row.unit}".strip()
        cpu = "" if row.cpu is None else number(row.cpu)
        lines.append(f"| {row.what} | {value} | {cpu} | {goal} | {row.note} |")
    return "\n".join(lines)


def draw_chart(results: Results, path: Path) -> None:
    """Draw the ratios that have a goal as bars: speed-ups above, costs relative to the goal below.

    Args:
        results: Group to rows.
        path: PNG file to write.
    """
    rows = [r for group in results.values() for r in group if r.unit == "x" and r.goal is not None]
    faster, cost = [r for r in rows if r.more], [r for r in rows if not r.more]
    heights = [max(1, len(part)) for part in (faster, cost)]
    figure, (above, below) = plt.subplots(
        2, figsize=(12, 1.6 + 0.27 * sum(heights)), height_ratios=heights, layout="constrained"
    )
    times = [row.value for row in faster]
    _bars(above, faster, times, [row.goal or 0 for row in faster])
    above.set_xscale("log")
    above.set_xlim(1, 4 * max(times, default=1))
    above.set_title("Times faster than what people use (longer is better)", **_TITLE)
    parts = [row.value / (row.goal or 1) for row in cost]
    _bars(below, cost, parts, [1.0] * len(cost))
    below.set_xlim(0, 1.35 * max(parts, default=1))
    below.set_title("Cost, as a part of what was allowed (shorter is better)", **_TITLE)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _bars(
    axes: Axes, rows: Sequence[Row], lengths: Sequence[float], goals: Sequence[float]
) -> None:
    """Draw a bar for each row, its goal as a line across it, and its figures as text."""
    positions = range(len(rows))
    colours = [_REACHED if row.reached else _MISSED for row in rows]
    axes.barh(positions, lengths, color=colours, height=0.7)
    axes.scatter(goals, positions, marker="|", s=170, color=_GOAL, linewidth=2, zorder=3)
    for position, row, *ends in zip(positions, rows, lengths, goals, strict=True):
        axes.annotate(
            f"{number(row.value)} x, goal {row.wanted}",
            (max(ends), position),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_GOAL,
        )
    axes.set_yticks(positions, [row.what for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
