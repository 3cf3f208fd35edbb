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
def test_own_output_is_read_where_no_activation_is_found(point, keras, kind):
    """After a sum, pooling or padding, a ReLU shows something else than the filter."""
    layers = keras.layers

    def after(x):
        relu = layers.ReLU(name="act")
        if kind == "sum":
            return relu(layers.Add()([x, layers.Dense(2)(x)]))
        if kind == "two users":
            return layers.Add()([relu(x), x])
        return relu((layers.MaxPooling2D() if kind == "pooling" else layers.ZeroPadding2D())(x))

    why = (
        "several layers use it"
        if kind in {"sum", "two users"}
        else "no activation was found after it"
    )
    assert point(after) == (f"the output of conv; {why}", False)


def test_normalization_without_activation_is_said(point, keras):
    """As at the end of a residual block."""
    layers = keras.layers

    def after(x):
        return layers.ReLU()(layers.Add()([layers.BatchNormalization()(x), x]))

    def normalized(x):
        return layers.MaxPooling2D()(layers.BatchNormalization()(x))

    assert point(after)[0] == "the output of conv; several layers use it"
    assert point(normalized) == (
        "the output of conv, before normalization; no activation was found after it",
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
    assert stored.layers["conv2"].read == "the output of conv2; no activation was found after it"


def subclassed(keras, function):
    """Return what is read of ``conv1`` and ``conv2`` of a model that calls a function itself."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv1 = keras.layers.Conv2D(2, 3, name="conv1", activation="linear")
            self.conv2 = keras.layers.Conv2D(2, 3, name="conv2")
            self.norm = keras.layers.BatchNormalization()
            self.other = keras.layers.Conv2D(2, 3, activation="relu", name="other")

        def call(self, x):
            hidden = function(self.norm(self.conv1(x)))
            return self.other(function(self.conv2(hidden)))

    model, images = Model(), np.random.default_rng(0).normal(size=(2, 9, 9, 1)).astype("float32")
    model(images)
    made = TrackedLayers(model, probes=Probes(images)).prepare_probes()
    read = dict(made.responses(pytest.fail))
    conv1 = function(model.norm(model.conv1(images)))
    outputs = conv1, function(model.conv2(conv1))
    for name, output in zip(("conv1", "conv2"), outputs, strict=True):
        layer = made.stored.layers[name]
        if layer.read.startswith("after"):
            expected = keras.ops.convert_to_numpy(output).max((1, 2))
            np.testing.assert_allclose(read[name].highest, expected, rtol=1e-5, atol=1e-6)
    return made.stored.layers["conv1"], made.stored.layers["conv2"]


@pytest.mark.parametrize(
    ("function", "name", "rectified"),
    [
        (lambda keras, x: keras.ops.relu(x), "relu", True),
        (lambda keras, x: keras.activations.relu(x), "relu", True),
        (lambda keras, x: keras.activations.relu(x, negative_slope=0.1), "relu", False),
        (lambda keras, x: keras.activations.relu(x, 0.1, 3.0), "relu", False),
        (lambda keras, x: keras.activations.mish(x), "mish", False),
        (lambda keras, x: keras.ops.tanh(x), "tanh", False),
    ],
)
def test_functions_of_keras_that_a_subclassed_model_calls_are_seen(
    keras, function, name, rectified
):
    """Not the calls that layers and other functions make; the receptive field is known behind."""
    before = keras.ops.relu, keras.activations.relu
    first, second = subclassed(keras, lambda x: function(keras, x))
    assert (first.read, first.rectified) == (f"after {name}", rectified)
    assert (second.read, second.rectified) == (f"after {name}", rectified)
    assert second.field.size == (5, 5)
    assert (keras.ops.relu, keras.activations.relu) == before


def test_activation_that_is_not_seen_is_not_denied(keras):
    """As of a function of the user's own, or of the backend."""
    first, _ = subclassed(keras, lambda x: keras.ops.maximum(x, 0))
    assert (
        first.read == "the output of conv1, before normalization; no activation was found after it"
    )
    assert not first.rectified


def test_function_of_the_user_is_no_rectifier(point, keras):
    """Whatever its name is; a layer likewise."""

    def relu(x):
        return keras.ops.leaky_relu(x)

    def linear(x):
        return -x

    class ReLU(keras.layers.ReLU):
        def call(self, x):
            return -super().call(x)

    assert point(activation=relu) == ("the output of conv (relu)", False)
    assert point(activation=linear) == ("the output of conv (linear)", False)
    assert point(keras.layers.Activation(relu, name="act")) == ("after act", False)
    assert point(ReLU(name="act")) == ("after act", False)


def test_output_that_is_changed_in_place_is_read_before(keras):
    """As by a module of torch; the values are those of what is described."""
    torch = pytest.importorskip("torch")
    if keras.backend.backend() != "torch":
        pytest.skip("torch changes tensors in place")
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype("float32")
    conv = keras.layers.Conv2D(2, 3, name="conv")
    relu = keras.layers.TorchModuleWrapper(torch.nn.ReLU(inplace=True))
    model = keras.Sequential([keras.Input((6, 6, 1)), conv, relu, keras.layers.Flatten()])
    made = TrackedLayers(model, probes=Probes(images)).prepare_probes()
    layer, read = made.stored.layers["conv"], dict(made.responses(pytest.fail))["conv"]
    assert layer.read == "the output of conv; no activation was found after it"
    assert not layer.rectified
    expected = keras.ops.convert_to_numpy(conv(images))
    np.testing.assert_allclose(read.lowest, expected.min((1, 2)), rtol=1e-5)
