"""The two parts of a layer: the filters, and what was learned, their difference from the start."""

import json
from itertools import product

import numpy as np
import pytest
from PIL import Image

from filtertrack import Moment, Run, Snapshot, animate
from filtertrack.outputs.layer_cells import LayerCells, part_text
from filtertrack.outputs.picture_parts import part_of, parts_of
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.layer_look import bar_texts, describe_cells, describe_scale
from filtertrack.render.look import Look

LAST = 5

# Records the steps that are drawn in both grids whenever one of them is drawn.
SEEN = """() => {
  const figures = [...document.querySelectorAll("figure.grid")];
  window.seen = [];
  const drawn = () => window.seen.push(figures.map(each => Number(each.dataset.drawn)));
  for (const each of figures) {
    new MutationObserver(drawn).observe(each, {attributes: true, attributeFilter: ["data-drawn"]});
  }
}"""

WHERE_FOCUS_IS = """[
  document.activeElement.parentElement.getAttribute("aria-label"),
  document.activeElement.getAttribute("aria-label"),
]"""


def words_of(layer):
    """Return the title of a part without its largest value, which the page does not show."""
    return part_text(layer).partition(", up to ")[0]


def learning(info, rng, steps=LAST + 1, size=0.2):
    """Return kernels that move away from a random start."""
    start, way = (rng.normal(size=info.kernel_shape).astype("float32") for _ in range(2))
    return [(start + size * step * way).astype("float32") for step in range(steps)]


def shows_parts(tab, logs, runs, layer, step, *, scale="filter", **look):
    """Check both parts of each run, pixel for pixel."""
    for number in range(len(runs)):
        for delta in (False, True):
            picture = logs.picture(
                runs, layer, step, number=number, scale=scale, delta=delta, **look
            )
            tab.shows(tab.canvas.nth(2 * number + delta), picture)


@pytest.fixture
def small(logs, rng, conv_info):
    """A run of small kernels, written once."""
    name = "z_small_kernels"
    info = conv_info("conv1", (3, 3, 1, 12), bias=False)
    if not (logs.logdir / name).exists():
        logs.write_kernels(name, info, learning(info, rng))
    return Run(logs.logdir / name)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 3, 1, 6), 5), ((7, 7, 1, 6), 0.05), ((7, 7, 1, 6), 5), ((7, 7, 3, 6), 0.05)],
    ids=["small", "strong start", "weak start", "strong start in colour"],
)
def test_the_parts_shown_by_default_are_those_of_an_animation(
    logs, open_tab, rng, conv_info, *, shape, size
):
    """Filters and the difference where kernels are small or the start is strong, else filters."""
    info = conv_info("conv1", shape, bias=False)
    name = f"z_parts_{'_'.join(map(str, shape))}_{size}"
    run = logs.write_kernels(name, info, learning(info, rng, size=size))
    parts = parts_of(select_from_run(run, layers="conv1"), Look(theme="light"))
    assert len(parts) == (1 if size == 5 and shape[0] == 7 else 2)
    tab = open_tab().go(logs.address, runs=json.dumps([name])).drawn(LAST).loaded()
    assert tab.grid.count() == len(parts)
    for number, part in enumerate(parts):
        tab.shows(
            tab.canvas.nth(number),
            logs.picture([run], "conv1", LAST, scale=part.scale, delta=part.delta),
        )
        if len(parts) > 1:
            layer = LayerCells(run, "conv1", run.steps, part)
            assert tab.title(number) == words_of(layer)
    assert ("delta" in tab.page.url, "scale" in tab.page.url) == (False, False)


def test_the_parts_are_chosen_in_the_address_and_saved(logs, open_tab, small, tmp_path):
    """Automatic, the filters, or what was learned; an animation has the same parts."""
    runs = json.dumps(["z_small_kernels"])
    tab = open_tab()
    for delta, count in (("", 2), ("0", 1), ("1", 1)):
        tab.go(logs.address, runs=runs, delta=delta).drawn(LAST).loaded()
        assert tab.choice("show").input_value() == delta
        assert tab.grid.count() == count
        with tab.page.expect_download() as download:
            tab.button("Save an animation of all steps").click()
        download.value.save_as(tmp_path / "saved.gif")
        options = {"theme": "light", "delta": {"": None, "0": False, "1": True}[delta]}
        expected = animate(small, tmp_path / "expected.gif", layers="conv1", **options)
        assert (tmp_path / "saved.gif").read_bytes() == expected.path.read_bytes()
    tab.choice("show").select_option("automatic")
    tab.wait(lambda: "filtertrack.delta" not in tab.page.url, "the address")
    assert tab.grid.count() == 2


