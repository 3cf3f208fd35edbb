import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.capture.checkpoints.kernel_candidates import CONVENTIONS, StateArray
from filtertrack.capture.checkpoints.state_kernels import kernels_in_state
from filtertrack.errors import FiltertrackError


def found(shapes, **options):
    """Return the kernels of arrays of some shapes by name, and the remarks."""
    arrays = {name: StateArray(shape, "float32") for name, shape in shapes.items()}
    kernels, remarks = kernels_in_state(arrays, CONVENTIONS["torch"], **options)
    return {kernel.info.name: kernel.info for kernel in kernels}, remarks


@pytest.mark.parametrize(
    ("name", "shape", "bias", "class_name", "canonical"),
    [
        ("a.kernel", (3, 5, 2, 4), 4, "Conv2D", (4, 3, 5, 2)),
        ("a.kernel", (3, 5, 2, 4), None, "Conv2D", (4, 3, 5, 2)),
        ("a.kernel", (3, 5, 4, 2), 4, "Conv2DTranspose", (4, 3, 5, 2)),
        ("a.kernel", (3, 5, 4, 2), 8, "DepthwiseConv2D", (8, 3, 5, 1)),
        ("a.kernel", (3, 5, 4, 1), 4, "DepthwiseConv2D", (4, 3, 5, 1)),
        ("a.kernel", (3, 5, 4, 1), 1, "Conv2D", (1, 3, 5, 4)),
        ("a.kernel", (3, 5, 4, 1), None, "Conv2D", (1, 3, 5, 4)),
        ("deconv.kernel", (3, 5, 4, 1), 4, "Conv2DTranspose", (4, 3, 5, 1)),
        ("conv_dw_1.kernel", (3, 5, 4, 1), None, "DepthwiseConv2D", (4, 3, 5, 1)),
        ("up_transpose.kernel", (3, 5, 4, 2), None, "Conv2DTranspose", (4, 3, 5, 2)),
        ("ConvTranspose_0.kernel", (3, 5, 2, 4), None, "Conv2D", (4, 3, 5, 2)),  # flax
        ("a.depthwise_kernel", (3, 5, 4, 2), None, "DepthwiseConv2D", (8, 3, 5, 1)),
        ("a.kernel", (7, 2, 4), 4, "Conv1D", (4, 1, 7, 2)),
        ("a.kernel", (2, 3, 5, 2, 4), 4, "Conv3D", (4, 3, 10, 2)),
        ("a.w", (3, 5, 2, 4), None, "Conv2D", (4, 3, 5, 2)),
        ("a.weights", (3, 5, 2, 4), None, "Conv2D", (4, 3, 5, 2)),
        ("a.weight", (4, 2, 3, 5), 4, "Conv2d", (4, 3, 5, 2)),
        ("a.weight", (2, 4, 3, 5), 4, "ConvTranspose2d", (4, 3, 5, 2)),
        ("a.weight", (4, 2, 7), None, "Conv1d", (4, 1, 7, 2)),
        ("a.weight", (4, 2, 2, 3, 5), None, "Conv3d", (4, 3, 10, 2)),
    ],
)
def test_the_order_of_axes_follows_from_name_and_bias(name, shape, bias, class_name, canonical):
    """Of the kernels of Keras, flax, TF-Slim, Sonnet and torch."""
    shapes = {name: shape}
    if bias is not None:
        shapes[f"{name.rpartition('.')[0]}.bias"] = (bias,)
    kernels, _ = found(shapes)
    (info,) = kernels.values()
    assert (info.class_name, info.shape) == (class_name, canonical)
    assert (info.bias is None) == (bias is None)


def test_a_bias_of_another_length_is_not_that_of_the_filters():
    """The kernel is taken without it."""
    kernels, _ = found({"a.weight": (4, 3, 3, 3), "a.bias": (5,)})
    assert kernels["a"].bias is None


