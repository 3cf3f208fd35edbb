"""Dense layers on flattened images: which are tracked, in which shape, and what is refused."""

import json

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run, animate, filmstrip, measure
from filtertrack.capture.dense_images import DenseImages
from filtertrack.capture.tracked_layers import TrackedLayers
from filtertrack.render.cells import view_of


def tracked(keras, *layers, shape=(8, 8, 3), select=None, dense=None):
    model = keras.Sequential([keras.Input(shape), *layers])
    return TrackedLayers(model, select, None, DenseImages(dense))


def names(tracked):
    return [info.name for info in tracked.infos]


def mixed(keras):
    """Return layers: a Dense one on images of 8x8x3, a convolution, and a Dense one at the end."""
    k = keras.layers
    return (
        *(k.Flatten(), k.Dense(48, name="dense"), k.Reshape((4, 4, 3))),
        *(k.Conv2D(2, 3, name="conv"), k.Flatten(), k.Dense(2, name="top")),
    )


@pytest.mark.parametrize("given", [(6, 4), (6, 4, 1), [6, 4], (6, 4, 3)], ids=str)
def test_filter_k_is_the_image_of_weights_of_output_k(keras, given):
    """After Keras's ``Flatten``: that image times an input gives the output."""
    height, width, channels = (*given, 1)[:3]
    layer = keras.layers.Dense(5, name="dense")
    found = tracked(
        keras,
        *(keras.layers.Flatten(data_format="channels_last"), layer),
        shape=(height, width, channels),
        dense={"dense": given},
    )
    (info,) = found.infos
    assert (info.name, info.class_name, info.kernel, info.bias) == (
        *("dense", "Dense", "dense/kernel", "dense/bias"),
    )
    assert info.shape == (5, height, width, channels)
    assert view_of(info).kind == {1: "grey", 3: "colour"}[channels]
    kernel = found.read()["dense/kernel"]
    np.testing.assert_array_equal(kernel, layer.get_weights()[0])
    picture = np.random.default_rng(0).normal(size=(height, width, channels)).astype("float32")
    expected = keras.ops.convert_to_numpy(layer(picture.reshape(1, -1)))[0]
    ours = (info.canonical(kernel) * picture).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_images_that_were_flattened_channel_after_channel(keras):
    """As the rows of CIFAR-10's own files; a shape is written in the order of the values."""
    layer = keras.layers.Dense(4, name="dense")
    found = tracked(keras, layer, shape=(3 * 6 * 5,), dense={"dense": (3, 6, 5, "channels_first")})
    (info,) = found.infos
    assert (info.shape, info.data_format) == ((4, 6, 5, 3), "channels_first")
    kernel = found.read()["dense/kernel"]
    expected = kernel[:, 2].reshape(3, 6, 5).transpose(1, 2, 0)
    np.testing.assert_array_equal(info.canonical(kernel)[2], expected)


def test_flatten_of_channels_first_images_puts_channels_last(keras):
    """So that ``(height, width, channels)`` is right after it, too."""
    pictures = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    flat = keras.layers.Flatten(data_format="channels_first")(pictures)
    expected = pictures.transpose(0, 2, 3, 1).reshape(2, -1)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(flat), expected)


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, ["dense", "conv"]),
        ("conv", ["dense", "conv"]),
        ("dense", ["dense"]),
        ("first", ["dense", "conv"]),
        (["dense", "conv"], ["dense", "conv"]),
        (lambda layer: layer.name == "conv", ["dense", "conv"]),
        (lambda layer: False, ["dense"]),
    ],
    ids=["all", "other", "itself", "first", "list", "function", "function that chooses none"],
)
def test_a_dense_layer_with_a_shape_is_tracked_beside_what_is_selected(keras, select, expected):
    """In the order of the model, each once."""
    found = tracked(keras, *mixed(keras), select=select, dense={"dense": (8, 8, 3)})
    assert names(found) == expected
    assert found.remarks == []


