"""The order and the paths of layers, on models of every way of building one."""

import numpy as np
import pytest

from filtertrack.capture.layer_order import walk
from filtertrack.snapshot import name_parts


def conv_paths(keras, model, **options):
    return [p for p, layer in walk(model, **options) if isinstance(layer, keras.layers.Conv2D)]


def encoder(keras, name=None):
    layers = [keras.layers.Conv2D(4, 3, name="c1"), keras.layers.Conv2D(8, 3, name="c2")]
    return keras.Sequential([keras.Input((16, 16, 3)), *layers], name=name)


def test_layers_of_nested_sequential_models_are_in_order(keras):
    """A sub-model's layers come before what follows the sub-model."""
    head = keras.layers.Conv2D(2, 1, name="head")
    model = keras.Sequential([keras.Input((16, 16, 3)), encoder(keras, "enc"), head])
    assert conv_paths(keras, model) == ["enc/c1", "enc/c2", "head"]


def test_layers_of_a_functional_model_are_in_graph_order(keras):
    """In whatever order they were made."""
    last, first = keras.layers.Conv2D(2, 1, name="last"), keras.layers.Conv2D(2, 1, name="first")
    inputs = keras.Input((8, 8, 3))
    inner = keras.Model(inputs, last(first(inputs)), name="inner")
    outer = keras.Input((8, 8, 3))
    model = keras.Model(outer, keras.layers.Conv2D(1, 1, name="head")(inner(outer)))
    assert conv_paths(keras, model) == ["inner/first", "inner/last", "head"]


def test_layers_of_a_shared_sub_model_are_yielded_once(keras):
    """As in a siamese model."""
    shared, left, right = encoder(keras, "enc"), *(keras.Input((16, 16, 3)) for _ in range(2))
    model = keras.Model([left, right], keras.layers.Subtract()([shared(left), shared(right)]))
    assert conv_paths(keras, model) == ["enc/c1", "enc/c2"]


def test_equal_sub_models_have_different_paths(keras):
    """In functional and subclassed parents."""
    left, right = (keras.Input((16, 16, 3)) for _ in range(2))
    both = [encoder(keras, "left")(left), encoder(keras, "right")(right)]
    functional = keras.Model([left, right], keras.layers.Add()(both))
    assert set(conv_paths(keras, functional)) == {"left/c1", "left/c2", "right/c1", "right/c2"}

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = encoder(keras, "same")
            self.ema_network = keras.models.clone_model(self.network)

    assert conv_paths(keras, Pair()) == [
        *("network/c1", "network/c2"),
        *("ema_network/c1", "ema_network/c2"),
    ]


def make_gan(keras):
    class GAN(keras.Model):
        def __init__(self):
            super().__init__()
            self.discriminator = keras.Sequential(
                [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.Conv2D(2, 3)]
            )
            inputs = keras.Input((8, 8, 3))
            self.generator = keras.Model(inputs, keras.layers.Conv2D(3, 3)(inputs))
            self.blocks = [keras.layers.Conv2D(2, 1) for _ in range(2)]
            self.heads = {"mask": keras.layers.Conv2D(1, 1), "box": keras.layers.Conv2D(1, 1)}
            self._private = keras.layers.Conv2D(1, 1)

    return GAN()


def test_automatic_names_are_replaced_by_attributes_or_numbers(keras):
    """An attribute, an index of a list, a key; in a graph, a number within the class."""
    keras.layers.Conv2D(1, 1)  # advances the numbers of Keras
    expected = [
        *("discriminator/conv2d", "discriminator/conv2d_1", "generator/conv2d"),
        *("blocks/0", "blocks/1", "heads/mask", "heads/box", "_private"),
    ]
    assert conv_paths(keras, make_gan(keras)) == expected
    assert conv_paths(keras, make_gan(keras)) == expected


def test_the_path_of_a_wrapped_layer_is_below_its_wrapper(keras):
    """With the user's name, or the wrapper's attribute."""
    named = keras.layers.TimeDistributed(keras.layers.Conv2D(2, 3, name="tdc"))
    model = keras.Sequential([keras.Input((2, 8, 8, 3)), named])
    assert conv_paths(keras, model) == ["time_distributed/tdc"]


def test_paths_survive_saving_and_loading(keras, tmp_path):
    """Of functional, sequential and wrapped layers; Keras's own paths change."""
    wrapped = keras.layers.TimeDistributed(keras.layers.Conv2D(2, 3))
    model = keras.Sequential(
        [
            keras.Input((2, 16, 16, 3)),
            keras.layers.TimeDistributed(encoder(keras), name="each"),
            wrapped,
        ]
    )
    before = conv_paths(keras, model)
    model.save(tmp_path / "model.keras")
    assert conv_paths(keras, keras.models.load_model(tmp_path / "model.keras")) == before
    assert before == ["each/layer/c1", "each/layer/c2", "time_distributed/layer"]


def test_layers_of_a_subclassed_model_are_in_attribute_order(keras):
    """If nothing else is known."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.stem = keras.layers.Conv2D(2, 3, name="given")
            self.body = encoder(keras)

    assert conv_paths(keras, Net()) == ["given", "body/c1", "body/c2"]


def test_layers_of_known_build_order_are_in_that_order(keras):
    """The others keep their index."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Conv2D(2, 3)
            self.known = encoder(keras)
            self.stem = keras.Sequential([keras.layers.Conv2D(2, 3, name="deep")])

    net = Net()
    builds = {id(net.stem.layers[0]): 0, id(net.head): 1}
    assert conv_paths(keras, net, first_builds=builds) == [
        *("stem/deep", "known/c1", "known/c2"),
        "head",
    ]


def test_layers_inside_a_whole_layer_are_skipped(keras):
    """Only the layer itself is yielded."""
    model = keras.Sequential([keras.Input((16, 16, 3)), encoder(keras, "enc")])
    paths = [path for path, _ in walk(model, is_whole=lambda layer: layer.name == "enc")]
    assert "enc" in paths
    assert not any(path.startswith("enc/") for path in paths)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("conv2d", ("conv2d", 0)), ("conv2d_12", ("conv2d", 12)), ("conv_1_a", ("conv_1_a", 0))],
)
def test_names_are_split_at_the_number_of_keras(name, parts):
    """A name without such a number is not split."""
    assert name_parts(name) == parts


def test_layers_built_in_the_first_step_are_in_call_order(keras, tmp_path):
    """On TensorFlow, where an unbuilt model is built in its first step."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("elsewhere Keras builds before any hook of a callback")
    from filtertrack import FilterTracker, Run

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Conv2D(2, 1)
            self.stem = keras.layers.Conv2D(4, 3)
            self.pool = keras.layers.GlobalAveragePooling2D()

        def call(self, x):
            return self.pool(self.head(self.stem(x)))

    model = Net()
    model.compile("sgd", "mse")
    data = np.zeros((8, 8, 8, 3), "float32"), np.zeros((8, 2), "float32")
    model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path)])
    assert list(Run(tmp_path).layers) == ["stem", "head"]
