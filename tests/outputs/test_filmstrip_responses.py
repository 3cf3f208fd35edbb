"""Filmstrips with responses: beside each filter its feature maps."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from filtertrack import FiltertrackError, filmstrip
from filtertrack.outputs.filmstrip_responses import ResponseFilmstrip
from filtertrack.outputs.paper_size import PaperSize
from filtertrack.outputs.response_maps import maps_of, select_responses
from filtertrack.render.look import Look
from filtertrack.render.palette import colormap_levels

PAPER = PaperSize.of("17cm", None, 300)


def fitted(run, responses, look=None, paper=PAPER, **options):
    """The filmstrip of responses and its layout."""
    selection = select_responses(run, responses, **options)
    return ResponseFilmstrip.fit(selection, look or Look(), maps_of(selection, responses), paper)


def cell_of(picture, layout, row, column, part):
    """The pixels of a filter (part 0) or of one of its maps, without the space around them."""
    whole = picture.layout(picture.rows, layout.grid.scale, layout.grid.gap)
    pixels = picture.picture(range(picture.rows), whole)
    high, wide = layout.grid.cell_shape
    gap, scale = layout.grid.gap, layout.grid.scale
    top, left = gap + row * (high + gap), gap + column * (wide + gap)
    space = picture.space * scale
    left += sum(width * scale + space for width in picture._widths[:part])
    return pixels[top : top + high, left : left + picture._widths[part] * scale]


def magnified(levels, pixels):
    """Return a map as it is drawn in so many pixels, and where it lies there."""
    scale = min(pixels.shape[0] // levels.shape[0], pixels.shape[1] // levels.shape[1])
    drawn = levels.repeat(scale, axis=0).repeat(scale, axis=1)
    top, left = ((a - b) // 2 for a, b in zip(pixels.shape[:2], drawn.shape[:2], strict=True))
    return drawn, pixels[top : top + drawn.shape[0], left : left + drawn.shape[1]]


def test_beside_each_filter_is_its_map(probed_run):
    """At each step, for each probe, in the colours of its scale."""
    picture, layout = fitted(probed_run, [0, 2])
    greys = colormap_levels("gray")
    for step in range(3):
        for part, probe in [(1, 0), (2, 2)]:
            values = probed_run.probe_responses("conv1", step).values(probe)[2]
            levels = np.rint(values / values.max() * (len(greys) - 1)).astype(int)
            drawn, pixels = magnified(greys[levels], cell_of(picture, layout, 2, step, part))
            np.testing.assert_array_equal(drawn, pixels)


def test_a_silent_filter_has_a_dark_map(probed_run):
    picture, layout = fitted(probed_run, True)
    dark, pixels = magnified(np.zeros((5, 5, 3), int), cell_of(picture, layout, 1, 2, 1))
    np.testing.assert_array_equal(dark, pixels)


def test_maps_of_several_probes_on_one_scale_have_the_same_range(probed_run):
    """The highest value of all of them; there is one scale bar."""
    picture, _ = fitted(probed_run, [0, 1], Look(scale="layer"))
    steps = range(3)
    highest = max(
        probed_run.probe_responses("conv1", step).values(n).max() for step in steps for n in (0, 1)
    )
    ranges = [values for part in picture._columns[1:] for _, values in part]
    assert {float(values.high[0]) for values in ranges} == {highest}
    texts = [texts for texts, _ in picture.bars]
    assert [text.low.partition(":")[0] for text in texts] == ["filters", "responses"]
    assert texts[1].high == f"{highest:.3f}"


def test_the_title_says_what_is_read(probed_run):
    picture, _ = fitted(probed_run, True, Look(filters=[3, 1]))
    assert picture.title == [
        "conv1",
        "2 of 4 filters",
        "responses: the output of relu1, after conv1",
        "shrunk: the largest magnitude of each 2x2",
        "each filter and each map has its own scale at each step",
        "columns: epochs",
    ]
    assert picture.images[0].name == "probe 0, class 0\nvalues 0 to 1"


def test_only_legible_filters_are_drawn_by_default(make_run, conv_info, rng):
    """Of many the first ones; those that are chosen are all drawn."""
    info = replace(conv_info(kernel_shape=(3, 3, 1, 300)), preprocessing=(), padding="same")
    run, images = make_run(info), rng.normal(size=(1, 30, 30, 1))
    picture, layout = fitted(run, images)
    assert picture.title[1] == f"{picture.rows} of 300 filters"
    assert 20 <= picture.rows < 300
    assert picture.numbers == list(range(picture.rows))
    assert layout.grid.cell_shape[0] >= 0.18 * PAPER.dpi
    assert fitted(run, images, Look(filters=range(150)))[0].rows == 150
    ordered = fitted(run, images, Look(order="drift"))[0]
    assert len(set(ordered.numbers)) == ordered.rows < 300
    assert ordered.numbers != list(range(ordered.rows))


def test_a_picture_is_no_larger_than_the_paper(probed_run):
    for width, height in [("17cm", None), ("8cm", "6cm"), ("20cm", "5cm")]:
        paper = PaperSize.of(width, height, 300)
        layout = fitted(probed_run, [0, 1, 2], paper=paper)[1]
        assert layout.shape[0] <= paper.shape[0]
        assert layout.shape[1] <= paper.shape[1]
    with pytest.raises(FiltertrackError, match="choose fewer filters or steps"):
        fitted(probed_run, True, paper=PaperSize.of("1cm", "1cm", 50))


@pytest.mark.parametrize("size", [(200, 300, 3), (20, 20, 3)])
def test_maps_of_large_images_keep_as_many_values_as_fit(make_run, conv_info, rng, size):
    """The title says by how much they were shrunk."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 6)), preprocessing=(), padding="same")
    picture, _ = fitted(make_run(info), [rng.normal(size=size)])
    height, width = picture.parts[1].last_cells().shape[1:3]
    block = -(-size[0] // height)
    assert (height, width) == (-(-size[0] // block), -(-size[1] // block))
    assert any(f"{block}x{block}" in word for word in picture.title) == (block > 1)


def test_1x1_kernels_are_left_out(make_run, conv_info, rng):
    """They have no pattern; each filter has its map."""
    info = replace(conv_info(kernel_shape=(1, 1, 3, 6)), preprocessing=(), padding="same")
    picture, _ = fitted(make_run(info), rng.normal(size=(1, 9, 9, 3)))
    assert (len(picture.parts), picture.rows, picture.numbers) == (1, 6, list(range(6)))


@pytest.mark.parametrize("shape", [(1, 5), (1, 20), (4, 5)])
def test_signals_can_be_drawn(make_run, conv_info, rng, tmp_path, shape):
    """Also filters drawn as curves and heat maps."""
    channels, side = shape
    axes = {"kernel_shape": (side, channels, 6), "axes": (2, 0, 1)}
    axes |= {"shape": (6, 1, side, channels), "strides": (1,), "dilation": (1,)}
    info = replace(conv_info(), **axes, preprocessing=(), padding="same")
    signal = rng.normal(size=(1, 700, channels))
    filmstrip(make_run(info), tmp_path / "a.png", responses=signal, dpi=100)
    with Image.open(tmp_path / "a.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_filmstrip_of_responses_is_a_figure(probed_run, tmp_path, ending):
    """Of few steps by default: one axes for the cells, one for the probe, and the scale bars."""
    figure = filmstrip(probed_run, tmp_path / f"a.{ending}", responses=True, outline=True)
    assert (tmp_path / f"a.{ending}").stat().st_size > 1000
    labels = [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes]
    assert ["0", "1", "2"] in labels


def test_few_steps_are_drawn_by_default(make_probed_run):
    """Of a long run five, the first and the last among them; steps without responses never."""
    run = make_probed_run(steps=range(30))
    for step in (0, 29):
        run.append(replace(run.snapshot(step), responses={}))
    figure = filmstrip(run, responses=True, dpi=50)
    (labels,) = [
        found
        for axes in figure.axes
        if len(found := [t.get_text() for t in axes.get_xticklabels()]) == 5
    ]
    assert (labels[0], labels[-1]) == ("1", "28")


def test_images_with_a_wrong_shape_are_refused(probed_run):
    with pytest.raises(FiltertrackError, match="expected True, numbers of probes or arrays"):
        filmstrip(probed_run, responses=1.5)
    with pytest.raises(FiltertrackError, match="leave delta out"):
        filmstrip(probed_run, responses=True, delta=True)


def test_the_layout_reads_the_run_once(probed_run):
    """However many numbers of filters and sizes of maps are tried, also on one scale."""
    selection = select_responses(probed_run, True)
    (maps,) = maps_of(selection, True)
    read = []

    def at(step):
        read.append(step)
        return maps.at(step)

    paper = PaperSize.of("4cm", "5cm", 150)  # too small for all filters
    counted = [replace(maps, at=at)]
    picture, layout = ResponseFilmstrip.fit(selection, Look(scale="layer"), counted, paper)
    picture.picture(range(picture.rows), picture.layout(picture.rows, layout.grid.scale, 2))
    assert picture.rows < 4
    assert len(read) <= 2 * 3


def test_many_probes_leave_all_filters_and_fewer_steps(make_probed_run):
    """Where the width is what is too small, fewer filters would not have larger maps."""
    run = make_probed_run(steps=range(30))
    figure = filmstrip(run, responses=[0, 1, 2, 0, 1, 2, 0, 1], dpi=100)
    cells = [axes for axes in figure.axes if axes.axison]
    labels = [[t.get_text() for t in axes.get_xticklabels()] for axes in cells]
    assert labels == [["0", "5", "29"]]
    assert [t.get_text() for t in cells[0].get_yticklabels()] == ["0", "1", "2", "3"]


def test_too_many_chosen_steps_are_refused(make_probed_run):
    """They are not left out silently; the message says how many fit."""
    run = make_probed_run(steps=range(31))
    message = r"steps: 31 steps with maps of 1 image would not be legible .* at most (\d+) steps"
    with pytest.raises(FiltertrackError, match=message) as refused:
        filmstrip(run, responses=True, filters=[3], steps=range(31), dpi=100)
    most = int(re.search(message, str(refused.value))[1])
    assert 15 < most < 31
    filmstrip(run, responses=True, filters=[3], steps=range(most), dpi=300)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("width", ["17cm", "9cm"])
def test_names_of_probes_do_not_touch_the_next_image(make_probed_run, count, width):
    """Nor the edge of the paper; the title is as large as they are where it fits."""
    figure = filmstrip(make_probed_run(), responses=[0, 1, 2, 0, 1, 2, 0, 1][:count], width=width)
    title, *texts = figure.texts
    names = [text.get_window_extent() for text in texts if text.get_text().startswith("probe")]
    images = sorted(
        axes.get_window_extent().x0
        for axes in figure.axes
        if not axes.axison and not axes.get_label()
    )
    assert len(names) == len(images) == count
    ends = [*images[1:], figure.get_window_extent().x1]
    for name, end in zip(names, ends, strict=True):
        assert name.x1 <= end - 4
    if width == "17cm":
        assert title.get_fontsize() >= 7.5


@pytest.mark.parametrize(
    ("shape", "image", "steps"), [((5, 5, 3, 12), (85, 128), 2), ((3, 3, 1, 16), (8, 8), 5)]
)
def test_blocks_side_by_side_leave_little_of_the_width_empty(  # noqa: PLR0917 - fixtures
    make_run, conv_info, rng, shape, image, steps
):
    """Where one block of all filters would be as high as the paper, and narrow."""
    info = replace(conv_info(kernel_shape=shape), preprocessing=(), padding="same")
    run = make_run(info, steps=range(steps))
    layout = fitted(run, rng.normal(size=(1, *image, shape[2])))[1]
    width = layout.blocks * (layout.left + layout.grid.shape[1])
    assert layout.blocks > 1
    assert width > 0.7 * layout.shape[1]
    assert layout.grid.cell_shape[0] >= 0.18 * PAPER.dpi
