"""Filmstrips as figures and files."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filtertrack import FiltertrackError, Moment, Snapshot, filmstrip
from filtertrack.measures import label
from filtertrack.render.palette import OUTLINED, THEMES


def blocks_of(figure):
    """Return the axes of the blocks, without those of the scale bars."""
    return [axes for axes in figure.axes if axes.get_label() != "scale"]


def bars_of(figure):
    """Return the axes of the scale bars: one for each half."""
    return [axes for axes in figure.axes if axes.get_label() == "scale"]


def ticks(axes):
    """Return the labels of the steps above axes, and of the filters beside them."""
    return (
        [label.get_text() for label in axes.get_xticklabels()],
        [label.get_text() for label in axes.get_yticklabels()],
    )


def measured(axes, count, side):
    """Return the image in axes, its rows, gap and magnification; cells are squares."""
    image = np.asarray(axes.images[0].get_array())
    gap = int((image != image[0, 0]).any(axis=(1, 2)).argmax())
    scale, rest = divmod(image.shape[1] - gap * (count + 1), count * side)
    rows, more = divmod(len(image) - gap, side * scale + gap)
    assert rest == more == 0, "whole pixels"
    return image, rows, gap, scale


def weights_drawn(axes, count, side):
    """Return the colours in axes, one a weight: ``(rows, steps, side, side, 3)``."""
    image, rows, gap, scale = measured(axes, count, side)
    cells = np.empty((rows, count, side, side, 3), np.uint8)
    for row, column, y, x in np.ndindex(cells.shape[:4]):
        top = gap + row * (side * scale + gap) + y * scale
        left = gap + column * (side * scale + gap) + x * scale
        block = image[top : top + scale, left : left + scale]
        assert (block == block[0, 0]).all(), "a weight is a flat square"
        cells[row, column, y, x] = block[0, 0]
    return cells


def test_rows_are_filters_and_columns_are_steps(make_run, conv_info):
    """Each weight has its place and its grey."""
    run = make_run(conv_info(kernel_shape=(5, 5, 1, 3)), steps=range(4))
    figure = filmstrip(run, width="10cm", delta=False)
    (axes,) = blocks_of(figure)
    assert ticks(axes) == (["0", "1", "2", "3"], ["0", "1", "2"])
    drawn = weights_drawn(axes, 4, 5)
    for step in range(4):
        kernels = run.kernels("conv1", step)[..., 0].astype(float)
        low, high = (f(kernels, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        levels = np.rint((kernels - low) / (high - low) * 234)
        expected = np.rint(levels * 255 / 234)
        np.testing.assert_array_equal(drawn[:, step, :, :, 0], expected)


def test_the_png_contains_the_image_unscaled(make_run, conv_info, tmp_path):
    """At its resolution the image of the axes is not resampled."""
    run = make_run(conv_info(kernel_shape=(7, 7, 3, 12)), steps=range(5))
    for dpi in (100, 150, 300):
        figure = filmstrip(run, tmp_path / "a.png", width="8.5cm", dpi=dpi)
        with Image.open(tmp_path / "a.png") as image:
            canvas = np.asarray(image.convert("RGB"))
            assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
        assert canvas.shape[1] <= 8.5 / 2.54 * dpi
        for axes in blocks_of(figure):
            expected = np.asarray(axes.images[0].get_array())
            left, bottom, width, height = np.array(axes.get_position().bounds) * (
                canvas.shape[1],
                canvas.shape[0],
                canvas.shape[1],
                canvas.shape[0],
            )
            top = round(canvas.shape[0] - bottom - height)
            part = canvas[top : top + round(height), round(left) : round(left) + round(width)]
            np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize(
    ("filters", "steps", "width"),
    [
        (1, 1, "17cm"),
        (1, 10, "8.5cm"),
        (2, 10, "17cm"),
        (7, 1, "8.5cm"),
        (64, 10, "8.5cm"),
        (64, 1, "17cm"),
        (512, 10, "17cm"),
        (512, 1, "8.5cm"),
    ],
)
def test_labels_do_not_overlap_for_1_to_512_filters(make_run, conv_info, filters, steps, width):
    """All filters are drawn, and everything is inside the figure."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, filters), bias=False), steps=range(steps))
    figure = filmstrip(run, width=width, delta=False)
    wide, high = figure.bbox.width, figure.bbox.height
    assert wide == pytest.approx(float(width[:-2]) / 2.54 * 300, abs=1), "the given width"
    assert high <= 4 / 3 * float(width[:-2]) / 2.54 * 300
    assert sum(measured(axes, steps, 3)[1] for axes in blocks_of(figure)) == filters
    check_boxes(figure)