def test_a_differences_looks_equal_the_renderers(logs, open_tab, small):
    """Scales, zero in the middle of the filters, a colormap for both, and orders."""
    tab = open_tab().go(logs.address, runs='["z_small_kernels"]', step=3).drawn(3).loaded()
    shows_parts(tab, logs, [small], "conv1", 3)
    for scale in ("layer", "frame", "filter"):
        tab.choice("scale").select_option(scale)
        shows_parts(tab, logs, [small], "conv1", 3, scale=scale)
    tab.choice("zero in the middle").check()
    shows_parts(tab, logs, [small], "conv1", 3, zero_centred=True)
    tab.choice("colours").select_option("PuOr_r")
    tab.choice("order").select_option("drift")
    look = {"zero_centred": True, "colormap": "PuOr_r", "order": "drift"}
    shows_parts(tab, logs, [small], "conv1", 3, **look)


def test_the_parts_are_side_by_side_or_below_each_other(logs, open_tab, small):
    """In a narrow window below each other, without horizontal scrolling."""
    tab = open_tab()
    for width, beside in ((1280, True), (390, False)):
        tab.page.set_viewport_size({"width": width, "height": 736})
        tab.go(logs.address, runs='["z_small_kernels"]').drawn(LAST).loaded()
        first, second = (tab.grid.nth(n).bounding_box() for n in range(2))
        assert (second["x"] >= first["x"] + first["width"]) is beside
        assert (second["y"] >= first["y"] + first["height"]) is not beside
        assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shows_parts(tab, logs, [small], "conv1", LAST)


def test_the_layout_stays_while_a_run_is_loaded(logs, open_tab, small):
    """The grids, their titles and scale bars are where they are first drawn."""
    tab = open_tab()
    held = []

    def hold(route):
        held.append(route)

    tab.page.route("**/cells?*first=0&*", hold)
    tab.go(logs.address, runs='["z_small_kernels"]').drawn(LAST)
    tab.wait(lambda: held, "a request for the other steps")

    def boxes():
        found = [
            tab.grid.nth(number).locator(part).bounding_box()
            for number in range(2)
            for part in ("figcaption", ".stage", ".scale")
        ]
        return [(box["x"], box["y"], box["height"]) for box in found]

    before = boxes()
    held.pop().continue_()
    tab.loaded()
    shows_parts(tab, logs, [small], "conv1", LAST)
    assert boxes() == before


def test_the_parts_play_together(logs, open_tab, small):
    """Both grids show the same step, at every step."""
    tab = open_tab().go(logs.address, runs='["z_small_kernels"]').drawn(LAST).loaded()
    tab.choice("speed").select_option("60")
    tab.frame.evaluate(SEEN)
    tab.button("Play").click()
    tab.frame.wait_for_function(f"new Set(seen.map(each => each[0])).size === {LAST + 1}")
    assert all(first == second for first, second in tab.frame.evaluate("window.seen"))


def test_filters_are_opened_in_both_grids(logs, open_tab, small):
    """By click and key; each grid is one tab stop, with arrow keys between its cells."""
    tab = open_tab().go(logs.address, runs='["z_small_kernels"]').drawn(LAST).loaded()
    for number in (1, 0):
        tab.grid.nth(number).get_by_role("button", name="filter 7", exact=True).click()
        tab.at.get_by_role("heading", name="Filter 7").wait_for()
        pressed = tab.at.locator(".cells button[aria-pressed=true]")
        assert pressed.evaluate_all("all => all.map(each => each.ariaLabel)") == ["filter 7"] * 2
        tab.shows(
            tab.at.locator(".kernel canvas"),
            logs.picture([small], "conv1", LAST, only=7, scale="filter"),
        )
        tab.button("Close").click()
    tab.grid.first.get_by_role("button", name="filter 0", exact=True).focus()
    places = []
    for key in ("ArrowRight", "ArrowRight", "Tab", "ArrowRight", "Tab"):
        tab.page.keyboard.press(key)
        places.append(tab.frame.evaluate(WHERE_FOCUS_IS))
    filters = "Filters of z_small_kernels"
    assert places[:4] == [
        [filters, "filter 1"],
        [filters, "filter 2"],
        [f"{filters}: what was learned", "filter 0"],
        [f"{filters}: what was learned", "filter 1"],
    ]
    assert places[4][1] == "First step"


