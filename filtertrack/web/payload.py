"""The answer of ``/cells``: selected filters of a layer at many snapshots, packed as bytes.

A message is, compressed with gzip: the length of the head (4 bytes, little-endian), the head (JSON,
here ``CellsHead``), and the arrays. These are combined and reordered, so that they compress well:
each array but the first is replaced by its difference from the one before it, where the bits of
each number are read as an unsigned integer, or as two of 4 bytes (overflow wraps around); then the
bytes are sorted by their significance within a number, first all lowest ones. ``unpack`` in
``page/cells_message.js`` is the inverse.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
from zlib_ng import zlib_ng

from filtertrack.errors import FiltertrackError
from filtertrack.render.cells import View, to_cells, view_of
from filtertrack.render.grid import PAGE
from filtertrack.render.layer_look import noticeable_change
from filtertrack.render.look import Channels
from filtertrack.snapshot import LayerInfo, Moment, Snapshot, describe, total_bytes
from filtertrack.storage.run import Run
from filtertrack.web.step_answers import StepAnswer, StepsHead

MOST_ACROSS = 256
"""Filters, and input channels, of a 1x1 kernel's matrix in one answer, at most."""

_MOST_SNAPSHOT_BYTES = 4 << 20
"""Bytes of weights of one snapshot, at most, unless a single filter has more."""
_MOST_METRICS, _LONGEST_NAME = 16, 80
"""Metrics of a snapshot that are sent, and characters of their names, at most."""
_GZIP = 31
"""zlib's ``wbits`` for a gzip header and the largest window."""
_COMPRESSION_LEVEL = 2


class MomentSummary(TypedDict):
    """When a snapshot was taken.

    Attributes:
        step: Its step.
        epoch: Epochs completed.
        batch: Batches completed, or None if unknown.
        when: The moment in words, as in a caption.
        note: What the weights are, if not those of the training at that step; else empty.
        metrics: Finite metrics by name.
    """

    step: int
    epoch: int
    batch: int | None
    when: str
    note: str
    metrics: dict[str, float]


class CellsHead(StepsHead):
    """What the arrays of a message are: of ``float32`` or ``float64``.

    The shape of each is cells, height, width, and 1 or 3 channels.

    Attributes:
        moments: Of each array, in their order.
        noticeable: The change of each cell that is drawn, at least; None unless the difference from
            the start is requested.
    """

    moments: list[MomentSummary]
    noticeable: list[float] | None


@dataclass(frozen=True, slots=True)
class Part:
    """The filters of a layer that are requested, and how they are drawn.

    Attributes:
        run: The run.
        info: The layer.
        filters: Numbers of filters.
        channels: How input channels are drawn: see ``cells.view_of``.
        delta: Whether the difference from the first readable snapshot is requested.

    Raises:
        FiltertrackError: If the numbers are not 1 to ``filters_per_page`` different ones of the
            layer's filters.
    """

    run: Run
    info: LayerInfo
    filters: tuple[int, ...]
    channels: Channels = None
    delta: bool = False

    def __post_init__(self) -> None:
        """Validate the numbers of filters."""
        most = filters_per_page(self.info)
        if not 0 < len(self.filters) <= most or len(set(self.filters)) < len(self.filters):
            raise FiltertrackError(f"filters: expected 1 to {most} of them, each once")
        wrong = [n for n in self.filters if n not in range(self.info.filters)]
        if wrong:
            raise FiltertrackError(
                f"filters: layer {self.info.name} has the filters 0 to {self.info.filters - 1}, "
                f"got {wrong[0]}"
            )


def is_cut(info: LayerInfo, view: View) -> bool:
    """Return whether only a layer's first ``MOST_ACROSS`` input channels are sent."""
    return view.kind == "matrix" and info.shape[3] > MOST_ACROSS


