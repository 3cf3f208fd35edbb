"""One HTML file with the page, in a browser without network."""

import re
from dataclasses import replace

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run
from filtertrack.storage.memory_run import MemoryRun
from filtertrack.web.html_file import to_html
from filtertrack.web.page_script import page_files


@pytest.mark.parametrize("layer", ["rgb", "deep", "point"])
def test_the_canvas_shows_the_renderers_pixels_without_network(
    exp1, logs, tmp_path, open_file, layer
):
    file = to_html(exp1, tmp_path / "page.html").path
    page = range(64) if layer == "deep" else None
    shown = open_file(file, layer=layer, delta=0, scale="filter")
    for step in (8, 0):
        shown.loaded()
        if step == 0:
            shown.button("First step").click()
        shown.drawn(step)
        picture = logs.picture([exp1], layer, step, page=page, scale="filter")
        shown.shows(shown.canvas.first, picture)


def test_differences_of_patterns_are_in_the_file(exp1, logs, tmp_path, open_file):
    """They are no differences of the patterns, so the page cannot compute them."""
    file = to_html(exp1, tmp_path / "page.html", layers="deep").path
    shown = open_file(file, layer="deep", delta=1, scale="filter").loaded().drawn(8)
    picture = logs.picture([exp1], "deep", 8, page=range(64), scale="filter", delta=True)
    shown.shows(shown.canvas.first, picture)


def test_filters_of_several_pages_are_shown_in_any_order(exp1, logs, tmp_path, open_file):
    """The 70 filters of the layer are in two parts of the file; the order mixes them."""
    file = to_html(exp1, tmp_path / "page.html", layers="deep").path
    shown = open_file(file, layer="deep", order="drift", delta=0, scale="frame").loaded().drawn(8)
    titles = shown.at.locator(".cells button").evaluate_all("all => all.map(each => each.title)")
    order = [int(title.split()[-1]) for title in titles]
    assert len(order) == 64
    assert max(order) >= 64
    picture = logs.picture([exp1], "deep", 8, page=order, scale="frame")
    shown.shows(shown.canvas.first, picture)


def test_an_open_filter_has_its_label_and_its_curves(exp1, tmp_path, open_file):
    file = to_html(exp1, tmp_path / "page.html").path
    shown = open_file(file, layer="rgb", filter=3, delta=0).loaded()
    shown.says(".label", "at step 8")
    shown.says(".curve", "roughness")
    assert shown.at.locator(".curve .line").first.get_attribute("d").startswith("M")


def test_two_runs_are_compared(exp1, exp2, logs, tmp_path, open_file):
    file = to_html([exp1, exp2], tmp_path / "page.html", layers="rgb").path
    shown = open_file(file, layer="rgb", runs='["exp1","exp2"]', delta=0, scale="filter").loaded()
    for number in (0, 1):
        picture = logs.picture([exp1, exp2], "rgb", 8, number=number, scale="filter")
        shown.shows(shown.canvas.nth(number), picture)


def test_the_theme_is_that_of_the_browser(exp1, tmp_path, open_file):
    file = to_html(exp1, tmp_path / "page.html", layers="rgb").path
    for dark, theme in ((True, "dark"), (False, "light")):
        shown = open_file(file, dark=dark).loaded()
        assert shown.at.locator("html").get_attribute("data-theme") == theme


def test_a_hostile_run_stays_text(write_run, tmp_path, open_file):
    """Names of the folder and of metrics may hold markup."""
    run = write_run(tmp_path / "<img src=x onerror=alert(1)>", range(3))
    file = to_html(run, tmp_path / "page.html").path
    shown = open_file(file).loaded()
    assert shown.at.locator("img").count() == 0
    assert "onerror" not in file.read_text().replace("onerror:", "")


def test_the_file_allows_no_request_and_no_other_script(exp1, tmp_path, open_file):
    file = to_html(exp1, tmp_path / "page.html", layers="rgb").path
    shown = open_file(file).loaded()
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


def test_halves_are_read_as_numpy_reads_them(open_file, exp1, tmp_path):
    """All 65,536 numbers of 16 bits: subnormal ones, infinities and NaN as well."""
    halves = np.arange(1 << 16, dtype=np.uint16)
    shown = open_file(to_html(exp1, tmp_path / "page.html", layers="rgb").path)
    script = page_files(".js")["cells_message"]
    source = re.search(r"function valueOfHalf[^}]+}", script)[0]
    every = "Array.from({length: 65536}, (_, n) => String(valueOfHalf(n)))"
    got = shown.page.evaluate(f"(() => {{ {source}; return {every} }})()")
    expected = halves.view(np.float16).astype(np.float64)
    np.testing.assert_array_equal(np.array([float(each) for each in got]), expected)


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


@pytest.mark.parametrize("channel", [1, 2])
def test_a_single_channel_of_a_colour_layer_is_shown(exp1, logs, tmp_path, open_file, channel):
    file = to_html(exp1, tmp_path / "page.html", layers="rgb").path
    shown = open_file(file, layer="rgb", channels=channel, delta=0, scale="filter").loaded()
    picture = logs.picture([exp1], "rgb", 8, scale="filter", channels=channel)
    shown.shows(shown.canvas.first, picture)


def test_only_channels_that_the_file_holds_are_offered(exp1, tmp_path, open_file):
    """Of a layer with many channels only its strongest pattern, whatever the URL says."""
    file = to_html(exp1, tmp_path / "page.html").path
    colours = ["red, green, blue", *(f"only channel {n}" for n in range(3))]
    for layer, offered in (("rgb", colours), ("deep", ["strongest pattern"])):
        shown = open_file(file, layer=layer, channels="5").loaded()
        assert shown.choice("channels").locator("option").all_inner_texts() == offered


def test_a_layer_that_is_shown_again_has_the_same_picture(exp1, logs, tmp_path, open_file):
    """The page aligns the signs of patterns in place."""
    file = to_html(exp1, tmp_path / "page.html").path
    shown = open_file(file, layer="deep", delta=0, scale="filter").loaded()
    for layer in ("rgb", "deep"):
        shown.choice("layer").select_option(layer)
        shown.loaded().drawn(8)
    picture = logs.picture([exp1], "deep", 8, page=range(64), scale="filter")
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
    for layer in run.layers:
        shown = open_file(file, layer=layer, delta=0, scale="filter").loaded()
        picture = logs.picture([run], layer, 2, scale="filter")
        shown.shows(shown.canvas.first, picture)


def test_a_run_may_have_the_name_of_an_object_property(write_run, tmp_path, open_file):
    """Names from a run are looked up in objects of the page."""
    run = write_run(tmp_path / "__proto__", range(3))
    open_file(to_html(run, tmp_path / "page.html").path).loaded().drawn(2)
