"""The tab in a real TensorBoard, over HTTP, with both of its data loaders."""

import json
import urllib.error
from contextlib import contextmanager

import numpy as np
import pytest

from filtertrack import Run
from filtertrack.tensorboard_plugin.summaries import Summaries

PYTHON_LOADER = "--load_fast=false"


@pytest.fixture
def served(tensorboard):
    """Start TensorBoard in a folder; yields a function that gets a path below ``/data/``.

    Its log may not mention this package, nor hold a traceback.
    """

    @contextmanager
    def start(folder, *flags):
        with tensorboard("--reload_interval=1", *flags, cwd=folder) as server:
            yield lambda path, **query: server.get(path, query)
        log = server.log.read_text()
        for unwanted in ("In 3.0, this warning", "filtertrack", "Filters", "Traceback"):
            assert unwanted not in log, log

    return start


@pytest.fixture
def write_logs(make_run, tmp_path):
    """Write a run of 15 snapshots and their images below a log folder."""

    def write():
        run = make_run(steps=range(15), folder="logs/run")
        summaries = Summaries(run)
        for step in run.steps:
            summaries.add(run.snapshot(step))
        return run

    (tmp_path / "logs").mkdir()
    return write


def steps_of_images(get, run="run"):
    """Return the steps of conv1's images that the Images tab has."""
    query = {"run": f"{run}/filters", "tag": "filters/conv1", "sample": 0}
    if query["run"] not in json.loads(get("plugin/images/tags")):
        return []
    return [entry["step"] for entry in json.loads(get("plugin/images/images", **query))]


def check_routes(get, run, unpack, same_bits):
    """Check the answer of every route for a run."""
    listed = json.loads(get("plugins_listing"))["filtertrack"]
    assert (listed["enabled"], listed["tab_name"]) == (True, "Filters")
    assert b"index.js" in get("plugin_entry.html", name="filtertrack")
    assert b"export" in get("plugin/filtertrack/static/index.js")
    assert json.loads(get("plugin/filtertrack/runs"))["runs"] == ["run"]
    query = {"run": "run", "layer": "conv1"}
    head, cells = unpack(get("plugin/filtertrack/cells", **query, filters="0-3", first=0, last=20))
    assert [moment["step"] for moment in head["moments"]] == run.steps
    for step, array in zip(run.steps, cells, strict=True):
        same_bits(array, np.ascontiguousarray(run.kernels("conv1", step)))
    assert json.loads(get("plugin/filtertrack/trajectory", **query, filter=0))["steps"]
    assert json.loads(get("plugin/filtertrack/label", **query, filter=0, step=3))["label"]
    assert json.loads(get("plugin/filtertrack/order", **query, order="drift"))["numbers"]
    assert get("plugin/filtertrack/animation", **query, ending=".gif").startswith(b"GIF89a")
    for path in ("cells", "static/none.js", "animation"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"plugin/filtertrack/{path}", **query, filters="9", first=0, last=0)
        assert refused.value.code == 400
        refused.value.close()


@pytest.mark.parametrize(
    ("flags", "count"),
    [(["--filtertrack_all_images", "--samples_per_plugin", "images=3"], 3), ([PYTHON_LOADER], 10)],
    ids=["default loader", "python loader"],
)
def test_the_tab_appears_with_the_first_run(  # noqa: PLR0917 - fixtures
    write_logs, tmp_path, served, until, unpack, same_bits, flags, count
):
    """A relative log folder, empty at first; the Images tab keeps the user's limit, or its own."""
    with served(tmp_path / "logs", "--logdir", ".", *flags) as get:

        def is_enabled():
            return json.loads(get("plugins_listing"))["filtertrack"]["enabled"]

        assert not is_enabled()
        run = write_logs()
        until(is_enabled)
        check_routes(get, run, unpack, same_bits)
        until(lambda: 14 in steps_of_images(get))
        assert len(steps_of_images(get)) == count


def test_the_flag_keeps_all_images(write_logs, tmp_path, served, until):
    """With the default loader, below a path prefix."""
    write_logs()
    flags = ["--logdir", str(tmp_path / "logs"), "--filtertrack_all_images"]
    with served(tmp_path, *flags, "--path_prefix", "/a/b") as get:
        listed = json.loads(get("plugins_listing"))["filtertrack"]
        module = listed["loading_mechanism"]["module_path"]
        assert module == "/a/b/data/plugin/filtertrack/static/index.js"
        assert json.loads(get("plugin/filtertrack/runs"))["runs"] == ["run"]
        assert b"plugin/filtertrack/" in get("plugin_entry.html", name="filtertrack")
        until(lambda: 14 in steps_of_images(get))
        assert steps_of_images(get) == list(range(15))


def test_named_log_folders_are_served(write_logs, make_run, tmp_path, served, until):
    """``--logdir_spec``, which only the Python loader has; it keeps all images with the flag, too.

    Also below a path prefix.
    """
    write_logs()
    other = Run(make_run(folder="elsewhere/deep").path)
    spec = f"first:{tmp_path / 'logs'},second:{other.path}"
    flags = [PYTHON_LOADER, "--filtertrack_all_images", "--path_prefix", "/a/b"]
    with served(tmp_path, "--logdir_spec", spec, *flags) as get:
        assert json.loads(get("plugin/filtertrack/runs"))["runs"] == ["first/run", "second"]
        for run in ("first/run", "second"):
            layers = json.loads(get("plugin/filtertrack/layers", run=run))["layers"]
            assert [layer["name"] for layer in layers] == ["conv1", "conv2"]
        until(lambda: 14 in steps_of_images(get, "first/run"))
        assert steps_of_images(get, "first/run") == list(range(15))