def test_a_long_run_shows_the_classic_epochs(make_run, conv_info):
    """The start, the epochs of Zeiler and Fergus, and the last."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(71))
    for axes in blocks_of(filmstrip(run)):
        assert ticks(axes)[0] == ["0", "1", "2", "5", "10", "20", "30", "40", "64", "70"]


def test_selected_steps_filters_and_order(run):
    """In the order given; ordered by drift, rows have the numbers of their filters."""
    for axes in blocks_of(filmstrip(run, steps=[0, 2], filters=[3, 1])):
        assert ticks(axes) == (["0", "2"], ["3", "1"])
    for axes in blocks_of(filmstrip(run, order="drift")):
        assert sorted(ticks(axes)[1]) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("colormap", "zero"), [(None, (247, 246, 246)), ("gray", (128,) * 3)])
def test_delta_starts_from_the_colour_of_zero(run, colormap, zero):
    """The title says that differences are drawn."""
    figure = filmstrip(run, delta=True, width="10cm", colormap=colormap)
    (axes,) = blocks_of(figure)
    drawn = weights_drawn(axes, 3, 3)
    assert (drawn[:, 0] == zero).all()
    assert "difference from the start" in figure.texts[0].get_text()


@pytest.mark.parametrize("theme", THEMES)
def test_both_parts_are_beside_each_other(run, theme):
    """With their titles, the same rows and columns, and a scale bar for each below."""
    figure = filmstrip(run, width="17cm", theme=theme)
    filters, learned = blocks_of(figure)
    assert [axes.texts[0].get_text() for axes in (filters, learned)] == ["filters", "learned"]
    assert ticks(filters) == ticks(learned) == (["0", "1", "2"], ["0", "1", "2", "3"])
    assert filters.get_position().y0 == pytest.approx(learned.get_position().y0)
    assert filters.get_position().x1 < learned.get_position().x0
    for axes, delta in ((filters, False), (learned, True)):
        alone = filmstrip(run, width="10cm", delta=delta, scale="filter", theme=theme)
        expected = weights_drawn(blocks_of(alone)[0], 3, 3).astype(int)
        assert np.abs(weights_drawn(axes, 3, 3) - expected).max() <= 6, "half of the entries"


@pytest.mark.parametrize(
    ("options", "texts", "colours"),
    [
        ({"delta": False}, ["lowest", "highest"], [(0, 0, 0), (255, 255, 255)]),
        (
            {"delta": True},
            ["decreased", "0", "increased"],
            [(5, 48, 97), (247, 246, 246), (103, 0, 31)],
        ),
        (
            {"delta": False, "zero_centred": True, "colormap": "coolwarm"},
            ["negative", "0", "positive"],
            [(59, 76, 192), (221, 220, 220), (180, 4, 38)],
        ),
        (
            {},
            ["lowest", "highest", "decreased", "0", "increased"],
            [(0, 0, 0), (255, 255, 255), (5, 48, 97), (247, 247, 247), (103, 0, 31)],
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("width", ["8.5cm", "17cm"])
def test_a_scale_bar_has_the_colours_of_the_colormap(run, options, texts, colours, width):
    """From its low text to its high one; zero is in its middle, between two halves."""
    figure = filmstrip(run, width=width, **options)
    assert [text.get_text() for text in figure.texts[1:]] == texts
    bars = [np.asarray(axes.images[0].get_array())[0] for axes in bars_of(figure)]
    found = []
    if "lowest" in texts:
        found += [bars[0][0], bars[0][-1]]
        bars = bars[1:]
    if bars:
        low, high = bars
        found += [low[0], low[-1], high[-1]]
        assert np.abs(low[-1].astype(int) - high[0]).max() <= 6, "zero"
    assert np.abs(np.array(found) - colours).max() <= 1
    order = sorted([(text.get_window_extent().x0, text.get_text()) for text in figure.texts[1:3]])
    assert [text for _, text in order] == texts[:2]


def test_colours_have_no_scale_bar(make_run, conv_info):
    """A weight has three values; the title names the scale."""
    figure = filmstrip(make_run(conv_info(kernel_shape=(9, 9, 3, 4)), steps=range(3)), delta=False)
    assert not bars_of(figure)
    assert len(figure.texts) == 1
    assert "each filter has its own scale at each step" in figure.texts[0].get_text()


@pytest.mark.parametrize(("filters", "titled"), [(16, True), (512, False)])
def test_titles_of_narrow_blocks_are_left_out(make_run, conv_info, filters, titled):
    """They would overlap; the title of the figure names both parts."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, filters), bias=False), steps=range(2))
    figure = filmstrip(run, width="8.5cm")
    check_boxes(figure)
    for axes in blocks_of(figure):
        assert len(axes.texts) == titled
    assert "learned" in figure.texts[0].get_text()


