"""Receptive fields, compared with the pixels that change a value of a feature map."""

import inspect
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

from filtertrack.capture.forward_trace import leaf_operations, recorded_calls
from filtertrack.capture.receptive_fields import fields_of_calls
from filtertrack.response import ReceptiveField


def traced(model, images, *, by_graph=True):
    """Return the calls of a forward pass, and the fields of their outputs."""
    images = images if isinstance(images, dict) else {"input": images}
    inputs = {name: ops.convert_to_tensor(each) for name, each in images.items()}
    with recorded_calls([*leaf_operations(model), model]) as calls:
        model(next(iter(inputs.values())) if len(inputs) == 1 else inputs, training=False)
    return calls, fields_of_calls(calls, inputs, model if by_graph else None)


def field_of(model, images, layer, **options):
    """Return the input's name and the field of the only output of a layer; None if unknown."""
    calls, fields = traced(model, images, **options)
    (index,) = [n for n, call in enumerate(calls) if call.operation is layer]
    return fields.get(index)


def with_positive_weights(model):
    """Give a model weights with which every pixel above 0 makes the values above 0 it can."""
    for layer in model._flatten_layers():
        for weight in layer.weights if not getattr(layer, "_layers", ()) else ():
            if weight.name.endswith("kernel"):
                weight.assign(np.full(weight.shape, 1 / np.prod(weight.shape[:-1])))
    return model


def changing(outputs):
    """Return at which rows and columns a feature map is above that of the first image, 0."""
    outputs = ops.convert_to_numpy(outputs)
    return (outputs[1:] > outputs[:1]).any(axis=-1)


def assert_exact(model, layer, field, shape, cropped=0):
    """Compare a field with the rows and the columns of pixels that change each value.

    At a border, where the field reaches into padding, no pixel outside of the field may change it.
    """
    outputs = keras.Model(model.inputs[0], layer.output)
    for axis in (0, 1):
        side = shape[axis]
        images = np.zeros((side + 1, *shape), model.inputs[0].dtype)
        for n in range(side):
            images[(n + 1, n) if axis == 0 else (n + 1, slice(None), n)] = 1
        changed = changing(outputs(images, training=False)).any(axis=2 - axis)  # (pixel, value)
        assert changed.any()
        for value in range(changed.shape[1]):
            pixels = np.flatnonzero(changed[:, value])
            window = field.at(value, value)[axis]
            inside = [n for n in pixels if window.start <= n < window.stop]
            assert list(pixels) == inside, "a pixel outside of the field changes the value"
            if window.start >= cropped and window.stop <= side - cropped:
                assert (pixels[0], pixels[-1] + 1) == (window.start, window.stop)


KINDS = ["conv", "depthwise", "separable", "max", "average", "pad", "branch", "inert"]
BLOCKS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "side": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.sampled_from([1, 1, 2, 3]),
        "dilation": st.sampled_from([1, 2]),
        "padding": st.sampled_from(["same", "valid"]),
        "pads": st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
    }
)


def appended(x, *, kind, side, stride, dilation, padding, pads):
    """Append layers of one kind to a graph."""
    options = {"strides": stride, "padding": padding}
    atrous = {**options, "dilation_rate": dilation if stride == 1 else 1, "activation": "relu"}
    halves = {"strides": stride, "padding": "same"}
    return {
        "conv": layers.Conv2D(2, side, **atrous),
        "depthwise": layers.DepthwiseConv2D(side, **atrous),
        "separable": layers.SeparableConv2D(2, side, **atrous),
        "max": layers.MaxPooling2D(side, **options),
        "average": layers.AveragePooling2D(side, **options),
        "pad": layers.ZeroPadding2D(pads),
        "inert": lambda x: layers.Dropout(0.5)(layers.Rescaling(2.0)(x)) + x,
        "branch": lambda x: layers.Concatenate()(
            [
                layers.Conv2D(1, side, **halves)(x),
                layers.BatchNormalization()(layers.Conv2D(1, 5, **halves)(ops.relu(x) * 2.0)),
            ]
        ),
    }[kind](x)


@contextmanager
def double_precision():
    """Compute in float64, in which no value is rounded to 0; jax has float32 only by default."""
    keras.config.set_floatx("float32" if keras.backend.backend() == "jax" else "float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")


