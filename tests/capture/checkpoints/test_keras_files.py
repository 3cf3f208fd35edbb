"""Every format of Keras gives what the tracker takes from the same model."""

import gc
from contextlib import contextmanager

import numpy as np
import pytest

from filtertrack.capture.checkpoints.file_formats import open_checkpoint
from filtertrack.capture.tracked_layers import TrackedLayers

pytest.importorskip("h5py")

WITH_CONFIG = (".keras", ".h5")
WEIGHTS = (".weights.h5", ".weights.json", ".legacy-weights.h5")
IN_CONFIG = ("strides", "dilation", "padding", "groups", "activation", "data_format", "trainable")
ALWAYS = ("name", "kernel", "bias", "kernel_shape", "axes", "shape", "dtype", "class_name")


def every_layer(keras):
    """Yield a small model for each kind of layer, by name."""
    layers = keras.layers
    for rank in (1, 2, 3):
        inputs = keras.Input((8,) * rank + (4,))
        x = inputs
        for name in (f"Conv{rank}D", f"Conv{rank}DTranspose"):
            make = getattr(layers, name)
            x = make(6, 3, padding="same", activation="relu")(x)
            x = make(4, 2, strides=2, use_bias=False, name=f"given_{rank}_{name}")(x)
        yield f"convolutions of {rank} axes", keras.Model(inputs, x)
        yield (
            f"ConvLSTM{rank}D",
            keras.Sequential(
                [
                    keras.Input((2,) + (5,) * rank + (3,)),
                    getattr(layers, f"ConvLSTM{rank}D")(2, 2, return_sequences=True),
                    layers.Bidirectional(getattr(layers, f"ConvLSTM{rank}D")(2, 2, strides=2)),
                ]
            ),
        )
    for rank in (1, 2):
        depthwise = getattr(layers, f"DepthwiseConv{rank}D")
        separable = getattr(layers, f"SeparableConv{rank}D")
        yield (
            f"depthwise of {rank} axes",
            keras.Sequential(
                [
                    keras.Input((9,) * rank + (3,)),
                    depthwise(3, depth_multiplier=2, strides=2),
                    depthwise(2, use_bias=False),
                    separable(4, 2, use_bias=False),
                    separable(5, 2, dilation_rate=1, activation="gelu", name="sep"),
                ]
            ),
        )


def pictures(keras, *layers, size=(12, 12, 4)):
    return keras.Sequential([keras.Input(size), *layers])


def frozen(keras):
    model = pictures(keras, keras.layers.Conv2D(3, 3), keras.layers.Conv2D(4, 3, name="named"))
    model.layers[0].trainable = False
    return model


def nested(keras):
    """Two nested models with the same layer names, one functional, one sequential, and deeper."""
    layers = keras.layers
    one = pictures(keras, layers.Conv2D(4, 1, name="c"), layers.Conv2D(4, 1), layers.Conv2D(4, 1))
    inputs = keras.Input((12, 12, 4))
    two = keras.Model(
        inputs, layers.Conv2D(4, 1)(layers.Conv2D(4, 1, name="c")(one(inputs))), name="two"
    )
    return keras.Model(inputs, layers.Conv2D(2, 1)(two(layers.Conv2D(4, 1)(inputs))))


def shared(keras):
    conv, inputs = keras.layers.Conv2D(4, 3, padding="same"), keras.Input((12, 12, 4))
    x = keras.layers.Conv2D(4, 3, padding="same")(conv(conv(inputs)))
    return keras.Model(inputs, keras.layers.Add()([x, conv(x)]))


