"""The grid: its size, its legend, groups with names, outlines, and a layout that does not move."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from filtertrack import Moment, Run, Snapshot, animate, measures
from filtertrack.render.palette import NOT_FINITE_RGB, OUTLINED, THEMES
from filtertrack.web import file_answers
from filtertrack.web.html_file import to_html

LAST = 20

# Sums up the layout shifts in every frame of the page.
OBSERVE_SHIFTS = """
window.shifts = [];
new PerformanceObserver(list => {
  for (const {value, hadRecentInput, sources} of list.getEntries()) {
    const names = sources.map(({node}) => node?.className ?? "");
    if (!hadRecentInput) window.shifts.push([value, names]);
  }
}).observe({type: "layout-shift", buffered: true});
"""

# The size of the grid, and the size that is available beside captions and legends.
SIZES = """() => {
  const find = name => document.querySelector(name);
  const [room, area, run, stage] = [".room", ".grids", ".run", ".stage"].map(find);
  const space = innerWidth < 900 ? innerHeight - find(".timeline").offsetHeight : room.clientHeight;
  const below = parseFloat(getComputedStyle(run).marginBottom);
  const around = run.offsetHeight + below - stage.offsetHeight + 2 * area.offsetTop;
  return {
    width: innerWidth,
    grid: [stage.offsetWidth, stage.offsetHeight],
    available: [area.clientWidth, space - around],
    pixels: stage.querySelector("canvas").width,
    scrolls: innerWidth >= 900 && room.scrollHeight > room.clientHeight,
    isTooWide: document.documentElement.scrollWidth > innerWidth
      || room.scrollWidth > room.clientWidth,
  };
}"""

# The area of each button in the pixels of the canvas: left, top, width, height.
AREAS = """buttons => buttons.map(button => {
  const canvas = button.closest(".stage").querySelector("canvas");
  const part = (name, whole) => Math.round(parseFloat(button.style[name]) / 100 * whole);
  const [width, height] = [canvas.width, canvas.height];
  return [part("left", width), part("top", height), part("width", width), part("height", height)];
})"""

SHAPES = {
    "resnet": (7, 7, 3, 64),
    "few": (3, 3, 1, 32),
    "many": (3, 3, 4, 512),
    "six": (5, 5, 1, 6),
    "one": (5, 5, 1, 1),
    "patches": (16, 16, 3, 64),
    "strips": (1, 64, 1, 5),
}


@pytest.fixture
def shapes_run(logs, conv_info):
    """A run whose layers have kernels of many shapes."""
    folder = logs.logdir / "z_shapes"
    if not Run.exists(folder):
        infos = [conv_info(name, shape, bias=False) for name, shape in SHAPES.items()]
        run = Run.create(folder, infos)
        for step in range(2):
            run.append(logs.weights_at(run, step))
    return Run(folder)


@pytest.fixture
def kinds(logs, planted_run):
    """A run of one layer of known edges, blobs and noise."""
    if not Run.exists(logs.logdir / "z_kinds"):
        run = Run.create(logs.logdir / "z_kinds", [planted_run.layers["conv1"]])
        for step in (0, LAST):
            arrays = planted_run.snapshot(step, ["conv1"]).arrays
            run.append(Snapshot(Moment(step, step), arrays))
    return Run(logs.logdir / "z_kinds")


def labels_of(run, step=LAST):
    return measures.label(run.kernels("conv1", step), rgb=True).names.tolist()


def legend_of(names):
    """The entries of the legend of outlines."""
    others = [each for each in dict.fromkeys(names) if each not in OUTLINED]
    return [f"{each} {names.count(each)}" for each in [*OUTLINED, *others]]


@pytest.mark.usefixtures("shapes_run")
def test_the_grid_fills_the_available_size(logs, open_tab):
    """At least 80 % of its shorter side, at a whole number of pixels a weight; nothing scrolls."""
    tab = open_tab().go(logs.address, runs='["z_shapes"]', layer="few", delta=0).drawn(1)
    for layer, (high, wide, _, count) in SHAPES.items():
        tab.choice("layer").select_option(layer)
        filters = "1 filter" if count == 1 else f"{count} filters"
        tab.says(".what", f"{filters} of {high}×{wide}")
        for width, height in ((1440, 836), (1000, 736), (390, 780)):
            tab.page.set_viewport_size({"width": width, "height": height})

            def fills(where=(layer, width)):
                found = tab.frame.evaluate(SIZES)
                is_full = max(found["grid"]) >= 0.8 * min(found["available"])
                is_exact = found["pixels"] == found["grid"][0]
                fits = not found["scrolls"] and not found["isTooWide"]
                return found["width"] == where[1] and is_full and is_exact and fits

            tab.wait(fills, f"a grid of {layer} that fills {width}×{height}")


@pytest.fixture
def maps_run(logs, conv_info, probe_run):
    """A run of 48 filters with maps of 14x14."""
    folder = logs.logdir / "z_maps"
    if not Run.exists(folder):
        run = Run.create(folder, [conv_info("conv1", (9, 9, 3, 48), bias=False)])
        run.append(logs.weights_at(run, 0))
        probe_run(run, side=22, map_side=14)
    return Run(folder)


@pytest.mark.parametrize(
    ("width", "least", "look"),
    [
        (390, 28, {}),
        (1000, 40, {"filter": 7}),
        (1440, 40, {"order": "label", "outline": 1}),
        (390, 28, {"order": "label"}),
    ],
)
@pytest.mark.usefixtures("maps_run")
def test_filters_with_maps_have_a_least_size(logs, open_tab, width, least, look):
    """In every window; the grid fills the width or the height, and scrolls if needed."""
    tab = open_tab(width, 844)
    tab.go(logs.address, runs='["z_maps"]', responses=1, delta=0, **look).loaded()
    if tab.at.locator(".sidebar").is_hidden() and width > 390:
        tab.button("Runs and look (S)").click()
    tab.wait(lambda: tab.frame.evaluate(SIZES)["grid"][0], "the grid")
    cell = tab.button("filter 0").bounding_box()
    assert cell["height"] >= least
    found = tab.frame.evaluate(SIZES)
    shares = [grid / most for grid, most in zip(found["grid"], found["available"], strict=True)]
    assert max(shares) >= 0.8
    assert shares[0] >= 0.5
    assert not found["isTooWide"]
    assert found["pixels"] == found["grid"][0]


def test_a_grid_of_other_columns_has_the_renderers_pixels(logs, open_tab, shapes_run):
    """Every pixel of the canvas is that of the renderer's layout with the same columns."""
    tab = open_tab(1000, 800).go(logs.address, runs='["z_shapes"]', delta=0).drawn(1)
    for layer in ("resnet", "patches", "strips"):
        tab.choice("layer").select_option(layer)
        tab.shows(tab.canvas, logs.picture([shapes_run], layer, 1))