def test_two_runs_show_both_parts_each_in_its_own_order(logs, open_tab, rng, conv_info):
    """Each on its own scale unless one is chosen; the saved animation is ``animate``'s."""
    info = conv_info("conv1", (3, 3, 1, 12), bias=False)
    runs = [
        logs.write_kernels(f"z_pair_{n}", info, learning(info, rng, size=0.1 + n)) for n in (0, 1)
    ]
    names = json.dumps(["z_pair_0", "z_pair_1"])
    tab = open_tab().go(logs.address, runs=names, order="drift").drawn(LAST).loaded()
    assert tab.grid.count() == 4
    shows_parts(tab, logs, runs, "conv1", LAST, order="drift")
    tab.choice("scale of runs").select_option("one for all runs")
    shows_parts(tab, logs, runs, "conv1", LAST, order="drift", one_scale=True)
    tab.wait(lambda: "filtertrack.one_scale=1" in tab.page.url, "the address")
    orders = [
        tab.grid.nth(n).get_by_role("button").evaluate_all("all => all.map(each => each.title)")
        for n in (0, 2)
    ]
    assert orders[0] != orders[1]
    with tab.page.expect_download() as download:
        tab.button("Save an animation of all steps").click()
    path = download.value.path()
    options = {"order": "drift", "one_scale": True, "theme": "light", "layers": "conv1"}
    expected = animate(runs[0], path.parent / "expected.gif", compare=runs[1], **options)
    assert path.read_bytes() == expected.path.read_bytes()


def test_a_filter_on_another_page_of_a_runs_order_has_a_note(logs, open_tab, rng, conv_info):
    """The other run shows it."""
    info = conv_info("conv1", (3, 3, 1, 70), bias=False)
    for number in (0, 1):
        logs.write_kernels(f"z_many_{number}", info, learning(info, rng))
    names = json.dumps(["z_many_0", "z_many_1"])
    tab = open_tab().go(logs.address, runs=names, order="drift", page=1, delta=0)
    tab.drawn(LAST).loaded()
    shown = [
        tab.grid.nth(n).get_by_role("button").evaluate_all("all => all.map(each => each.title)")
        for n in (0, 1)
    ]
    only = next(name for name in shown[0] if name not in shown[1])
    tab.grid.first.get_by_role("button", name=only, exact=True).click()
    tab.says(".block", f"{only.capitalize()} is on another page of this run's order.")
    assert tab.at.locator(".kernel canvas").count() == 1


def test_small_changes_are_drawn_as_none(logs, open_tab, rng, conv_info):
    """As the renderer does: in a filter, in a run, beside filters of zeros and of NaN."""
    info = conv_info("conv1", (3, 3, 1, 8), bias=False)
    start = rng.normal(size=info.kernel_shape).astype("float32")
    start[..., 0] = 0
    start[0, 0, 0, 1] = np.nan
    way = np.geomspace(1e-4, 1e-1, start.size).reshape(start.shape).astype("float32")
    way[..., 7] = 1e-6
    kernels = [start + step * way for step in range(LAST + 1)]
    kernels[2][1, 1, 0, 2] = np.inf
    run = logs.write_kernels("z_little", info, kernels)
    tab = open_tab().go(logs.address, runs='["z_little"]').drawn(LAST).loaded()
    for scale in ("filter", "layer", "frame"):
        tab.choice("scale").select_option(scale)
        for step in (LAST, 0, 1, 2):
            tab.at.get_by_role("slider").fill(str(step))
            shows_parts(tab, logs, [run], "conv1", step, scale=scale)
    assert tab.title(1) == "learned: difference from the start"


@pytest.mark.parametrize("epoch", [3, 0], ids=["epochs", "steps"])
def test_a_run_without_step_0_names_what_the_difference_is_from(
    logs, open_tab, rng, conv_info, epoch
):
    """As a run of checkpoints, in the renderer's words."""
    info = conv_info("conv1", (3, 3, 1, 6), bias=False)
    name = f"z_late_{epoch}"
    run = Run.create(logs.logdir / name, [info])
    for step, kernel in enumerate(learning(info, rng), start=3):
        run.append(Snapshot(Moment(step, step if epoch else 0), {info.kernel: kernel}))
    tab = open_tab().go(logs.address, runs=json.dumps([name])).drawn(LAST + 3).loaded()
    layer = LayerCells(run, "conv1", run.steps, part_of(Look(delta=True)))
    assert tab.title(1) == words_of(layer)
    assert tab.title(1) == f"learned: difference from {'epoch' if epoch else 'step'} 3"


