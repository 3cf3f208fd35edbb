"""The part of a layer that is looked at, as it goes to the browser."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from zlib_ng import zlib_ng

from filtertrack.errors import FiltertrackError
from filtertrack.render.cells import Channels, View, to_cells, view_of
from filtertrack.render.grid import PAGE
from filtertrack.snapshot import LayerInfo, Moment, describe, total_bytes
from filtertrack.storage.run import Run

_MOST_BYTES = 1 << 20
"""Bytes of weights in one answer, at most, or one snapshot's: unpacked while a frame is shown."""
_MOST_IN_A_SNAPSHOT = 4 << 20
_MOST_SNAPSHOTS = 128
_MOST_READ = 256 << 20
"""Bytes that are read for one answer, at most, or one snapshot's."""
_MOST_METRICS, _LONGEST = 16, 80
"""How many metrics of a snapshot are shown, and how many characters of their names."""
MOST_ACROSS = 256
"""Filters and channels of a 1x1 kernel's matrix that are shown, at most."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a layer is asked for, and how it is looked at.

    Attributes:
        run: The run.
        info: The layer.
        filters: Numbers of filters, ascending.
        channels: How input channels are drawn: see ``cells.view_of``.
        delta: Whether the difference from the first snapshot is asked for.
    """

    run: Run
    info: LayerInfo
    filters: tuple[int, ...]
    channels: Channels = None
    delta: bool = False

    def __post_init__(self) -> None:
        """Check the numbers once."""
        most = page_of(self.info)
        if not 0 < len(self.filters) <= most or len(set(self.filters)) < len(self.filters):
            raise FiltertrackError(f"filters: expected 1 to {most} of them, each once")
        wrong = [n for n in self.filters if n not in range(self.info.filters)]
        if wrong:
            raise FiltertrackError(
                f"filters: layer {self.info.name} has the filters 0 to {self.info.filters - 1}, "
                f"got {wrong[0]}"
            )


def is_cut(info: LayerInfo, view: View) -> bool:
    """Whether only the first input channels are shown."""
    return view.kind == "matrix" and info.shape[3] > MOST_ACROSS


