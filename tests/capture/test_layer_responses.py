"""Responses of ``storage.layer_responses``, compared with the layers of Keras."""

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from keras import layers

from filtertrack.capture.tracked_layers import TrackedLayers
from filtertrack.errors import FiltertrackError
from filtertrack.measures.activations import ACTIVATIONS
from filtertrack.storage.memory_run import MemoryRun

TORCH = keras.backend.backend() == "torch"


def run_of(model):
    tracked = TrackedLayers(model)
    return MemoryRun("model", tracked.infos, tracked.read)


def output_of(model, layer, images):
    """Return what a layer computes, as Keras does."""
    inner = keras.Model(model.inputs, layer.output)
    return keras.ops.convert_to_numpy(inner(keras.ops.convert_to_tensor(images), training=False))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_close(found, expected):
    assert found.shape == expected.shape
    scale = max(1e-3, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)


CLASSES = {
    1: (layers.Conv1D, layers.Conv1DTranspose, layers.DepthwiseConv1D),
    2: (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D),
    3: (layers.Conv3D, layers.Conv3DTranspose),
}


@st.composite
def convolutions(draw):
    axes = draw(st.integers(1, 3))
    cls = draw(st.sampled_from(CLASSES[axes]))
    kind = "transposed" if "Transpose" in cls.__name__ else "depthwise"
    kind = kind if cls.__name__ != f"Conv{axes}D" else "convolution"
    groups = draw(st.sampled_from([1, 2])) if kind == "convolution" else 1
    same_stride = kind == "depthwise"  # TensorFlow's depthwise convolution has only equal strides
    stride, apart = draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2)]))
    paddings = ["valid", "same"] + ["causal"] * (cls is layers.Conv1D)
    sides = draw(st.lists(st.integers(1, 4), min_size=axes, max_size=axes))
    options = {
        "kernel_size": sides,
        "strides": [stride] * axes if same_stride or apart > 1 else stride,
        "dilation_rate": apart,
        "padding": draw(st.sampled_from(paddings)),
        "data_format": draw(st.sampled_from(["channels_last", "channels_first"])),
        "use_bias": draw(st.booleans()),
        "bias_initializer": "random_normal",
    }
    if kind == "depthwise":
        options["depth_multiplier"] = draw(st.integers(1, 3))
    else:
        options["filters"] = 4
    if groups > 1:
        options["groups"] = groups
    return kind, cls, options


@given(convolutions(), st.integers(1, 3), st.integers(0, 3))
def test_responses_are_the_outputs_of_the_layer(made, size, extra):
    """For every class, side, stride, dilation, padding, data format and number of groups."""
    kind, cls, options = made
    layer = cls(**options)
    groups = getattr(layer, "groups", 1)
    channels = 2 * groups
    reach = [(side - 1) * layer.dilation_rate[0] + 1 for side in layer.kernel_size]
    space = [along + size + extra for along in reach]
    last = layer.data_format == "channels_last"
    shape = (*space, channels) if last else (channels, *space)
    if TORCH and kind == "transposed":  # other positions there: see Keras's warning
        assume(options["padding"] == "valid" and min(reach) >= layer.strides[0])
    model = keras.Sequential([keras.Input(shape), layer])
    images = noise(2, *shape)
    expected = output_of(model, layer, images)
    # Keras 3.15 on TensorFlow adds the bias along the last axis if that is as long.
    assume(last or not layer.use_bias or expected.shape[1] not in expected.shape[2:])
    run = run_of(model)
    found = run.responses(next(iter(run.layers)), 0, images)
    assert_close(found, expected if last else np.moveaxis(expected, 1, -1))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activation_functions_are_those_of_keras(name):
    if not hasattr(keras.activations, name):
        pytest.skip("not in this version of Keras")
    layer = layers.Conv2D(6, 3, activation=name)
    model = keras.Sequential([keras.Input((8, 8, 1)), layer])
    images = 4 * noise(2, 8, 8, 1)
    run = run_of(model)
    assert_close(
        run.responses("conv2d", 0, images, activation=True), output_of(model, layer, images)
    )


def test_a_function_of_the_users_own_is_named_in_the_error():
    layer = layers.Conv2D(2, 3, activation=lambda x: x * 2)
    run = run_of(keras.Sequential([keras.Input((8, 8, 1)), layer]))
    assert run.responses("conv2d", 0, noise(1, 8, 8, 1)).shape == (1, 6, 6, 2)
    with pytest.raises(FiltertrackError, match="activation '<lambda>' is not one of"):
        run.responses("conv2d", 0, noise(1, 8, 8, 1), activation=True)


def _normalization(invert=False):
    return layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 0.25, 1.0], invert=invert)


