import re

import numpy as np
import pytest
from PIL import Image

from filtertrack import animate, measure, measures
from filtertrack.measures import drift

LAST = 8


def test_every_look_equals_the_renderers_pixels(logs, open_tab, exp1):
    """Steps, layers, channels, scales, difference, colormaps, order and pages."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb", step=3, delta=0)
    tab.drawn(3).loaded()
    page = list(range(64))
    for step in (3, 0, 7):
        tab.at.get_by_role("slider").fill(str(step))
        tab.shows(tab.canvas, logs.picture([exp1], "rgb", step))
    for scale in ("filter", "layer", "frame"):
        tab.choice("scale").select_option(scale)
        tab.shows(tab.canvas, logs.picture([exp1], "rgb", 7, scale=scale))
    tab.choice("show").select_option("what was learned")
    for scale in ("layer", "frame", "filter"):
        tab.choice("scale").select_option(scale)
        tab.shows(tab.canvas, logs.picture([exp1], "rgb", 7, scale=scale, delta=True))
    tab.choice("show").select_option("filters")
    tab.choice("scale").select_option("automatic")
    tab.choice("zero in the middle").check()
    tab.choice("channels").select_option("1")
    tab.choice("colours").select_option("RdBu_r")
    look = {"zero_centred": True, "colormap": "RdBu_r"}
    tab.shows(tab.canvas, logs.picture([exp1], "rgb", 7, channels=1, **look))
    tab.choice("channels").select_option("strongest")
    tab.choice("scale").select_option("filter")
    tab.choice("order").select_option("similarity")
    look |= {"channels": "strongest", "scale": "filter", "order": "similarity"}
    tab.shows(tab.canvas, logs.picture([exp1], "rgb", 7, **look))

    tab.choice("colours").select_option("viridis")
    tab.choice("zero in the middle").uncheck()
    tab.choice("order").select_option("stored")
    tab.choice("layer").select_option("deep")
    for scale in ("filter", "layer", "frame"):
        tab.choice("scale").select_option(scale)
        look = {"scale": scale, "colormap": "viridis", "page": page}
        tab.shows(tab.canvas, logs.picture([exp1], "deep", 7, **look))
    tab.button("Next filters").click()
    tab.says(".pages", "filters 64–69 of 70")
    tab.shows(tab.canvas, logs.picture([exp1], "deep", 7, colormap="viridis", page=range(64, 70)))
    for key in ("Home", "End"):  # signs are aligned, whichever step is shown first
        tab.at.get_by_role("slider").press(key)
    tab.shows(
        tab.canvas, logs.picture([exp1], "deep", LAST, colormap="viridis", page=range(64, 70))
    )
    tab.choice("layer").select_option("point")
    for scale in ("layer", "frame"):
        tab.choice("scale").select_option(scale)
        look = {"scale": scale, "colormap": "viridis"}
        tab.shows(tab.canvas, logs.picture([exp1], "point", LAST, **look))


def test_an_open_filter_shows_weights_history_and_measures(logs, open_tab, exp1):
    """Enlarged; read by mouse, keys and table; with label and curves. Escape closes it."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb", step=3, delta=0)
    tab.drawn(3).loaded()
    tab.button("filter 5").click()
    large = tab.at.locator(".kernel canvas")
    tab.shows(large, logs.picture([exp1], "rgb", 3, only=5))
    kernels = exp1.kernels("rgb", 3)

    def reads(row, column):
        text = tab.at.locator(".readout").inner_text().replace("−", "-")  # noqa: RUF001
        match = re.fullmatch(r"row (\d+), column (\d+): red (.+), green (.+), blue (.+)", text)
        assert match, text
        assert (int(match[1]), int(match[2])) == (row, column)
        read = [float(match[n]) for n in (3, 4, 5)]
        np.testing.assert_allclose(read, kernels[5, row, column], rtol=1e-4)

    box = large.bounding_box()
    for row, column in [(0, 0), (2, 4), (6, 6)]:
        point = [
            box[side] * (each + 0.5) / 7 for side, each in (("width", column), ("height", row))
        ]
        large.hover(position={"x": point[0], "y": point[1]})
        reads(row, column)
    tab.page.mouse.move(0, 0)
    tab.says(".readout", "Point at a weight")
    large.focus()
    for key, where in [("ArrowRight", (0, 0)), ("ArrowRight", (0, 1)), ("ArrowDown", (1, 1))]:
        tab.page.keyboard.press(key)
        reads(*where)

    tab.at.get_by_text("Weights as a table").click()
    cells = tab.at.locator(".weights td:not(:empty)")
    cells.nth(48).wait_for()
    assert cells.count() == 49
    table = [text.replace("−", "-").split() for text in cells.all_inner_texts()]  # noqa: RUF001
    written = [[float(part.split()[-1]) for part in row if part[-1].isdigit()] for row in table]
    np.testing.assert_allclose(np.reshape(written, (7, 7, 3)), kernels[5], rtol=1e-4)

    named = measures.label(kernels[5:6], rgb=True).names[0]
    tab.says(".label", f"{named} at step 3:")
    assert tab.at.locator(".curve .marker").count() == 3
    far = drift(kernels, exp1.kernels("rgb", 0))[5]
    tab.says(".curve", f"drift from the start: {far:.3f}")
    before = tab.at.locator(".curve .marker").first.get_attribute("x1")
    history = tab.at.get_by_role("group", name="History").get_by_role("button")
    names = [
        measures.label(exp1.kernels("rgb", step)[5:6], rgb=True).names[0] for step in exp1.steps
    ]
    labelled = [f"{step}\n{name}" for step, name in zip(exp1.steps, names, strict=True)]
    tab.wait(lambda: history.all_inner_texts() == labelled, "the labels of the history")
    below = tab.at.locator(".history").bounding_box()["y"]
    assert tab.at.locator("p.label").bounding_box()["y"] < below
    tab.button("go to step 6").click()
    tab.drawn(6)
    assert tab.at.locator(".curve .marker").first.get_attribute("x1") != before
    tab.shows(large, logs.picture([exp1], "rgb", 6, only=5))
    tab.shows(history.nth(2).locator("canvas"), logs.picture([exp1], "rgb", 2, only=5))
    assert tab.at.get_by_role("heading", name="Filter 5").is_visible()
    large.press("Escape")
    tab.at.locator("section.filter").wait_for(state="hidden")