def page_of(info: LayerInfo) -> int:
    """Return how many filters are shown at a time, at most."""
    view = view_of(info)
    if view.kind == "matrix":
        return MOST_ACROSS
    each = 8 * view.height * view.width * (3 if view.coloured else 1)
    return max(1, min(PAGE, _MOST_IN_A_SNAPSHOT // max(each, 1)))


def cells_at(
    part: Part, first: int, last: int, say: Callable[[str], str] = str
) -> tuple[bytes, bool]:
    """Pack the cells of a part of a layer at the snapshots from ``first`` to ``last``.

    As many as fit into one answer; the head says which: the ``moments`` of those that follow,
    ``damaged`` ones with the reason, and ``next``, the first that was not looked at.

    Rank-1 patterns have the sign of their own snapshot; the page lets them follow on.

    Args:
        part: The part of the layer.
        first: The first step.
        last: The last step.
        say: Makes of a reason, which names files, what may be sent.

    Returns:
        The message, and whether every snapshot could be read: what could not may be soon.
    """
    asked = [step for step in part.run.steps if first <= step <= last]
    most = max(1, min(_MOST_SNAPSHOTS, _MOST_READ // max(1, total_bytes([part.info]))))
    arrays: list[np.ndarray] = []
    moments: list[dict[str, Any]] = []
    damaged: dict[int, str] = {}
    for step, moment, drawn in _drawn(part, asked[:most]):
        if moment is None:
            damaged[step] = say(str(drawn))
            continue
        if arrays and not _fits(drawn, arrays):
            break
        arrays.append(drawn)
        moments.append(_describe(moment))
    looked = len(arrays) + len(damaged)
    head = {
        "moments": moments,
        "damaged": damaged,
        "next": asked[looked] if looked < len(asked) else None,
        "type": arrays[0].dtype.name if arrays else None,
        "shape": arrays[0].shape if arrays else None,
    }
    return pack(head, arrays), not damaged


def _fits(drawn: np.ndarray, arrays: Sequence[np.ndarray]) -> bool:
    """Whether cells go into the same answer; a training may go on in another precision."""
    size = (len(arrays) + 1) * drawn.nbytes
    return drawn.dtype == arrays[0].dtype and size <= _MOST_BYTES


def _drawn(part: Part, steps: Sequence[int]) -> Iterator[tuple[int, Moment | None, Any]]:
    """Yield step, moment and cells of each snapshot; without a moment, why it cannot be read."""
    view = view_of(part.info, part.channels)
    start = None
    if part.delta:
        start = _chosen(part, readable(part.run, part.info, part.run.steps)).astype(np.float64)
    for step in steps:
        try:
            snapshot = part.run.snapshot(step, [part.info.name])
        except FiltertrackError as error:
            yield step, None, error
            continue
        kernels = part.info.canonical(snapshot.arrays[part.info.kernel])
        yield step, snapshot.moment, _cells(part, view, kernels, start)


def _chosen(part: Part, kernels: np.ndarray) -> np.ndarray:
    """Return the weights that are asked for, without a copy of the others."""
    if is_cut(part.info, view_of(part.info)):
        kernels = kernels[..., :MOST_ACROSS]
    return kernels[list(part.filters)] if len(part.filters) < part.info.filters else kernels


def _cells(part: Part, view: View, kernels: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    kernels = _chosen(part, kernels)
    if start is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            kernels = kernels - start
    if view.kind == "matrix":
        view = replace(view, height=kernels.shape[-1], width=len(kernels))
    drawn = to_cells(view, kernels)
    # Floats of up to four bytes and small whole numbers are float32 without any loss.
    exact = drawn.dtype.itemsize <= 4 and drawn.dtype.kind == "f"
    return drawn.astype(np.float32 if exact or drawn.dtype.itemsize <= 2 else np.float64)


def _describe(moment: Moment) -> dict[str, Any]:
    finite = [(name, value) for name, value in moment.metrics.items() if math.isfinite(value)]
    metrics = {name[:_LONGEST]: value for name, value in finite[:_MOST_METRICS]}
    return {
        "step": moment.step,
        "epoch": moment.epoch,
        "batch": moment.batch,
        "when": describe(moment),
        "note": moment.note,
        "metrics": metrics,
    }


def readable(run: Run, info: LayerInfo, steps: Sequence[int]) -> np.ndarray:
    """Return a layer's filters at the first of some steps that is not damaged."""
    for step in steps:
        try:
            return info.canonical(run.snapshot(step, [info.name]).arrays[info.kernel])
        except FiltertrackError:
            continue
    raise FiltertrackError("no snapshot of the run can be read")


_GZIP = 31
"""What zlib calls its window, for a gzip head."""
_LEVEL = 2


def pack(head: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """Pack arrays of one shape and type.

    Args:
        head: What is said of them, as JSON can hold it.
        arrays: ``float32`` or ``float64``, each of the same shape; there may be none.

    Returns:
        The message, compressed (gzip).
    """
    text = json.dumps(head, allow_nan=False).encode()
    parts = [len(text).to_bytes(4, "little"), text]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError("the arrays of a message are of one type")
    if arrays:
        parts.append(_shuffled(np.stack(arrays)))
    compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, _GZIP)
    return b"".join([*map(compressor.compress, parts), compressor.flush()])


def _shuffled(arrays: np.ndarray) -> bytes:
    size = arrays.dtype.itemsize
    numbers = np.ascontiguousarray(arrays).astype(f"<f{size}", copy=False).view(f"<u{size}")
    changes = numbers.copy()
    changes[1:] ^= numbers[:-1]
    return np.ascontiguousarray(changes.view(np.uint8).reshape(-1, size).T).tobytes()
