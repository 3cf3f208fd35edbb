import copy
import functools
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.sources import open_source
from filtertrack.capture.torch_layers import TorchLayers

torch = pytest.importorskip("torch")
nn = torch.nn


def canonical(layers, name):
    """Return a kernel as (filters, height, width, channels)."""
    info = next(info for info in layers.infos if info.name == name)
    return info.canonical(layers.read([info])[info.kernel])


def names_of(layers):
    return [info.name for info in layers.infos]


def random_state():
    return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes()  # noqa: NPY002


@pytest.mark.parametrize(
    ("channels", "filters", "groups"), [(3, 4, 1), (4, 6, 2), (4, 4, 4), (4, 8, 4)]
)
def test_a_filter_of_a_convolution_is_what_it_multiplies_a_patch_with(channels, filters, groups):
    """Also in groups: then a filter has the channels of its group."""
    conv = nn.Conv2d(channels, filters, (3, 2), groups=groups, bias=False)
    patch = torch.randn(1, channels, 3, 2)
    kernels = canonical(TorchLayers(nn.Sequential(conv)), "0")
    in_group, per_group = channels // groups, filters // groups
    for number, kernel in enumerate(kernels):
        first = number // per_group * in_group
        seen = patch[0, first : first + in_group].numpy().transpose(1, 2, 0)
        expected = conv(patch)[0, number, 0, 0].item()
        assert (kernel * seen).sum() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("channels", "filters", "groups"), [(3, 4, 1), (4, 4, 4), (3, 6, 3)])
def test_a_filter_of_a_transposed_convolution_is_its_response_to_one_pixel(
    channels, filters, groups
):
    """The filters of a depthwise one are in the order of its output."""
    conv = nn.ConvTranspose2d(channels, filters, (3, 2), groups=groups, bias=False)
    kernels = canonical(TorchLayers(nn.Sequential(conv)), "0")
    for channel in range(channels):
        pixel = torch.zeros(1, channels, 1, 1)
        pixel[0, channel] = 1
        response = conv(pixel)[0].detach().numpy()
        for number in range(filters):
            own = groups == 1 or number // (filters // groups) == channel
            expected = kernels[number, :, :, channel if groups == 1 else 0] if own else 0
            np.testing.assert_allclose(response[number], np.broadcast_to(expected, (3, 2)))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_every_class_of_convolution_is_described(n, kind):
    """With the options of the layer."""
    conv = getattr(nn, f"{kind}{n}d")(2, 4, 3, stride=2, dilation=2)
    (info,) = TorchLayers(nn.Sequential(conv)).infos
    assert (info.class_name, info.kernel, info.bias) == (f"{kind}{n}d", "0/weight", "0/bias")
    assert (info.strides, info.dilation, info.groups) == ((2,) * n, (2,) * n, 1)
    assert (info.dtype, info.data_format, info.padding) == ("float32", "channels_first", "valid")
    width = 9 if n == 3 else 3  # slices side by side
    assert info.shape == (4, 1 if n == 1 else 3, width, 2)
    assert info.trainable


@pytest.mark.parametrize(
    ("options", "padding"),
    [
        ({}, "valid"),
        ({"padding": "same"}, "same"),
        ({"padding": 1}, "same"),
        ({"padding": 2, "dilation": 2}, "same"),
        ({"padding": 1, "stride": 2}, ""),
        ({"padding": 2}, ""),
        ({"padding": 1, "padding_mode": "reflect"}, ""),
    ],
)
def test_padding_is_named_only_where_it_is_that_of_keras(options, padding):
    """Other amounts have no name."""
    (info,) = TorchLayers(nn.Conv2d(1, 1, 3, **options)).infos
    assert info.padding == padding


def test_names_are_those_of_named_modules():
    """In lists and dictionaries too; a shared module is listed once."""
    shared = nn.Conv2d(2, 2, 3)
    block = nn.ModuleDict({"left": nn.ModuleList([nn.Conv2d(1, 2, 3)]), "right": shared})
    module = nn.Sequential(block, shared, nn.Conv2d(2, 3, 1))
    layers = TorchLayers(module)
    assert names_of(layers) == ["0/left/0", "0/right", "2"]
    assert [info.path for info in layers.infos] == ["0.left.0", "0.right", "2"]
    assert names_of(TorchLayers(shared)) == ["conv2d"]
    with open_source(module) as source:
        assert names_of(source) == names_of(layers)