def test_other_dense_layers_are_never_tracked(keras):
    """By default none is."""
    assert names(tracked(keras, *mixed(keras))) == ["conv"]
    with pytest.raises(FiltertrackError, match=r"dense=\{'its name': \(height, width\)\}"):
        tracked(keras, *mixed(keras), select="dense")
    with pytest.raises(FiltertrackError, match=r"no convolution to track.*dense=\{"):
        tracked(keras, keras.layers.Dense(2), shape=(4,))


@pytest.mark.parametrize("pattern", ["inner/hidden", "hidden", "*", "inner/h*"])
def test_a_dense_layer_in_a_nested_model_is_found_by_name_path_or_glob(keras, pattern):
    """The first pattern that matches applies."""
    hidden = keras.layers.Dense(3, name="hidden")
    inner = keras.Sequential([keras.Input((16,)), hidden], name="inner")
    found = tracked(keras, inner, shape=(16,), dense={pattern: (4, 4), "inner/*": (2, 8)})
    assert [(info.name, info.shape) for info in found.infos] == [("inner/hidden", (3, 4, 4, 1))]


def test_a_dense_layer_in_a_wrapper_is_found(keras):
    """It sees each vector of a sequence."""
    frames = keras.layers.TimeDistributed(keras.layers.Dense(3, name="hidden"), name="frames")
    found = tracked(keras, frames, shape=(5, 16), dense={"hidden": (4, 4)})
    assert [(info.name, info.shape) for info in found.infos] == [("frames/hidden", (3, 4, 4, 1))]


def test_a_subclass_and_its_effective_kernel(keras):
    """As for convolutions: a mask of a Dense layer is stored applied."""

    class Masked(keras.layers.Dense):
        @property
        def effective_kernel(self):
            return self.kernel * np.eye(4, 3, dtype="float32")

    found = tracked(keras, Masked(3, name="made"), shape=(4,), dense={"made": (2, 2)})
    (info,) = found.infos
    kernel = found.read()["made/effective_kernel"]
    np.testing.assert_array_equal(kernel != 0, np.eye(4, 3, dtype=bool))
    assert info.canonical(kernel).shape == (3, 2, 2, 1)


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        ({"dens": (8, 8, 3)}, r"no Dense layer matches 'dens'. Did you mean 'dense'\? .*: dense"),
        ({"conv": (3, 3)}, "no Dense layer matches 'conv', a Conv2D. The model has: dense, top"),
        (
            {"dense": (8, 8)},
            r"dense has 192 inputs .* 8x8 has 64 values; \(8, 8, 3\) would fit",
        ),
        ({"dense": (7, 8)}, r"192 inputs .* 7x8 has 56 values; \(8, 8, 3\) would fit"),
        ({"top": (2, 5)}, r"top has 8 inputs .* 2x5 has 10 values; \(2, 4\) would fit"),
    ],
    ids=str,
)
def test_a_name_or_a_shape_that_does_not_fit_is_refused(keras, dense, message):
    """With both numbers, and what would fit."""
    with pytest.raises(FiltertrackError, match=message):
        tracked(keras, *mixed(keras), dense=dense)


def test_a_model_without_dense_layers_is_named_as_such(keras):
    """Also if it is built in its first step only."""
    with pytest.raises(FiltertrackError, match="The model has: no Dense layer"):
        tracked(keras, keras.layers.Conv2D(2, 3), dense={"dense": (2, 2)})


@pytest.mark.parametrize(
    "shape",
    [(), (8,), (8, 8, 3, 2), (8, 0), (8, -8), (8.5, 8), "8x8", 64, None, (8, 8, "channels_first")],
    ids=str,
)
def test_a_shape_that_is_none_is_refused_at_once(tmp_path, shape):
    """When the tracker is made."""
    with pytest.raises(FiltertrackError, match=r"dense: expected \(height, width\).*'dense', got"):
        FilterTracker(tmp_path, dense={"dense": shape})
    with pytest.raises(FiltertrackError, match="dense: expected a dictionary"):
        FilterTracker(tmp_path, dense=(8, 8))


