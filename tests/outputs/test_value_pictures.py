"""Images, patches and signed values as red, green and blue."""

import numpy as np
import pytest

from filtertrack.outputs.value_pictures import (
    filter_rgb,
    image_rgb,
    picture_range,
    range_of,
    signed_rgb,
)
from filtertrack.render.palette import NOT_FINITE_RGB


def test_zero_is_white_and_signs_have_their_colours():
    """Whatever the values; equal magnitudes are equally dark."""
    pixels = signed_rgb(np.array([[-4.0, 0.0, 4.0, 1.0]])).astype(int)[0]
    assert pixels[1].min() >= 246
    assert pixels[0, 2] > pixels[0, 0]
    assert pixels[2, 0] > pixels[2, 2]
    assert pixels[3].sum() > pixels[2].sum()
    np.testing.assert_array_equal(signed_rgb(np.array([[0.0, 4.0]]))[0, 1], pixels[2])


def test_values_that_are_not_finite_have_their_own_colour():
    values = np.array([[np.nan, np.inf, 1.0]])
    assert signed_rgb(values)[0, :2].tolist() == [list(NOT_FINITE_RGB)] * 2
    assert filter_rgb(np.full((1, 1, 3), np.nan))[0, 0].tolist() == list(NOT_FINITE_RGB)
    assert signed_rgb(np.full((1, 2), np.nan)).tolist() == [[list(NOT_FINITE_RGB)] * 2]


def test_images_span_black_to_white():
    """Three channels are colours with one range; others are their mean in grey."""
    image = np.array([[[0.0, 1.0, 2.0], [4.0, 4.0, 4.0]]])
    low, high = range_of(image)
    assert image_rgb(image, low, high)[0].tolist() == [[0, 64, 128], [255, 255, 255]]
    grey = image_rgb(image[..., :2], low[:2], high[:2])[0]
    assert grey.tolist() == [[32, 32, 32], [255, 255, 255]]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ([0.1, 0.4], (0, 1)),
        ([3, 90], (0, 255)),
        ([3, 17], (0, 255)),
        ([3, 16], (3, 16)),
        ([0, 1], (0, 1)),
        ([-1, 1], (-1, 1)),
        ([0.5, 9.5], (0.5, 9.5)),
        ([3, 300], (3, 300)),
        ([np.nan, 0.5], (0, 1)),
        ([np.nan, 7], (7, 7)),
    ],
    ids=str,
)
def test_the_range_of_a_picture(picture, expected):
    """The usual ones where it fits, else its own; a picture is not made lighter than it is."""
    values = picture_range(np.array(picture, np.float64))
    assert (values.low[0], values.high[0]) == expected


def test_a_negated_image_looks_like_the_image():
    """A negative factor of the preprocessing: black and white change their places."""
    image = np.array([[[0.0], [1.0], [4.0]]])
    low, high = range_of(image)
    np.testing.assert_array_equal(image_rgb(-image, -low, -high), image_rgb(image, low, high))


def test_pixels_outside_have_the_given_colour():
    image = np.array([[[np.nan] * 3, [1.0] * 3]])
    pixels = image_rgb(image, np.zeros(3), np.ones(3), outside=(1, 2, 3))
    assert pixels[0].tolist() == [[1, 2, 3], [255, 255, 255]]


def test_a_constant_image_is_grey():
    """Unless it is between 0 and 1; also one without any finite value."""
    image = np.full((1, 1, 1), 2.5)
    assert image_rgb(image, *range_of(image))[0, 0].tolist() == [128] * 3
    assert image_rgb(image / 2.5, *range_of(image / 2.5))[0, 0].tolist() == [255] * 3
    assert range_of(np.full((1, 1, 2), np.nan))[1].tolist() == [1, 1]


def test_a_filter_in_colour_has_zero_in_mid_grey():
    kernel = np.array([[[-2.0, 0.0, 2.0]]])
    assert filter_rgb(kernel)[0, 0].tolist() == [0, 128, 255]
