"""The dot product of one filter with a patch of an image."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from filtertrack import FiltertrackError, LayerInfo, Moment, Run, Snapshot
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.snapshot import Preprocessing
from filtertrack.storage.dot_product import dot_product_at
from filtertrack.storage.layer_responses import activated, responses


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def layer(sides, channels, filters, *, depthwise=False, **options):
    """Describe a convolution as ``TrackedLayers`` does."""
    last = len(sides) + 1
    space = {1: (0,), 2: (0, 1), 3: (1, 0, 2)}[len(sides)]
    whole = {1: (1, 1, *sides), 2: (1, *sides), 3: sides}[len(sides)]
    if depthwise:
        axes, count, depth = (last - 1, last, *space), channels * filters, 1
    else:
        axes, count, depth = (last, *space, last - 1), filters, channels
    shape, high, wide = (*sides, channels, filters), whole[1], whole[0] * whole[2]
    fields = {"preprocessing": (), "padding": "same", "activation": "relu", **options}
    return LayerInfo(
        "conv", "conv", "Conv", "conv/kernel", "conv/bias", shape, axes,
        (count, high, wide, depth), "float32", **fields,
    )  # fmt: skip


@st.composite
def convolutions(draw):
    """A description of a convolution of any kind, with an image and a place in its feature map."""
    axes = draw(st.integers(1, 3))
    sides = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(axes))
    if axes == 2 and draw(st.booleans()):
        kind = {"depthwise": True}
        groups = channels_of_input = draw(st.integers(1, 3))
        channels, filters = groups, draw(st.integers(1, 2))
        groups = 1
    else:
        kind, groups = {}, draw(st.integers(1, 3))
        channels, filters = draw(st.integers(1, 3)), groups * draw(st.integers(1, 2))
        channels_of_input = channels * groups
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes))
    before = draw(
        st.sampled_from(
            [
                (),
                (Preprocessing((0.5,), (1.0,)),),
                (Preprocessing(pads=pads), Preprocessing((2.0,), (-1.0,))),
                (Preprocessing(pads=pads), Preprocessing(pads=pads)),
            ]
        )
    )
    info = layer(
        sides,
        channels,
        filters,
        **kind,
        strides=strides,
        dilation=dilation,
        groups=groups,
        preprocessing=before,
        padding=draw(
            st.sampled_from(["same", "valid", "causal"] if axes == 1 else ["same", "valid"])
        ),
        activation=draw(st.sampled_from(["linear", "relu", "tanh", "softmax"])),
        data_format=draw(st.sampled_from(["channels_last", "channels_first"])),
    )
    space = [draw(st.integers(3, 7)) for _ in range(axes)]
    first = info.data_format == "channels_first"
    image = noise(*([channels_of_input, *space] if first else [*space, channels_of_input]), seed=1)
    return info, image


@given(convolutions(), st.data())
def test_the_output_is_that_of_the_layer_at_that_place(made, data):
    """Of every kind of convolution, before and after the activation function."""
    info, image = made
    kernels = info.canonical(noise(*info.kernel_shape))
    bias = noise(info.filters, seed=3)
    try:
        outputs = responses(info, kernels, bias, image[np.newaxis])
    except FiltertrackError:  # the image is smaller than the kernel
        assume(False)
    at = tuple(data.draw(st.integers(0, n - 1)) for n in outputs.shape[1:-1])
    number = data.draw(st.integers(0, info.filters - 1))
    found = dot_product_at(info, kernels, bias, image, filter_number=number, at=at)
    assert found.output == pytest.approx(outputs[0][at][number], rel=1e-5, abs=1e-5)
    expected = activated(info, outputs)[0][at][number]
    assert found.activated == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert found.patch.shape == found.kernel.shape == found.product.shape
    assert found.kernel.size == kernels[number].size
    np.testing.assert_array_equal(np.sort(found.kernel.ravel()), np.sort(kernels[number].ravel()))
    assert found.sum == pytest.approx(found.product.sum(), rel=1e-4, abs=1e-4)


@given(convolutions(), st.data())
def test_the_region_is_what_the_patch_was_cut_from(made, data):
    """In the model's input; outside of it the patch is padding."""
    info, image = made
    scaled = any(not step.pads for step in info.preprocessing)
    assume(not scaled)
    kernels = info.canonical(noise(*info.kernel_shape))
    try:
        shape = responses(info, kernels, None, image[np.newaxis]).shape
    except FiltertrackError:
        assume(False)
    at = tuple(data.draw(st.integers(0, n - 1)) for n in shape[1:-1])
    found = dot_product_at(info, kernels, None, image, filter_number=0, at=at)
    pixels = np.moveaxis(image, 0, -1) if info.data_format == "channels_first" else image
    wide = np.pad(pixels, [*[(30, 30)] * (pixels.ndim - 1), (0, 0)])
    apart = info.dilation
    region = tuple(
        slice(part.start + 30, part.stop + 30, n)
        for part, n in zip(found.region, apart, strict=True)
    )
    np.testing.assert_array_equal(found.patch, wide[region][..., found.channels])
    assert found.bias == 0


