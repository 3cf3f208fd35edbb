import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.tracked_layers import TrackedLayers


def tracked(keras, *layers, shape=(8, 8, 3), select=None):
    return TrackedLayers(keras.Sequential([keras.Input(shape), *layers]), select)


def test_a_kernel_is_stored_as_in_keras_and_read_filters_first(keras):
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


AXES = {
    "Conv1D": (lambda k: k.Conv1D(5, 3), (8, 2), (5, 1, 3, 2), lambda w, f: w[None, :, :, f]),
    "Conv2D": (lambda k: k.Conv2D(5, 3), (8, 8, 2), (5, 3, 3, 2), lambda w, f: w[..., f]),
    "Conv2D in groups": (
        lambda k: k.Conv2D(6, 3, groups=2),
        (8, 8, 4),
        (6, 3, 3, 2),
        lambda w, f: w[..., f],
    ),
    "Conv3D": (
        lambda k: k.Conv3D(5, (2, 3, 4)),
        (8, 8, 8, 2),
        (5, 3, 8, 2),
        lambda w, f: np.concatenate(list(w[..., f]), axis=1),
    ),
    "Conv1DTranspose": (
        lambda k: k.Conv1DTranspose(5, 3),
        (8, 2),
        (5, 1, 3, 2),
        lambda w, f: w[None, :, f, :],
    ),
    "Conv2DTranspose": (
        lambda k: k.Conv2DTranspose(5, 3),
        (8, 8, 2),
        (5, 3, 3, 2),
        lambda w, f: w[:, :, f, :],
    ),
    "Conv3DTranspose": (
        lambda k: k.Conv3DTranspose(5, 2),
        (4, 4, 4, 2),
        (5, 2, 4, 2),
        lambda w, f: np.concatenate(list(w[..., f, :]), axis=1),
    ),
    "DepthwiseConv1D": (
        lambda k: k.DepthwiseConv1D(3, depth_multiplier=2),
        (8, 4),
        (8, 1, 3, 1),
        lambda w, f: w[None, :, f // 2, f % 2, None],
    ),
    "DepthwiseConv2D": (
        lambda k: k.DepthwiseConv2D(3, depth_multiplier=2),
        (8, 8, 4),
        (8, 3, 3, 1),
        lambda w, f: w[:, :, f // 2, f % 2, None],
    ),
    "patch embedding": (
        lambda k: k.Conv2D(5, 4, strides=4),
        (8, 8, 3),
        (5, 4, 4, 3),
        lambda w, f: w[..., f],
    ),
}


@pytest.mark.parametrize(("make", "shape", "expected", "one_filter"), AXES.values(), ids=AXES)
def test_the_axes_of_every_convolution(keras, make, shape, expected, one_filter):
    """The filter comes first; slices of a 3-D kernel are side by side."""
    found = tracked(keras, make(keras.layers), shape=shape)
    (info,) = found.infos
    assert info.shape == expected
    kernel = found.read()[info.kernel]
    for number, drawn in enumerate(info.canonical(kernel)):
        np.testing.assert_array_equal(drawn, one_filter(kernel, number))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_conv_lstm_has_two_kernels(keras, rank):
    """The kernel and the recurrent kernel, four gates each; the bias belongs to the kernel."""
    make = getattr(keras.layers, f"ConvLSTM{rank}D")
    shape = (2, *[4] * rank, 3)
    found = tracked(keras, make(5, 2, name="lstm"), shape=shape)
    spatial = {1: (1, 2), 2: (2, 2), 3: (2, 4)}[rank]
    assert {info.name: (info.shape, info.bias) for info in found.infos} == {
        "lstm/kernel": ((20, *spatial, 3), "lstm/bias"),
        "lstm/recurrent_kernel": ((20, *spatial, 5), None),
    }
    assert len(found.read()) == 3


def test_a_separable_conv1d_has_two_kernels(keras):
    """As the 2-D layer."""
    found = tracked(keras, keras.layers.SeparableConv1D(6, 3, name="sep"), shape=(8, 4))
    assert [info.shape for info in found.infos] == [(4, 1, 3, 1), (6, 1, 1, 4)]


@pytest.mark.parametrize("transposed", [False, True])
def test_filter_k_gives_output_channel_k(keras, transposed):
    """As its dot product with the image."""
    make = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
    layer = make(4, 3, use_bias=False)
    found = tracked(keras, layer, shape=(3, 3, 2) if not transposed else (1, 1, 2))
    (info,) = found.infos
    filters = info.canonical(found.read()[info.kernel])
    picture = np.random.default_rng(0).normal(size=(1, *((1, 1) if transposed else (3, 3)), 2))
    output = keras.ops.convert_to_numpy(layer(picture.astype("float32")))[0]
    if transposed:  # one pixel spreads each filter, weighted by its channels
        by_hand = np.einsum("fyxc,c->yxf", filters, picture[0, 0, 0])
    else:
        by_hand = np.einsum("fyxc,yxc->f", filters, picture[0])[None, None]
    np.testing.assert_allclose(output, by_hand, rtol=1e-4, atol=1e-5)


def test_depthwise_filter_k_gives_output_channel_k(keras):
    """Also with a depth multiplier."""
    layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    found = tracked(keras, layer, shape=(3, 3, 4))
    picture = np.random.default_rng(0).normal(size=(1, 3, 3, 4)).astype("float32")
    output = keras.ops.convert_to_numpy(layer(picture))[0, 0, 0]
    filters = found.infos[0].canonical(found.read()[found.infos[0].kernel])
    by_hand = [(filters[k, :, :, 0] * picture[0, :, :, k // 2]).sum() for k in range(8)]
    np.testing.assert_allclose(output, by_hand, rtol=1e-5, atol=1e-6)


def test_a_separable_conv2d_has_two_kernels(keras):
    """Two names, one bias."""
    found = tracked(keras, keras.layers.SeparableConv2D(6, 3, name="sep"))
    names = {info.name: (info.shape, info.bias) for info in found.infos}
    assert names == {
        "sep/depthwise_kernel": ((3, 3, 3, 1), None),
        "sep/pointwise_kernel": ((6, 1, 1, 3), "sep/bias"),
    }


def test_wrapped_layers_are_tracked(keras):
    """Inside TimeDistributed and Bidirectional; each direction has its own name."""
    conv = keras.layers.TimeDistributed(keras.layers.Conv2D(2, 3, name="conv"))
    lstm = keras.layers.Bidirectional(keras.layers.ConvLSTM2D(2, 3, name="lstm"))
    found = tracked(keras, conv, lstm, shape=(2, 8, 8, 3))
    names = [info.name for info in found.infos]
    assert len(set(names)) == 5
    assert sum("forward_lstm" in name for name in names) == 2
    assert sum("backward_lstm" in name for name in names) == 2
    kernels = [w for w in lstm.weights if len(w.shape) == 4]
    stored = found.read()
    for weight in kernels:
        value = keras.ops.convert_to_numpy(weight)
        assert any(np.array_equal(value, array) for array in stored.values())


def test_layers_in_attributes_lists_dicts_and_sub_models_are_found(keras):
    """Of a subclassed model."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.stem = keras.layers.Conv2D(2, 3, padding="same", name="stem")
            self.blocks = [
                keras.layers.Conv2D(2, 3, padding="same", name=f"block_{n}") for n in range(2)
            ]
            self.heads = {"mask": keras.layers.Conv2D(1, 1, name="mask")}
            self.inner = keras.Sequential([keras.layers.Conv2D(2, 1, name="deep")], name="inner")

        def call(self, x):
            x = self.inner(self.stem(x))
            for block in self.blocks:
                x = block(x)
            return self.heads["mask"](x)

    model = Net()
    model(np.zeros((1, 8, 8, 3), "float32"))
    names = [info.name for info in TrackedLayers(model).infos]
    assert sorted(name.split("/")[-1] for name in names) == [
        "block_0",
        "block_1",
        "deep",
        "mask",
        "stem",
    ]
    assert "inner/deep" in names


def test_a_subclass_of_a_convolution_is_tracked(keras):
    """By default."""

    class Mine(keras.layers.Conv2D):
        pass

    (info,) = tracked(keras, Mine(2, 3, name="mine")).infos
    assert info.class_name == "Mine"


def test_another_layer_with_a_kernel_is_tracked_only_on_request(keras):
    """By a function; otherwise the log names it."""

    class Own(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(3, 3, shape[-1], 5), name="kernel")

        def call(self, x):
            return keras.ops.conv(x, self.kernel)

    own = Own(name="own")
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="conv"), own])
    by_default = TrackedLayers(model)
    assert [info.name for info in by_default.infos] == ["conv"]
    (remark,) = by_default.remarks
    assert remark.startswith("not tracked: own: no convolution of Keras; ")
    chosen = TrackedLayers(model, lambda layer: layer.name == "own")
    (info,) = chosen.infos
    assert (info.name, info.shape, info.class_name) == ("own", (5, 3, 3, 2), "Own")
    assert chosen.remarks == []
    kernel = chosen.read()["own/kernel"]
    np.testing.assert_array_equal(kernel, keras.ops.convert_to_numpy(own.kernel))


def test_names_do_not_depend_on_earlier_models_of_the_program(keras):
    """Also of layers that Keras names and numbers."""

    def names():
        keras.backend.clear_session()  # as at a program's start
        convs = [keras.layers.Conv2D(2, 1) for _ in range(3)]
        return [info.name for info in tracked(keras, *convs).infos]

    assert names() == names() == ["conv2d", "conv2d_1", "conv2d_2"]


def test_the_kernel_of_a_layer_with_lora_includes_lora(keras):
    """As the layer convolves with it."""
    layer = keras.layers.Conv2D(4, 3, name="conv")
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    layer.enable_lora(2)
    for weight in layer.trainable_weights:
        weight.assign(keras.random.normal(weight.shape))
    found = TrackedLayers(model)
    low_rank = [keras.ops.convert_to_numpy(w) for w in (layer.lora_kernel_a, layer.lora_kernel_b)]
    alpha = layer.lora_alpha / layer.lora_rank
    expected = keras.ops.convert_to_numpy(layer._kernel) + alpha * np.matmul(*low_rank)
    np.testing.assert_allclose(found.read()["conv/kernel"], expected, rtol=1e-5)


def test_channels_first_kernels_have_the_same_axes(keras):
    """Keras orders both alike; the data format is in the description."""
    layer = keras.layers.Conv2D(4, 3, data_format="channels_first", name="conv")
    found = tracked(keras, layer, shape=(3, 8, 8))
    (info,) = found.infos
    assert (info.shape, info.data_format) == ((4, 3, 3, 3), "channels_first")


def test_shared_layers_are_tracked_once(keras):
    """In model order, under their path."""
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1, name="conv")], name="inner"
    )
    inputs = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(3, 1, name="conv")
    model = keras.Model(inputs, shared(inner(conv(shared(inputs)))))
    names = [info.name for info in TrackedLayers(model).infos]
    assert sorted(names) == ["conv", "inner/conv", "shared"]


def test_read_returns_copies(keras):
    """They do not change with the model."""
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
        ("first", ["stem"]),
        (["block_2", "stem"], ["stem", "block_2"]),
        (lambda layer: layer.filters == 2, ["block_2"]),
    ],
    ids=["all", "first", "list", "function"],
)
def test_the_chosen_layers_are_tracked(keras, select, expected):
    """By a name, a glob or a list."""
    convs = [
        keras.layers.Conv2D(n, 1, name=name)
        for n, name in ((4, "stem"), (3, "block_1"), (2, "block_2"))
    ]
    found = tracked(keras, *convs, select=select)
    assert [info.name for info in found.infos] == expected


def test_layers_may_be_chosen_by_class(keras):
    """Also one of Keras."""
    convs = [keras.layers.Conv2D(4, 1), keras.layers.DepthwiseConv2D(3, name="depth")]
    found = tracked(keras, *convs, select=keras.layers.DepthwiseConv2D)
    assert [info.name for info in found.infos] == ["depth"]


def test_a_model_without_convolutions_is_refused(keras):
    """The error names the supported classes."""
    with pytest.raises(FiltertrackError, match="has no convolution to track"):
        tracked(keras, keras.layers.Flatten(), keras.layers.Dense(2))


def test_layers_of_an_unbuilt_model_are_found_by_finish(keras):
    """Before that there are no descriptions."""
    model = keras.Sequential([keras.layers.Conv2D(2, 3, name="conv")])
    found = TrackedLayers(model)
    assert not found.ready
    model.build((None, 8, 8, 3))
    found.finish()
    assert found.ready
    assert [info.name for info in found.infos] == ["conv"]


def test_a_wrong_pattern_is_refused_if_all_sub_models_are_built(keras):
    """Although the model that contains them is not."""

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]
            self.generator = keras.Sequential(layers)

    model = Pair()
    assert not model.built
    with pytest.raises(FiltertrackError, match="no convolution matches 'generater/\\*'"):
        TrackedLayers(model, "generater/*")
    found = TrackedLayers(model, "generator/*")
    assert [info.name for info in found.infos] == ["generator/conv2d"]
    assert found.ready


def test_a_layer_with_its_own_build_defers_errors_to_finish(keras):
    """Because it may make further convolutions."""

    class Block(keras.layers.Layer):
        def build(self, shape):
            self.conv = keras.layers.Conv2D(2, 3)
            self.conv.build(shape)

    block = Block()
    model = keras.Sequential([block])
    found = TrackedLayers(model, "block/*")
    assert not found.ready
    block.build((None, 8, 8, 3))
    found.finish()
    assert [info.name for info in found.infos] == ["block/conv"]


def test_layers_may_be_chosen_by_their_path_in_keras(keras):
    """Which omits the models that contain the layer."""
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="conv")], name="inner"
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), inner])
    for choice in ("conv", "inner/*", "inner/conv"):
        assert [info.name for info in TrackedLayers(model, choice).infos] == ["inner/conv"]


def test_frozen_layers_are_described_as_frozen(keras):
    """So that pictures can prefer trainable layers."""
    frozen = keras.layers.Conv2D(2, 3, name="frozen", trainable=False)
    found = tracked(keras, frozen, keras.layers.Conv2D(2, 3, name="free"))
    assert [(info.name, info.trainable) for info in found.infos] == [
        ("frozen", False),
        ("free", True),
    ]
