"""Writes synthetic runs: weights that change from noise to smooth filters, with added noise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from filtertrack import LayerInfo, Moment, Run, Snapshot
from filtertrack.response import PLACES, LayerResponse, ProbedLayer, StoredProbes

KERNELS = {"colour": (7, 7, 3, 64), "one channel": (3, 3, 1, 32)}
"""``(height, width, channels, filters)``: the first layer of ResNet, and a small grey layer."""


def describe(name: str, shape: tuple[int, ...]) -> LayerInfo:
    """Describe a ``Conv2D`` whose kernel is ``(height, width, channels, filters)``."""
    height, width, channels, filters = shape
    return LayerInfo(
        name=name,
        path=name,
        class_name="Conv2D",
        kernel=f"{name}/kernel",
        bias=None,
        kernel_shape=(height, width, channels, filters),
        axes=(3, 0, 1, 2),
        shape=(filters, height, width, channels),
        dtype="float32",
    )


def make_run(folder: Path, shape: tuple[int, ...], frames: int) -> Run:
    """Write a run of one layer, ``conv1``, with two metrics.

    Args:
        folder: The run's folder.
        shape: The kernel's shape, ``(height, width, channels, filters)``.
        frames: Number of snapshots.

    Returns:
        The run.
    """
    run = Run.create(folder, [describe("conv1", shape)])
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape)
    end = rng.normal(size=shape).cumsum(axis=0).cumsum(axis=1)
    end -= end.mean(axis=(0, 1))
    noise = np.zeros(shape)
    for step in range(frames):
        share = 1 - np.exp(-6 * step / frames)
        noise += 0.02 * rng.normal(size=shape)
        kernel = ((1 - share) * start + share * end + noise).astype(np.float32)
        loss = 3 * np.exp(-step / 40) + 0.1 * rng.random()
        metrics = {"loss": float(loss), "accuracy": float(1 - loss / 3.2)}
        moment = Moment(step, step // 10, step, metrics if step else {})
        run.append(Snapshot(moment, {"conv1/kernel": kernel}))
    return run


def make_wide_run(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], count: int, *, probes: int = 0
) -> Run:
    """Write a run of several layers of noise.

    Args:
        folder: The run's folder.
        shapes: Layer name to the kernel's shape, ``(height, width, channels, filters)``.
        count: Number of snapshots.
        probes: Number of probes, to each of which every layer has responses of 8x8; 0 for none.

    Returns:
        The run.
    """
    run = Run.create(folder, [describe(name, shape) for name, shape in shapes.items()])
    rng = np.random.default_rng(0)
    arrays = {
        f"{name}/kernel": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    responses = {}
    if probes:
        layers = {name: ProbedLayer(name, "its output", True, (8, 8), (8, 8)) for name in shapes}
        images = rng.uniform(size=(probes, 32, 32, 3)).astype(np.float32)
        run.store_probes(StoredProbes({"images": images}, layers, probes))
        responses = {name: _response(probes, shape[-1]) for name, shape in shapes.items()}
    for step in range(count):
        run.append(Snapshot(Moment(step, step), arrays, responses))
    return run


def _response(probes: int, filters: int) -> LayerResponse:
    return LayerResponse(
        np.full((probes, filters, 8, 8), 255, np.uint8),
        np.ones((3, probes, filters), np.float32),
        np.zeros((filters, PLACES, 4), np.float32),
    )
