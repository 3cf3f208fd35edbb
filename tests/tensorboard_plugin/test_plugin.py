"""The tab's routes, asked as a browser asks them: in this process, and of the real TensorBoard."""

import argparse
import gzip
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import quote_from_bytes, urlencode

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from filtertrack import Moment, Run, Snapshot, animate, measures
from filtertrack.render.cells import to_cells, to_channels, view_of
from filtertrack.render.filter_order import ORDERS, arrange
from filtertrack.render.palette import colormap_levels
from filtertrack.tensorboard_plugin import animation_process as drawing
from filtertrack.tensorboard_plugin import loader
from filtertrack.tensorboard_plugin import logdir as catalogue
from filtertrack.tensorboard_plugin import request_memory as memory
from filtertrack.tensorboard_plugin.plugin import FiltersPlugin
from filtertrack.tensorboard_plugin.summaries import Summaries
from filtertrack.web import page_api as answers
from filtertrack.web import payload as parts

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of html5lib, which TensorBoard imports
    from tensorboard.backend import application

PREFIX = "/data/plugin/filtertrack"
ROUTES = (
    *("settings", "palette", "runs", "layers", "steps", "cells", "order", "trajectory", "label"),
    "animation",
)
EXACT_IN_32_BITS = ("float16", "float32", "int8", "bool")