@pytest.mark.parametrize(
    "before",
    [
        lambda: [layers.Rescaling(1 / 127.5, -1)],
        lambda: [layers.Rescaling([1.0, 2.0, 3.0])],
        lambda: [_normalization()],
        lambda: [_normalization(invert=True)],
        lambda: [layers.ZeroPadding2D(((1, 2), (3, 0))), layers.Rescaling(2.0, 1.0)],
        lambda: [layers.RandomFlip(), layers.Dropout(0.5), layers.GaussianNoise(1.0)],
        lambda: [keras.Sequential([layers.RandomRotation(0.1), layers.Rescaling(0.5)])],
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_known_preprocessing_is_applied(before, nested):
    """Also where the convolution is in a model within the model."""
    layer = layers.Conv2D(4, 3, strides=2, padding="same")
    if nested:
        inner_input = keras.Input((None, None, 3))
        inner = keras.Model(inner_input, layers.ReLU()(layer(inner_input)))
        model = keras.Sequential([keras.Input((9, 8, 3)), *before(), inner])
    else:
        model = keras.Sequential([keras.Input((9, 8, 3)), *before(), layer])
    images = 100 * np.abs(noise(2, 9, 8, 3))
    run = run_of(model)
    name = next(iter(run.layers))
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    found = run.responses(name, 0, images)
    assert_close(np.maximum(found, 0) if nested else found, expected)


def _deep():
    return [layers.Conv2D(3, 3), layers.Conv2D(4, 3, name="asked")]


@pytest.mark.parametrize(
    "made",
    [
        lambda: keras.Sequential([keras.Input((8, 8, 3)), *_deep()]),
        lambda: keras.Sequential(
            [keras.Input((8, 8, 3)), layers.BatchNormalization(), layers.Conv2D(4, 3, name="asked")]
        ),
        lambda: keras.Sequential(
            [keras.Input((8, 8, 3)), layers.AveragePooling2D(2), layers.Conv2D(4, 3, name="asked")]
        ),
        lambda: keras.Sequential(  # it cuts out the middle when the model is not trained
            [keras.Input((8, 8, 3)), layers.RandomCrop(6, 6), layers.Conv2D(4, 3, name="asked")]
        ),
    ],
)
def test_a_layer_behind_others_is_refused(made):
    with pytest.raises(
        FiltertrackError, match=r"asked: (its input is the output of|the run does not say)"
    ):
        run_of(made()).responses("asked", 0, noise(1, 8, 8, 3))


def test_a_model_with_two_inputs_is_refused():
    one, two = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    both = layers.Add()([layers.Conv2D(4, 3, name="asked")(one), layers.Conv2D(4, 3)(two)])
    with pytest.raises(
        FiltertrackError, match=r"its input is the output of other layers|the run does not say"
    ):
        run_of(keras.Model([one, two], both)).responses("asked", 0, noise(1, 8, 8, 3))


def test_a_layer_that_is_called_twice_is_refused():
    """Which of the two is asked for is not known."""
    shared, image = layers.Conv2D(3, 3, padding="same", name="asked"), keras.Input((8, 8, 3))
    model = keras.Model(image, shared(shared(image)))
    with pytest.raises(FiltertrackError, match="the run does not say"):
        run_of(model).responses("asked", 0, noise(1, 8, 8, 3))


def test_the_error_names_layers_whose_input_is_known():
    model = keras.Sequential([keras.Input((8, 8, 3)), *_deep()])
    with pytest.raises(FiltertrackError, match="follow from the kernel alone for conv2d"):
        run_of(model).responses("asked", 0, noise(1, 8, 8, 3))


def test_only_the_first_kernel_of_a_separable_layer_sees_the_input():
    layer = layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=2, activation="relu")
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    run, images = run_of(model), noise(1, 8, 8, 3)
    depthwise, pointwise = run.layers
    first = run.responses(depthwise, 0, images)
    np.testing.assert_array_equal(run.responses(depthwise, 0, images, activation=True), first)
    whole = first @ run.kernels(pointwise, 0)[:, 0, 0].T + run.bias(pointwise, 0)
    assert run.layer(pointwise).activation == "relu"
    assert_close(np.maximum(whole, 0), output_of(model, layer, images))
    with pytest.raises(
        FiltertrackError, match=r"its input is the output of other layers|the run does not say"
    ):
        run.responses(pointwise, 0, images)


def test_images_of_another_shape_are_refused():
    run = run_of(keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)]))
    with pytest.raises(FiltertrackError, match=r"\(images, height, width, channels\).*\(8, 8, 3\)"):
        run.responses("conv2d", 0, noise(8, 8, 3))
    with pytest.raises(FiltertrackError, match="takes 3 channels, got 1"):
        run.responses("conv2d", 0, noise(1, 8, 8, 1))
    with pytest.raises(FiltertrackError, match=r"expected arrays, got the text 'cat.png'"):
        run.responses("conv2d", 0, "cat.png")
    with pytest.raises(FiltertrackError, match="expected numbers"):
        run.responses("conv2d", 0, np.array([[[["a"]]]]))


def test_a_run_keeps_what_responses_need(tmp_path):
    """Strides, padding, activation and preprocessing are in the manifest."""
    from filtertrack import FilterTracker, Run

    layer = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")
    model = keras.Sequential([keras.Input((9, 8, 3)), layers.Rescaling(1 / 255), layer])
    tracker = FilterTracker(tmp_path)
    tracker.set_model(model)
    tracker.snapshot(0)
    tracker.close()
    images = 255 * np.abs(noise(2, 9, 8, 3))
    found = Run(tmp_path).responses("conv2d", 0, images, activation=True)
    assert_close(found, output_of(model, layer, images))
