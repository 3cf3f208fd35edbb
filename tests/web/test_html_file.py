"""One HTML file with the page, in a browser without network."""

from dataclasses import replace

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run
from filtertrack.storage.memory_run import MemoryRun
from filtertrack.web.html_file import to_html

LAST = 8


@pytest.fixture(scope="session")
def exp1_file(exp1, tmp_path_factory):
    """The file of a run, written once."""
    return to_html(exp1, tmp_path_factory.mktemp("file") / "page.html").path


def test_the_canvas_shows_the_renderers_pixels_without_network(exp1, exp1_file, logs, open_file):
    """Of each layer, also of one that is shown again: signs of patterns are aligned in place."""
    shown = open_file(exp1_file, layer="deep", delta=0, scale="filter").loaded()
    for layer in ("deep", "rgb", "point", "deep"):
        page = range(64) if layer == "deep" else None
        shown.choice("layer").select_option(layer)
        for button, step in (("Last step", LAST), ("First step", 0)):
            shown.loaded()
            shown.button(button).click()
            shown.drawn(step)
            picture = logs.picture([exp1], layer, step, page=page, scale="filter")
            shown.shows(shown.canvas.first, picture)


def test_differences_of_patterns_are_in_the_file(exp1, exp1_file, logs, open_file):
    """They are no differences of the patterns, so the page cannot compute them."""
    shown = open_file(exp1_file, layer="deep", delta=1, scale="filter").loaded().drawn(LAST)
    picture = logs.picture([exp1], "deep", LAST, page=range(64), scale="filter", delta=True)
    shown.shows(shown.canvas.first, picture)


def test_filters_of_several_pages_are_shown_in_any_order(exp1, exp1_file, logs, open_file):
    """The 70 filters of the layer are in two parts of the file; the order mixes them."""
    look = {"layer": "deep", "order": "drift", "delta": 0, "scale": "frame"}
    shown = open_file(exp1_file, **look).loaded().drawn(LAST)
    titles = shown.at.locator(".cells button").evaluate_all("all => all.map(each => each.title)")
    order = [int(title.split()[-1]) for title in titles]
    assert len(order) == 64
    assert max(order) >= 64
    picture = logs.picture([exp1], "deep", LAST, page=order, scale="frame")
    shown.shows(shown.canvas.first, picture)


def test_an_open_filter_has_its_label_and_its_curves_in_each_theme(exp1_file, open_file):
    """The theme is that of the browser."""
    shown = open_file(exp1_file, dark=True, layer="rgb", filter=3, delta=0).loaded()
    shown.says(".label", "at step 8")
    shown.says(".curve", "roughness")
    assert shown.at.locator(".curve .line").first.get_attribute("d").startswith("M")
    assert shown.at.locator("html").get_attribute("data-theme") == "dark"
    shown.page.emulate_media(color_scheme="light")
    shown.at.locator("html[data-theme=light]").wait_for()


def test_two_runs_are_compared(exp1, exp2, logs, tmp_path, open_file):
    file = to_html([exp1, exp2], tmp_path / "page.html", layers="rgb").path
    shown = open_file(file, layer="rgb", runs='["exp1","exp2"]', delta=0, scale="filter").loaded()
    for number in (0, 1):
        picture = logs.picture([exp1, exp2], "rgb", 8, number=number, scale="filter")
        shown.shows(shown.canvas.nth(number), picture)


def test_a_hostile_run_stays_text(write_run, tmp_path, open_file):
    """Names of the folder and of metrics may hold markup."""
    run = write_run(tmp_path / "<img src=x onerror=alert(1)>", range(3))
    file = to_html(run, tmp_path / "page.html").path
    shown = open_file(file).loaded()
    assert shown.at.locator("img").count() == 0
    assert "onerror" not in file.read_text().replace("onerror:", "")


def test_the_file_allows_no_request_and_no_other_script(exp1_file, open_file):
    shown = open_file(exp1_file).loaded()
    tried = shown.page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')")
    shown.errors.clear()  # the browser reports what it refused
    assert tried == "refused"
    shown.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1';"
        "document.body.append(s)"
    )
    shown.errors.clear()
    assert shown.page.evaluate("window.hacked") is None


