"""Benchmarks of training: cost of tracking, against a bare copy, no tracker and alternatives."""

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import demo
from benchmarks.comparison import (
    Row,
    Scale,
    Side,
    Time,
    apart,
    at_most,
    in_turn,
    median,
    seconds,
    timed,
    times_faster,
    times_the_cost,
    write_to_disk,
)
from benchmarks.matplotlib_baselines import plot_to_image
from filtertrack import Run
from filtertrack.capture import background_writer

_HOOKS = ("on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end")
_MOST_ADDED = {"epoch": 1.0, "log": 5.0}
_FITS = 4
"""Upper bound on rounds: a fit takes half a minute."""


def training(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure the cost of one snapshot, of the end of a training, and of a whole training."""
    yield from apart(_snapshots, "the demo", folder / "demo", scale)
    if scale.large:
        yield from apart(_snapshots, "ResNet-50", folder / "resnet", scale)
    yield from apart(_fits, folder, scale)


def _snapshots(name: str, folder: Path, scale: Scale) -> list[Row]:
    """Measure one snapshot: wall time of the training thread, CPU time of the background thread."""
    import keras  # noqa: PLC0415 - only in the process that trains

    from filtertrack import FilterTracker  # noqa: PLC0415

    logging.getLogger("filtertrack").addHandler(logging.NullHandler())
    small = name == "the demo"
    model = demo.make_model(demo.CLASSES, 1) if small else keras.applications.ResNet50(weights=None)
    layers = [each for each in model.layers if isinstance(each, keras.layers.Conv2D)]
    noise = [np.random.default_rng(0).normal(0, 1e-3, each.kernel.shape) for each in layers]
    raw = b"".join(each.kernel.numpy().tobytes() for each in layers)
    tracker = FilterTracker(folder)
    tracker.set_model(model)
    tracker.set_params({"epochs": 1000, "steps": 1})
    tracker.on_train_begin()
    tracker.on_epoch_begin(0)
    epochs = iter(range(1000))

    def learn() -> None:
        """Change every weight, so that there is something to draw."""
        _background_done(folder)
        for layer, change in zip(layers, noise, strict=True):
            layer.kernel.assign_add(change)

    def until_done() -> None:
        tracker.on_epoch_end(next(epochs))
        _background_done(folder)

    copies: dict[str, Side] = {
        "ours": lambda: tracker.on_epoch_end(next(epochs)),
        "theirs": lambda: [np.array(keras.ops.convert_to_numpy(each.kernel)) for each in layers],
    }
    rounds = 10 * scale.rounds if small else scale.rounds
    copied = in_turn(copies, rounds, time.thread_time, learn)
    ours, theirs = median(copied["ours"]), median(copied["theirs"])
    _background_done(folder)
    written, before = _event_bytes(folder), len(Run(folder).steps)
    writes: dict[str, Side] = {
        "ours": until_done,
        "theirs": lambda: write_to_disk(folder / "raw", raw),
    }
    behind = in_turn(writes, rounds, between=learn)
    taken = len(Run(folder).steps)
    events = (_event_bytes(folder) - written) / (taken - before)
    end = timed(tracker.on_train_end)
    if taken != next(epochs) + 1:
        raise RuntimeError(f"{taken} snapshots are there: some are missing")
    label = f"{name} ({len(layers)} convolutions, {len(raw) / 1e6:.3g} MB)"
    thread = f"{label}, a snapshot: the training thread"
    above = at_most(f"{thread} above a bare copy", 1e3 * (ours - theirs).wall, "ms", 1)
    return [
        times_the_cost(
            f"{thread}, times a bare copy", copied["ours"], copied["theirs"], None if small else 1.3
        ),
        *([above] if small else []),
        _times_the_cpu(
            f"{label}, a snapshot: CPU of the background, times writing its bytes once",
            [each - ours for each in behind["ours"]],
            behind["theirs"],
            None if small else 5,
        ),
        Row(
            f"{label}, a snapshot: bytes of events, of its weights",
            100 * events / len(raw),
            "%",
            None if small else 3,
            note=f"{events / 1e3:.3g} KB",
        ),
        Row(
            f"{label}, the end: pictures of {taken} snapshots",
            end.wall,
            "s",
            None if small else 1.5,
            cpu=end.cpu,
        ),
    ]


def _times_the_cpu(
    what: str, ours: Sequence[Time], theirs: Sequence[Time], goal: float | None
) -> Row:
    """Return the ratio of our CPU time to theirs: the median over the rounds."""
    pairs = zip(ours, theirs, strict=True)
    ratio = statistics.median(one.cpu / max(other.cpu, 1e-6) for one, other in pairs)
    note = f"{seconds(median(ours).cpu)} against {seconds(median(theirs).cpu)}"
    return Row(what, ratio, "x", goal, cpu=ratio, note=note)


def _event_bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in (folder / "filters").glob("events.out.tfevents.*"))


def _background_done(folder: Path) -> None:
    """Wait until the process is idle and no file is being written."""
    quiet = 0
    while quiet < 5:
        began = time.process_time()
        time.sleep(0.01)
        half = any((folder / "filters" / "snapshots").glob(".*.tmp"))
        quiet = 0 if half or time.process_time() - began > 0.002 else quiet + 1


def _fits(folder: Path, scale: Scale) -> list[Row]:
    """Time ``fit`` of the demo's model with and without callbacks, from the same weights."""
    import keras  # noqa: PLC0415 - only in the process that trains

    from filtertrack import FilterTracker  # noqa: PLC0415

    logging.getLogger("filtertrack").addHandler(logging.NullHandler())
    training, _ = demo.make_patches(scale.patches, np.random.default_rng(0))
    batches = -(-len(training[0]) // demo.BATCH)
    model = demo.make_model(demo.CLASSES, scale.epochs * batches)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [np.array(variable) for variable in variables]
    parts: dict[str, list[_Parts]] = {}

    def fit(name: str, *callbacks: Any) -> None:
        first = name not in parts  # not counted: a warm-up of one epoch
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        clock = _EpochClock()
        with _clocked(callbacks) as added:
            model.fit(
                *training,
                batch_size=demo.BATCH,
                epochs=1 if first else scale.epochs,
                verbose=0,
                callbacks=[clock.callback(), *callbacks],
            )
        parts.setdefault(name, [])
        if not first:
            parts[name].append(clock.parts(added))

    def somewhere() -> Path:
        return Path(tempfile.mkdtemp(dir=folder)) / "run"

    sides = {
        "alone": lambda: fit("alone"),
        # As keras.callbacks.TensorBoard, to which it is compared, it writes histograms.
        "epoch": lambda: fit("epoch", FilterTracker(somewhere(), histograms=True)),
        "log": lambda: fit("log", FilterTracker(somewhere(), schedule="log")),
        "keras": lambda: fit(
            "keras", keras.callbacks.TensorBoard(somewhere(), histogram_freq=1, write_images=True)
        ),
        "again": lambda: fit("again"),
    }
    in_turn(sides, min(scale.rounds, _FITS))
    in_turn({"recipe": lambda: fit("recipe", _plot_to_image(somewhere()))}, 1)
    return _fit_rows(f"fit, the demo, {scale.epochs} epochs of {batches} batches", parts)


def _fit_rows(what: str, parts: Mapping[str, Sequence["_Parts"]]) -> list[Row]:
    """Compare the times of each kind of ``fit``."""
    whole = {name: [_typical(each)] for name, each in parts.items()}
    added = {name: [median([part.added for part in each])] for name, each in parts.items()}
    alone, recipe = whole["alone"], whole["recipe"]
    keras_name = "keras.callbacks.TensorBoard(write_images=True, histogram_freq=1)"
    return [
        times_the_cost(f"{what}: times fit alone", whole["epoch"], alone, 1.01),
        times_the_cost(f"{what}, schedule='log': times fit alone", whole["log"], alone, 1.05),
        times_the_cost(f"{what}, nothing of ours: times fit alone (noise)", whole["again"], alone),
        *(_added(what, name, added[name][0], alone[0], goal) for name, goal in _MOST_ADDED.items()),
        times_the_cost(f"{what}: times {keras_name}", whole["epoch"], whole["keras"], 1.0),
        times_the_cost(f"{what}, plot_to_image each epoch: times fit alone", recipe, alone),
        times_faster(
            f"{what}: plot_to_image adds, times what we add", added["epoch"], added["recipe"], 50
        ),
    ]


def _added(what: str, schedule: str, added: Time, alone: Time, goal: float) -> Row:
    label = f"{what}, schedule='{schedule}': hooks and background work, of fit alone"
    share = 100 * added.wall / alone.wall
    note = f"{seconds(added.wall)} of {seconds(alone.wall)}"
    return Row(label, share, "%", goal, cpu=100 * added.cpu / alone.cpu, note=note)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The time of one ``fit``, in parts.

    Attributes:
        epochs: Each epoch.
        rest: Everything before, between and after the epochs.
        added: Time added by callbacks, in their hooks and in the background thread.
    """

    epochs: list[Time]
    rest: Time
    added: Time


def _typical(parts: Sequence[_Parts]) -> Time:
    """Return the typical time of a ``fit``: the sum of the medians of each epoch and of the rest.

    On a shared machine the medians of single epochs vary less than whole fits.
    """
    epochs = [median(epoch) for epoch in zip(*(part.epochs for part in parts), strict=True)]
    return sum(epochs, median([part.rest for part in parts]))


class _EpochClock:
    """Times the epochs of a ``fit``, as its first callback: other callbacks' hooks are excluded."""

    def __init__(self) -> None:
        self._began = self._now()
        self._epoch = Time(0, 0)
        self._epochs: list[Time] = []

    def callback(self) -> Any:
        import keras  # noqa: PLC0415 - only in the process that trains

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda *_: self._begin(), on_epoch_end=lambda *_: self._end()
        )

    def parts(self, added: Sequence[Time]) -> _Parts:
        whole = self._now() - self._began
        return _Parts(self._epochs, whole - sum(self._epochs, Time(0, 0)), sum(added, Time(0, 0)))

    def _begin(self) -> None:
        self._epoch = self._now()

    def _end(self) -> None:
        self._epochs.append(self._now() - self._epoch)

    @staticmethod
    def _now() -> Time:
        return Time(time.perf_counter(), time.process_time())


@contextmanager
def _clocked(callbacks: Sequence[Any]) -> Iterator[list[Time]]:
    """Collect the time callbacks add: in their hooks, and in our background thread.

    For the background thread its CPU time is also taken as wall time, as if it ran alone.
    """
    times: list[Time] = []

    def clocked(function: Callable[..., Any], *, behind: bool = False) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> None:
            took = timed(lambda: function(*args, **kwargs), time.thread_time)
            times.append(Time(took.cpu, took.cpu) if behind else took)

        return call

    for callback in callbacks:
        for name in _HOOKS:
            hook = getattr(callback, name)
            if not getattr(hook, "_is_default", False):  # Keras does not call default hooks
                setattr(callback, name, clocked(hook))
    work = clocked(background_writer._work, behind=True)  # noqa: SLF001 - not public
    with mock.patch.object(background_writer, "_work", work):
        yield times


def _plot_to_image(folder: Path) -> Any:
    """Make the callback of TensorFlow's documentation: a figure for each layer, each epoch."""
    import keras  # noqa: PLC0415 - only in the process that trains
    import tensorflow as tf  # noqa: PLC0415

    writer = tf.summary.create_file_writer(str(folder))

    class PlotToImage(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            with writer.as_default(step=epoch):
                for layer in self.model.layers:
                    if isinstance(layer, keras.layers.Conv2D):
                        png = plot_to_image(layer.kernel.numpy())
                        image = tf.image.decode_png(png, channels=4)
                        tf.summary.image(layer.name, image[tf.newaxis])

    return PlotToImage()
