import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.layers import TrackedLayers


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


def tracked(keras, *layers, shape=(8, 8, 3), select=None):
    return TrackedLayers(keras.Sequential([keras.Input(shape), *layers]), select)


def test_a_convolution_as_keras_holds_it_and_in_our_order(keras):
    """``conv1/kernel`` is Keras's array; its filter k is ``kernel[..., k]``."""
    layer = keras.layers.Conv2D(5, (3, 2), strides=2, name="conv1")
    found = tracked(keras, layer)
    (info,) = found.infos
    assert (info.name, info.class_name) == ("conv1", "Conv2D")
    assert info.path.split("/")[-1] == "conv1"
    assert (info.kernel, info.bias) == ("conv1/kernel", "conv1/bias")
    assert (info.shape, info.strides, info.dtype) == ((5, 3, 2, 3), (2, 2), "float32")
    kernel = found.read()["conv1/kernel"]
    np.testing.assert_array_equal(kernel, layer.get_weights()[0])
    np.testing.assert_array_equal(info.canonical(kernel)[4], kernel[..., 4])


@pytest.mark.parametrize(
    ("make", "shape", "expected", "one_filter"),
    [
        (lambda k: k.Conv1D(5, 3), (8, 2), (5, 1, 3, 2), lambda w, f: w[None, :, :, f]),
        (
            lambda k: k.Conv3D(5, (2, 3, 4)),
            (8, 8, 8, 2),
            (5, 3, 8, 2),
            lambda w, f: np.concatenate(list(w[..., f]), axis=1),
        ),
        (
            lambda k: k.Conv2DTranspose(5, 3),
            (8, 8, 2),
            (5, 3, 3, 2),
            lambda w, f: w[:, :, f, :],
        ),
        (
            lambda k: k.DepthwiseConv2D(3, depth_multiplier=2),
            (8, 8, 4),
            (8, 3, 3, 1),
            lambda w, f: w[:, :, f // 2, f % 2][..., None],
        ),
    ],
    ids=["Conv1D", "Conv3D", "Conv2DTranspose", "DepthwiseConv2D"],
)
def test_the_axes_of_other_convolutions(keras, make, shape, expected, one_filter):
    """Whatever Keras's order, the filter comes first; slices of a 3-D one stand side by side."""
    found = tracked(keras, make(keras.layers), shape=shape)
    (info,) = found.infos
    assert info.shape == expected
    kernel = found.read()[info.kernel]
    for number, drawn in enumerate(info.canonical(kernel)):
        np.testing.assert_array_equal(drawn, one_filter(kernel, number))


def test_depthwise_filters_are_in_the_order_of_the_output(keras):
    """Output channel k of a depthwise layer is what filter k gives."""
    layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    found = tracked(keras, layer, shape=(3, 3, 4))
    picture = np.random.default_rng(0).normal(size=(1, 3, 3, 4)).astype("float32")
    output = keras.ops.convert_to_numpy(layer(picture))[0, 0, 0]
    filters = found.infos[0].canonical(found.read()[found.infos[0].kernel])
    by_hand = [(filters[k, :, :, 0] * picture[0, :, :, k // 2]).sum() for k in range(8)]
    np.testing.assert_allclose(output, by_hand, rtol=1e-5)


def test_both_kernels_of_a_separable_convolution(keras):
    """Two kernels, two names, one bias."""
    found = tracked(keras, keras.layers.SeparableConv2D(6, 3, name="sep"))
    names = {info.name: (info.shape, info.bias) for info in found.infos}
    assert names == {
        "sep/depthwise_kernel": ((3, 3, 3, 1), None),
        "sep/pointwise_kernel": ((6, 1, 1, 3), "sep/bias"),
    }


def test_nested_models_and_shared_layers(keras):
    """Every convolution once, in model order, under its path."""
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1, name="conv")], name="inner"
    )
    inputs = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(3, 1, name="conv")
    model = keras.Model(inputs, shared(inner(conv(shared(inputs)))))
    names = [info.name for info in TrackedLayers(model).infos]
    assert sorted(names) == ["conv", "inner/conv", "shared"]


def test_read_gives_copies(keras):
    """What was read does not change when training goes on."""
    layer = keras.layers.Conv2D(2, 3, name="conv")
    found = tracked(keras, layer)
    before = found.read()["conv/kernel"]
    kept = before.copy()
    layer.set_weights([w + 1 for w in layer.get_weights()])
    np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, ["stem", "block_1", "block_2"]),
        ("stem", ["stem"]),
        ("block_?", ["block_1", "block_2"]),
        (["block_2", "stem"], ["stem", "block_2"]),
        (lambda layer: layer.filters == 2, ["block_2"]),
    ],
    ids=["all", "name", "glob", "list", "function"],
)
def test_choosing_layers(keras, select, expected):
    """By name, glob, list or function; always in model order."""
    convs = [
        keras.layers.Conv2D(n, 1, name=name)
        for n, name in ((4, "stem"), (3, "block_1"), (2, "block_2"))
    ]
    found = tracked(keras, *convs, select=select)
    assert [info.name for info in found.infos] == expected


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("stemm", r"matches 'stemm'. Did you mean 'stem'\? The model has: stem"),
        (["stem", "x*"], r"matches 'x\*'"),
        ([], "empty"),
        ([3], "expected names or classes, got 3"),
        (lambda layer: False, "chose none"),
    ],
    ids=["misspelt", "glob", "empty", "number", "function"],
)
def test_choosing_what_is_not_there(keras, select, message):
    """What matches nothing is an error that says what there is."""
    with pytest.raises(FiltertrackError, match=message):
        tracked(keras, keras.layers.Conv2D(4, 1, name="stem"), select=select)


def test_a_model_without_convolutions(keras):
    """Said before training, with the classes that would count."""
    with pytest.raises(FiltertrackError, match="has no convolution to track"):
        tracked(keras, keras.layers.Flatten(), keras.layers.Dense(2))


def test_a_model_that_is_not_built_yet(keras):
    """Nothing is claimed before the layers exist; ``finish`` finds them."""
    model = keras.Sequential([keras.layers.Conv2D(2, 3, name="conv")])
    found = TrackedLayers(model)
    assert not found.ready
    model.build((None, 8, 8, 3))
    found.finish()
    assert found.ready
    assert [info.name for info in found.infos] == ["conv"]
