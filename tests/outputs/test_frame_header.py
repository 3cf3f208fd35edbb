"""The titles of the grids of an animation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.outputs.frame_header import GridTitle
from filtertrack.render.text import font

LEARNED = "learned: difference from the start, up to 0.343"
FACE = font(13)


def title(*names, part=LEARNED, short="learned", cells=()):
    return GridTitle(list(names), part, short, list(cells), 0)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (600, [f"digits · {LEARNED}"]),
        (200, ["digits · learned"]),
        (90, ["… · learned"]),
    ],
)
def test_the_part_is_told_at_every_width(width, lines):
    """First the number is left out, then the name is shortened."""
    drawn = title("digits").lines(FACE, width, 1)
    assert drawn[0].endswith(lines[0].removeprefix("… · "))
    assert len(drawn) == 1


@given(st.integers(110, 900), st.integers(1, 2), st.text("abc/_1", min_size=1, max_size=60))
def test_titles_fit_and_name_the_part(width, most, name):
    """Whatever the layer is called."""
    cells = ["strongest pattern of 32 channels, on average 51% of a filter"]
    lines = title(name, cells=cells).lines(FACE, width, most)
    assert len(lines) <= most
    assert "learned" in lines[0] or "learned" in lines[-1]
    assert all(FACE.getlength(line) <= width for line in lines)


def test_cells_are_described_in_a_second_line():
    """Where there are several layers, each may be drawn in another way."""
    cells = ["strongest pattern of 32 channels, on average 51% of a filter"]
    assert title("conv2", cells=cells).lines(FACE, 420, 2) == [f"conv2 · {LEARNED}", *cells]
    narrow = title("conv2", cells=cells).lines(FACE, 230, 2)
    assert narrow == ["conv2 · learned", "strongest pattern of 32 channels"]
