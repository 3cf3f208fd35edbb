"""Benchmarks of probes: the cost of a snapshot's pass, of its reduction, and its size on disk."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import demo
from benchmarks.comparison import (
    Row,
    Scale,
    apart,
    at_most,
    in_turn,
    median,
    seconds,
    timed,
    times_the_cost,
)

_DEMO_PROBES, _LARGE_PROBES = 52, 8


def probes(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure what probes cost at each snapshot, against the bare pass of the same images."""
    del folder
    yield from apart(_passes, "the demo", scale)
    if scale.large:
        yield from apart(_passes, "ResNet-50", scale)


def _passes(name: str, scale: Scale) -> list[Row]:
    """Compare a snapshot's pass with the model alone, compiled, in inference mode."""
    import keras  # noqa: PLC0415 - only in the process that trains

    from filtertrack.capture.probe_pass import ProbePass  # noqa: PLC0415
    from filtertrack.capture.probes import Probes  # noqa: PLC0415
    from filtertrack.capture.startup_log import response_bytes  # noqa: PLC0415
    from filtertrack.capture.tracked_layers import TrackedLayers  # noqa: PLC0415

    logging.getLogger("filtertrack").addHandler(logging.NullHandler())
    small = name == "the demo"
    model = demo.make_model(demo.CLASSES, 1) if small else keras.applications.ResNet50(weights=None)
    count = _DEMO_PROBES if small else _LARGE_PROBES
    shape = (count, *model.input_shape[1:])
    images = np.random.default_rng(0).random(shape, np.float32)
    source = TrackedLayers(model, probes=Probes(images))
    began = time.perf_counter()
    ours = source.prepare_probes()
    if not isinstance(ours, ProbePass):
        raise TypeError("the tracker has no probes")
    prepared = time.perf_counter() - began
    alone = _compiled(model)
    given = keras.ops.convert_to_tensor(images)
    waiting: list[Any] = []

    def show() -> None:
        waiting[:] = [ours.responses(_raise)]

    took = in_turn(
        {"ours": show, "alone": lambda: alone(given)},
        (10 if small else 1) * scale.rounds,
        between=lambda: [dict(each) for each in waiting],
    )
    behind = []
    for _ in range(scale.rounds):
        show()
        behind.append(timed(lambda: dict(waiting[0]), time.thread_time))
    values = sum(
        count * layer.shape[0] * layer.shape[1] * source_info.filters
        for layer in ours.stored.layers.values()
        for source_info in source.infos
        if source_info.name == layer.name
    )
    reduction, bare = median(behind), median(took["alone"])
    label = f"{name}, {count} probes of {shape[1]}x{shape[2]}, {len(ours.stored.layers)} layers"
    size = response_bytes(list(source.infos), ours.stored)
    return [
        times_the_cost(
            f"{label}, a snapshot: the training thread, times the bare pass",
            *(took["ours"], took["alone"], 1.2),
        ),
        at_most(
            f"{label}, a snapshot: CPU of the reduction in the background, of the bare pass",
            100 * reduction.cpu / bare.cpu,
            *("%", 50, f"{seconds(reduction.cpu)}, {1e9 * reduction.cpu / values:.3g} ns a value"),
        ),
        Row(f"{label}, a snapshot: responses", size / 1e6, "MB"),
        Row(f"{label}: preparing the pass, once", 1e3 * prepared, "ms"),
    ]


def _compiled(model: Any) -> Any:
    """Return the model in inference mode, compiled by TensorFlow."""
    import tensorflow as tf  # noqa: PLC0415 - only in the process that trains

    return tf.function(lambda images: model(images, training=False))


def _raise(error: Exception) -> None:
    raise error