def test_all_channels_are_rows_of_a_filter(make_run, conv_info):
    """Each with the number of its filter; no filter is divided between blocks."""
    run = make_run(conv_info(kernel_shape=(3, 3, 4, 24), bias=False), steps=range(3))
    figure = filmstrip(run, channels="all", delta=False)
    blocks = blocks_of(figure)
    assert len(blocks) > 1
    numbers = []
    for axes in blocks:
        rows = measured(axes, 3, 3)[1]
        assert rows % 4 == 0
        numbers += [int(text) for text in ticks(axes)[1]]
    assert numbers == sorted(numbers)
    assert set(numbers) <= set(range(24))
    assert sum(measured(axes, 3, 3)[1] for axes in blocks) == 96


def boxes_of(figure):
    """Return what is drawn, and where: blocks, tick labels, titles, bars, texts and legends."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    drawn = list(figure.axes)
    drawn += [text for text in figure.texts if text.get_text()]
    drawn += [text for axes in figure.axes for text in axes.texts]
    for axes in blocks_of(figure):
        drawn += [text for text in axes.get_xticklabels() if text.get_text()]
        drawn += [text for text in axes.get_yticklabels() if text.get_text()]
    for legend in figure.legends:
        drawn += [*legend.get_texts(), *legend.get_patches()]
    return [(each, each.get_window_extent(renderer)) for each in drawn]


def check_boxes(figure):
    """Check that nothing overlaps, and that everything is inside the figure."""
    boxes = boxes_of(figure)
    for number, (what, box) in enumerate(boxes):
        assert box.x0 >= 0, what
        assert box.y0 >= 0, what
        assert box.x1 <= figure.bbox.width + 0.5, what
        assert box.y1 <= figure.bbox.height + 0.5, what
        for other, another in boxes[:number]:
            apart = box.x1 <= another.x0 + 1 or another.x1 <= box.x0 + 1
            apart = apart or box.y1 <= another.y0 + 1 or another.y1 <= box.y0 + 1
            assert apart, (what, other)


@pytest.mark.parametrize(("width", "outline"), [("7cm", True), ("8.5cm", False), ("17cm", True)])
@pytest.mark.parametrize(
    ("kernel_shape", "steps", "options"),
    [
        ((3, 3, 1, 16), range(10), {}),
        ((3, 3, 48, 7), range(10), {}),
        ((3, 3, 3, 32), range(6), {}),
        ((3, 3, 1, 90), range(2), {}),
        ((3, 3, 4, 9), [0, 10**4, 10**6], {"channels": "all"}),
        ((3, 3, 1, 4), [0, 1], {"scale": "layer"}),
        ((3, 3, 1, 4), range(3), {"zero_centred": True, "filters": [2]}),
    ],
    ids=str,
)
def test_nothing_overlaps_in_a_figure_of_two_parts(  # noqa: PLR0917 - fixtures
    make_run, conv_info, width, outline, kernel_shape, steps, options
):
    """Titles, steps, numbers, cells, scale bars and the legend are apart, and inside."""
    run = make_run(conv_info(kernel_shape=kernel_shape, bias=False), steps=steps)
    figure = filmstrip(run, width=width, outline=outline, **options)
    assert len(blocks_of(figure)) % 2 == 0
    check_boxes(figure)


@pytest.mark.parametrize("channel", range(3))
def test_one_channel_of_colour_filters_is_grey(make_run, conv_info, channel):
    """Each weight of the channel has its place and its grey."""
    run = make_run(conv_info(kernel_shape=(5, 5, 3, 3)), steps=range(4))
    drawn = weights_drawn(filmstrip(run, channels=channel, width="10cm", delta=False).axes[0], 4, 5)
    for step in range(4):
        kernels = run.kernels("conv1", step)[..., channel].astype(float)
        low, high = (f(kernels, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        levels = np.rint((kernels - low) / (high - low) * 234)
        expected = np.rint(levels * 255 / 234)
        for colour in range(3):
            np.testing.assert_array_equal(drawn[:, step, :, :, colour], expected)


def test_the_strongest_pattern_of_colour_filters_takes_a_colormap(make_run, conv_info):
    """Without a colormap it is grey."""
    run = make_run(conv_info(kernel_shape=(5, 5, 3, 3)), steps=range(4))
    options = {"channels": "strongest", "width": "10cm", "delta": False}
    grey = weights_drawn(filmstrip(run, **options).axes[0], 4, 5)
    assert not np.ptp(grey.astype(int), axis=-1).any()
    options["colormap"] = "viridis"
    assert np.ptp(weights_drawn(filmstrip(run, **options).axes[0], 4, 5).astype(int), axis=-1).any()


def test_a_pdf_embeds_truetype_fonts(make_run, conv_info, tmp_path):
    """Not Type 3, which journals refuse; and no date, so equal figures make equal files."""
    run = make_run(conv_info(kernel_shape=(7, 7, 3, 12)), steps=range(5))
    for name in ("a.pdf", "b.pdf"):
        filmstrip(run, tmp_path / name)
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert data == (tmp_path / "b.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    pdffonts = shutil.which("pdffonts")
    if pdffonts:
        listed = subprocess.run(
            [pdffonts, tmp_path / "a.pdf"], capture_output=True, text=True, check=True
        ).stdout
        fonts = listed.splitlines()[2:]
        assert fonts
        for font in fonts:
            assert re.search(r"DejaVuSans(-Bold)?\s+CID TrueType\s+\S+\s+yes yes", font)


def test_a_pdf_contains_the_image_without_loss(make_run, conv_info, tmp_path):
    """As decoded by Poppler, every pixel is that of the image of the axes."""
    pdfimages = shutil.which("pdfimages")
    if not pdfimages:
        pytest.skip("needs pdfimages, of Debian's poppler-utils")
    run = make_run(conv_info(kernel_shape=(5, 5, 3, 4)), steps=range(3))
    figure = filmstrip(run, tmp_path / "a.pdf")
    subprocess.run([pdfimages, "-png", tmp_path / "a.pdf", tmp_path / "a"], check=True)
    with Image.open(tmp_path / "a-000.png") as image:
        inside = np.asarray(image.convert("RGB"))[::-1]  # PDF counts rows from below
        expected = np.asarray(figure.axes[0].images[0].get_array())
        np.testing.assert_array_equal(inside, expected)


def test_an_svg_has_outlines_instead_of_text(run, tmp_path):
    """It is valid XML, and equal figures make equal files."""
    from xml.etree import ElementTree as ET

    for name in ("a.svg", "b.svg"):
        filmstrip(run, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}  # noqa: S314
    assert "path" in tags
    assert "image" in tags
    assert "text" not in tags


def test_a_layer_name_is_plain_text(make_run, conv_info, tmp_path):
    """Markup and mathematics in a name are drawn as they are."""
    run = make_run(conv_info("a.b_c", path="<b>$x^2$"), steps=range(2))
    figure = filmstrip(run, tmp_path / "a.svg")
    assert figure.texts[0].get_text().startswith("a.b_c")


def test_the_figure_can_be_changed(run, tmp_path):
    """It is a matplotlib figure that pyplot does not know."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    before = plt.get_fignums()
    figure = filmstrip(run)
    assert isinstance(figure, Figure)
    figure.axes[0].set_xlabel("epoch")
    figure.savefig(tmp_path / "own.png", dpi=50)
    assert (tmp_path / "own.png").stat().st_size
    assert plt.get_fignums() == before


