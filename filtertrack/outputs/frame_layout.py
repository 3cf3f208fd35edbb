"""Layout of an animation's frames: where the grid of each layer lies, and the size limits."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from filtertrack.errors import FiltertrackError, size_text
from filtertrack.render.cells import View
from filtertrack.render.grid import Layout
from filtertrack.render.scale_bar import bar_height
from filtertrack.render.text import font_size, line_height

NARROWEST = 260
"""Width of a frame, in pixels, at least: a caption in less would not be legible."""

_SIDE, _LONGEST_SIDE = 640, 1280
"""Pixels of the longer side of one grid, and of many together, where no size is given."""
_SMALLEST_SPACE, _SPACES_IN_SIDE = 4, 40
"""Pixels between grids, at least; else this fraction of the longer side."""

_FRAMES_AT_ONCE = 40
"""Frames in memory at a time, with what encoders make of them: measured; video takes most."""
_MOST_MEMORY = 2e9
_MOST_DISK = 20e9


class GridPosition(NamedTuple):
    """Where a grid lies below the caption.

    Attributes:
        layout: The cells of the grid.
        top: Its first row, in pixels; its title is above it.
        left: Its first column, in pixels.
    """

    layout: Layout
    top: int
    left: int


class Arrangement(NamedTuple):
    """The grids of a frame, without the caption.

    Attributes:
        grids: Where each grid lies, row by row.
        font: Size of the titles and scale bars, in pixels.
        title: Height of the title above each grid, in pixels; 0 where there is only one grid.
        bar: Height of the scale bar below each grid, in pixels.
        shape: Height and width, in pixels; both are even.
        side: The longer side of the grids together, without titles, in pixels.
    """

    grids: list[GridPosition]
    font: int
    title: int
    bar: int
    shape: tuple[int, int]
    side: int


def arrange_grids(
    views: Sequence[View],
    across: int,
    *,
    shares: Sequence[float] | None = None,
    side: int | None = None,
    columns: int | None = None,
    even: bool = False,
    outlined: bool = False,
    title_lines: int = 1,
) -> Arrangement:
    """Arrange grids in rows, each centred in its column.

    Args:
        views: How the layer of each grid is drawn.
        across: Grids in a row.
        shares: Share of the width of each grid in a row; None for equal ones.
        side: Longer side of all grids together, without titles, in pixels, at most; more where a
            weight would have less than a pixel. None for 640, up to 1280 for several grids.
        columns: Filters in a row of each grid; None to choose.
        even: Whether cells begin and end at even pixels, as video needs it.
        outlined: Whether there is a line around each cell.
        title_lines: Lines of the title above each grid, where there are several.

    Returns:
        Where the grids lie.
    """
    down = math.ceil(len(views) / across)
    side = side or default_side(across, down)
    space = _even_down(max(_SMALLEST_SPACE, side // _SPACES_IN_SIDE))
    # Even, since the width and height of each grid are rounded up to even numbers below.
    available = side - space * (across - 1)
    most_wide = [
        max(2, _even_down(int(available * share))) for share in shares or [1 / across] * across
    ]
    most_high = max(2, _even_down((side - space * (down - 1)) // down))
    layouts = [
        Layout.fit(
            view.count,
            view.height,
            view.width,
            most_wide[number % across],
            view.slices,
            high=most_high,
            columns=columns,
            even=even,
            outlined=outlined,
            together=view.cells_per_filter,
        )
        for number, view in enumerate(views)
    ]
    rows = [layouts[start : start + across] for start in range(0, len(layouts), across)]
    stacks = [layouts[start::across] for start in range(across)]
    heights = [_even_up(max(layout.shape[0] for layout in row)) for row in rows]
    widths = [_even_up(max(layout.shape[1] for layout in stack)) for stack in stacks]
    if max(sum(sizes) + space * (len(sizes) - 1) for sizes in (widths, heights)) > side:
        space = _SMALLEST_SPACE  # a weight has one pixel: as little as possible is too wide
    grids_width = sum(widths) + space * (across - 1)
    width = max(grids_width, NARROWEST)
    size = font_size(max(widths))
    title = _even_down(title_lines * line_height(size)) + 2 if len(layouts) > 1 else 0
    bar = bar_height(size)
    tops = _starts([title + height + bar for height in heights], space, title)
    lefts = _starts(widths, space, _even_down((width - grids_width) // 2))
    grids = [
        GridPosition(layout, top, left + _even_down((column - layout.shape[1]) // 2))
        for row, top in zip(rows, tops, strict=True)
        for layout, left, column in zip(row, lefts, widths, strict=False)
    ]
    grids_height = sum(heights) + space * (len(rows) - 1)
    shape = grids_height + (title + bar) * len(rows), width
    return Arrangement(grids, size, title, bar, shape, max(grids_width, grids_height))


def default_side(across: int, down: int) -> int:
    """Return the longer side of all grids together, in pixels, where none is given."""
    return min(_SIDE * (1 + max(across, down)) // 2, _LONGEST_SIDE)


def _starts(sizes: Sequence[int], space: int, first: int) -> list[int]:
    """Return where things of these sizes begin, one after another with a space between them."""
    return list(accumulate((size + space for size in sizes[:-1]), initial=first))


def _even_down(pixels: int) -> int:
    return pixels // 2 * 2


def _even_up(pixels: int) -> int:
    return pixels + pixels % 2


def check_animation_size(shape: tuple[int, int], frames: int, bytes_a_pixel: int) -> None:
    """Refuse an animation that is probably larger than intended.

    Args:
        shape: Height and width of a frame, in pixels.
        frames: Number of frames.
        bytes_a_pixel: 1 for palette entries, 3 for colours.

    Raises:
        FiltertrackError: If it would take more than 2 GB of memory, or might take more than 20 GB
            of disk; the message says how much.

    Example:
        >>> check_animation_size((100_000, 100_000), frames=10, bytes_a_pixel=1)
        Traceback (most recent call last):
        ...
        filtertrack.errors.FiltertrackError: 10 frames of 100000x100000 pixels would take about
        400.0 GB of memory and up to 100.0 GB of disk; choose a smaller size, fewer steps or
        seconds, or allow it with huge=True (--huge)
    """
    height, width = shape
    frame = height * width * bytes_a_pixel
    memory, disk = frame * _FRAMES_AT_ONCE, frame * frames
    if memory > _MOST_MEMORY or disk > _MOST_DISK:
        raise FiltertrackError(
            f"{frames} frames of {width}x{height} pixels would take about {size_text(memory)} of "
            f"memory and up to {size_text(disk)} of disk; choose a smaller size, fewer "
            f"steps or seconds, or allow it with huge=True (--huge)"
        )