@given(
    st.lists(BLOCKS, min_size=1, max_size=4),
    st.integers(0, 2),
    st.integers(24, 27),
    st.integers(24, 27),
)
def test_fields_are_the_pixels_that_change_a_value(made, cropped, height, width):
    """Through strides, dilation, pooling, padding, cropping and branches, also at borders."""
    with double_precision():
        start = keras.Input((height, width, 1), name="picture")
        x = layers.Cropping2D(cropped)(start)
        for block in made:
            x = appended(x, **block) if min(x.shape[1:3]) > 9 else x
        last = layers.Conv2D(1, 1)
        model = with_positive_weights(keras.Model(start, last(x)))
        name, field = field_of(model, {"picture": np.zeros((1, height, width, 1))}, last)
        assert name == "picture"
        assert_exact(model, last, field, (height, width, 1), cropped)


def small_model(**options):
    start = keras.Input((16, 12, 3), name="picture", **options)
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(start)
    x = layers.MaxPooling2D()(x)
    return keras.Model(start, layers.Conv2D(2, 3, name="last")(x))


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def test_field_of_a_small_model():
    """Worked by hand: a convolution with stride 2, pooling by 2, and a 3x3 convolution."""
    model = small_model()
    name, field = field_of(model, {"picture": noise(1, 16, 12, 3)}, model.get_layer("last"))
    assert name == "picture"
    assert field == ReceptiveField((13, 13), (4, 4), (0, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.float16])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_field_is_known_if_the_input_is_converted(dtype, policy):
    """The first layer then gets another tensor than the model."""
    keras.config.set_dtype_policy(policy)
    try:
        model = small_model()
    finally:
        keras.config.set_dtype_policy("float32")
    images = {"picture": noise(1, 16, 12, 3).astype(dtype)}
    assert field_of(model, images, model.get_layer("last")) == (
        "picture",
        ReceptiveField((13, 13), (4, 4), (0, 0)),
    )


@pytest.mark.parametrize("kind", ["sequential", "nested", "deferred"])
def test_field_is_known_in_nested_and_converted_models(kind):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        last = layers.Conv2D(2, 3)
        inner = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=2), last]
        model = keras.Sequential(inner)
        if kind == "nested":
            augment = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
            start = keras.Input((16, 16, 3))
            model = keras.Model(start, layers.Flatten()(model(augment(start))))
        elif kind == "sequential":
            model = keras.Sequential([keras.Input((16, 16, 3)), *inner])
        else:
            model.build((None, 16, 16, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    assert field_of(model, np.ones((1, 16, 16, 3), np.uint8), last) == (
        "input",
        ReceptiveField((7, 7), (2, 2), (0, 0)),
    )


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, between=lambda x: x, start=None):
        super().__init__()
        self.start = start or layers.Identity()
        self.first = layers.Conv2D(4, 5, strides=2)
        self.norm = layers.BatchNormalization()
        self.last = layers.Conv2D(2, 3)
        self.between = between

    def call(self, x, training=None):  # noqa: D102
        return self.last(self.between(self.norm(self.first(self.start(x)), training=training)))


def test_field_is_known_in_a_subclassed_model():
    model = Subclassed()
    images = noise(1, 16, 16, 3)
    model(images)
    assert field_of(model, images, model.last)[1] == ReceptiveField((9, 9), (2, 2), (0, 0))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.float32])
def test_field_is_known_in_a_subclassed_model_that_converts_its_input(policy, dtype):
    keras.config.set_dtype_policy(policy)
    try:
        model = Subclassed(start=layers.Rescaling(1 / 255))
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.ones((1, 16, 16, 3), dtype)
    model(images)
    assert field_of(model, images, model.last)[1] == ReceptiveField((9, 9), (2, 2), (0, 0))


def test_field_is_unknown_behind_a_computation_between_layers():
    """It is no layer: what it does with the values is not recorded."""
    model = Subclassed(lambda x: ops.flip(x, axis=1))
    images = noise(1, 16, 16, 3)
    model(images)
    assert field_of(model, images, model.last) is None


def test_field_is_unknown_behind_batch_statistics():
    """In training mode every value depends on all images."""
    model = Subclassed()
    images = noise(1, 16, 16, 3)
    model.between = lambda x: model.norm(x, training=True)
    model(images)
    assert field_of(model, images, model.last) is None