@pytest.fixture
def first_layer_run(tmp_path):
    """A run of a convolution 3x3 of grey images, and one behind it."""
    infos = [layer((3, 3), 1, 4), layer((3, 3), 4, 2, preprocessing=None)]
    infos[1] = LayerInfo(**{
        **{name: getattr(infos[1], name) for name in infos[1].__slots__},
        "name": "deep", "kernel": "deep/kernel", "bias": None,
    })  # fmt: skip
    run = Run.create(tmp_path / "run", infos)
    for step in (0, 1):
        arrays = {info.kernel: noise(*info.kernel_shape, seed=step) for info in infos}
        run.append(Snapshot(Moment(step, step), {**arrays, "conv/bias": noise(4, seed=9)}))
    return run


def test_a_run_computes_it_at_a_step(first_layer_run):
    """As its ``responses``; an image is an array of any kind of numbers."""
    image = (100 * noise(8, 8, 1)).astype(np.int16)
    for step in (0, 1):
        found = first_layer_run.dot_product("conv", step, image, 2, (0, 7))
        expected = first_layer_run.responses("conv", step, image[np.newaxis])[0, 0, 7, 2]
        assert found.output == pytest.approx(expected, rel=1e-5)
        assert found.region == (slice(-1, 2), slice(6, 9))
        assert not found.patch[0].any()


def test_a_probe_is_given_by_its_number(first_layer_run):
    """Of the input that the layer reads; a number that is not there is an error."""
    images = noise(3, 8, 8, 1)
    read = ProbedLayer("conv", "its output", True, (8, 8), (8, 8), 1, "b")
    inputs = {"a": noise(3, 5), "b": images}
    first_layer_run.store_probes(StoredProbes(inputs, {"conv": read}, 0))
    for number in (2, np.int64(2)):
        found = first_layer_run.dot_product("conv", 1, number, 2, (4, 4))
        np.testing.assert_array_equal(found.patch, images[2, 3:6, 3:6])
    for number in (3, -1):
        with pytest.raises(FiltertrackError, match="the run has 3 probes, numbered from 0 to 2"):
            first_layer_run.dot_product("conv", 1, number, 2, (4, 4))