def test_a_notebook_displays_the_figure_as_png(run):
    assert filmstrip(run, dpi=50)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_background_is_that_of_the_theme(run, tmp_path, theme):
    """White or dark."""
    filmstrip(run, tmp_path / "a.png", theme=theme, dpi=50)
    with Image.open(tmp_path / "a.png") as image:
        assert image.convert("RGB").getpixel((0, 0)) == THEMES[theme].background


@pytest.mark.parametrize(
    "kernel_shape", [(1, 1, 8, 5), (3, 3, 3, 2, 4), (1, 7, 1, 2), (7, 7, 3, 1)], ids=str
)
def test_unusual_layers_are_drawn(make_run, conv_info, tmp_path, kernel_shape):
    """A matrix, slices, kernels of one row, one filter."""
    shape, axes = {}, {}
    if len(kernel_shape) == 5:
        deep, high, wide, channels, filters = kernel_shape
        shape = {"shape": (filters, high, deep * wide, channels)}
        axes = {"axes": (4, 1, 0, 2, 3)}
    run = make_run(conv_info(kernel_shape=kernel_shape, **shape, **axes), steps=range(3))
    figure = filmstrip(run, tmp_path / "a.png")
    assert ticks(figure.axes[0])[0] == ["0", "1", "2"]
    if kernel_shape == (1, 1, 8, 5):
        assert ticks(figure.axes[0])[1] == []