class Doubled(layers.Conv2D):
    """A subclass that computes the same as its base class."""

    def __init__(self, filters, **options):
        super().__init__(2 * filters, 3, **options)

    def get_config(self):  # noqa: D102
        return super().get_config()


class Mirrored(layers.Conv2D):
    """A convolution of other pixels."""

    def call(self, inputs):  # noqa: D102
        return super().call(ops.flip(inputs, axis=1))


class OtherConvolution(layers.Conv2D):
    """A convolution of other pixels, without a call of its own."""

    def convolution_op(self, inputs, kernel):  # noqa: D102
        return super().convolution_op(ops.roll(inputs, 3, axis=1), kernel)


def mirror(x):
    return ops.flip(x, axis=1)


def is_known_behind(before):
    """Return whether the field of a convolution is known, behind a function of the input."""
    start = keras.Input((16, 12, 3))
    last = layers.Conv2D(2, 3)
    model = keras.Model(start, last(before(start)))
    return field_of(model, noise(1, 16, 12, 3), last) is not None


@pytest.mark.parametrize(
    ("cls", "options", "known"),
    [
        (Doubled, {"filters": 2}, True),
        (Mirrored, {"filters": 2, "kernel_size": 3}, False),
        (OtherConvolution, {"filters": 2, "kernel_size": 3}, False),
        (layers.Conv2D, {"filters": 2, "kernel_size": 3, "activation": "gelu"}, True),
        (layers.Conv2D, {"filters": 2, "kernel_size": 3, "activation": ops.relu}, True),
        (layers.Conv2D, {"filters": 2, "kernel_size": 3, "activation": mirror}, False),
        (layers.Activation, {"activation": "swish"}, True),
        (layers.Activation, {"activation": mirror}, False),
        (layers.BatchNormalization, {}, True),
        (layers.LayerNormalization, {}, True),
        (layers.LayerNormalization, {"axis": [1, 2, 3]}, False),
        (layers.GroupNormalization, {"groups": 3}, False),
        (layers.Dense, {"units": 4}, True),
        (layers.Dense, {"units": 4, "activation": "softmax"}, False),
        (layers.Softmax, {}, True),
        (layers.Softmax, {"axis": 1}, False),
        (layers.UpSampling2D, {}, False),
        (layers.Conv2DTranspose, {"filters": 2, "kernel_size": 3}, False),
        (layers.Resizing, {"height": 8, "width": 8}, False),
        (layers.CenterCrop, {"height": 8, "width": 8}, False),
        (layers.RandomCrop, {"height": 8, "width": 8}, False),
        (layers.Permute, {"dims": (2, 1, 3)}, False),
        (layers.Reshape, {"target_shape": (12, 16, 3)}, False),
        (layers.Lambda, {"function": mirror}, False),
    ],
)
def test_field_is_known_behind_layers_whose_effect_is_exact(cls, options, known):
    assert is_known_behind(cls(**options)) == known


@pytest.mark.parametrize(
    ("before", "known"),
    [
        (lambda x: layers.Concatenate()([x, x]), True),
        (lambda x: layers.Concatenate(axis=1)([x, x]), False),
        (lambda x: x / 127.5 - 1, True),
        (lambda x: x * np.ones((12, 3), np.float32), True),
        (lambda x: x[:, 4:], False),
        (lambda x: ops.flip(x, axis=1) + x, False),
        (lambda x: x * ops.mean(x, axis=(1, 2), keepdims=True), False),
        (lambda x: x * layers.GlobalAveragePooling2D(keepdims=True)(x), False),
        (lambda x: layers.Add()([layers.Conv2D(3, 3, strides=2)(x), x[:, :7, :5]]), False),
    ],
)
def test_field_is_known_behind_operations_whose_effect_is_exact(before, known):
    assert is_known_behind(before) == known


RANDOM = sorted(name for name in vars(layers) if name.startswith("Random") and name != "RandomCrop")


@pytest.mark.parametrize("name", RANDOM)
def test_augmentation_changes_no_pixel_at_inference(name):
    """So it keeps the fields."""
    cls = getattr(layers, name)
    parameters = inspect.signature(cls.__init__).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty][1:-1]
    layer = cls(**dict.fromkeys(needed, 4 if name == "RandomPosterization" else 0.2))
    images = noise(1, 8, 8, 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(images, training=False)), images)
    start = keras.Input((8, 8, 3))
    last = layers.Conv2D(2, 3)
    assert field_of(keras.Model(start, last(layer(start))), images, last) is not None


