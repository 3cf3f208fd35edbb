"""Matplotlib figures that do not depend on the settings of matplotlib."""

import time
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from filtertrack.outputs.figure_parts import add_image, new_figure
from filtertrack.outputs.matplotlib_figure import (
    FIGURE_FORMATS,
    PaperFigure,
    PixelImage,
    colour,
    figure_settings,
    save,
)
from filtertrack.render.palette import THEMES

ENDINGS = pytest.mark.parametrize("ending", FIGURE_FORMATS)
STRANGE = {
    "font.family": ["monospace"],
    "pdf.fonttype": 3,
    "savefig.bbox": "tight",
    "savefig.dpi": 37,
    "svg.fonttype": "none",
    "text.usetex": True,
}


def drawn():
    with figure_settings():
        figure = PaperFigure(figsize=(2, 1), dpi=100)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
        axes.plot([0, 1], [0, 1])
        axes.set_title("a title")
    return figure


def test_figure_settings_are_defaults_and_restored():
    """Except what files need."""
    with mpl.rc_context(STRANGE):
        before = dict(mpl.rcParams)
        with figure_settings():
            assert mpl.rcParams["font.family"] == mpl.rcParamsDefault["font.family"]
            assert mpl.rcParams["pdf.fonttype"] == 42
            assert mpl.rcParams["svg.fonttype"] == "path"
        assert dict(mpl.rcParams) == before


def test_figure_settings_are_restored_after_an_error():
    before = dict(mpl.rcParams)
    with pytest.raises(ZeroDivisionError), figure_settings():
        mpl.rcParams["lines.linewidth"] = 1 / 0
    assert dict(mpl.rcParams) == before


@ENDINGS
def test_files_are_reproducible(tmp_path, ending):
    """Byte for byte with any settings: they hold no date."""
    save(drawn(), tmp_path / f"a{ending}")
    with mpl.rc_context(STRANGE):
        save(drawn(), tmp_path / f"b{ending.upper()}")
    data = (tmp_path / f"a{ending}").read_bytes()
    assert data == (tmp_path / f"b{ending.upper()}").read_bytes()
    assert b"CreationDate" not in data
    assert b"<dc:date>" not in data


def test_text_is_truetype_in_pdf_and_outlines_in_svg(tmp_path):
    """Journals refuse Type 3, and outlines need no font."""
    save(drawn(), tmp_path / "a.pdf")
    data = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    save(drawn(), tmp_path / "a.svg")
    root = ET.fromstring((tmp_path / "a.svg").read_text())  # noqa: S314
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "path" in tags
    assert "text" not in tags


@ENDINGS
def test_a_file_is_written_whole_or_not_at_all(tmp_path, ending):
    """After an error the old file is there, and nothing else."""

    class Broken(PaperFigure):
        def draw(self, renderer):
            raise RuntimeError("broken")

    target = tmp_path / f"a{ending}"
    target.write_bytes(b"old")
    figure = Broken(figsize=(1, 1))
    FigureCanvasAgg(figure)
    with pytest.raises(RuntimeError, match="broken"):
        save(figure, target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_savefig_uses_figure_settings(tmp_path):
    """So does the PNG for notebooks."""
    with mpl.rc_context(STRANGE):
        figure = drawn()
        figure.savefig(tmp_path / "a.png")
        shown = figure._repr_png_()
        assert mpl.rcParams["savefig.dpi"] == 37
    assert shown == (tmp_path / "a.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (200, 100)


@pytest.mark.parametrize("theme", THEMES)
def test_colours_are_converted_exactly(theme):
    """Rounded back to 0 to 255 they are the same."""
    for rgb in (THEMES[theme].background, THEMES[theme].text, *THEMES[theme].outlines):
        assert tuple(round(255 * part) for part in colour(rgb)) == rgb
        assert all(0 <= part <= 1 for part in colour(rgb))


def resampled(axes, pixels):
    axes.imshow(pixels, interpolation="none", aspect="auto", origin="upper")


def figure_with(draw, pixels, change=lambda figure: None):
    """Draw an image of that many pixels into axes of the same size, and change the figure."""
    high, wide = pixels.shape[:2]
    figure = PaperFigure(figsize=((wide + 20) / 100, (high + 30) / 100), dpi=100)
    FigureCanvasAgg(figure)
    bounds = (7 / (wide + 20), 11 / (high + 30), wide / (wide + 20), high / (high + 30))
    draw(figure.add_axes(bounds), pixels)
    change(figure)
    return figure


@pytest.mark.parametrize(
    "change",
    [
        lambda figure: None,
        lambda figure: figure.set_dpi(141),
        lambda figure: figure.set_dpi(50),
        lambda figure: figure.axes[0].set_xlim(3, 20),
        lambda figure: figure.axes[0].set_ylim(0, 44),
        lambda figure: figure.axes[0].invert_yaxis(),
        lambda figure: figure.axes[0].invert_xaxis(),
        lambda figure: figure.axes[0].images[0].set_alpha(0.5),
        lambda figure: figure.axes[0].set_position((0.1003, 0.2, 0.5, 0.5)),
        lambda figure: figure.axes[0].images[0].set_data(np.full((37, 53, 3), 0.4)),
    ],
    ids=[
        *("as it is", "finer", "coarser", "wider", "higher", "upside", "mirrored", "pale", "moved"),
        "other values",
    ],
)
@ENDINGS
def test_an_image_is_drawn_as_matplotlib_draws_it(rng, tmp_path, ending, change):
    """Byte for byte, also where someone has changed the figure."""
    if ending == ".png" and mpl.__version_info__ < (3, 11):
        pytest.skip("matplotlib misplaces some pixels: the next test")
    pixels = rng.integers(0, 256, (37, 53, 3), np.uint8)
    files = []
    for draw in (PixelImage, resampled):
        files.append(tmp_path / f"{draw.__name__}{ending}")
        save(figure_with(draw, pixels, change), files[-1])
    ours, theirs = (file.read_bytes() for file in files)
    assert ours == theirs


@pytest.mark.parametrize("shape", [(37, 53), (200, 331), (613, 407)], ids=str)
def test_each_pixel_of_an_image_is_one_of_the_figure(rng, tmp_path, shape):
    """Exactly, also with the versions of matplotlib that misplace some of them."""
    pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
    high, wide = shape
    figure = new_figure((high + 30, wide + 20), 100, "light")
    add_image(figure, pixels, (7, 11)).set(xticks=[], yticks=[])
    save(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        drawn = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(drawn[11 : 11 + high, 7 : 7 + wide], pixels)


def test_an_image_of_the_figures_pixels_is_not_resampled(rng):
    """To draw it takes a fraction of the CPU time of matplotlib's own image."""
    pixels = rng.integers(0, 256, (600, 800, 3), np.uint8)
    images = [figure_with(draw, pixels).axes[0].images[0] for draw in (PixelImage, resampled)]
    took = [[], []]
    for _ in range(4):
        for image, times in zip(images, took, strict=True):
            renderer = image.figure.canvas.get_renderer()
            begin = time.process_time()
            image.make_image(renderer)
            times.append(time.process_time() - begin)
    assert min(took[0]) < min(took[1]) / 2