@pytest.fixture
def vectors(rng):
    """Return flat images of 8x8, and their classes."""
    return rng.normal(size=(32, 64)).astype("float32"), rng.integers(10, size=32)


def perceptron(keras, *, built=True):
    layers = [
        keras.layers.Dense(16, activation="relu", name="dense"),
        keras.layers.Dense(10, activation="softmax", name="top"),
    ]
    model = keras.Sequential([*([keras.Input((64,))] if built else []), *layers])
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("built", [True, False], ids=["built", "built in its first step"])
def test_the_kernel_of_keras_is_stored_at_every_step(keras, vectors, tmp_path, built):
    """Also from step 0 on, and where a model that is made again continues the run."""
    model = perceptron(keras, built=built)
    tracker = FilterTracker(tmp_path, dense={"dense": (8, 8)})
    model.fit(*vectors, epochs=2, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2]
    with np.load(run.file(2)) as file:
        kernel, _ = model.get_layer("dense").get_weights()
        np.testing.assert_array_equal(file["dense/kernel"], kernel, strict=True)
    np.testing.assert_array_equal(run.kernels("dense", 2)[3, :, :, 0], kernel[:, 3].reshape(8, 8))
    again = perceptron(keras, built=True)
    again.set_weights(model.get_weights())
    tracker = FilterTracker(tmp_path, dense={"dense": (8, 8)})
    again.fit(*vectors, initial_epoch=2, epochs=3, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [0, 1, 2, 3]


def test_filters_on_digits_have_pictures_and_labels(keras, tmp_path):
    """The weights of pixels that are empty in every digit stay, at the position of the pixel."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    callbacks = [FilterTracker(tmp_path, dense={"dense": (8, 8)})]
    flat = (data.data / 16).astype("float32")
    perceptron(keras).fit(flat, data.target, epochs=2, verbose=0, callbacks=callbacks)
    run = Run(tmp_path)
    moved = (run.kernels("dense", 0) != run.kernels("dense", 2)).any(axis=(0, 3))
    np.testing.assert_array_equal(moved, data.images.any(axis=0))
    assert animate(tmp_path).path.stat().st_size
    assert filmstrip(tmp_path).axes
    assert len(measure(tmp_path).filters()["label"]) == 16


def test_a_run_is_not_continued_with_another_image_shape(keras, vectors, tmp_path):
    """Its pictures would be of the earlier shape; the message names both."""
    model = perceptron(keras)
    callbacks = [FilterTracker(tmp_path, dense={"dense": (8, 8)})]
    model.fit(*vectors, epochs=1, verbose=0, callbacks=callbacks)
    callbacks = [FilterTracker(tmp_path, dense={"dense": (4, 16)})]
    with pytest.raises(
        FiltertrackError,
        match=r"dense as images of \(8, 8, 1\), channels last only there; "
        r"dense as images of \(4, 16, 1\), channels last only here",
    ):
        model.fit(*vectors, initial_epoch=1, epochs=2, verbose=0, callbacks=callbacks)


def test_versions_without_image_shapes_read_the_kernel_as_one_row(keras, vectors, tmp_path):
    """The manifest's field ``image`` is optional: those versions ignore it."""
    tracker = FilterTracker(tmp_path, dense={"dense": (8, 8)})
    perceptron(keras).fit(*vectors, epochs=1, verbose=0, callbacks=[tracker])
    manifest = json.loads((tmp_path / "filters" / "manifest.json").read_text())
    (layer,) = manifest["layers"]
    assert (layer["shape"], layer["axes"], layer["image"]) == ([16, 1, 64, 1], [1, 0], [8, 8, 1])
