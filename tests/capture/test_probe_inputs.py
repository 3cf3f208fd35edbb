"""Probes as a model takes them: inputs, shapes, types, and the values of pictures."""

import logging

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from filtertrack import FiltertrackError, Probes
from filtertrack.capture.probe_inputs import resolved

RNG = np.random.default_rng(0)


def model_of(*before, shape=(8, 6, 3), **options):
    return keras.Sequential([keras.Input(shape, **options), *before, layers.Conv2D(2, 3)])


def two_inputs():
    left, right = keras.Input((8, 6, 3), name="left"), keras.Input((5,), name="right")
    maps = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(left))
    return keras.Model([left, right], layers.Concatenate()([maps, right]))


class Subclassed(keras.Model):
    """A model that declares no inputs."""

    def __init__(self, *before, channels=3):
        super().__init__()
        self.before = list(before)
        self.conv = layers.Conv2D(2, 3)
        self(np.zeros((1, 8, 8, channels), np.float32))

    def call(self, x):  # noqa: D102
        for layer in self.before:
            x = layer(x)
        return self.conv(x)


def values(probes, model):
    (images,) = resolved(probes, model).values()
    return images


# Arrays.


def test_an_array_has_the_name_of_the_input():
    images = np.ones((4, 8, 6, 3), np.float32)
    found = resolved(Probes(images), model_of(name="picture"))
    assert list(found) == ["picture"]
    assert list(resolved(Probes({"other": images}), model_of(name="picture"))) == ["picture"]
    assert list(resolved(Probes(images), model_of())) == ["input"]
    assert list(resolved(Probes(images), Subclassed())) == ["input"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64, np.float32),
        (np.float32, np.float32),
        (np.float16, np.float16),
        (np.uint8, np.uint8),
        (bool, bool),
    ],
)
@pytest.mark.parametrize("model", [model_of, Subclassed])
def test_types_are_kept_except_float64(given, expected, model):
    assert values(Probes(np.ones((2, 8, 6, 3), given)), model()).dtype == expected


def test_float64_is_kept_for_a_model_that_takes_it():
    images = np.ones((2, 8, 6, 3))
    assert values(Probes(images), model_of(dtype="float64")).dtype == np.float64


def test_several_inputs_are_named():
    images, numbers = np.ones((4, 8, 6, 3), np.float32), np.ones((4, 5), np.float32)
    model = two_inputs()
    for given in ([images, numbers], {"right": numbers, "left": images}):
        found = resolved(Probes(given), model)
        assert {name: each.shape for name, each in found.items()} == {
            "left": (4, 8, 6, 3),
            "right": (4, 5),
        }
        assert list(found) == ["left", "right"]


def test_inputs_may_be_named_by_the_keys_of_a_dict():
    start = {
        "image": keras.Input((8, 6, 3), name="image"),
        "extra": keras.Input((2,), name="extra"),
    }
    maps = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(start["image"]))
    model = keras.Model(start, layers.Concatenate()([maps, start["extra"]]))
    given = {"image": np.ones((4, 8, 6, 3)), "extra": np.ones((4, 2))}
    assert set(resolved(Probes(given), model)) == {"image", "extra"}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.ones((2, 8, 6, 3)), r"2 inputs of the model, left, right, got 1 arrays"),
        ({"left": np.ones((2, 8, 6, 3))}, "left, right, got left"),
        ({"left": np.ones((2, 8, 6, 3)), "wrong": np.ones((2, 5))}, "got left, wrong; give a dict"),
        ([np.ones((2, 8, 6, 3)), np.ones((2, 4))], r"shape \(5,\) in its input 'right', got .*4\)"),
    ],
)
def test_other_inputs_are_refused(images, message):
    with pytest.raises(FiltertrackError, match=message):
        resolved(Probes(images), two_inputs())


def test_a_list_for_a_model_without_declared_inputs_is_numbered():
    images = [np.ones((2, 8, 6, 3)), np.ones((2, 5))]
    assert list(resolved(Probes(images), Subclassed())) == ["input_0", "input_1"]


def test_a_last_axis_of_length_1_may_be_missing():
    """Keras adds and removes it as well."""
    model = model_of(shape=(8, 6, 1))
    assert values(Probes(np.ones((4, 8, 6))), model).shape == (4, 8, 6, 1)
    flat = keras.Sequential([keras.Input((48,)), layers.Dense(2)])
    assert values(Probes(np.ones((4, 48, 1))), flat).shape == (4, 48)


