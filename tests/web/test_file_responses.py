"""Responses to probes in an HTML file."""

import dataclasses
import gzip
import json
import re

import numpy as np
import pytest

from filtertrack import Run
from filtertrack.web.file_responses import pack_pictures
from filtertrack.web.html_file import to_html
from filtertrack.web.page_api import COLORMAPS, colormap_bytes
from filtertrack.web.probe_answers import ResponsePart, picture_of_probe, responses_at

HOSTILE = "<img src=x onerror=alert(1)>"


def unpacked(message):
    """Return the head of a message and its arrays of bytes."""
    data = gzip.decompress(message)
    length = int.from_bytes(data[:4], "little")
    head, body = json.loads(data[4 : 4 + length]), data[4 + length :]
    if head["type"] is None:
        return head, []
    count = len(head.get("responses", [0]))
    words = np.frombuffer(body, np.uint8).reshape(count, -1)
    arrays = np.add.accumulate(words, axis=0, dtype=np.uint8).view(head["type"])
    return head, arrays.tolist()


def answers_are_equal(shown, run, layer, filters, probes):
    """Check that a file answers as the server does."""
    part = ResponsePart(run, run.layer(layer), tuple(filters), tuple(probes))
    expected, arrays = unpacked(responses_at(part, 0, run.steps[-1])[0])
    query = {"run": run.path.name, "layer": layer, "first": 0, "last": run.steps[-1]}
    query |= {"filters": ",".join(map(str, filters)), "probes": ",".join(map(str, probes))}
    got = shown.request("requestResponses", query)
    assert got["arrays"] == arrays
    for key in ("responses", "absent", "next", "type", "shape"):
        assert json.loads(json.dumps(got[key])) == expected[key], key
    assert got["damaged"].keys() == expected["damaged"].keys()
    assert str(run.path.parent) not in str(got["damaged"])


def test_a_file_answers_as_the_server_does(probed_run, tmp_path, open_file):
    """Maps, statistics, strongest places and silent filters; pictures of probes and colours."""
    shown = open_file(to_html(probed_run, tmp_path / "page.html").path).loaded()
    parts = [((0, 1, 2, 3), (1,)), ((3, 1), (0,)), ((2,), (0, 1, 2)), ((1,), ()), ((0,), (2,))]
    for filters, probes in parts:
        for layer in ("conv1", "conv2"):
            answers_are_equal(shown, probed_run, layer, filters, probes)
    for probe in range(5):
        query = {"run": "run", "input": "images", "probe": probe}
        got = shown.request("requestProbe", query)
        head, arrays = unpacked(picture_of_probe(probed_run.probes, probe, "images"))
        assert (got["size"], got["shape"], got["arrays"]) == (head["size"], head["shape"], arrays)
    for name in COLORMAPS:
        palette = shown.request("requestPalette", name)
        assert bytes(palette) == colormap_bytes(name)


def test_maps_are_shown_beside_filters_and_in_the_open_filter(probed_run, tmp_path, open_file):
    file = to_html(probed_run, tmp_path / "page.html").path
    shown = open_file(file, layer="conv1", filter=1).loaded()
    width = shown.canvas.first.bounding_box()["width"]
    shown.choice("responses").check()
    shown.at.locator(".probes").wait_for()
    shown.wait(lambda: shown.canvas.first.bounding_box()["width"] != width, "another layout")
    shown.says(".which", "0 to 2 of 5 have maps")
    shown.says(".answers", "silent: answered to none of 5 probes")
    shown.button("First step").click()
    shown.says(".answers .state", "strongest:")
    assert shown.at.locator(".patches button:not(.empty)").count() == 9
    shown.at.locator(".patches button").first.click()
    shown.at.locator(".framed").wait_for()


def test_responses_can_be_left_out(probed_run, make_run, tmp_path, open_file):
    """The page says so, of a run with probes only."""
    file = to_html(probed_run, tmp_path / "page.html", responses=False).path
    shown = open_file(file, filter=0).loaded()
    shown.says(".status", "responses are not in this file")
    assert shown.choice("responses").is_hidden()
    assert shown.at.locator(".answers").count() == 0
    plain = to_html(make_run(folder="plain"), tmp_path / "plain.html").path
    assert "responses" not in open_file(plain).loaded().at.locator(".status").inner_text()


def test_a_run_with_probes_but_no_maps_shows_patches(make_run, probe_run, tmp_path, open_file):
    run = probe_run(make_run(), count=4, maps=0)
    shown = open_file(to_html(run, tmp_path / "page.html").path, filter=1).loaded()
    answers_are_equal(shown, run, "conv1", (1,), ())
    shown.says(".answers", "No maps are kept.")
    assert shown.at.locator(".patches button:not(.empty)").count() == 9


def test_runs_with_different_probes_are_compared(
    make_probed_run, make_run, probe_run, tmp_path, open_file
):
    first, second = make_probed_run(folder="a"), probe_run(make_run(folder="b"), count=2, maps=1)
    plain = make_run(folder="c")
    file = to_html([first, second, plain], tmp_path / "page.html").path
    look = {"runs": '["a","b","c"]', "layer": "conv1", "responses": 1, "probe": 2}
    shown = open_file(file, **look).loaded()
    shown.says(".probes", "0 to 2 of 5 have maps")
    shown.says(".probes .absence", "no probes")
    answers_are_equal(shown, first, "conv1", (0, 1), (2,))
    answers_are_equal(shown, second, "conv1", (0, 1), (0,))


