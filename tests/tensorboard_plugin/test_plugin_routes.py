"""The tab's routes: answers, static files and caching."""

import json
import os
import time

import pytest

from filtertrack import Moment, Run, Snapshot, measures
from filtertrack.outputs.picture_parts import parts_of
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.look import ORDERS, Look
from filtertrack.render.palette import colormap_levels
from filtertrack.tensorboard_plugin import plugin
from filtertrack.tensorboard_plugin.request_memory import MemoryBudget
from filtertrack.web import payload


def test_every_route_answers(run, tab):
    """Every request of the page is answered for a run with two layers."""
    assert tab.json("runs") == {"runs": ["run"], "notes": [], "root": ""}
    found = tab.json("layers", run="run")
    described = found["layers"]
    assert found["default_layer"] == "conv1"
    assert [entry["name"] for entry in described] == ["conv1", "conv2"]
    assert [entry["kind"] for entry in described] == ["grey", "pattern"]
    assert described[0]["shape"] == [4, 3, 3, 1]
    assert described[0]["page_size"] == 64
    assert described[0]["cut_channels"] is None
    assert "Conv2D conv1" in described[0]["about"]
    steps = tab.json("steps", run="run")
    assert steps["steps"] == run.steps
    assert len(steps["stamps"]) == 3
    assert tab.json("parts", run="run", layer="conv1") == {"learned": True}
    options = tab.json("settings")["look"]
    assert options["order"] == {"default": "stored", "choices": list(ORDERS)}
    for name in options["colormap"]["choices"]:
        palette = tab.ask("palette", {"colormap": name})
        assert palette.data == colormap_levels(name).tobytes()
        assert palette.headers["Cache-Control"] == "private, max-age=86400"
    head, _ = tab.cells(filters="0-3", first=0, last=2)
    assert [moment["step"] for moment in head["moments"]] == [0, 1, 2]
    assert head["moments"][2]["metrics"] == {"loss": 0.5, "accuracy": 1 - 1 / 3}
    assert (head["damaged"], head["next"]) == ({}, None)
    request = {"run": "run", "layer": "conv1"}
    assert sorted(tab.json("order", **request, order="similarity")["numbers"]) == [0, 1, 2, 3]
    assert tab.json("trajectory", **request, filter=1)["steps"] == [0, 1, 2]
    assert tab.json("label", **request, filter=1, step=2)["label"] in measures.LABELS
    assert tab.ask("animation", {**request, "ending": ".gif"}).data.startswith(b"GIF89a")


@pytest.mark.parametrize(
    ("shape", "drift", "learned"),
    [((3, 3, 1, 8), 9, True), ((7, 7, 1, 8), 0.1, True), ((7, 7, 1, 8), 9, False)],
)
def test_parts_are_those_of_an_animation(tab, write_run, conv_info, rng, *, shape, drift, learned):
    """The difference is shown for small kernels, or if the start is strong at the last snapshot."""
    info = conv_info("conv1", shape, bias=False)
    start, way = rng.normal(size=(2, *shape))
    run = write_run(info, [start, start + drift * way / 2, start + drift * way])
    parts = parts_of(select_from_run(run, layers="conv1"), Look())
    assert (len(parts) == 2) is learned
    assert tab.json("parts", run="run", layer="conv1") == {"learned": learned}


def test_parts_of_damaged_snapshots(tab, write_run, conv_info, rng):
    """Damaged ones are skipped; if none can be read, only the filters are shown."""
    info = conv_info("conv1", (7, 7, 1, 8), bias=False)
    start, way = rng.normal(size=(2, *info.kernel_shape))
    run = write_run(info, [way, start, start, way])
    query = {"run": "run", "layer": "conv1"}
    run.file(0).write_bytes(b"nothing")
    assert tab.json("parts", **query) == {"learned": False}
    run.file(3).write_bytes(b"nothing")
    assert tab.json("parts", **query) == {"learned": True}
    for step in (1, 2):
        run.file(step).write_bytes(b"nothing")
    assert tab.json("parts", **query) == {"learned": False}
    small = write_run(conv_info("conv1", (3, 3, 1, 8), bias=False), [], folder="small")
    assert small.steps == []
    assert tab.json("parts", run="small", layer="conv1") == {"learned": True}