class Tab:
    """The tab below TensorBoard's own application, asked without a network."""

    def __init__(self, logdir="", spec=""):
        flags = SimpleNamespace(logdir=str(logdir), logdir_spec=spec)
        context = base_plugin.TBContext(logdir=str(logdir), flags=flags)
        self.plugin = FiltersPlugin(context)
        self.client = Client(application.TensorBoardWSGI([self.plugin]))

    def ask(self, route, query=None, *, method="GET", **headers):
        """Return the answer to one question."""
        text = query if isinstance(query, str) else urlencode(query or {})
        path = f"{PREFIX}/{route}"
        answer = self.client.open(path, method=method, query_string=text, headers=headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return answer

    def json(self, route, **query):
        """Return what a question is answered with, as JSON that every browser reads."""
        answer = self.ask(route, query)
        assert (answer.status_code, answer.mimetype) == (200, "application/json"), answer.text
        return strict_json(answer.text)

    def cells(self, layer="conv1", run="run", **query):
        """Return the head and the arrays of an answer."""
        answer = self.ask("cells", {"run": run, "layer": layer, **query})
        assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream"), answer
        return unpacked(answer.data)

    def refused(self, route, query=None, reason=""):
        """See that a question is refused in a sentence."""
        answer = self.ask(route, query)
        assert (answer.status_code, answer.mimetype) == (400, "text/plain"), answer.data[:200]
        assert reason in answer.text
        assert 0 < len(answer.text) < 10_000
        assert "Traceback" not in answer.text
        assert "no-cache" in answer.headers["Cache-Control"]


def strict_json(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def unpacked(data):
    """Read a message, as the page does."""
    length = int.from_bytes(data[:4], "little")
    head, body = strict_json(data[4 : 4 + length]), data[4 + length :]
    count = len(head["moments"])
    if not count:
        assert not body
        return head, []
    size = np.dtype(head["type"]).itemsize
    assert len(body) == count * size * np.prod(head["shape"])
    planes = np.frombuffer(body, np.uint8).reshape(size, -1)
    words = np.ascontiguousarray(planes.T).view(f"<u{size}").reshape(count, -1)
    whole = np.bitwise_xor.accumulate(words, axis=0).view(f"<f{size}")
    return head, list(whole.reshape(count, *head["shape"]))


def same_bits(one, other):
    assert one.shape == other.shape
    np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch):
    monkeypatch.setattr(catalogue, "_FRESH", 0.0)


@pytest.fixture
def tab(tmp_path):
    return Tab(tmp_path)


@pytest.fixture
def write_run(tmp_path):
    """Write a run of one layer, an array a step."""

    def write(info, kernels, folder="run", metrics=None):
        run = Run.create(tmp_path / folder, [info])
        for step, kernel in enumerate(kernels):
            moment = Moment(step, step, 10 * step, metrics or {})
            run.append(Snapshot(moment, {info.kernel: kernel}))
        return run

    return write


@pytest.fixture
def layer(conv_info):
    """Describe a layer of each kind."""
    volume = {"axes": (4, 1, 0, 2, 3), "class_name": "Conv3D", "strides": (1, 1, 1)}
    shapes = {
        "grey": ((3, 4, 1, 5), {}),
        "colour": ((5, 4, 3, 5), {}),
        "pattern": ((3, 3, 8, 6), {}),
        "slices": ((2, 3, 4, 1, 5), {**volume, "shape": (5, 3, 8, 1)}),
        "deep slices": ((2, 3, 4, 6, 5), {**volume, "shape": (5, 3, 8, 6)}),
        "matrix": ((1, 1, 5, 7), {}),
        "one weight": ((1, 1, 1, 3), {}),
    }

    def make(kind):
        shape, changes = shapes[kind]
        return conv_info("conv1", shape, bias=False, **changes)

    return make


def looked_at(run, step, *, channels=None, filters=None, delta=False):
    """Return the cells that the renderer draws."""
    info = run.layer("conv1")
    view, kernels = view_of(info, channels), run.kernels("conv1", step)
    if delta:
        kernels = kernels - run.kernels("conv1", run.steps[0]).astype(np.float64)
    if filters is not None and view.kind == "matrix":
        return to_cells(view, kernels)[:, :, filters]
    return to_cells(view, kernels if filters is None else kernels[filters])


# ---------------------------------------------------------------------------------- the routes


def test_every_route_answers(run, tab):
    """For a run with two layers: what the page asks for from its start on."""
    assert tab.json("runs") == {"runs": ["run"], "notes": []}
    found = tab.json("layers", run="run")
    described = found["layers"]
    assert found["default_layer"] == "conv1"
    assert [entry["name"] for entry in described] == ["conv1", "conv2"]
    assert [entry["kind"] for entry in described] == ["grey", "pattern"]
    assert described[0]["shape"] == [4, 3, 3, 1]
    assert described[0]["kernel"] == [3, 3, 1, 4]
    assert described[0]["page"] == 64
    assert described[0]["cutChannels"] is None
    assert "Conv2D conv1" in described[0]["about"]
    steps = tab.json("steps", run="run")
    assert steps["steps"] == run.steps
    assert len(steps["stamps"]) == 3
    given = tab.json("settings")
    assert given["orders"] == list(ORDERS)
    for name in given["colormaps"]:
        palette = tab.ask("palette", {"colormap": name})
        assert palette.data == colormap_levels(name).tobytes()
        assert palette.headers["Cache-Control"] == "private, max-age=86400"
    head, _ = tab.cells(filters="0-3", first=0, last=2)
    assert [moment["step"] for moment in head["moments"]] == [0, 1, 2]
    assert head["moments"][2]["metrics"] == {"loss": 0.5, "accuracy": 1 - 1 / 3}
    assert (head["damaged"], head["next"]) == ({}, None)
    asked = {"run": "run", "layer": "conv1"}
    assert sorted(tab.json("order", **asked, order="similarity")["numbers"]) == [0, 1, 2, 3]
    assert tab.json("trajectory", **asked, filter=1)["steps"] == [0, 1, 2]
    assert tab.json("label", **asked, filter=1, step=2)["label"] in measures.LABELS
    assert tab.ask("animation", {**asked, "ending": ".gif"}).data.startswith(b"GIF89a")


def test_it_says_what_the_tab_is(run, tab):
    """Its name, its module, and that TensorBoard need not reload it."""
    listing = json.loads(tab.client.get("/data/plugins_listing").data)
    assert listing["filtertrack"]["enabled"] is True
    assert listing["filtertrack"]["tab_name"] == "Filters"
    assert listing["filtertrack"]["disable_reload"] is True
    module = listing["filtertrack"]["loading_mechanism"]["module_path"]
    assert tab.client.get(module).mimetype == "application/javascript"
    assert b"index.js" in tab.client.get("/data/plugin_entry.html?name=filtertrack").data


def test_without_a_run_it_is_not_active(tab, make_run):
    """Until there is one."""
    assert not tab.plugin.is_active()
    make_run()
    assert tab.plugin.is_active()


def test_a_log_folder_that_is_not_there(tmp_path):
    """It may still come."""
    tab = Tab(tmp_path / "later")
    assert tab.json("runs") == {"runs": [], "notes": []}
    assert not tab.plugin.is_active()


# ---------------------------------------------------------------------------------- cells


LOOKS = [
    *((kind, {}) for kind in ("grey", "colour", "pattern", "slices", "deep slices", "matrix")),
    ("one weight", {}),
    ("colour", {"channels": 2}),
    ("colour", {"channels": "strongest"}),
    ("pattern", {"channels": 7}),
    ("deep slices", {"channels": 3}),
    ("slices", {"channels": 0}),
]


@pytest.mark.parametrize("delta", [False, True], ids=["weights", "delta"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "bool"])
@pytest.mark.parametrize(("kind", "look"), LOOKS, ids=str)
def test_cells_are_the_renderers(tab, write_run, layer, rng, *, kind, look, dtype, delta):
    """Bit for bit, at every step and for a few filters; in 32 bits where these hold them."""
    info = layer(kind)
    kernels = [(3 * rng.normal(size=info.kernel_shape)).astype(dtype) for _ in range(4)]
    run = write_run(info, kernels)
    view = view_of(info, look.get("channels"))
    exact = dtype in EXACT_IN_32_BITS and view.kind != "pattern" and not delta
    query = {"first": 0, "last": 3, "delta": int(delta), **look}
    for text, filters in ((f"0-{info.filters - 1}", None), ("0,2", [0, 2])):
        head, cells = tab.cells(filters=text, **query)
        assert head["type"] == ("float32" if exact else "float64")
        assert len(cells) == 4
        for step, came in enumerate(cells):
            expected = looked_at(run, step, filters=filters, delta=delta, **look)
            same_bits(came, np.ascontiguousarray(expected.astype(head["type"])))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", ">f4", ">f8"])
def test_other_types_come_without_loss(tab, write_run, layer, dtype):
    """The largest and the smallest of each."""
    info = layer("grey")
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    kernel = np.resize(np.array([limits.min, limits.max, 1], dtype), info.kernel_shape)
    write_run(info, [kernel])
    _, (came,) = tab.cells(filters="0-4", first=0, last=0)
    np.testing.assert_array_equal(came, info.canonical(kernel))


def test_what_is_not_finite_arrives(tab, write_run, layer):
    """NaN with its bits, infinities, the sign of zero; also as a difference, without a warning."""
    info = layer("grey")
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    kernel = np.resize(odd, info.kernel_shape)
    run = write_run(info, [kernel, kernel])
    _, cells = tab.cells(filters="0-4", first=0, last=1)
    same_bits(cells[1], np.ascontiguousarray(run.kernels("conv1", 1)))
    _, cells = tab.cells(filters="0-4", first=0, last=1, delta=1)
    assert np.isnan(cells[1]).any()


def test_only_steps_that_were_asked_for(make_run, tab):
    """Between two numbers, whether there are snapshots at these or not."""
    make_run(steps=(0, 3, 7, 20))
    head, _ = tab.cells(filters="0", first=1, last=19)
    assert [moment["step"] for moment in head["moments"]] == [3, 7]
    assert tab.cells(filters="0", first=9, last=8)[0]["moments"] == []
    assert tab.cells(filters="0", first=21, last=999_999_999_999)[0]["next"] is None


def test_filters_come_in_the_order_asked(run, tab):
    """As ``filters`` names them."""
    _, cells = tab.cells(filters="3,0-1", first=0, last=0)
    same_bits(cells[0], np.ascontiguousarray(run.kernels("conv1", 0)[[3, 0, 1]]))


def test_many_snapshots_come_in_several_answers(make_run, tab, monkeypatch):
    """``next`` leads through all of them, each once: bounded by bytes, and by their number."""
    run = make_run(steps=range(20))
    size = run.kernels("conv1", 0).nbytes
    for name, value, most in (("_MOST_BYTES", 3 * size, 3), ("_MOST_SNAPSHOTS", 6, 6)):
        monkeypatch.setattr(parts, name, value)
        first, came = 0, []
        while first is not None:
            head, cells = tab.cells(filters="0-3", first=first, last=18)
            assert 0 < len(cells) <= most
            came += [moment["step"] for moment in head["moments"]]
            first = head["next"]
        assert came == list(range(19))
        monkeypatch.undo()
        monkeypatch.setattr(catalogue, "_FRESH", 0.0)


def test_one_snapshot_larger_than_an_answer_comes_alone(run, tab, monkeypatch):
    """Otherwise nothing ever would."""
    monkeypatch.setattr(parts, "_MOST_BYTES", 1)
    head, cells = tab.cells(filters="0-3", first=0, last=2)
    assert (len(cells), head["next"]) == (1, 1)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_damaged_snapshot_is_said_and_the_others_come(run, tab, bad):
    """With the reason; also where it is the first, from which a difference is taken."""
    run.file(bad).write_bytes(run.file(bad).read_bytes()[:-30])
    for delta in (0, 1):
        head, cells = tab.cells(filters="0-3", first=0, last=2, delta=delta)
        assert list(head["damaged"]) == [str(bad)]
        assert "damaged file" in head["damaged"][str(bad)]
        assert len(cells) == 2
        assert head["next"] is None
    others = [step for step in run.steps if step != bad]
    asked = {"run": "run", "layer": "conv1"}
    assert tab.json("trajectory", **asked, filter=0)["steps"] == others
    assert len(tab.json("order", **asked, order="drift")["numbers"]) == 4
    tab.refused("label", {**asked, "filter": 0, "step": bad}, "damaged")


def test_nothing_but_damage(run, tab):
    """An answer that says so of each step; what needs a snapshot is refused."""
    for step in run.steps:
        run.file(step).write_bytes(b"nothing")
    head, cells = tab.cells(filters="0-3", first=0, last=2)
    assert sorted(head["damaged"]) == ["0", "1", "2"]
    assert (cells, head["type"], head["shape"]) == ([], None, None)
    asked = {"run": "run", "layer": "conv1"}
    tab.refused("cells", {**asked, "filters": 0, "first": 0, "last": 2, "delta": 1}, "can be read")
    tab.refused("order", {**asked, "order": "drift"}, "can be read")
    tab.refused("trajectory", {**asked, "filter": 0}, "can be read")
    tab.refused("animation", {**asked, "ending": ".gif"}, "snapshots")


def test_a_snapshot_that_vanished_while_it_was_asked_for(run, tab, monkeypatch):
    """It is said like a damaged one."""
    whole = Run.snapshot

    def removed_first(self, step, layers=None):
        run.file(1).unlink(missing_ok=True)
        return whole(self, step, layers)

    monkeypatch.setattr(Run, "snapshot", removed_first)
    head, cells = tab.cells(filters="0", first=0, last=2)
    assert "no snapshot at step 1" in head["damaged"]["1"]
    assert len(cells) == 2


def test_a_run_without_snapshots(make_run, tab):
    """It has layers and no steps; what needs a snapshot is refused in a sentence."""
    run = make_run(steps=())
    asked = {"run": "run", "layer": "conv1"}
    assert tab.json("steps", run="run")["steps"] == []
    head, cells = tab.cells(filters="0", first=0, last=9)
    assert (head["moments"], head["damaged"], head["next"], cells) == ([], {}, None, [])
    for route, more in (
        ("cells", {"filters": 0, "first": 0, "last": 9, "delta": 1}),
        ("order", {"order": "stored"}),
        ("trajectory", {"filter": 0}),
        ("label", {"filter": 0, "step": 0}),
        ("animation", {"ending": ".gif"}),
    ):
        tab.refused(route, {**asked, **more})
    shutil.rmtree(run.file(0).parent)  # as while it is deleted
    assert tab.json("steps", run="run")["steps"] == []
    tab.refused("trajectory", {**asked, "filter": 0})


def test_a_run_that_became_longer_bytes_than_it_began_with(tab, layer, tmp_path, rng):
    """32 bits at first and 64 later: an answer each, as arrays of one answer are of one type."""
    info = layer("grey")
    run = Run.create(tmp_path / "run", [info])
    kernels = [rng.normal(size=info.kernel_shape).astype(t) for t in (np.float32, np.float64)]
    for step, kernel in enumerate(kernels):
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
    for step, kernel in enumerate(kernels):
        head, cells = tab.cells(filters="0-4", first=step, last=1)
        assert head["next"] == (1 if step == 0 else None)
        assert head["type"] == kernel.dtype.name
        np.testing.assert_array_equal(cells[0], info.canonical(kernel))


def test_a_message_is_packed_only_for_who_can_unpack_it(run, tab):
    """Browsers say that they can."""
    query = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 2}
    plain = tab.ask("cells", query)
    packed = tab.ask("cells", query, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert int(plain.headers["Content-Length"]) == len(plain.data)
    assert tab.ask("cells", query, method="HEAD").data == b""


# ---------------------------------------------------------------------------------- large layers


def test_a_large_matrix_is_cut(tab, write_run, conv_info, rng):
    """To its first 256 channels, and to 256 filters at a time."""
    info = conv_info("conv1", (1, 1, 300, 300), bias=False)
    run = write_run(info, [rng.normal(size=info.kernel_shape).astype(np.float32)])
    (described,) = tab.json("layers", run="run")["layers"]
    assert (described["kind"], described["page"], described["cutChannels"]) == ("matrix", 256, 256)
    head, (cells,) = tab.cells(filters="44-299", first=0, last=0)
    assert head["shape"] == [1, 256, 256, 1]
    kernels = run.kernels("conv1", 0)[44:, 0, 0, :256]
    same_bits(cells[0, :, :, 0], np.ascontiguousarray(kernels.T))
    query = {"run": "run", "layer": "conv1", "first": 0, "last": 0}
    tab.refused("cells", {**query, "filters": "0-256"}, "expected 1 to 256")
    tab.refused("cells", {**query, "filters": "0", "channels": 3}, "matrix")


@pytest.mark.parametrize(
    ("shape", "page"),
    [((3, 3, 1, 100), 64), ((3, 3, 3, 2), 64), ((128, 128, 3, 2), 10), ((900, 900, 1, 2), 1)],
)
def test_a_page_holds_what_fits_into_an_answer(conv_info, shape, page):
    """64 filters, or fewer large ones; always one."""
    assert parts.page_of(conv_info("conv1", shape)) == page


def test_more_filters_than_a_page(tab, write_run, conv_info):
    """Are refused; a page of them comes."""
    info = conv_info("conv1", (3, 3, 1, 70), bias=False)
    write_run(info, [np.ones(info.kernel_shape, np.float32)])
    query = {"run": "run", "layer": "conv1", "first": 0, "last": 0}
    tab.refused("cells", {**query, "filters": "0-64"}, "expected 1 to 64")
    assert tab.cells(filters="6-69", first=0, last=0)[0]["shape"] == [64, 3, 3, 1]


# ---------------------------------------------------------------------------------- nonsense


NONSENSE = {
    "filters": ["", "4", "0-4", "0,0", "0-2,1", ",", "-", "0-", "-1", "1.5", "x", "0x1", "1e3"],
    "first": ["", "-1", "1.5", "x", "9" * 13, "٣", " 1", "1_000", "+1"],
    "last": ["", "-1", "NaN", "9" * 400],
    "channels": ["-1", "1", "Strongest", "weakest", "9" * 12],
    "layer": ["", "conv", "conv1/", "../conv1", "*", "conv[1]"],
    "run": ["", "none", "run/", "./run", "RUN", "run\0"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in NONSENSE.items() for value in values]
)
def test_nonsense_is_refused_in_a_sentence(run, tab, name, value):
    """One wrong value among right ones."""
    right = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 2}
    tab.refused("cells", {**right, name: value})


