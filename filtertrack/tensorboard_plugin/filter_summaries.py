"""TensorBoard summaries of a layer's filters at one snapshot: images, scalars and histograms.

TensorBoard groups cards by the part of a tag before the first ``/``. That part is what a card
shows, and the rest the name of the layer, so a model of any depth has the same few groups.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from filtertrack.measures.fast_measures import measure_fast
from filtertrack.measures.vectors import finite_mean
from filtertrack.outputs.picture_parts import part_of
from filtertrack.render.cells import (
    View,
    explain,
    explain_change,
    explain_scale,
    to_cells,
    to_channels,
)
from filtertrack.render.encoders.png import to_png
from filtertrack.render.grid import PAGE, draw_pages
from filtertrack.render.layer_look import (
    bar_texts,
    range_of_changes,
    without_small_changes,
)
from filtertrack.render.look import GREY, Look
from filtertrack.render.palette import colormap_levels, theme_palette
from filtertrack.render.scale_bar import BarTexts, draw_scale_bar
from filtertrack.render.text import font_size
from filtertrack.render.value_range import NO_RANGE, ValueRange, range_of_cells
from filtertrack.snapshot import LayerInfo
from filtertrack.tensorboard_plugin.summary_values import (
    HISTOGRAM_BYTES,
    IMAGE_WIDTH,
    histogram_value,
    image_value,
    scalar_value,
)

MOST_IMAGES = 8
"""Layers that have images by default, at most. In a ResNet the first 8 with large kernels have 64
or 128 filters, 64 a card: the 12 cards that TensorBoard shows of a group at a time."""

_SCALARS = {
    "drift": (
        "Mean over filters of 1 - cos(w, w0): how far each filter has turned away from its start. "
        "0 is the start's direction, 1 at right angles to it."
    ),
    "norm": "Mean over filters of the Euclidean length of a filter's weights.",
    "roughness": (
        "Mean over filters of the squared difference between neighbouring pixels, over that "
        "between any two. 1 is noise; edges and blobs are smooth, well below 1."
    ),
}
_DISTRIBUTIONS = {
    "drift": "How far each filter has turned away from its start: 1 - cos(w, w0).",
    "roughness": "How rough each filter is: 1 is noise, edges and blobs are well below 1.",
}
_WEIGHTS = "The weights of all filters, each weight counted once."
_BYTES_PER_LAYER, _BYTES_PER_IMAGE, _BYTES_PER_PAGE, _BYTES_PER_VALUE = 150, 300, 2000, 1.2
"""Size of a snapshot's events, measured on random kernels of 3x3x3x32 to 16x16x3x768."""


def default_image_layers(layers: Sequence[LayerInfo]) -> tuple[str, ...]:
    """Return the names of the layers that have images unless others are chosen.

    Of up to ``MOST_IMAGES`` layers all of them; otherwise the first ones whose kernels are larger
    than 1x1, and the first layer in any case.

    Args:
        layers: The layers of the run, in the order in which data flows.
    """
    if len(layers) <= MOST_IMAGES:
        return tuple(info.name for info in layers)
    larger = (info for info in layers[1:] if info.shape[1] * info.shape[2] > 1)
    return tuple(info.name for info in [layers[0], *larger][:MOST_IMAGES])


def filters_image(
    info: LayerInfo, view: View, kernels: np.ndarray, remark: str = ""
) -> Summary.Value:
    """Return the image of a layer's filters, each on its own scale.

    Args:
        info: The layer.
        view: How it is drawn.
        kernels: Array of shape ``(filters, height, width, channels)``.
        remark: A sentence at the end of the description.
    """
    cells = to_cells(view, kernels)
    files, shape = _cards(view, cells, range_of_cells(cells), part_of(Look()))
    about = f"{explain(info)} {explain_scale(view)} {remark}".rstrip()
    return image_value(f"filters/{info.name}", files, shape, about)


def learned_image(
    info: LayerInfo, view: View, kernels: np.ndarray, start: np.ndarray, noticeable: np.ndarray
) -> Summary.Value:
    """Return the image of what training has added to a layer's filters since the start.

    Args:
        info: The layer.
        view: How it is drawn.
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same filters at the start.
        noticeable: For each cell the change that is drawn, at least.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        cells = to_cells(view, np.subtract(kernels, start, dtype=np.float64))
    cells = without_small_changes(cells, noticeable)
    values = range_of_changes(range_of_cells(cells), noticeable)
    files, shape = _cards(view, cells, values, part_of(Look(delta=True)))
    about = (
        f"What training has added: the difference of each weight from the run's first snapshot. "
        f"{explain(info)} {explain_change(view)}"
    )
    return image_value(f"filters_learned/{info.name}", files, shape, about)


def measure_values(
    info: LayerInfo,
    view: View,
    kernels: np.ndarray,
    start: np.ndarray,
    start_norm: np.ndarray,
    *,
    histograms: bool,
) -> Iterator[Summary.Value]:
    """Yield the scalars of a layer's filters, and their histograms if they are asked for.

    Args:
        info: The layer.
        view: How it is drawn.
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same filters at the start.
        start_norm: Their lengths then.
        histograms: Whether there are histograms of the weights, of drift and of roughness.
    """
    layers = to_channels(view, kernels), to_channels(view, start)
    values = measure_fast(*layers, start_norm)._asdict()
    for name, about in _SCALARS.items():
        mean = finite_mean(values[name])
        if math.isfinite(mean):
            yield scalar_value(f"filter_{name}/{info.name}", mean, about)
    if not histograms:
        return
    yield from histogram_value(f"filter_weight_distribution/{info.name}", kernels, _WEIGHTS)
    for name, about in _DISTRIBUTIONS.items():
        yield from histogram_value(f"filter_{name}_distribution/{info.name}", values[name], about)


def filter_event_bytes(view: View, *, image: bool, histograms: bool) -> float:
    """Estimate the size of the events of a layer's filters at one snapshot, in bytes.

    Args:
        view: How the layer is drawn.
        image: Whether it has images.
        histograms: Whether it has histograms.
    """
    size: float = _BYTES_PER_LAYER
    if histograms:
        size += HISTOGRAM_BYTES * (1 + len(_DISTRIBUTIONS))
    if image:
        pages, images = math.ceil(view.count / PAGE), 1 if view.kind == "matrix" else 2
        values = view.count * view.height * view.width * (3 if view.coloured else 1)
        size += images * (_BYTES_PER_IMAGE + _BYTES_PER_PAGE * pages + _BYTES_PER_VALUE * values)
    return size


def _cards(
    view: View, cells: np.ndarray, values: ValueRange, look: Look
) -> tuple[list[bytes], tuple[int, ...]]:
    """Return a PNG file a page, with a scale bar where a weight has one value, and their shape."""
    pages = draw_pages(view, cells, values, IMAGE_WIDTH)
    texts = bar_texts(look, view, NO_RANGE)
    if texts is None:
        return list(map(to_png, pages)), pages[0].shape[:2]
    bar = _scale_bar(texts, pages[0].shape[1])
    palette = _palette(look.colormap or GREY)
    cards = [np.concatenate([page, bar]) for page in pages]
    return [to_png(card, palette) for card in cards], cards[0].shape


@lru_cache(maxsize=64)
def _scale_bar(texts: BarTexts, width: int) -> np.ndarray:
    """Draw the scale bar of a card; cached, as it is the same at every snapshot."""
    return draw_scale_bar(texts, width, font_size(IMAGE_WIDTH))


@lru_cache(maxsize=8)
def _palette(colormap: str) -> np.ndarray:
    return theme_palette("dark", colormap_levels(colormap))
