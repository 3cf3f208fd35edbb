"""Benchmarks of drawing one grid: against matplotlib subplots and torchvision."""

import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.comparison import Row, Scale, Side, apart, in_turn, times_faster, times_the_cost
from benchmarks.matplotlib_baselines import COLUMNS, plot_to_image
from benchmarks.storing import resnet50_shapes
from benchmarks.synthetic_runs import KERNELS, describe, make_wide_run
from filtertrack.measures import drift, norm, roughness
from filtertrack.outputs.measurement import measure, measure_snapshot
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.encoders.png import to_png
from filtertrack.render.grid import draw_pages
from filtertrack.render.value_range import range_of_cells

SIDE = 320


def drawing(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure drawing (PNG encoding included), and the measures relative to it."""
    for part in (_against_the_recipe, _against_torchvision, _measuring):
        yield from apart(part, scale)
    yield from apart(_measuring_a_run, folder, scale)


def grid(kernels: np.ndarray) -> list[np.ndarray]:
    """Draw a layer as it is drawn for TensorBoard.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        One picture for each page, as ``filtertrack.render.grid.draw_pages`` returns them.
    """
    filters, height, width, channels = kernels.shape
    view = view_of(describe("conv1", (height, width, channels, filters)))
    cells = to_cells(view, kernels)
    return draw_pages(view, cells, range_of_cells(cells), SIDE)


def grid_png(kernels: np.ndarray) -> list[bytes]:
    """Draw a layer as it is drawn for TensorBoard, each page as a PNG file's bytes."""
    return [to_png(page) for page in grid(kernels)]


def _kernel() -> np.ndarray:
    """Return 64 filters of 7×7×3, as Keras holds them."""
    return np.random.default_rng(0).normal(size=KERNELS["colour"]).astype(np.float32)


def _against_the_recipe(scale: Scale) -> list[Row]:
    kernel = _kernel()
    ours = np.ascontiguousarray(kernel.transpose(3, 0, 1, 2))
    sides: dict[str, Side] = {
        "ours": lambda: grid_png(ours),
        "theirs": lambda: plot_to_image(kernel),
        "small": lambda: plot_to_image(kernel, SIDE / 100),
    }
    took = in_turn(sides, scale.rounds)
    label = "a grid of 64 filters of 7×7×3, PNG included: times faster than plot_to_image"
    return [
        times_faster(label, took["ours"], took["theirs"], 100),
        times_faster(f"{label} at our size", took["ours"], took["small"]),
    ]


def _against_torchvision(scale: Scale) -> list[Row]:
    if not (find_spec("torch") and find_spec("torchvision")):
        return []
    import torch  # noqa: PLC0415 - where it is installed
    from torchvision.io import encode_png  # noqa: PLC0415
    from torchvision.utils import make_grid, save_image  # noqa: PLC0415

    kernel = _kernel()
    ours = np.ascontiguousarray(kernel.transpose(3, 0, 1, 2))
    tensor = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))

    def made() -> "torch.Tensor":
        return make_grid(tensor, COLUMNS, padding=1, normalize=True, scale_each=True)

    def magnified(picture: "torch.Tensor") -> "torch.Tensor":
        return picture.repeat_interleave(5, 1).repeat_interleave(5, 2)

    def bytes_first(level: int) -> object:
        return encode_png(magnified((made() * 255).to(torch.uint8)), compression_level=level)

    sides: dict[str, Side] = {
        "ours": lambda: grid_png(ours),
        "save_image": lambda: save_image(magnified(made()), io.BytesIO(), format="png"),
        "encode_png": lambda: bytes_first(6),
        "fastest": lambda: bytes_first(1),
    }
    took = in_turn(sides, 10 * scale.rounds)
    label = "a grid of 64 filters of 7×7×3, PNG included: times torchvision's make_grid, magnified"
    ends = {
        "save_image": "save_image",
        "encode_png": "encode_png",
        "fastest": "encode_png with compression_level=1",
    }
    return [
        times_the_cost(f"{label}, {end}", took["ours"], took[side], 1.0)
        for side, end in ends.items()
    ]


def _measuring(scale: Scale) -> list[Row]:
    """Compare every measure of a layer, and those taken during training, with drawing it."""
    rng = np.random.default_rng(0)
    start, before, now = (rng.normal(size=(64, 7, 7, 3)).astype(np.float32) for _ in range(3))
    sides: dict[str, Side] = {
        "draw": lambda: grid_png(now),
        "all": lambda: measure_snapshot(now, start, before),
        "live": lambda: (drift(now, start), norm(now), roughness(now)),
    }
    took = in_turn(sides, 3 * scale.rounds)
    label = "measuring 64 filters of 7×7×3"
    return [
        times_the_cost(f"{label}, everything: times drawing", took["all"], took["draw"], 10),
        times_the_cost(f"{label}, while training runs: times drawing", took["live"], took["draw"]),
    ]


def _measuring_a_run(folder: Path, scale: Scale) -> list[Row]:
    """Compare every measure of all layers of a run with reading it; both grow with snapshots."""
    snapshots = 3
    shapes = resnet50_shapes(1 if scale.large else 16)
    run = make_wide_run(folder / "measured", shapes, snapshots)

    def read() -> None:
        for name in run.layers:
            for _ in run.history(name):
                pass

    sides: dict[str, Side] = {"read": read, "measure": lambda: measure(run)}
    took = in_turn(sides, min(3, scale.rounds))
    name = "ResNet-50" if scale.large else "a small ResNet"
    what = f"measuring all {len(shapes)} layers of {name}, {snapshots} snapshots: times reading"
    return [times_the_cost(what, took["measure"], took["read"], 100)]