@pytest.mark.parametrize("name", ["run", "layer", "filters", "first", "channels", "version"])
def test_very_long_texts_are_refused(run, tab, name):
    """And not repeated in the answer."""
    right = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 2}
    tab.refused("cells", {**right, name: "1" * 5000}, "at most 4096 characters")


@pytest.mark.parametrize(
    "filters",
    [
        *("0-999999999999", "0-4095," * 584 + "0", "3-1"),
        "3-1,0",
    ],
    ids=["huge", "many", "backwards", "backwards among others"],
)
def test_nonsense_numbers_of_filters_are_refused(run, tab, filters):
    """Before they take memory; so are those that run backwards."""
    asked = {"run": "run", "layer": "conv1", "filters": filters}
    began = time.monotonic()
    tab.refused("cells", {**asked, "first": 0, "last": 2})
    tab.refused("animation", {**asked, "ending": ".gif"})
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("value", ["", "-1", "4", "x", "999999999999"])
def test_a_filter_that_is_none_of_the_layers(run, tab, value):
    """As a trajectory and as a label."""
    asked = {"run": "run", "layer": "conv1", "filter": value}
    tab.refused("trajectory", asked, "filter")
    tab.refused("label", {**asked, "step": 0}, "filter")


@pytest.mark.parametrize("step", ["", "3", "-1", "999999999999"])
def test_a_step_that_is_none_of_the_runs(run, tab, step):
    """No label is made up."""
    tab.refused("label", {"run": "run", "layer": "conv1", "filter": 0, "step": step})


VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "1", "2", "3", "0-3", "0,2", "3-1", "999999999999", "conv1", "conv2", "run"]
    ),
    st.sampled_from(["strongest", "label", "similarity", "viridis", ".gif", "light", "frame"]),
    st.text(max_size=12),
    st.integers().map(str),
).map(lambda text: quote_from_bytes(text.encode())) | st.binary(max_size=8).map(quote_from_bytes)
NAMES = st.sampled_from(
    [
        *("run", "layer", "filters", "filter", "channels", "delta", "first", "last", "version"),
        *("order", "step", "known", "colormap", "compare", "ending", "scale", "theme", "fps"),
        "zero_centred",
    ]
)


@pytest.mark.parametrize("route", ROUTES)
def test_no_question_is_answered_with_a_fault(route, run, tab):
    """Whatever the address says: an answer, or a sentence that says what is wrong."""
    usual = {"run": "run", "layer": "conv1", "filters": "0-3", "filter": "1", "first": "0"}
    usual |= {"last": "2", "order": "drift", "step": "1", "ending": ".gif"}

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.dictionaries(NAMES, VALUES, max_size=4), st.sets(st.sampled_from(sorted(usual))))
    def asked(given, left_out):
        query = {k: v for k, v in usual.items() if k not in left_out} | given
        answer = tab.ask(route, "&".join(f"{name}={value}" for name, value in query.items()))
        assert answer.status_code in {200, 400}, (query, answer.text)
        if answer.status_code == 400:
            assert answer.mimetype == "text/plain"
            assert 0 < len(answer.text) < 10_000
            assert "Traceback" not in answer.text
        elif answer.mimetype == "application/json":
            strict_json(answer.text)

    asked()


@pytest.mark.parametrize("text", ["", "&&&", "=", "run", "%", "%zz=%ff", "run=run&run=other", ";"])
@pytest.mark.parametrize("route", ROUTES)
def test_broken_addresses(run, tab, route, text):
    """Are questions like any other."""
    assert tab.ask(route, text).status_code in {200, 400}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(run, tab, method):
    """Every route is to be read only."""
    before = sorted(run.path.rglob("*"))
    for route in (*ROUTES, "static/index.js"):
        answer = tab.ask(route, {"run": "run", "layer": "conv1"}, method=method)
        assert answer.status_code == 405, route
        assert answer.mimetype == "text/plain"
    assert sorted(run.path.rglob("*")) == before


def test_who_may_only_read_is_told_what_may_be_done(tab):
    """HTTP asks for that (RFC 9110, 15.5.6)."""
    assert "GET" in tab.ask("runs", method="POST").headers.get("Allow", "")


# ---------------------------------------------------------------------------------- static files


def test_only_the_pages_own_files_are_served(tab):
    """Each with its media type; ``nosniff`` is looked at for every answer."""
    kinds = {".js": "application/javascript", ".css": "text/css"}
    folder = os.path.dirname(parts.__file__) + "/page"  # noqa: PTH120
    names = os.listdir(folder)  # noqa: PTH208
    assert "index.js" in names
    for name in names:
        answer = tab.ask(f"static/{name}")
        assert (answer.status_code, answer.mimetype) == (200, kinds[os.path.splitext(name)[1]])  # noqa: PTH122
        with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123
            assert answer.data == file.read()
        assert "no-cache" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    "name",
    [
        *("none.js", "index", "index.js.map", "../plugin.py", "..%2fplugin.py", "%2e%2e/loader.py"),
        *("..", "../../../../etc/passwd", "/etc/passwd", "INDEX.JS", "index.js%00", "index.html"),
        "x/../../wire.py",
    ],
)
def test_other_files_are_refused(tab, name):
    """Whether they are there or not."""
    answer = tab.client.get(f"{PREFIX}/static/{name}")
    assert answer.status_code in {400, 404}
    assert answer.mimetype == "text/plain"
    assert b"import " not in answer.data
    assert b"root:" not in answer.data


# ---------------------------------------------------------------------------------- keeping


def test_what_names_a_version_may_be_kept(run, tab):
    """Nothing else, and no error."""
    asked = {"run": "run", "layer": "conv1"}
    questions = {
        "cells": {"filters": 0, "first": 0, "last": 2},
        "order": {"order": "drift"},
        "trajectory": {"filter": 0},
        "label": {"filter": 0, "step": 1},
    }
    for route, more in questions.items():
        kept = tab.ask(route, {**asked, **more, "version": "1"})
        assert kept.headers["Cache-Control"] == "private, max-age=86400"
        assert "no-cache" in tab.ask(route, {**asked, **more}).headers["Cache-Control"]
        tab.refused(route, {**asked, "version": "1"})
    for route in ("runs", "layers", "steps", "settings"):
        answer = tab.ask(route, {**asked, "version": "1"})
        assert "no-cache" in answer.headers["Cache-Control"]


def test_what_is_known_is_not_said_again(make_run, tab):
    """The version changes when a snapshot comes, is replaced or goes, or the run is another."""

    def changed():
        nonlocal known
        now = tab.json("steps", run="run", known=known["version"])
        assert now["version"] != known["version"]
        assert tab.json("steps", run="run", known=now["version"]) == {"version": now["version"]}
        before, known = known, now
        return before, now

    run = make_run()
    known = tab.json("steps", run="run")
    assert tab.json("steps", run="run", known=known["version"]) == {"version": known["version"]}
    last = run.snapshot(2)
    time.sleep(0.05)  # a file system's clock may be coarse
    run.append(Snapshot(Moment(3, 3), last.arrays))
    before, now = changed()
    assert now["steps"] == [0, 1, 2, 3]
    assert now["stamps"][:3] == before["stamps"]
    time.sleep(0.05)
    run.append(last)
    before, now = changed()
    assert now["steps"] == before["steps"]
    assert [a == b for a, b in zip(now["stamps"], before["stamps"], strict=True)] == [
        *(True, True, False, True)
    ]
    time.sleep(0.05)
    run.truncate(2)
    assert changed()[1]["steps"] == [0, 1]
    time.sleep(0.05)
    Run.delete(run.path)
    make_run()
    before, now = changed()
    assert now["made"] != before["made"]


def test_a_snapshot_that_vanishes_while_steps_are_listed(run, tab, monkeypatch):
    """It is left out."""
    monkeypatch.setattr(Run, "steps", property(lambda self: [0, 1, 2, 7]))
    steps = tab.json("steps", run="run")
    assert steps["steps"] == [0, 1, 2]
    assert len(steps["stamps"]) == 3


# ---------------------------------------------------------------------------------- other folders


