"""Baselines: common matplotlib code that draws filters as subplots."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from filtertrack import Run

COLUMNS, SIZE = 8, 700
"""Filters in a row of an animation, and its approximate width in pixels."""


def plot_to_image(kernel: np.ndarray, inches: float = 10) -> bytes:
    """Draw a layer as TensorFlow's documentation does: a figure with one subplot for each filter.

    Args:
        kernel: Array of shape ``(height, width, channels, filters)``.
        inches: The figure's side; 10 in the documentation, 100 pixels each.

    Returns:
        A PNG file's bytes.
    """
    count = kernel.shape[-1]
    figure = plt.figure(figsize=(inches, inches))
    for number in range(count):
        plt.subplot(-(-count // COLUMNS), COLUMNS, number + 1)
        plt.xticks([])
        plt.yticks([])
        plt.imshow(_normalised(kernel[..., number]), cmap="gray")
    buffer = io.BytesIO()
    plt.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()


def subplots(run: Run) -> Iterator[np.ndarray]:
    """Draw the common way: a new figure for each frame, a subplot for each filter."""
    losses = [run.moment(step).metrics.get("loss", np.nan) for step in run.steps]
    for step in run.steps:
        figure, axes = _figure(run, losses, step)
        kernel = np.load(str(run.file(step)))["conv1/kernel"]
        for number, axis in enumerate(axes):
            axis.imshow(_normalised(kernel[..., number]), cmap="gray")
        figure.canvas.draw()
        yield np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
        plt.close(figure)


def subplots_reused(run: Run) -> Iterator[np.ndarray]:
    """Draw the faster way: axes are created once, and their images updated."""
    losses = [run.moment(step).metrics.get("loss", np.nan) for step in run.steps]
    figure, axes = _figure(run, losses, 0)
    images = []
    kernel = np.load(str(run.file(run.steps[0])))["conv1/kernel"]
    for number, axis in enumerate(axes):
        images.append(axis.imshow(_normalised(kernel[..., number]), cmap="gray", vmin=0, vmax=1))
    marker = figure.axes[0].lines[-1]
    title = figure.texts[0]
    for step in run.steps:
        kernel = np.load(str(run.file(step)))["conv1/kernel"]
        for number, image in enumerate(images):
            image.set_data(_normalised(kernel[..., number]))
        marker.set_xdata([step, step])
        title.set_text(_headline(run, step))
        figure.canvas.draw()
        yield np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)


def _figure(run: Run, losses: Sequence[float], step: int) -> tuple[Any, list[Any]]:
    """Make a figure of about our size: headline, loss with a marker, a subplot for each filter."""
    count = run.layers["conv1"].filters
    rows = -(-count // COLUMNS)
    figure = plt.figure(figsize=(SIZE / 100, (rows * SIZE / COLUMNS + 100) / 100), dpi=100)
    cells = figure.add_gridspec(rows + 1, COLUMNS)
    curve = figure.add_subplot(cells[0, :])
    curve.plot(losses)
    curve.axvline(step)
    figure.suptitle(_headline(run, step))
    axes = []
    for number in range(count):
        axis = figure.add_subplot(cells[1 + number // COLUMNS, number % COLUMNS])
        axis.set_xticks([])
        axis.set_yticks([])
        axes.append(axis)
    return figure, axes


def _headline(run: Run, step: int) -> str:
    moment = run.moment(step)
    return f"epoch {moment.epoch}, batch {moment.batch}, {dict(moment.metrics)}"


def _normalised(kernel: np.ndarray) -> np.ndarray:
    """Scale a filter to 0..1: three channels as colour, otherwise only the first channel."""
    low, high = kernel.min(), kernel.max()
    unit: np.ndarray = (kernel - low) / (high - low)
    return unit if unit.shape[-1] == 3 else unit[..., 0]