def test_values_are_exact_as_long_as_the_file_is_small(run, tmp_path, open_file):
    shown = open_file(to_html(run, tmp_path / "page.html").path).loaded()
    query = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 2}
    got = shown.request("requestCells", query)
    assert [moment["step"] for moment in got["moments"]] == run.steps
    for cells, step in zip(got["arrays"], run.steps, strict=True):
        np.testing.assert_array_equal(cells, run.kernels("conv1", step).ravel())


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(FiltertrackError, match="expected a run or several"):
        to_html([], tmp_path / "page.html")
    assert not list(tmp_path.glob("*.html"))


def test_a_damaged_snapshot_is_listed_without_paths(make_run, conv_info, logs, tmp_path, open_file):
    """A file is sent to others: it does not tell them in which folder the run was."""
    run = make_run(conv_info("conv1", (7, 7, 3, 4)), steps=range(4))
    logs.damage(run.file(2))
    shown = open_file(to_html(Run(run.path), tmp_path / "page.html").path).loaded().drawn(3)
    shown.says(".status", "damaged: step 2")
    query = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 3}
    ((step, reason),) = shown.request("requestCells", query)["damaged"].items()
    assert step == "2"
    assert reason.startswith("damaged file 'run/filters/snapshots/000000000002.npz'")


def test_a_run_in_memory_is_written(run, tmp_path, open_file):
    """Its only step; without a path for the file there is no folder to write to."""
    memory = MemoryRun("model.keras", run.layers.values(), lambda _: run.snapshot(2).arrays)
    open_file(to_html(memory, tmp_path / "page.html").path).loaded().drawn(0)
    with pytest.raises(FiltertrackError, match="output: expected the path of a file"):
        to_html(memory)


def test_the_channels_that_the_file_holds_are_offered_and_shown(exp1, exp1_file, logs, open_file):
    """Of a layer with many channels only its strongest pattern, whatever the URL says."""
    shown = open_file(exp1_file, layer="deep", channels="5", delta=0, scale="filter").loaded()
    colours = ["red, green, blue", *(f"only channel {n}" for n in range(3))]
    for layer, size, offered in (
        ("deep", "3×3", ["strongest pattern"]),
        ("rgb", "7×7", colours),
    ):
        shown.choice("layer").select_option(layer)
        shown.says(".what", f"of {size}")
        assert shown.choice("channels").locator("option").all_inner_texts() == offered
    for channel in (1, 2):
        shown.choice("channels").select_option(str(channel))
        picture = logs.picture([exp1], "rgb", LAST, scale="filter", channels=channel)
        shown.shows(shown.canvas.first, picture)


def test_layers_of_other_dimensions_are_shown(make_run, conv_info, logs, tmp_path, open_file):
    """Of one and of three dimensions."""
    one = {"class_name": "Conv1D", "axes": (2, 0, 1), "shape": (5, 1, 9, 2)}
    three = {"class_name": "Conv3D", "axes": (4, 0, 1, 2, 3), "shape": (4, 3, 6, 1)}
    base = conv_info("one", (3, 3, 1, 4), bias=False)
    run = make_run(
        replace(base, kernel_shape=(9, 2, 5), **one),
        replace(base, name="three", kernel="three", kernel_shape=(3, 3, 2, 1, 4), **three),
    )
    file = to_html(run, tmp_path / "page.html").path
    shown = open_file(file, delta=0, scale="filter").loaded()
    for layer in run.layers:
        shown.choice("layer").select_option(layer)
        picture = logs.picture([run], layer, 2, scale="filter")
        shown.shows(shown.canvas.first, picture)


def test_a_run_may_have_the_name_of_an_object_property(write_run, tmp_path, open_file):
    """Names from a run are looked up in objects of the page."""
    run = write_run(tmp_path / "__proto__", range(3))
    open_file(to_html(run, tmp_path / "page.html").path).loaded().drawn(2)
