"""The open filter: its numbers, its label, its input channels, and how a response follows."""

import dataclasses
import json
import re

import numpy as np
import pytest

from filtertrack import Run
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.measures.activations import ACTIVATIONS, activate
from filtertrack.response import ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.storage.probe_format import write_probes
from filtertrack.web import file_answers
from filtertrack.web.file_products import has_products
from filtertrack.web.filter_answers import why_no_products
from filtertrack.web.html_file import to_html

# Computes dot products with the page's own modules: filter, place and step to the output.
PRODUCTS = """async wanted => {
  const {requestInput, requestKernels} = await import("./static/requests.js");
  const {dotProduct, firstChannel, mapShapeOf} = await import("./static/dot_product.js");
  const found = [];
  for (const {run, filter, filters, step, probe, place} of wanted) {
    const {arrays: [values], ...input} = await requestInput({run, layer: "conv1", probe});
    const kernels = await requestKernels({run, layer: "conv1", filter, first: step, last: step});
    const kernel = {cells: kernels.arrays[0], bias: kernels.kernels[0].bias};
    const first = firstChannel(filter, filters, kernels.shape[2], input.shape[2]);
    const dot = dotProduct({...input, values}, kernel, kernels.shape, first, place);
    found.push([dot.sum, dot.output, ...dot.products, ...mapShapeOf(input, kernels.shape)]);
  }
  return found;
}"""

ACTIVATED = """async ([names, values]) => {
  const {activate} = await import("./activations.js");
  return names.map(name => values.map(value => activate(name, value)));
}"""


@pytest.fixture
def write_first(logs, make_run, conv_info, rng):
    """Write a run with a first layer, a deeper one, and three probes with the responses of both."""

    def write(name, *, kernel=(3, 3, 1, 4), normalized=False, **changes):
        if (logs.logdir / name).exists():
            return Run(logs.logdir / name)
        fields = {"preprocessing": (), "padding": "same", "activation": "relu", **changes}
        first = conv_info("conv1", kernel, **fields)
        deep = conv_info("conv2", (3, 3, 70, 2), preprocessing=None)
        run = make_run(first, deep, folder=logs.logdir / name)
        images = rng.uniform(size=(3, 12, 9, kernel[2] * first.groups)).astype(np.float32)
        outputs = {
            step: run.responses("conv1", step, images, activation=True) for step in run.steps
        }
        shape = outputs[0].shape[1:3]
        field = ReceptiveField((3, 3), first.strides, (-1, -1))
        layers = {
            "conv1": ProbedLayer("conv1", "the output of conv1", True, shape, shape, 1, "x", field),
            "conv2": ProbedLayer("conv2", "the output of conv2", False, (6, 5), (6, 5), 1, "x"),
        }
        write_probes(run.folder, StoredProbes({"x": images}, layers, 2, np.array([4, 5, 6])))
        for step in run.steps:
            found = {"conv1": outputs[step] / (3 if normalized else 1)}
            found["conv2"] = rng.normal(size=(3, 6, 5, 2))
            responses = {}
            for each, maps in found.items():
                reduction = ResponseReduction(layers[each], 2)
                reduction.add(maps)
                responses[each] = reduction.result()
            run.append(dataclasses.replace(run.snapshot(step), responses=responses))
        return Run(run.path)

    return write


@pytest.fixture
def open_filter(logs, open_tab):
    """Open a filter of a run in a new page."""

    def open_filter(name, *, layer="conv1", number=0, wait=True, tab=None, **look):
        tab = tab or open_tab(look.pop("width", 1440), look.pop("height", 1000))
        where = {"runs": json.dumps([name]), "layer": layer, "filter": number, "delta": 0}
        tab.go(logs.address, **where, **look)
        return tab.loaded() if wait else tab

    return open_filter


def numbers_in(text):
    """Return the numbers in a text of the page."""
    return [float(each) for each in re.findall(r"-?[\d.]*\d", text.replace("−", "-"))]  # noqa: RUF001


def shown_place(tab):
    """Return the probe, the row and the column of the place that is looked at."""
    text = tab.at.locator(".framed .place").inner_text()
    return tuple(
        map(int, re.match(r"probe (\d+), class \d, row (\d+), column (\d+)", text).groups())
    )


