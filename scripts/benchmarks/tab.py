"""Benchmarks of the tab Filters in a headless Chromium: loading time, bytes, frame rate."""

import itertools
import shutil
import statistics
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.comparison import Row, Scale, at_least, at_most
from benchmarks.synthetic_runs import KERNELS, make_run

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
_STEPS, _FEW = 500, 60
_PLAYED = 4.0
"""Seconds of playback."""
_ON_SCREEN = 58.0
"""Frames per second to reach, of the screen's 60."""

_DRAWN = "figure.grid[data-drawn]"
_LOADED = ".status[data-loaded=true]"
_PLAY = """seconds => new Promise(done => {
  const times = [], grid = document.querySelector("figure.grid");
  new MutationObserver(() => times.push(performance.now()))
    .observe(grid, {attributes: true, attributeFilter: ["data-drawn"]});
  setTimeout(() => done(times), 1000 * seconds);
})"""


def tab(folder: Path, scale: Scale) -> Iterator[Row]:
    """Open the tab on a run of 64 filters of 7×7×3, load every snapshot, and play it."""
    program = chromium()
    if program is None:
        return
    steps = _STEPS if scale.large else _FEW
    run = make_run(folder / "run", KERNELS["colour"], steps)
    with _served(folder / "run") as address, launched(program) as browser:
        rounds = [opened(browser, address) for _ in range(scale.rounds)]
        first, whole = (statistics.median(each[n] for each in rounds) for n in (0, 1))
        what = f"{steps} steps of 64 filters of 7×7×3"
        yield at_most(f"{what}: from opening the tab's page to its first picture", first, "s", 1)
        yield Row(f"{what}: to the last of them fetched", whole, "s")
        raw = steps * run.layer("conv1").filters * 7 * 7 * 3 * 4
        wire = rounds[0][2]
        note = f"{wire / 1e6:.1f} against {raw / 1e6:.1f} MB"
        yield at_most(f"{what}: bytes over the wire, times raw float32", wire / raw, "x", 1, note)
        times = played(browser, address)
        yield pictures_a_second(what, times)


def pictures_a_second(what: str, times: list[float]) -> Row:
    """Return the row of how many pictures a second were drawn, at these milliseconds."""
    gaps = [b - a for a, b in itertools.pairwise(times)]
    note = f"the longest pause: {max(gaps):.0f} ms"
    shown = 1000 * len(gaps) / sum(gaps)
    return at_least(f"{what}: pictures a second, played at 60", shown, "", _ON_SCREEN, note)


def chromium() -> str | None:
    """Return the path of Chromium; None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def _served(path: Path) -> Iterator[str]:
    """Start ``filtertrack view``; yield the address of the tab's page."""
    program = Path(sysconfig.get_path("scripts")) / "filtertrack"
    command = [str(program), "view", str(path), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None  # noqa: S101 - because of stdout=PIPE
            address = server.stdout.readline().partition("#")[0].strip().rstrip("/")
            yield f"{address}/data/plugin_entry.html?name=filtertrack"
        finally:
            server.terminate()


@contextmanager
def launched(program: str) -> Iterator[Any]:
    """Start Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


def opened(browser: Any, address: str) -> tuple[float, float, int]:
    """Open the page; return seconds to the first picture and to the last snapshot, and bytes."""
    with browser.new_context() as context, context.new_page() as page:
        sizes: list[int] = []
        page.on("requestfinished", lambda request: sizes.append(_body(request)))
        page.goto(address)
        page.locator(_DRAWN).first.wait_for()
        first = page.evaluate("performance.now()") / 1000
        page.locator(_LOADED).wait_for()
        return first, page.evaluate("performance.now()") / 1000, sum(sizes)


def _body(request: Any) -> int:
    is_cells = "/cells?" in request.url
    return int(request.sizes()["responseBodySize"]) if is_cells else 0


def played(browser: Any, address: str) -> list[float]:
    """Play at 60 snapshots a second; return the times of drawing in milliseconds."""
    with browser.new_context() as context, context.new_page() as page:
        page.goto(address)
        page.locator(_LOADED).wait_for()
        page.get_by_label("speed").select_option("60")
        page.get_by_role("button", name="Play").click()
        times: list[float] = page.evaluate(_PLAY, _PLAYED)
        return times
