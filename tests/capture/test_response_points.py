import numpy as np
import pytest

from filtertrack import Probes
from filtertrack.capture.tracked_layers import TrackedLayers


@pytest.fixture
def point(keras):
    """Return what is read of ``conv`` in a functional model, and whether it is rectified."""

    def find(after=lambda x: x, **options):
        first = keras.Input((6, 6, 1))
        conv = keras.layers.Conv2D(2, 3, padding="same", name="conv", **options)
        model = keras.Model(first, after(conv(first)))
        source = TrackedLayers(model, probes=Probes(np.ones((1, 6, 6, 1), "float32")))
        layer = source.prepare_probes().stored.layers["conv"]
        return layer.read, layer.rectified

    return find


@pytest.mark.parametrize(
    ("activation", "rectified"),
    [("relu", True), ("relu6", True), ("hard_sigmoid", True), ("gelu", False), ("tanh", False)],
)
def test_own_activation_is_read_in_the_layer(point, activation, rectified):
    """Only functions that are never negative, and 0 below a threshold, are rectified."""
    assert point(activation=activation) == (f"the output of conv ({activation})", rectified)


def test_activation_may_be_a_layer(point, keras):
    """Given to the convolution instead of a name."""
    read, rectified = point(activation=keras.layers.ReLU())
    assert (read, rectified) == ("the output of conv (relu)", True)
    assert not point(activation=keras.layers.LeakyReLU())[1]


@pytest.mark.parametrize(
    ("name", "options", "rectified"),
    [
        ("ReLU", {}, True),
        ("ReLU", {"max_value": 6}, True),
        ("ReLU", {"threshold": 0.5}, True),
        ("ReLU", {"negative_slope": 0.1}, False),
        ("Activation", {"activation": "relu"}, True),
        ("Activation", {"activation": "silu"}, False),
        ("LeakyReLU", {}, False),
        ("PReLU", {}, False),
        ("ELU", {}, False),
    ],
)
def test_activation_layer_is_read_behind_normalization_and_dropout(
    point, keras, name, options, rectified
):
    layers = keras.layers

    def after(x):
        x = layers.SpatialDropout2D(0.2)(layers.Dropout(0.1)(layers.BatchNormalization()(x)))
        return getattr(layers, name)(**options, name="act")(layers.GaussianNoise(0.1)(x))

    assert point(after) == ("after act", rectified)


@pytest.mark.parametrize(
    ("operation", "rectified"),
    [
        (lambda keras, x: keras.ops.relu(x), True),
        (lambda keras, x: keras.ops.relu6(x), True),
        (lambda keras, x: keras.activations.relu(x), True),
        (lambda keras, x: keras.activations.relu(x, negative_slope=0.2), False),
        (lambda keras, x: keras.ops.leaky_relu(x), False),
        (lambda keras, x: keras.ops.gelu(x), False),
    ],
)
def test_operation_of_a_graph_is_an_activation(point, keras, operation, rectified):
    read, found = point(lambda x: operation(keras, keras.layers.BatchNormalization()(x)))
    assert read.startswith("after ")
    assert found == rectified


def test_linear_activation_is_passed(point, keras):
    """``Activation("linear")`` returns its input."""
    layers = keras.layers
    assert (
        point(lambda x: layers.ReLU(name="act")(layers.Activation("linear")(x)))[0] == "after act"
    )


@pytest.mark.parametrize("kind", ["sum", "pooling", "two users", "padding"])
def test_own_output_is_read_where_no_activation_follows_directly(point, keras, kind):
    """After a sum, pooling or padding, a ReLU shows something else than the filter."""
    layers = keras.layers

    def after(x):
        relu = layers.ReLU(name="act")
        if kind == "sum":
            return relu(layers.Add()([x, layers.Dense(2)(x)]))
        if kind == "two users":
            return layers.Add()([relu(x), x])
        return relu((layers.MaxPooling2D() if kind == "pooling" else layers.ZeroPadding2D())(x))

    assert point(after) == ("the output of conv; no activation follows directly", False)


def test_normalization_without_activation_is_said(point, keras):
    """As at the end of a residual block."""
    layers = keras.layers

    def after(x):
        return layers.ReLU()(layers.Add()([layers.BatchNormalization()(x), x]))

    def normalized(x):
        return layers.MaxPooling2D()(layers.BatchNormalization()(x))

    assert point(after)[0] == "the output of conv; no activation follows directly"
    assert point(normalized) == (
        "the output of conv, before normalization; no activation follows directly",
        False,
    )


def test_subclassed_model_shows_layers_that_are_called_directly(keras):
    """The tensors that layers pass to each other show it; an operation between them hides it."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = (keras.layers.Conv2D(2, 3, name=f"conv{n}") for n in (1, 2))
            self.norm, self.relu = keras.layers.BatchNormalization(), keras.layers.ReLU(name="act")

        def call(self, x):
            return self.conv2(self.relu(self.norm(self.conv1(x)))) * 2

    model, images = Model(), np.ones((1, 8, 8, 1), "float32")
    model(images)
    stored = TrackedLayers(model, probes=Probes(images)).prepare_probes().stored
    assert stored.layers["conv1"].read == "after act"
    assert stored.layers["conv2"].read == "the output of conv2; no activation follows directly"