def test_nothing_outside_the_log_folder_is_read(make_run, tmp_path, monkeypatch):
    """By ``..``, by an absolute path, by a link: every route refuses, and opens nothing."""
    inside = make_run(folder="logs/run").path
    outside = make_run(folder="outside").path
    (tmp_path / "logs" / "link").symlink_to(outside)
    tab = Tab(tmp_path / "logs")
    assert tab.json("runs")["runs"] == ["run"]
    opened = []
    monkeypatch.setattr(
        catalogue, "Run", lambda path, **options: opened.append(path) or Run(path, **options)
    )
    for name in (
        "../outside",
        "run/../../outside",
        str(outside),
        "link",
        f"file://{outside}",
        "..",
    ):
        for route in ROUTES[3:]:
            tab.refused(route, {"run": name, "layer": "conv1", "ending": ".gif"}, "no run")
        query = {"run": "run", "layer": "conv1", "compare": name, "ending": ".gif"}
        tab.refused("animation", query, "no run")
    assert set(opened) == {inside}


def test_a_file_that_leads_out_of_the_log_folder_is_not_sent(make_run, tmp_path):
    """A snapshot, by whatever way, is damaged, and the others come; a manifest is refused.

    Within the log folder links are followed.
    """
    run, other = make_run(folder="logs/run"), make_run(folder="other")
    run.file(0).rename(tmp_path / "logs" / "object")
    run.file(0).symlink_to(tmp_path / "logs" / "object")
    way = tmp_path / "logs" / "way"
    way.symlink_to(other.file(1))
    run.file(1).unlink()
    run.file(1).symlink_to(way)
    tab = Tab(tmp_path / "logs")
    head, cells = tab.cells(filters="0", first=0, last=2)
    assert list(head["damaged"]) == ["1"]
    assert str(tmp_path) not in json.dumps(head)
    assert len(cells) == 2
    asked = {"run": "run", "layer": "conv1", "ending": ".gif"}
    with Image.open(io.BytesIO(tab.ask("animation", asked).data)) as animation:
        assert animation.n_frames == 2
    (run.folder / "manifest.json").unlink()
    (run.folder / "manifest.json").symlink_to(other.folder / "manifest.json")
    for route in ("layers", "steps", "cells", "animation"):
        answer = tab.ask(route, {**asked, "filters": "0", "first": 0, "last": 2})
        assert answer.status_code == 400
        assert str(tmp_path) not in answer.text


def test_no_message_says_where_the_log_folder_is(run, tab, tmp_path):
    """Files are named relative to it: in a refusal, in what is damaged, in a note."""
    damaged = run.file(1)
    damaged.write_bytes(b"damaged")
    head, _ = tab.cells(filters="0", first=0, last=2)
    assert "'run/filters/snapshots/000000000001.npz'" in head["damaged"]["1"]
    label = {"run": "run", "layer": "conv1", "filter": 0, "step": 1}
    tab.refused("label", label, "'run/filters/snapshots/000000000001.npz'")
    tab.refused("label", {**label, "step": 9}, "no snapshot at step 9 in 'run'")
    tab.refused("label", {**label, "layer": "x"}, "no layer 'x' in 'run'")
    damaged.unlink()
    damaged.mkdir()
    answers = [tab.ask("label", label).text, tab.ask("label", {**label, "layer": "x"}).text]
    (run.folder / "manifest.json").write_text("{")
    answers += [tab.ask(route, label).text for route in ROUTES[3:]]
    answers += [tab.ask("animation", {**label, "ending": ".gif", "compare": "nothing"}).text]
    assert all(str(tmp_path) not in text for text in [*answers, json.dumps(head)])
    named = Tab(spec=f"name:{tmp_path}")
    named.refused("layers", {"run": "name/run"}, "'name/run/filters/manifest.json'")


def test_a_request_that_waits_too_long_for_memory_is_told_to_come_again(run, tab):
    """With how soon; those that need none are answered meanwhile, and then it is."""
    tab.plugin._memory = memory.MemoryBudget(1000, patience=0.05)
    query = {"run": "run", "layer": "conv1", "filters": "0", "first": 0, "last": 2}
    query |= {"filter": 0, "step": 0, "order": "drift"}
    heavy = ("layers", "cells", "order", "trajectory", "label")
    with tab.plugin._memory.taking(1):
        for route in heavy:
            busy = tab.ask(route, query)
            assert (busy.status_code, busy.mimetype) == (503, "text/plain")
            assert "busy" in busy.text
            assert int(busy.headers["Retry-After"]) > 0
        assert tab.ask("steps", query).status_code == 200
    for route in heavy:
        assert tab.ask(route, query).status_code == 200


def test_requests_get_memory_in_the_order_they_come():
    """A large one is not overtaken for ever by small ones; all together stay within the bound."""
    budget = memory.MemoryBudget(100, patience=30)
    taken, most, order = 0, 0, []
    lock = threading.Lock()

    def take(size):
        nonlocal taken, most
        with budget.taking(size):
            with lock:
                order.append(size)
                taken += min(size, 100)
                most = max(most, taken)
            time.sleep(0.02)
            with lock:
                taken -= min(size, 100)

    sizes = [60, 1000, 30, 30, 30, 30, 30]
    threads = [threading.Thread(target=take, args=[size]) for size in sizes]
    for thread in threads:
        thread.start()
        time.sleep(0.002)
    for thread in threads:
        thread.join()
    assert order == sizes
    assert most == 100


def test_links_that_go_round_hide_nothing(run, tab, tmp_path):
    """One to itself beside the runs."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert tab.json("runs")["runs"] == ["run"]


def test_a_run_whose_snapshots_go_round_does_not_stop_the_others(run, tab, tmp_path):
    """The tab, and TensorBoard's list of tabs, are still there."""
    shutil.copytree(run.path, tmp_path / "round")
    snapshots = tmp_path / "round" / "filters" / "snapshots"
    shutil.rmtree(snapshots)
    snapshots.symlink_to(snapshots)
    assert "run" in tab.json("runs")["runs"]
    assert tab.client.get("/data/plugins_listing").status_code == 200


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another user")
def test_a_folder_that_may_not_be_entered_does_not_stop_the_others(make_run, tmp_path):
    """Someone else's run in the same log folder."""
    make_run(folder="logs/a")
    closed = make_run(folder="logs/closed").path
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]);"
        "from filtertrack.tensorboard_plugin.logdir import LogDirectory;"
        "from pathlib import Path;"
        "os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534);"
        "print(list(LogDirectory({'': Path('.')}).find().runs))"
    )
    closed.chmod(0o600)
    for folder in (tmp_path / "logs", tmp_path / "logs" / "a"):
        folder.chmod(0o755)
    command = [sys.executable, "-c", code, tmp_path / "logs", os.getcwd()]  # noqa: PTH109
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    closed.chmod(0o755)
    assert done.stdout == "['a']\n", done.stderr


@pytest.mark.parametrize("name", ["a", "first/half"])
def test_names_of_folders_are_those_that_tensorboard_knows(run, name):
    """``--logdir_spec``: what stands before the first colon, also one letter or a path."""
    assert Tab(spec=f"{name}:{run.path}").json("runs")["runs"] == [name]


def test_a_folder_whose_name_is_no_text_does_no_harm(run, tab, tmp_path):
    """A name in another encoding, as old archives have."""
    shutil.copytree(run.path, tmp_path / os.fsdecode(b"\xff"))
    assert "run" in tab.json("runs")["runs"]