def history_is_labelled(tab):
    """Wait until the label of each step of the history is shown."""
    kinds = tab.at.locator(".history .kind")
    tab.wait(lambda: all(text != "–" for text in kinds.all_inner_texts()), "labels of the history")


def agrees(tab, run, number, step):
    """Wait until the sum is that of ``dot_product`` at the place shown; return the place."""

    def check():
        probe, *at = shown_place(tab)
        dot = run.dot_product("conv1", step, probe, number, at)
        expected = [dot.sum, dot.bias, dot.output]
        got = numbers_in(tab.at.locator(".product .sum").inner_text())
        return len(got) == 3 and np.allclose(got, expected, rtol=1e-4, atol=1e-6)

    tab.wait(check, f"the dot product at step {step}")
    return shown_place(tab)


def test_a_response_is_patch_times_kernel_at_every_step(write_first, open_filter):
    """The place that is chosen with the mouse or keys stays, and its numbers follow the step."""
    run = write_first("first")
    tab = open_filter("first", number=2, step=0)
    places = run.probe_responses("conv1", 0).places[2]
    strongest = next(place for place in places.astype(int).tolist() if place[0] < 2)
    assert agrees(tab, run, 2, 0) == tuple(strongest[:3])
    probe = strongest[0]
    picture, drawn_map = tab.at.locator(".spot").all()
    for row, column in ((0, 0), (11, 8), (5, 3)):
        for spot in (picture, drawn_map):
            box = spot.locator("canvas").bounding_box()
            side = box["width"] / 12 if spot is picture else box["height"] / 12
            left = side * 1.5 if spot is picture else 0  # the picture is in the middle of a square
            spot.hover(position={"x": left + side * (column + 0.5), "y": side * (row + 0.5)})
            tab.wait(lambda: shown_place(tab) == (probe, row, column), "the place")  # noqa: B023
            agrees(tab, run, 2, 0)
    tab.page.mouse.move(10, 500)
    tab.wait(lambda: shown_place(tab)[1:] == tuple(strongest[1:3]), "the chosen place")
    drawn_map.press("ArrowUp") if strongest[1] else drawn_map.press("ArrowDown")
    drawn_map.press("ArrowLeft") if strongest[2] else drawn_map.press("ArrowRight")
    chosen = agrees(tab, run, 2, 0)
    assert chosen != tuple(strongest[:3])
    for step in (1, 2):
        tab.button("Step on").click()
        tab.drawn(step)
        assert agrees(tab, run, 2, step) == chosen
        value = run.probe_responses("conv1", step).values(probe)[2, chosen[1], chosen[2]]
        text = tab.at.locator(".product .reading").inner_text()
        assert "change it" not in text
        assert abs(numbers_in(text.partition("In the map")[2])[0] - value) < 2e-3
    tab.at.locator(".terms").press("ArrowRight")
    _, *at = chosen
    dot = run.dot_product("conv1", 2, probe, 2, at)
    read = numbers_in(tab.at.locator(".product .readout").inner_text())
    expected = [0, 0, dot.patch[0, 0, 0], dot.kernel[0, 0, 0], dot.product[0, 0, 0]]
    np.testing.assert_allclose(read, expected, rtol=1e-4)
    written = tab.at.locator(".terms figure").nth(1).locator(".numbers span").all_inner_texts()
    np.testing.assert_allclose([numbers_in(text)[0] for text in written], dot.kernel.ravel(), 0.06)


FIRST_LAYERS = {
    "in colour": {"kernel": (3, 3, 3, 4)},
    "strided": {"kernel": (5, 3, 2, 4), "strides": (2, 3), "dilation": (1, 1)},
    "dilated and valid": {"kernel": (2, 3, 1, 4), "dilation": (2, 2), "padding": "valid"},
    "grouped": {"kernel": (3, 3, 2, 6), "groups": 3},
}