def test_wrappers_are_no_part_of_the_names():
    """At any depth."""
    inner = nn.Sequential(nn.Conv2d(1, 2, 3))
    compiled = functools.partial(torch.compile, backend="eager")
    outer = nn.Sequential(nn.DataParallel(inner), compiled(nn.Conv2d(2, 2, 3)))
    assert names_of(TorchLayers(compiled(outer))) == ["0/0", "1"]
    assert names_of(TorchLayers(nn.DataParallel(compiled(inner)))) == ["0"]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("first", ["a/0"]),
        ("a/*", ["a/0", "a/1"]),
        ("a.1", ["a/1"]),
        ("1", ["a/1"]),
        (nn.ConvTranspose2d, ["b"]),
        (["b", "a/0"], ["a/0", "b"]),
        (lambda module: module.kernel_size == (1, 1), ["a/1"]),
    ],
)
def test_layers_are_selected_by_name_class_or_function(select, expected):
    """As in ``FilterTracker``; the others are known as well."""
    module = nn.ModuleDict(
        {
            "a": nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1)),
            "b": nn.ConvTranspose2d(2, 1, 3),
        }
    )
    layers = TorchLayers(module, select)
    assert names_of(layers) == expected
    assert {info.name for info in layers.others} == {"a/0", "a/1", "b"} - set(expected)


def test_a_name_that_matches_nothing_is_an_error():
    """It lists the convolutions, and says nothing of Keras."""
    with pytest.raises(FiltertrackError, match=r"no convolution matches 'conv9'.*has: conv1") as e:
        TorchLayers(nn.ModuleDict({"conv1": nn.Conv2d(1, 1, 3)}), "conv9")
    assert "Dense" not in str(e.value)


def plain_weight_norm(conv):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(conv)


def pruned(conv):
    from torch.nn.utils import prune

    return prune.random_unstructured(conv, "weight", 0.5)


class Halved(nn.Module):  # noqa: D101
    def forward(self, weight):  # noqa: D102
        return weight / 2


COMPUTED = {
    "weight_norm": nn.utils.parametrizations.weight_norm,
    "spectral_norm": nn.utils.parametrizations.spectral_norm,
    "orthogonal": nn.utils.parametrizations.orthogonal,
    "own": lambda conv: nn.utils.parametrize.register_parametrization(conv, "weight", Halved()),
    "weight_norm by a hook": plain_weight_norm,
    "spectral_norm by a hook": nn.utils.spectral_norm,
    "pruning": pruned,
}


@pytest.mark.parametrize("how", COMPUTED)
def test_a_computed_kernel_is_the_one_that_convolves(how):
    """After an optimizer's step; and no state of the module changes."""
    conv = COMPUTED[how](nn.Conv2d(3, 4, 3, bias=False))
    module = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1))
    optimizer = torch.optim.SGD(module.parameters(), 0.5)
    module(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    held = copy.deepcopy(module.state_dict())
    before = random_state()
    layers = TorchLayers(module)
    stored = layers.read()["0/weight"]
    assert random_state() == before
    assert module.training
    assert module.state_dict().keys() == held.keys()
    for name, value in module.state_dict().items():
        assert torch.equal(value, held[name]), name
    (info,) = layers.infos
    assert info.trainable
    assert info.class_name == "Conv2d"
    patch = torch.randn(1, 3, 3, 3)
    module.eval()
    expected = conv(patch).detach().numpy()[0, :, 0, 0]
    np.testing.assert_allclose((stored * patch.numpy()).sum((1, 2, 3)), expected, rtol=1e-4)


def test_the_cache_of_parametrizations_is_left_alone():
    """A kernel without a gradient in it would stop the training of that weight."""
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3))
    with nn.utils.parametrize.cached():
        TorchLayers(conv).read()
        conv(torch.ones(1, 1, 3, 3)).sum().backward()
    assert conv.parametrizations.weight.original1.grad is not None


def test_a_parametrization_that_draws_numbers_leaves_the_random_state():
    """They are drawn for the copy only."""

    class Noisy(nn.Module):
        def forward(self, weight):
            return weight + torch.randn_like(weight)

    conv = nn.Conv2d(1, 2, 3)
    nn.utils.parametrize.register_parametrization(conv, "weight", Noisy())
    before = random_state()
    TorchLayers(conv).read()
    assert random_state() == before


def test_transposed_convolutions_in_groups_are_left_out_with_a_remark():
    """Their filters are no slices along an axis; depthwise ones are."""
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 6, 3, groups=2))
    layers = TorchLayers(module)
    assert names_of(layers) == ["0"]
    assert "not tracked: 1: the filters of a transposed convolution" in layers.remarks[0]
    with pytest.raises(FiltertrackError, match=r"no convolution to track.*in several groups"):
        TorchLayers(module[1])


