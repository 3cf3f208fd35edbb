"""Layout of a filmstrip on paper: blocks of filters in whole pixels, with legible labels."""

import math
from dataclasses import dataclass
from textwrap import wrap
from typing import Self

from filtertrack.errors import FiltertrackError, counted
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.paper_size import (
    CHARACTER,
    DIGIT,
    FONT,
    MARGIN,
    POINT,
    TITLE_LINE,
    PaperSize,
    bars_height,
    legend_height,
    title_lines,
)
from filtertrack.render.grid import OUTLINED_GAP, Layout

_SMALLEST_FONT = 5.0
_NARROWEST_BLOCK = 0.3
_OUTLINED_GAP = 1.6
"""Gap between outlined cells as a multiple of the usual one."""
_LABELLED_WIDTH = 0.8
"""Share of the width that columns take: an estimate, for the font size."""
_LABEL_OF_COLUMN = 0.95
"""Share of a column that the label of its step takes, at most; else the labels are turned."""

# Multiples of the font size.
_BESIDE_NUMBERS, _BESIDE_MATRIX = 0.9, 0.3
"""Left margin of a block, beside the numbers of its filters or of a matrix, which has none."""
_ABOVE_CELLS = 0.5
"""Between the labels of the steps and the cells."""
_TITLE, _PART_TITLE = 2.2, 1.4
_IMAGE, _BELOW_IMAGE = 6.0, 0.8
"""Height of the images that filters answer to, at most, and the space below them."""
_LARGEST_IMAGE = 0.15
"""Height of these images as a share of that of the paper, at most."""
BESIDE_IMAGE, AFTER_NAME = 0.6, 1.0
"""Between an image and its name, and after the name, in font sizes."""
_SHORTEST_LINE = 7
"""Characters of a line of the name of an image, at least: ``probe 0``."""