def test_branches_of_two_inputs_have_fields_until_they_meet():
    left, right = keras.Input((9, 9, 1), name="left"), keras.Input((9, 9, 1), name="right")
    one, two, both = layers.Conv2D(2, 3), layers.Conv2D(2, 3, dilation_rate=1), layers.Conv2D(1, 3)
    model = keras.Model([left, right], both(layers.Add()([one(left), two(right)])))
    images = {"left": noise(1, 9, 9, 1), "right": noise(1, 9, 9, 1).astype(np.float64)}
    assert field_of(model, images, one)[0] == "left"
    assert field_of(model, images, two)[0] == "right"
    assert field_of(model, images, both) is None


def test_shared_layers_have_the_field_of_each_call():
    shared = layers.Conv2D(3, 3)
    start = keras.Input((12, 12, 3))
    model = keras.Model(start, shared(shared(start)))
    calls, fields = traced(model, noise(1, 12, 12, 3))
    found = [fields[n][1] for n, call in enumerate(calls) if call.operation is shared]
    assert found == [
        ReceptiveField((3, 3), (1, 1), (0, 0)),
        ReceptiveField((5, 5), (1, 1), (0, 0)),
    ]


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_fields_along_time_have_height_1(padding):
    start = keras.Input((20, 2))
    last = layers.Conv1D(2, 3, dilation_rate=2, padding=padding)
    model = keras.Model(start, last(layers.AveragePooling1D(2)(start)))
    before = {"valid": 0, "same": 2, "causal": 4}[padding]
    expected = ReceptiveField((1, 10), (1, 2), (0, -2 * before))
    assert field_of(model, noise(1, 20, 2), last) == ("input", expected)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="needs a GPU there")
def test_channels_first():
    start = keras.Input((3, 16, 12))
    last = layers.Conv2D(2, (3, 1), data_format="channels_first")
    x = layers.Conv2D(4, 3, strides=(1, 2), padding="same", data_format="channels_first")(start)
    x = layers.BatchNormalization(axis=1)(layers.Concatenate(axis=1)([x, x]))
    model = keras.Model(start, last(x))
    expected = ReceptiveField((5, 3), (1, 2), (-1, 0))
    assert field_of(model, noise(1, 3, 16, 12), last) == ("input", expected)


APPLICATIONS = {
    "VGG16": ("block4_conv2", 128),
    "ResNet50": ("conv3_block3_2_conv", 160),
    "MobileNetV2": ("block_6_depthwise", 224),
    "DenseNet121": ("conv3_block6_2_conv", 256),
    "InceptionV3": ("mixed2", 224),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_fields_in_published_architectures(name):
    """At one place, the first and the last row and column of the field change the value."""
    layer_name, side = APPLICATIONS[name]
    with double_precision():
        model = getattr(keras.applications, name)(
            weights=None, include_top=False, input_shape=(side, side, 3)
        )
        layer = with_positive_weights(model).get_layer(layer_name)
        _, field = field_of(model, np.zeros((1, side, side, 3)), layer)
        outputs = keras.Model(model.inputs[0], layer.output)
        y = layer.output.shape[1] // 2
        rows, columns = field.at(y, y)
        assert min(rows.start, columns.start) > 0
        assert max(rows.stop, columns.stop) < side
        images = np.zeros((9, side, side, 3))
        images[1, : rows.start] = images[2, rows.stop :] = 1
        images[3, :, : columns.start] = images[4, :, columns.stop :] = 1
        images[5, rows.start] = images[6, rows.stop - 1] = 1
        images[7, :, columns.start] = images[8, :, columns.stop - 1] = 1
        changed = [
            bool(changing(outputs(images[[0, n]], training=False))[0, y, y]) for n in range(1, 9)
        ]
    assert changed == [False] * 4 + [True] * 4


def test_tensors_and_graph_tell_the_same_connections():
    """What the graph tells is used where a tensor was converted; without it those are unknown."""
    model = small_model()
    images = {"picture": noise(1, 16, 12, 3)}
    assert traced(model, images)[1] == traced(model, images, by_graph=False)[1] != {}