def test_non_finite_weights_are_magenta(run, tmp_path):
    """There is no warning."""
    arrays = {name: np.full_like(a, np.nan) for name, a in run.snapshot(2).arrays.items()}
    run.append(Snapshot(Moment(3, 3), arrays))
    filmstrip(run, tmp_path / "a.png", scale="filter")
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image.convert("RGB")) == (255, 0, 170)).all(axis=-1).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "wide"}, "width: expected a size such as '17cm'"),
        ({"width": -3}, "width: expected a size"),
        ({"height": "3ft"}, "height: expected a size"),
        ({"width": 300}, "at most 200 inches"),
        ({"dpi": 5}, "dpi: expected 10 to 2400"),
        ({"width": 100, "dpi": 2400}, "GB of memory; choose a smaller width, height or dpi"),
        ({"width": "0.3cm"}, "are too few for one pixel a weight of 4 filters at 3 steps"),
        ({"layers": "conv*"}, "a filmstrip shows one, got conv1, conv2"),
        ({"layers": "conv9"}, "no layer 'conv9'"),
        ({"steps": [9]}, "no snapshot at step 9"),
        ({"filters": [4]}, "has the filters 0 to 3, got 4"),
        ({"channels": 9}, "'strongest', 'all' or some of the channels 0 to 0 of conv1, got 9"),
        ({"channels": "red"}, "or two or three of them such as (2, 1, 0) or 'bgr', got 'red'"),
        ({"channel_names": ["r", "g"]}, "channel_names: conv1 has 1 input channel, got 2 names"),
        ({"smooth": True}, "smooth: kernels of at least 5 weights in height and width"),
        ({"output": "a.gif"}, "expected a name that ends in .png, .pdf, .svg"),
        ({"output": "no/a.pdf"}, "there is no folder"),
    ],
    ids=str,
)
def test_invalid_options_are_errors(run, tmp_path, options, message):
    """The message names the option; nothing is written."""
    output = tmp_path / options.pop("output", "a.png")
    with pytest.raises(FiltertrackError) as error:
        filmstrip(run, output, **options)
    assert message in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_colormap_for_colour_filters_is_an_error(make_run, conv_info):
    """They are drawn in their own colours."""
    with pytest.raises(FiltertrackError, match="leave the colormap out"):
        filmstrip(make_run(conv_info(kernel_shape=(3, 3, 3, 2))), colormap="viridis")


