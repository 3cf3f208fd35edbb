"""Layout of the grids of an animation."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.outputs.frame_layout import NARROWEST, arrange_grids
from filtertrack.render.cells import View
from filtertrack.render.scale_bar import bar_height
from filtertrack.render.text import font_size, line_height

VIEWS = st.builds(
    lambda count, height, width, slices, cells: View(
        "grey", count * cells, height, width * slices, slices, cells_per_filter=cells
    ),
    st.integers(0, 60),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 1, 1, 3]),
    st.sampled_from([1, 1, 1, 2, 3, 7]),
)
GRIDS = st.lists(VIEWS, min_size=1, max_size=9)
SIDES = st.none() | st.integers(1, 1600)
COLUMNS = st.none() | st.integers(1, 20)


def box(grid):
    """Return the top, left, bottom and right of a grid."""
    down, across = grid.layout.shape
    return grid.top, grid.left, grid.top + down, grid.left + across


@given(GRIDS, st.data(), SIDES, COLUMNS, st.booleans())
def test_grids_titles_and_scale_bars_do_not_overlap(views, data, side, columns, even):
    """All of them are inside the frame."""
    across = data.draw(st.integers(1, len(views)))
    made = arrange_grids(views, across, side=side, columns=columns, even=even)
    height, width = made.shape
    assert len(made.grids) == len(views)
    assert made.bar == bar_height(made.font)
    for grid in made.grids:
        top, left, bottom, right = box(grid)
        assert top - made.title >= 0
        assert left >= 0
        assert bottom + made.bar <= height
        assert right <= width
    for one, other in combinations(made.grids, 2):
        tops, bottoms = zip(
            *((box(p)[0] - made.title, box(p)[2] + made.bar) for p in (one, other)), strict=True
        )
        lefts, rights = zip(*((box(p)[1], box(p)[3]) for p in (one, other)), strict=True)
        assert max(tops) >= min(bottoms) or max(lefts) >= min(rights)


@given(GRIDS, st.data(), SIDES, COLUMNS, st.booleans())
def test_grids_are_in_row_order_with_a_cell_for_each_filter(views, data, side, columns, even):
    across = data.draw(st.integers(1, len(views)))
    made = arrange_grids(views, across, side=side, columns=columns, even=even)
    for number, (view, grid) in enumerate(zip(views, made.grids, strict=True)):
        layout = grid.layout
        assert (layout.height, layout.width, layout.slices) == (
            view.height,
            view.width,
            view.slices,
        )
        assert layout.count == max(1, view.count)
        if columns is not None:
            filters = max(1, view.filters)
            assert layout.columns == min(columns, filters) * view.cells_per_filter
        if number % across:
            before = made.grids[number - 1]
            assert grid.top == before.top
            assert grid.left > box(before)[3]
        elif number:
            assert grid.top - made.title >= max(box(p)[2] for p in made.grids[:number])


@given(GRIDS, st.data(), SIDES, COLUMNS)
def test_grids_and_cells_begin_at_even_pixels(views, data, side, columns):
    """The frame's sides too; cells where they have two pixels a weight."""
    across = data.draw(st.integers(1, len(views)))
    made = arrange_grids(views, across, side=side, columns=columns, even=True)
    assert [pixels % 2 for pixels in made.shape] == [0, 0]
    assert made.title % 2 == 0
    assert made.bar % 2 == 0
    for grid in made.grids:
        assert grid.top % 2 == 0
        assert grid.left % 2 == 0
        assert grid.layout.gap % 2 == 0
        if grid.layout.scale > 1:
            assert grid.layout.scale % 2 == 0
        if grid.layout.scale > 1 and grid.layout.slices == 1:
            assert [edge % 2 for edge in box(grid)] == [0] * 4


@given(GRIDS, st.data(), SIDES, COLUMNS, st.booleans())
def test_frames_have_even_sides(views, data, side, columns, even):
    """They are as wide as a caption needs."""
    across = data.draw(st.integers(1, len(views)))
    made = arrange_grids(views, across, side=side, columns=columns, even=even)
    assert [pixels % 2 for pixels in made.shape] == [0, 0]
    assert made.shape[1] >= NARROWEST


