"""The routes of the open filter: its kernel at each step, and what a first layer slides over."""

import dataclasses

import numpy as np
import pytest

from filtertrack import Run
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.snapshot import Preprocessing
from filtertrack.storage.probe_format import write_probes
from filtertrack.web import filter_answers, step_answers


def products(pixels, head, kernel, at, channels=slice(None)):
    """Return each weight times the value below it, as the page computes it from the answers."""
    strides, dilation = head["strides"], head["dilation"]
    rows, columns = (
        place * stride + apart * np.arange(side)
        for place, stride, apart, side in zip(at, strides, dilation, kernel.shape[:2], strict=True)
    )
    return pixels[np.ix_(rows, columns)][..., channels] * kernel


def test_the_kernels_of_a_filter_are_exact_at_every_step(run, tab):
    """In all input channels, with the bias."""
    head, kernels = tab.message("kernel", layer="conv2", filter=3, first=0, last=2)
    assert [each["step"] for each in head["kernels"]] == run.steps
    assert (head["type"], head["shape"], head["next"], head["damaged"]) == (
        "float32", [3, 3, 4], None, {},
    )  # fmt: skip
    for kernel, about in zip(kernels, head["kernels"], strict=True):
        np.testing.assert_array_equal(kernel, run.kernels("conv2", about["step"])[3])
        assert about["bias"] == run.bias("conv2", about["step"])[3]


def test_a_long_run_takes_several_answers(run, tab, monkeypatch):
    """``next`` says where to continue; each step is sent once."""
    monkeypatch.setattr(step_answers, "_MOST_BYTES", 300)
    steps, first = [], 0
    while first is not None:
        head, _ = tab.message("kernel", layer="conv2", filter=0, first=first, last=9)
        steps += [each["step"] for each in head["kernels"]]
        first = head["next"]
    assert steps == run.steps


def test_a_damaged_snapshot_is_named_and_not_cached(run, tab):
    path = run.path / "filters" / "snapshots" / "000000000001.npz"
    path.write_bytes(path.read_bytes()[:-100])
    query = {"run": "run", "layer": "conv1", "filter": 0, "first": 0, "last": 2, "version": 1}
    answer = tab.ask("kernel", query)
    assert "no-cache" in answer.headers["Cache-Control"]
    head, kernels = tab.message("kernel", **query)
    assert list(head["damaged"]) == ["1"]
    assert len(kernels) == 2


def test_a_kernel_with_wide_numbers_stays_exact(make_run, conv_info, tab):
    info = conv_info(dtype="float64", bias=False)
    run = make_run(info, dtype=np.float64)
    head, kernels = tab.message("kernel", layer="conv1", filter=1, first=0, last=0)
    assert head["type"] == "float64"
    assert head["kernels"][0]["bias"] == 0
    np.testing.assert_array_equal(kernels[0], run.kernels("conv1", 0)[1])


@pytest.mark.parametrize(
    ("query", "reason"),
    [({"filter": 4}, "filter"), ({"filter": -1}, "filter"), ({"layer": "none"}, "none")],
)
def test_a_kernel_that_does_not_exist_is_refused(run, tab, query, reason):
    del run
    base = {"run": "run", "layer": "conv1", "filter": 0, "first": 0, "last": 2}
    tab.refused("kernel", {**base, **query}, reason)


def test_a_filter_of_too_many_weights_is_refused(run, tab, monkeypatch):
    del run
    monkeypatch.setattr(filter_answers, "MOST_WEIGHTS", 8)
    query = {"run": "run", "layer": "conv1", "filter": 0, "first": 0, "last": 2}
    tab.refused("kernel", query, "a filter of 9 weights is not sent, only up to 8")


FIRST = {"preprocessing": (), "padding": "same", "activation": "relu"}


@pytest.fixture
def write_probed(make_run, conv_info, rng):
    """Write a run of one first layer with two probes."""

    def write(*, kernel=(3, 3, 3, 4), size=(9, 8), first=False, **changes):
        info = conv_info("conv1", kernel, **{**FIRST, **changes})
        run = make_run(info)
        channels = kernel[2] * info.groups
        shape = (channels, *size) if first else (*size, channels)
        images = rng.uniform(0, 255, size=(2, *shape)).astype(np.float32)
        layer = ProbedLayer("conv1", "after relu", True, size, size, 1, "x")
        probes = StoredProbes({"x": images}, {"conv1": layer}, 2, None, first)
        write_probes(run.folder, probes)
        return Run(run.path)

    return write


