from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from filtertrack import FiltertrackError
from filtertrack.outputs.picture_files import read_pictures
from filtertrack.snapshot import Preprocessing


@pytest.fixture
def write_picture(tmp_path):
    def write(name, pixels):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(tmp_path / name)
        return tmp_path / name

    return write


def layer(conv_info, channels=3, **options):
    return (
        conv_info(kernel_shape=(3, 3, channels, 4))
        if not options
        else replace(conv_info(kernel_shape=(3, 3, channels, 4)), **options)
    )


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "gif"])
def test_a_picture_keeps_its_values(write_picture, conv_info, rng, ending):
    """Black is 0 and white 1, whatever the format."""
    pixels = rng.integers(0, 256, size=(9, 7)).astype(np.uint8)
    file = write_picture(f"a.{ending}", pixels)
    (grey,) = read_pictures([file], layer(conv_info, 1))
    assert (grey.shape, grey.dtype) == ((9, 7, 1), np.float32)
    np.testing.assert_allclose(grey[..., 0], pixels / 255, atol=1e-6)
    (colour,) = read_pictures([file], layer(conv_info, 3))
    np.testing.assert_allclose(colour, np.repeat(pixels[..., np.newaxis] / 255, 3, 2), atol=1e-6)


def test_values_are_those_that_the_model_takes(write_picture, conv_info):
    """0 to 255 where it rescales them; those that are given in any case."""
    file = write_picture("a.png", np.full((4, 4, 3), 255))
    rescaled = layer(conv_info, preprocessing=(Preprocessing((1 / 127.5,), (-1.0,)),))
    assert read_pictures([file], rescaled)[0].max() == 255
    padded = layer(conv_info, preprocessing=(Preprocessing(pads=((1, 1), (1, 1))),))
    assert read_pictures([file], padded)[0].max() == 1
    assert read_pictures([file], rescaled, values=(-1, 3))[0].max() == 3


def test_large_pictures_are_shrunk_by_area(write_picture, conv_info, rng):
    pixels = np.kron(rng.integers(0, 256, size=(20, 40)), np.ones((10, 10)))
    (small,) = read_pictures([write_picture("a.png", pixels)], layer(conv_info, 1), side=40)
    np.testing.assert_allclose(small[..., 0], pixels[::10, ::10] / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "mode"), [((5, 6, 4), "RGBA"), ((5, 6, 2), "LA")], ids=["RGBA", "LA"]
)
def test_transparency_is_left_out(tmp_path, conv_info, rng, pixels, mode):
    values = rng.integers(0, 256, size=pixels).astype(np.uint8)
    Image.fromarray(values, mode).save(tmp_path / "a.png")
    (picture,) = read_pictures([tmp_path / "a.png"], layer(conv_info))
    expected = values[..., :3] if mode == "RGBA" else np.repeat(values[..., :1], 3, axis=2)
    np.testing.assert_allclose(picture, expected / 255, atol=1e-6)


def test_sixteen_bits_become_eight(tmp_path, conv_info, rng):
    values = rng.integers(0, 65536, size=(5, 6)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    (picture,) = read_pictures([tmp_path / "a.png"], layer(conv_info, 1))
    np.testing.assert_allclose(picture[..., 0], values / 65535, atol=1 / 255)


def test_files_that_are_no_pictures_are_named(tmp_path, conv_info):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(
        FiltertrackError, match=r"cannot read the picture '.*a\.png': it is no picture"
    ):
        read_pictures([tmp_path / "a.png"], layer(conv_info))
    with pytest.raises(FiltertrackError, match=r"missing\.jpg'.*[Nn]o such file"):
        read_pictures([tmp_path / "missing.jpg"], layer(conv_info))


def test_patterns_are_expanded_and_folders_refused(write_picture, conv_info, tmp_path):
    """In the order of the names."""
    for name, value in (("b.png", 255), ("a.png", 0)):
        write_picture(name, np.full((4, 4), value))
    dark, light = read_pictures([tmp_path / "*.png"], layer(conv_info, 1))
    assert (dark.max(), light.max()) == (0, 1)
    with pytest.raises(FiltertrackError, match=r"is a folder; give its pictures, such as .*\*"):
        read_pictures([tmp_path], layer(conv_info))


def test_other_channels_than_one_and_three_are_refused(write_picture, conv_info):
    file = write_picture("a.png", np.zeros((4, 4)))
    with pytest.raises(FiltertrackError, match="takes 8 channels"):
        read_pictures([file], layer(conv_info, 8))