def test_dot_products_equal_those_of_a_run(write_first, open_filter):
    """As computed in the browser, at several places, filters, probes and steps."""
    wanted, expected = [], []
    for name, changes in FIRST_LAYERS.items():
        run = write_first(name, **changes)
        filters = run.layer("conv1").filters
        shape = run.responses("conv1", 0, run.probes.inputs["x"]).shape[1:3]
        wanted += [
            {"run": name, "filter": number, "filters": filters, "step": step, "probe": probe,
             "place": place}
            for step in (0, 2)
            for number, probe in ((0, 0), (filters - 1, 2))
            for place in ([0, 0], [1, 2], [shape[0] - 1, shape[1] - 1])
        ]  # fmt: skip
        for each in wanted[len(expected) :]:
            at = each["step"], each["probe"], each["filter"], each["place"]
            expected.append((run.dot_product("conv1", *at), shape))
    tab = open_filter("in colour", layer="conv2")
    found = tab.frame.evaluate(PRODUCTS, wanted)
    for (total, output, *rest), (dot, shape) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.float32(rest[:-2]), dot.product.ravel())
        np.testing.assert_allclose([total, output], [dot.sum, dot.output], rtol=1e-13, atol=1e-15)
        assert tuple(rest[-2:]) == shape


def test_the_products_of_colours_have_a_sum_each(write_first, open_filter):
    """The three sums make the whole; layers in between are named where the map differs."""
    run = write_first("normalized", kernel=(3, 3, 3, 4), normalized=True)
    tab = open_filter("normalized", number=1, step=2)
    probe, *at = agrees(tab, run, 1, 2)
    dot = run.dot_product("conv1", 2, probe, 1, at)
    captions = tab.at.locator(".terms figcaption").all_inner_texts()
    assert captions[:2] == ["patch", "kernel"]
    assert [text.split()[0] for text in captions[2:]] == ["red", "green", "blue"]
    sums = [numbers_in(text)[0] for text in captions[2:]]
    np.testing.assert_allclose(sums, dot.product.sum(axis=(0, 1)), rtol=1e-4)
    tab.says(".product .reading", "layers between, such as normalization, change it")
    below = tab.at.locator(".answers .maps")
    before = below.evaluate("each => each.offsetTop")
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        tab.at.locator(".terms").press(key)
        assert tab.at.locator(".product .readout").inner_text().startswith("row ")
        assert below.evaluate("each => each.offsetTop") == before


def test_activations_equal_those_of_python(modules):
    """All functions of one value but gelu; others are not known."""
    values = [-7.5, -1.0, -0.1, 0.0, 0.2, 1.0, 2.5, 8.0]
    found = modules.evaluate(ACTIVATED, [list(ACTIVATIONS), values])
    for name, got in zip(ACTIVATIONS, found, strict=True):
        if name in {"gelu", "softmax", "log_softmax"}:
            assert got == [None] * len(values)
        else:
            expected = activate(np.array(values)[:, np.newaxis], name).ravel()
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15, err_msg=name)
    assert modules.evaluate(ACTIVATED, [["constructor", ""], [1.0]]) == [[None], [None]]


def test_a_click_in_a_map_goes_to_its_patch(write_first, open_filter):
    """Its receptive field is framed in the whole probe, with the number of the map."""
    run = write_first("first")
    tab = open_filter("first", number=3, step=1)
    second = tab.at.locator(".answers .maps button").nth(1)
    canvas = second.locator("canvas").last
    box = canvas.bounding_box()
    side = box["height"] / 12
    left = (box["width"] - 9 * side) / 2
    canvas.click(position={"x": left + side * 2.5, "y": side * 7.5})
    tab.wait(lambda: shown_place(tab) == (1, 7, 2), "the place")
    value = run.probe_responses("conv1", 1).values(1)[3, 7, 2]
    read, precision = numbers_in(tab.at.locator(".framed .place").inner_text().partition(": ")[2])[
        :2
    ]
    assert abs(read - value) < 1e-3
    assert 0 < precision < 0.05
    frame = tab.at.locator(".spot .frame").first.evaluate("each => each.style.cssText")
    expected = [f"{100 * size / 12:.3f}" for size in (2 - 1 + 1.5, 7 - 1, 3, 3)]
    assert [f"{float(each):.3f}" for each in re.findall(r"([\d.]+)%", frame)] == expected
    second.press("Enter")
    whole = run.probe_responses("conv1", 1).values(1)[3]
    strongest = np.unravel_index(whole.argmax(), whole.shape)
    tab.wait(lambda: shown_place(tab) == (1, *strongest), "the strongest place of the map")


