"""Which kernels a layer has: Keras's own, those a layer or the user names, and what is left out."""

import logging

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run
from filtertrack.capture.tracked_layers import TrackedLayers


def built(keras, *layers, shape=(8, 8, 3)):
    return keras.Sequential([keras.Input(shape), *layers])


def names(tracked):
    return [info.name for info in tracked.infos]


def standardized(keras, **names):
    """Return a convolution with weight standardization, with an effective kernel if asked for."""

    class Standardized(keras.layers.Conv2D):
        def call(self, x):
            return keras.ops.conv(x, self.standard(), padding="valid") + self.bias

        def standard(self):
            mean = keras.ops.mean(self.kernel, axis=(0, 1, 2), keepdims=True)
            return (self.kernel - mean) / keras.ops.std(self.kernel, axis=(0, 1, 2), keepdims=True)

    if names:
        Standardized.effective_kernel = property(Standardized.standard)
    return Standardized


def test_the_effective_kernel_of_a_layer_is_stored(keras, tmp_path):
    """At every step, under the layer's name."""
    layer = standardized(keras, named=True)(4, 3, name="ws")
    model = built(keras, layer, keras.layers.GlobalAveragePooling2D())
    model.compile("sgd", "mse")
    data = np.ones((4, 8, 8, 3), "float32"), np.ones((4, 4), "float32")
    model.fit(*data, epochs=2, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    (info,) = run.layers.values()
    assert (info.name, info.kernel, info.bias) == ("ws", "ws/effective_kernel", "ws/bias")
    drawn = run.kernels("ws", 2)
    np.testing.assert_allclose(drawn.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(drawn.std(axis=(1, 2, 3)), 1, rtol=1e-4)
    expected = keras.ops.convert_to_numpy(layer.standard())
    np.testing.assert_allclose(info.canonical(expected), drawn, rtol=1e-5)


def test_an_effective_kernel_may_be_a_method(keras):
    """It is called."""

    class Binary(keras.layers.Conv2D):
        def effective_kernel(self):
            return keras.ops.sign(self.kernel)

    tracked = TrackedLayers(built(keras, Binary(4, 3, name="sign")))
    (values,) = (v for k, v in tracked.read().items() if "kernel" in k)
    assert set(np.unique(values)) <= {-1.0, 0.0, 1.0}


def test_kernel_returns_the_array_that_a_layer_convolves_with(keras):
    """For other layers it may return None or raise AttributeError."""
    layer = standardized(keras)(4, 3, name="ws")
    model = built(keras, layer, keras.layers.Conv2D(2, 3, name="plain"))
    tracked = TrackedLayers(model, effective=lambda each: each.standard())
    assert names(tracked) == ["ws", "plain"]
    expected = keras.ops.convert_to_numpy(layer.standard())
    np.testing.assert_allclose(tracked.read()["ws/effective_kernel"], expected, rtol=1e-6)
    assert tracked.remarks == []


def masked(keras):
    """Return a layer that masks the kernel of a convolution in it, as Keras's PixelCNN does."""

    class Masked(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = keras.layers.Conv2D(4, 3, padding="same")

        def build(self, shape):
            self.conv.build(shape)
            self.mask = np.ones(self.conv.kernel.shape, "float32")
            self.mask[2:] = 0

        def call(self, x):
            self.conv.kernel.assign(self.conv.kernel * self.mask)
            return self.conv(x)

    return Masked


def test_an_effective_kernel_replaces_those_of_the_layers_inside(keras):
    """The masked kernel is tracked, the raw one is not."""
    cls = masked(keras)
    cls.effective_kernel = property(lambda self: self.conv.kernel * self.mask)
    tracked = TrackedLayers(built(keras, cls(name="pixel")))
    assert names(tracked) == ["pixel"]
    assert not tracked.read()["pixel/effective_kernel"][2:].any()
    raw = TrackedLayers(built(keras, masked(keras)(name="pixel")))
    assert names(raw) == ["pixel/conv"]


def pixel_cnn(keras):
    """Return a model as in Keras's example of a PixelCNN, with its own ``PixelConvLayer``."""
    layers, ops = keras.layers, keras.ops

    class PixelConvLayer(layers.Layer):
        def __init__(self, mask_type, **kwargs):
            super().__init__()
            self.mask_type = mask_type
            self.conv = layers.Conv2D(**kwargs)

        def build(self, input_shape):
            self.conv.build(input_shape)
            kernel_shape = ops.shape(self.conv.kernel)
            self.mask = np.zeros(shape=kernel_shape)
            self.mask[: kernel_shape[0] // 2, ...] = 1.0
            self.mask[kernel_shape[0] // 2, : kernel_shape[1] // 2, ...] = 1.0
            if self.mask_type == "B":
                self.mask[kernel_shape[0] // 2, kernel_shape[1] // 2, ...] = 1.0

        def call(self, inputs):
            self.conv.kernel.assign(self.conv.kernel * self.mask)
            return self.conv(inputs)

    class ResidualBlock(layers.Layer):
        def __init__(self, filters, **kwargs):
            super().__init__(**kwargs)
            self.conv1 = layers.Conv2D(filters, 1, activation="relu")
            self.pixel_conv = PixelConvLayer(
                "B", filters=filters // 2, kernel_size=3, padding="same"
            )
            self.conv2 = layers.Conv2D(filters, 1, activation="relu")

        def call(self, inputs):
            return layers.add([inputs, self.conv2(self.pixel_conv(self.conv1(inputs)))])

    stem = PixelConvLayer("A", filters=4, kernel_size=5, padding="same")
    model = built(keras, stem, ResidualBlock(4, name="block"), layers.Conv2D(1, 1), shape=(6, 6, 1))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, stem


def test_a_masked_kernel_is_stored_as_the_layer_convolves_with_it(keras, rng, tmp_path, caplog):
    """With the function that the log suggests, at every step from 0 on: masked weights are zero."""
    model, stem = pixel_cnn(keras)
    (remark,) = TrackedLayers(model).remarks
    assert "pixel_conv_layer/conv, block/pixel_conv/conv: a class of its own" in remark
    expression = remark.partition("kernel=")[2]
    assert expression == "lambda layer: layer.conv.kernel * layer.mask"
    x = rng.normal(size=(8, 6, 6, 1)).astype("float32")
    with caplog.at_level(logging.INFO, "filtertrack"):
        tracker = FilterTracker(tmp_path, kernel=eval(expression), schedule=1)  # noqa: S307
        model.fit(x, x, batch_size=4, epochs=2, verbose=0, callbacks=[tracker])
    assert not [r.message for r in caplog.records if "class of its own" in r.message]
    run = Run(tmp_path)
    assert list(run.layers) == [
        *("pixel_conv_layer", "block/conv1", "block/pixel_conv", "block/conv2", "conv2d"),
    ]
    masked = stem.mask.transpose(3, 0, 1, 2) == 0
    assert run.steps == [0, 1, 2, 3, 4]
    for step in run.steps:
        stored = run.kernels("pixel_conv_layer", step)
        np.testing.assert_array_equal(stored == 0, masked)
    expected = keras.ops.convert_to_numpy(stem.conv.kernel).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(stored[~masked], expected[~masked])
    assert expected[masked].any()  # of the variable, the optimizer's last step


def test_the_log_suggests_the_mask_of_a_convolution_itself(keras):
    """But no array that is no mask, or that its ``call`` does not use."""

    class Causal(keras.layers.Conv2D):
        def build(self, shape):
            super().build(shape)
            ones, lower = np.ones(self.kernel.shape, "float32"), np.tri(3, dtype="float32")
            self.mask = keras.ops.convert_to_tensor(ones * lower[..., None, None])
            self.scale = 2 * ones

        def call(self, x):
            return keras.ops.conv(x, self.kernel * self.mask, padding="valid")

    class Scaled(Causal):
        def call(self, x):
            return keras.ops.conv(x, self.kernel * self.scale, padding="valid")

    (remark,) = TrackedLayers(built(keras, Causal(4, 3))).remarks
    assert remark.endswith("name that with kernel=lambda layer: layer.kernel * layer.mask")
    (remark,) = TrackedLayers(built(keras, Scaled(4, 3))).remarks
    assert remark.endswith("name that with kernel=")


def equalized(keras):
    """Return StyleGAN's convolution: ``kernel`` is a size, and the weight another attribute."""

    class EqualizedConv(keras.layers.Layer):
        def __init__(self, filters, kernel=3, **options):
            super().__init__(**options)
            self.filters, self.kernel = filters, kernel

        def build(self, shape):
            shape = (self.kernel, self.kernel, shape[-1], self.filters)
            self.w = self.add_weight(shape=shape, name="kernel", initializer="glorot_uniform")
            self.b = self.add_weight(shape=(self.filters,), name="bias")

        def call(self, x):
            return keras.ops.conv(x, self.w, padding="same") + self.b

    return EqualizedConv


def test_a_kernel_under_another_attribute_is_found(keras):
    """It can be chosen by a function or by name."""
    model = built(keras, keras.layers.Conv2D(2, 3, name="conv"), equalized(keras)(5, name="eq"))
    offered = TrackedLayers(model)
    assert names(offered) == ["conv"]
    assert "eq: no convolution of Keras" in offered.remarks[0]
    chosen = TrackedLayers(model, lambda layer: layer.name == "eq")
    np.testing.assert_array_equal(
        chosen.read()["eq/w"], keras.ops.convert_to_numpy(model.layers[-1].w)
    )
    for choice in ("eq", "e*", type(model.layers[-1]), ["eq"]):
        assert names(TrackedLayers(model, choice)) == ["eq"]
    named = TrackedLayers(model, effective=lambda layer: layer.w)
    assert names(named) == ["conv", "eq"]


def test_a_model_without_keras_convolutions_is_an_error_with_a_remedy(keras):
    """The error names the layers that have a kernel."""
    model = built(keras, equalized(keras)(5, name="eq"))
    with pytest.raises(FiltertrackError, match="Choose eq by name, class or function"):
        TrackedLayers(model)


def test_layers_that_do_not_convolve_are_no_candidates(keras):
    """The cell of a ConvLSTM, a wrapped convolution, an attention, a user's wrapper."""

    class Wrapper(keras.layers.Wrapper):
        def build(self, shape):
            super().build(shape)
            self.kernel = self.layer.kernel

        def call(self, x):
            return self.layer(x)

    lstm = keras.layers.ConvLSTM2D(3, 3, padding="same", name="lstm")
    normalized = keras.layers.SpectralNormalization(
        keras.layers.Conv2D(3, 3, name="conv"), name="sn"
    )
    wrapped = Wrapper(keras.layers.Conv2D(2, 3, name="inner"), name="wrapper")
    model = built(keras, lstm, normalized, wrapped, shape=(2, 8, 8, 3))
    tracked = TrackedLayers(model)
    assert names(tracked) == [
        *("lstm/kernel", "lstm/recurrent_kernel"),
        *("sn/conv", "wrapper/inner"),
    ]
    assert tracked.remarks == []
    inputs = keras.Input((4, 6))
    attention = keras.layers.MultiHeadAttention(2, 3)(inputs, inputs)
    model = keras.Model(inputs, keras.layers.Conv1D(2, 3, name="conv")(attention))
    tracked = TrackedLayers(model, lambda _: True)
    assert names(tracked) == ["conv"]
    assert tracked.remarks == []


def test_a_class_that_overrides_call_is_logged(keras):
    """What it convolves with is unknown: the log says how to name it."""
    tracked = TrackedLayers(built(keras, standardized(keras)(4, 3, name="ws")))
    (remark,) = tracked.remarks
    assert remark.startswith("ws: a class of its own computes the output")

    inside = TrackedLayers(built(keras, masked(keras)(name="pixel")))
    (remark,) = inside.remarks
    assert remark.startswith("pixel/conv: a class of its own computes the output")

    class Same(keras.layers.Conv2D):
        pass

    assert TrackedLayers(built(keras, Same(4, 3))).remarks == []


def test_an_effective_kernel_of_other_axes_is_refused(keras):
    """Before training; the error names its shape."""
    model = built(keras, keras.layers.Conv2D(4, 3, name="conv"))
    with pytest.raises(FiltertrackError, match=r"kernel of conv: expected .* got shape \(3, 3\)"):
        TrackedLayers(model, effective=lambda layer: layer.kernel[:, :, 0, 0])


def test_a_wrapper_that_replaces_the_kernel_loses_no_snapshot(keras, tmp_path, caplog):
    """Its symbolic tensor has no value after tracing: the variable is stored, with a warning."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow leaves a traced value behind")

    class WeightNorm(keras.layers.Wrapper):
        def build(self, shape):
            self.layer.build(shape)
            self.v = self.layer._kernel

        def call(self, x):
            norm = keras.ops.sqrt(keras.ops.sum(keras.ops.square(self.v), (0, 1, 2)))
            self.layer._kernel = self.v / norm
            return self.layer(x)

    wrapper = WeightNorm(keras.layers.Conv2D(4, 3, name="conv"), name="wn")
    model = built(keras, wrapper, keras.layers.GlobalAveragePooling2D())
    model.compile("sgd", "mse")
    data = np.ones((4, 8, 8, 3), "float32"), np.ones((4, 4), "float32")
    with caplog.at_level(logging.INFO, "filtertrack"):
        model.fit(*data, epochs=3, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    (info,) = run.layers.values()
    variable = keras.ops.convert_to_numpy(wrapper.v)
    np.testing.assert_array_equal(run.kernels("wn/conv", 3), info.canonical(variable))
    logged = [r.message for r in caplog.records if "its kernel is replaced" in r.message]
    assert len(logged) == 1


def test_a_kernel_function_without_any_result_is_refused(keras):
    """With a misspelt attribute the variables would be stored without notice."""
    model = built(keras, keras.layers.Conv2D(2, 3, name="conv"))
    with pytest.raises(FiltertrackError, match="named no kernel of the tracked layers"):
        TrackedLayers(model, effective=lambda layer: layer.kernle * 2)


def test_an_error_of_the_kernel_function_names_the_layer(keras):
    """It is called for every layer."""
    model = built(keras, keras.layers.Conv2D(2, 3, name="conv"))
    with pytest.raises(FiltertrackError, match=r"KeyError for layer '\w+': .*must return None"):
        TrackedLayers(model, effective=lambda layer: {"conv": 0}[layer.name])
