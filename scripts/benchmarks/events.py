"""Benchmarks of event files: against ``tf.summary.image`` of the same pictures."""

import statistics
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from benchmarks.comparison import Row, Scale, apart, at_most, in_turn, times_the_cost
from benchmarks.drawing import grid
from benchmarks.synthetic_runs import KERNELS, make_run
from filtertrack import Moment, Run, Snapshot
from filtertrack.render.grid import to_image
from filtertrack.tensorboard_plugin.summaries import Summaries

SHAPES = {**KERNELS, "64 channels": (3, 3, 64, 64), "1×1": (1, 1, 64, 256)}
_FRAME = 16
"""Bytes of a record beside its data: the length and two checksums."""
_THEIRS = "tf.summary.image"


def events(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure bytes and CPU time of a snapshot's events, for a layer of each kind."""
    for number, (name, shape) in enumerate(SHAPES.items()):
        yield from apart(_layer, name, shape, folder / str(number), scale)


def _layer(name: str, shape: tuple[int, ...], folder: Path, scale: Scale) -> list[Row]:
    import tensorflow as tf  # noqa: PLC0415 - only in this process

    run = make_run(folder / "ours", shape, 2)
    arrays = run.snapshot(1).arrays
    summaries, writer = (
        Summaries(run, histograms=True),
        tf.summary.create_file_writer(str(folder / "theirs")),
    )
    pictures = _pictures(run)
    steps, others = count(), count()

    def ours() -> None:
        step = next(steps)
        summaries.add(Snapshot(Moment(step, step), arrays))

    def theirs() -> None:
        with writer.as_default(step=next(others)):
            tf.summary.image("filters/conv1", pictures, max_outputs=len(pictures))
            writer.flush()

    took = in_turn({"ours": ours, "theirs": theirs}, 5 * scale.rounds)
    mine = _event_bytes(Path(str(run.folder))) / next(steps)
    other = _event_bytes(folder / "theirs") / next(others)
    picture = _picture_bytes(Path(str(run.folder)))
    label = f"events of a snapshot, {name}"
    sizes = f"{picture / 1e3:.3g} against {other / 1e3:.3g} KB"
    more = f"{mine / 1e3:.3g} KB: also scalars and distributions"
    return [
        at_most(f"{label}: bytes of the picture, times {_THEIRS}", picture / other, "x", 1, sizes),
        Row(f"{label}: all bytes, times {_THEIRS}", mine / other, "x", note=more),
        times_the_cost(
            f"{label}: drawn, measured and written, times {_THEIRS} of the finished picture",
            took["ours"],
            took["theirs"],
            1,
        ),
    ]


def _pictures(run: Run) -> np.ndarray:
    """Draw the last snapshot as we do: ``uint8`` array of shape ``(pages, height, width, 3)``."""
    pages = grid(run.kernels("conv1", run.steps[-1]))
    return np.stack([np.asarray(to_image(page).convert("RGB")) for page in pages])


def _picture_bytes(folder: Path) -> float:
    """Return the mean bytes of a record that contains only the pictures."""
    (file,) = folder.glob("events.out.tfevents.*")
    sizes: list[int] = []
    reader = PyRecordReader_New(str(file))
    with suppress(errors.OutOfRangeError):
        while True:
            reader.GetNext()
            event = Event.FromString(reader.record())
            values = [each for each in event.summary.value if each.tag.startswith("filters/")]
            if values:
                event.summary.CopyFrom(Summary(value=values))
                sizes.append(event.ByteSize() + _FRAME)
    return statistics.mean(sizes)


def _event_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("events.out.tfevents.*"))