@pytest.mark.parametrize("value", [1e308, -1e308, 3e38, np.inf, np.nan])
@pytest.mark.parametrize("before", [(), (Preprocessing((2.0,), (1e300,)),)])
def test_images_beyond_float32_give_no_warning(value, before):
    """The values are infinite or NaN; pytest makes warnings of numpy errors."""
    info = layer((3, 3), 1, 4, activation="sigmoid", preprocessing=before)
    kernels, image = noise(4, 3, 3, 1), np.full((8, 8, 1), value)
    kernels[0, 0] = 0
    outputs = activated(info, responses(info, kernels, None, image[np.newaxis]))
    assert outputs.shape == (1, 8, 8, 4)
    found = dot_product_at(info, kernels, None, image, filter_number=0, at=(4, 4))
    assert not np.isfinite(found.product).all()
    assert not np.isfinite(found.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("conv", 0, 0, 0, (0, 0)), "has no probes"),
        (
            ("conv", 0, np.zeros((8, 8, 1)), 4, (0, 0)),
            "filter: expected a whole number from 0 to 3",
        ),
        (("conv", 0, np.zeros((8, 8, 1)), -1, (0, 0)), "filter"),
        (("conv", 0, np.zeros((8, 8, 1)), 1.5, (0, 0)), "filter"),
        (("conv", 0, np.zeros((8, 8, 1)), 0, (0, 8)), "at: expected a column from 0 to 7"),
        (("conv", 0, np.zeros((8, 8, 1)), 0, (-1, 0)), "at"),
        (("conv", 0, np.zeros((8, 8, 1)), 0, (0,)), "at: expected"),
        (("conv", 0, np.zeros((8, 8, 1)), 0, 3), "at: expected"),
        (("conv", 0, np.zeros((8, 8, 1)), 0, "ab"), "at: expected"),
        (("conv", 0, np.zeros((8, 8, 3)), 0, (0, 0)), "takes 1 channels, got 3"),
        (("conv", 0, np.zeros((1, 8, 8, 1)), 0, (0, 0)), "expected numbers of shape"),
        (("conv", 0, "cat.jpg", 0, (0, 0)), "expected numbers of shape"),
        (("conv", 5, np.zeros((8, 8, 1)), 0, (0, 0)), "no snapshot at step 5"),
        (("deep", 0, np.zeros((8, 8, 4)), 0, (0, 0)), "output of other layers"),
        (("other", 0, np.zeros((8, 8, 4)), 0, (0, 0)), "no layer 'other'"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_an_error(first_layer_run, arguments, message):
    with pytest.raises(FiltertrackError, match=message.replace("(", r"\(")):
        first_layer_run.dot_product(*arguments)


def test_an_image_smaller_than_the_kernel_is_an_error():
    info = layer((3, 3), 1, 4, padding="valid")
    with pytest.raises(FiltertrackError, match="smaller than filters"):
        dot_product_at(info, noise(4, 3, 3, 1), None, noise(2, 2, 1), filter_number=0, at=(0, 0))


def test_a_transposed_convolution_is_refused():
    """Each of its outputs adds parts of the kernel, none of which is a patch times the kernel."""
    info = LayerInfo(
        "up", "up", "Conv2DTranspose", "up/kernel", None, (3, 3, 4, 1), (2, 0, 1, 3), (4, 3, 3, 1),
        "float32", padding="same", preprocessing=(),
    )  # fmt: skip
    with pytest.raises(FiltertrackError, match="transposed convolution"):
        dot_product_at(info, noise(4, 3, 3, 1), None, noise(8, 8, 1), filter_number=0, at=(0, 0))


def test_an_activation_that_is_not_known_has_no_value():
    """The output before it is known."""
    info = layer((3, 3), 1, 4, activation="my_function")
    found = dot_product_at(
        info, noise(4, 3, 3, 1), None, noise(8, 8, 1), filter_number=0, at=(3, 3)
    )
    assert found.activated is None
    assert found.output == found.sum


@pytest.mark.parametrize(
    "options", [{"strides": (0, 1)}, {"dilation": (0, 0)}, {"strides": (1, 1, 1)}], ids=str
)
def test_strides_that_do_not_fit_are_an_error(options):
    """As a damaged manifest may hold them."""
    info = layer((3, 3), 1, 4, **options)
    image, kernels = noise(8, 8, 1), noise(4, 3, 3, 1)
    with pytest.raises(FiltertrackError, match="do not fit a kernel"):
        dot_product_at(info, kernels, None, image, filter_number=0, at=(0, 0))
    with pytest.raises(FiltertrackError, match="do not fit a kernel"):
        responses(info, kernels, None, image[np.newaxis])


def test_a_repr_says_how_the_output_follows(first_layer_run):
    found = first_layer_run.dot_product("conv", 1, noise(8, 8, 1), 2, (4, 4))
    assert repr(found) == (
        f"DotProduct(patch of 3×3×1: sum {found.sum:.4g} + bias {found.bias:.4g} = "
        f"{found.output:.4g}, activated {found.activated:.4g})"
    )


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((8, 8, 1), "for one image give image[np.newaxis]"),
        ((3, 8, 8), "for images without channels give images[..., np.newaxis]"),
        ((8, 8), "for one image without channels give image[np.newaxis, ..., np.newaxis]"),
    ],
    ids=str,
)
def test_images_of_too_few_axes_come_with_advice(first_layer_run, shape, advice):
    """Which makes them fit."""
    image = noise(*shape)
    with pytest.raises(FiltertrackError) as error:
        first_layer_run.responses("conv", 1, image)
    assert str(error.value).endswith(advice)
    fitting = eval(advice.rpartition("give ")[2], {"np": np, "image": image, "images": image})  # noqa: S307
    assert first_layer_run.responses("conv", 1, fitting).shape[1:] == (8, 8, 4)
