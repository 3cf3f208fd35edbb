import io
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.checkpoint_paths import is_checkpoint
from filtertrack.capture.checkpoints.file_formats import open_checkpoint
from filtertrack.capture.torch_layers import TorchLayers

torch = pytest.importorskip("torch")
checkpoint_wrapper = pytest.importorskip(
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper"
).checkpoint_wrapper
nn = torch.nn


class Block(nn.Module):  # noqa: D101
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):  # noqa: D102
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    """A small residual network whose parts are not in alphabetical order."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7)
        self.layer1 = nn.Sequential(*(Block(8) for _ in range(11)))
        self.fc = nn.Linear(8, 2)
        self.attention = nn.MultiheadAttention(8, 2)
        self.lstm = nn.LSTM(8, 8)

    def forward(self, x):  # noqa: D102
        return self.fc(self.layer1(self.stem(x)).mean((2, 3)))


def convolutions(module):
    """The names of a module's convolutions, with slashes, and their kernels in order."""
    return {
        name.replace(".", "/"): each.weight.detach().float().numpy()
        for name, each in module.named_modules()
        if isinstance(each, nn.modules.conv._ConvNd)
    }


def assert_kernels(path, expected):
    """Assert that a file's kernels are some arrays, under these names and in this order."""
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == list(expected)
        arrays = checkpoint.read()
        for info in checkpoint.infos:
            np.testing.assert_array_equal(arrays[info.kernel], expected[info.name], strict=True)
        return list(checkpoint.remarks)


@pytest.fixture(name="net", scope="module")
def make_net():
    torch.manual_seed(0)
    return ResNet()


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("ending", ["pt", "pth", "ckpt", "bin"])
def test_a_state_dict_gives_the_convolutions_in_the_order_of_the_module(
    tmp_path, net, ending, new_format
):
    """And no other array, in the format of each version of torch."""
    path = tmp_path / f"model.{ending}"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=new_format)
    assert is_checkpoint(path)
    assert not assert_kernels(path, convolutions(net))
    with open_checkpoint(path) as checkpoint:
        first = checkpoint.infos[0]
        assert (first.path, first.class_name, first.kernel) == ("stem", "Conv2d", "stem/weight")
        bias = checkpoint.read([first])["stem/bias"]
    np.testing.assert_array_equal(bias, net.stem.bias.detach().numpy(), strict=True)


def trained(net):
    """An optimizer with slots of the kernels' shapes."""
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 3, 9, 9)).sum().backward()
    optimizer.step()
    return optimizer


WRAPPERS = {
    "a training loop": lambda net, opt: {
        "epoch": 3,
        "optimizer_state_dict": opt.state_dict(),
        "model_state_dict": net.state_dict(),
        "loss": 0.5,
    },
    "Lightning": lambda net, opt: {
        "epoch": 3,
        "global_step": 30,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{name}": value for name, value in net.state_dict().items()},
        "optimizer_states": [opt.state_dict()],
        "lr_schedulers": [],
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5)}},
        "hyper_parameters": {"width": 8},
    },
    "DDP": lambda net, opt: {f"module.{name}": value for name, value in net.state_dict().items()},
    "torch.compile": lambda net, opt: torch.compile(net).state_dict(),
    "DDP of a compiled module": lambda net, opt: {
        "state_dict": {f"module._orig_mod.{n}": value for n, value in net.state_dict().items()}
    },
    "timm": lambda net, opt: {"arch": "resnet", "state_dict": net.state_dict(), "version": 2},
    "a list": lambda net, opt: [opt.state_dict()["param_groups"], {"model": net.state_dict()}][1:],
}


@pytest.mark.parametrize("kind", WRAPPERS)
@pytest.mark.filterwarnings("ignore:.torch.jit")  # torch.compile's own
def test_wrappers_and_optimizers_are_left_out(tmp_path, kind):
    """The names are those of the module itself."""
    torch.manual_seed(0)
    net = ResNet()
    path = tmp_path / "checkpoint.pt"
    torch.save(WRAPPERS[kind](net, trained(net)), path)
    expected = convolutions(net)
    if kind == "a list":
        expected = {f"0/model/{name}": kernel for name, kernel in expected.items()}
    if kind == "Lightning":  # its module has the net as an attribute
        expected = {f"model/{name}": kernel for name, kernel in expected.items()}
    assert not assert_kernels(path, expected)


