"""The tab below TensorBoard's own application, and helpers that read its answers."""

import json
import shutil
import warnings
from types import SimpleNamespace
from urllib.parse import urlencode

import numpy as np
import pytest
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from filtertrack import Moment, Run, Snapshot
from filtertrack.tensorboard_plugin import logdir
from filtertrack.tensorboard_plugin.plugin import FiltersPlugin
from filtertrack.tensorboard_plugin.summaries import Summaries

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of html5lib, which TensorBoard imports
    from tensorboard.backend import application

PREFIX = "/data/plugin/filtertrack"
GENERAL_ROUTES = ("settings", "palette", "runs")
RUN_ROUTES = (
    *("layers", "parts", "steps", "cells", "order", "trajectory", "label", "labels", "animation"),
    *("probes", "probe", "responses", "kernel", "input", "metrics"),
)


def _strict_json(text):
    """Parse JSON without NaN and infinity, which browsers refuse."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def _unpack(data):
    """Read a message, as the page does: its head and its arrays."""
    length = int.from_bytes(data[:4], "little")
    head, body = _strict_json(data[4 : 4 + length]), data[4 + length :]
    count = len(head.get("moments") or head.get("responses") or head.get("kernels", [head["type"]]))
    if not count or head["type"] is None:
        assert not body
        return head, []
    size = np.dtype(head["type"]).itemsize
    assert len(body) == count * size * np.prod(head["shape"])
    planes = np.frombuffer(body, np.uint8).reshape(size, -1)
    words = np.ascontiguousarray(planes.T).view(f"<u{min(size, 4)}").reshape(count, -1)
    dtype = np.dtype(head["type"]).newbyteorder("<")
    whole = np.add.accumulate(words, axis=0, dtype=words.dtype).view(dtype)
    return head, list(whole.reshape(count, *head["shape"]))


class Tab:
    """The tab's routes, requested in this process.

    Attributes:
        routes: Names of all routes but the static files.
        run_routes: Those that read a run.
    """

    routes = (*GENERAL_ROUTES, *RUN_ROUTES)
    run_routes = RUN_ROUTES

    def __init__(self, logs="", spec=""):
        flags = SimpleNamespace(logdir=str(logs), logdir_spec=spec)
        context = base_plugin.TBContext(logdir=str(logs), flags=flags)
        self.plugin = FiltersPlugin(context)
        self.client = Client(application.TensorBoardWSGI([self.plugin]))

    def ask(self, route, query=None, *, method="GET", **headers):
        """Return the response to a request; the query is text, or name to value."""
        text = query if isinstance(query, str) else urlencode(query or {})
        path = f"{PREFIX}/{route}"
        answer = self.client.open(path, method=method, query_string=text, headers=headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return answer

    def json(self, route, **query):
        """Return the JSON of a successful response."""
        answer = self.ask(route, query)
        assert (answer.status_code, answer.mimetype) == (200, "application/json"), answer.text
        return _strict_json(answer.text)

    def cells(self, layer="conv1", run="run", **query):
        """Return the head and the arrays of a successful response of ``/cells``."""
        answer = self.ask("cells", {"run": run, "layer": layer, **query})
        assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream"), answer
        return _unpack(answer.data)

    def probe(self, number, run="run", **query):
        """Return the head and the picture of a successful response of ``/probe``."""
        answer = self.ask("probe", {"run": run, "probe": number, **query})
        assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream"), answer
        head, pictures = _unpack(answer.data)
        return head, pictures[0] if pictures else None

    def responses(self, layer="conv1", run="run", **query):
        """Return the head and the maps of a successful response of ``/responses``."""
        answer = self.ask("responses", {"run": run, "layer": layer, **query})
        assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream"), answer
        return _unpack(answer.data)

    def message(self, route, run="run", **query):
        """Return the head and the arrays of a successful response that is a message of bytes."""
        answer = self.ask(route, {"run": run, **query})
        assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream"), answer
        return _unpack(answer.data)

    def refused(self, route, query=None, reason=""):
        """Check that a request is refused with status 400 and one sentence of plain text."""
        answer = self.ask(route, query)
        assert (answer.status_code, answer.mimetype) == (400, "text/plain"), answer.data[:200]
        assert reason in answer.text
        assert 0 < len(answer.text) < 10_000
        assert "Traceback" not in answer.text
        assert "no-cache" in answer.headers["Cache-Control"]


@pytest.fixture
def make_tab(monkeypatch):
    """Make a tab that reads a log folder, or those of a ``--logdir_spec``, anew at each request."""
    monkeypatch.setattr(logdir, "_FRESH", 0.0)
    return Tab


@pytest.fixture
def tab(tmp_path, make_tab):
    return make_tab(tmp_path)


@pytest.fixture(scope="session")
def strict_json():
    return _strict_json


@pytest.fixture(scope="session")
def unpack():
    return _unpack


@pytest.fixture(scope="session")
def same_bits():
    """Compare two arrays bit for bit."""

    def compare(one, other):
        assert one.shape == other.shape
        np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))

    return compare


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
        "heat map": ((9, 4, 6), {"class_name": "Conv1D", "axes": (2, 0, 1), "shape": (6, 1, 9, 4)}),
        "strip": ((1, 64, 1, 5), {}),
        "matrix": ((1, 1, 5, 7), {}),
        "one weight": ((1, 1, 1, 3), {}),
    }

    def make(kind):
        shape, changes = shapes[kind]
        return conv_info("conv1", shape, bias=False, **changes)

    return make


@pytest.fixture
def summarize():
    """Write the summaries of a run, of all its snapshots or of some, and of its evolution."""

    def write(run, steps=None, **options):
        summaries = Summaries(run, **options)
        for step in run.steps if steps is None else steps:
            summaries.add(run.snapshot(step))
        summaries.add_evolution(run)

    return write


@pytest.fixture
def copied(tmp_path):
    """Copy a run, to write events into the copy."""

    def copy(run):
        shutil.copytree(run.path, tmp_path / "copy")
        return Run(tmp_path / "copy")

    return copy
