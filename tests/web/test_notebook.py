"""A run as the output of a notebook's cell: a still picture, and the page over it."""

import base64
import io
import re
from html import unescape

import pytest
from PIL import Image

from filtertrack import Run


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


def test_a_large_run_shows_its_default_layer(make_run, conv_info):
    infos = [conv_info(f"conv{n}", (7, 7, 3, 64), bias=False) for n in range(12)]
    run = make_run(*infos, steps=range(10))
    output = run._repr_html_()
    assert len(output) < 2_000_000
    assert "srcdoc" in output
    assert unescape(output).count('type="application/gzip"') >= 2


@pytest.mark.parametrize("steps", [(), (0,)])
def test_a_run_with_few_snapshots(make_run, steps, caplog):
    run = make_run(steps=steps)
    output = Run(run.path)._repr_html_()
    if steps:
        assert "srcdoc" in output
    else:
        assert output is None
        assert "0 readable snapshots" in caplog.text
