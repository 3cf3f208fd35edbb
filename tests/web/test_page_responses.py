"""Maps of responses beside the filters, the choice of the probe, and what one filter answers to."""

import dataclasses
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from filtertrack import Run
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.grid import to_levels
from filtertrack.render.palette import THEMES, colormap_levels, theme_palette
from filtertrack.render.value_range import ValueRange, range_of_cells
from filtertrack.response import ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.storage.probe_format import write_probes

SEPARATOR = THEMES["light"].separator
COLORMAPS = {"conv1": "gray", "conv2": "RdBu_r"}

# The position and the size of a filter's button in the pixels of the canvas.
CORNER = """button => {
  const canvas = button.closest(".stage").querySelector("canvas");
  const {left, top, width, height} = button.style;
  const [x, w] = [left, width].map(each => Math.round(parseFloat(each) / 100 * canvas.width));
  const [y, h] = [top, height].map(each => Math.round(parseFloat(each) / 100 * canvas.height));
  return [x, y, w, h];
}"""
ALPHA = """canvas => {
  const {width, height} = canvas;
  const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
  const alpha = data.filter((_, n) => n % 4 === 3);
  return alpha.reduce((sum, each) => sum + each, 0) / 255 / (width * height);
}"""


@pytest.fixture
def write_probed(logs, make_probed_run):
    """Write a run with probes of random responses, once for all tests, and list it."""

    def write(name="probed", change=None):
        folder = logs.logdir / name
        if not folder.exists():
            run = make_probed_run(folder=folder)
            if change is not None:
                change(run)
        return Run(folder)

    return write


@pytest.fixture
def probed(write_probed):
    return write_probed()


def tones_of_maps(run, layer, step, probe, scale="frame"):
    """Return the maps of all filters to a probe, as palette entries."""
    steps = [each for each in run.steps if run.moment(each).probed]
    stored = {each: run.probe_responses(layer, each) for each in steps}
    values = stored[step].values(probe)
    largest = np.abs(values).max(axis=(1, 2))
    if scale != "frame":
        whole = [np.abs(each.values()).max(axis=(0, 2, 3)) for each in stored.values()]
        largest = np.max(whole, axis=0)
    if scale == "layer":
        largest = np.full_like(largest, largest.max())
    high = np.where(largest > 0, largest, 1).astype(float)
    low = np.zeros_like(high) if run.probes.layer(layer).rectified else -high
    return to_levels(values[..., np.newaxis], ValueRange(low, high))


def enlarged(tones, scale, colormap):
    """Return palette entries as colours, each a square of pixels."""
    palette = theme_palette("light", colormap_levels(colormap))
    return np.kron(palette[tones], np.ones((scale, scale, 1), np.uint8))