class Holder(nn.Module):
    """A module that holds another one as an attribute."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)


TRACKED = {
    "plain": lambda net: net,
    "Lightning": lambda net: Holder(model=net),
    "self.net": lambda net: Holder(net=net, head=nn.Linear(2, 2)),
    "self.module": lambda net: Holder(module=net),
    "self.module and another": lambda net: Holder(module=net, head=nn.Conv2d(2, 2, 1)),
    "DDP": nn.DataParallel,
    "DDP of self.model": lambda net: nn.DataParallel(Holder(model=net)),
    "torch.compile": torch.compile,
    "compiled attribute": lambda net: Holder(model=torch.compile(net)),
    "DDP of a compiled module": lambda net: nn.DataParallel(torch.compile(net)),
    "Sequential": lambda net: nn.Sequential(net, nn.Conv2d(2, 2, 1)),
    "model of a Sequential": lambda net: Holder(model=nn.Sequential(net)),
    "checkpointed": lambda net: nn.Sequential(checkpoint_wrapper(net)),
}
CONTAINERS = {
    "no": lambda state: state,
    "model_state_dict": lambda state: {"model_state_dict": state, "epoch": 1},
    "state_dict": lambda state: {"state_dict": state},
    "model": lambda state: {"model": state},
    "net": lambda state: {"checkpoint": {"net": state}},
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", TRACKED)
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_names_are_those_of_the_tracker(tmp_path, net, kind, container):
    """Of a module in any wrapper, and of its state dict under any key."""
    module = TRACKED[kind](net)
    path = tmp_path / "checkpoint.pt"
    torch.save(CONTAINERS[container](module.state_dict()), path)
    with open_checkpoint(path) as checkpoint:
        assert [i.name for i in checkpoint.infos] == [i.name for i in TorchLayers(module).infos]


def test_the_weights_are_taken_and_not_their_moving_averages(tmp_path, net):
    """With a remark; a file of averages alone gives these."""
    averages = {name: value + 1 for name, value in net.state_dict().items()}
    path = tmp_path / "checkpoint.pt"
    torch.save({"ema": averages, "model": net.state_dict()}, path)
    (remark,) = assert_kernels(path, convolutions(net))
    assert "moving averages" in remark
    torch.save({"ema": averages}, path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.remarks == ("the weights in the file are moving averages",)
        kernel = checkpoint.read()[checkpoint.infos[0].kernel]
    np.testing.assert_array_equal(kernel, averages["stem.weight"].numpy())


@pytest.mark.parametrize("name", ["opt", "optim", "callbacks", "adam1", "momentum"])
def test_a_module_with_the_name_of_an_optimizer_is_read(tmp_path, name):
    """Its convolutions are in the file only once."""
    module = nn.ModuleDict({name: nn.Sequential(nn.Conv2d(2, 3, 3)), "head": nn.Linear(2, 2)})
    path = tmp_path / "model.pt"
    torch.save(module.state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == [f"{name}/0"]
        assert not checkpoint.remarks


def test_two_models_in_a_file_are_both_there(tmp_path, net):
    """With the name of each."""
    path = tmp_path / "gan.pt"
    other = {name: value.clone() for name, value in net.state_dict().items()}
    torch.save({"netG": net.state_dict(), "netD": other}, path)
    both = {f"{n}/{k}": v for n in ("netG", "netD") for k, v in convolutions(net).items()}
    assert_kernels(path, both)


def test_shared_kernels_are_taken_once(tmp_path, net):
    """Under the first name, as the module lists it; also of a dict that is there twice."""
    shared = nn.Conv2d(3, 3, 3)
    twice = nn.ModuleDict({"first": shared, "second": shared, "other": nn.Conv2d(3, 3, 3)})
    path = tmp_path / "model.pt"
    torch.save(twice.state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["first", "other"]
    torch.save({"model": net.state_dict(), "state_dict": net.state_dict()}, path)
    assert not assert_kernels(path, convolutions(net))


def test_a_convolution_alone_has_the_name_of_its_class(tmp_path):
    """Its arrays have no module's name."""
    path = tmp_path / "model.pt"
    torch.save(nn.Conv2d(3, 3, 3).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read().keys() == {"conv2d/weight", "conv2d/bias"}


SPACES = [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d]


@pytest.mark.parametrize("layer", [*SPACES, nn.ConvTranspose3d])
def test_every_convolution_has_its_filters_first(tmp_path, layer):
    """Their number is that of the layer's outputs; transposed ones are told by the bias."""
    module = layer(3, 5, 2)
    path = tmp_path / "model.pt"
    torch.save(nn.ModuleDict({"conv": module}).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        (info,) = checkpoint.infos
        kernel = info.canonical(checkpoint.read()[info.kernel])
    assert info.class_name == layer.__name__
    assert (kernel.shape[0], kernel.shape[3], info.bias) == (5, 3, "conv/bias")
    weight = module.weight.detach().numpy()
    filters = weight.swapaxes(0, 1) if module.transposed else weight
    np.testing.assert_array_equal(kernel[2, 0, :2, 1], filters[2, 1].reshape(-1)[:2])


def test_a_depthwise_convolution_has_filters_of_one_channel(tmp_path):
    """Also a transposed one, with several filters for each channel."""
    path = tmp_path / "model.pt"
    layers = {
        "plain": nn.Conv2d(4, 4, 3, groups=4),
        "more": nn.Conv2d(4, 8, 3, groups=4),
        "up": nn.ConvTranspose2d(4, 4, 3, groups=4),
        "up_more": nn.ConvTranspose2d(4, 12, 3, groups=4),
    }
    torch.save(nn.ModuleDict(layers).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert [info.shape for info in checkpoint.infos] == [
            (4, 3, 3, 1),
            (8, 3, 3, 1),
            (4, 3, 3, 1),
            (12, 3, 3, 1),
        ]
        last = checkpoint.infos[-1]
        kernel = last.canonical(checkpoint.read()[last.kernel])
    weight = layers["up_more"].weight.detach().numpy()
    np.testing.assert_array_equal(kernel[7, ..., 0], weight[2, 1])  # output 7 is of channel 2


def test_the_kernels_of_a_generator_are_transposed(tmp_path):
    """DCGAN's: they have no bias; the norm after each, or the kernel before, tells the filters."""
    layers = []
    for inputs, outputs in ((10, 64), (64, 32), (32, 16)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, bias=False), nn.BatchNorm2d(outputs)]
        layers += [nn.ReLU()]
    main = nn.Sequential(*layers, nn.ConvTranspose2d(16, 3, 4, bias=False), nn.Tanh())
    path = tmp_path / "generator.pth"
    torch.save(nn.ModuleDict({"main": main}).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert [info.shape for info in checkpoint.infos] == [
            (64, 4, 4, 10),
            (32, 4, 4, 64),
            (16, 4, 4, 32),
            (3, 4, 4, 16),
        ]
        assert not checkpoint.remarks


def test_the_kernels_of_a_discriminator_are_not_transposed(tmp_path):
    """DCGAN's, also without a norm after them."""
    layers = [nn.Conv2d(3, 16, 4, bias=False), nn.LeakyReLU()]
    layers += [nn.Conv2d(16, 32, 4, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU()]
    layers += [nn.Conv2d(32, 1, 4, bias=False), nn.PReLU()]
    path = tmp_path / "discriminator.pth"
    torch.save(nn.Sequential(*layers).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert [info.shape[0] for info in checkpoint.infos] == [16, 32, 1]


def test_undecided_kernels_are_named(tmp_path):
    """Beside transposed ones, and those that only the name shows to be transposed."""
    path = tmp_path / "model.pt"
    layers = {
        "down": nn.Conv2d(2, 4, 3, bias=False),
        "deconv": nn.ConvTranspose2d(4, 4, 3),
        "up": nn.ConvTranspose2d(4, 2, 3, bias=False),
    }
    torch.save(nn.ModuleDict(layers).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        by_name, undecided = checkpoint.remarks
        assert "because of their names: deconv/weight" in by_name
        assert "down/weight, up/weight" in undecided
        assert [info.class_name for info in checkpoint.infos] == [
            "Conv2d",
            "ConvTranspose2d",
            "Conv2d",
        ]


@pytest.mark.parametrize(
    ("layer", "reported"),
    [
        (nn.ConvTranspose2d(16, 4, 3, bias=False), True),
        (nn.ConvTranspose2d(16, 4, 3), False),
        (nn.ConvTranspose1d(16, 4, 3, bias=False), True),
        (nn.Sequential(nn.ConvTranspose2d(16, 4, 3, bias=False), nn.BatchNorm2d(4)), False),
        (nn.ModuleDict({"generator": nn.ConvTranspose2d(8, 8, 3)}), True),
        (nn.ModuleDict({"a": nn.ConvTranspose2d(4, 8, 3), "b": nn.ConvTranspose2d(8, 8, 3)}), True),
    ],
)
def test_transposed_kernels_are_not_read_as_others_without_a_remark(tmp_path, layer, reported):
    """The remark says which axes= reads them."""
    path = tmp_path / "model.pt"
    torch.save(layer.state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert any("axes=IO" in remark for remark in checkpoint.remarks) == reported
        if not reported:
            assert {info.class_name[:13] for info in checkpoint.infos} == {"ConvTranspose"}


def test_transposed_convolutions_with_groups_are_left_out_with_a_remark(tmp_path):
    """Their filters are spread over two axes."""
    path = tmp_path / "model.pt"
    layers = {"conv": nn.Conv2d(8, 4, 3), "up": nn.ConvTranspose2d(8, 12, 3, groups=2)}
    torch.save(nn.ModuleDict(layers).state_dict(), path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["conv"]
        assert "with groups: up/weight" in checkpoint.remarks[0]


def test_arrays_that_do_not_convolve_are_not_taken(tmp_path):
    """Of all layers of torch that hold weights of several axes, and of attention."""
    net = nn.ModuleDict(
        {
            "conv": nn.Conv1d(4, 6, 3),
            "bilinear": nn.Bilinear(20, 40, 30),
            "norm": nn.LayerNorm((4, 5, 6)),
            "plain": nn.LayerNorm((4, 5, 6), bias=False),
            "embedding": nn.Embedding(10, 8),
            "attention": nn.MultiheadAttention(8, 2),
            "lstm": nn.LSTM(8, 8),
            "prelu": nn.PReLU(4),
        }
    )
    state = {
        **net.state_dict(),
        "pos_embed": torch.zeros(1, 197, 16),
        "pos_embedding.weight": torch.zeros(1, 16, 4, 4),
        "relative_position_bias_table": torch.zeros(3, 4, 5),
        "plain_norm.weight": torch.zeros(4, 5, 6),
        "experts.weight": torch.zeros(8, 64, 32),
        "step": torch.tensor(3),
    }
    del state["plain.weight"]
    path = tmp_path / "model.pt"
    torch.save(state, path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["conv"]
        for name in ("bilinear", "experts", "plain_norm"):
            assert name in checkpoint.remarks[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int8])
def test_values_are_exact(tmp_path, dtype):
    """In the type that a snapshot stores for the type in the file."""
    weight = torch.randn(4, 3, 3, 3).mul(50).to(dtype)
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": weight, "conv.bias": weight[:, 0, 0, 0]}, path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.infos[0].dtype == str(dtype).removeprefix("torch.")
        arrays = checkpoint.read()
    wanted = (weight.float() if dtype == torch.bfloat16 else weight).numpy()
    np.testing.assert_array_equal(arrays["conv/weight"], wanted, strict=True)
    np.testing.assert_array_equal(arrays["conv/bias"], wanted[:, 0, 0, 0], strict=True)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_is_read_as_float32(tmp_path, dtype):
    """All 256 values, as torch converts them."""
    codes = torch.arange(256, dtype=torch.uint8).view(dtype).reshape(4, 4, 4, 4)
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": codes}, path)
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.read()["conv/weight"]
    np.testing.assert_array_equal(found, codes.float().numpy(), strict=True)


def test_quantized_sparse_and_complex_kernels_are_left_out_with_a_remark(tmp_path):
    """Their values are no plain numbers."""
    weight = torch.randn(4, 3, 3, 3)
    path = tmp_path / "model.pt"
    state = {
        "conv.weight": weight,
        "sparse.weight": weight.to_sparse(),
        "complex.weight": weight.to(torch.complex64),
        "meta.weight": weight.to("meta"),
        "repeated.weight": torch.zeros(1).expand(1 << 20, 1 << 10, 3, 3),
    }
    torch.save(state, path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["conv"]
        for name in ("sparse", "complex", "meta", "repeated"):
            assert f"{name}/weight" in checkpoint.remarks[0]


# Files that are refused.


class Evil:
    """An object whose pickle writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write_pickle(path, value, kind):
    """Write a value as torch's formats do, or as a plain pickle."""
    if kind == "pickle":
        path.write_bytes(pickle.dumps(value))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("ending", ["pt", "bin", "ckpt"])
def test_code_in_a_pickle_is_not_run(tmp_path, kind, ending):
    """The file that it would write is not there."""
    path, victim = tmp_path / f"model.{ending}", tmp_path / "victim"
    write_pickle(path, {"conv.weight": torch.zeros(2, 1, 3, 3), "x": Evil(victim)}, kind)
    with pytest.raises(FiltertrackError) as error:
        open_checkpoint(path)
    assert not victim.exists()
    assert str(path) in str(error.value)
    assert "weights_only" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_pickled_module_is_refused_with_what_to_do(tmp_path, net):
    """The class is named."""
    path = tmp_path / "model.pt"
    torch.save(nn.Conv2d(1, 2, 3), path)
    with pytest.raises(FiltertrackError, match=r"Conv2d.*save the model's state_dict\(\)"):
        open_checkpoint(path)


def test_a_torchscript_archive_is_refused_with_what_to_do(tmp_path):
    """It holds code."""
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
        archive.writestr("model/code/__torch__.py", "")
    with pytest.raises(FiltertrackError, match=r"TorchScript.*state_dict\(\)"):
        open_checkpoint(path)


def rewritten(path, change):
    """Write the entries of a zip file anew, after a change of their contents."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    compression = change(entries) or zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def test_a_compressed_file_is_refused(tmp_path):
    """A small file may claim gigabytes."""
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": torch.zeros(64, 64, 3, 3)}, path)
    rewritten(path, lambda entries: zipfile.ZIP_DEFLATED)
    with pytest.raises(FiltertrackError, match="compressed entries"):
        open_checkpoint(path)


def test_entries_larger_than_the_file_are_refused(tmp_path):
    """As the index of the zip file claims them."""
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": torch.zeros(64, 64, 3, 3)}, path)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")
    struct.pack_into("<L", content, at + 24, 1 << 31)
    path.write_bytes(content)
    with pytest.raises(FiltertrackError, match="more bytes than the file has"):
        open_checkpoint(path)


def test_a_huge_pickle_is_refused(tmp_path):
    """Before it is loaded."""
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": torch.zeros(2, 1, 3, 3)}, path)

    def grow(entries):
        name = next(name for name in entries if name.endswith("data.pkl"))
        entries[name] += bytes(1 << 26)

    rewritten(path, grow)
    with pytest.raises(FiltertrackError, match="pickle of more than"):
        open_checkpoint(path)


@pytest.mark.parametrize("elements", [2701, 1 << 20, 1 << 30, (1 << 31) - 1])
@pytest.mark.parametrize("what", ["storage", "shape", "both"])
def test_sizes_larger_than_the_data_are_refused(tmp_path, elements, what):
    """Of a storage and of a tensor: nothing beyond the file's data is read."""
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": torch.zeros(2700, 1, 1, 1)}, path)

    def enlarge(entries):
        name = next(name for name in entries if name.endswith("data.pkl"))
        old, new = b"M\x8c\n", b"J" + struct.pack("<i", elements)  # 2700, and another number
        before, middle, after = entries[name].split(old)
        of_storage = old if what == "shape" else new
        of_shape = old if what == "storage" else new
        entries[name] = before + of_storage + middle + of_shape + after

    rewritten(path, enlarge)
    try:
        with open_checkpoint(path) as checkpoint:
            found = checkpoint.read()["conv/weight"]
    except FiltertrackError:
        return
    assert what == "storage"
    assert found.shape == (2700, 1, 1, 1)


def test_containers_that_hold_themselves_end(tmp_path):
    """And deep ones."""
    state = {"conv.weight": torch.zeros(2, 1, 3, 3)}
    state["self"] = [state, state]
    deep = state["deep"] = []
    for _ in range(300):
        deep.append([])
        deep = deep[0]
    path = tmp_path / "model.pt"
    torch.save(state, path)
    with open_checkpoint(path) as checkpoint:
        assert [info.name for info in checkpoint.infos] == ["conv"]


def test_damaged_files_raise_no_other_error(tmp_path):
    """500 files with flipped bits and 100 cut off, of both formats; in bounded memory."""
    chance = random.Random(0)
    state = {"conv.weight": torch.randn(4, 3, 3, 3), "conv.bias": torch.zeros(4)}
    refused = 0
    for new_format in (True, False):
        stream = io.BytesIO()
        torch.save(state, stream, _use_new_zipfile_serialization=new_format)
        whole, path = stream.getvalue(), tmp_path / "model.pt"
        for number in range(300):
            content = bytearray(whole)
            if number % 6:
                for _ in range(chance.randint(1, 6)):
                    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            else:
                del content[chance.randrange(len(content)) :]
            path.write_bytes(content)
            try:
                with open_checkpoint(path) as checkpoint:
                    checkpoint.read()
            except (FiltertrackError, OSError):
                refused += 1
    assert refused > 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3_000_000  # kB


def test_without_torch_the_error_names_the_extra(tmp_path, monkeypatch):
    """In one sentence."""
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": torch.ones(4, 3, 3, 3)}, path)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(FiltertrackError, match=r"pip install 'filtertrack\[torch\]'"):
        open_checkpoint(path)


# How it is read.


def test_only_the_tensors_that_are_asked_for_are_read(tmp_path):
    """A file of 100 MB takes the memory of its kernel, also ten times in sequence."""
    path = tmp_path / "model.pt"
    state = {"embedding.weight": torch.zeros(25, 1 << 20), "conv.weight": torch.ones(4, 3, 3, 3)}
    torch.save(state, path)
    del state
    program = f"""
import resource
from pathlib import Path
import torch
from filtertrack.capture.checkpoints.file_formats import open_checkpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(10):
    with open_checkpoint(Path({str(path)!r})) as checkpoint:
        checkpoint.read()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    path.unlink()
    assert int(done.stdout) < 50_000  # kB


def test_arrays_stay_after_the_file_is_closed_and_removed(tmp_path):
    """They are copies."""
    path = tmp_path / "model.pt"
    torch.save({"conv.weight": torch.ones(4, 3, 3, 3)}, path)
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.read()["conv/weight"]
    os.truncate(path, 0)
    assert found.flags.writeable
    assert found.sum() == 4 * 27


def test_a_tensor_alone_is_read_as_a_weight(tmp_path, rng):
    """With the axes of torch or with given ones."""
    kernel = torch.from_numpy(rng.normal(size=(4, 3, 5, 5)))
    torch.save(kernel, tmp_path / "kernel.pt")
    for axes in (None, "OIHW"):
        with open_checkpoint(tmp_path / "kernel.pt", axes=axes) as checkpoint:
            (info,) = checkpoint.infos
            assert info.shape == (4, 5, 5, 3)
            np.testing.assert_array_equal(checkpoint.read()[info.kernel], kernel.numpy())
