"""Runs that were damaged or forged, over the tab's routes."""

import json
import logging
import shutil

import numpy as np
import pytest

from filtertrack.render.look import ORDERS
from filtertrack.tensorboard_plugin.plugin import FiltersPlugin
from filtertrack.web import page_api

HOSTILE = '<script>alert("1")</script>\'&amp;'


def test_markup_is_sent_as_json(tab, write_run, conv_info):
    """In the names of classes, layers and metrics; never as HTML."""
    info = conv_info("conv1", (3, 3, 1, 4), bias=False, path=HOSTILE, class_name=HOSTILE)
    names = {HOSTILE: 1.0, 'a\n"b"\\': 2.0, "\ud800": 3.0, "</script>": 4.0}
    write_run(info, [np.ones(info.kernel_shape, np.float32)] * 2, metrics=names)
    (described,) = tab.json("layers", run="run")["layers"]
    assert HOSTILE in described["about"]
    head, _ = tab.cells(filters="0", first=0, last=0)
    shown = {HOSTILE: 1.0, 'a?"b"\\': 2.0, "?": 3.0, "</script>": 4.0}  # what is printable of them
    assert head["moments"][0]["metrics"] == shown
    answer = tab.ask("layers", {"run": HOSTILE})
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


def test_the_log_holds_no_control_characters(make_run, tmp_path, caplog, monkeypatch, make_tab):
    """Neither from a file name nor from a URL that causes an internal error."""
    name = "a\x1b[2J"
    run = make_run(folder=f"logs/{name}")
    run.file(1).unlink()
    run.file(1).mkdir()
    tab = make_tab(tmp_path / "logs")
    query = {"run": name, "layer": "conv1", "filter": 0, "step": 1}
    tab.ask("label", query)

    def fail(*_):
        raise OSError(name)

    monkeypatch.setattr(page_api, "label_of_filter", fail)
    assert tab.ask("label", query).status_code == 503
    with caplog.at_level(logging.ERROR, "filtertrack"):
        monkeypatch.setattr(FiltersPlugin, "_static", lambda *_: 1 / 0)
        assert make_tab(tmp_path / "logs").ask("static/%1b[2J").status_code == 500
    assert "Filters" in caplog.text
    assert "\x1b" not in caplog.text


def test_non_finite_metrics_are_left_out(tab, write_run, layer):
    """JSON cannot hold them."""
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
def test_metrics_of_a_wrong_type_are_damage(run, tab, metrics):
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
def test_layers_without_weights(tab, write_run, conv_info, shape, changes):
    """No filters, channels, rows or slices: no route fails."""
    info = conv_info("conv1", shape, bias=False, **changes)
    write_run(info, [np.ones(shape, np.float32)] * 2)
    query = {"run": "run", "layer": "conv1", "filters": "0", "filter": 0, "first": 0, "last": 1}
    query |= {"step": 0, "ending": ".gif"}
    for route in tab.run_routes:
        for way in ORDERS if route == "order" else [""]:
            answer = tab.ask(route, {**query, "order": way})
            assert answer.status_code in {200, 400}, (route, way)


def test_a_manifest_with_huge_shapes(run, tab, forge_manifest):
    """They are described; nothing of that size is allocated."""
    file = run.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["layers"][0] |= {"kernel_shape": [10**10, 3, 1, 4], "shape": [4, 10**10, 3, 1]}
    forge_manifest(file, manifest)
    assert tab.json("layers", run="run")["layers"][0]["page_size"] == 1
    head, _ = tab.cells(filters="0", first=0, last=2)
    assert (list(head["damaged"]), head["next"]) == (["0"], 1)  # so large, one at a time


def test_a_damaged_manifest_leaves_the_others(run, tab, tmp_path):
    """Its run is listed, and requests for it answer 400."""
    shutil.copytree(run.path, tmp_path / "broken")
    (tmp_path / "broken" / "filters" / "manifest.json").write_text("{")
    assert tab.json("runs")["runs"] == ["broken", "run"]
    for route in tab.run_routes:
        tab.refused(route, {"run": "broken", "layer": "conv1"}, "damaged")
    assert tab.json("layers", run="run")["layers"]
