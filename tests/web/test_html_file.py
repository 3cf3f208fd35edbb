"""One HTML file with the page: in a browser without network, and in numbers."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run
from filtertrack.storage.memory_run import MemoryRun
from filtertrack.web.html_file import to_html


def _blobs(file):
    """Return the data inside a file, unpacked, by the names of their elements."""
    found = re.findall(r'<script type="application/gzip" id="([^"]+)">([^<]*)<', file.read_text())
    return {name: gzip.decompress(base64.b64decode(data)) for name, data in found}


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


def test_values_are_exact_as_long_as_the_file_is_small(run, tmp_path):
    """The messages are those of the server, whose exactness other tests show."""
    file = to_html(run, tmp_path / "page.html").path
    blobs = _blobs(file)
    answers = json.loads(blobs["answers"])
    (cells,) = answers["runs"][run.path.name]["layers"]["conv1"]["cells"]
    message = blobs[cells["ids"][0]["id"]]
    length = int.from_bytes(message[:4], "little")
    head = json.loads(message[4 : 4 + length])
    data = np.frombuffer(message[4 + length :], np.uint8).reshape(4, -1).T
    values = np.ascontiguousarray(data).view("<u4").reshape(len(head["moments"]), -1)
    decoded = np.add.accumulate(values, axis=0, dtype=values.dtype).view("<f4")
    for row, step in zip(decoded, run.steps, strict=True):
        np.testing.assert_array_equal(row, run.kernels("conv1", step).ravel())


def test_a_large_run_is_rounded_and_then_thinned(make_run, conv_info, tmp_path, open_file):
    """The file keeps its limit, the first and the last step, and says what it left out."""
    run = make_run(conv_info("conv1", (7, 7, 3, 64), bias=False), steps=range(20))
    whole = to_html(run, tmp_path / "whole.html")
    half = to_html(run, tmp_path / "half.html", max_size=whole.size - 1)
    few = to_html(run, tmp_path / "few.html", max_size=500_000)
    assert (whole.thinned, half.thinned) == ("", "values are rounded to 16 bits")
    assert re.fullmatch(r"values are rounded to 16 bits; \d+ of 20 steps", few.thinned)
    assert few.path.stat().st_size == few.size <= 500_000
    shown = open_file(few.path, delta=0).loaded().drawn(19)
    shown.says(".status", few.thinned)
    shown.button("First step").click()
    shown.drawn(0)


def test_halves_are_read_as_numpy_reads_them(open_file, exp1, tmp_path):
    """All 65,536 numbers of 16 bits: subnormal ones, infinities and NaN as well."""
    halves = np.arange(1 << 16, dtype=np.uint16)
    shown = open_file(to_html(exp1, tmp_path / "page.html", layers="rgb").path)
    source = re.search(r"function valueOfHalf[^}]+}", ((tmp_path / "page.html").read_text()))[0]
    every = "Array.from({length: 65536}, (_, n) => String(valueOfHalf(n)))"
    got = shown.page.evaluate(f"(() => {{ {source}; return {every} }})()")
    expected = halves.view(np.float16).astype(np.float64)
    np.testing.assert_array_equal(np.array([float(each) for each in got]), expected)


def test_what_does_not_fit_is_refused(run, tmp_path):
    with pytest.raises(FiltertrackError, match="max_size: two steps of these layers take"):
        to_html(run, tmp_path / "page.html", max_size=1000)
    with pytest.raises(FiltertrackError, match="expected a run or several"):
        to_html([], tmp_path / "page.html")
    assert not list(tmp_path.glob("*.html"))


def test_a_damaged_snapshot_is_named_in_the_page(make_run, logs, tmp_path, open_file):
    run = make_run(steps=range(4))
    logs.damage(run.file(2))
    shown = open_file(to_html(Run(run.path), tmp_path / "page.html").path)
    shown.drawn(3)


def test_a_run_in_memory_is_written(run, tmp_path, open_file):
    """Its only step; without a path for the file there is no folder to write to."""
    memory = MemoryRun("model.keras", run.layers.values(), lambda _: run.snapshot(2).arrays)
    open_file(to_html(memory, tmp_path / "page.html").path).loaded().drawn(0)
    with pytest.raises(FiltertrackError, match="output: expected the path of a file"):
        to_html(memory)


def test_the_page_says_that_responses_are_left_out(make_probed_run, make_run, tmp_path, open_file):
    """Of a run with probes only."""
    probed_run, run = make_probed_run(folder="probed"), make_run(folder="plain")
    shown = open_file(to_html(probed_run, tmp_path / "page.html").path).loaded()
    shown.says(".status", "responses are not in this file")
    shown = open_file(to_html(run, tmp_path / "plain.html").path).loaded()
    assert "responses" not in shown.at.locator(".status").inner_text()
