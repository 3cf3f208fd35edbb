"""Which kernels of a run a model goes on with, by names of today and of earlier versions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.capture.existing_run_layers import match_layers
from filtertrack.snapshot import LayerInfo


def info(name, path=None, kernel="kernel", shape=(3, 3, 2, 4)):
    return LayerInfo(
        name=name,
        path=path or name,
        class_name="Conv2D",
        kernel=f"{name}/{kernel}",
        bias=None,
        kernel_shape=shape,
        axes=(3, 0, 1, 2),
        shape=(shape[3], shape[0], shape[1], shape[2]),
        dtype="float32",
    )


def matched(ours, stored):
    found = match_layers(ours, stored)
    return found and [each.name for each in found]


def test_layers_of_equal_names_match():
    """In any order."""
    ours = [info("a"), info("b"), info("c")]
    assert matched(ours, ours[::-1]) == ["a", "b", "c"]


def test_names_of_an_earlier_version_match():
    """Its names omitted sub-models, in reverse order."""
    ours = [info("net/conv1", "conv1"), info("net/conv2", "conv2"), info("head", "head")]
    assert matched(ours, [info("conv2"), info("conv1"), info("head")]) == ["conv1", "conv2", "head"]


def test_a_saved_and_loaded_model_matches():
    """Its paths in Keras lack the model; ours do not change."""
    ours = [info("enc/c1", "c1"), info("enc/c2", "c2")]
    stored = [info("enc/c2", "enc/c2"), info("enc/c1", "enc/c1")]
    assert matched(ours, stored) == ["enc/c1", "enc/c2"]


def test_a_model_that_is_made_again_matches():
    """Keras's numbers differ; their order is that of the layers."""
    ours = [info("conv2d", "conv2d_7"), info("conv2d_1", "conv2d_8")]
    assert matched(ours, [info("conv2d_2"), info("conv2d_3")]) == ["conv2d_2", "conv2d_3"]


def test_two_sub_models_of_one_architecture_match_by_name():
    """Although Keras gives both the same path."""
    ours = [info("network/conv", "conv"), info("ema_network/conv", "conv")]
    stored = [info("ema_network/conv", "conv"), info("network/conv", "conv")]
    assert matched(ours, stored) == ["network/conv", "ema_network/conv"]
    unclear = [info("conv", "conv"), info("conv_2", "conv")]
    assert matched(ours, unclear) is None


@pytest.mark.parametrize(
    "stored",
    [
        [info("a"), info("b", shape=(5, 5, 2, 4))],
        [info("a")],
        [info("a"), info("other")],
        [info("a"), info("b", kernel="depthwise_kernel")],
    ],
    ids=["another shape", "fewer", "another name", "another kernel"],
)
def test_other_layers_do_not_match(stored):
    """The run is not continued then."""
    assert match_layers([info("a"), info("b")], stored) is None


@given(st.permutations(range(6)), st.integers(0, 20))
def test_each_kernel_matches_exactly_one(order, first):
    """For any order in the run, and any numbers of Keras."""
    ours = [info(f"conv2d_{n}", f"conv2d_{first + n}") for n in range(6)]
    stored = [info(f"conv2d_{n}") for n in order]
    assert matched(ours, stored) == [f"conv2d_{n}" for n in range(6)]


def test_a_stored_layer_matches_no_other_layer_while_the_model_has_it():
    """Even if the model's tracked layer has the same shape."""
    stored = [info("conv2d_1")]
    assert match_layers([info("conv2d")], stored, [info("conv2d_1"), info("conv2d_2")]) is None
    stored = [info("enc_a/conv1", "conv1")]
    others = [info("enc_a/conv1", "conv1_a")]
    assert match_layers([info("enc_b/conv1", "conv1_b")], stored, others) is None


def test_a_kernel_with_a_bias_does_not_match_one_without():
    """Every snapshot of a run has the same arrays."""
    biased = replace(info("a"), bias="a/bias")
    assert match_layers([info("a")], [biased]) is None
    assert match_layers([biased], [info("a")]) is None