def test_steps_with_responses_that_are_missing_or_damaged(
    make_probed_run, logs, tmp_path, open_file
):
    """Also maps that are not finite, and the first step without responses."""
    run = make_probed_run(steps=range(5))
    run.append(run.snapshot(0))
    whole = run.snapshot(2)
    responses = {name: run.probe_responses(name, 2) for name in run.layers}
    for response in responses.values():
        response.statistics[0, 0, 0] = np.inf
        response.statistics[0, 1, 1] = np.nan
    run.append(dataclasses.replace(whole, responses=responses))
    logs.damage(run.file(3))
    run = Run(run.path)
    shown = open_file(to_html(run, tmp_path / "page.html").path, responses=1, filter=0)
    for filters, probes in (((0, 1, 2), (1,)), ((0,), (0, 1, 2)), ((1,), (1,))):
        answers_are_equal(shown, run, "conv1", filters, probes)
    shown.loaded().says(".status", "damaged: step 3")


def test_long_responses_are_in_several_parts(make_run, probe_run, tmp_path, open_file, monkeypatch):
    """Each of one type; the page requests one after the other."""
    monkeypatch.setattr("filtertrack.web.file_responses._MOST_BYTES", 250)
    run = probe_run(make_run(steps=range(7)), count=3, maps=3)
    shown = open_file(to_html(run, tmp_path / "page.html").path, responses=1).loaded()
    steps, first = [], 0
    while first is not None:
        query = {"run": "run", "layer": "conv1", "filters": "0-3", "probes": "1", "first": first}
        answer = shown.request("requestResponses", query)
        for each, maps in zip(answer["responses"], answer["arrays"], strict=True):
            stored = run.probe_responses("conv1", each["step"]).maps[1]
            np.testing.assert_array_equal(maps, stored.ravel())
        steps += [each["step"] for each in answer["responses"]]
        assert len(answer["responses"]) < 7
        first = answer["next"]
    assert steps == run.steps


def test_hostile_texts_of_probes_stay_text(make_run, probe_run, tmp_path, open_file):
    """What is read of a layer, and the name of an input, may hold markup."""
    for name in (HOSTILE, "__proto__"):
        run = probe_run(make_run(folder=f"run-{len(name)}"), read=HOSTILE, input_name=name)
        file = to_html(run, tmp_path / "page.html").path
        shown = open_file(file, responses=1, filter=0).loaded()
        shown.says(".reading", HOSTILE)
        assert shown.at.locator("img").count() == 0
        answer = shown.request("requestProbe", {"run": run.path.name, "input": name, "probe": 0})
        assert answer["size"] == [12, 12]


def test_damaged_probes_leave_the_filters(make_probed_run, logs, tmp_path, open_file):
    run = make_probed_run()
    logs.damage(run.folder / "probes.npz")
    shown = open_file(to_html(Run(run.path), tmp_path / "page.html").path).loaded().drawn(2)
    shown.says(".status", "responses are not in this file")


@pytest.mark.parametrize(
    ("max_size", "note"),
    [
        (400_000, "pictures of probes are reduced to 30×30"),
        (230_000, "pictures of probes are reduced to 30×30; pictures of 21 of 30 probes"),
    ],
)
def test_large_pictures_are_reduced_with_a_note(  # noqa: PLR0917
    make_run, probe_run, tmp_path, open_file, max_size, note
):
    """Pictures take at most a quarter of the limit before they are compressed."""
    run = probe_run(make_run(), count=30, side=300, maps=30)
    file = to_html(run, tmp_path / "page.html", max_size=max_size)
    assert file.size <= max_size
    assert file.thinned.endswith(note)
    assert not re.search("no responses", file.thinned)
    open_file(file.path).loaded().says(".status", note)


def test_no_picture_that_fits_is_noted(make_run, probe_run):
    probes = probe_run(make_run(), side=20).probes
    assert pack_pictures(probes, range(5), "images", 100).thinned == "no pictures of probes"
    whole = pack_pictures(probes, range(5), "images", 100_000)
    assert (whole.probes, whole.thinned) == ((0, 1, 2, 3, 4), "")


@pytest.mark.parametrize(("side", "shown"), [(240, 2), (24, 6)])
def test_products_of_some_probes_only_are_noted(  # noqa: PLR0917
    make_run, conv_info, probe_run, tmp_path, open_file, side, shown
):
    """The inputs of a layer for products of patch and kernel take a limited number of bytes."""
    about = {"preprocessing": (), "padding": "same", "activation": "relu", "strides": (2, 2)}
    run = make_run(conv_info("conv1", (3, 3, 1, 4), **about))
    probe_run(run, count=6, maps=6, side=side, map_side=side // 2)
    page = open_file(to_html(run, tmp_path / "page.html").path).loaded()
    status = page.at.locator(".status").inner_text()
    assert (f"patch × kernel for {shown} of 6 probes" in status) == (shown < 6)