@pytest.mark.parametrize(
    ("shape", "taken", "advice"),
    [
        ((8, 6, 3), (8, 6, 3), r"x\[np.newaxis\]"),
        ((8, 6), (8, 6, 1), r"x\[np.newaxis, ..., np.newaxis\]"),
        ((2, 3, 8, 6), (8, 6, 3), r"np.moveaxis\(x, 1, -1\)"),
        ((2, 8, 6, 3), (3, 8, 6), r"np.moveaxis\(x, -1, 1\)"),
        ((2, 8, 6), (8, 6, 3), r"for 3 equal channels give np.repeat"),
        ((2, 9, 6, 3), (8, 6, 3), "resize the images, or give picture files"),
        ((2, 8, 6, 1), (8, 6, 3), r"for equal channels give np.repeat\(x, 3, axis=-1\)"),
        ((2, 8, 6, 4), (8, 6, 3), "the images have 4 channels, and the model takes 3"),
        ((2, 7), (8, 6, 3), "the first axis counts images"),
    ],
)
def test_other_shapes_are_refused_with_advice(shape, taken, advice):
    model = keras.Sequential([keras.Input(taken), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(FiltertrackError, match=advice) as error:
        resolved(Probes(np.ones(shape)), model)
    assert f"takes images of shape {taken}" in str(error.value)
    assert f"got an array of shape {shape}" in str(error.value)


def test_any_size_is_taken_where_the_model_takes_any():
    model = model_of(shape=(None, None, 3))
    assert values(Probes(np.ones((2, 9, 7, 3))), model).shape == (2, 9, 7, 3)
    with pytest.raises(FiltertrackError, match=r"shape \(any, any, 3\)"):
        resolved(Probes(np.ones((2, 9, 7, 4))), model)


# The range of values.

RESCALING = {
    "rescaling": lambda: [layers.Rescaling(1 / 255)],
    "channels": lambda: [layers.Rescaling([1 / 58.0, 1 / 57.0, 1 / 57.0], -2.0)],
    "normalization": lambda: [layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)],
    "nested": lambda: [keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 127.5, -1)])],
}


@pytest.mark.parametrize("kind", [*RESCALING, "operation", "product", "subclassed"])
def test_values_from_0_to_1_give_a_warning_if_the_model_rescales(kind, caplog):
    if kind in RESCALING:
        model = model_of(*RESCALING[kind]())
    elif kind == "subclassed":
        model = Subclassed(layers.Rescaling(1 / 255))
    else:
        start = keras.Input((8, 6, 3))
        scaled = start / 127.5 - 1 if kind == "operation" else start * (1 / 255)
        model = keras.Model(start, layers.Conv2D(2, 3)(scaled))
    resolved(Probes(RNG.random((2, 8, 6, 3))), model)
    (record,) = caplog.records
    assert "the model rescales its input" in record.message
    assert record.message.endswith("give probes * 255")
    caplog.clear()
    resolved(Probes(255 * RNG.random((2, 8, 6, 3))), model)
    assert not caplog.records


