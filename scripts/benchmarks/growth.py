"""Benchmarks of growth: times and memory of ten times as many snapshots, filters, images."""

import math
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from itertools import count
from pathlib import Path

from benchmarks.comparison import Row, Scale, Side, apart, in_turn, median, seconds
from benchmarks.drawing import grid_png
from benchmarks.memory_growth import memory_growth
from benchmarks.synthetic_runs import make_run
from filtertrack import Moment, Run, Snapshot, animate
from filtertrack.cli import main
from filtertrack.outputs.measurement import measure_snapshot
from filtertrack.tensorboard_plugin.summaries import Summaries

_LINEAR, _CONSTANT = 1.1, 0.2
"""Largest exponents that count as linear (1) and constant (0): the rest is caches and noise."""
_EXPECTED_CONSTANT = ("adding one", "opening the run", "reading one snapshot")
"""Costs that must not depend on the number of snapshots."""


def growth(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure the exponent of each cost: 0 is constant, 1 is linear."""
    few = max(10, scale.history // 10)
    shapes = {
        "filters": ((7, 7, 3, 64), (7, 7, 3, 640)),
        "channels": ((3, 3, 16, 64), (3, 3, 160, 64)),
    }
    yield from apart(_by_snapshots, folder, few, scale.rounds)
    for what, (small, large) in shapes.items():
        yield from apart(_by_shape, what, small, large, folder / what, scale.rounds)
    yield from memory_growth(folder / "memory", scale)


def _by_snapshots(folder: Path, few: int, rounds: int) -> list[Row]:
    def costs(count: int) -> dict[str, Side]:
        run = make_run(folder / str(count), (7, 7, 3, 64), count)
        last = run.snapshot(run.steps[-1])
        return {
            "adding one": lambda: run.append(last),
            "opening the run": lambda: Run(run.path),
            "reading one snapshot": lambda: run.snapshot(few // 2),
            "listing the steps": lambda: run.steps,
            "one layer's history": lambda: list(run.history("conv1")),
            "info": lambda: _command("info", run),
            "verify": lambda: _command("verify", run),
            "an animation": lambda: animate(run, f"{run.path}/film.gif", fps=50),
        }

    return _exponents("snapshots", costs(few), costs(10 * few), rounds)


def _by_shape(
    what: str, small: tuple[int, ...], large: tuple[int, ...], folder: Path, rounds: int
) -> list[Row]:
    def costs(shape: tuple[int, ...]) -> dict[str, Side]:
        run = make_run(folder / str(shape), shape, 3)
        start, before, now = run.history("conv1")
        arrays, steps, summaries = run.snapshot(2).arrays, count(), Summaries(run)

        def add() -> None:
            step = next(steps)
            summaries.add(Snapshot(Moment(step, step), arrays))

        return {
            "adding a snapshot": lambda: run.append(Snapshot(Moment(2, 2), arrays)),
            "reading it": lambda: run.kernels("conv1", 2),
            "drawing": lambda: grid_png(now),
            "TensorBoard's events": add,
            "every measure": lambda: measure_snapshot(now, start, before),
            "an animation": lambda: animate(run, f"{run.path}/film.gif"),
        }

    return _exponents(what, costs(small), costs(large), rounds)


def _exponents(
    what: str, small: Mapping[str, Side], large: Mapping[str, Side], rounds: int
) -> list[Row]:
    rows = []
    for name in small:
        took = in_turn({"small": small[name], "large": large[name]}, rounds)
        before, after = median(took["small"]), median(took["large"])
        note = f"{seconds(before.wall)}, then {seconds(after.wall)}"
        label = f"10 times the {what}: {name}, exponent"
        wall, cpu = (
            math.log10(each) for each in (after.wall / before.wall, after.cpu / before.cpu)
        )
        goal = _CONSTANT if name in _EXPECTED_CONSTANT else _LINEAR
        rows.append(Row(label, wall, "", goal, cpu=cpu, note=note))
    return rows


def _command(name: str, run: Run) -> None:
    with redirect_stdout(StringIO()):
        main([name, str(run.path)])
