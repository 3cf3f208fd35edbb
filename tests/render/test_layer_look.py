import pytest

from filtertrack import FiltertrackError
from filtertrack.render.cells import view_of
from filtertrack.render.layer_look import check_look, describe_look
from filtertrack.render.look import Look

MATRIX, GREY, COLOUR, DEEP = (1, 1, 4, 8), (3, 3, 1, 4), (3, 3, 3, 5), (3, 3, 8, 5)


def test_a_colormap_needs_a_layer_with_one_value_a_pixel(conv_info):
    """It is refused for three input channels together, and accepted for one of them."""
    info = conv_info(kernel_shape=COLOUR)
    check_look(Look(colormap="viridis", channels=0), [view_of(info, 0)])
    with pytest.raises(FiltertrackError, match="own colours"):
        check_look(Look(colormap="viridis"), [view_of(info)])


def test_outlines_need_a_layer_with_filters(conv_info):
    """They are refused for 1x1 kernels alone, and accepted beside other layers."""
    matrix, grey = (view_of(conv_info(kernel_shape=shape)) for shape in (MATRIX, GREY))
    with pytest.raises(FiltertrackError, match="outline: 1x1 kernels are drawn as one matrix"):
        check_look(Look(outline=True), [matrix, matrix])
    check_look(Look(outline=True), [matrix, grey])
    check_look(Look(), [matrix])


@pytest.mark.parametrize(
    ("shapes", "look", "phrases"),
    [
        ([GREY], {}, []),
        ([COLOUR], {"channels": 2}, ["channel 2"]),
        ([DEEP], {}, ["strongest pattern of 8 channels"]),
        ([GREY, DEEP], {"delta": True}, ["strongest patterns", "difference from the start"]),
    ],
)
def test_a_look_is_described_for_its_layers(conv_info, shapes, look, phrases):
    """One phrase for each step between the weights and the picture; none for plain weights."""
    infos = [conv_info(f"conv{n}", shape) for n, shape in enumerate(shapes)]
    assert describe_look(Look(**look), infos) == phrases