def test_groups_begin_rows_below_their_names(logs, open_tab, kinds):
    """Ordered by kind; cells are the renderer's, arrow keys go from group to group."""
    names = labels_of(kinds)
    labels = [label for label in measures.LABELS if label in names]
    assert len(labels) > 2
    tab = open_tab(1440, 900).go(logs.address, runs='["z_kinds"]', order="label", delta=0)
    tab.drawn(LAST).loaded()
    headings = tab.at.locator(".headings p")
    assert headings.all_inner_texts() == [f"{each} · {names.count(each)}" for each in labels]
    buttons = tab.at.locator(".cells button")
    titles = buttons.evaluate_all("all => all.map(each => each.title)")
    numbers = [int(title.split()[1]) for title in titles]
    assert titles == [f"filter {number} · {names[number]} at step {LAST}" for number in numbers]
    areas = buttons.evaluate_all(AREAS)
    firsts = [0, *(n for n in range(1, 8) if names[numbers[n]] != names[numbers[n - 1]])]
    assert len(firsts) == len(labels)
    for first, heading in zip(firsts, headings.all(), strict=True):
        assert areas[first][0] == areas[0][0]
        box, cell = heading.bounding_box(), buttons.nth(first).bounding_box()
        assert box["height"] >= 18
        assert box["y"] + box["height"] <= cell["y"]
    pixels = tab.pixels(tab.canvas)
    for number, (left, top, width, height) in zip(numbers, areas, strict=True):
        cell = logs.picture([kinds], "conv1", LAST, only=number)((height + 2, width + 2))
        drawn = pixels[top : top + height, left : left + width]
        assert any(np.array_equal(drawn, each[1:-1, 1:-1]) for each in cell)
    tab.button(f"filter {numbers[0]}").focus()
    for first in firsts[1:]:
        tab.page.keyboard.press("ArrowDown")
        focused = tab.frame.evaluate("document.activeElement.title")
        assert focused == titles[first]