@pytest.mark.parametrize(
    "before",
    [
        list,
        lambda: [layers.Rescaling(2.0)],
        lambda: [layers.Normalization(mean=[0.5] * 3, variance=[0.1] * 3)],
        lambda: [layers.Conv2D(2, 1), layers.Rescaling(1 / 255)],
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_values_up_to_255_give_a_warning_for_other_models(before, dtype, caplog):
    model = model_of(*before())
    images = RNG.integers(0, 256, (2, 8, 6, 3)).astype(dtype)
    resolved(Probes(images), model)
    (record,) = caplog.records
    assert record.message.endswith("if the training data are 0 to 1, give probes / 255")
    caplog.clear()
    for usual in (images / 255, images / 127.5 - 1, images * 100.0, images * 0):
        resolved(Probes(usual), model)
    assert not caplog.records


# Picture files.


@pytest.fixture
def write_picture(tmp_path):
    def write(name, pixels):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def colour(write_picture):
    """A picture of 16 x 18 pixels, three times as wide and twice as high as the model's input."""
    pixels = RNG.integers(0, 256, (16, 18, 3))
    return write_picture("colour.png", pixels), pixels


def test_pictures_are_shrunk_by_area_to_the_input(colour):
    path, pixels = colour
    images = values(Probes(path), model_of())
    means = pixels.reshape(8, 2, 6, 3, 3).mean(axis=(1, 3)) / 255
    assert (images.shape, images.dtype) == ((1, 8, 6, 3), np.float32)
    np.testing.assert_allclose(images[0], means, atol=1e-6)


def test_pictures_of_the_size_of_the_input_keep_their_values(colour):
    path, pixels = colour
    images = values(Probes(path), model_of(layers.Rescaling(1 / 255), shape=(16, 18, 3)))
    np.testing.assert_array_equal(images[0], pixels)


def test_small_pictures_are_enlarged(colour):
    path, _ = colour
    images = values(Probes([path, path]), model_of(shape=(40, 8, 3)))
    assert images.shape == (2, 40, 8, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((None, None, 3), (2, 16, 18, 3)),
        ((None, 9, 3), (2, 16, 9, 3)),
        ((8, 6, 1), (2, 8, 6, 1)),
        ((8, 6), (2, 8, 6)),
    ],
)
def test_pictures_have_the_size_and_channels_that_the_model_takes(
    shape, expected, colour, write_picture
):
    files = [colour[0], write_picture("grey.png", RNG.integers(0, 256, (30, 30)))]
    after = [layers.Conv2D(1, 3)] if len(shape) == 3 else [layers.Reshape((8, 6, 1))]
    model = keras.Sequential([keras.Input(shape), *after])
    images = values(Probes(files), model)
    assert images.shape == expected
    assert 0.5 < images.max() <= 1


def test_large_pictures_for_a_model_of_any_size_have_128_pixels(write_picture):
    path = write_picture("large.png", np.zeros((300, 600)))
    assert values(Probes(path), model_of(shape=(None, None, 1))).shape == (1, 64, 128, 1)
    assert values(Probes(path), Subclassed(channels=1)).shape == (1, 64, 128, 1)


def test_channels_come_first_where_the_model_has_them_first(colour):
    model = keras.Sequential(
        [keras.Input((3, 8, 6)), layers.ZeroPadding2D(data_format="channels_first")]
    )
    images = values(Probes(colour[0]), model)
    assert images.shape == (1, 3, 8, 6)
    np.testing.assert_array_equal(np.moveaxis(images, 1, -1), values(Probes(colour[0]), model_of()))


def test_values_of_pictures_are_logged(colour, caplog):
    caplog.set_level(logging.INFO, logger="filtertrack")
    for model, options, text in (
        (model_of(), {}, "0 to 1, since the model does not rescale its input"),
        (model_of(layers.Rescaling(1 / 255)), {}, "0 to 255, since the model rescales its input"),
        (model_of(), {"values": (-1, 1)}, "-1 to 1, as given by values="),
    ):
        images = values(Probes(colour[0], **options), model)
        (record,) = caplog.records
        assert f"1 picture, resized to 8 x 6 pixels, with values from {text}" in record.message
        low, high = options.get("values", (0, 255 if "255" in text else 1))
        assert low <= images.min() < low + 0.3 * (high - low)
        assert high >= images.max() > high - 0.4 * (high - low)
        caplog.clear()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: model_of(shape=(8, 6, 4)), "the model takes 4; give arrays"),
        (two_inputs, "with one input, and this one has left, right"),
        (lambda: keras.Sequential([keras.Input((5,)), layers.Dense(1)]), r"takes shape \(5,\)"),
    ],
)
def test_models_that_take_no_pictures_are_named(model, message, colour):
    with pytest.raises(FiltertrackError, match=message):
        resolved(Probes(colour[0]), model())


def test_pictures_beyond_the_memory_are_refused(write_picture):
    files = [write_picture("a.png", np.zeros((2, 2)))] * 3
    with pytest.raises(FiltertrackError, match=r"3 pictures take 12,000\.0 GB, expected at most"):
        resolved(Probes(files), model_of(shape=(1_000_000, 1_000_000, 1)))


def test_pictures_that_disappeared_are_named(colour):
    probes = Probes(colour[0])
    colour[0].unlink()
    with pytest.raises(FiltertrackError, match=r"colour\.png': No such file"):
        resolved(probes, model_of())