CASES = {
    "plain": {},
    "valid": {"padding": "valid"},
    "strided and dilated": {"strides": (2, 3), "dilation": (2, 1)},
    "rescaled": {"preprocessing": (Preprocessing((1 / 255,), (-0.5,)),)},
    "padded before": {"preprocessing": (Preprocessing(pads=((2, 1), (0, 3))),)},
    "grouped": {"groups": 2},
    "depthwise": {"axes": (2, 3, 0, 1), "shape": (12, 3, 3, 1), "class_name": "DepthwiseConv2D"},
    "channels first": {"data_format": "channels_first", "first": True},
}


@pytest.mark.parametrize("case", CASES)
def test_products_of_the_answers_are_those_of_dot_product(write_probed, tab, case):
    """For each stride, dilation, padding, data format, preprocessing and number of groups."""
    run = write_probed(**CASES[case])
    info = run.layer("conv1")
    (about,) = tab.json("probes", run="run")["layers"]
    assert (about["products"], about["reason"]) == (True, "")
    step = run.steps[-1]
    for number in (0, info.filters - 1):
        _, (kernel,) = tab.message("kernel", layer="conv1", filter=number, first=step, last=step)
        for probe in (0, 1):
            head, (pixels,) = tab.message("input", layer="conv1", probe=probe)
            assert head["activation"] == "relu"
            for at in ((0, 0), (1, 2)):
                expected = run.dot_product("conv1", step, probe, number, at)
                got = products(pixels, head, kernel, at, expected.channels)
                np.testing.assert_array_equal(got, expected.product)
                corner = [
                    place * stride + start
                    for place, stride, start in zip(
                        at, head["strides"], head["origin"], strict=True
                    )
                ]
                assert corner == [part.start for part in expected.region]


def test_a_layer_behind_others_has_no_products_and_no_reason(probed_run, tab):
    """A first layer whose input is not known has a reason."""
    del probed_run
    first, second = tab.json("probes", run="run")["layers"]
    assert (first["products"], second["products"]) == (False, False)
    assert "the run does not say how its input follows" in first["reason"]
    assert second["reason"] == ""
    tab.refused("input", {"run": "run", "layer": "conv2", "probe": 0}, "its input follows")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"axes": (2, 0, 1, 3), "shape": (3, 3, 3, 4)}, "no dot product"),
        ({"padding": ""}, "its padding is not known"),
        ({"groups": 3}, "takes 9 channels, got 3"),
    ],
    ids=["transposed", "unknown padding", "other channels"],
)
def test_a_first_layer_without_products_has_a_reason(write_probed, tab, changes, reason):
    run = write_probed(**changes)
    write_probes(
        run.folder,
        dataclasses.replace(run.probes, inputs={"x": np.zeros((2, 9, 8, 3), np.float32)}),
    )
    (about,) = tab.json("probes", run="run")["layers"]
    assert about["products"] is False
    assert reason in about["reason"]
    tab.refused("input", {"run": "run", "layer": "conv1", "probe": 0}, reason)


def test_an_input_of_forged_padding_is_refused_before_it_is_made(write_probed, tab):
    """The manifest may hold any padding."""
    pads = ((60_000, 60_000), (60_000, 60_000))
    write_probed(preprocessing=(Preprocessing(pads=pads),))
    (about,) = tab.json("probes", run="run")["layers"]
    assert about["products"] is False
    assert "inputs of up to 4 MB" in about["reason"]
    tab.refused("input", {"run": "run", "layer": "conv1", "probe": 0}, "inputs of up to 4 MB")


def test_a_signal_has_no_products(make_run, conv_info, rng, tab):
    """Only 2-D convolutions have them; the reason says so."""
    changes = {"class_name": "Conv1D", "axes": (2, 0, 1), "shape": (6, 1, 9, 4)}
    run = make_run(conv_info("conv1", (9, 4, 6), **{**FIRST, **changes}))
    layer = ProbedLayer("conv1", "the layer's output", False, (1, 20), (1, 20))
    signals = rng.normal(size=(2, 28, 4)).astype(np.float32)
    write_probes(run.folder, StoredProbes({"x": signals}, {"conv1": layer}, 2))
    (about,) = tab.json("probes", run="run")["layers"]
    assert about["products"] is False
    assert "2-D convolutions only" in about["reason"]


def test_a_probe_that_does_not_exist_is_refused(write_probed, tab):
    run = write_probed()
    tab.refused("input", {"run": "run", "layer": "conv1", "probe": 2}, "numbered from 0 to 1")
    write_probes(run.folder, dataclasses.replace(run.probes, inputs={"x": np.zeros((2, 4))}))
    tab.refused("input", {"run": "run", "layer": "conv1", "probe": 0}, "images: expected numbers")