@pytest.mark.usefixtures("shapes_run")
def test_a_group_of_small_filters_says_why_they_are_unknown(logs, open_tab):
    """Fewer than 25 weights cannot be distinguished from noise."""
    look = {"layer": "few", "order": "label", "delta": 0}
    tab = open_tab().go(logs.address, runs='["z_shapes"]', **look).drawn(1)
    text = "unknown · 32: filters of 3×3 are too small to be distinguished from noise"
    assert tab.at.locator(".headings p").all_inner_texts() == [text]


def test_the_saved_picture_has_the_names_of_groups(logs, open_tab, kinds):
    """Over the rows, as on the page; and the counts below."""
    look = {"order": "label", "outline": 1, "delta": 0}
    tab = open_tab(1200, 900).go(logs.address, runs='["z_kinds"]', **look).drawn(LAST).loaded()
    with tab.page.expect_download() as download:
        tab.button("Save the grid as PNG").click()
    with Image.open(download.value.path()) as image:
        got = np.asarray(image.convert("RGB"))
    grid = tab.pixels(tab.canvas)
    first, *_ = tab.at.locator(".cells button").evaluate_all(AREAS)
    left, top, width, height = first
    row, column = tab.find(got, grid[top : top + height, left : left + width])
    corner = row - top, column - left
    heading = got[corner[0] : row - 5, corner[1] : corner[1] + grid.shape[1]]
    assert (heading.astype(int).sum(-1) < 300).sum() > 50  # dark text on white
    edge = THEMES["light"].outlines[OUTLINED.index("edge")]
    below = got[corner[0] + len(grid) :]
    assert (below == edge).all(-1).sum() >= 100  # the square of the legend
    assert (got[:, -8:] == 255).all()  # no text is cut


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_outlines_are_those_of_an_animation(logs, open_tab, kinds, tmp_path, theme):
    """In the colours of the labels at each step; with their counts in the legend."""
    tab = open_tab(1200, 800).go(logs.address, dark=theme == "dark", runs='["z_kinds"]', delta=0)
    tab.drawn(LAST).loaded()
    assert not tab.choice("outlines").is_checked()
    tab.shows(tab.canvas, logs.picture([kinds], "conv1", LAST, theme=theme))
    tab.choice("outlines").check()
    tab.shows(tab.canvas, logs.picture([kinds], "conv1", LAST, theme=theme, outline=True))
    for index, step in enumerate(kinds.steps):
        tab.at.get_by_role("slider", name="Step").fill(str(index))
        tab.says(".labels", f"kinds at step {step}")
        tab.shows(tab.canvas, logs.picture([kinds], "conv1", step, theme=theme, outline=True))
        names = labels_of(kinds, step)
        entries = tab.at.locator(".labels > span").all_inner_texts()
        assert entries == [*legend_of(names), f"kinds at step {step}"]
        titles = tab.at.locator(".cells button").evaluate_all("all => all.map(each => each.title)")
        assert titles == [f"filter {n} · {each} at step {step}" for n, each in enumerate(names)]
    assert labels_of(kinds, 0) != names
    tab.wait(lambda: "filtertrack.outline=1" in tab.page.url, "the address")
    with tab.page.expect_download() as download:
        tab.button("Save an animation of all steps").click()
    options = {"theme": theme, "delta": False, "outline": True}
    expected = animate(kinds, tmp_path / "expected.gif", layers="conv1", **options)
    assert download.value.path().read_bytes() == expected.path.read_bytes()
    tab.page.keyboard.press("o")
    tab.at.locator(".labels").wait_for(state="hidden")