def test_the_plugin_listing_has_name_and_module(run, tab):
    """TensorBoard lists the tab with its name, its module, and without reloading."""
    listing = json.loads(tab.client.get("/data/plugins_listing").data)
    assert listing["filtertrack"]["enabled"] is True
    assert listing["filtertrack"]["tab_name"] == "Filters"
    assert listing["filtertrack"]["disable_reload"] is True
    module = listing["filtertrack"]["loading_mechanism"]["module_path"]
    assert tab.client.get(module).mimetype == "application/javascript"
    assert b"index.js" in tab.client.get("/data/plugin_entry.html?name=filtertrack").data


def test_active_only_with_a_run(tab, make_run):
    """TensorBoard shows the tab once there is a run."""
    assert not tab.plugin.is_active()
    make_run()
    assert tab.plugin.is_active()


def test_a_missing_log_folder_has_no_runs(tmp_path, make_tab):
    """It may be created later."""
    tab = make_tab(tmp_path / "later")
    assert tab.json("runs") == {"runs": [], "notes": [], "root": ""}
    assert not tab.plugin.is_active()


def test_the_pages_files_are_served(tab):
    """Each with its media type."""
    kinds = {".js": "application/javascript", ".css": "text/css"}
    folder = os.path.dirname(payload.__file__) + "/page"  # noqa: PTH120
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
    """Whether they exist or not."""
    answer = tab.client.get(f"/data/plugin/filtertrack/static/{name}")
    assert answer.status_code in {400, 404}
    assert answer.mimetype == "text/plain"
    assert b"import " not in answer.data
    assert b"root:" not in answer.data


def test_only_answers_to_a_version_are_cached(run, tab):
    """Other answers, and errors, are not."""
    request = {"run": "run", "layer": "conv1"}
    questions = {
        "cells": {"filters": 0, "first": 0, "last": 2},
        "parts": {},
        "order": {"order": "drift"},
        "trajectory": {"filter": 0},
        "label": {"filter": 0, "step": 1},
    }
    for route, more in questions.items():
        kept = tab.ask(route, {**request, **more, "version": "1"})
        assert kept.headers["Cache-Control"] == "private, max-age=86400"
        assert "no-cache" in tab.ask(route, {**request, **more}).headers["Cache-Control"]
        tab.refused(route, {**request, "layer": "none", "version": "1"})
    for route in ("runs", "layers", "steps", "settings"):
        answer = tab.ask(route, {**request, "version": "1"})
        assert "no-cache" in answer.headers["Cache-Control"]


def test_metrics_are_cached_once_every_snapshot_has_been_read(run, tab, monkeypatch):
    """An answer to which snapshots are left is not; a later one goes on where it ended."""
    monkeypatch.setattr(plugin, "_METRICS_TIME", 0.0)
    for left in (2, 1, 0):
        answer = tab.ask("metrics", {"run": "run", "version": "1"})
        assert (answer.json["left"], answer.json["steps"]) == (left, run.steps[: 3 - left])
        assert ("max-age=86400" in answer.headers["Cache-Control"]) == (left == 0)
    assert "no-cache" in tab.ask("metrics", {"run": "run"}).headers["Cache-Control"]


def test_a_known_version_answers_only_the_version(make_run, tab):
    """It changes when a snapshot is added, replaced or deleted, or the run is created again."""

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


def test_a_snapshot_deleted_while_steps_are_listed(run, tab, monkeypatch):
    """It is left out."""
    monkeypatch.setattr(Run, "steps", property(lambda self: [0, 1, 2, 7]))
    steps = tab.json("steps", run="run")
    assert steps["steps"] == [0, 1, 2]
    assert len(steps["stamps"]) == 3


def test_503_if_memory_is_not_available_in_time(run, tab):
    """With ``Retry-After``; requests that need none are answered meanwhile."""
    tab.plugin._memory = MemoryBudget(1000, timeout=0.05)
    query = {"run": "run", "layer": "conv1", "filters": "0", "first": 0, "last": 2}
    query |= {"filter": 0, "step": 0, "order": "drift"}
    heavy = ("layers", "parts", "cells", "order", "trajectory", "label")
    with tab.plugin._memory.reserve(1):
        for route in heavy:
            busy = tab.ask(route, query)
            assert (busy.status_code, busy.mimetype) == (503, "text/plain")
            assert "busy" in busy.text
            assert int(busy.headers["Retry-After"]) > 0
        assert tab.ask("steps", query).status_code == 200
    for route in heavy:
        assert tab.ask(route, query).status_code == 200