@pytest.mark.parametrize(
    ("shapes", "reported"),
    [
        ({"0.weight": (16, 4, 3, 3)}, ["0"]),
        ({"0.weight": (16, 4, 3, 3), "0.bias": (4,)}, []),
        ({"0.weight": (16, 4, 3, 3), "1.weight": (16,)}, []),
        ({"0.weight": (16, 4, 3, 3), "1.weight": (5,)}, ["0"]),  # norms something else
        ({"a.weight": (16, 4, 3)}, ["a"]),
        ({"conv1.weight": (16, 4, 3, 3), "bn1.weight": (16,)}, []),
        ({"conv1.weight": (16, 4, 3, 3), "bn1.weight": (4,)}, ["conv1"]),
        ({"b.conv3.weight": (16, 4, 1, 1), "b.bn2.weight": (4,), "b.bn3.weight": (16,)}, []),
        ({"a.weight": (8, 8, 3, 3), "a.bias": (8,)}, []),
        ({"decoder.a.weight": (8, 8, 3, 3), "decoder.a.bias": (8,)}, ["decoder/a"]),
        ({"up1.weight": (8, 8, 3, 3)}, ["up1"]),
        ({"upper.weight": (8, 8, 3, 3)}, []),
        ({"a.weight": (8, 8, 3, 3), "b.weight": (8, 4, 3, 3), "b.bias": (4,)}, ["a"]),
        ({"a.weight": (8, 8, 3, 3), "b.weight": (8, 6, 3, 3), "b.bias": (12,)}, ["a"]),
        ({"a.kernel": (3, 3, 16, 4)}, []),
        ({"a.kernel": (3, 3, 8, 8), "b.kernel": (3, 3, 4, 8), "b.bias": (4,)}, ["a"]),
        ({"a.w": (3, 3, 8, 8), "b.kernel": (3, 3, 4, 8), "b.bias": (4,)}, []),
    ],
)
def test_kernels_that_may_be_transposed_are_reported(shapes, reported):
    """If neither bias nor norm decides; probable convolutions only beside transposed ones."""
    _, remarks = found(shapes)
    sentences = [each for each in remarks if "may be of transposed" in each]
    assert len(sentences) == bool(reported)
    for name in reported:
        (owner,) = [array for array in shapes if array.startswith(f"{name}.".replace("/", "."))][:1]
        letters = "HWOI" if owner.endswith("kernel") else "IO" + "HW"[4 - len(shapes[owner]) :]
        assert f"others: {owner.replace('.', '/')}; axes={letters} " in sentences[0]


def test_mlx_stores_transposed_kernels_as_others():
    """There is nothing to decide."""
    arrays = {"a.weight": StateArray((16, 3, 3, 4), "float32")}
    assert not kernels_in_state(arrays, CONVENTIONS["mlx"])[1]


@pytest.mark.parametrize("name", ["pos_embedding", "patch_norm", "ln1"])
def test_kernels_of_several_spatial_axes_are_taken_in_spite_of_the_name(name):
    """If their sides are those of a kernel."""
    kernels, remarks = found({f"{name}.weight": (16, 3, 3, 3), f"{name}.bias": (16,)})
    assert list(kernels) == [name]
    assert not remarks


def test_kernels_of_one_axis_without_conv_in_the_name_are_reported():
    """The weight of a bilinear layer has three axes as well."""
    shapes = {"pair.weight": (7, 5, 6), "pair.bias": (7,), "conv.weight": (4, 2, 3)}
    shapes["conv.bias"] = (4,)
    _, (remark,) = found(shapes)
    assert "have no 'conv': pair/weight" in remark


def test_kernels_of_a_separable_layer_have_names_of_their_own():
    """The bias belongs to the second one."""
    shapes = {
        "s.depthwise_kernel": (3, 3, 2, 1),
        "s.pointwise_kernel": (1, 1, 2, 4),
        "s.bias": (4,),
    }
    kernels, _ = found(shapes)
    assert list(kernels) == ["s/depthwise_kernel", "s/pointwise_kernel"]
    assert [info.bias for info in kernels.values()] == [None, "s/bias"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("norm.weight", (4, 3, 3)),
        ("pos_embedding.weight", (1, 16, 4, 4)),
        ("table.weight", (4, 300, 3, 500)),
        ("a.weight", (4, 30, 40)),
        ("a.weight", (0, 3, 3, 3)),
        ("a.weight", (4, 3)),
        ("a.in_proj_weight", (4, 3, 3)),
        ("a.weight", (1 << 30, 1 << 30, 3, 3)),
        ("query.kernel", (4, 2, 2)),
        ("a.running_var", (4, 3, 3)),
    ],
)
def test_arrays_that_are_no_kernels_are_not_taken(name, shape):
    """By name or shape."""
    assert not found({name: shape})[0]


