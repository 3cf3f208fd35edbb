"""Plots of some layers at one step: the weights, the titles, the scale bars."""

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.array_layers import ArrayLayers
from filtertrack.outputs.paper_size import PaperSize
from filtertrack.outputs.plot_figure import describe_layer, draw_plot
from filtertrack.outputs.run_selection import select_from_run, select_step
from filtertrack.render.look import Look
from filtertrack.render.palette import NOT_FINITE_RGB, THEMES
from filtertrack.storage.memory_run import MemoryRun

PAPER = PaperSize.of("17cm", None, 100)


def plot_of(kernels, axes="HWIO", *, paper=PAPER, heading="", columns=None, **look):
    """Draw kernels: name to array."""
    source = ArrayLayers(kernels, axes)
    run = MemoryRun("arrays", source.infos, source.read)
    selection = select_from_run(run, layers="*")
    return draw_plot(selection, Look(**look), paper, heading=heading, columns=columns, grows=True)


def grids_of(figure):
    """Return the axes of the grids, without those of the scale bars."""
    return [axes for axes in figure.axes if axes.get_label() != "scale"]


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def canvas_of(figure):
    """Return the pixels of a figure: ``(height, width, 3)``."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def pixels_of(axes):
    """Return the part of the figure's pixels that axes cover."""
    canvas = canvas_of(axes.figure)
    box = axes.get_window_extent()
    top, left = round(len(canvas) - box.y1), round(box.x0)
    return canvas[top : top + round(box.height), left : left + round(box.width)]


def weights_drawn(axes, filters, height, width, columns):
    """Return the colour of each weight: ``(filters, height, width, 3)``; each is a flat square."""
    image = pixels_of(axes)
    separator = image[0, 0]
    gap = int((image != separator).any(axis=(1, 2)).argmax())
    scale, rest = divmod(image.shape[1] - gap * (columns + 1), columns * width)
    assert rest == 0, "whole pixels"
    drawn = np.empty((filters, height, width, 3), np.uint8)
    for number, y, x in np.ndindex(drawn.shape[:3]):
        row, column = divmod(number, columns)
        top = gap + row * (height * scale + gap) + y * scale
        left = gap + column * (width * scale + gap) + x * scale
        square = image[top : top + scale, left : left + scale]
        assert (square == square[0, 0]).all(), "a weight is a flat square"
        drawn[number, y, x] = square[0, 0]
    return drawn


