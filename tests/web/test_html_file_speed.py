"""How fast an HTML file shows its first picture, and plays.

Other processes share the machine, so the bounds are on the time that the browser's main thread
computes, and loose. ``--junitxml=FILE -o junit_family=xunit1`` writes the figures to a file.
"""

import numpy as np
import pytest

from filtertrack.web.html_file import to_html

# Records when the first grid is drawn, the frames of the browser, and those with another step.
OBSERVE = """
window.seen = {first: null, frames: [], pictures: []};
let shown = null;
requestAnimationFrame(function observe(now) {
  const {drawn = null} = document.querySelector("figure.grid[data-drawn]")?.dataset ?? {};
  if (drawn !== null) seen.first ??= performance.now();
  seen.frames.push(now);
  if (drawn !== shown) seen.pictures.push(now);
  shown = drawn;
  requestAnimationFrame(observe);
});
"""
SECONDS = 1
MAPS = "&p.filtertrack.responses=1"


@pytest.fixture
def opened(chromium):
    """Open a file, wait until it is loaded, and return its page and a function.

    The function returns for how many seconds the page's main thread has computed.
    """
    pages = []

    def open_page(file, look):
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        pages.append(page)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def computed():
            metrics = session.send("Performance.getMetrics")["metrics"]
            return next(each["value"] for each in metrics if each["name"] == "TaskDuration")

        page.add_init_script(OBSERVE)
        page.goto(f"file://{file}#filtertrack{look}")
        page.locator(".status[data-loaded=true]").wait_for(timeout=90_000)
        return page, computed

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture
def file_of(make_run, conv_info, probe_run, tmp_path):
    """Write the HTML file of a run with a layer of this shape."""

    def write(shape):
        run = make_run(conv_info("conv1", shape, bias=False), steps=range(24))
        if shape[2] == 3:
            probe_run(run, count=52, maps=13, map_side=14)
        return to_html(run, tmp_path / "page.html").path

    return write


@pytest.mark.parametrize(
    ("shape", "look"),
    [
        ((9, 9, 3, 48), f"{MAPS}&p.filtertrack.filter=1"),
        ((3, 3, 128, 256), ""),
    ],
    ids=["with maps and an open filter", "256 patterns"],
)
def test_a_file_opens_soon_and_plays_smoothly(file_of, opened, record_property, shape, look):
    page, computed = opened(file_of(shape), look)
    loading = computed()
    page.get_by_label("speed", exact=True).select_option("60")
    page.get_by_role("button", name="First step").click()
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_timeout(500)
    before = computed()
    first = page.evaluate("seen.frames = []; seen.pictures = []; seen.first")
    page.wait_for_timeout(1000 * SECONDS)
    seen, playing = page.evaluate("seen"), computed() - before
    frames = np.diff(seen["frames"])
    figures = {
        "first picture, ms": first,
        "computed until all is loaded, ms": 1000 * loading,
        "median frame, ms": np.median(frames),
        "95 % of frames below, ms": np.percentile(frames, 95),
        "pictures a second": len(seen["pictures"]) / SECONDS,
        "computed per picture, ms": 1000 * playing / max(1, len(seen["pictures"])),
    }
    for name, value in figures.items():
        record_property(name, round(float(value), 1))
    assert loading < 5
    assert len(seen["pictures"]) > 1
    assert figures["computed per picture, ms"] < 100
