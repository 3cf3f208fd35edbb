"""Small models of the kinds that Keras's examples build are tracked, and trained unchanged."""

import numpy as np
import pytest

from filtertrack import FilterTracker, Run
from filtertrack.outputs.run_selection import default_layer


def u_net(keras):
    """Return a model with skip connections, a transposed convolution and a 1x1 head."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    down = layers.Conv2D(2, 3, padding="same", name="down")(inputs)
    deep = layers.Conv2D(4, 3, strides=2, padding="same", name="deep")(down)
    up = layers.Conv2DTranspose(2, 3, strides=2, padding="same", name="up")(deep)
    joined = layers.Concatenate()([down, up])
    outputs = layers.Conv2D(1, 1, name="head")(joined)
    return keras.Model(inputs, outputs), ["down", "deep", "up", "head"], "down"


def volumes(keras):
    """Return a model of 3-D convolutions, as for CT scans."""
    layers = keras.layers
    chain = [layers.Conv3D(2, 3, name="first"), layers.Conv3D(2, 1, name="second")]
    model = keras.Sequential([keras.Input((4, 4, 4, 1)), *chain, layers.GlobalAveragePooling3D()])
    return model, ["first", "second"], "first"


def conv_lstm(keras):
    """Return a model of recurrent convolutions over frames: two kernels for each."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3, 6, 6, 1)),
            layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True, name="lstm"),
            layers.Conv3D(1, 1, name="head"),
        ]
    )
    return model, ["lstm/kernel", "lstm/recurrent_kernel", "head"], "lstm/kernel"


def masked(keras):
    """Return a PixelCNN, whose layers mask their kernels."""

    class PixelConv(keras.layers.Layer):
        def __init__(self, filters, **options):
            super().__init__(**options)
            self.conv = keras.layers.Conv2D(filters, 3, use_bias=False)

        def build(self, shape):
            self.conv.build(shape)
            self.mask = np.ones(self.conv.kernel.shape, "float32")
            self.mask[2:] = 0

        def call(self, x):
            return keras.ops.conv(x, self.effective_kernel(), padding="same")

        def effective_kernel(self):
            return self.conv.kernel * self.mask

    head = keras.layers.Conv2D(1, 1, name="head")
    model = keras.Sequential([keras.Input((6, 6, 1)), PixelConv(3), PixelConv(2), head])
    return model, ["pixel_conv", "pixel_conv_1", "head"], "pixel_conv"


def auto_encoder(keras):
    """Return a VQ-VAE: encoder and decoder are sub-models of a subclassed model."""
    layers = keras.layers

    class AutoEncoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder = keras.Sequential(
                [keras.Input((8, 8, 1)), layers.Conv2D(3, 3, strides=2, padding="same")]
            )
            self.decoder = keras.Sequential(
                [keras.Input((4, 4, 3)), layers.Conv2DTranspose(1, 3, strides=2, padding="same")]
            )

        def call(self, x):
            return self.decoder(self.encoder(x))

    return AutoEncoder(), ["encoder/conv2d", "decoder/conv2d_transpose"], "encoder/conv2d"


def distiller(keras):
    """Return a frozen teacher with its student, whose layers are shown by default."""
    layers = keras.layers

    def net(filters):
        convs = [layers.Conv2D(filters, 3), layers.Conv2D(2, 1), layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((6, 6, 1)), *convs])

    class Distiller(keras.Model):
        def __init__(self):
            super().__init__()
            self.teacher, self.student = net(4), net(2)
            self.teacher.trainable = False

        def call(self, x):
            return self.student(x) - self.teacher(x)

    paths = [
        f"{which}/{name}" for which in ("teacher", "student") for name in ("conv2d", "conv2d_1")
    ]
    return Distiller(), paths, "student/conv2d"


def averaged_copy(keras):
    """Return a DDIM: a network, and a copy of it with the moving average of its weights."""
    layers = keras.layers

    class Averaged(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(2, 3)])
            self.ema_network = keras.models.clone_model(self.network)
            self.ema_network.trainable = False

        def call(self, x):
            return self.network(x)

    return Averaged(), ["network/conv2d", "ema_network/conv2d"], "network/conv2d"


def two_branches(keras):
    """Return a siamese model: a functional model with one sub-model for both inputs."""
    layers = keras.layers
    branch = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Conv2D(2, 1), layers.Conv2D(3, 3)], name="branch"
    )
    inputs = keras.Input((6, 6, 1))
    turned = layers.Permute((2, 1, 3))(inputs)
    model = keras.Model(inputs, layers.Subtract()([branch(inputs), branch(turned)]))
    return model, ["branch/conv2d", "branch/conv2d_1"], "branch/conv2d_1"


def signals(keras):
    """Return a model of Conv1D, depthwise and separable layers, as in keyword spotting."""
    layers = keras.layers
    chain = [
        layers.Conv1D(4, 5, name="conv"),
        layers.DepthwiseConv1D(3, name="depth"),
        layers.SeparableConv1D(4, 3, name="separable"),
        layers.GlobalAveragePooling1D(),
    ]
    paths = ["conv", "depth", "separable/depthwise_kernel", "separable/pointwise_kernel"]
    return keras.Sequential([keras.Input((16, 3)), *chain]), paths, "conv"


KINDS = [
    *(u_net, volumes, conv_lstm, masked, auto_encoder, distiller, averaged_copy, two_branches),
    signals,
]


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_every_kind_of_model_is_tracked_and_trained_unchanged(keras, make, tmp_path, rng):
    """In order, from step 0 to a last snapshot that equals the model, bit for bit."""

    def fit(callbacks):
        keras.utils.set_random_seed(3)
        model, paths, default = make(keras)
        shape = model.inputs[0].shape[1:] if model.built and model.inputs else SHAPES[make]
        x = np.random.default_rng(0).random((4, *shape)).astype("float32")
        y = np.zeros(keras.ops.shape(model(x)), "float32")
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, y, epochs=2, batch_size=2, verbose=0, callbacks=callbacks)
        return model, paths, default

    model, paths, default = fit([FilterTracker(tmp_path)])
    run = Run(tmp_path)
    assert list(run.layers) == paths
    assert run.steps == [0, 1, 2]
    assert default_layer(run) == default
    weights = [keras.ops.convert_to_numpy(each) for each in model.weights]
    for name, stored in run.snapshot(2).arrays.items():
        if "effective" not in name:
            assert any(np.array_equal(stored, weight) for weight in weights)
    alone, _, _ = fit([])
    for ours, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


SHAPES = {auto_encoder: (8, 8, 1), distiller: (6, 6, 1), averaged_copy: (6, 6, 1)}


@pytest.mark.parametrize("pattern", ["generator/*", "ema_network/*"])
def test_a_pattern_chooses_one_of_two_sub_models(keras, pattern, tmp_path):
    """By the name of the sub-model, or the attribute that holds it."""
    layers = keras.layers

    class GAN(keras.Model):
        def __init__(self):
            super().__init__()
            self.critic = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(2, 3)])
            inputs = keras.Input((6, 6, 1))
            self.maker = keras.Model(inputs, layers.Conv2D(3, 3)(inputs), name="generator")
            self.ema_network = keras.models.clone_model(self.critic)

    tracker = FilterTracker(tmp_path, layers=pattern)
    tracker.set_model(GAN())
    tracker.snapshot(0)
    tracker.close()
    assert list(Run(tmp_path).layers) == [pattern.replace("*", "conv2d")]