def test_outlines_are_drawn_when_the_step_rests(logs, open_tab, kinds):
    """While playing, and until they are known, there are none; each step is requested once."""
    tab = open_tab(1200, 800)
    requested = []
    tab.page.on("request", lambda request: requested.append(request.url))
    tab.go(logs.address, runs='["z_kinds"]', delta=0, outline=1).drawn(LAST).loaded()
    note = f"kinds at step {LAST}"
    tab.says(".labels .note-of-scale", note)
    height = tab.at.locator(".labels").bounding_box()["height"]
    tab.page.keyboard.press(" ")
    tab.says(".labels .note-of-scale", "kinds appear when playback stops")
    plain = logs.picture([kinds], "conv1", 0), logs.picture([kinds], "conv1", LAST)
    shape = tab.pixels(tab.canvas).shape[:2]
    pictures = [each for draw in plain for each in draw(shape)]
    drawn = tab.pixels(tab.canvas)
    assert any(np.array_equal(drawn, each) for each in pictures)
    assert tab.at.locator(".labels").bounding_box()["height"] == height
    tab.page.keyboard.press(" ")
    tab.says(".labels .note-of-scale", "kinds at step")
    for index in (0, 1, 0, 1):
        tab.at.get_by_role("slider", name="Step").fill(str(index))
        tab.says(".labels .note-of-scale", f"kinds at step {kinds.steps[index]}")
    steps = [url for url in requested if "/labels?" in url]
    assert len(steps) == len(set(steps)) == 2


def test_groups_say_at_which_step_their_kinds_are(logs, open_tab, kinds):
    """The order is that of the last step, whichever step is shown."""
    tab = open_tab(1440, 900).go(logs.address, runs='["z_kinds"]', order="label", delta=0)
    tab.drawn(LAST).loaded()
    tab.at.get_by_role("slider", name="Step").fill("0")
    tab.drawn(0)
    tab.says(".what", f"kinds at the last step, {LAST}")
    assert kinds.steps[-1] == LAST


def test_a_matrix_has_no_outlines(logs, open_tab):
    """The control is not shown, and a link that asks for them is drawn without."""
    look = {"layer": "point", "outline": 1, "order": "label", "delta": 0}
    tab = open_tab().go(logs.address, runs='["exp1"]', **look)
    tab.drawn(8).loaded()
    assert tab.choice("outlines").is_hidden()
    assert tab.at.locator(".labels").count() == 0
    tab.shows(tab.canvas, logs.picture([Run(logs.logdir / "exp1")], "point", 8))


def test_the_legend_names_what_is_not_finite_where_it_is(logs, open_tab, rng, conv_info):
    """Only at the steps at which a weight is NaN or infinite, in its colour."""
    info = conv_info("conv1", (3, 3, 1, 6), bias=False)
    kernels = [rng.normal(size=info.kernel_shape).astype("float32") for _ in range(3)]
    kernels[1][0, 0, 0, 2] = np.nan
    logs.write_kernels("z_magenta", info, kernels)
    tab = open_tab().go(logs.address, runs='["z_magenta"]', delta=0, scale="layer")
    tab.drawn(2).loaded()
    legend = tab.at.locator(".not-finite")
    for step, is_shown in ((2, False), (1, True), (0, False)):
        tab.at.get_by_role("slider", name="Step").fill(str(step))
        tab.drawn(step)
        assert legend.is_visible() is is_shown
    assert legend.locator(".square").evaluate("e => e.style.background") == f"rgb{NOT_FINITE_RGB}"


