"""The documentation as a site: it needs no network, and its examples run."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filtertrack import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as ``make docs`` builds it: a warning, such as a broken link, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = [
        (page.name, address)
        for page in pages
        for address in re.findall(
            r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]*)', page.read_text()
        )
        if re.match(r"(https?:)?//", address)
    ]
    assert loaded == []


@pytest.mark.slow
def test_the_site_is_searched_offline_as_files(site, chromium):
    context = chromium.new_context()
    context.set_offline(True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.goto(f"{(site / 'filters.html').as_uri()}")
    page.get_by_role("textbox", name="Search").fill("drift")
    page.locator(".md-search-result__item").filter(has_text="cosine distance").first.wait_for()
    assert errors == []
    context.close()


@pytest.mark.slow
def test_a_notebook_is_a_page_with_its_outputs(site, chromium):
    """Its pictures, and the page of a run, which plays: all from the site's own files."""
    context = chromium.new_context()
    context.set_offline(True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.goto((site / "notebooks" / "first-steps.html").as_uri())
    widths = page.locator("article img").evaluate_all("each => each.map(e => e.naturalWidth)")
    assert len(widths) >= 2
    assert all(widths)
    run = page.locator("iframe[srcdoc]")
    run.scroll_into_view_if_needed()
    run.content_frame.get_by_text("40 of 40").wait_for()
    assert errors == []
    context.close()


def test_the_program_of_getting_started_runs(tmp_path, monkeypatch):
    """With few digits of random pixels, as the data set is downloaded."""
    import keras

    rng = np.random.default_rng(0)
    digits = rng.integers(0, 256, (64, 28, 28)), rng.integers(0, 10, 64)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: (digits, digits))
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
    program = next(
        code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "fit(" in code
    )
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    runpy.run_path("program.py")
    run = Run("runs/digits")
    assert run.steps[0] == 0
    assert len(run.steps) > 3
    assert list(run.layers) == ["conv1", "conv2"]