@pytest.mark.parametrize("channels", [1, 8], ids=["plain", "patterns"])
def test_a_run_in_which_nothing_was_learned_says_so(logs, open_tab, rng, conv_info, channels):
    """As soon as it is loaded, in the renderer's words; nothing is drawn as a change."""
    info = conv_info("conv1", (3, 3, channels, 6), bias=False)
    name = f"z_nothing_learned_{channels}"
    run = logs.write_kernels(name, info, learning(info, rng, size=1e-5))
    tab = open_tab().go(logs.address, runs=json.dumps([name])).drawn(LAST).loaded()
    layer = LayerCells(run, "conv1", run.steps, part_of(Look(delta=True)))
    assert layer.largest == 0
    tab.says("figcaption", part_text(layer))
    shows_parts(tab, logs, [run], "conv1", LAST)
    run.append(Snapshot(Moment(9, 9), {info.kernel: np.ones(info.kernel_shape, np.float32)}))
    tab.drawn(9).loaded()
    tab.says("figcaption", "learned: difference from the start")
    shows_parts(tab, logs, [run], "conv1", 9)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
def test_differences_of_other_dtypes_equal_the_renderers(logs, open_tab, rng, conv_info, dtype):
    """Computed in 64 bits."""
    info = conv_info("conv1", (3, 3, 1, 6), bias=False)
    kernels = [(9 * each).astype(dtype) for each in learning(info, rng)]
    name = f"z_dtype_{dtype}"
    run = logs.write_kernels(name, info, kernels)
    tab = open_tab().go(logs.address, runs=json.dumps([name])).drawn(LAST).loaded()
    shows_parts(tab, logs, [run], "conv1", LAST)


def test_the_start_is_the_first_readable_snapshot(logs, open_tab, rng, conv_info):
    """Also if it is replaced while the page is open."""
    info = conv_info("conv1", (3, 3, 1, 6), bias=False)
    run = logs.write_kernels("z_start", info, learning(info, rng))
    logs.damage(run.file(0))
    tab = open_tab().poll_often().go(logs.address, runs='["z_start"]').drawn(LAST).loaded()
    shows_parts(tab, logs, [run], "conv1", LAST, steps=run.steps[1:])
    kernel = rng.normal(size=info.kernel_shape).astype("float32")
    run.append(Snapshot(Moment(1, 1), {info.kernel: kernel}))
    shows_parts(tab, logs, [run], "conv1", LAST, steps=run.steps[1:])


def test_the_start_of_a_run_larger_than_the_cache_is_kept(logs, open_tab, rng, conv_info):
    """Differences are drawn at every step, on the scale of all steps that were loaded."""
    info = conv_info("conv1", (3, 3, 1, 16), bias=False)
    run = logs.write_kernels("z_larger", info, learning(info, rng, steps=120, size=0.01))
    tab = open_tab().set_constants("step_cache.js", MOST_BYTES="12e3")
    tab.go(logs.address, runs='["z_larger"]').drawn(119)
    tab.choice("scale").select_option("frame")
    for step in (119, 60, 20, 119):
        tab.at.get_by_role("slider").fill(str(step))
        shows_parts(tab, logs, [run], "conv1", step, scale="frame")
    assert "of 120 steps loaded" in tab.at.locator(".status").inner_text()
    for step in range(0, 120, 10):  # now every step was loaded once
        tab.at.get_by_role("slider").fill(str(step))
        tab.drawn(step)
    tab.choice("scale").select_option("automatic")
    shows_parts(tab, logs, [run], "conv1", 110)