@dataclass(frozen=True, slots=True)
class FilmstripLayout:
    """Where the blocks of a filmstrip lie. Sizes are in pixels, but the font's is in points.

    Attributes:
        shape: Height and width of the figure.
        blocks: Number of blocks side by side; each has all parts of the picture side by side.
        parts: Number of parts of the picture.
        rows: Filters in a block; the last may have fewer.
        grid: The cells of a full block.
        font: Size of the labels.
        upright: Whether the labels of the steps are turned by 90°.
        start: Left margin of the figure, which is as wide as the paper.
        left: Width to the left of each block, for the numbers of its filters.
        top: Height above the blocks, for the title, images and the labels of the steps.
        band: Height of the images that filters answer to, and of the space below them; 0 for none.
        part_title: Height of the labels of the steps, above which a part has its title.
    """

    shape: tuple[int, int]
    blocks: int
    parts: int
    rows: int
    grid: Layout
    font: float
    upright: bool
    start: int
    left: int
    top: int
    part_title: int
    band: int

    @classmethod
    def fit(cls, picture: FilmstripPicture, paper: PaperSize) -> Self:
        """Choose the number of blocks that makes the cells largest.

        Args:
            picture: The filters and steps.
            paper: The largest size.

        Returns:
            The layout, no larger than the paper.

        Raises:
            FiltertrackError: If no number of blocks leaves a pixel for each weight.
        """
        return max(cls.possible(picture, paper), key=lambda layout: layout.grid.scale)

    @classmethod
    def possible(cls, picture: FilmstripPicture, paper: PaperSize) -> list[Self]:
        """Return the layouts with a pixel for each weight, by their numbers of blocks.

        Raises:
            FiltertrackError: If there is none.
        """
        most = min(picture.rows, math.ceil(paper.width / _NARROWEST_BLOCK))
        for share in (None, 0.0):  # narrow gaps only where a weight has no pixel otherwise
            layouts = (cls._of(picture, paper, blocks, share) for blocks in range(1, most + 1))
            if found := list(filter(None, layouts)):
                return found
        raise FiltertrackError(
            f"width: {paper.width:.3g} x {paper.height:.3g} inches at {paper.dpi} dpi are too "
            f"few for one pixel a weight of {counted(picture.rows, 'filters')} at "
            f"{counted(picture.columns, 'steps')}; "
            f"choose fewer filters or steps, or a larger width, height or dpi"
        )

    @classmethod
    def _of(
        cls, picture: FilmstripPicture, paper: PaperSize, blocks: int, share: float | None
    ) -> Self | None:
        """Return the layout in so many blocks; None where a weight has less than a pixel.

        The labels of the steps are turned where they are wider than their columns. ``share`` is
        that of the gaps in the width; None for what looks well.
        """
        label = DIGIT * max(map(len, picture.marks))
        across = blocks * picture.beside
        font = _LABELLED_WIDTH * paper.width / across / picture.columns / POINT / label
        font = min(FONT, max(_SMALLEST_FONT, font))
        level = cls._with_font(picture, paper, blocks, font, 1.0, share=share)
        if level is None:
            return None
        column = (level.grid.shape[1] - level.grid.gap) / picture.columns
        if paper.pixels(label * font) <= _LABEL_OF_COLUMN * column:
            return level
        return cls._with_font(picture, paper, blocks, font, label, share=share, upright=True)

    @classmethod
    def _with_font(
        cls,
        picture: FilmstripPicture,
        paper: PaperSize,
        blocks: int,
        font: float,
        label: float,
        *,
        share: float | None,
        upright: bool = False,
    ) -> Self | None:
        """Return the layout with a font; ``label``: height of the steps' labels in font sizes."""
        view, columns = picture.view, picture.columns
        rows = math.ceil(view.filters / blocks) * view.cells_per_filter
        blocks = math.ceil(picture.rows / rows)  # the last ones would be empty
        size = paper.pixels(font)
        left = math.ceil(size * _left_margin(picture))
        parts = picture.beside
        labels = math.ceil(label * size + _ABOVE_CELLS * size)
        lines = len(title_lines(picture.title, paper))
        titles = _TITLE + TITLE_LINE * (lines - 1) + (_PART_TITLE if parts > 1 else 0)
        band = _band_height(picture, paper) if picture.images else 0
        top = labels + band + math.ceil(paper.pixels(titles * FONT))
        margin = math.ceil(paper.dpi * MARGIN)
        below = margin + bars_height(picture.bars, paper)
        below += legend_height(paper) if picture.outlined else 0
        least, factor = (OUTLINED_GAP, _OUTLINED_GAP) if picture.outlined else (1, 1.0)
        share = factor * picture.usual_gap if share is None else share
        gap = max(least, round(paper.dpi * paper.width / blocks / parts / columns * share))
        height, width = paper.shape
        lines = columns * (view.slices - 1)
        across = (width - margin) // (blocks * parts) - left - gap * (columns + 1) - lines
        down = height - below - top - gap * (rows + 1)
        scale = min(across // max(1, columns * view.width), down // max(1, rows * view.height))
        if scale < 1:
            return None
        grid = picture.layout(rows, scale, gap)
        start = (width - margin - blocks * parts * (left + grid.shape[1])) // 2
        shape = top + grid.shape[0] + below, width
        return cls(
            shape,
            blocks,
            parts,
            rows,
            grid,
            font,
            upright,
            start,
            left,
            top,
            labels,
            band,
        )


def image_size(picture: FilmstripPicture, paper: PaperSize) -> tuple[int, int]:
    """Return the height and width of an image that filters answer to, in pixels, at most."""
    high = min(paper.pixels(_IMAGE * FONT), _LARGEST_IMAGE * paper.height * paper.dpi)
    wide = paper.width * paper.dpi / len(picture.images) / 2  # its name is beside it
    return max(1, int(high)), max(1, int(wide))


def image_names(picture: FilmstripPicture, paper: PaperSize) -> list[str]:
    """Return the name of each image, in lines that fit beside it, about."""
    widest = max(image.draw(*image_size(picture, paper)).shape[1] for image in picture.images)
    share = paper.width * paper.dpi / len(picture.images) - widest
    size = paper.pixels(FONT)
    most = max(_SHORTEST_LINE, int((share / size - BESIDE_IMAGE - AFTER_NAME) / CHARACTER))
    return [
        "\n".join(part for text in image.name.splitlines() for part in wrap(text, most))
        for image in picture.images
    ]


def _band_height(picture: FilmstripPicture, paper: PaperSize) -> int:
    """Return the height of the images, or the texts beside them, with the space below."""
    most = image_size(picture, paper)
    high = max(len(image.draw(*most)) for image in picture.images)
    lines = max(name.count("\n") + 1 for name in image_names(picture, paper))
    text = paper.pixels(TITLE_LINE * lines * FONT)
    return math.ceil(max(high, text) + paper.pixels(_BELOW_IMAGE * FONT))


def _left_margin(picture: FilmstripPicture) -> float:
    """Return the width to the left of a block, in font sizes."""
    if picture.view.kind == "matrix":
        return _BESIDE_MATRIX
    return DIGIT * len(str(picture.highest)) + _BESIDE_NUMBERS
