"""The cells of filters in an HTML file: messages of several pages, damaged ones, rounded values."""

import numpy as np
import pytest

from filtertrack import Run
from filtertrack.web import file_answers, step_answers
from filtertrack.web.html_file import to_html


def all_answers(shown, **query):
    """Request cells until no step is left; return the answers."""
    answers, first = [], 0
    while first is not None:
        asked = {"run": "run", "layer": "conv1", "first": first, **query}
        answers.append(shown.request("requestCells", asked))
        first = answers[-1]["next"]
    return answers


def cells_by_step(answers):
    """Return the cells of each step, of which none may be sent twice."""
    pairs = [
        (moment["step"], cells)
        for answer in answers
        for moment, cells in zip(answer["moments"], answer["arrays"], strict=True)
    ]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_filters_of_different_pages_are_of_the_same_step(
    make_run, conv_info, logs, tmp_path, open_file
):
    """In answers and in the order of the grid, at steps of several messages.

    96 filters are in pages of 64 and 32: of the second, more snapshots fit into a message.
    """
    run = make_run(conv_info("conv1", (11, 11, 3, 96), bias=False), steps=range(32))
    file = to_html(run, tmp_path / "page.html", max_size=99_000_000).path
    look = {"layer": "conv1", "order": "similarity", "delta": 0, "scale": "frame"}
    shown = open_file(file, **look, step=5).loaded()
    numbers = [10, 70, 95]
    answers = all_answers(shown, filters="10,70,95")
    assert len(answers) > 2
    found = cells_by_step(answers)
    assert list(found) == run.steps
    for step, cells in found.items():
        np.testing.assert_array_equal(cells, run.kernels("conv1", step)[numbers].ravel())
    titles = shown.at.locator(".cells button").evaluate_all("all => all.map(a => a.title)")
    order = [int(title.split()[-1]) for title in titles]
    assert max(order) >= 64
    for step in (5, 31):
        shown.at.get_by_role("slider").fill(str(step))
        picture = logs.picture([run], "conv1", step, page=order, scale="frame")
        shown.shows(shown.canvas.first, picture)


def test_differences_of_different_pages_are_of_the_same_step(
    make_run, conv_info, tmp_path, open_file, monkeypatch
):
    """Differences of patterns have messages of their own, of 8 bytes a weight."""
    monkeypatch.setattr(step_answers, "_MOST_BYTES", 30_000)
    run = make_run(conv_info("conv1", (5, 5, 8, 70), bias=False), steps=range(12))
    shown = open_file(to_html(run, tmp_path / "page.html").path)
    for delta in (None, 1):
        alone = cells_by_step(all_answers(shown, filters="64-69", delta=delta))
        joined = cells_by_step(all_answers(shown, filters="3,64-69", delta=delta))
        assert list(joined) == list(alone) == run.steps
        for step, cells in joined.items():
            np.testing.assert_array_equal(cells[25:], alone[step])


def test_pages_of_different_steps_are_an_error(
    make_run, conv_info, tmp_path, open_file, monkeypatch
):
    """Filters of different steps are never joined."""
    errors = pytest.importorskip("playwright.sync_api")
    divide = file_answers._messages
    monkeypatch.setattr(step_answers, "_MOST_BYTES", 30_000)
    monkeypatch.setattr(
        file_answers, "_messages", lambda run, part, _, half: divide(run, part, [], half=half)
    )
    run = make_run(conv_info("conv1", (5, 5, 1, 70), bias=False), steps=range(12))
    shown = open_file(to_html(run, tmp_path / "page.html").path)
    query = {"run": "run", "layer": "conv1", "filters": "3,69", "first": 0}
    with pytest.raises(errors.Error, match="its pages of filters hold different steps"):
        shown.request("requestCells", query)


def damage_kernels(run, step):
    """Change the kernels in a snapshot's file, which the file's checksums reveal."""
    kernels = run.snapshot(step).arrays["conv1/kernel"].tobytes()
    content = run.file(step).read_bytes()
    assert content.count(kernels) == 1
    run.file(step).write_bytes(content.replace(kernels, bytes(len(kernels))))


@pytest.fixture
def two_snapshots(monkeypatch):
    """Limit messages to two snapshots."""
    monkeypatch.setattr(step_answers, "_MOST_SNAPSHOTS", 2)


@pytest.mark.usefixtures("two_snapshots")
@pytest.mark.parametrize("shape", [(3, 3, 3, 70), (3, 3, 8, 70)], ids=["colours", "patterns"])
@pytest.mark.parametrize("damaged", [(0, 1), (4,)], ids=str)
def test_a_message_of_damaged_snapshots_has_no_cells(  # noqa: PLR0917
    make_run, conv_info, tmp_path, open_file, shape, damaged
):
    """Of several pages, of one channel, of differences and of kernels; other steps are drawn."""
    run = make_run(conv_info("conv1", shape, bias=False), steps=range(5))
    for step in damaged:
        damage_kernels(run, step)
    run = Run(run.path)
    file = to_html(run, tmp_path / "page.html").path
    readable = [step for step in range(5) if step not in damaged]
    shown = open_file(file, delta=0, order="drift", step=readable[-1])
    queries = [{"filters": "0-63"}, {"filters": "5,69"}]
    queries.append({"filters": "5,69", "channels": "1"} if shape[2] == 3 else {"delta": 1})
    for query in queries:
        answers = all_answers(shown, **{"filters": "5,69", **query})
        assert list(cells_by_step(answers)) == readable
        assert sorted(step for each in answers for step in each["damaged"]) == [*map(str, damaged)]
    shown.loaded().drawn(readable[-1])
    shown.says(".status", "damaged: step")


@pytest.mark.usefixtures("two_snapshots")
def test_kernels_of_a_message_of_damaged_snapshots(
    make_run, conv_info, probe_run, tmp_path, open_file
):
    """A product of patch and kernel is shown at the steps that can be read."""
    about = {"preprocessing": (), "padding": "same", "activation": "relu", "strides": (2, 2)}
    info = conv_info("conv1", (3, 3, 1, 4), bias=False, **about)
    run = probe_run(make_run(info, steps=range(5)))
    for step in (0, 1):
        damage_kernels(run, step)
    shown = open_file(to_html(Run(run.path), tmp_path / "page.html").path)
    query = {"run": "run", "layer": "conv1", "filter": 2, "first": 0}
    answer = shown.request("requestKernels", query)
    assert (answer["kernels"], answer["arrays"], answer["shape"]) == ([], [], None)
    assert sorted(answer["damaged"]) == ["0", "1"]
    answer = shown.request("requestKernels", {**query, "first": answer["next"]})
    assert [each["step"] for each in answer["kernels"]] == [2, 3]
    np.testing.assert_array_equal(answer["arrays"][0], run.kernels("conv1", 2)[2].ravel())
