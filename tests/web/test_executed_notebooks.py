"""A notebook with a run, executed, turned into HTML and opened in a browser."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

_CELLS = (
    """
    import numpy as np
    from filtertrack import ArrayTracker, Run, measure
    rng = np.random.default_rng(0)
    with ArrayTracker("run", live=True, existing="replace") as tracker:
        kernel = rng.normal(size=(5, 5, 3, 8))
        for step in range(5):
            kernel += rng.normal(size=kernel.shape)
            tracker.snapshot(step, {"conv": kernel}, axes="HWIO", metrics={"loss": 1 / (1 + step)})
    """,
    "Run('run')",
    "measure('run')",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def executed(run_notebook, folder):
    return run_notebook(*_CELLS, cwd=folder)


@pytest.fixture(scope="module")
def converted(executed, folder):
    """Return the notebook as an HTML file; without scripts and frames as GitHub shows it."""
    nbconvert = pytest.importorskip("nbconvert")

    def convert(*, scripts=True):
        exporter = nbconvert.HTMLExporter(embed_images=True)
        # MathJax is loaded from elsewhere, and there is no network.
        exporter.mathjax_url = exporter.require_js_url = ""
        text = exporter.from_notebook_node(executed.notebook)[0]
        if not scripts:
            text = re.sub(r"<(iframe|script).*?</\1>", "", text, flags=re.DOTALL)
        file = folder / f"scripts-{scripts}.html"
        file.write_text(text)
        return file

    return convert


@pytest.fixture
def open_page(chromium):
    """Open an HTML file in a new page without any network."""
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    context.set_offline(True)

    def open_page(file):
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"file://{file}")
        return page

    yield open_page
    context.close()


def test_every_page_of_the_notebook_appears_and_plays(converted, open_page):
    """That of ``live=True`` at the end of training, and that of the run."""
    page = open_page(converted())
    frames = page.locator("iframe")
    assert frames.count() == 2
    for number in range(2):
        frames.nth(number).scroll_into_view_if_needed()
        inside = frames.nth(number).content_frame
        inside.locator(".status[data-loaded=true]").wait_for()
        inside.get_by_role("button", name="play").first.click()
        inside.locator("figure.grid:not([data-drawn='4'])").first.wait_for()


def test_without_scripts_a_still_picture_is_left(converted, open_page):
    """It is below each frame."""
    page = open_page(converted(scripts=False))
    assert page.locator("iframe").count() == 0
    pictures = page.locator("img[alt*='filters of the run']")
    assert pictures.count() == 2
    assert pictures.first.evaluate("image => image.naturalWidth") > 100
    with Image.open(io.BytesIO(pictures.first.screenshot())) as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_measures_are_sentences_and_tables(converted, open_page):
    page = open_page(converted(scripts=False))
    assert page.get_by_text("of 8 filters").count() == 1
    assert page.locator("table").count() >= 3


def test_a_notebook_run_again_from_the_top_has_the_same_outputs(executed, run_notebook, folder):
    """In the same folder, with ``existing="replace"``."""
    again = run_notebook(*_CELLS, cwd=folder)
    for cell in range(len(_CELLS)):
        assert again.error(cell) is None
        before, after = executed.shown(cell), again.shown(cell)
        assert [sorted(each) for each in before] == [sorted(each) for each in after]
        assert [each["text/plain"] for each in before] == [each["text/plain"] for each in after]
    assert "5 snapshots" in again.printed(0)


def test_the_page_plays_where_vs_code_inserts_it(executed, folder, open_page):
    """By ``innerHTML``, under the content security policy of its source."""
    policy = (
        "default-src 'none'; script-src https://*.vscode-cdn.net 'unsafe-inline' 'unsafe-eval'; "
        "style-src https://*.vscode-cdn.net 'unsafe-inline'; "
        "img-src https://*.vscode-cdn.net https: http: data:; "
        "font-src https://*.vscode-cdn.net https:; connect-src https:; child-src https: data:"
    )
    output = json.dumps(executed.shown(1)[0]["text/html"]).replace("</", "<\\/")
    script = "document.body.appendChild(document.createElement('div')).innerHTML ="
    file = folder / "vscode.html"
    file.write_text(
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><body><script>{script} {output}</script>'
    )
    inside = open_page(file).locator("iframe").content_frame
    inside.locator(".status[data-loaded=true]").wait_for()
    inside.get_by_role("button", name="play").first.click()
    inside.locator("figure.grid:not([data-drawn='4'])").first.wait_for()