def test_a_run_without_readable_snapshots_is_an_error(make_run):
    """Empty, or all damaged."""
    run = make_run(steps=[])
    with pytest.raises(FiltertrackError, match="holds 0 readable snapshots to show"):
        filmstrip(run)
    run = make_run(steps=[0], folder="damaged")
    run.file(0).write_bytes(b"damaged")
    with pytest.raises(FiltertrackError, match="holds 0 readable snapshots to show"):
        filmstrip(run)


def test_a_layer_without_filters_is_an_error(make_run, conv_info):
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 0)), steps=range(2))
    with pytest.raises(FiltertrackError, match="layer conv1 has no filters"):
        filmstrip(run)


def test_the_file_does_not_depend_on_matplotlib_settings(run, tmp_path):
    """The settings of the program are kept."""
    import matplotlib as mpl

    expected = tmp_path / "a.png"
    filmstrip(run, expected, dpi=100)
    strange = {
        "axes.grid": True,
        "axes.axisbelow": False,
        "image.origin": "lower",
        "savefig.bbox": "tight",
        "savefig.dpi": 37,
        "font.family": ["monospace"],
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(strange):
        figure = filmstrip(run, tmp_path / "b.png", dpi=100)
        figure.savefig(tmp_path / "c.png")
        assert mpl.rcParams["image.origin"] == "lower"
    with Image.open(expected) as a, Image.open(tmp_path / "b.png") as b:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert expected.read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "c.png") as c, Image.open(expected) as a:
        assert c.size == a.size


def test_the_file_has_the_size_of_the_layout(make_run, conv_info, tmp_path):
    """Also where a size in inches is rounded below whole pixels."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 1), bias=False), steps=range(2))
    for tenths in range(20, 60):
        figure = filmstrip(run, tmp_path / "a.png", width=tenths / 10, dpi=100)
        bounds = figure.axes[0].get_position().bounds
        image = figure.axes[0].images[0].get_array()
        with Image.open(tmp_path / "a.png") as canvas:
            assert image.shape[1] == pytest.approx(bounds[2] * canvas.size[0], abs=1e-6)
            assert image.shape[0] == pytest.approx(bounds[3] * canvas.size[1], abs=1e-6)


def test_only_the_selected_steps_are_read(make_run, conv_info, caplog):
    """A damaged snapshot is reported only if its step is selected."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(50))
    for step in (3, 10):
        run.file(step).write_bytes(b"damaged")
    (axes,) = blocks_of(filmstrip(run, delta=False))
    assert ticks(axes)[0] == ["0", "1", "2", "5", "20", "30", "40", "49"]
    assert "left out step 10" in caplog.text
    assert "step 3:" not in caplog.text


def test_drawing_sets_no_backend(run):
    """Drawing needs no screen and leaves matplotlib unchanged."""
    code = (
        "import matplotlib, sys; before = matplotlib.rcParams['pdf.fonttype']\n"
        "from filtertrack import filmstrip\n"
        f"filmstrip({str(run.path)!r}, {str(run.path / 'a.pdf')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams['pdf.fonttype'] == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Path(run.path / "a.pdf").exists()


def outlines_drawn(axes, rows, columns, side):
    """Return the colour of the line around each cell of an image: ``(rows, columns)`` of tuples."""
    image = np.asarray(axes.images[0].get_array())
    # Cells and gaps repeat; the first row of the picture is a separator throughout.
    for gap in range(3, 60):
        scale, rest = divmod(image.shape[1] - gap * (columns + 1), columns * side)
        more = (image.shape[0] - gap * (rows + 1)) - rows * side * scale
        if scale > 0 and rest == more == 0:
            break
    width, pitch = (gap - 1) // 2, side * scale + gap
    colours = np.empty((rows, columns), object)
    for row, column in np.ndindex(rows, columns):
        top, left = gap + row * pitch - width, gap + column * pitch - width
        right, bottom = left + pitch - gap + 2 * width - 1, top + pitch - gap + 2 * width - 1
        edges = image[[top, bottom], left : right + 1], image[top : bottom + 1, [left, right]]
        found = {tuple(pixel) for edge in edges for pixel in edge.reshape(-1, 3).tolist()}
        assert len(found) == 1, "one colour all around"
        colours[row, column] = found.pop()
    return colours


@pytest.mark.parametrize("theme", THEMES)
def test_outlines_have_the_colours_of_their_labels(planted_run, tmp_path, theme):
    """In the figure and the file; the legend names all of them."""
    options = {"layers": "conv2", "outline": True, "theme": theme, "width": "10cm", "dpi": 150}
    figure = filmstrip(planted_run, tmp_path / "a.png", **options)
    look = THEMES[theme]
    (axes,) = blocks_of(figure)
    drawn = outlines_drawn(axes, 4, 6, 7)
    seen = set()
    for column, step in enumerate(planted_run.steps):
        names = label(planted_run.kernels("conv2", step)).names
        for row, name in enumerate(names):
            known = name in OUTLINED
            expected = look.outlines[OUTLINED.index(name)] if known else look.separator
            assert drawn[row, column] == expected
            seen.add(name)
    assert {"edge", "blob", "unstructured"} <= seen
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(OUTLINED)
    patches = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
    np.testing.assert_allclose(255 * np.array(patches), look.outlines)
    with Image.open(tmp_path / "a.png") as image:
        colours = set(
            map(tuple, np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0))
        )
    assert set(look.outlines) <= {tuple(map(int, colour)) for colour in colours}


