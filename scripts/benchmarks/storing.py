"""Benchmarks of storage: appending and reading snapshots, against raw bytes."""

import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.comparison import (
    Row,
    Scale,
    Side,
    Time,
    apart,
    at_most,
    in_turn,
    median,
    times_the_cost,
    write_to_disk,
)
from benchmarks.synthetic_runs import make_wide_run
from filtertrack import Moment, Run, Snapshot

Shapes = Mapping[str, tuple[int, ...]]

DEMO: Shapes = {"conv1": (9, 9, 3, 32), "conv2": (3, 3, 32, 48), "conv3": (3, 3, 48, 64)}
_STAGES = {64: 3, 128: 4, 256: 6, 512: 3}
"""Stages of ResNet-50: filters to number of blocks."""


def resnet50_shapes(narrower: int = 1) -> dict[str, tuple[int, ...]]:
    """Return the shapes of ResNet-50's 53 kernels.

    Args:
        narrower: Divisor of the number of filters of every layer except the first.
    """
    shapes: dict[str, tuple[int, ...]] = {"conv1": (7, 7, 3, 64)}
    channels = 64 // narrower
    for filters, blocks in _STAGES.items():
        few, many = filters // narrower, 4 * filters // narrower
        for block in range(blocks):
            name = f"stage{filters}/block{block}"
            if block == 0:
                shapes[f"{name}/conv0"] = (1, 1, channels, many)
            shapes[f"{name}/conv1"] = (1, 1, channels, few)
            shapes[f"{name}/conv2"] = (3, 3, few, few)
            shapes[f"{name}/conv3"] = (1, 1, few, many)
            channels = many
    return shapes


def storing(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure bytes, the time to append a snapshot, and the time to read a layer's history."""
    yield from apart(_appending, "the demo", DEMO, folder / "small", 20 * scale.rounds)
    if scale.large:
        yield from apart(_appending, "ResNet-50", resnet50_shapes(), folder / "large", scale.rounds)
    yield from apart(_history, folder, scale)


def _appending(name: str, shapes: Shapes, folder: Path, rounds: int) -> list[Row]:
    """Compare appending a snapshot with one ``write`` and ``fsync`` of the same bytes."""
    run = make_wide_run(folder, shapes, 1)
    arrays = run.snapshot(0).arrays
    raw = b"".join(array.tobytes() for array in arrays.values())
    stored = Path(str(run.file(0))).stat().st_size

    def append() -> None:
        run.append(Snapshot(Moment(1, 1), arrays))

    def write() -> None:
        write_to_disk(folder / "raw", raw)

    def remove() -> None:
        run.file(1).unlink(missing_ok=True)
        (folder / "raw").unlink(missing_ok=True)

    took = in_turn({"ours": append, "theirs": write}, rounds, between=remove)
    shutil.rmtree(folder)
    label = f"a snapshot of {name} ({len(shapes)} layers, {len(raw) / 1e6:.3g} MB)"
    return [
        at_most(f"{label}: bytes on disk, times the arrays", stored / len(raw), "x", 1.02),
        times_the_cost(f"{label}: append, times one write", took["ours"], took["theirs"], 1.5),
    ]


def _history(folder: Path, scale: Scale) -> list[Row]:
    """Time reading one layer at every step: a small layer, the same layer alone, the largest."""
    shapes = resnet50_shapes(narrower=8)
    wide = make_wide_run(folder / "wide", shapes, scale.history)
    narrow = make_wide_run(folder / "narrow", {"conv1": shapes["conv1"]}, scale.history)
    probed = make_wide_run(folder / "probed", shapes, scale.history, probes=4)
    big = max(shapes, key=lambda name: np.prod(shapes[name]))
    rows = _reading(wide, "conv1", scale)
    wide_ranges, narrow_ranges = (_byte_ranges(run, "conv1", index=True) for run in (wide, narrow))
    sides: dict[str, Side] = {
        "wide": lambda: _read(wide, "conv1"),
        "narrow": lambda: _read(narrow, "conv1"),
        "wide, raw": lambda: _read_raw(wide_ranges),
        "narrow, raw": lambda: _read_raw(narrow_ranges),
    }
    took = in_turn(sides, scale.rounds)
    alone = _median_ratio(took["wide"], took["narrow"])
    bare = _median_ratio(took["wide, raw"], took["narrow, raw"])
    what = "the same layer: times a run of it alone, by that of bare reads of the same bytes"
    note = f"{alone.wall:.3g} x; bare reads of it and of the index {bare.wall:.3g} x"
    ratio = alone.wall / bare.wall
    rows = [*rows, Row(what, ratio, "x", 1.1, cpu=alone.cpu / bare.cpu, note=note)]
    sides = {"with": lambda: _read(probed, "conv1"), "without": lambda: _read(wide, "conv1")}
    took = in_turn(sides, scale.rounds)
    what = "the same layer, in files with responses to probes: times without them"
    rows.append(times_the_cost(what, took["with"], took["without"], 1.2))
    return rows + _reading(wide, big, scale)


def _reading(run: Run, layer: str, scale: Scale) -> list[Row]:
    """Compare reading one layer at every step with reading its raw bytes."""
    ranges = _byte_ranges(run, layer)
    sides: dict[str, Side] = {
        "ours": lambda: _read(run, layer),
        "theirs": lambda: _read_raw(ranges),
    }
    took = in_turn(sides, scale.rounds)
    ((_, size),) = ranges[0][1]
    label = f"one layer ({size / 1e3:.3g} KB) of {len(run.layers)}, {len(ranges)} snapshots"
    what = f"{label}: times reading those bytes"
    return [times_the_cost(what, took["ours"], took["theirs"], 3)]


def _read(run: Run, layer: str) -> None:
    for _ in run.history(layer):
        pass


def _median_ratio(one: Sequence[Time], other: Sequence[Time]) -> Time:
    """Return the ratio of the medians of wall times, and that of CPU times."""
    first, second = median(one), median(other)
    return Time(first.wall / second.wall, first.cpu / second.cpu)


_Ranges = list[tuple[str, list[tuple[int, int]]]]
"""Files, and for each the offset and length of bytes in it."""


def _byte_ranges(run: Run, layer: str, *, index: bool = False) -> _Ranges:
    """Return where a layer's bytes are at each step, after the index of the file if wanted."""
    member = f"{layer}/kernel"
    size = 4 * int(np.prod(run.layers[layer].kernel_shape))
    ranges: _Ranges = []
    for step in run.steps:
        path = Path(str(run.file(step)))
        with zipfile.ZipFile(path) as archive:
            entry, tail = archive.getinfo(f"{member}.npy"), archive.start_dir
        with path.open("rb") as file:
            file.seek(entry.header_offset)
            head = file.read(30)
            names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        start = entry.header_offset + 30 + names + entry.file_size - size
        first = [(tail, path.stat().st_size - tail)] if index else []
        ranges.append((str(path), [*first, (start, size)]))
    return ranges


def _read_raw(ranges: _Ranges) -> None:
    for path, parts in ranges:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - faster than a Path for each file
            for start, size in parts:
                file.seek(start)
                file.read(size)
