"""Scenario: a convolutional model of two billion parameters, whose first two layers are tracked."""

import math
import os
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from scale_scenarios.process_cost import cost_of, memory, reset_peak
from scale_scenarios.report import Row, Scenario, seconds, size

_FIRST = {"conv1": (7, 7, 3, 64), "conv2": (3, 3, 64, 64)}
_WIDE, _BLOCKS, _LAST = 8192, 3, 2560
_SNAPSHOTS = 20
_FIRST_LIMIT = (
    "nothing, if you choose layers: other layers are neither read nor copied. Without `layers` "
    "every snapshot is the whole model. At most four copies of it are in memory (two wait, one is "
    "written, one is copied). The copy that is written needs another one of twice the size, "
    "because `.npy` has no bfloat16. The tracker says before the first batch what a snapshot "
    "takes."
)


class _Tracked(NamedTuple):
    """What was measured: seconds, bytes of memory, and bytes the tracker read."""

    parameters: int
    model: float
    discovery: float
    opening: float
    snapshots: list[float]
    grown: float
    read: int


def large_model(folder: Path, *, quick: bool) -> Scenario:
    """Build the model, and call the tracker as a training loop does."""
    wide, last = (256, 64) if quick else (_WIDE, _LAST)
    found: _Tracked = cost_of(_track, folder, wide, last).value
    shapes = [*_FIRST.values(), (3, 3, 64, wide), *_BLOCKS * [(3, 3, wide, wide)]]
    parameters = sum(map(math.prod, [*shapes, (3, 3, wide, last)]))
    first = 2 * sum(map(math.prod, _FIRST.values()))
    rows = [
        Row("parameters", f"{parameters:,}", f"{found.parameters:,}"),
        Row("memory of the model, bfloat16", size(2 * parameters), size(found.model)),
        Row("finding the layers", "", seconds(found.discovery)),
        Row("opening the run, and the first snapshot", "", seconds(found.opening)),
        Row(
            "the training thread, a snapshot",
            f"one copy of {size(first)}",
            f"{seconds(statistics.median(found.snapshots))}, at most "
            f"{seconds(max(found.snapshots))}",
        ),
        Row(
            f"weights looked at, in {_SNAPSHOTS + 1} snapshots",
            size((_SNAPSHOTS + 1) * first),
            size(found.read),
        ),
        Row(
            "memory that the tracker adds, its modules and drawing included",
            "tens of MB",
            size(found.grown),
        ),
        Row("bytes a snapshot, as float32", size(2 * first), size(_snapshot_bytes(folder))),
        Row("if all layers were tracked: a snapshot", f"{size(2 * parameters)} in memory, "
            f"{size(4 * parameters)} on disk"),
    ]  # fmt: skip
    billions = f"{parameters / 1e9:.3g} billion"
    return Scenario(f"{billions} parameters, the first two layers tracked", rows, _FIRST_LIMIT)


def _snapshot_bytes(folder: Path) -> int:
    return max(path.stat().st_size for path in folder.rglob("*.npz"))


def _track(folder: Path, wide: int, last: int) -> _Tracked:
    import keras  # noqa: PLC0415 - only in this process

    from filtertrack import FilterTracker  # noqa: PLC0415
    from filtertrack.capture.tracked_layers import TrackedLayers  # noqa: PLC0415

    before = memory("VmRSS")
    model = _model(keras, wide, last)
    built = memory("VmRSS")
    reset_peak()  # building needed more memory temporarily
    start = time.perf_counter()
    TrackedLayers(model, list(_FIRST))
    discovery = time.perf_counter() - start
    read = _Counted(keras.ops)
    tracker = FilterTracker(folder, layers=list(_FIRST), strict=True)
    tracker.set_model(model)
    times = []
    for step in range(_SNAPSHOTS + 1):
        start = time.perf_counter()
        tracker.snapshot(step)
        times.append(time.perf_counter() - start)
    tracker.close()
    parameters = sum(math.prod(weight.shape) for weight in model.weights)
    grown = memory("VmHWM") - built
    return _Tracked(parameters, built - before, discovery, times[0], times[1:], grown, read.bytes)


def _model(keras: Any, wide: int, last: int) -> Any:
    widths = [wide] * (_BLOCKS + 1) + [last]
    options = {"use_bias": False, "dtype": "bfloat16", "padding": "same"}
    layers = [
        keras.layers.Conv2D(shape[-1], shape[0], name=name, **options)
        for name, shape in _FIRST.items()
    ]
    layers += [
        keras.layers.Conv2D(width, 3, kernel_initializer="zeros", name=f"wide{number}", **options)
        for number, width in enumerate(widths)
    ]
    return keras.Sequential([keras.Input((None, None, 3)), *layers])


class _Counted:
    """Counts the bytes that Keras converts to numpy arrays."""

    def __init__(self, ops: Any) -> None:
        self.bytes = 0
        convert = ops.convert_to_numpy

        def counted(value: Any) -> Any:
            array = convert(value)
            self.bytes += array.nbytes
            return array

        ops.convert_to_numpy = counted