# ---------------------------------------------------------------------------------- hostile runs


HOSTILE = '<script>alert("1")</script>\'&amp;'


def test_markup_stays_text(tab, write_run, conv_info):
    """In a class's and a layer's name, in a metric's: as JSON, never as a page."""
    info = conv_info("conv1", (3, 3, 1, 4), bias=False, path=HOSTILE, class_name=HOSTILE)
    names = {HOSTILE: 1.0, 'a\n"b"\\': 2.0, "\ud800": 3.0, "</script>": 4.0}
    write_run(info, [np.ones(info.kernel_shape, np.float32)] * 2, metrics=names)
    (described,) = tab.json("layers", run="run")["layers"]
    assert described["class"] == HOSTILE
    assert HOSTILE in described["about"]
    head, _ = tab.cells(filters="0", first=0, last=0)
    shown = {HOSTILE: 1.0, 'a?"b"\\': 2.0, "?": 3.0, "</script>": 4.0}  # what is printable of them
    assert head["moments"][0]["metrics"] == shown
    answer = tab.ask("layers", {"run": HOSTILE})
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


def test_no_name_steers_the_terminal_through_the_log(make_run, tmp_path, caplog, monkeypatch):
    """Of a file that cannot be read, and of an address that leads to a fault of ours."""
    name = "a\x1b[2J"
    run = make_run(folder=f"logs/{name}")
    run.file(1).unlink()
    run.file(1).mkdir()
    tab = Tab(tmp_path / "logs")
    query = {"run": name, "layer": "conv1", "filter": 0, "step": 1}
    tab.ask("label", query)
    monkeypatch.setattr(answers, "label", lambda *_: (_ for _ in ()).throw(OSError(name)))
    assert tab.ask("label", query).status_code == 503
    with caplog.at_level(logging.ERROR, "filtertrack"):
        monkeypatch.setattr(FiltersPlugin, "_static", lambda *_: 1 / 0)
        assert Tab(tmp_path / "logs").ask("static/%1b[2J").status_code == 500
    assert "Filters" in caplog.text
    assert "\x1b" not in caplog.text


def test_metrics_that_are_no_numbers_do_not_break_json(tab, write_run, layer):
    """They are left out."""
    info = layer("grey")
    metrics = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "loss": 1e308}
    write_run(info, [np.ones(info.kernel_shape, np.float32)], metrics=metrics)
    head, _ = tab.cells(filters="0", first=0, last=0)
    assert head["moments"][0]["metrics"] == {"loss": 1e308}


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": 10**400},
        {"loss": [1]},
        {"loss": None},
        [],
        None,
    ],
)
def test_metrics_of_any_kind_are_damage(run, tab, metrics):
    """As a forged file may hold them."""
    arrays = dict(np.load(run.file(1)))
    meta = {"step": 1, "epoch": 1, "metrics": metrics}
    np.savez(run.file(1), **{**arrays, "meta": np.array(json.dumps(meta))})
    head, cells = tab.cells(filters="0", first=0, last=2)
    assert (len(head["damaged"]), len(cells)) in {(1, 2), (0, 3)}


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((3, 3, 1, 0), {}),
        ((3, 3, 0, 2), {}),
        ((0, 3, 1, 2), {}),
        ((0, 3, 3, 2), {}),
        pytest.param(*((0, 3, 4, 2), {})),
        ((1, 1, 0, 2), {}),
        ((1, 1, 5, 0), {}),
        pytest.param(*((0, 3, 4, 1, 2), {"axes": (4, 1, 0, 2, 3), "shape": (2, 3, 0, 1)})),
    ],
    ids=str,
)
def test_layers_without_any_weights_do_no_harm(tab, write_run, conv_info, shape, changes):
    """No filters, channels, rows or slices."""
    info = conv_info("conv1", shape, bias=False, **changes)
    write_run(info, [np.ones(shape, np.float32)] * 2)
    query = {"run": "run", "layer": "conv1", "filters": "0", "filter": 0, "first": 0, "last": 1}
    query |= {"step": 0, "ending": ".gif"}
    for route in ROUTES[3:]:
        for way in ORDERS if route == "order" else [""]:
            answer = tab.ask(route, {**query, "order": way})
            assert answer.status_code in {200, 400}, (route, way)


def test_a_manifest_that_promises_more_than_there_is(run, tab, forge_manifest):
    """Large numbers are described; nothing of that size is made."""
    file = run.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["layers"][0] |= {"kernel_shape": [10**10, 3, 1, 4], "shape": [4, 10**10, 3, 1]}
    forge_manifest(file, manifest)
    assert tab.json("layers", run="run")["layers"][0]["page"] == 1
    head, _ = tab.cells(filters="0", first=0, last=2)
    assert (list(head["damaged"]), head["next"]) == (["0"], 1)  # so large, one at a time


def test_a_broken_manifest_leaves_the_others_alone(run, tab, tmp_path):
    """Its run is listed, and refused when it is asked for."""
    shutil.copytree(run.path, tmp_path / "broken")
    (tmp_path / "broken" / "filters" / "manifest.json").write_text("{")
    assert tab.json("runs")["runs"] == ["broken", "run"]
    for route in ROUTES[3:]:
        tab.refused(route, {"run": "broken", "layer": "conv1"}, "damaged")
    assert tab.json("layers", run="run")["layers"]


# ---------------------------------------------------------------------------------- measures


KINDS = ("grey", "colour", "pattern", "slices", "deep slices", "matrix", "one weight")


def number(value):
    return float(value) if np.isfinite(value) else None


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "bool"])
@pytest.mark.parametrize("kind", KINDS)
def test_measures_are_those_of_the_package(tab, write_run, layer, rng, *, kind, dtype):
    """Norm, drift and roughness at each step, the label and its evidence, every order."""
    info = layer(kind)
    view = view_of(info)
    kernels = [(3 * rng.normal(size=info.kernel_shape)).astype(dtype) for _ in range(3)]
    run = write_run(info, kernels)
    asked = {"run": "run", "layer": "conv1"}
    shown = [to_channels(view, run.kernels("conv1", step)) for step in run.steps]
    for one in (0, info.filters - 1):
        came = tab.json("trajectory", **asked, filter=one)
        assert came["steps"] == run.steps
        filters = [kernels[one : one + 1] for kernels in shown]
        assert came["norm"] == [number(measures.norm(f)[0]) for f in filters]
        assert came["drift"] == [number(measures.drift(f, filters[0])[0]) for f in filters]
        assert came["roughness"] == [number(measures.roughness(f)[0]) for f in filters]
        found = measures.label_of_filter(filters[1], rgb=view.coloured)
        assert tab.json("label", **asked, filter=one, step=1) == {
            "label": found.names[0],
            "roughness": number(found.structure.ratio[0]),
            "chance": number(found.structure.p_value[0]),
            "gabor": number(found.fits.gabor.r2[0]),
            "blob": number(found.fits.blob.r2[0]),
        }
    for way in ORDERS:
        expected = arrange(way, shown[0], shown[-1], rgb=view.coloured).tolist()
        assert tab.json("order", **asked, order=way)["numbers"] == expected


