"""A run as the output of a notebook's cell: a still picture, and the page over it."""

import base64
import io
import re
from html import unescape

import pytest
from PIL import Image

from filtertrack import Run
from filtertrack.storage.memory_run import MemoryRun
from filtertrack.web import notebook_page


def test_a_still_picture_remains_where_frames_are_removed(exp1):
    """GitHub removes frames and styles, and shows pictures inside the notebook."""
    output = exp1._repr_html_()
    without_frame = re.sub(r"<iframe.*?</iframe>", "", output, flags=re.DOTALL)
    data = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", without_frame)[1])
    with Image.open(io.BytesIO(data)) as picture:
        assert min(picture.size) > 100
    assert len(output) < 2_000_000


def test_the_page_is_shown_in_a_frame_of_its_own_origin(exp1, tmp_path, open_file):
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><title>notebook</title>{exp1._repr_html_()}<p>next cell</p>")
    shown = open_file(file)
    address = shown.page.url
    shown.at = shown.page.frame_locator("iframe")
    shown.loaded().drawn(8)
    assert shown.page.url == address  # the page leaves the notebook's address alone
    frame = shown.page.frames[1]
    assert (
        frame.evaluate("(() => { try { return parent.document.title } catch { return null } })()")
        is None
    )


def test_the_page_leaves_the_focus_to_the_cell_that_is_edited(exp1, tmp_path, open_file):
    file = tmp_path / "notebook.html"
    cell = "<textarea id='cell' autofocus></textarea>"
    file.write_text(f"<!doctype html><title>notebook</title>{cell}{exp1._repr_html_()}")
    shown = open_file(file)
    shown.at = shown.page.frame_locator("iframe")
    shown.loaded().drawn(8)
    shown.page.keyboard.type("n")
    assert shown.page.locator("#cell").input_value() == "n"


def test_a_large_run_shows_its_default_layer(make_run, conv_info, tmp_path, open_file):
    """The page says that there are other layers."""
    infos = [conv_info(f"conv{n}", (7, 7, 3, 64), bias=False) for n in range(12)]
    run = make_run(*infos, steps=range(10))
    output = run._repr_html_()
    assert len(output) < 2_000_000
    assert "srcdoc" in output
    assert unescape(output).count('type="application/gzip"') >= 2
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html>{output}")
    shown = open_file(file)
    shown.at = shown.page.frame_locator("iframe")
    count = len(notebook_page._fitting_layers(run, "conv0"))
    assert count < 12
    shown.says(".status", f"{count} of 12 layers; filtertrack.to_html(...) has more")
    assert shown.choice("layer").locator("option").count() == count


def test_a_page_with_all_layers_has_no_note_about_layers(run, tmp_path, open_file):
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html>{run._repr_html_()}")
    shown = open_file(file)
    shown.at = shown.page.frame_locator("iframe")
    assert "layers" not in shown.loaded().at.locator(".status").inner_text()


def test_a_wide_matrix_has_the_size_of_what_is_shown_of_it(make_run, conv_info):
    """Only its first 256 input channels are in a page, so another layer fits beside it."""
    wide = conv_info("wide", (1, 1, 4096, 64), bias=False)
    run = make_run(conv_info("conv1", (7, 7, 3, 8), bias=False), wide, steps=range(4))
    assert notebook_page._fitting_layers(run, "conv1") == ["conv1", "wide"]


@pytest.mark.parametrize("steps", [(), (0,)])
def test_a_run_with_few_snapshots(make_run, steps, caplog):
    run = make_run(steps=steps)
    output = Run(run.path)._repr_html_()
    if steps:
        assert "srcdoc" in output
    else:
        assert output is None
        assert "0 readable snapshots" in caplog.text


def test_damaged_last_snapshots_are_left_out(make_run):
    """The picture and the page are of those that can be read."""
    run = make_run(steps=range(4))
    run.file(3).write_bytes(b"damaged")
    assert "srcdoc" in Run(run.path)._repr_html_()


def test_a_run_in_memory_is_shown(run):
    """As of a checkpoint file: a single snapshot that is not stored."""
    memory = MemoryRun("model.keras", run.layers.values(), lambda _: run.snapshot(2).arrays)
    output = memory._repr_html_()
    assert "srcdoc" in output
    assert "data:image/png" in output


def odd_layers(conv_info):
    """Return layers that are drawn in other ways than most, by what they are."""
    signal = {"class_name": "Conv1D", "axes": (2, 0, 1), "shape": (6, 1, 9, 4)}
    long = {"class_name": "Conv1D", "axes": (2, 0, 1), "shape": (4, 1, 80, 1)}
    return {
        "1x1": conv_info("conv1", (1, 1, 16, 12), bias=False),
        "signals": conv_info("conv1", (9, 4, 6), bias=False, **signal),
        "curves": conv_info("conv1", (80, 1, 4), bias=False, **long),
        "many filters": conv_info("conv1", (3, 3, 1, 4096), bias=False),
        "one filter": conv_info("conv1", (5, 5, 1, 1), bias=False),
    }


@pytest.mark.parametrize("kind", ["1x1", "signals", "curves", "many filters", "one filter"])
def test_odd_layers_are_shown(make_run, conv_info, kind):
    run = make_run(odd_layers(conv_info)[kind], steps=range(3))
    output = run._repr_html_()
    assert "data:image/png" in output
    assert "srcdoc" in output
    assert len(output) < 2_000_000


def test_a_run_too_large_for_a_page_has_its_picture(run, monkeypatch):
    """Where not even two steps of the default layer fit."""
    monkeypatch.setattr(notebook_page, "_MAX_SIZE", 50_000)
    output = run._repr_html_()
    assert "data:image/png" in output
    assert "srcdoc" not in output


def test_a_layer_that_is_too_large_for_a_page_is_not_prepared_for_one(
    make_run, conv_info, monkeypatch
):
    """Its labels alone would take minutes; the still picture is shown at once."""
    run = make_run(conv_info("conv1", (11, 11, 3, 4096), bias=False), steps=range(2))
    monkeypatch.setattr("filtertrack.web.notebook_page.fitting_text", None)
    output = run._repr_html_()
    assert "data:image/png" in output
    assert "iframe" not in output