def test_the_legend_says_whether_runs_share_a_scale(logs, open_tab):
    """Each run has its own unless one is chosen for all."""
    names = json.dumps(["exp1", "exp2"])
    tab = open_tab().go(logs.address, runs=names, layer="rgb", delta=0).drawn(8)
    tab.says(".note-of-scale", "each run on its own scale")
    tab.choice("scale of runs").select_option("one for all runs")
    tab.says(".note-of-scale", "all runs on one scale")


LOOKS = {
    "plain": {"delta": 0},
    "both parts": {"scale": "layer"},
    "groups": {"order": "label", "outline": 1, "delta": 0},
}


def _delay(route):
    time.sleep(0.2)
    route.continue_()


@pytest.mark.parametrize(
    ("look", "width"),
    [("plain", 390), ("both parts", 1280), ("groups", 1280), ("groups", 390)],
)
def test_nothing_moves_while_a_run_is_loaded(logs, open_tab, kinds, width, look):
    """The sum of layout shifts is below 0.02, although every answer is late."""
    assert kinds.steps
    tab = open_tab(width, 844)
    tab.page.add_init_script(OBSERVE_SHIFTS)
    tab.page.route("**/data/plugin/filtertrack/*?*", _delay)
    tab.go(logs.address, runs='["z_kinds"]', **LOOKS[look]).drawn(LAST).loaded()
    tab.page.wait_for_timeout(300)
    shifts = tab.frame.evaluate("window.shifts")
    assert sum(value for value, _ in shifts) < 0.02, shifts


def test_nothing_moves_while_responses_are_loaded(logs, open_tab, make_probed_run):
    """Of filters, maps, probes and their legends."""
    folder = logs.logdir / "z_probed_grid"
    make_probed_run(folder=folder)
    tab = open_tab(1280, 844)
    tab.page.add_init_script(OBSERVE_SHIFTS)
    tab.page.route("**/data/plugin/filtertrack/*?*", _delay)
    tab.go(logs.address, runs=json.dumps([folder.name]), responses=1)
    tab.at.locator("figure.grid[data-drawn]").wait_for()
    tab.loaded()
    tab.page.wait_for_timeout(300)
    shifts = tab.frame.evaluate("window.shifts")
    assert sum(value for value, _ in shifts) < 0.02, shifts


def test_a_file_has_groups_and_outlines(open_file, kinds, tmp_path):
    """The labels are in the file."""
    path = to_html(kinds, tmp_path / "page.html", layers="conv1").path
    opened = open_file(path, order="label", outline=1, delta=0).drawn(LAST)
    names = labels_of(kinds)
    labels = [label for label in measures.LABELS if label in names]
    headings = opened.at.locator(".headings p").all_inner_texts()
    assert headings == [f"{each} · {names.count(each)}" for each in labels]
    opened.says(".labels .note-of-scale", f"kinds at step {LAST}")
    assert opened.at.locator(".labels > span").all_inner_texts()[:-1] == legend_of(names)


def test_a_file_says_at_which_steps_it_holds_no_kinds(open_file, kinds, tmp_path, monkeypatch):
    """The outlines of other steps are those of the file."""
    monkeypatch.setattr(file_answers, "_MOST_LABELLED", 1)
    path = to_html(kinds, tmp_path / "page.html", layers="conv1").path
    opened = open_file(path, outline=1, delta=0).drawn(LAST)
    texts = {}
    for index, step in enumerate(kinds.steps):
        opened.at.get_by_role("slider", name="Step").fill(str(index))
        opened.drawn(step)
        note = opened.at.locator(".labels .note-of-scale")
        known = {f"kinds at step {step}", "this file does not hold the kinds at this step"}
        opened.wait(lambda note=note, known=known: note.inner_text() in known, "the kinds")
        texts[step] = note.inner_text()
    held = [step for step, text in texts.items() if text == f"kinds at step {step}"]
    assert len(held) == 1 < len(texts)
