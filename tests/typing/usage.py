"""Calls of the public functions as users write them: checked by mypy, never run."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from filtertrack import (
    Animation,
    ArrayTracker,
    FilterTracker,
    LayerInfo,
    Probes,
    Run,
    TorchTracker,
    animate,
    filmstrip,
    plot_dot_product,
    plot_filters,
    plot_strongest_patches,
)


def track() -> FilterTracker:
    """Every type of each option."""
    FilterTracker("runs/exp1")
    FilterTracker(Path("runs/exp1"), layers="conv1", schedule="log", existing="replace")
    FilterTracker("runs/exp1", layers=["conv1", "block?/*"], schedule=100, strict=True)
    FilterTracker("runs/exp1", live=True)
    return FilterTracker(
        "runs/exp1",
        layers=lambda layer: bool(layer.trainable),
        schedule=lambda epoch, batch: batch % 7 == epoch,
    )


def probe(images: np.ndarray, dataset: Iterable[tuple[np.ndarray, np.ndarray]]) -> Probes:
    """Every kind of probes."""
    FilterTracker("runs/exp1", probes=images[:8])
    FilterTracker("runs/exp1", probes="photos/*.jpg")
    FilterTracker("runs/exp1", probes=[Path("cat.jpg"), "dog.jpg"])
    FilterTracker("runs/exp1", probes=(images, [0, 1]))
    FilterTracker("runs/exp1", probes={"left": images, "right": images})
    FilterTracker("runs/exp1", probes=dataset)
    FilterTracker("runs/exp1", probes=Probes(Path("photos"), labels=[0, 1], values=(-1, 1)))
    return Probes(images, labels=images[:, 0], layers=["conv1"], map_size=48, maps=8)


def track_in_a_loop(module: object, kernel: np.ndarray) -> None:
    """Trackers for loops of torch and for arrays."""
    with TorchTracker("runs/exp1", module, layers=["conv1"], schedule="log") as tracker:
        tracker.step({"loss": 1.0})
        tracker.step()
        tracker.end_epoch(metrics={"val_loss": 0.5})
    TorchTracker(Path("runs/exp1"), module, initial_step=100, keep=50, existing="new").close()
    with ArrayTracker("runs/exp2", strict=True) as arrays:
        arrays.snapshot(0, {"conv1": kernel}, axes="HWIO")
        arrays.snapshot(
            *(1, {"conv1": kernel}, {"conv1": "OIHW"}, {"conv1": kernel[0]}),
            epoch=1,
            batch=5,
            metrics={"loss": 1.0},
        )


def read() -> np.ndarray:
    """Types of a run's attributes."""
    run = Run("runs/exp1")
    info: LayerInfo = run.layers["conv1"]
    steps: list[int] = run.steps
    loss: float = run.moment(steps[-1]).metrics["loss"]
    shape: tuple[int, int, int, int] = info.shape
    return run.kernels("conv1", step=0) * loss * shape[0]


def draw() -> Animation:
    """A run or its folder."""
    animate(Run("runs/exp1"), "evolution.gif", fps=5, scale="filter", hold=(1, 2))
    animate("runs/exp1", Path("a.mp4"), compare=Run("runs/exp2"), filters=range(16), seconds=8)
    animation = animate("runs/exp1", layers=["conv1", "conv2"], time="log", order="similarity")
    animate("runs/exp1", compare="runs/exp2", match=True, one_scale=True, delta=None)
    animate("runs/exp1", channels="all", channel_names=("A", "C", "G", "T"), delta=True)
    animate("runs/exp1", channels=(2, 1, 0), smooth=True, colormap="viridis", delta=False)
    animate("runs/exp1", channels=["nir", "red"], channel_names=["red", "green", "nir"])
    Path(animation).read_bytes()
    return animation


def figure() -> Figure:
    """A matplotlib figure, written or not."""
    filmstrip("runs/exp1", "strip.pdf", layers="conv1", steps=[0, 1, 5], width="8.5cm", height=3)
    filmstrip("runs/exp1", channels="bgr", delta=None, colormap=None)
    filmstrip("runs/exp1", channels=3, channel_names=list("ACGT"), smooth=True)
    plot_filters("model.keras", "filters.png", layers=["conv1"], columns=8, order="label")
    plot_filters(Run("runs/exp1"), step=30, channels="all", theme="dark")
    plot_filters(object(), axes="HWIO").savefig("filters.svg")
    plot_filters({"a": object()}, axes={"a": "OIHW"}, height=3)
    plot_dot_product("runs/exp1", 0, "dot.svg", layer="conv1", filter_number=3, at=(10, 12))
    plot_strongest_patches(Run("runs/exp1"), "conv2", "patches.pdf", steps=[0, 30], filters=[1, 2])
    return filmstrip(Run("runs/exp1"))


def refused() -> None:
    """Calls that a type checker refuses."""
    FilterTracker("runs/exp1", existing="maybe")  # type: ignore[arg-type]
    FilterTracker("runs/exp1", probes=3)  # type: ignore[arg-type]
    Probes("photos", layers=1)  # type: ignore[arg-type]
    animate("runs/exp1", scale="run")  # type: ignore[arg-type]
    plot_filters("runs/exp1", order="size")  # type: ignore[arg-type]
    filmstrip("runs/exp1", theme="blue")  # type: ignore[arg-type]
    filmstrip("runs/exp1", channels=2.5)  # type: ignore[arg-type]