def test_planted_filters_are_named(planted_run):
    """An edge is called one, over HTTP too."""
    tab = Tab(planted_run.path)
    labels = [
        tab.json("label", run=".", layer="conv1", filter=n, step=20)["label"] for n in range(8)
    ]
    names = measures.label_of_filter(planted_run.kernels("conv1", 20)).names
    assert labels == list(names)
    assert labels[:2] == ["edge", "blob"]


def test_what_is_not_finite_is_null(tab, write_run, layer):
    """JSON knows no NaN; and nothing is warned of."""
    info = layer("colour")
    kernels = [np.full(info.kernel_shape, value, np.float32) for value in (np.nan, np.inf, 0, 3e38)]
    write_run(info, kernels)
    asked = {"run": "run", "layer": "conv1", "filter": 0}
    came = tab.json("trajectory", **asked)
    assert came["norm"][:2] == [None, None]
    for step in range(4):
        assert tab.json("label", **asked, step=step)["label"] in measures.LABELS
    for way in ORDERS:
        assert sorted(tab.json("order", **asked, order=way)["numbers"]) == list(range(5))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"_MOST_MEASURED": 5}, [0, 5, 10, 15, 20]),
        ({"_MOST_READ": 4 * 36 * 3, "_FEWEST_MEASURED": 2}, [0, 10, 20]),
        ({"_MOST_READ": 1, "_FEWEST_MEASURED": 2}, [0, 20]),
    ],
)
def test_a_trajectory_of_many_snapshots_is_thinned(make_run, tab, monkeypatch, bounds, expected):
    """Evenly, the first and the last among them; by their number, and by what is read."""
    make_run(steps=range(21))
    for name, value in bounds.items():
        monkeypatch.setattr(answers, name, value)
    came = tab.json("trajectory", run="run", layer="conv1", filter=0)
    assert came["steps"] == expected


def test_an_order_that_is_none(run, tab):
    """The answer says which there are."""
    for way in ("", "Stored", "size"):
        tab.refused("order", {"run": "run", "layer": "conv1", "order": way}, "similarity")


# ---------------------------------------------------------------------------------- animations


LOOK_QUERIES = [
    ({}, {}),
    ({"scale": "filter", "zero_centred": 1, "theme": "light"}, None),
    ({"delta": 1, "filters": "0-1,3", "fps": 5}, {"delta": True, "filters": (0, 1, 3), "fps": 5.0}),
    ({"colormap": "viridis", "channels": 0}, None),
]


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("ending", [".gif", ".png", ".apng", ".webp"])
@pytest.mark.parametrize(("query", "options"), LOOK_QUERIES, ids=str)
def test_an_animation_is_what_animate_writes(
    make_run, tab, tmp_path, *, ending, query, options, compared
):
    """Byte for byte, with the same options."""
    run = make_run()
    other = make_run(folder="b/other") if compared else None
    options = query if options is None else options
    options = {k: v == 1 if k == "zero_centred" else v for k, v in options.items()}
    expected = animate(run, tmp_path / f"a{ending}", layers="conv1", compare=other, **options)
    asked = {"run": "run", "layer": "conv1", "ending": ending, **query}
    if compared:
        asked["compare"] = "b/other"
    answer = tab.ask("animation", asked)
    assert answer.status_code == 200, answer.text
    assert answer.data == expected.path.read_bytes()
    mime = {".gif": "image/gif", ".webp": "image/webp"}.get(ending, "image/png")
    assert answer.mimetype == mime
    assert answer.headers["Content-Disposition"] == f'attachment; filename="conv1{ending}"'
    assert "no-cache" in answer.headers["Cache-Control"]


def test_videos_are_drawn_too(run, tab):
    """Where their encoder is installed."""
    pytest.importorskip("av")
    for ending, mime in ((".mp4", "video/mp4"), (".webm", "video/webm")):
        query = {"run": "run", "layer": "conv1", "ending": ending}
        answer = tab.ask("animation", query)
        assert (answer.status_code, answer.mimetype) == (200, mime)


@pytest.mark.parametrize("ending", ["", "gif", ".GIF", ".exe", "/../x.gif", ".gif/", ".jpg"])
def test_another_ending_is_refused(run, tab, ending):
    """The answer says which there are."""
    asked = {"run": "run", "layer": "conv1", "ending": ending}
    tab.refused("animation", asked, "expected one of .gif")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"fps": "0"}, {"fps": "999999999999"}, {"scale": "x"}, {"theme": "x"}),
        *({"colormap": "x"}, {"filters": "9"}, {"channels": "9"}, {"compare": "none"}),
        *({"layer": "conv9"}, {"filters": ","}, {"colormap": "__class__"}),
    ],
    ids=str,
)
def test_an_animation_that_cannot_be_drawn_is_refused(run, tab, wrong):
    """In a sentence, and the next one is drawn."""
    right = {"run": "run", "layer": "conv1", "ending": ".gif"}
    tab.refused("animation", {**right, **wrong})
    assert tab.ask("animation", right).status_code == 200


def test_one_animation_is_drawn_at_a_time(run, tab, monkeypatch):
    """The second is asked to come again, also after a failure; then it is drawn."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(runs, ending, options, is_wanted):
        begun.set()
        assert go_on.wait(30)
        return b"drawn"

    monkeypatch.setattr(drawing, "draw", slow)
    query = {"run": "run", "layer": "conv1", "ending": ".gif"}
    came = []
    first = threading.Thread(target=lambda: came.append(tab.ask("animation", query)))
    first.start()
    assert begun.wait(30)
    busy = tab.ask("animation", query)
    assert (busy.status_code, busy.mimetype) == (503, "text/plain")
    assert "another animation" in busy.text
    assert int(busy.headers["Retry-After"]) > 0
    assert tab.ask("steps", {"run": "run"}).status_code == 200
    go_on.set()
    first.join()
    assert came[0].data == b"drawn"
    assert tab.ask("animation", query).data == b"drawn"


def test_drawing_that_takes_too_long_is_ended(run, tab, monkeypatch):
    """And said; the next one is drawn."""
    query = {"run": "run", "layer": "conv1", "ending": ".gif"}
    monkeypatch.setattr(drawing, "_LONGEST", 0.0)
    tab.refused("animation", query, "drawing was ended after 0 seconds")
    monkeypatch.setattr(drawing, "_LONGEST", 120.0)
    assert tab.ask("animation", query).status_code == 200


def test_drawing_imports_what_the_server_does(run, tab, tmp_path, monkeypatch):
    """Not what lies in the folder that TensorBoard was started in."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    query = {"run": "run", "layer": "conv1", "ending": ".gif"}
    assert tab.ask("animation", query).data.startswith(b"GIF89a")