def pairs_of(filter_colours, map_tones, colormap, shape):
    """Return all pictures of a filter and its map beside it that have a shape."""
    found = []
    (rows, columns), (map_rows, map_columns) = filter_colours.shape[:2], map_tones.shape[:2]
    for scale in range(1, shape[1] // map_columns + 1):
        for inner in range(1, 8):
            left = shape[1] - scale * map_columns
            side = (left - inner) // columns
            if side < 1 or side * columns != left - inner:
                continue
            if max(side * rows, scale * map_rows) != shape[0]:
                continue
            drawn_map = enlarged(map_tones, scale, colormap)
            drawn = np.kron(filter_colours, np.ones((side, side, 1), np.uint8))
            picture = np.full((*shape, 3), SEPARATOR, np.uint8)
            for part, x in ((drawn, 0), (drawn_map, left)):
                top = (shape[0] - len(part)) // 2
                picture[top : top + len(part), x : x + part.shape[1]] = part
            found.append(picture)
    return found


def shows_pairs(tab, grid, filters, maps, colormap):
    """Wait until each cell of a grid holds a filter and, beside it, its map."""
    canvas = grid.locator(".stage canvas")

    def check():
        pixels = tab.pixels(canvas)
        for number, (colours, tones) in enumerate(zip(filters, maps, strict=True)):
            button = grid.get_by_role("button", name=f"filter {number}", exact=True)
            x, y, width, height = button.evaluate(CORNER)
            got = pixels[y : y + height, x : x + width]
            expected = pairs_of(colours, tones, colormap, got.shape[:2])
            if not any(np.array_equal(got, each) for each in expected):
                return False
        return True

    tab.wait(check, "filters with their maps")


def colours_of_filters(run, step, filters=4):
    """Return the filters of conv1, each on its own scale."""
    info = run.layer("conv1")
    cells = to_cells(view_of(info), run.kernels("conv1", step))[:filters]
    palette = theme_palette("light", colormap_levels("gray"))
    return palette[to_levels(cells, range_of_cells(cells))]


def test_the_control_is_shown_where_a_layer_has_responses(logs, probed, open_tab, exp1):
    """It is off until it is chosen; without responses it is hidden."""
    del probed, exp1
    tab = open_tab().go(logs.address, runs='["exp1"]').loaded()
    assert tab.choice("responses").is_hidden()
    tab = open_tab().go(logs.address, runs='["probed"]').loaded()
    assert not tab.choice("responses").is_checked()
    assert tab.at.locator(".probes").is_hidden()
    width = tab.canvas.first.bounding_box()["width"]
    tab.choice("responses").check()
    tab.at.locator(".probes").wait_for()
    tab.wait(lambda: tab.canvas.first.bounding_box()["width"] != width, "another layout")
    tab.choice("responses").uncheck()
    tab.wait(lambda: tab.canvas.first.bounding_box()["width"] == width, "the layout before")


def test_maps_equal_the_stored_ones(logs, probed, open_tab):
    """Pixel for pixel, beside their filters, at each step and on each scale."""
    look = {"runs": '["probed"]', "responses": 1, "probe": 1, "delta": 0, "scale": "frame"}
    tab = open_tab().go(logs.address, layer="conv1", step=0, **look).loaded()
    for step in probed.steps:
        tab.drawn(step)
        maps = tones_of_maps(probed, "conv1", step, 1)
        shows_pairs(tab, tab.grid, colours_of_filters(probed, step), maps, "gray")
        tab.button("Step on").click()
    for scale in ("filter", "layer"):
        tab.choice("scale").select_option(scale)
        for index, step in enumerate(probed.steps):
            tab.at.get_by_role("slider", name="Step").fill(str(index))
            shows_maps(tab, probed, "conv1", step, probe=1, scale=scale)


def shows_maps(tab, run, layer, step, *, probe=0, scale="frame"):
    """Wait until the right part of each cell of the grid is its map."""
    maps = tones_of_maps(run, layer, step, probe, scale)

    def check():
        pixels = tab.pixels(tab.canvas)
        for number, tones in enumerate(maps):
            button = tab.grid.get_by_role("button", name=f"filter {number}", exact=True)
            x, y, width, height = button.evaluate(CORNER)
            cell = pixels[y : y + height, x : x + width]
            sides = range(height // len(tones), (height // 2 - 1) // len(tones), -1)
            drawn = (enlarged(tones, side, COLORMAPS[layer]) for side in sides)
            if not any(np.array_equal(middle_right(cell, each.shape[:2]), each) for each in drawn):
                return False
        return True

    tab.wait(check, f"the maps of {layer} at step {step}")


def middle_right(cell, shape):
    """Return the part of a cell at its right side, centred from top to bottom."""
    top = (len(cell) - shape[0]) // 2
    return cell[top : top + shape[0], cell.shape[1] - shape[1] :]


def test_signed_maps_have_zero_in_the_middle(logs, probed, open_tab):
    """In the diverging colours, on each scale; the legend says which colour is which."""
    look = {"runs": '["probed"]', "responses": 1, "probe": 2, "step": 1}
    tab = open_tab().go(logs.address, layer="conv2", **look).loaded()
    stored = [np.abs(probed.probe_responses("conv2", n).values()).max() for n in probed.steps]
    for scale, texts in (
        ("frame", ("negative", "0", "positive")),
        ("filter", ("negative", "0", "positive")),
        ("layer", ("0", f"+{max(stored):.3f}")),
    ):
        tab.choice("scale").select_option(scale)
        shows_maps(tab, probed, "conv2", 1, probe=2, scale=scale)
        legend = tab.at.locator(".scale").nth(1)
        for text in texts:
            legend.get_by_text(text, exact=True).wait_for()


def test_maps_have_a_colormap_that_suits_them(logs, probed, open_tab):
    """Maps from zero up none that is diverging, signed ones no other."""
    look = {"runs": '["probed"]', "responses": 1, "step": 0, "delta": 0, "colormap": "RdBu_r"}
    tab = open_tab().go(logs.address, layer="conv1", **look).loaded()
    shows_maps(tab, probed, "conv1", 0)
    tab.choice("colours").select_option("viridis")
    tab.choice("layer").select_option("conv2")
    tab.loaded()
    shows_maps(tab, probed, "conv2", 0)


def test_a_probe_is_chosen(logs, probed, open_tab):
    """By its thumbnail, the buttons and the keys; the URL keeps it; its picture is shown."""
    tab = open_tab().go(logs.address, runs='["probed"]', layer="conv1", responses=1, delta=0)
    tab.loaded()
    last = probed.steps[-1]
    which = tab.at.locator(".which")
    thumbnails = tab.at.locator(".thumbnails button")
    assert thumbnails.count() == 3
    for act, probe in [
        (lambda: thumbnails.nth(2).click(), 2),
        (lambda: tab.button("Next probe").click(), 0),
        (lambda: tab.button("Previous probe").click(), 2),
        (lambda: tab.at.get_by_role("slider").press(","), 1),
        (lambda: tab.at.get_by_role("slider").press("."), 2),
    ]:
        act()
        label, choice = probed.probes.labels[probe], "0 to 2 of 5 have maps"
        which.filter(has_text=f"probe {probe}, class {label} · {choice}").wait_for()
        assert thumbnails.nth(probe).get_attribute("aria-pressed") == "true"
        shows_maps(tab, probed, "conv1", last, probe=probe)
    thumbnails.nth(2).press("ArrowLeft")
    which.filter(has_text="probe 1,").wait_for()
    thumbnails.nth(1).press("ArrowRight")
    which.filter(has_text="probe 2,").wait_for()
    assert thumbnails.nth(2).evaluate("button => document.activeElement === button")
    image = probed.probes.inputs["images"][2].astype(float)
    grey = np.rint(255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    picture = np.kron(np.repeat(grey, 3, axis=-1), np.ones((6, 6, 1), np.uint8))
    canvas = tab.at.locator(".picture")
    tab.wait(lambda: np.array_equal(tab.pixels(canvas), picture), "the picture of the probe")
    tab.wait(lambda: "probe=2" in tab.page.url, "the probe in the URL")
    tab.reload()
    which.filter(has_text="probe 2,").wait_for()
    tab.at.get_by_role("slider").press("r")
    tab.at.locator(".probes").wait_for(state="hidden")


def test_filters_that_answer_to_nothing_are_named(logs, probed, open_tab):
    """At the step that is shown, where it is known; also in the titles of their cells."""
    tab = open_tab().go(logs.address, runs='["probed"]', layer="conv1", responses=1).loaded()
    tab.says(".silent", "1 filter answers to no probe at this step: 1")
    titles = tab.at.locator(".cells button").evaluate_all("all => all.map(each => each.title)")
    assert [n for n, title in enumerate(titles) if title.endswith(" · silent")] == [1]
    height = tab.at.locator(".probes").bounding_box()["height"]
    tab.at.get_by_role("slider", name="Step").fill("0")
    tab.drawn(probed.steps[0])
    tab.wait(lambda: not tab.at.locator(".silent").inner_text(), "no silent filter")
    tab.wait(lambda: tab.button("filter 1").get_attribute("title") == "filter 1", "the title")
    assert tab.at.locator(".probes").bounding_box()["height"] == height
    tab.choice("layer").select_option("conv2")
    tab.says(".probes .reading", "without an activation.")
    assert tab.at.locator(".silent").inner_text() == ""


def test_many_silent_filters_are_counted_and_cut(modules):
    """Twelve numbers are shown."""
    found = modules.evaluate("""async () => {
        const {describeSilent} = await import("./run_responses.js");
        const all = Array.from({length: 20}, (_, n) => n);
        return [describeSilent(all), describeSilent([3, 26]), describeSilent([])];
    }""")
    numbers = ", ".join(map(str, range(12)))
    assert found == [
        f"20 filters answer to no probe at this step: {numbers}, …",
        "2 filters answer to no probe at this step: 3, 26",
        "",
    ]


def test_what_is_read_is_described(logs, probed, open_tab):
    """With the size from which the maps were shrunk."""
    del probed
    tab = open_tab().go(logs.address, runs='["probed"]', layer="conv1", responses=1).loaded()
    tab.says(".reading", "the output of relu1, after conv1")
    tab.says(".reading", "Shrunk from 10×10 to 5×5")
    tab.choice("layer").select_option("conv2")
    tab.says(".reading", "without an activation.")
    assert "hrunk" not in tab.at.locator(".probes .reading").inner_text()


def test_a_step_without_responses_has_empty_maps(logs, write_probed, open_tab):
    """The filters are drawn; a sentence says why there are no maps, and none of another step."""

    def remove(run):
        run.append(dataclasses.replace(run.snapshot(1), responses={}))

    run = write_probed("partly", remove)
    look = {"layer": "conv1", "responses": 1, "step": 0, "filter": 0}
    tab = open_tab().go(logs.address, runs='["partly"]', **look).loaded()
    shows_maps(tab, run, "conv1", 0)
    tab.button("Step on").click()
    tab.drawn(1)
    tab.says(".note", "holds no responses")
    tab.says(".answers .state", "holds no responses")
    maps_are_empty(tab, 4)
    assert tab.at.locator(".answers .patches").is_hidden()
    assert tab.at.locator(".answers .maps").is_hidden()
    tab.button("Step on").click()
    tab.drawn(2)
    assert tab.at.locator(".note").is_hidden()
    shows_maps(tab, run, "conv1", 2)


def maps_are_empty(tab, filters):
    """Check that the right third of each cell has the colour between cells."""
    pixels = tab.pixels(tab.canvas)
    for number in range(filters):
        button = tab.grid.get_by_role("button", name=f"filter {number}", exact=True)
        x, y, width, height = button.evaluate(CORNER)
        right = pixels[y : y + height, x + width - width // 3 : x + width]
        assert (right == SEPARATOR).all()


def test_a_probe_without_maps_cannot_be_chosen(logs, probed, open_tab):
    """An address that names one shows the last probe with maps: the grid is not emptied."""
    tab = open_tab().go(logs.address, runs='["probed"]', layer="conv1", responses=1, probe=4)
    tab.loaded()
    tab.says(".which", "probe 2,")
    shows_maps(tab, probed, "conv1", probed.steps[-1], probe=2)
    tab.button("Next probe").click()
    tab.says(".which", "probe 0,")


def test_a_run_with_fewer_maps_says_so(logs, probed, write_probed, open_tab):
    """Beside one with more."""
    del probed

    def change(run):
        write_probes(run.folder, dataclasses.replace(run.probes, maps=2))

    write_probed("fewer maps", change)
    runs = '["fewer maps", "probed"]'
    tab = open_tab().go(logs.address, runs=runs, layer="conv1", responses=1, probe=2)
    tab.says(".note", "No maps are kept of probe 2, only of the first 2 probes")


def test_a_click_on_a_patch_frames_it_in_its_probe(logs, write_probed, open_tab):
    """Where the probe has maps they are shown, else the maps stay; the patch is dashed then."""
    run = write_probed()
    look = {"responses": 1, "filter": 0, "step": 1, "delta": 0}
    tab = open_tab().go(logs.address, runs='["probed"]', layer="conv1", **look).loaded()
    places = run.probe_responses("conv1", 1).places[0]
    patches = tab.at.locator(".patches button")
    tab.wait(lambda: patches.nth(8).is_visible(), "the patches")
    framed = tab.at.locator(".framed")
    pressed = tab.at.locator(".patches button[aria-pressed=true]")
    assert pressed.count() == 1  # the strongest of a probe with maps
    shown = 0
    for number, (probe, row, column, _) in enumerate(places.astype(int)):
        patches.nth(number).click()
        tab.says(".framed", f"probe {probe}, class")
        tab.says(".framed", f"row {row}, column {column}")
        shown = probe if probe < 3 else shown
        tab.says(".which", f"probe {shown},")
        classes = patches.nth(number).get_attribute("class") or ""
        assert ("mapless" in classes) == (probe >= 3)
        assert patches.nth(number).get_attribute("aria-pressed") == "true"
        frame = framed.locator(".frame").first.evaluate("each => each.style.cssText")
        assert framed.locator(".spot").last.is_visible() == (probe < 3)
        expected = [f"{100 * size / 12:.3f}" for size in (column, row, 3, 3)]
        assert [f"{float(each):.3f}" for each in re.findall(r"([\d.]+)%", frame)] == expected
    assert {True, False} == set((places[:, 0] >= 3).tolist())
    shows_maps(tab, run, "conv1", 1, probe=shown)
    patches.nth(8).click()
    assert pressed.count() == 1


def test_damaged_responses_leave_the_filters(logs, write_probed, open_tab):
    """A sentence gives the reason why the maps cannot be read."""

    def damage(run):
        path = run.path / "filters" / "snapshots" / "000000000001.npz"
        with zipfile.ZipFile(path) as file:
            start = file.getinfo("conv1/response_maps.npy").header_offset
        data = bytearray(path.read_bytes())
        data[start + 250] ^= 255
        path.write_bytes(data)

    write_probed("responses damaged", damage)
    tab = open_tab().go(
        logs.address, runs='["responses damaged"]', layer="conv1", responses=1, step=1
    )
    tab.loaded().drawn(1)
    tab.says(".note", "The responses at step 1 cannot be read")
    maps_are_empty(tab, 4)


def test_a_filter_shows_what_it_answers_to(logs, probed, open_tab):
    """Its maps of all probes, its strongest places, and whether it is silent."""
    tab = (
        open_tab()
        .go(logs.address, runs='["probed"]', layer="conv1", filter=1, step=1, delta=0)
        .loaded()
    )
    answers = tab.at.locator(".answers")
    stored = probed.probe_responses("conv1", 1)
    probe, row, column, value = stored.places[1, 0]
    tab.says(".answers .state", f"strongest: {value:.3f}, to probe {probe:.0f}, class")
    patches = answers.locator(".patches button")
    assert patches.count() == 9
    label = patches.first.get_attribute("title")
    assert re.match(rf"probe {probe:.0f}, class \d, row {row:.0f}, column {column:.0f}", label)
    tab.says(".answers", "Strongest patches: 3×3 pixels each")
    maps = answers.locator(".maps button")
    assert maps.count() == 3
    for number in range(3):
        tones = tones_of_maps(probed, "conv1", 1, number)[1]
        canvas = maps.nth(number).locator("canvas").last
        expected = [enlarged(tones, scale, "gray") for scale in range(1, 12)]
        tab.wait(lambda: holds(tab.pixels(canvas), expected), f"map {number}")  # noqa: B023
        assert "highest" in maps.nth(number).get_attribute("title")
    maps.nth(2).click()
    tab.says(".which", "probe 2,")
    assert tab.choice("responses").is_checked()
    tab.button("Last step").click()
    tab.says(".answers .state", "silent: answered to none of 5 probes")
    assert answers.locator(".patches").is_hidden()
    assert "Strongest" not in answers.inner_text()
    assert maps.first.is_visible()


def test_the_maps_of_a_filter_have_the_scale_of_the_grid(logs, probed, open_tab):
    """Also where all filters have one scale."""
    look = {"responses": 1, "scale": "layer", "filter": 2, "step": 1}
    tab = open_tab().go(logs.address, runs='["probed"]', layer="conv1", **look).loaded()
    canvas = tab.at.locator(".answers .maps button").nth(1).locator("canvas").last
    tones = tones_of_maps(probed, "conv1", 1, 1, "layer")[2]
    expected = [enlarged(tones, scale, "gray") for scale in range(1, 12)]
    tab.wait(lambda: holds(tab.pixels(canvas), expected), "the map")


def holds(pixels, pictures):
    """Return whether one of some pictures is in the middle of pixels, up to a border."""
    height, width = pixels.shape[:2]
    for picture in pictures:
        top, left = height - picture.shape[0], width - picture.shape[1]
        inner = pixels[top // 2 : height - top + top // 2, left // 2 : width - left + left // 2]
        if 0 <= top <= 4 and 0 <= left <= 4 and np.array_equal(inner, picture):
            return True
    return False


def test_patches_are_cut_by_the_receptive_field(logs, write_probed, open_tab):
    """What is outside of the picture is transparent; without a field the whole picture is shown."""

    def change(run):
        layers = dict(run.probes.layers)
        field = ReceptiveField((8, 8), (4, 4), (-6, -6))
        layers["conv1"] = dataclasses.replace(layers["conv1"], field=field)
        write_probes(run.folder, dataclasses.replace(run.probes, layers=layers))

    run = write_probed("fields", change)
    tab = open_tab().go(logs.address, runs='["fields"]', layer="conv1", filter=0, step=1).loaded()
    tab.says(".answers", "8×8 pixels each")
    patches = tab.at.locator(".patches button")
    places = run.probe_responses("conv1", 1).places[0]
    for number, (_, y, x, _) in enumerate(places):
        rows, columns = run.probes.layer("conv1").field.at(int(y), int(x))
        inside = [len(range(max(0, part.start), min(12, part.stop))) for part in (rows, columns)]
        share = np.prod(inside) / 64
        canvas = patches.nth(number).locator("canvas")
        tab.wait(
            lambda: abs(canvas.evaluate(ALPHA) - share) < 0.02,  # noqa: B023
            f"patch {number} with {share:.0%} of it in the picture",
        )
    tab.choice("layer").select_option("conv2")
    tab.says(".answers", "the receptive field is unknown: the whole picture")
    canvas = patches.first.locator("canvas")
    tab.wait(lambda: canvas.evaluate(ALPHA) == 1, "the whole picture")


def test_runs_without_probes_beside_one_with(logs, probed, make_run, open_tab):
    """Only the run with probes has maps; the other is drawn as it is without."""
    run = make_run(folder=logs.logdir / "plain")
    tab = open_tab().go(
        logs.address, runs='["plain", "probed"]', layer="conv1", responses=1, step=0
    )
    tab.loaded()
    tab.says(".absence", "no probes: train with FilterTracker(probes=...)")
    assert tab.at.locator(".thumbnails:visible").count() == 1
    tops = [tab.grid.nth(number).locator(".stage").bounding_box()["y"] for number in (0, 1)]
    assert tops[0] == tops[1]
    drawn = logs.picture([run], "conv1", 0, scale="frame")
    tab.shows(tab.canvas.first, drawn)
    maps = tones_of_maps(probed, "conv1", 0, 0)
    shows_pairs(tab, tab.grid.nth(1), colours_of_filters(probed, 0), maps, "gray")


def test_maps_of_signals_are_strips(logs, make_run, conv_info, rng, open_tab):
    """Their only row is repeated; the probes are no pictures."""
    changes = {"class_name": "Conv1D", "axes": (2, 0, 1), "shape": (6, 1, 9, 4)}
    run = make_run(conv_info("conv1", (9, 4, 6), **changes), folder=logs.logdir / "signals")
    layer = ProbedLayer("conv1", "the layer's output", False, (1, 20), (1, 20))
    signals = rng.normal(size=(2, 28, 4)).astype(np.float32)
    write_probes(run.folder, StoredProbes({"x": signals}, {"conv1": layer}, 2))
    reduction = ResponseReduction(layer, 2)
    reduction.add(rng.normal(size=(2, 1, 20, 6)))
    responses = {"conv1": reduction.result()}
    run.append(dataclasses.replace(run.snapshot(2), responses=responses))
    look = {"layer": "conv1", "responses": 1, "scale": "frame", "delta": 0, "filter": 0}
    tab = open_tab().go(logs.address, runs='["signals"]', **look).loaded()
    tab.says(".which", "probe 0 (no picture) · 0 to 1")
    button = tab.grid.get_by_role("button", name="filter 2", exact=True)
    row = tones_of_maps(Run(run.path), "conv1", 2, 0)[2]

    def check():
        x, y, width, height = button.evaluate(CORNER)
        cell = tab.pixels(tab.canvas)[y : y + height, x : x + width]
        strips = (enlarged(row, side, "RdBu_r")[:1] for side in range(1, width // 20 + 1))
        found = [np.repeat(strip, strip.shape[1] // 4, axis=0) for strip in strips]
        return any(np.array_equal(middle_right(cell, each.shape[:2]), each) for each in found[1:])

    tab.wait(check, "a strip")


def test_new_snapshots_have_maps(logs, write_probed, open_tab):
    """While training runs, the maps of a new step appear with its filters."""
    run = write_probed("growing")
    tab = open_tab().poll_often()
    tab.go(logs.address, runs='["growing"]', layer="conv1", responses=1, delta=0).loaded()
    shows_maps(tab, run, "conv1", 2)
    snapshot = run.snapshot(0)
    moment = dataclasses.replace(snapshot.moment, step=7)
    responses = {name: run.probe_responses(name, 0) for name in run.probes.layers}
    run.append(dataclasses.replace(snapshot, moment=moment, responses=responses))
    tab.drawn(7)
    shows_maps(tab, run, "conv1", 7)


def test_names_of_probes_are_text(logs, write_probed, open_tab):
    """Markup from the file of the probes does nothing."""
    hostile = "<img src=x onerror=alert(1)>"

    def change(run):
        layer = ProbedLayer("conv1", hostile, True, (10, 10), (5, 5), 2, hostile)
        write_probes(run.folder, dataclasses.replace(run.probes, layers={"conv1": layer}))

    write_probed("hostile probes", change)
    tab = open_tab().go(
        logs.address, runs='["hostile probes"]', layer="conv1", responses=1, filter=0
    )
    tab.loaded()
    tab.says(".reading", hostile)
    assert tab.at.locator("main img").count() == 0


def test_a_damaged_file_of_probes_leaves_the_filters(logs, write_probed, open_tab):
    """A sentence says that it cannot be read; there is no control."""

    def damage(run):
        path = run.path / "filters" / "probes.npz"
        path.write_bytes(path.read_bytes()[:-100])

    write_probed("probes damaged", damage)
    tab = open_tab()
    tab.expected += ["400"]
    tab.go(logs.address, runs='["probes damaged"]', layer="conv1").loaded()
    tab.says(".alert", "probes.npz")
    assert tab.choice("responses").is_hidden()


def test_the_page_is_no_wider_than_the_window(logs, probed, open_tab):
    """With maps and an open filter; every button has a name."""
    del probed
    look = {"runs": '["probed"]', "layer": "conv1", "responses": 1, "filter": 0}
    tab = open_tab(390, 844).go(logs.address, **look).loaded()
    tab.at.locator(".answers .patches button").first.wait_for()
    for width in (390, 1280):
        tab.page.set_viewport_size({"width": width, "height": 780})
        tab.page.wait_for_function(f"innerWidth === {width}")
        tab.wait(
            lambda: tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth"),
            "the width of the window",
        )
    names = tab.at.locator("button:visible").evaluate_all(
        "all => all.map(each => each.ariaLabel || each.textContent)"
    )
    assert all(names)


def test_a_picture_with_maps_is_saved(logs, probed, open_tab, tmp_path):
    """The PNG holds the probe, the grid with the maps, and both scale bars below it."""
    del probed
    tab = open_tab().go(logs.address, runs='["probed"]', layer="conv1", responses=1, delta=0)
    tab.loaded()
    grid = tab.pixels(tab.canvas)
    with tab.page.expect_download() as download:
        tab.button("Save the grid as PNG").click()
    download.value.save_as(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        saved = np.asarray(image.convert("RGB"))
    row, column = tab.find(saved, grid)
    assert column == 10
    assert len(saved) >= row + len(grid) + 2 * 24 + 10
    picture = tab.pixels(tab.at.locator(".picture"))
    assert tab.find(saved, picture) == (10, 10)


def test_a_saved_picture_without_maps_has_no_scale_of_maps(logs, write_probed, open_tab):
    """The place of its bar is not kept; the reason is above the grid."""

    def remove(run):
        run.append(dataclasses.replace(run.snapshot(1), responses={}))

    write_probed("partly", remove)
    look = {"layer": "conv1", "responses": 1, "step": 1, "delta": 0}
    tab = open_tab().go(logs.address, runs='["partly"]', **look).drawn(1).loaded()
    grid = tab.pixels(tab.canvas)
    with tab.page.expect_download() as download:
        tab.button("Save the grid as PNG").click()
    with Image.open(download.value.path()) as image:
        saved = np.asarray(image.convert("RGB"))
    assert 24 + 10 <= len(saved) - tab.find(saved, grid)[0] - len(grid) <= 2 * 24 + 10
