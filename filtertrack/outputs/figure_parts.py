"""Parts that the figures of filters share: title, cells, scale bars and legend, in whole pixels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from filtertrack.outputs.matplotlib_figure import PaperFigure, PixelImage, colour
from filtertrack.outputs.paper_size import (
    BAR_SPACE,
    BAR_WIDTH,
    FONT,
    POINT,
    Bar,
    bar_length,
    legend_columns,
)
from filtertrack.render.look import ThemeName
from filtertrack.render.palette import OUTLINED, THEMES

LABEL_LINE = 1.05
"""From one label of a filter to the next, in font sizes, at least."""

_BAR_HEIGHT = 0.7
"""Height of a scale bar, in font sizes."""
_PART_TITLE_WIDTH = 4.0
"""Width of the title of a part, in font sizes; it is left out where its axes are narrower."""
_MOST_SHRUNK = 5
"""Times that the font of a title is made smaller, at most."""


def new_figure(shape: tuple[int, int], dpi: int, theme: ThemeName) -> Figure:
    """Return an empty figure of a height and width in pixels."""
    height, width = shape
    # Slightly larger: matplotlib rounds down to whole pixels, and 313 / 300 * 300 is below 313.
    size = np.nextafter((width / dpi, height / dpi), np.inf)
    ground = colour(THEMES[theme].background)
    figure = PaperFigure(figsize=tuple(size), dpi=dpi, facecolor=ground)
    FigureCanvasAgg(figure)
    return figure


def draw_text(
    figure: Figure,
    text: str,
    at: tuple[float, float],
    right: float,
    theme: ThemeName,
    *,
    weight: str = "normal",
    leftmost: float | None = None,
) -> None:
    """Draw a text, farther left or smaller where it would not end before ``right``.

    Args:
        figure: The figure.
        text: The text, of one line or several.
        at: Its left and top, in pixels from the upper left corner.
        right: Pixels from the left edge of the figure.
        theme: The theme.
        weight: ``"normal"`` or ``"bold"``.
        leftmost: Its left, in pixels, at least, where it is moved; None if it is not.
    """
    width, height = _size_of(figure)
    left, top = at[0] / width, 1 - at[1] / height
    ink = colour(THEMES[theme].text)
    drawn = figure.text(left, top, text, color=ink, fontsize=FONT, va="top", weight=weight)
    if leftmost is not None:
        beyond = max(0.0, drawn.get_window_extent().x1 - right)
        drawn.set_x(max(min(leftmost, at[0]), at[0] - beyond) / width)
    _shrink(drawn, right)


def add_image(figure: Figure, pixels: np.ndarray, at: tuple[int, int]) -> Axes:
    """Add axes of the size of an image, so that it is not resampled.

    Args:
        figure: The figure.
        pixels: ``uint8`` array of shape ``(height, width, 3)``.
        at: Left and top, in pixels from the upper left corner.
    """
    width, height = _size_of(figure)
    left, top = at
    down, across = pixels.shape[:2]
    axes = figure.add_axes((left / width, 1 - (top + down) / height, across / width, down / height))
    PixelImage(axes, pixels)
    axes.spines[:].set_visible(False)
    return axes


def draw_part_title(figure: Figure, axes: Axes, text: str, above: float, theme: ThemeName) -> None:
    """Draw the title of a part of a picture; ``above``: pixels from its axes to the title."""
    per_point = POINT * figure.dpi
    if axes.get_window_extent().width < _PART_TITLE_WIDTH * FONT * per_point:
        return
    axes.annotate(
        text,
        (0, 1),
        (0, above / per_point),
        "axes fraction",
        "offset points",
        color=colour(THEMES[theme].text),
        fontsize=FONT - 1,
        weight="bold",
        va="bottom",
    )


def draw_bar(
    figure: Figure, bar: Bar, at: tuple[float, float], right: float, theme: ThemeName
) -> None:
    """Draw a scale bar with its texts; the colours are shorter where it would pass ``right``.

    Args:
        figure: The figure.
        bar: Its texts and colours.
        at: Left and middle, in pixels from the lower left corner.
        right: Pixels from the left edge of the figure.
        theme: The theme.
    """
    (texts, colours), (left, middle) = bar, at
    size = FONT * POINT * figure.dpi
    halves = np.array_split(colours, 2 if texts.middle else 1)
    spare = right - left - size / 2 - bar_length(texts) * size
    wide = max(size, BAR_WIDTH * size + min(0, spare) / len(halves))
    left = _draw_bar_text(figure, texts.low, (left, middle), theme)
    for half, text in zip(halves, [texts.middle, texts.high][-len(halves) :], strict=True):
        left = _draw_colours(figure, half, (left, middle), wide)
        left = _draw_bar_text(figure, text, (left, middle), theme)


def _draw_bar_text(figure: Figure, text: str, at: tuple[float, float], theme: ThemeName) -> float:
    """Draw a text of a scale bar at left and middle, in pixels; return where the bar begins."""
    width, height = figure.get_size_inches() * figure.dpi
    ink = colour(THEMES[theme].text)
    drawn = figure.text(
        at[0] / width, at[1] / height, text, color=ink, fontsize=FONT - 1, va="center_baseline"
    )
    return float(drawn.get_window_extent().x1 + BAR_SPACE * FONT * POINT * figure.dpi)


def _draw_colours(
    figure: Figure, colours: np.ndarray, at: tuple[float, float], wide: float
) -> float:
    """Draw colours at left and middle, so wide, in pixels; return where the next text begins."""
    width, height = figure.get_size_inches() * figure.dpi
    high = _BAR_HEIGHT * FONT * POINT * figure.dpi
    bounds = (at[0] / width, (at[1] - high / 2) / height, wide / width, high / height)
    axes = figure.add_axes(bounds, label="scale")
    axes.imshow(colours[np.newaxis], aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    return float(at[0] + wide + BAR_SPACE * FONT * POINT * figure.dpi)


def draw_legend(figure: Figure, theme: ThemeName) -> None:
    """Draw the colours of the outlines and their labels at the lower edge of a figure."""
    look = THEMES[theme]
    handles = [
        Patch(color=colour(rgb), label=name)
        for name, rgb in zip(OUTLINED, look.outlines, strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=legend_columns(_size_of(figure)[0] / figure.dpi),
        frameon=False,
        fontsize=FONT - 1,
        labelcolor=colour(look.text),
        borderaxespad=0.2,
        handlelength=1,
    )


def labelled_cells(count: int, pitch: int, line: float) -> range:
    """Return the rows or columns with a label: every one, or every 2nd, 5th, 10th and so on.

    Args:
        count: Number of rows or columns.
        pitch: Pixels from one to the next.
        line: Pixels that a label takes.
    """
    intervals = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    return range(0, count, next(number for number in intervals if number * pitch >= line))


def middles(gap: int, numbers: Sequence[int], cell: int) -> list[float]:
    """Return the middles of cells of that many pixels along an axis, in image coordinates."""
    return [gap + number * (cell + gap) + (cell - 1) / 2 for number in numbers]


def _size_of(figure: Figure) -> tuple[int, int]:
    """Return the width and height of a figure, in pixels."""
    width, height = figure.get_size_inches() * figure.dpi
    return round(width), round(height)


def _shrink(text: Text, right: float) -> None:
    """Make the font of a text smaller until it ends before ``right``, in pixels."""
    for _ in range(_MOST_SHRUNK):
        box = text.get_window_extent()
        if box.x1 <= right:
            return
        share = 0.97 * (right - box.x0) / box.width  # letters do not shrink in exact proportion
        text.set_fontsize(share * text.get_fontsize())