def test_modules_that_resemble_convolutions_are_named():
    """Quantized ones, classes of their own; not layers of torch that have three axes as well."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 1, 3, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.nn.quantized.Conv2d(1, 2, 3)
    others = [nn.Bilinear(2, 3, 4), nn.LayerNorm((2, 3, 3)), nn.LazyLinear(3)]
    layers = TorchLayers(nn.Sequential(nn.Conv2d(1, 2, 3), quantized, Own(), *others))
    assert names_of(layers) == ["0"]
    (remark,) = layers.remarks
    assert "not tracked: 1, 2: no convolution of torch.nn" in remark
    assert "ArrayTracker" in remark


def test_a_subclass_that_computes_its_output_is_named():
    """Its weight is stored, which may not be the array it convolves with."""

    class Standardized(nn.Conv2d):
        def forward(self, x):
            return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

    layers = TorchLayers(nn.Sequential(Standardized(1, 2, 3)))
    assert names_of(layers) == ["0"]
    assert "a class of its own computes the output" in layers.remarks[0]


@pytest.mark.parametrize(
    "make", [lambda: nn.LazyConv2d(3, 3), lambda: nn.Conv2d(1, 2, 3, device="meta")]
)
def test_uninitialized_weights_are_an_error(make):
    """It says what to do; a lazy module can be read after its first batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conv = make()
    with pytest.raises(FiltertrackError, match=r"0: not initialized.* on one batch first"):
        TorchLayers(nn.Sequential(conv))
    if conv.weight.device.type != "meta":
        conv(torch.zeros(1, 2, 5, 5))
        assert TorchLayers(conv).infos[0].shape == (3, 3, 3, 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_type_and_memory_layout_is_copied_exactly(dtype):
    """The copy shares no memory with the module."""
    conv = nn.Conv2d(3, 4, 3).to(dtype, memory_format=torch.channels_last)
    layers = TorchLayers(conv)
    assert layers.infos[0].dtype == str(dtype).removeprefix("torch.")
    arrays = layers.read()
    expected = conv.weight.detach().double().numpy().copy()
    with torch.no_grad():
        conv.weight += 1
    np.testing.assert_array_equal(arrays["conv2d/weight"].astype(float), expected)
    assert arrays["conv2d/weight"].flags.c_contiguous


def test_complex_kernels_are_left_out():
    """They cannot be drawn."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, dtype=torch.complex64))
    layers = TorchLayers(module)
    assert names_of(layers) == ["0"]
    assert "not tracked: 1" in layers.remarks[0]


def test_frozen_kernels_are_not_trainable():
    """``requires_grad`` says so."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3).requires_grad_(False))
    assert [info.trainable for info in TorchLayers(module).infos] == [True, False]


def test_other_objects_are_refused():
    """With the name of their class."""
    with pytest.raises(FiltertrackError, match=r"expected a torch.nn.Module, got builtins.dict"):
        TorchLayers(nn.Conv2d(1, 1, 1).state_dict() and {})
    with pytest.raises(FiltertrackError, match="no convolution to track"):
        TorchLayers(nn.Linear(2, 2))


def test_only_torch_is_loaded():
    """Neither Keras nor another framework, and torch only by the user."""
    code = (
        "import sys, filtertrack.capture.torch_tracker; assert 'torch' not in sys.modules; "
        "import torch; from filtertrack.capture.torch_layers import TorchLayers; "
        "print(TorchLayers(torch.nn.Conv2d(1, 1, 1)).read()); "
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_reading_runs_nothing_of_the_module():
    """No forward pass, no hook, no gradient, no change of mode."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout()).train()
    calls = []
    module[0].register_forward_pre_hook(lambda *_: calls.append("pre"))
    module[0].register_forward_hook(lambda *_: calls.append("post"))
    before = random_state(), random.getstate()
    TorchLayers(module).read()
    assert not calls
    assert module[0].weight.grad is None
    assert module[1].training
    assert (random_state(), random.getstate()) == before


@pytest.mark.parametrize("module", [nn.Linear(3, 4), nn.Sequential(nn.ReLU())])
def test_a_module_without_convolution_to_draw_is_advised_to_be_given_as_arrays(module):
    with (
        pytest.raises(FiltertrackError, match=r"no convolution.*as an array with axes="),
        open_source(module),
    ):
        pass
