"""Where the grids of a film lie: each with its own columns, magnification and title."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from filtertrack.render.cells import View
from filtertrack.render.grid import Layout
from filtertrack.render.text import font_size, line_height

NARROWEST = 260
"""Pixels: a caption in less would not be legible."""

_ONE, _MOST = 640, 1280


class Place(NamedTuple):
    """A grid's place.

    Attributes:
        layout: Of the grid itself.
        top: Its first row in the picture; its title is above it.
        left: Its first column.
    """

    layout: Layout
    top: int
    left: int


class Arrangement(NamedTuple):
    """The places of all grids.

    Attributes:
        places: One a grid, row by row.
        title: Height of the title above each grid, in pixels; 0 where there is only one.
        shape: Height and width of all of it; both are even.
        side: The longer side of the grids together, titles aside, in pixels.
    """

    places: list[Place]
    title: int
    shape: tuple[int, int]
    side: int


def arrange_grids(
    views: Sequence[View],
    across: int,
    *,
    side: int | None = None,
    columns: int | None = None,
    even: bool = False,
    outlined: bool = False,
) -> Arrangement:
    """Put grids side by side and below each other.

    Args:
        views: How each grid's layer is looked at.
        across: Grids in a row.
        side: Longer side of all of it, titles aside, in pixels, at most; more where a weight would
            have less than a pixel. None for 640, up to 1280 for several grids.
        columns: Cells in a row of each grid; None to choose.
        even: Whether everything begins and ends at even pixels, as video needs it.
        outlined: Whether there is room for a line around each cell.

    Returns:
        Where they lie.
    """
    down = math.ceil(len(views) / across)
    longer = max(across, down)
    side = side or min(_ONE * (1 + longer) // 2, _MOST)
    between = max(4, side // 40) // 2 * 2
    # Even, as each grid's place is rounded up to that.
    wide, high = (max(2, (side - between * (n - 1)) // n // 2 * 2) for n in (across, down))
    layouts = [
        Layout.fit(
            view.count,
            view.height,
            view.width,
            wide,
            view.slices,
            high=high,
            columns=columns,
            even=even,
            outlined=outlined,
        )
        for view in views
    ]
    rows = [layouts[start : start + across] for start in range(0, len(layouts), across)]
    widths = [max(row[n].shape[1] for row in rows if n < len(row)) for n in range(across)]
    widths = [width + width % 2 for width in widths]
    inner = sum(widths) + between * (across - 1)
    width = max(inner, NARROWEST)
    title = line_height(font_size(width)) // 2 * 2 + 2 if len(layouts) > 1 else 0
    places = []
    top = 0
    for row in rows:
        top += title
        left = (width - inner) // 4 * 2
        for layout, wide in zip(row, widths, strict=False):
            places.append(Place(layout, top, left + (wide - layout.shape[1]) // 4 * 2))
            left += wide + between
        top += (max(layout.shape[0] for layout in row) + 1) // 2 * 2 + between
    height = top - between
    taken = max(inner, height - title * len(rows))
    return Arrangement(places, title, (height, width), taken)
