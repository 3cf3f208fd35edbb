"""What is left out of an HTML file so that it is not larger than a limit."""

import re

import pytest

from filtertrack import FiltertrackError
from filtertrack.storage.memory_run import MemoryRun
from filtertrack.web.file_thinning import Extent, Thinning, describe_thinning
from filtertrack.web.html_file import to_html


@pytest.fixture
def large_run(make_run, conv_info):
    return make_run(conv_info("conv1", (7, 7, 3, 64), bias=False), steps=range(20))


def test_a_large_run_is_rounded_and_then_has_fewer_steps(large_run, tmp_path, open_file):
    """The file keeps its limit, the first and the last step, and lists what is left out."""
    whole = to_html(large_run, tmp_path / "whole.html")
    half = to_html(large_run, tmp_path / "half.html", max_size=whole.size - 1)
    few = to_html(large_run, tmp_path / "few.html", max_size=500_000)
    assert (whole.thinned, half.thinned) == ("", "values are rounded to 16 bits")
    assert re.fullmatch(r"values are rounded to 16 bits; \d+ of 20 steps", few.thinned)
    assert few.path.stat().st_size == few.size <= 500_000
    shown = open_file(few.path, delta=0).loaded().drawn(19)
    shown.says(".status", few.thinned)
    shown.button("First step").click()
    shown.drawn(0)


@pytest.mark.parametrize("max_size", [250_000, 400_000])
def test_as_many_steps_are_kept_as_fit(large_run, tmp_path, max_size):
    few = to_html(large_run, tmp_path / "few.html", max_size=max_size)
    steps = int(re.search(r"(\d+) of 20", few.thinned)[1])
    assert few.size <= max_size
    assert few.size * (steps + 2) / steps > max_size


def test_maps_are_left_out_then_weights_rounded_then_there_are_no_responses(
    make_probed_run, tmp_path
):
    run = make_probed_run(steps=range(30))
    file = tmp_path / "page.html"
    whole = to_html(run, file)
    without = to_html(run, file, responses=False)
    assert whole.thinned == without.thinned == ""
    half = to_html(run, file, max_size=whole.size - 1)
    fewer = to_html(run, file, max_size=half.size - 1)
    none = to_html(run, file, max_size=without.size)
    assert half.thinned == "values are rounded to 16 bits"
    assert fewer.thinned == "values are rounded to 16 bits; maps of 2 of 3 probes"
    assert none.thinned == "no responses"


def test_few_maps_of_many_are_kept_with_exact_weights(tmp_path, make_run, probe_run):
    run = probe_run(make_run(steps=range(5)), count=12, maps=12)
    file = tmp_path / "page.html"
    whole = to_html(run, file)
    fewer = to_html(run, file, max_size=whole.size - 1)
    assert fewer.thinned == "maps of 11 of 12 probes"
    assert fewer.size < whole.size


def test_what_is_left_out_is_described_in_words():
    extent = Extent(0, 1, 10, 1, maps=5, map_bytes=1, responses=True)
    assert describe_thinning(Thinning(10, maps=5, responses=True), extent) == ""
    assert describe_thinning(Thinning(4, half=True), extent) == (
        "values are rounded to 16 bits; 4 of 10 steps; no responses"
    )


def test_what_does_not_fit_is_an_error_with_the_options(run, tmp_path):
    with pytest.raises(
        FiltertrackError, match=r"two steps of these 2 layers take .*--layers.*-size"
    ):
        to_html(run, tmp_path / "page.html", max_size=1000)
    assert not list(tmp_path.glob("*.html"))


def test_weights_that_cannot_fit_are_refused_before_they_are_read(conv_info, tmp_path):
    infos = [conv_info(f"conv{n}", (3, 3, 512, 512), bias=False) for n in range(60)]
    read = []
    run = MemoryRun("model", infos, read.append)
    with pytest.raises(FiltertrackError, match=r"these 60 layers take .* before compression"):
        to_html(run, tmp_path / "page.html", max_size=100_000)
    assert read == []
