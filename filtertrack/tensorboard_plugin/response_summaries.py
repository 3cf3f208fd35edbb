"""TensorBoard summaries of the responses of a layer to probes: an image, scalars, a histogram."""

import math
from collections.abc import Iterator

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from filtertrack.outputs.response_card import (
    CARD_FILTERS,
    CARD_MAP_SIDE,
    CARD_PROBES,
    CARD_SIDE,
    draw_response_card,
    is_shrunk,
)
from filtertrack.outputs.response_measures import response_columns, response_means
from filtertrack.render.cells import explain, to_cells, view_of
from filtertrack.render.encoders.png import encode
from filtertrack.response import LayerResponse, ProbedLayer, StoredProbes
from filtertrack.snapshot import LayerInfo
from filtertrack.tensorboard_plugin.summary_values import (
    HISTOGRAM_BYTES,
    histogram_value,
    image_value,
    scalar_value,
)

_SCALARS = {
    "silent_share": (
        "Share of the filters that are silent: no response to any of the probes is above zero. 0 "
        "is none, 1 all. It holds for these probes only."
    ),
    "lifetime_sparsity": (
        "Mean over filters, without silent ones, of the lifetime sparsity (Vinje and Gallant 2000) "
        "of a filter's mean response to each probe: 0 if it responds alike to all, 1 if to one "
        "only."
    ),
    "class_selectivity": (
        "Mean over filters, without silent ones, of the class selectivity (Morcos et al. 2018): 0 "
        "if a filter has the same mean response to all classes, 1 if it responds to one only. "
        "Random filters are above 0 as well."
    ),
}
_DISTRIBUTION = "The mean response of each filter to each probe."
_BYTES_PER_LAYER, _BYTES_PER_CARD, _BYTES_PER_CARD_VALUE = 150, 4350, 1.3
"""Size of the events of a layer's responses at one snapshot, measured on maps of random values of
7x7 to 32x32."""
_CARD_LEVEL = 3
"""zlib's level for cards of responses, whose cells are not all magnified."""


def response_values(
    info: LayerInfo,
    probes: StoredProbes,
    kernels: np.ndarray,
    response: LayerResponse,
    *,
    image: bool,
    histograms: bool,
) -> Iterator[Summary.Value]:
    """Yield the measures of a layer's responses, and their image and histogram if asked for.

    Args:
        info: The layer.
        probes: The probes of the run.
        kernels: Array of shape ``(filters, height, width, channels)``.
        response: What the filters of the layer answered to the probes.
        image: Whether there is an image.
        histograms: Whether there is a histogram.
    """
    layer = probes.layer(info.name)
    for name, mean in response_means(response_columns(response, layer, probes.labels)).items():
        if math.isfinite(mean):
            about = f"{_SCALARS[name]} Read: {layer.read}."
            yield scalar_value(f"response_{name}/{info.name}", mean, about)
    if histograms:
        about = f"{_DISTRIBUTION} Read: {layer.read}."
        yield from histogram_value(f"response_distribution/{info.name}", response.mean, about)
    if image and probes.maps and info.filters:
        yield _image(info, probes, kernels, response)


def _image(
    info: LayerInfo, probes: StoredProbes, kernels: np.ndarray, response: LayerResponse
) -> Summary.Value:
    """Return the image of a layer's responses."""
    layer, view = probes.layer(info.name), view_of(info, curves=False)
    cells = to_cells(view, kernels if view.kind == "matrix" else kernels[:CARD_FILTERS])
    drawn = LayerResponse(  # of all maps only those on the card are decoded
        response.maps[:CARD_PROBES, :CARD_FILTERS],
        response.statistics[:, :, :CARD_FILTERS],
        response.places[:CARD_FILTERS],
    )
    picture, palette = draw_response_card(
        probes.pictures(layer.input), view, cells, drawn.values(), rectified=layer.rectified
    )
    file = encode(picture, palette, None if palette is None else _CARD_LEVEL)
    about = _explain_responses(info, probes, layer)
    return image_value(f"responses/{info.name}", [file], picture.shape[:2], about)


def _explain_responses(info: LayerInfo, probes: StoredProbes, layer: ProbedLayer) -> str:
    """Describe the image of a layer's responses; the text is the same for every snapshot."""
    filters, shown = min(info.filters, CARD_FILTERS), min(probes.maps, CARD_PROBES)
    scale = (
        "from 0 (black) to the highest value of these maps (white), so a black row is a filter "
        "that responds to none of them"
        if layer.rectified
        else "up to the largest magnitude in these maps: red is positive, blue negative, white 0"
    )
    shrunk = (
        f" The maps are shrunk from {'x'.join(map(str, layer.shape))}: each value is the one of "
        f"largest magnitude in a square."
        if is_shrunk(layer)
        else ""
    )
    images = probes.pictures(layer.input) is not None
    above = "which are drawn above" if images else "which are no images and not drawn"
    return (
        f"What filters respond to. Read: {layer.read}. Each row: one of the first {filters} of "
        f"{info.filters} filters, in their order down the first block and then down the next, and "
        f"its feature maps for the first {shown} of {probes.count} probes, {above}. "
        f"Each row has its own scale, {scale}.{shrunk} {explain(info)}"
    )


def response_event_bytes(
    info: LayerInfo, probes: StoredProbes, *, image: bool, histograms: bool
) -> float:
    """Estimate the size of the events of a layer's responses at one snapshot, in bytes.

    Args:
        info: The layer.
        probes: The probes of the run.
        image: Whether there is an image.
        histograms: Whether there is a histogram.
    """
    size: float = _BYTES_PER_LAYER + HISTOGRAM_BYTES * histograms
    if not image:
        return size
    view, layer = view_of(info, curves=False), probes.layer(info.name)
    filters, shown = min(info.filters, CARD_FILTERS), min(probes.maps, CARD_PROBES)
    colours = 3 if view.coloured else 1
    pictures = probes.pictures(layer.input)
    pixels = 0 if pictures is None else min(math.prod(pictures.shape[1:3]), CARD_SIDE**2)
    weights = min(view.height * view.width, CARD_SIDE**2)
    of_map = min(math.prod(layer.map_shape), CARD_MAP_SIDE**2)
    values = filters * (shown * of_map + weights * colours) + shown * pixels * colours
    return size + _BYTES_PER_CARD + _BYTES_PER_CARD_VALUE * values
