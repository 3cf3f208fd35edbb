"""Which folders the tab reads: those below the log folders."""

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from filtertrack import Run
from filtertrack.tensorboard_plugin import logdir


def test_nothing_outside_the_log_folder_is_read(make_run, tmp_path, monkeypatch, make_tab):
    """Every route refuses ``..``, an absolute path and a link, and opens nothing."""
    inside = make_run(folder="logs/run").path
    outside = make_run(folder="outside").path
    (tmp_path / "logs" / "link").symlink_to(outside)
    tab = make_tab(tmp_path / "logs")
    assert tab.json("runs")["runs"] == ["run"]
    opened = []
    monkeypatch.setattr(
        logdir, "Run", lambda path, **options: opened.append(path) or Run(path, **options)
    )
    for name in (
        "../outside",
        "run/../../outside",
        str(outside),
        "link",
        f"file://{outside}",
        "..",
    ):
        for route in tab.run_routes:
            tab.refused(route, {"run": name, "layer": "conv1", "ending": ".gif"}, "no run")
        query = {"run": "run", "layer": "conv1", "compare": name, "ending": ".gif"}
        tab.refused("animation", query, "no run")
    assert set(opened) == {inside}


def test_a_link_out_of_the_log_folder_is_not_followed(make_run, tmp_path, make_tab):
    """A snapshot behind one counts as damaged, a manifest is refused; links inside are followed."""
    run, other = make_run(folder="logs/run"), make_run(folder="other")
    run.file(0).rename(tmp_path / "logs" / "object")
    run.file(0).symlink_to(tmp_path / "logs" / "object")
    second = tmp_path / "logs" / "second"
    second.symlink_to(other.file(1))
    run.file(1).unlink()
    run.file(1).symlink_to(second)
    tab = make_tab(tmp_path / "logs")
    head, cells = tab.cells(filters="0", first=0, last=2)
    assert list(head["damaged"]) == ["1"]
    assert str(tmp_path) not in json.dumps(head)
    assert len(cells) == 2
    request = {"run": "run", "layer": "conv1", "ending": ".gif"}
    with Image.open(io.BytesIO(tab.ask("animation", request).data)) as animation:
        assert animation.n_frames == 2
    (run.folder / "manifest.json").unlink()
    (run.folder / "manifest.json").symlink_to(other.folder / "manifest.json")
    for route in ("layers", "steps", "cells", "animation"):
        answer = tab.ask(route, {**request, "filters": "0", "first": 0, "last": 2})
        assert answer.status_code == 400
        assert str(tmp_path) not in answer.text


def test_messages_hold_only_relative_paths(run, tab, tmp_path, make_tab):
    """In an error, in the reason of damage and in a note."""
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
    answers += [tab.ask(route, label).text for route in tab.run_routes]
    answers += [tab.ask("animation", {**label, "ending": ".gif", "compare": "nothing"}).text]
    assert all(str(tmp_path) not in text for text in [*answers, json.dumps(head)])
    named = make_tab(spec=f"name:{tmp_path}")
    named.refused("layers", {"run": "name/run"}, "'name/run/filters/manifest.json'")


def test_a_link_to_itself_hides_no_run(run, tab, tmp_path):
    """It lies beside the runs."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert tab.json("runs")["runs"] == ["run"]


def test_a_run_with_circular_links_leaves_the_others(run, tab, tmp_path):
    """The tab and TensorBoard's list of tabs are still answered."""
    shutil.copytree(run.path, tmp_path / "round")
    snapshots = tmp_path / "round" / "filters" / "snapshots"
    shutil.rmtree(snapshots)
    snapshots.symlink_to(snapshots)
    assert "run" in tab.json("runs")["runs"]
    assert tab.client.get("/data/plugins_listing").status_code == 200


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another user")
def test_a_folder_without_permission_leaves_the_others(make_run, tmp_path):
    """Such as another user's run in the same log folder."""
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
def test_names_from_logdir_spec(run, name, make_tab):
    """A name is the text before the first colon, also a single letter or a path."""
    assert make_tab(spec=f"{name}:{run.path}").json("runs")["runs"] == [name]


def test_a_folder_name_that_is_not_utf8(run, tab, tmp_path):
    """Such as one from an old archive: the other runs are listed."""
    shutil.copytree(run.path, tmp_path / os.fsdecode(b"\xff"))
    assert "run" in tab.json("runs")["runs"]