def test_a_bias_of_several_axes_is_that_of_a_norm_or_attention_layer():
    """Its weight is no kernel."""
    assert not found({"a.weight": (4, 3, 3), "a.bias": (4, 3, 3)})[0]
    assert not found({"conv.kernel": (8, 4, 2), "conv.bias": (4, 2)})[0]


@pytest.mark.parametrize("shape", [(32, 1, 251), (30, 40, 16)])
def test_flat_kernels_of_one_channel_or_16_elements_are_taken(shape):
    """As filter banks of sounds."""
    assert len(found({"a.weight": shape})[0]) == 1


@pytest.mark.parametrize(
    ("name", "shape"),
    [("pos_conv_embed.conv.weight", (768, 48, 128)), ("conv1.weight", (1024, 1, 512, 1))],
)
def test_large_kernels_are_taken_by_name(name, shape):
    """As those of wav2vec2 and CREPE."""
    assert len(found({name: shape})[0]) == 1


@given(
    shapes=st.dictionaries(
        st.text(alphabet="ab01._/", max_size=6).map(lambda name: f"{name}.weight")
        | st.sampled_from(
            ["a.bias", "a.weight_g", "a.weight_v", "a.weight_u", "a.weight_orig", "a.kernel"]
        ),
        st.lists(st.integers(0, 6), max_size=6).map(tuple),
        max_size=8,
    ),
    axes=st.none() | st.sampled_from(["OIHW", "HWIO"]),
)
def test_any_names_and_shapes_give_consistent_descriptions(shapes, axes):
    """Unique names of arrays in a snapshot, each of an array in the file."""
    from filtertrack import FiltertrackError

    arrays = {name: StateArray(shape, "float32") for name, shape in shapes.items()}
    for convention in CONVENTIONS.values():
        try:
            kernels, _ = kernels_in_state(arrays, convention, axes=axes)
        except FiltertrackError as error:
            assert "axes" in str(error)  # noqa: PT017 - an error is allowed, not expected
            continue
        members = [m for k in kernels for m in (k.info.kernel, k.info.bias) if m]
        assert len(members) == len(set(members))
        assert {name for k in kernels for name in k.arrays} <= arrays.keys()


def test_many_hostile_names_take_seconds():
    """20,000 kernels whose names become the same safe name, and long names of many parts."""
    arrays = {
        f"{chr(0x4E00 + n % 20000)}{chr(0x4E00 + n // 20000)}.weight": (1, 1, 1)
        for n in range(20_000)
    }
    for part in ("module.", "pos" + "emb" * 1000 + "!.", "ema_", "optim_"):
        arrays[part * 100_000 + "weight"] = (1, 1, 1)
    began = time.perf_counter()
    kernels, _ = found(arrays)
    assert len(kernels) == 20_000
    assert time.perf_counter() - began < 20


def test_arrays_of_other_names_with_the_given_number_of_axes_are_named():
    """The file has such arrays, but none is known to be a kernel."""
    state = {"conv1": StateArray((4, 3, 3, 3), "float32"), "b": StateArray((4,), "float32")}
    message = r"no kernel of as many axes: no array named weight or kernel, but conv1; give these"
    with pytest.raises(FiltertrackError, match=message):
        kernels_in_state(state, CONVENTIONS["torch"], axes="OIHW")
    with pytest.raises(FiltertrackError, match=r"no kernel of as many axes$"):
        kernels_in_state(state, CONVENTIONS["torch"], axes="OIW")