@given(GRIDS, st.data(), SIDES, COLUMNS, st.booleans())
def test_grids_together_are_at_most_side_pixels(views, data, side, columns, even):
    """Without titles and scale bars, wherever a weight has more than one pixel."""
    across = data.draw(st.integers(1, len(views)))
    made = arrange_grids(views, across, side=side, columns=columns, even=even)
    if min(grid.layout.scale for grid in made.grids) > 1:
        limit = side or 1280
        assert made.side <= limit
        boxes = [box(grid) for grid in made.grids]
        width = max(b[3] for b in boxes) - min(b[1] for b in boxes)
        rows = -(-len(views) // across)
        titles = made.title * rows + made.bar * (rows - 1)
        assert width <= limit
        assert max(b[2] for b in boxes) - titles <= limit


@pytest.mark.parametrize(
    ("count", "across", "side", "view"),
    [
        (4, 4, 1254, View("grey", 1, 7, 7)),
        (4, 1, 1254, View("grey", 1, 7, 7)),
        (9, 3, None, View("grey", 4, 3, 3)),
    ],
    ids=["side by side", "below each other", "nine layers"],
)
def test_rounding_many_grids_to_even_sides_keeps_the_side(count, across, side, view):
    limit = side or 1280
    made = arrange_grids([view] * count, across, side=side)
    height, width = made.shape
    assert width <= limit
    assert height - (made.title + made.bar) * -(-count // across) <= limit


@pytest.mark.parametrize(("count", "side"), [(1, 640), (2, 960), (4, 960), (6, 1280), (9, 1280)])
def test_several_grids_are_larger_than_one(count, side):
    """640 pixels for one, up to 1280 for many; most of it is used."""
    across = min(count, {1: 1, 2: 2, 4: 2, 6: 3, 9: 3}[count])
    made = arrange_grids([View("grey", 16, 5, 5)] * count, across)
    assert 0.85 * side < made.side <= side


@given(VIEWS, st.integers(200, 1600), COLUMNS, st.booleans())
def test_two_runs_have_equal_grids_side_by_side(view, side, columns, even):
    """At the same height."""
    made = arrange_grids([view, view], 2, side=side, columns=columns, even=even)
    one, other = made.grids
    assert one.layout == other.layout
    assert one.top == other.top
    assert box(one)[3] < other.left


@given(VIEWS, st.integers(1, 4), SIDES, COLUMNS, st.booleans())
def test_the_side_that_is_reported_is_enough(view, count, side, columns, even):
    """For as many equal grids, whatever is between them."""
    needed = arrange_grids([view] * count, count, side=side, columns=columns, even=even).side
    made = arrange_grids([view] * count, count, side=needed, columns=columns, even=even)
    assert made.side <= needed


@pytest.mark.parametrize("count", [2, 3])
def test_the_channels_of_a_filter_are_a_row(count):
    """A given number of columns is that of the filters in a row."""
    view = View("grey", 5 * count, 3, 3, cells_per_filter=count)
    (grid,) = arrange_grids([view], 1).grids
    assert (grid.layout.columns, grid.layout.rows) == (count, 5)
    (grid,) = arrange_grids([view], 1, columns=4).grids
    assert (grid.layout.columns, grid.layout.rows) == (4 * count, 2)


def test_grids_are_centred_in_their_column():
    """To two pixels, since they begin at even ones."""
    made = arrange_grids([View("grey", 4, 9, 9), View("grey", 4, 9, 1)], 1, side=640)
    for grid in made.grids:
        _, left, _, right = box(grid)
        assert left - (made.shape[1] - right) == pytest.approx(0, abs=3)


def test_only_several_grids_have_titles():
    """A title is as high as a line of text."""
    view = View("grey", 9, 5, 5)
    assert arrange_grids([view], 1).title == 0
    made = arrange_grids([view, view], 2)
    assert made.font == font_size(max(grid.layout.shape[1] for grid in made.grids))
    assert made.title >= line_height(made.font)
