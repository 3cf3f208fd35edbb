import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.capture.checkpoints.state_names import modules_of, without_roots


def paths_of(names):
    """The paths of the modules of a model's arrays, with slashes."""
    return ["/".join(parts) for parts in modules_of(names)[0]]


@pytest.mark.parametrize(
    "name",
    [
        "optimizer.conv.weight",
        "optimizer_state_dict.state.0.weight",
        "optimizer_states.0.conv.weight",
        "g_optimizer.conv.weight",
        "optimizer_G.conv.weight",
        "opt_state.0.mu.params.conv.kernel",
        "Adam/m/conv/kernel",
        "training/Adam/conv/kernel",
        "callbacks.average.conv.weight",
    ],
)
def test_arrays_of_optimizers_are_left_out(name):
    """They have the shapes of kernels."""
    modules, remarks = modules_of([name, "conv.weight"])
    assert list(modules) == [("conv",)]
    assert [name in remark and "as of an optimizer" in remark for remark in remarks] == [True]


@pytest.mark.parametrize(
    "names",
    [
        ["optimizer.state.0.exp_avg", "state_dict.conv.weight"],
        ["optimizers.0.state.0.exp_avg", "state_dict.optimizers.conv.weight"],
        ["optimizer/_variables/3", "conv/kernel"],
    ],
)
def test_slots_that_no_module_can_have_are_left_out_without_a_remark(names):
    """Every checkpoint of a training has them."""
    modules, remarks = modules_of(names)
    assert [parts[-1] for parts in modules] == ["conv"]
    assert not remarks


@pytest.mark.parametrize(
    "root",
    ["opt", "optim", "optimizer", "callbacks", "adam_net", "sgd", "momentum", "training"],
)
@pytest.mark.parametrize(
    "others",
    [
        [],
        ["fc.weight"],
        ["sar.conv1.weight", "sar.conv2.weight"],  # a twin of it
        ["conv1.weight", "conv1.bias"],  # some of its names
    ],
)
def test_modules_named_as_optimizers_are_kept(root, others):
    """As the encoder of optical images: neither keys nor all names are those of an optimizer."""
    names = [f"{root}.conv1.weight", f"{root}.conv2.weight"]
    modules, remarks = modules_of([*names, *others])
    assert {(root, "conv1"), (root, "conv2")} <= modules.keys()
    assert not remarks
    normed = [f"{root}.conv.weight_g", f"{root}.conv.weight_v", f"{root}.conv.bias"]
    assert (root, "conv") in modules_of([*normed, *others])[0]


@pytest.mark.parametrize("name", ["layer1.optimal.weight", "layer1.0.ema.weight", "options.weight"])
def test_modules_with_similar_names_are_kept(name):
    """Such as an EMA attention block."""
    assert paths_of([name, "conv.weight"]) == [
        name.removesuffix(".weight").replace(".", "/"),
        "conv",
    ]


@pytest.mark.parametrize(
    "name",
    ["ema.conv.weight", "model_ema.module.conv.weight", "state_dict.ema_model.conv.weight"],
)
def test_moving_averages_are_left_out_beside_the_weights(name):
    """With a remark; alone they are taken."""
    modules, remarks = modules_of([name, "conv.weight"])
    assert list(modules) == [("conv",)]
    assert name in remarks[0]
    modules, remarks = modules_of([name])
    assert len(modules) == 1
    assert "are moving averages" in remarks[0]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([("module", "a"), ("module", "b")], [("a",), ("b",)]),
        ([("state_dict", "module", "model", "a")], [("model", "a")]),
        ([("module", "a"), ("b",)], [("module", "a"), ("b",)]),
        ([("model", "a"), ("module", "b")], [("model", "a"), ("module", "b")]),
        ([("module",)], [("module",)]),
        ([("module", "0")], [("0",)]),
        ([("model", "0")], [("model", "0")]),
        ([("encoder", "a"), ("encoder", "b")], [("encoder", "a"), ("encoder", "b")]),
        ([], []),
    ],
)
def test_roots_are_removed_if_all_paths_have_them(paths, expected):
    """Names of a user's own modules stay."""
    assert without_roots(paths) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([("model", "a"), ("model", "b")], [("a",), ("b",)]),
        ([("net", "module", "0")], [("0",)]),
        ([("model", "model", "a")], [("model", "a")]),  # the second is an attribute
        ([("model", "a"), ("net", "a")], [("model", "a"), ("net", "a")]),
        ([("model",)], [("model",)]),
    ],
)
def test_keys_around_a_state_dict_are_removed_if_all_paths_have_them(paths, expected):
    """Whatever their names are."""
    assert without_roots(paths, ["model", "net"]) == expected


def test_names_in_the_style_of_each_framework():
    """The dot is a separator in torch, and a letter where slashes separate."""
    names = ["a.0.weight", "net/conv1.2/weights", "conv1/kernel:0", "conv.kernel.value", "w"]
    assert paths_of(names) == ["a/0", "net/conv1.2", "conv1", "conv", ""]


@given(names=st.lists(st.text(alphabet="ab019٣²._/"), max_size=8))
def test_any_names_can_be_grouped(names):
    """Each array belongs to one module at most."""
    modules, _ = modules_of(names)
    grouped = [name for module in modules.values() for name in module.names.values()]
    assert len(grouped) == len(set(grouped))
