"""Draw the pictures of README.md, docs/measures.md and docs/responses.md: ``make docs-pictures``.

They show the runs of ``demo.py`` and ``digits.py``; the numbers in the captions are measured from
the demo's.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from skimage import data

from filtertrack import (
    Run,
    animate,
    filmstrip,
    measure,
    measures,
    plot_dot_product,
    plot_filters,
    plot_strongest_patches,
    plot_trajectories,
)
from filtertrack.outputs.matplotlib_figure import PaperFigure, figure_settings
from filtertrack.render.filter_order import arrange
from filtertrack.storage.run import recorded_probes
from filtertrack.tensorboard_plugin.response_summaries import response_values

SIDE, FONT = 1.0, 8.0
"""Width of a filter with its caption in inches, and font size in points."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw every picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="(%(default)s)")
    parser.add_argument("--digits", type=Path, default=Path("runs/digits"), help="(%(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    folder = options.docs / "measures"
    folder.mkdir(exist_ok=True)
    run = Run(options.run)
    start, end = (run.kernels("conv1", run.steps[number]) for number in (0, -1))
    with figure_settings():
        for name, figure in _pictures(start, end).items():
            figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
            print(folder / f"{name}.png")
    filmstrip(run, folder / "labels.png", layers="conv1", outline=True, order="label", dpi=150)
    print(folder / "labels.png")
    print(filmstrip_of_some(run, options.docs / "filmstrip.png"))
    still = options.docs / "plot.png"
    plot_filters(run, still, layers="conv1", order="label", outline=True, dpi=110)
    print(still)
    evolution = options.docs / "evolution.gif"
    print(animate(run, evolution, layers="conv1", order="label", outline=True))
    print(animate(options.digits, options.docs / "digits.gif", layers="conv1"))
    for file in [
        *responses_before_and_after(run, options.docs),
        *probe_pictures(run, options.docs),
    ]:
        print(file)
    measured = measure(run)
    plot_trajectories(measured, options.docs / "trajectories.png")
    print(options.docs / "trajectories.png")
    return 0


def filmstrip_of_some(run: Run, target: Path, count: int = 8) -> Path:
    """Draw a filmstrip of evenly spaced filters of the first layer, ordered by label."""
    chosen = _spread_by_label(run, count)
    filmstrip(run, target, layers="conv1", filters=chosen, width="17cm", dpi=150)
    return target


def responses_before_and_after(run: Run, folder: Path, count: int = 16) -> list[Path]:
    """Draw what evenly spaced filters answer to in a photograph, before and after training."""
    chosen = _spread_by_label(run, count)
    standard = _cat()
    written = []
    with TemporaryDirectory() as temporary:
        frames = Path(temporary, "frames", "%04d.png")
        ends = [run.steps[0], run.steps[-1]]
        animate(run, frames, layers="conv1", steps=ends, filters=chosen, responses=[standard])
        for number, name in [(0, "before"), (1, "after")]:
            written.append(folder / f"responses-{name}.png")
            shutil.copy(str(frames) % number, written[-1])
    return written


def _spread_by_label(run: Run, count: int) -> list[int]:
    """Return evenly spaced filters of the first layer, ordered by label."""
    end = run.kernels("conv1", run.steps[-1])
    ordered = arrange("label", end, end)
    chosen: list[int] = ordered[
        np.linspace(0, len(ordered) - 1, count).round().astype(int)
    ].tolist()
    return chosen


def _cat() -> np.ndarray:
    """Return a cat's face with the mean and the contrast of the demo's patches."""
    photograph = Image.fromarray(data.chelsea()).reduce(3).crop((30, 0, 130, 100))
    pixels = np.asarray(photograph, np.float32)
    return np.asarray((pixels - pixels.mean(axis=(0, 1))) / pixels.std())


def probe_pictures(run: Run, folder: Path) -> list[Path]:
    """Draw a dot product, responses of a deeper layer, strongest patches, TensorBoard's card."""
    dot_product, conv2 = folder / "dot-product.png", folder / "responses-conv2.png"
    patches, card = folder / "patches.png", folder / "responses-card.png"
    labels = measures.label(run.kernels("conv1", run.steps[-1]))
    edge = int(np.where(labels.names == "edge", labels.fits.gabor.r2, -1).argmax())
    plot_dot_product(run, _cat(), dot_product, layer="conv1", filter_number=edge, dpi=130)
    with TemporaryDirectory() as temporary:
        frames = Path(temporary, "frames", "%04d.png")
        animate(run, frames, layers="conv2", steps=run.steps[-2:], responses=True)
        shutil.copy(str(frames) % 1, conv2)
    plot_strongest_patches(run, "conv1", patches, filters=_spread_by_label(run, 8), dpi=110)
    last = run.steps[-1]
    response, kernels = run.probe_responses("conv1", last), run.kernels("conv1", last)
    *_, image = response_values(
        run.layer("conv1"), recorded_probes(run), kernels, response, image=True, histograms=False
    )
    card.write_bytes(image.tensor.string_val[2])
    return [dot_product, conv2, patches, card]


def _pictures(start: np.ndarray, end: np.ndarray) -> dict[str, Figure]:
    labels = measures.label(end)
    tuned = measures.orientation(end)
    drift, change = measures.drift(end, start), measures.relative_change(end, start)
    gabor, blob = labels.fits.gabor, labels.fits.blob
    norm, by_roughness = measures.norm(end), _spread(labels.structure.ratio, 5)[::-1]
    oriented = np.where(labels.names == "edge", tuned.degrees, np.nan)

    def spread(values: np.ndarray, text: Callable[[int], str]) -> Figure:
        chosen = _spread(values)
        return row([end[number] for number in chosen], [text(number) for number in chosen])

    return {
        "norm": spread(norm, lambda n: f"norm {norm[n]:.2f}"),
        "drift": _before_and_after(start, end, drift, change),
        "roughness": row(
            [start[0], *end[by_roughness]],
            [
                _rough(measures.structure(start), 0),
                *(_rough(labels.structure, n) for n in by_roughness),
            ],
        ),
        "direction": spread(
            oriented,
            lambda n: (
                f"{round(tuned.degrees[n]) % 180}°\nselectivity {tuned.selectivity[n]:.2f}\n"
                f"{tuned.frequency[n]:.2f} cycles/px"
            ),
        ),
        "templates": spread(
            np.where(labels.structured, gabor.excess - blob.excess, np.nan),
            lambda n: (
                f"Gabor {gabor.r2[n]:.2f} ({gabor.chance[n]:.2f})\n"
                f"blob {blob.r2[n]:.2f} ({blob.chance[n]:.2f})\n{labels.names[n]}"
            ),
        ),
        "colour": spread(labels.colour, lambda n: f"colour {labels.colour[n]:.2f}"),
        "flat": spread(labels.flat, lambda n: f"flat {labels.flat[n]:.2f}"),
        "layers": _layers(start, end),
    }


def row(filters: Sequence[np.ndarray], captions: Sequence[str]) -> Figure:
    """Draw filters side by side, each scaled to its own range, with a caption below."""
    lines = max(caption.count("\n") + 1 for caption in captions)
    wide = max(SIDE, 0.075 * max(len(line) for text in captions for line in text.split("\n")))
    size = (wide * len(filters) + 0.1, SIDE + 0.16 * lines)
    figure = PaperFigure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, kernel, caption in zip(
        figure.subplots(1, len(filters), squeeze=False)[0], filters, captions, strict=True
    ):
        axes.imshow(_normalised(kernel), interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(caption, fontsize=FONT)
    return figure


def _rough(structure: measures.Structure, number: int) -> str:
    return f"roughness {structure.ratio[number]:.2f}\np {structure.p_value[number]:.3f}"


def _before_and_after(
    start: np.ndarray, end: np.ndarray, drift: np.ndarray, change: np.ndarray
) -> Figure:
    filters, captions = [], []
    for number in _spread(drift, 3):
        filters += [start[number], end[number]]
        captions += [
            f"filter {number}, start\n",
            f"end: drift {drift[number]:.2f}\nchange {change[number]:.2f}",
        ]
    return row(filters, captions)


def _layers(start: np.ndarray, end: np.ndarray) -> Figure:
    """Draw a random layer, the trained layer, and a layer of repeated filters."""
    few = end[_spread(measures.norm(end), 4)]
    copies = np.concatenate([few] * (len(end) // 4))
    copies = copies * np.linspace(0.5, 1.5, len(copies))[:, None, None, None]
    layers = {"before training": start, "after": end, "four filters, repeated": copies}
    figure = PaperFigure(figsize=(6.7, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, kernels) in zip(figure.subplots(1, 3), layers.items(), strict=True):
        axes.imshow(_grid(kernels), interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        threshold = measures.entropy_threshold(len(kernels) * 3, *kernels.shape[1:3])
        axes.set_xlabel(
            f"{name}\n"
            f"effective rank {measures.effective_rank(kernels):.1f} of {len(kernels)}\n"
            f"orthogonality {measures.orthogonality(kernels):.2f}\n"
            f"variance entropy {measures.variance_entropy(kernels):.2f} (random {threshold:.2f})\n"
            f"near-duplicates {measures.twins(kernels).repeated.sum()}",
            fontsize=FONT,
        )
    return figure


def _grid(kernels: np.ndarray, columns: int = 8) -> np.ndarray:
    """Arrange filters in rows, each with a white border."""
    cells = [
        np.pad(_normalised(kernel), [(1, 1), (1, 1), (0, 0)], constant_values=1.0)
        for kernel in kernels
    ]
    rows = [np.concatenate(cells[n : n + columns], axis=1) for n in range(0, len(cells), columns)]
    return np.concatenate(rows)


def _normalised(kernel: np.ndarray) -> np.ndarray:
    low, high = kernel.min(), kernel.max()
    unit: np.ndarray = (kernel - low) / (high - low)
    return unit


def _spread(values: np.ndarray, count: int = 6) -> np.ndarray:
    """Return filter indices from the lowest value to the highest, evenly spaced by rank."""
    order = np.argsort(values)[: np.isfinite(values).sum()]
    chosen: np.ndarray = order[np.linspace(0, len(order) - 1, count).round().astype(int)]
    return chosen


if __name__ == "__main__":
    sys.exit(main())
