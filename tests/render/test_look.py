import pytest

from filtertrack import FiltertrackError
from filtertrack.render.cells import view_of
from filtertrack.render.look import Look, check_look

MATRIX, GREY = (1, 1, 4, 8), (3, 3, 1, 4)


@pytest.mark.parametrize(
    ("look", "message"),
    [
        ({"scale": "global"}, r"scale: expected one of frame, filter, layer, got 'global'"),
        ({"order": "size"}, r"order: expected one of stored, similarity, orientation, drift"),
        ({"theme": "blue"}, r"theme: expected one of dark, light, got 'blue'"),
        ({"filters": []}, r"filters: none are chosen"),
        ({"filters": [0], "order": "drift"}, r"order given.*order='drift', not both"),
        ({"channels": "all"}, r"channels: expected 'strongest' or a .*, got 'all'; leave it out"),
        ({"channels": True}, r"channels: expected 'strongest' or a channel's number, got True"),
        ({"channels": 1.0}, r"channels: expected 'strongest' or a channel's number, got 1.0"),
        ({"channels": [0]}, r"channels: expected 'strongest' or a channel's number, got \[0\]"),
    ],
    ids=str,
)
def test_a_look_that_does_not_fit(look, message):
    """The message says what was expected, what came, and what to do."""
    with pytest.raises(FiltertrackError, match=message):
        Look(**look)


def test_a_colormap_is_seen_on_one_channel(conv_info):
    """Of three channels, too."""
    info = conv_info(kernel_shape=(3, 3, 3, 5))
    check_look(Look(colormap="viridis", channels=0), [view_of(info, 0)])
    with pytest.raises(FiltertrackError, match="own colours"):
        check_look(Look(colormap="viridis"), [view_of(info)])


def test_outlines_that_would_not_be_seen_are_refused(conv_info):
    """Of 1x1 kernels alone; beside other layers, and without outlines, they are fine."""
    matrix, grey = (view_of(conv_info(kernel_shape=shape)) for shape in (MATRIX, GREY))
    with pytest.raises(FiltertrackError, match="outline: 1x1 kernels are drawn as one matrix"):
        check_look(Look(outline=True), [matrix, matrix])
    check_look(Look(outline=True), [matrix, grey])
    check_look(Look(), [matrix])
