"""The timeline: curves of metrics above the slider, ends of epochs, and what the pointer shows."""

import json
from itertools import pairwise

import numpy as np
import pytest

from filtertrack import Moment, Run, Snapshot
from filtertrack.web.html_file import to_html
from filtertrack.web.metric_curves import curves_of_metrics, readable_moments

LAST = 8
NAN = float("nan")
BLUE, BROWN = (0, 98, 184), (184, 84, 0)  # of the first and the second curve, in the light theme


@pytest.fixture
def write(logs, conv_info):
    """Write a run of one layer with metrics, a snapshot for each of some moments."""

    def write(name, moments):
        info = conv_info("conv1", (3, 3, 1, 4), bias=False)
        if not Run.exists(logs.logdir / name):
            run = Run.create(logs.logdir / name, [info])
            for moment in moments:
                kernel = np.full(info.kernel_shape, moment.step % 7, np.float32)
                run.append(Snapshot(moment, {info.kernel: kernel}))
        return Run(logs.logdir / name)

    return write


def batches(metrics, of=4):
    """Return a moment a batch with metrics; batch 0 is the start of training."""
    return [
        Moment(n, n // of, n, each, epoch_batch=n % of, epoch_batches=of)
        for n, each in enumerate(metrics)
    ]


def epochs(metrics):
    """Return a moment an epoch with metrics."""
    return [
        Moment(n, n, 10 * n, each, epochs=len(metrics) - 1, epoch_batch=0, epoch_batches=10)
        for n, each in enumerate(metrics)
    ]


# Returns where everything is except what the pointer shows.
PLACES = """[...document.querySelectorAll("body *")]
  .filter(element => !element.closest(".tip, .pointer"))
  .map(element => JSON.stringify(element.getBoundingClientRect())).join()"""

# Returns the marks that have space on an axis of 900 pixels: number, position and width.
SPACED = """async ([count, isLog]) => {
  const {spacedMarks} = await import("./metric_lines.js");
  const x = n => 900 * (isLog ? Math.log(n) / Math.log(count) : n / count);
  const numbers = Array.from({length: count}, (_, n) => n + 1);
  const marks = numbers.map(n => ({number: n, x: x(n), width: 20}));
  return spacedMarks(marks).map(({number, x, width}) => [number, x, width]);
}"""


def drawn(tab, colour, tolerance=60):
    """Return where the curves' canvas has a colour, nearly: rows and columns."""
    pixels = tab.pixels(tab.at.locator("canvas.curves")).astype(int)
    return np.nonzero(np.abs(pixels - colour).sum(-1) < tolerance)


def centre(tab, selector):
    box = tab.at.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def at_index(tab, index, count):
    """Return the position of a step in the timeline, and its row."""
    box = tab.at.locator(".scrubber").bounding_box()
    return box["x"] + 8 + index / (count - 1) * (box["width"] - 16), box["y"] + 20


def test_the_curve_is_above_the_knob_at_each_step(logs, write, open_tab):
    """The highest value is where the knob is at its step."""
    write("y_peak", epochs([{"loss": 5.0 if n == 13 else 1.0} for n in range(21)]))
    tab = open_tab().go(logs.address, runs='["y_peak"]', step=13).drawn(13)
    tab.reads(".entry", "5.000")
    rows, columns = drawn(tab, BLUE)
    peak = columns[rows == rows.min()].mean()
    left = tab.at.locator(".scrubber").bounding_box()["x"]
    assert left + peak == pytest.approx(centre(tab, ".knob")[0], abs=1.5)
    assert tab.at.locator(".bound.high").inner_text() == "5.000"
    assert tab.at.locator(".bound.low").inner_text() == "1.000"
    dot, plot = centre(tab, ".dot"), tab.at.locator(".plot").bounding_box()
    assert dot == pytest.approx((left + peak, plot["y"] + 3), abs=2)


def test_values_are_those_of_the_route(logs, exp1, open_tab):
    """At each step, where Keras logged running means."""
    answer = curves_of_metrics(readable_moments(exp1))
    tab = open_tab().go(logs.address, runs='["exp1"]').drawn(LAST)
    for step in (3, LAST):
        tab.at.get_by_role("slider").fill(str(step))
        tab.drawn(step)
        tab.reads(".entry", f"{answer['metrics']['loss'][step]:.3f}")


def test_running_means_become_means_between_snapshots(logs, write, open_tab):
    """The hint of the legend says so; the caption above the grid has the same value."""
    running = [{}, {"loss": 4.0}, {"loss": 3.0}, {"loss": 2.0}]
    write("y_means", batches(running))
    tab = open_tab().go(logs.address, runs='["y_means"]').drawn(3)
    tab.reads(".entry", "0.000")  # 3 * 2 - 2 * 3
    assert tab.at.locator(".moment").inner_text() == "epoch 1, batch 3 of 4 · loss 0.000"
    hint = tab.at.locator(".entry").get_attribute("title")
    assert hint == "loss: mean since the snapshot before"


def test_values_that_are_not_finite_are_gaps(logs, write, open_tab):
    """A value that was not logged is none: validation is at ends of epochs only."""
    metrics = [{"loss": NAN if n == 10 else 1.0 + n} for n in range(21)]
    for n in (0, 20):
        metrics[n]["val_loss"] = 9.0
    write("y_gap", epochs(metrics))
    tab = open_tab().go(logs.address, runs='["y_gap"]', step=10).drawn(10)
    tab.reads(".entry", "–", "val 9.000")
    width = tab.at.locator("canvas.curves").bounding_box()["width"]
    step = (width - 16) / 20
    columns = set(drawn(tab, BLUE)[1].tolist())
    inside = set(range(int(8 + 9.1 * step), int(8 + 10.9 * step)))
    assert not columns & inside
    assert len(set(drawn(tab, BROWN)[1].tolist()) & inside) > 0.4 * len(inside)  # dashed


def test_every_peak_of_thousands_of_steps_is_drawn(logs, write, open_tab):
    """Also where many steps share a column of pixels; ends of epochs have numbers."""
    metrics = [{"loss": 3.0 if n == 1234 else 1.0 + n / 3000} for n in range(3000)]
    write("y_many", batches(metrics, of=20))
    tab = open_tab().go(logs.address, runs='["y_many"]', step=1234).drawn(1234)
    tab.reads(".entry", "3.000")
    rows, columns = drawn(tab, BLUE)
    left = tab.at.locator(".scrubber").bounding_box()["x"]
    peak = columns[rows == rows.min()].mean()
    assert left + peak == pytest.approx(centre(tab, ".knob")[0], abs=2)
    width = tab.at.locator(".plot").bounding_box()["width"]
    columns = drawn(tab, BLUE, tolerance=300)[1]  # the line is thin
    assert len(set(columns.tolist())) > 0.95 * (width - 16)


def test_a_run_without_metrics_has_no_plot(logs, write, open_tab):
    """Nor has one snapshot an error; the slider is there."""
    write("y_bare", epochs([{}, {}, {}]))
    write("y_one", epochs([{"loss": 2.0}]))
    tab = open_tab().go(logs.address, runs='["y_bare"]').drawn(2)
    assert tab.at.locator(".plot").bounding_box()["height"] == 0
    assert tab.at.locator(".legend").inner_text() == ""
    assert tab.at.get_by_role("slider").get_attribute("aria-valuetext") == "epoch 2 of 2"
    tab.choose_runs("y_one")
    tab.drawn(0)
    tab.reads(".entry", "2.000")
    assert len(drawn(tab, BLUE)[0])


def test_two_runs_have_a_curve_each(logs, write, open_tab):
    """With their names, on the steps of both; the shorter one ends at its last step."""
    write("y_long_run", epochs([{"loss": 3.0 - n / 10} for n in range(21)]))
    write("y_short", epochs([{"loss": 1.0} for n in range(11)]))
    tab = open_tab().go(logs.address, runs='["y_long_run", "y_short"]').drawn(20)
    tab.reads(".entry", "y_long_run 1.000", "y_short 1.000")
    width = tab.at.locator("canvas.curves").bounding_box()["width"]
    assert drawn(tab, BLUE)[1].max() == pytest.approx(width - 8, abs=2)
    assert drawn(tab, BROWN)[1].max() == pytest.approx(width / 2, abs=4)
    assert tab.at.locator(".dot:visible").count() == 1


def test_another_metric_can_be_chosen(logs, write, open_tab):
    """A metric with its validation is one choice; the URL keeps it."""
    metrics = [{"accuracy": n / 10, "loss": 2.0, "val_loss": 2.5, "lr": 0.1} for n in range(9)]
    write("y_choice", epochs(metrics))
    tab = open_tab().go(logs.address, runs='["y_choice"]').drawn(LAST)
    tab.reads(".entry", "2.000", "val 2.500")
    select = tab.choice("metric")
    assert select.locator("option").all_inner_texts() == ["loss", "accuracy", "lr"]
    select.select_option("accuracy")
    tab.reads(".entry", "0.800")
    tab.page.wait_for_function("location.hash.includes('p.filtertrack.metric=accuracy')")
    tab.reload()
    tab.drawn(LAST)
    assert tab.choice("metric").input_value() == "accuracy"
    tab.reads(".entry", "0.800")


def test_the_pointer_shows_a_step_before_it_is_chosen(logs, write, open_tab):
    """Without moving anything; a press goes there, and dragging follows."""
    write("y_hover", epochs([{"loss": 3.0 - n / 10, "acc": 1.0} for n in range(21)]))
    tab = open_tab().go(logs.address, runs='["y_hover"]').drawn(20).loaded()
    before = tab.frame.evaluate(PLACES)
    tab.page.mouse.move(*at_index(tab, 5, 21))
    tip = tab.at.locator(".tip")
    assert tip.inner_text().split("\n") == ["epoch 5 of 20", "step 5 · 6 of 21", "loss 2.500"]
    assert tab.frame.evaluate(PLACES) == before
    assert tab.grid.first.get_attribute("data-drawn") == "20"
    tab.page.mouse.down()
    tab.drawn(5)
    tab.page.mouse.move(*at_index(tab, 12, 21))
    tab.drawn(12)
    tab.page.mouse.up()
    tab.page.mouse.move(*at_index(tab, 15, 21))
    assert tip.inner_text().startswith("epoch 15 of 20")
    tab.drawn(12)
    tab.page.mouse.move(600, 200)
    assert tip.is_hidden()


def test_a_screen_reader_hears_the_step_but_not_every_one_that_is_played(logs, write, open_tab):
    """The slider says the step and its values in words; it waits while playing."""
    write("y_words", batches([{"loss": 2.0, "val_loss": 3.0}] * 60))
    tab = open_tab().go(logs.address, runs='["y_words"]', step=6).drawn(6).loaded()
    slider = tab.at.get_by_role("slider", name="Step")
    said = "epoch 2, batch 2 of 4, loss 2.000, val_loss 3.000"
    tab.wait(lambda: slider.get_attribute("aria-valuetext") == said, "the step in words")
    tab.button("Play").click()
    tab.frame.wait_for_function("document.querySelector('figure.grid').dataset.drawn !== '6'")
    assert (slider.get_attribute("aria-valuetext"), slider.input_value()) == (said, "6")
    tab.button("Pause").click()
    epoch, batch = divmod(int(slider.input_value()), 4)
    words = f"epoch {epoch + 1}, batch {batch} of 4, " if batch else f"epoch {epoch}, "
    words = words if epoch or batch else "before training"
    tab.wait(lambda: slider.get_attribute("aria-valuetext").startswith(words), words)
    assert tab.at.locator(".timeline [aria-live], .timeline [role=status]").count() == 0


def test_nothing_moves_by_itself(logs, open_tab):
    """Also where reduced motion is preferred; no part of the timeline is animated."""
    tab = open_tab()
    tab.page.emulate_media(reduced_motion="reduce")
    tab.go(logs.address, runs='["exp1"]', step=3).drawn(3).loaded()
    tab.page.wait_for_timeout(400)
    tab.drawn(3)
    assert tab.frame.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize(("width", "least"), [(390, 40), (1440, 56)])
def test_controls_fit_the_width(logs, exp1, open_tab, width, least):
    """All can be reached, and the curve has a height."""
    tab = open_tab(width=width).go(logs.address, runs='["exp1"]').drawn(LAST)
    assert least <= tab.at.locator(".plot").bounding_box()["height"] <= 72
    controls = tab.at.locator(".timeline").locator("button, select:visible").all()
    assert len(controls) >= 7
    for control in controls:
        box = control.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert min(box["width"], box["height"]) >= 24
    for name, key in [("Play", "space"), ("Step on", "→"), ("Loop", "L")]:
        assert tab.button(name).get_attribute("title") == f"{name} ({key})"


def test_numbers_of_epochs_never_overlap(modules):
    """Evenly or logarithmically spaced; where they are further apart there are more of them."""
    for count in (1, 2, 12, 60, 999):
        for is_log in (False, True) if count > 1 else (False,):
            marks = sorted(modules.evaluate(SPACED, [count, is_log]), key=lambda mark: mark[1])
            assert len(marks) >= min(count, 5)
            for (_, x, width), (_, next_x, next_width) in pairwise(marks):
                assert next_x - x >= (width + next_width) / 2 - 1e-6
            if not is_log:
                assert len(set(np.diff([mark[0] for mark in marks]).tolist())) <= 1


def test_curves_grow_with_the_training(logs, write, open_tab):
    """The marker stays at the end."""
    metrics = [{"loss": 9.0 - n} for n in range(9)]
    run = write("y_live", epochs(metrics[:4]))
    tab = open_tab().poll_often().go(logs.address, runs='["y_live"]').drawn(3)
    tab.reads(".entry", "6.000")
    kernel = run.snapshot(3).arrays["conv1/kernel"]
    for moment in epochs(metrics)[4:6]:
        run.append(Snapshot(moment, {"conv1/kernel": kernel}))
    tab.drawn(5)
    tab.reads(".entry", "4.000")
    assert tab.at.locator(".bound.low").inner_text() == "4.000"


def test_hostile_names_of_metrics_stay_text(logs, write, open_tab):
    """In the menu, the legend and the hint of the pointer."""
    name = "<img src=x onerror=alert(1)>"
    write("y_hostile", epochs([{name: 1.0, "\u202eevil": 2.0} for _ in range(3)]))
    tab = open_tab().go(logs.address, runs='["y_hostile"]').drawn(2)
    assert tab.choice("metric").locator("option").all_inner_texts() == [name, "?evil"]
    tab.page.mouse.move(*at_index(tab, 1, 3))
    assert f"{name} 1.000" in tab.at.locator(".tip").inner_text()
    assert tab.at.locator(".timeline img").count() == 0


def test_a_file_shows_the_same_timeline(logs, write, open_tab, open_file, tmp_path):
    """Legend, bounds and curves."""
    name = "y_file"
    write(name, batches([{"loss": 2.0 / (1 + n), "val_loss": 1.0} for n in range(30)]))
    to_html(logs.logdir / name, tmp_path / "page.html")
    tab = open_tab(height=864).go(logs.address, runs=json.dumps([name])).drawn(29)
    file = open_file(tmp_path / "page.html").drawn(29)
    for page in (tab, file):
        page.reads(".entry", "0.067", "val 1.000")
        page.reads(".bound.high", "2.000")
    assert np.array_equal(*(page.pixels(page.at.locator("canvas.curves")) for page in (tab, file)))