def test_no_file_is_left_behind(run, tab, tmp_path, monkeypatch):
    """Whether it could be drawn or not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    asked = {"run": "run", "layer": "conv1", "ending": ".gif"}
    assert tab.ask("animation", asked).status_code == 200
    assert tab.ask("animation", {**asked, "fps": 0}).status_code == 400
    assert list((tmp_path / "temporary").iterdir()) == []


# ---------------------------------------------------------------------------------- the loader


def test_a_tab_that_cannot_be_loaded_costs_only_itself(monkeypatch, caplog, tmp_path):
    """None is what TensorBoard takes for that; the log says why."""
    monkeypatch.setitem(sys.modules, "filtertrack.tensorboard_plugin.plugin", None)
    context = base_plugin.TBContext(logdir=str(tmp_path), flags=SimpleNamespace(logdir_spec=""))
    with caplog.at_level(logging.ERROR, "filtertrack"):
        assert loader.FiltersLoader().load(context) is None
    assert "the tab Filters is left out" in caplog.text


def test_the_loader_makes_the_tab(tmp_path):
    """Also for a TensorBoard whose flags know no ``--logdir_spec``."""
    context = base_plugin.TBContext(logdir=str(tmp_path), flags=SimpleNamespace())
    assert loader.FiltersLoader().load(context).plugin_name == "filtertrack"


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        (["--filtertrack_all_images"], None, {"images": 1000}),
        (["--filtertrack_all_images"], {}, {"images": 1000}),
        (["--filtertrack_all_images"], {"images": 3}, {"images": 3}),
        (["--filtertrack_all_images"], {"scalars": 5}, {"images": 1000, "scalars": 5}),
        ([], {"scalars": 5}, {"scalars": 5}),
        ([], None, None),
    ],
)
def test_the_limit_of_the_images_tab(asked, given, expected):
    """It is lifted where that is asked for, and what the user said of it stays."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(samples_per_plugin=given)
    loader.FiltersLoader().define_flags(parser)
    flags = parser.parse_args(asked)
    loader.FiltersLoader().fix_flags(flags)
    assert flags.samples_per_plugin == expected


def test_flags_that_are_not_there_do_no_harm():
    """As where TensorBoard is started from Python with a loader that defined none."""
    flags = argparse.Namespace(samples_per_plugin={"images": 4})
    loader.FiltersLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"images": 4}


# ---------------------------------------------------------------------------------- TensorBoard


LOADERS = pytest.mark.parametrize(
    "loading", [[], ["--load_fast=false"]], ids=["default", "python loader"]
)


@pytest.fixture
def served(tensorboard):
    """Start TensorBoard in a folder; a function that asks it. It may warn of nothing of ours."""

    @contextmanager
    def start(folder, *flags):
        with tensorboard(*flags, cwd=folder) as server:
            yield lambda path, **query: server.get(path, query)
        said = server.log.read_text()
        for unwanted in ("In 3.0, this warning", "filtertrack", "Filters", "Traceback"):
            assert unwanted not in said, said

    return start


def served_images(get):
    """Return the steps of conv1's pictures that the tab Images has."""
    query = {"run": "run/filters", "tag": "filters/conv1", "sample": 0}
    if "run/filters" not in json.loads(get("plugin/images/tags")):
        return []
    return [entry["step"] for entry in json.loads(get("plugin/images/images", **query))]


@pytest.fixture
def logs(make_run, tmp_path):
    """A log folder with a run of 15 snapshots and their pictures."""
    run = make_run(steps=range(15), folder="logs/run")
    summaries = Summaries(run)
    for step in run.steps:
        summaries.add(run.snapshot(step))
    return tmp_path / "logs"


@LOADERS
def test_the_real_tensorboard_serves_the_tab(logs, served, until, loading):
    """From a relative folder: listed by its name, every route answered, ten pictures as ever."""
    run = Run(logs / "run")
    with served(logs, "--logdir", ".", *loading) as get:
        listed = json.loads(get("plugins_listing"))["filtertrack"]
        assert (listed["enabled"], listed["tab_name"]) == (True, "Filters")
        assert b"index.js" in get("plugin_entry.html", name="filtertrack")
        assert b"export" in get("plugin/filtertrack/static/index.js")
        assert json.loads(get("plugin/filtertrack/runs"))["runs"] == ["run"]
        asked = {"run": "run", "layer": "conv1"}
        data = get("plugin/filtertrack/cells", **asked, filters="0-3", first=0, last=20)
        head, cells = unpacked(data)
        assert [moment["step"] for moment in head["moments"]] == run.steps
        for step, came in zip(run.steps, cells, strict=True):
            same_bits(came, np.ascontiguousarray(run.kernels("conv1", step)))
        assert json.loads(get("plugin/filtertrack/trajectory", **asked, filter=0))["steps"]
        assert json.loads(get("plugin/filtertrack/label", **asked, filter=0, step=3))["label"]
        assert json.loads(get("plugin/filtertrack/order", **asked, order="drift"))["numbers"]
        drawn = get("plugin/filtertrack/animation", **asked, ending=".gif")
        assert drawn.startswith(b"GIF89a")
        for path in ("cells", "static/none.js", "animation"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(f"plugin/filtertrack/{path}", **asked, filters="9", first=0, last=0)
            assert refused.value.code == 400
            refused.value.close()
        until(lambda: 14 in served_images(get))
        assert len(served_images(get)) == 10


@LOADERS
def test_all_pictures_are_kept_where_that_is_asked_for(logs, served, until, loading):
    """By both loaders; and the tab is there below a path prefix."""
    flags = ["--logdir", str(logs), "--filtertrack_all_images", "--path_prefix", "/a/b"]
    with served(logs, *flags, *loading) as get:
        listed = json.loads(get("plugins_listing"))["filtertrack"]
        module = listed["loading_mechanism"]["module_path"]
        assert module == "/a/b/data/plugin/filtertrack/static/index.js"
        assert json.loads(get("plugin/filtertrack/runs"))["runs"] == ["run"]
        assert b"plugin/filtertrack/" in get("plugin_entry.html", name="filtertrack")
        until(lambda: 14 in served_images(get))
        assert served_images(get) == list(range(15))


def test_what_the_user_says_of_pictures_comes_first(logs, served, until):
    """Also where all are asked for."""
    flags = ["--filtertrack_all_images", "--samples_per_plugin", "images=3"]
    with served(logs, "--logdir", str(logs), *flags) as get:
        until(lambda: 14 in served_images(get))
        assert len(served_images(get)) == 3


def test_folders_with_names_are_served(make_run, logs, served):
    """``--logdir_spec``, which only TensorBoard's older loader knows."""
    other = make_run(folder="elsewhere/deep").path
    spec = f"first:{logs},second:{other}"
    with served(logs, "--logdir_spec", spec, "--load_fast=false") as get:
        assert json.loads(get("plugin/filtertrack/runs"))["runs"] == ["first/run", "second"]
        for run in ("first/run", "second"):
            layers = json.loads(get("plugin/filtertrack/layers", run=run))["layers"]
            assert [layer["name"] for layer in layers] == ["conv1", "conv2"]


@LOADERS
def test_the_tab_appears_with_the_first_run(make_run, tmp_path, served, until, *, loading):
    """A moment after it was begun; until then it is not active."""
    (tmp_path / "logs").mkdir()
    with served(tmp_path / "logs", "--logdir", str(tmp_path / "logs"), *loading) as get:

        def active():
            return json.loads(get("plugins_listing"))["filtertrack"]["enabled"]

        assert not active()
        make_run(folder="logs/run")
        until(active)
        assert json.loads(get("plugin/filtertrack/runs"))["runs"] == ["run"]