def filters_per_page(info: LayerInfo) -> int:
    """Return how many of a layer's filters the page shows at a time, at most."""
    view = view_of(info, curves=False)
    if view.kind == "matrix":
        return MOST_ACROSS
    filter_bytes = 8 * view.height * view.width * (3 if view.coloured else 1)
    return max(1, min(PAGE, _MOST_SNAPSHOT_BYTES // max(filter_bytes, 1)))


def cells_at(
    part: Part, first: int, last: int, rewrite: Callable[[str], str] = str
) -> tuple[bytes, bool]:
    """Pack the cells of a part of a layer at the snapshots from ``first`` to ``last``.

    An answer holds as many snapshots as its limits allow; its head says where to continue. Rank-1
    patterns have the sign that each snapshot gives them alone; the page aligns them. Differences
    are sent whole; the page leaves out those that are not noticeable, which depends on the scale.

    Args:
        part: The part of the layer.
        first: The first step.
        last: The last step.
        rewrite: Changes the reason why a snapshot cannot be read before it is sent, such as to
            shorten the paths in it.

    Returns:
        The message, and whether every snapshot could be read.

    Raises:
        FiltertrackError: If ``part.delta`` and no snapshot of the run can be read.
    """
    head, arrays = read_cells(part, first, last, rewrite)
    return pack(head, arrays), not head["damaged"]


def read_cells(
    part: Part, first: int, last: int, rewrite: Callable[[str], str] = str
) -> tuple[CellsHead, list[np.ndarray]]:
    """Return the head and the arrays of the message of ``cells_at``."""
    view = view_of(part.info, part.channels, curves=False)
    start = noticeable = None
    if part.delta:
        first_kernels = read_first(part.run, part.info, part.run.steps)
        noticeable = noticeable_change(_cells(part, view, first_kernels, None)).tolist()
        start = _select(part, first_kernels).astype(np.float64)
        del first_kernels
    answer = StepAnswer[Snapshot](part.run, first, last, rewrite)
    moments: list[MomentSummary] = []
    for _, snapshot in answer.readable_steps(
        lambda step: part.run.snapshot(step, [part.info.name]), total_bytes([part.info])
    ):
        kernels = part.info.canonical(snapshot.arrays[part.info.kernel])
        if not answer.add(_cells(part, view, kernels, start)):
            break
        moments.append(_summarise(snapshot.moment))
    head: CellsHead = {"moments": moments, **answer.head, "noticeable": noticeable}
    return head, answer.arrays


def read_first(run: Run, info: LayerInfo, steps: Sequence[int]) -> np.ndarray:
    """Return a layer's filters at the first readable one of some steps: see ``first_readable``."""
    return first_readable(run, info, steps)[1]


def first_readable(run: Run, info: LayerInfo, steps: Sequence[int]) -> tuple[int, np.ndarray]:
    """Return the first of some steps whose snapshot is not damaged, and a layer's filters at it.

    Raises:
        FiltertrackError: If all are damaged.
    """
    for step in steps:
        try:
            return step, info.canonical(run.snapshot(step, [info.name]).arrays[info.kernel])
        except FiltertrackError:
            continue
    raise FiltertrackError("no snapshot of the run can be read")


def _select(part: Part, kernels: np.ndarray) -> np.ndarray:
    """Return the filters and channels that are sent, without a copy of the others."""
    if is_cut(part.info, view_of(part.info, curves=False)):
        kernels = kernels[..., :MOST_ACROSS]
    return kernels[list(part.filters)] if len(part.filters) < part.info.filters else kernels


def _cells(part: Part, view: View, kernels: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """Return the cells of one snapshot: see ``as_floats``."""
    kernels = _select(part, kernels)
    if start is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            kernels = kernels - start
    if view.kind == "matrix":
        view = replace(view, height=kernels.shape[-1], width=len(kernels))
    return as_floats(to_cells(view, kernels))


def as_floats(values: np.ndarray) -> np.ndarray:
    """Return numbers as ``float32`` where that is exact, else as ``float64``."""
    # float32 holds floats of up to four bytes and integers of up to two exactly.
    short_float = values.dtype.itemsize <= 4 and values.dtype.kind == "f"
    return values.astype(np.float32 if short_float or values.dtype.itemsize <= 2 else np.float64)


def _summarise(moment: Moment) -> MomentSummary:
    finite = [(name, value) for name, value in moment.metrics.items() if math.isfinite(value)]
    return {
        "step": moment.step,
        "epoch": moment.epoch,
        "batch": moment.batch,
        "when": describe(moment),
        "note": moment.note,
        "metrics": {name[:_LONGEST_NAME]: value for name, value in finite[:_MOST_METRICS]},
    }


def pack(
    head: Mapping[str, object], arrays: Sequence[np.ndarray], level: int = _COMPRESSION_LEVEL
) -> bytes:
    """Pack arrays of one shape and dtype behind a head.

    Args:
        head: What the arrays are: values that JSON can hold.
        arrays: All of one shape and dtype, of 1, 2, 4 or 8 bytes a number; may be empty.
        level: How hard to compress, from 1 to 9.

    Returns:
        The message, compressed with gzip.

    Raises:
        ValueError: If the dtypes differ, or the head holds NaN or infinity.
    """
    text = json.dumps(head, allow_nan=False).encode()
    parts = [len(text).to_bytes(4, "little"), text]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError("the arrays of a message are of one type")
    if arrays:
        parts.append(_shuffled(np.stack(arrays)))
    compressor = zlib_ng.compressobj(level, zlib_ng.DEFLATED, _GZIP)
    return b"".join([*map(compressor.compress, parts), compressor.flush()])


def finite(value: float, digits: int | None = None) -> float | None:
    """Return a number for the head of a message, or another JSON text.

    Args:
        value: The number.
        digits: Significant digits that are kept; None for all.

    Returns:
        The number; None if it is NaN or infinite, which JSON cannot hold.
    """
    if not math.isfinite(value):
        return None
    return float(value if digits is None else f"{value:.{digits}g}")


def _shuffled(arrays: np.ndarray) -> bytes:
    """Replace each array by its difference from the one before it; sort bytes by significance."""
    size = arrays.dtype.itemsize
    little_endian = arrays.dtype.newbyteorder("<")
    numbers = np.ascontiguousarray(arrays).astype(little_endian, copy=False)
    words = numbers.reshape(len(arrays), -1).view(f"<u{min(size, 4)}")
    changes = words.copy()
    changes[1:] -= words[:-1]
    return np.ascontiguousarray(changes.view(np.uint8).reshape(-1, size).T).tobytes()