@pytest.mark.parametrize("channels", [1, 4], ids=["plain", "pattern"])
def test_scale_bars_have_the_renderers_words(logs, open_tab, rng, conv_info, channels):
    """Lowest and highest, zero in the middle, or numbers; and which scale it is."""
    info = conv_info("conv1", (3, 3, channels, 6), bias=False)
    name = f"z_bars_{channels}"
    run = logs.write_kernels(name, info, learning(info, rng))
    tab = open_tab().go(logs.address, runs=json.dumps([name])).drawn(LAST).loaded()
    for scale, zero_centred in product(("frame", "filter", "layer"), (False, True)):
        tab.choice("scale").select_option(scale)
        tab.choice("zero in the middle").set_checked(zero_centred)
        for number, delta in enumerate((False, True)):
            look = part_of(Look(scale=scale, delta=delta, zero_centred=zero_centred))
            layer = LayerCells(run, "conv1", run.steps, look)
            texts = bar_texts(look, layer.view, layer.values(layer.last_cells()))
            bar = tab.grid.nth(number).locator(".scale")

            def reads(bar=bar, texts=texts):
                read = [bar.locator(f".{end}").inner_text() for end in ("low", "zero", "high")]
                return [each.replace("−", "-") for each in read] == list(texts)  # noqa: RUF001

            tab.wait(reads, f"{texts} below the bar")
            words = describe_scale(look, layer.view)
            tab.wait(lambda: bar.locator(".note-of-scale").inner_text() == words, words)  # noqa: B023
            left, right = bar.locator("canvas").all()
            ends = [tab.pixels(left)[0, 0].tolist(), tab.pixels(right)[0, -1].tolist()]
            assert ends == ([[5, 48, 97], [103, 0, 31]] if delta else [[0] * 3, [255] * 3])
        words = ["6 filters of 3×3", *describe_cells(look, info, layer.view)]
        tab.reads(".what", " · ".join(words))


def test_the_saved_picture_has_both_parts_and_their_scale_bars(logs, open_tab, small):
    """Side by side; the bars are below the grids."""
    tab = open_tab().go(logs.address, runs='["z_small_kernels"]').drawn(LAST).loaded()
    with tab.page.expect_download() as download:
        tab.button("Save the grid as PNG").click()
    with Image.open(download.value.path()) as image:
        got = np.asarray(image.convert("RGB"))
    left, right = (tab.pixels(tab.canvas.nth(number)) for number in range(2))
    row, column = tab.find(got, left)
    assert tab.find(got[:, column + left.shape[1] :], right)[0] == row
    below = got[row + len(left) :].reshape(-1, 3).astype(int)
    for colour in ((0, 0, 0), (5, 48, 97), (103, 0, 31)):
        assert np.abs(below - colour).max(axis=1).min() < 16  # the bar is narrower than its colours


def test_coloured_filters_have_no_bar(logs, open_tab):
    """Their scale is named."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb", delta=0).drawn(8).loaded()
    assert tab.at.locator(".bar").is_hidden()
    words = [
        "colours are the filter's own red, green and blue",
        "each filter has its own scale at each step",
    ]
    assert tab.at.locator(".note-of-scale").inner_text() == " · ".join(words)


@pytest.mark.parametrize("channels", ["", "strongest", "2"])
def test_heat_maps_equal_the_renderers(logs, open_tab, rng, conv_info, channels):
    """1-D kernels: channels down, positions across; or one channel; or the strongest pattern."""
    info = conv_info(
        "conv1", (9, 4, 6), bias=False, class_name="Conv1D", axes=(2, 0, 1), shape=(6, 1, 9, 4)
    )
    name = f"z_heat_{channels}"
    run = logs.write_kernels(name, info, learning(info, rng))
    tab = open_tab().go(logs.address, layer="conv1", runs=json.dumps([name]), channels=channels)
    tab.drawn(LAST).loaded()
    look = {"channels": int(channels) if channels.isdigit() else channels or None}
    shows_parts(tab, logs, [run], "conv1", LAST, **look)
    tab.button("filter 1").first.click()
    large = tab.at.locator(".kernel canvas")
    large.focus()
    for _ in range(3):
        tab.page.keyboard.press("ArrowDown")
    where = "channel 3, position 0" if not channels else "row 0, column 0"
    tab.says(".readout", where)
    kernels = run.kernels("conv1", LAST)[1, 0]
    if channels != "strongest":
        value = kernels[0, int(channels or 3)]
        text = tab.at.locator(".readout").inner_text().replace("−", "-")  # noqa: RUF001
        np.testing.assert_allclose(float(text.split(": ")[1]), value, rtol=1e-4)


def test_strips_equal_the_renderers(logs, open_tab, rng, conv_info):
    """A long row of weights is drawn higher; its weights are read once."""
    info = conv_info("conv1", (1, 64, 1, 5), bias=False)
    run = logs.write_kernels("z_strip", info, learning(info, rng))
    tab = open_tab().go(logs.address, runs='["z_strip"]').drawn(LAST).loaded()
    shows_parts(tab, logs, [run], "conv1", LAST)
    tab.button("filter 1").first.click()
    tab.at.get_by_text("Weights as a table").click()
    tab.at.locator(".weights tr").nth(1).wait_for()
    assert tab.at.locator(".weights tr").count() == 2