@pytest.mark.parametrize(("layer", "size"), [("deep", "3×3"), ("rgb", "")])
def test_the_evidence_has_the_numbers_of_measure(logs, open_tab, exp1, layer, size):
    """The best fit is its column; of small filters it says that they are too small."""
    measured = measure(exp1, layers=layer).layers[layer]
    for number in (0, 2):
        row = {name: values[-1, number] for name, values in measured.filters.items()}
        fits = [row[f"{name}_excess"] for name in ("gabor", "blob", "grating")]
        look = {"layer": layer, "filter": number, "delta": 0}
        tab = open_tab().go(logs.address, runs='["exp1"]', **look).drawn(LAST).loaded()
        tab.says(".label", f"best fit {np.nanmax(fits):.2f}".replace("-", "\u2212"))
        text = tab.at.locator(".label").inner_text()
        assert text.startswith(f"{row['label']} at step {LAST}")
        small = row["label"] == "unknown" and f"a filter of {size} is too small to be told from"
        assert ("too small" in text) == bool(small)
        assert not small or small in text


def test_two_runs_are_compared_and_saved(logs, open_tab, exp1, exp2, tmp_path):
    """Each on its own scale, or both on one; as a PNG, and as the bytes that ``animate`` writes."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb", step=5, delta=0)
    tab.drawn(5).loaded()
    assert tab.choice("scale of runs").is_hidden()
    tab.choose_runs("exp1", "exp2")
    for scale in ("frame", "layer"):
        tab.choice("scale").select_option(scale)
        for one_scale in (False, True):
            tab.choice("scale of runs").select_option("1" if one_scale else "")
            for number in (0, 1):
                look = {"scale": scale, "one_scale": one_scale}
                drawn = logs.picture([exp1, exp2], "rgb", 5, number=number, **look)
                tab.shows(tab.canvas.nth(number), drawn)
    tab.at.get_by_role("slider").fill("2")
    look = {"scale": "layer", "one_scale": True}
    for number in (0, 1):
        drawn = logs.picture([exp1, exp2], "rgb", 2, number=number, **look)
        tab.shows(tab.canvas.nth(number), drawn)
    tab.button("filter 3").first.click()
    blocks = tab.at.locator(".kernel canvas")
    for number in (0, 1):
        drawn = logs.picture([exp1, exp2], "rgb", 2, number=number, only=3, **look)
        tab.shows(blocks.nth(number), drawn)
    tab.button("Close").click()

    def saved(button):
        with tab.page.expect_download() as download:
            tab.button(button).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    file = saved("Save the grid as PNG")
    assert file.name == "exp1-exp2-rgb-step-2.png"
    with Image.open(file) as image:
        got = np.asarray(image.convert("RGB"))
    left, right = tab.pixels(tab.canvas.nth(0)), tab.pixels(tab.canvas.nth(1))
    (row, column), (other_row, other_column) = (
        tab.find(got, left),
        tab.find(got[:, ::-1], right[:, ::-1]),
    )
    assert row == other_row > 2 * 19
    assert column == 10
    assert other_column >= 10

    options = {"layers": ["rgb"], "scale": "layer", "theme": "light", "fps": 10.0, "delta": False}
    animate(exp1, tmp_path / "two.gif", compare=exp2, one_scale=True, **options)
    file = saved("Save an animation of all steps")
    assert file.name == "exp1-exp2-rgb.gif"
    assert file.read_bytes() == (tmp_path / "two.gif").read_bytes()
    tab.choose_runs("exp1")
    tab.choice("channels").select_option("2")
    tab.choice("colours").select_option("magma")
    tab.choice("show").select_option("what was learned")
    options |= {"channels": 2, "colormap": "magma", "delta": True}
    animate(exp1, tmp_path / "one.gif", **options)
    file = saved("Save an animation of all steps")
    assert file.name == "exp1-rgb.gif"
    assert file.read_bytes() == (tmp_path / "one.gif").read_bytes()


def test_the_name_of_a_saved_file_is_safe(logs, open_tab):
    """It has only letters, digits and ``._-`` of the run's name."""
    logs.write("group/lr=0.1 (é)", [0, 1])
    tab = open_tab().go(logs.address, runs='["group/lr=0.1 (é)"]').drawn(1).loaded()
    with tab.page.expect_download() as download:
        tab.button("Save the grid as PNG").click()
    assert download.value.suggested_filename == "group_lr_0.1_é_-rgb-step-1.png"


def test_the_default_layer_is_selected(logs, open_tab, exp1):
    """That of the server's answer, unless the URL names another."""

    def other(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "default_layer": "deep"})

    for look, layer in (({}, "deep"), ({"layer": "point"}, "point")):
        opened = open_tab()
        opened.page.route("**/layers?*", other)
        opened.go(logs.address, runs='["exp1"]', **look).drawn(LAST)
        assert opened.choice("layer").input_value() == layer