def test_a_deeper_layer_has_no_products_and_no_reason(write_first, probed_folder, open_filter):
    """A first layer whose input is not known says why."""
    write_first("first")
    tab = open_filter("first", layer="conv2")
    tab.says(".answers", "the receptive field is unknown")
    assert tab.at.locator(".product").count() == 0
    assert "products" not in tab.at.locator(".answers").inner_text()
    tab = open_filter(probed_folder)
    tab.says(".answers", "No products of patch and kernel: layer conv1: the run does not say")
    assert tab.at.locator(".product").count() == 0


@pytest.fixture
def probed_folder(logs, make_probed_run):
    """The name of a run whose first layer has an unknown input."""
    name = "probed"
    if not (logs.logdir / name).exists():
        make_probed_run(folder=logs.logdir / name)
    return name


def test_the_channels_of_a_deep_filter_are_shown_one_by_one(write_first, open_filter):
    """At each step, all on one scale; a click enlarges one, whose weights can be read."""
    run = write_first("first")
    tab = open_filter("first", layer="conv2", number=1, step=0)
    grid = tab.at.locator(".channels")
    buttons = grid.locator(".cells button")

    def shows(step, first, count):
        kernel = run.kernels("conv2", step)[1]
        reach = np.abs(kernel).max()
        levels = np.rint((kernel / reach + 1) / 2 * 255).astype(int)

        def check():
            pixels = tab.pixels(grid.locator("canvas"))
            scale = pixels.shape[1]
            for n in range(count):
                x, y, width, height = buttons.nth(n).evaluate(CORNER)
                cell = pixels[y : y + height, x : x + width, 0].astype(int)
                side = width // 3
                middles = cell[side // 2 :: side, side // 2 :: side][:3, :3]
                if np.abs(middles - levels[..., first + n]).max() > 1:
                    return False
            return scale > 0

        tab.wait(check, f"the channels at step {step}")

    assert buttons.count() == 64
    shows(0, 0, 64)
    tab.says(".channels", "0 to 63 of 70 input channels, one scale")
    tab.button("Step on").click()
    tab.drawn(1)
    shows(1, 0, 8)
    grid.get_by_role("button", name="Next channels").click()
    tab.says(".channels", "64 to 69 of 70 input channels")
    assert buttons.count() == 6
    shows(1, 64, 6)
    tab.button("input channel 66").click()
    tab.says(".kernel-panel", "input channel 66 of 70")
    kernel = run.kernels("conv2", 1)[1]
    tab.at.locator(".kernel canvas").press("ArrowRight")
    read = numbers_in(tab.at.locator(".kernel-panel .readout").inner_text())
    np.testing.assert_allclose(read, [0, 0, kernel[0, 0, 66]], rtol=1e-4)
    written = tab.at.locator(".kernel .numbers span").all_inner_texts()
    np.testing.assert_allclose(
        [numbers_in(text)[0] for text in written], kernel[..., 66].ravel(), atol=6e-4
    )
    tab.button("Step on").click()
    tab.drawn(2)
    changed = run.kernels("conv2", 2)[1][0, 0, 66]
    tab.wait(
        lambda: np.isclose(
            numbers_in(tab.at.locator(".kernel-panel .readout").inner_text())[-1], changed, 1e-4
        ),
        "the weight of the next step",
    )
    tab.button("Show all input channels together").click()
    tab.at.locator(".kernel-panel .reading").wait_for(state="hidden")


# The position and the size of a button over a canvas, in its pixels.
CORNER = """button => {
  const canvas = button.closest(".stage").querySelector("canvas");
  const {left, top, width, height} = button.style;
  const [x, w] = [left, width].map(each => Math.round(parseFloat(each) / 100 * canvas.width));
  const [y, h] = [top, height].map(each => Math.round(parseFloat(each) / 100 * canvas.height));
  return [x, y, w, h];
}"""


def test_small_kernels_have_their_numbers_in_the_picture(write_first, open_filter):
    """Black on light and white on dark weights; not while playing."""
    run = write_first("first")
    tab = open_filter("first", number=1, step=0, scale="frame")
    kernel = run.kernels("conv1", 0)[1, ..., 0].ravel()
    spans = tab.at.locator(".kernel .numbers span")
    tab.wait(lambda: spans.count() == 9, "the numbers")
    written = [numbers_in(text)[0] for text in spans.all_inner_texts()]
    np.testing.assert_allclose(written, kernel, atol=6e-4)
    share = (kernel - kernel.min()) / np.ptp(kernel)
    for each, classes in zip(
        share, spans.evaluate_all("all => all.map(each => each.className)"), strict=True
    ):
        if abs(each - 0.46) > 0.02:
            assert classes == ("on-light" if each > 0.46 else "on-dark")
    tab.button("Play").click()
    tab.at.locator(".kernel .numbers").wait_for(state="hidden")


def test_the_label_of_another_step_is_never_shown(write_first, open_filter, open_tab):
    """It waits, grey and of the same height, for the label of the step that is shown."""
    write_first("first")
    tab, held = open_tab(1440, 1000), []
    of_others = re.compile(r"/label\?.*step=[12]&")
    tab.page.route(of_others, lambda route: held.append(route))  # noqa: PLW0108
    open_filter("first", number=1, step=0, tab=tab)
    label = tab.at.locator(".label")
    tab.says(".label", "at step 0: a filter of 3×3 is too small")
    assert "waiting" not in label.get_attribute("class")
    height = label.bounding_box()["height"]
    tab.wait(lambda: held, "a request for the label of step 1, for the history")
    slider = tab.at.get_by_role("slider")
    for step in (1, 2, 1, 2, 0, 1, 2):
        slider.fill(str(step))
        tab.drawn(step)
        text = label.inner_text()
        assert f"at step {step}" in text
        if step:
            assert text == f"label at step {step}: …"
            assert "waiting" in label.get_attribute("class")
        assert label.bounding_box()["height"] == height
    tab.wait(lambda: len(held) == 2, "a request for the label of step 2")
    held[0].continue_()  # the label of step 1 comes when step 2 is shown
    tab.says(".history button:nth-child(2) .kind", "unknown")
    assert label.inner_text() == "label at step 2: …"
    held[1].continue_()
    tab.says(".label", "at step 2: a filter of 3×3 is too small")
    assert len(held) == 2, "each label is requested once"
    assert label.bounding_box()["height"] == height


def test_playing_requests_nothing_of_the_open_filter(write_first, open_filter):
    """Labels, kernels and measures wait until it stops; the label has none of another step."""
    write_first("first")
    tab = open_filter("first", layer="conv2", number=1, step=0)
    tab.says(".label", "too small")
    tab.says(".channels", "one scale")
    history_is_labelled(tab)
    requests = []
    tab.choice("speed").select_option("60")
    tab.page.on("request", lambda request: requests.append(request.url))
    tab.button("Play").click()
    tab.page.wait_for_timeout(700)
    wrong = [u for u in requests if re.search(r"/(label|kernel|trajectory|input)\?", u)]
    tab.button("Pause").click()
    assert wrong == []


def test_the_history_is_labelled_from_a_file(write_first, tmp_path, open_file, monkeypatch):
    """The steps of which the file holds no labels have a dash."""
    run = write_first("first")
    for most, known in ((10_000, len(run.steps)), (1, 1)):
        monkeypatch.setattr(file_answers, "_MOST_LABELLED", most)
        path = to_html(run, tmp_path / f"{most}.html", layers="conv1").path
        opened = open_file(path, filter=1)
        kinds = opened.at.locator(".history .kind")
        opened.wait(
            lambda kinds=kinds, known=known: kinds.all_inner_texts().count("unknown") == known,
            "labels",
        )
        opened.page.wait_for_timeout(400)
        assert kinds.all_inner_texts().count("–") == len(run.steps) - known


def test_a_file_holds_the_labels_of_the_history_first(make_run, tmp_path, open_file, monkeypatch):
    """Of a layer that is not labelled at every step."""
    run = make_run(steps=range(20))
    monkeypatch.setattr(file_answers, "_MOST_LABELLED", 13 * run.layers["conv1"].filters)
    path = to_html(run, tmp_path / "page.html", layers="conv1").path
    opened = open_file(path, filter=1)
    opened.at.locator(".history .kind").nth(11).wait_for()
    history_is_labelled(opened)


def test_kernels_of_large_layers_are_loaded_around_the_step_that_is_shown(
    logs, open_tab, rng, conv_info
):
    """Only where scrubbing stops, and not while playing: then no channels of another step show."""
    info = conv_info("conv1", (3, 3, 5, 2), bias=False)
    kernels = [rng.normal(size=info.kernel_shape).astype("float32") for _ in range(40)]
    logs.write_kernels("z_windows", info, kernels)
    # A scrubbing hand is faster than a test on a busy machine, so that the page waits longer.
    tab = open_tab().set_constants("kernel_cache.js", MOST_READ=1, DELAY=2000)
    requests = []
    tab.page.on("request", lambda each: "/kernel?" in each.url and requests.append(each.url))
    tab.go(logs.address, runs='["z_windows"]', layer="conv1", filter=1, step=5, delta=0).loaded()
    tab.says(".channels", "one scale")
    tab.wait(lambda: requests, "a request for kernels")
    requests.clear()
    slider = tab.at.get_by_role("slider")
    for step in (10, 15, 20, 25, 30):
        slider.fill(str(step))
        tab.drawn(step)
        assert "one scale" not in tab.at.locator(".channels").inner_text()
    tab.says(".channels", f"one scale: −{np.abs(kernels[30][..., 1]).max():.3f}")  # noqa: RUF001
    assert 1 <= len(requests) <= 2
    requests.clear()
    tab.button("Play").click()
    tab.page.wait_for_timeout(2500)
    assert tab.at.locator(".channels.waiting").count() == 1
    assert requests == []


def test_the_close_button_stays_while_the_panel_scrolls(write_first, open_filter):
    """By itself beside the grid; in one column below it, with the page."""
    write_first("first")
    tab = open_filter("first", height=700)
    panel = tab.at.locator("section.filter")
    tab.at.locator(".filter .curves").wait_for()
    assert panel.evaluate("each => each.scrollHeight > each.clientHeight")
    assert 360 <= panel.bounding_box()["width"] <= 420
    grid = tab.grid.first.bounding_box()
    panel.evaluate("each => each.scrollTo(0, each.scrollHeight)")
    assert tab.grid.first.bounding_box() == grid
    top = tab.at.locator("main").bounding_box()["y"]
    assert top <= tab.button("Close").bounding_box()["y"] < top + 120
    tab.button("Close").click()
    panel.wait_for(state="hidden")
    tab = open_filter("first", width=390, height=700)
    panel = tab.at.locator("section.filter")
    assert panel.bounding_box()["width"] >= 380
    assert panel.bounding_box()["y"] > tab.grid.first.bounding_box()["y"]
    assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_two_runs_have_a_block_each(write_first, open_filter):
    """Each with its own kernel, place and product."""
    runs = [write_first("first"), write_first("second")]
    names = json.dumps(["first", "second"])
    tab = open_filter("first", number=0, step=1, wait=False)
    tab.go(tab.page.url.partition("/#")[0], runs=names, layer="conv1", filter=0, step=1, delta=0)
    tab.loaded()
    sums = tab.at.locator(".product .sum")
    tab.wait(lambda: sums.count() == 2 and all(sums.all_inner_texts()), "two products")
    places = tab.at.locator(".framed .place").all_inner_texts()
    for run, text, place in zip(runs, sums.all_inner_texts(), places, strict=True):
        probe, row, column = (
            int(each) for each in re.findall(r"(?:probe|row|column) (\d+)", place)
        )
        dot = run.dot_product("conv1", 1, probe, 0, (row, column))
        np.testing.assert_allclose(numbers_in(text)[-1], dot.output, rtol=1e-4)


def test_an_html_file_shows_products_without_a_server(write_first, tmp_path, open_file):
    """At every step, with the bias; the channels of a deep filter need the server."""
    run = write_first("first")
    file = to_html(run, tmp_path / "page.html").path
    tab = open_file(file, layer="conv1", filter=1, step=0, delta=0).loaded()
    place = agrees(tab, run, 1, 0)
    tab.button("Last step").click()
    tab.drawn(2)
    assert agrees(tab, run, 1, 2) == place
    tab.says(".product .reading", "In the map: ")
    tab.choice("layer").select_option("conv2")
    tab.says(".answers", "the receptive field is unknown")
    assert tab.at.locator(".channels").count() == 0
    assert tab.at.locator(".product").count() == 0


def test_an_html_file_has_no_products_of_patterns(write_first, tmp_path):
    """The file does not hold all weights of these filters."""
    run = write_first("strided", kernel=(5, 3, 2, 4), strides=(2, 3))
    assert why_no_products(run, run.layer("conv1"), run.probes) is None
    assert not has_products(run, run.layer("conv1"), run.probes)
    to_html(run, tmp_path / "page.html")
