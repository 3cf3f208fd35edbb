"""The results as a page of the documentation, and its chart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.sides import Row

Results = Mapping[str, Sequence[Row]]

_TITLES = {
    "training": "Training",
    "drawing": "Drawing a grid",
    "events": "What is written for TensorBoard",
    "storing": "On disk",
    "starting": "Starting a command",
    "growing": "Growth",
    "animations": "Animations",
    "memory": "Memory of animations",
}
_ABOUT = {
    "training": (
        "A snapshot is what the training thread pays: a copy of the weights, as the *bare copy* "
        "of the same kernels. Storing, drawing and measuring follow on a background thread, whose "
        "CPU time has its own row. `fit` starts from the same weights each time, its functions "
        "compiled before. Two `fit` alone differ by a few percent here; *hooks and background "
        "work* is more exact: all the time in our hooks, and all the CPU time of the background "
        "thread as if nothing had run beside it. `plot_to_image` is what TensorFlow's "
        "documentation shows: a figure a layer, with a subplot a filter."
    ),
    "events": (
        "`tf.summary.image` is given the finished picture; ours begins with the weights, draws "
        "and measures them, and writes scalars and distributions as well."
    ),
    "storing": (
        "Appending is against one `write` and `fsync` of the same bytes; reading against `open`, "
        "`seek` and `read` of that layer's bytes in each file. Ours checks each checksum as well."
    ),
    "growing": (
        "The exponent of the cost as one thing grows tenfold: 0 is no growth, 1 is linear; up to "
        "1.1 counts as that."
    ),
    "animations": (
        "Each side in a new process. The runs are made up: from noise to smooth filters, with "
        "noise all along; colour is a kernel of 7×7×3×64, one channel one of 3×3×1×32; 8 columns, "
        "about 700 pixels, caption and curves. Ours begins with the weights on disk. Files are "
        "judged by ffmpeg, or Pillow for WebP. *Flicker* is by how many levels of 255 a pixel "
        "changes, on average, where nothing should change. gifski is given our size, as it would "
        "halve it. Exact are our PNG, our WebP, and our GIF of one channel. A GIF of colour "
        "filters is not, ours or anyone's: gifski's is nearer to the weights, at more than twice "
        "the bytes, and flickers a little, as it chooses colours anew for each frame. MP4 and "
        "WebM are not exact."
    ),
}
_REACHED, _MISSED, _GOAL = "#0072b2", "#d55e00", "#333333"  # told apart by the colour-blind


def to_markdown(facts: Mapping[str, Any], results: Results, chart: str) -> str:
    """Write the results as a page.

    Args:
        facts: When and with what it was measured.
        results: Group to rows.
        chart: The chart's file, beside the page.
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
        "Both sides of a comparison run in turn, forwards and backwards; a ratio is the median of "
        f"up to {facts['scale']['rounds']} rounds. Absolute times say little on a shared machine, "
        "ratios more. *CPU* is the same figure in CPU time of all threads, so that nothing is won "
        f"by work that nobody sees. Of {len(goals)} goals {missed or 'none'} "
        f"{'is' if missed == 1 else 'are'} not reached."
    )
    picture = f"![bars: how many times faster, and how many times the cost]({chart})"
    parts = ["# Beside what people use today", when, how, picture]
    for group, each in results.items():
        parts += [f"## {_TITLES[group]}", *([_ABOUT[group]] if group in _ABOUT else [])]
        parts.append(_table(each))
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    lines = ["| what | value | CPU | goal | |", "|---|--:|--:|---|---|"]
    for row in rows:
        goal = row.wanted + ("" if row.reached else " **not reached**")
        value = f"{row.value:.3g} {row.unit}".strip()
        cpu = "" if row.cpu is None else f"{row.cpu:.3g}"
        lines.append(f"| {row.what} | {value} | {cpu} | {goal} | {row.note} |")
    return "\n".join(lines)


def draw_chart(results: Results, path: Path) -> None:
    """Draw two kinds of bars with their goals: how many times faster, how many times the cost."""
    rows = [r for group in results.values() for r in group if r.unit == "x" and r.goal is not None]
    faster, cost = [r for r in rows if r.more], [r for r in rows if not r.more]
    heights = [max(1, len(part)) for part in (faster, cost)]
    figure, (above, below) = plt.subplots(
        2, figsize=(11, 1.6 + 0.29 * sum(heights)), height_ratios=heights, layout="constrained"
    )
    _bars(above, faster, "times faster than what people use (more is better)", log=True)
    _bars(below, cost, "times the cost of the other side (less is better)", log=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axes: Axes, rows: Sequence[Row], title: str, *, log: bool) -> None:
    places = range(len(rows))
    values = [row.value for row in rows]
    axes.barh(places, values, color=[_REACHED if row.reached else _MISSED for row in rows])
    goals = [row.goal or 0 for row in rows]
    axes.scatter(goals, places, marker="|", s=160, color=_GOAL, linewidth=2, zorder=3, label="goal")
    for place, row in zip(places, rows, strict=True):
        end = max(row.value, row.goal or 0)
        axes.annotate(
            f"{row.value:.3g}", (end, place), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, [row.what for row in rows], fontsize=8)
    axes.invert_yaxis()
    if log:
        axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