def normalised(kernels):
    """Return filters ``(filters, height, width, channels)`` from 0 to 1, each by itself."""
    low, high = (f(kernels, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return (kernels - low) / (high - low)


@pytest.mark.parametrize("dpi", [100, 150, 300])
@pytest.mark.parametrize("columns", [None, 5])
def test_each_weight_has_its_place_and_its_grey(rng, dpi, columns):
    """As in the figure's own pixels, which are not resampled."""
    kernel = rng.normal(size=(5, 5, 1, 12)).astype("float32")
    figure = plot_of({"conv1": kernel}, paper=PaperSize.of("8.5cm", None, dpi), columns=columns)
    (axes,) = grids_of(figure)
    drawn = weights_drawn(axes, 12, 5, 5, columns or 6)
    expected = normalised(kernel.transpose(3, 0, 1, 2).astype(float))
    levels = np.rint(np.rint(expected * 234) * 255 / 234)
    np.testing.assert_array_equal(drawn, levels.repeat(3, axis=-1))


def test_three_channels_are_colours(rng):
    """Each filter is normalised as a whole, as in ``(w - w.min()) / (w.max() - w.min())``."""
    kernel = rng.normal(size=(7, 7, 3, 16))
    (axes,) = grids_of(plot_of({"conv1": kernel}))
    drawn = weights_drawn(axes, 16, 7, 7, 8)
    expected = np.rint(255 * normalised(kernel.transpose(3, 0, 1, 2).astype("float32")))
    np.testing.assert_allclose(drawn, expected, atol=1)


def test_filters_in_another_order_and_some_filters(rng):
    """In the order given; without row numbers, which would not be those of the filters."""
    kernel = rng.normal(size=(3, 3, 1, 40)).astype("float32")
    (every,) = grids_of(plot_of({"a": kernel}))
    (some,) = grids_of(plot_of({"a": kernel}, filters=[30, 2, *range(10, 18)], columns=5))
    assert [label.get_text() for label in every.get_yticklabels()] == ["0", "8", "16", "24", "32"]
    assert not some.get_yticklabels()
    all_drawn = weights_drawn(every, 40, 3, 3, 8)
    numbers = [30, 2, *range(10, 18)]
    np.testing.assert_array_equal(weights_drawn(some, 10, 3, 3, 5), all_drawn[numbers])


KINDS = {
    "grey": ((5, 5, 1, 8), {}, "8 filters of 5×5×1 · each filter has its own scale"),
    "colour": ((5, 5, 3, 8), {}, "8 filters of 5×5×3 · each filter has its own scale"),
    "pattern": ((3, 3, 64, 8), {}, "8 filters of 3×3×64 · strongest pattern of 64 channels, on av"),
    "matrix": ((1, 1, 16, 32), {}, "32 filters of 1×1: 16 input channels down, filters across"),
    "one scale": ((5, 5, 1, 8), {"scale": "layer"}, "5×5×1 · all filters have one scale"),
    "one filter": ((5, 5, 1, 1), {}, "1 filter of 5×5×1"),
    "some": ((5, 5, 1, 8), {"filters": [3]}, "1 of 8 filters of 5×5×1"),
    "channels": ((3, 3, 4, 8), {"channels": "all"}, "a cell a channel: 4 channels"),
    "two": ((3, 3, 4, 8), {"channels": (0, 3)}, "channels 0 orange, 3 blue"),
    "smooth": ((5, 5, 1, 8), {"smooth": True}, "interpolated between weights"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theme", THEMES)
def test_titles_say_what_is_drawn(rng, kind, theme):
    """The layer's name, the number and size of its filters, what a cell shows, the scale."""
    shape, look, title = KINDS[kind]
    figure = plot_of({"conv1": rng.normal(size=shape)}, heading="model.keras", theme=theme, **look)
    heading, first, *_ = texts_of(figure)
    assert heading == "model.keras"
    assert first.startswith("conv1 · ")
    assert title in first.replace("\n", " · ")
    check_boxes(figure)


@pytest.mark.parametrize(
    ("shape", "axes", "title", "cells"),
    [
        ((32, 1, 16), "WIO", "16 filters of 32×1 · weights as a curve", None),
        ((19, 4, 6), "WIO", "6 filters of 19×4 · down: 4 channels; across: positions", (4, 19)),
        ((3, 4, 5, 1, 6), "DHWIO", "6 filters of 3×4×5×1", (4, 15)),
        ((6, 2, 3, 4), "OIHW", "6 filters of 3×4×2 · strongest pattern of 2 channels", (3, 4)),
        ((5, 5, 4, 2), "HWIM", "8 filters of 5×5×1", (5, 5)),
        ((1, 16, 32), "WIO", "32 filters of 1×1: 16 input channels down", None),
        ((9, 9), "HW", "1 filter of 9×9×1", (9, 9)),
    ],
    ids=str,
)
def test_kernels_of_any_axes(rng, shape, axes, title, cells):
    """1-D, 2-D, 3-D, depthwise and of one filter."""
    figure = plot_of({"a": rng.normal(size=shape)}, axes)
    assert title in texts_of(figure)[0]
    if cells:
        (drawn,) = grids_of(figure)
        high, wide = pixels_of(drawn).shape[:2]
        assert high / wide == pytest.approx(cells[0] / cells[1], rel=0.9)
    check_boxes(figure)


def test_a_matrix_has_channels_down_and_filters_across():
    """Every weight has its place."""
    kernel = np.arange(12.0).reshape(1, 1, 3, 4)
    (axes,) = grids_of(plot_of({"a": kernel}))
    drawn = weights_drawn(axes, 1, 3, 4, 1)[0, :, :, 0].astype(int)
    assert (np.diff(drawn.ravel()) > 0).all()
    assert (drawn[0, 0], drawn[-1, -1]) == (0, 255)


def test_a_wide_matrix_continues_below():
    """Every weight has its place: the second half of the filters is below the first."""
    kernel = np.arange(2.0 * 500).reshape(1, 1, 2, 500)
    (axes,) = grids_of(plot_of({"a": kernel}, paper=PaperSize.of("8cm", None, 100)))
    image = pixels_of(axes)[..., 0].astype(int)
    assert image.shape == (2 * 2 + 3, 250 + 2)
    drawn = np.concatenate([image[1:3, 1:-1], image[4:6, 1:-1]], axis=1)
    np.testing.assert_allclose(drawn, 255 * kernel[0, 0] / 999, atol=1.1)


def test_slices_are_beside_each_other():
    """With a line between them."""
    kernel = np.arange(2 * 3 * 3 * 2.0).reshape(2, 3, 3, 1, 2)
    (axes,) = grids_of(plot_of({"a": kernel}, "DHWIO"))
    image = pixels_of(axes)
    colours, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) == 19, "18 greys of each filter, the same for both, and the separator"
    assert np.ptp(counts[(colours == colours[:, :1]).all(axis=1)]) == 0, "squares of one size"


def test_several_layers_are_below_each_other(rng):
    """In the order given, each with its title; one scale phrase and one scale bar for all."""
    kernels = {"a": rng.normal(size=(3, 3, 1, 8)), "b": rng.normal(size=(3, 3, 8, 40))}
    figure = plot_of(kernels, heading="two")
    tops = [axes.get_window_extent().y1 for axes in grids_of(figure)]
    assert tops == sorted(tops, reverse=True)
    texts = texts_of(figure)
    assert texts[:2] == ["two", "each filter has its own scale"]
    assert texts[2] == "a · 8 filters of 3×3×1"
    assert texts[3].startswith("b · 40 filters of 3×3×8 · strongest pattern")
    assert texts[4:] == ["lowest", "highest"]
    check_boxes(figure)


def test_scales_of_their_own_have_a_scale_bar_each(rng):
    """With the layer's numbers, below its grid."""
    kernels = {"a": rng.normal(size=(3, 3, 1, 8)), "b": 10 * rng.normal(size=(3, 3, 1, 8))}
    figure = plot_of(kernels, scale="layer", zero_centred=True)
    texts = texts_of(figure)
    ends = [float(text[1:]) for text in texts if text.startswith("+")]
    assert ends == pytest.approx([np.abs(kernel).max() for kernel in kernels.values()], rel=1e-2)
    assert texts.count("0") == 2
    check_boxes(figure)


def test_a_colormap_for_the_layers_that_take_one(rng):
    """Layers in colour stay as they are; a colormap that no layer takes is an error."""
    kernels = {"rgb": rng.normal(size=(3, 3, 3, 8)), "deep": rng.normal(size=(3, 3, 8, 8))}
    rgb, deep = (pixels_of(axes) for axes in grids_of(plot_of(kernels, colormap="viridis")))
    plain, grey = (pixels_of(axes) for axes in grids_of(plot_of(kernels)))
    np.testing.assert_array_equal(rgb, plain)
    assert (deep != grey).any()
    with pytest.raises(FiltertrackError, match="colormap 'viridis': layers with three"):
        plot_of({"rgb": kernels["rgb"]}, colormap="viridis")


def test_outlines_and_their_legend(planted_run):
    """A legend names the colours; with ``order="label"`` equal labels are beside each other."""
    selection = select_step(planted_run, ("conv1",), 20)
    figure = draw_plot(selection, Look(outline=True, order="label", theme="light"), PAPER)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:3] == ["edge", "blob", "colour blob"]
    image = pixels_of(grids_of(figure)[0])
    edge, blob = ((image == rgb).all(axis=-1) for rgb in THEMES["light"].outlines[:2])
    assert edge.any()
    assert blob.any()
    columns = [np.flatnonzero(mask.any(axis=0)) for mask in (edge, blob)]
    assert columns[0].max() < columns[1].min(), "edges first"
    check_boxes(figure)


def test_both_parts_of_a_run_are_beside_each_other(run):
    """Where a kernel is small: the filters and what was learned, each with a title and a bar."""
    selection = select_step(run, ("conv1",), 2)
    figure = draw_plot(selection, Look(theme="light"), PAPER, heading="run")
    filters, learned = grids_of(figure)
    assert [axes.texts[0].get_text() for axes in (filters, learned)] == ["filters", "learned"]
    assert "learned: difference from the start" in texts_of(figure)[1]
    assert texts_of(figure)[2:] == ["lowest", "highest", "decreased", "0", "increased"]
    check_boxes(figure)
    start = draw_plot(select_step(run, ("conv1",), 0), Look(theme="light"), PAPER)
    assert len(grids_of(start)) == 1, "the start has no difference from itself"


def test_drift_of_a_single_step_is_from_the_start_of_the_run(make_run, conv_info):
    """The filter that turned farthest is the first."""
    run = make_run(conv_info(kernel_shape=(5, 5, 1, 6)), steps=range(3))
    start, end = (run.kernels("conv1", step).reshape(6, -1) for step in (0, 2))
    cosines = (start * end).sum(1) / np.linalg.norm(start, axis=1) / np.linalg.norm(end, axis=1)
    selection = select_step(run, ("conv1",), 2)
    look = {"delta": False, "theme": "light"}
    ordered = draw_plot(selection, Look(order="drift", **look), PAPER)
    given = draw_plot(selection, Look(filters=np.argsort(cosines), **look), PAPER)
    assert (pixels_of(grids_of(ordered)[0]) == pixels_of(grids_of(given)[0])).all()


def test_a_layer_without_filters_is_an_error():
    with pytest.raises(FiltertrackError, match="layer a has no filters to draw"):
        plot_of({"a": np.zeros((3, 3, 1, 0))})


def test_weights_that_are_not_finite_are_magenta():
    """In a layer of any kind, without a warning."""
    kernel = np.zeros((3, 3, 1, 4))
    kernel[1, 1, 0, 2] = np.nan
    image = pixels_of(grids_of(plot_of({"a": kernel}))[0])
    assert (image == NOT_FINITE_RGB).all(axis=-1).any()
    plot_of({"a": np.full((3, 3, 5, 4), np.inf)})


def test_a_figure_too_large_for_memory_is_an_error(rng):
    with pytest.raises(FiltertrackError, match=r"pixels would take about .* of memory"):
        plot_of({"a": rng.normal(size=(3, 3, 1, 9))}, paper=PaperSize.of(100, None, 2400))


@pytest.mark.parametrize(
    ("width", "look"),
    [
        ("5cm", {"outline": True}),
        ("8.5cm", {"scale": "layer", "zero_centred": True}),
        ("17cm", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 3, 1, 1)],
        [(3, 3, 3, 16), (3, 3, 16, 32), (1, 1, 32, 10)],
        [(5, 5, 48, 7), (3, 3, 1, 600)],
    ],
    ids=str,
)
def test_nothing_overlaps(rng, width, look, shapes):
    """Titles, numbers, grids, scale bars and the legend are apart, and inside the figure."""
    kernels = {f"conv{n}": rng.normal(size=shape) for n, shape in enumerate(shapes)}
    figure = plot_of(kernels, paper=PaperSize.of(width, None, 150), heading="model.keras", **look)
    check_boxes(figure)
    assert round(figure.bbox.width) == int(float(width[:-2]) / 2.54 * 150)


def check_boxes(figure):
    """Check that nothing overlaps, and that everything is inside the figure."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    drawn = [*figure.axes, *figure.texts]
    drawn += [text for axes in figure.axes for text in axes.texts]
    drawn += [text for axes in grids_of(figure) for text in axes.get_yticklabels()]
    for legend in figure.legends:
        drawn += [*legend.get_texts(), *legend.get_patches()]
    boxes = [(each, each.get_window_extent(renderer)) for each in drawn]
    for number, (what, box) in enumerate(boxes):
        assert box.x0 >= -0.5, what
        assert box.y0 >= -0.5, what
        assert box.x1 <= figure.bbox.width + 0.5, what
        assert box.y1 <= figure.bbox.height + 0.5, what
        for other, another in boxes[:number]:
            apart = box.x1 <= another.x0 + 1 or another.x1 <= box.x0 + 1
            apart = apart or box.y1 <= another.y0 + 1 or another.y1 <= box.y0 + 1
            assert apart, (what, other)


def test_the_description_of_a_layer_counts_its_filters(conv_info):
    """One filter is in the singular."""
    assert describe_layer(conv_info(kernel_shape=(3, 3, 1, 1)), 1) == "1 filter of 3×3×1"
    assert describe_layer(conv_info(kernel_shape=(3, 3, 2, 9)), 4) == "4 of 9 filters of 3×3×2"