@pytest.mark.parametrize(
    ("filters", "width"), [(1, "8.5cm"), (7, "17cm"), (96, "8.5cm"), (96, "17cm")]
)
def test_the_legend_is_below_the_blocks(make_run, conv_info, filters, width):
    """Inside the figure, on one or two lines; the figure is no larger than given."""
    run = make_run(conv_info(kernel_shape=(5, 5, 1, filters), bias=False), steps=range(5))
    figure = filmstrip(run, width=width, outline=True)
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    (legend,) = figure.legends
    box = legend.get_window_extent(renderer)
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= min(axes.get_window_extent(renderer).y0 for axes in figure.axes) + 1
    assert figure.bbox.height <= 4 / 3 * float(width[:-2]) / 2.54 * 300
    assert figure.bbox.width == pytest.approx(float(width[:-2]) / 2.54 * 300, abs=1)


def test_the_legend_fits_into_a_narrow_figure(run):
    """Of 3 cm, as narrow as one that is drawn without outlines."""
    options = {"width": "3cm", "height": "6cm"}
    assert filmstrip(run, **options).axes
    figure = filmstrip(run, outline=True, **options)
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    box = figure.legends[0].get_window_extent(renderer)
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_without_outlines_there_is_no_legend(planted_run):
    """All separators have one colour."""
    figure = filmstrip(planted_run, layers="conv2", width="10cm")
    assert not figure.legends
    image = np.asarray(figure.axes[0].images[0].get_array())
    coloured = image[np.ptp(image, axis=-1) > 0]
    assert set(map(tuple, coloured.tolist())) == {THEMES["light"].separator}


def test_outlined_files_are_reproducible(planted_run, tmp_path):
    """With a legend, in each format."""
    for ending in ("pdf", "svg", "png"):
        for name in "ab":
            filmstrip(
                planted_run, tmp_path / f"{name}.{ending}", layers="conv2", outline=True, dpi=100
            )
        one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert one == two


def test_outlines_around_a_matrix_are_an_error(make_run, conv_info):
    """The message says what to leave out."""
    with pytest.raises(FiltertrackError, match=r"outline: 1x1 kernels.*leave it out"):
        filmstrip(make_run(conv_info(kernel_shape=(1, 1, 8, 5))), outline=True)


@pytest.mark.parametrize("width", ["8.5cm", "17cm"])
def test_a_long_title_stays_inside_the_figure(make_run, conv_info, width):
    """Its font is smaller where there is little space."""
    run = make_run(conv_info("a_rather_long_name", kernel_shape=(3, 3, 3, 4)), steps=range(4))
    figure = filmstrip(run, channels="strongest", delta=True, width=width)
    title = figure.texts[0]
    text = title.get_text().replace("\n", " · ")
    assert re.search(
        r"strongest pattern of 3 channels, on average \d+% of a filter · learned: difference from",
        text,
    )
    assert title.get_window_extent().x1 <= figure.bbox.width