def with_others(keras):
    """Layers with variables of three axes and more that do not convolve."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 4))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(inputs))
    x = layers.PReLU()(x)
    x = layers.LayerNormalization(axis=(1, 2, 3))(x)
    x = layers.Reshape((64, 4))(x)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.MultiHeadAttention(2, 3, use_bias=False, name="attention")(x, x)
    x = layers.EinsumDense("abc,cde->abde", (None, 2, 3))(x)
    x = layers.Reshape((64, 6))(x)
    model = keras.Model(inputs, layers.Conv1D(3, 2)(x))
    model.compile("adam", "mse")
    model.train_on_batch(np.zeros((1, 8, 8, 4)), np.zeros((1, 63, 3)))
    return model


def in_time(keras):
    layers = keras.layers
    return pictures(
        keras,
        layers.TimeDistributed(layers.Conv2D(3, 3)),
        layers.TimeDistributed(layers.Conv2D(3, 3, name="named", strides=2)),
        size=(2, 12, 12, 4),
    )


def grouped(keras):
    layers = keras.layers
    return pictures(
        keras,
        layers.Conv2D(4, 3, groups=2, dilation_rate=2, activation=layers.LeakyReLU()),
        layers.Conv2D(4, (3, 1), strides=(2, 1), padding="same", activation=keras.ops.tanh),
    )


def subclassed_layer(keras):
    class Mine(keras.layers.Conv2D):
        pass

    @keras.saving.register_keras_serializable("filtertrack-test")
    class Registered(keras.layers.Conv2DTranspose):
        pass

    return pictures(keras, Mine(3, 3, use_bias=False), Registered(5, 2), Mine(4, 2, name="named"))


def many(keras):
    """More than ten layers, whose groups sort ``conv2d_10`` before ``conv2d_2``."""
    return pictures(keras, *(keras.layers.Conv2D(n + 1, 1) for n in range(12)))


def optimized(keras):
    model = pictures(keras, keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 3))
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((1, 12, 12, 4)), np.ones((1, 8, 8, 4)))
    return model


def narrow(keras):
    with policy(keras, "bfloat16"):
        return pictures(keras, keras.layers.Conv2D(3, 3), keras.layers.Conv2D(3, 1))


@contextmanager
def policy(keras, name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    yield
    keras.config.set_dtype_policy(before)


def half(keras):
    with policy(keras, "float16"):
        return pictures(keras, keras.layers.Conv2D(3, 3), keras.layers.Conv2D(3, 1))


MODELS = (
    frozen,
    nested,
    shared,
    with_others,
    in_time,
    grouped,
    subclassed_layer,
    many,
    optimized,
    narrow,
    half,
)


def check(model, path, fields, *, ordered):
    """Check that a file gives what the tracker takes, in the same order if ``ordered``."""
    tracked = TrackedLayers(model)
    with open_checkpoint(path) as file:
        theirs = {info.name: info for info in tracked.infos}
        ours = {info.name: info for info in file.infos}
        assert sorted(ours) == sorted(theirs)
        if ordered:
            assert list(ours) == list(theirs)
        for name, info in ours.items():
            for field in fields:
                assert getattr(info, field) == getattr(theirs[name], field), (name, field)
        expected, found = tracked.read(), file.read()
        assert sorted(found) == sorted(expected)
        for name, array in expected.items():
            wide = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
            assert found[name].dtype == wide.dtype
            assert np.array_equal(found[name], wide, equal_nan=True), name
        one = file.infos[-1]
        assert set(file.read([one])) == {one.kernel, *([one.bias] if one.bias else [])}
        return file.remarks


def randomize(model):
    rng = np.random.default_rng(7)
    for variable in model.variables:
        if "float" in str(variable.dtype):
            variable.assign(rng.normal(size=variable.shape))


@pytest.mark.parametrize("kind", [*WITH_CONFIG, *WEIGHTS])
def test_every_layer_class_equals_what_the_tracker_takes(kind, save):
    """Names, shapes, options and values, for each class of convolution."""
    import keras

    for name, model in every_layer(keras):
        randomize(model)
        fields = ALWAYS + (IN_CONFIG if kind in WITH_CONFIG else ())
        if kind == WEIGHTS[-1]:  # names, but no classes
            fields = tuple(f for f in fields if f not in ("class_name", "axes", "shape"))
        remarks = check(model, save(model, kind), fields, ordered=kind not in WEIGHTS[:2])
        assert not remarks or kind in WEIGHTS, (name, remarks)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("kind", [*WITH_CONFIG, *WEIGHTS])
def test_every_kind_of_model_equals_what_the_tracker_takes(kind, make, save):
    """Names, shapes, options and values, whatever the model is made of."""
    import keras

    model = make(keras)
    randomize(model)
    fields = ALWAYS + (IN_CONFIG if kind in WITH_CONFIG else ())
    if make is subclassed_layer and kind in WEIGHTS:
        fields = tuple(field for field in fields if field not in ("class_name", "axes", "shape"))
    if make is subclassed_layer and kind == WEIGHTS[-1]:
        keras.backend.clear_session()  # automatic names of unknown classes are kept
        model = make(keras)
    remarks = check(model, save(model, kind), fields, ordered=kind not in WEIGHTS[:2])
    assert not remarks or kind in WEIGHTS


def test_a_subclassed_model_gives_its_kernels_and_says_what_the_file_lacks(save):
    """The arrays are those of the model; names that only the attributes tell are replaced."""
    import keras

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [keras.layers.Conv2D(3, 3), keras.layers.BatchNormalization()]
            self.blocks += [keras.layers.Conv2D(2, 3), keras.layers.Conv2D(2, 1, name="given")]
            self.down = {"a": keras.layers.SeparableConv2D(4, 2)}
            self.stem = keras.layers.Conv2DTranspose(5, 2)

        def call(self, x):
            for layer in (*self.blocks, self.down["a"], self.stem):
                x = layer(x)
            return x

    model = Net()
    model(np.zeros((1, 12, 12, 3), "float32"))
    randomize(model)
    expected = sorted(a.tobytes() for a in TrackedLayers(model).read().values())
    for kind in (".keras", ".weights.h5", ".weights.json"):
        with open_checkpoint(save(model, kind)) as file:
            assert sorted(array.tobytes() for array in file.read().values()) == expected
            assert [info.name for info in file.infos] == [
                "blocks/conv2d",
                "blocks/conv2d_1",
                "given",
                "down/separable_conv2d/depthwise_kernel",
                "down/separable_conv2d/pointwise_kernel",
                "conv2d_transpose",
            ]
            assert file.infos[-1].class_name == "Conv2DTranspose"
            assert any("subclassed" in remark for remark in file.remarks)
    with open_checkpoint(save(model, ".legacy-weights.h5")) as file:
        assert sorted(array.tobytes() for array in file.read().values()) == expected


@pytest.mark.parametrize("kind", [*WITH_CONFIG, *WEIGHTS])
def test_lora_is_part_of_the_kernel(kind, save):
    """The kernel is the one the layer convolves with; the legacy format stores its factors."""
    import keras

    model = pictures(keras, keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 3, name="b"))
    for layer in model.layers:
        layer.enable_lora(2, lora_alpha=6 if kind != WEIGHTS[-1] else None)
    randomize(model)
    expected = TrackedLayers(model).read()
    with open_checkpoint(save(model, kind)) as file:
        found = file.read()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        exact = kind not in (".h5", WEIGHTS[-1])
        np.testing.assert_allclose(found[name], array, rtol=0, atol=0 if exact else 1e-5)


SMALL = {
    "ResNet50V2": {"input_shape": (32, 32, 3), "include_top": False},
    "MobileNetV2": {"input_shape": (32, 32, 3), "include_top": False, "alpha": 0.35},
}


FAMILIES = [
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
]
"""An application of each kind: the others have the same layers, more often or wider."""


def check_application(name, save, **options):
    import keras

    model = getattr(keras.applications, name)(weights=None, **options)
    for kind in (*WITH_CONFIG, *WEIGHTS):
        fields = ALWAYS + (IN_CONFIG if kind in WITH_CONFIG else ())
        if kind == WEIGHTS[-1]:
            fields = tuple(f for f in fields if f not in ("class_name", "axes", "shape"))
        path = save(model, kind)
        check(model, path, fields, ordered=kind not in WEIGHTS[:2])
        for file in path.parent.iterdir():
            file.unlink()
    del model
    gc.collect()
    keras.backend.clear_session()


@pytest.mark.parametrize("name", SMALL)
def test_a_small_application_equals_what_the_tracker_takes(name, save):
    """In every format, in the model's order where the file tells it."""
    check_application(name, save, **SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_an_application_of_each_kind_equals_what_the_tracker_takes(name, save):
    """In every format, in the model's order where the file tells it."""
    check_application(name, save)
