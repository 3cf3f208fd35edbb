import re

import pytest

from filtertrack import Run

LAST = 8

# Counts the steps that are drawn, for some seconds; returns steps a second.
COUNT = """seconds => new Promise(done => {
  const figure = document.querySelector("figure.grid");
  let steps = 0;
  const observer = new MutationObserver(() => steps++);
  observer.observe(figure, {attributes: true, attributeFilter: ["data-drawn"]});
  const began = performance.now();
  setTimeout(() => done(1000 * steps / (performance.now() - began)), 1000 * seconds);
})"""

# Records the steps that are drawn from now on.
SEEN = """() => {
  const figure = document.querySelector("figure.grid");
  window.seen = [];
  new MutationObserver(() => window.seen.push(Number(figure.dataset.drawn)))
    .observe(figure, {attributes: true, attributeFilter: ["data-drawn"]});
}"""


@pytest.fixture(params=["default", "python"])
def loaded_by_each(request, logs, tensorboard):
    """The address of a TensorBoard with each of its two loaders."""
    if request.param == "default":
        yield logs.address
    else:
        with tensorboard("--logdir", logs.logdir, "--load_fast=false") as server:
            yield server.address


def test_steps_play_and_scrub_with_both_loaders(loaded_by_each, open_tab):
    """Slider, keys, buttons and speeds go through all steps; TensorBoard lists the tab."""
    tab = open_tab().go(loaded_by_each, runs='["exp1"]').drawn(LAST).loaded()
    tab.page.get_by_role("tab", name="Filters").first.wait_for()
    slider = tab.at.get_by_role("slider", name="Step")
    assert tab.at.locator(".when").inner_text() == f"step {LAST} · {LAST + 1} of {LAST + 1}"
    slider.fill("4")
    tab.drawn(4)
    loss = r"epoch 4 of 8, loss \d\.\d{3}"
    assert re.fullmatch(loss, slider.get_attribute("aria-valuetext"))
    for key, step in [("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)]:
        slider.press(key)
        tab.drawn(step)
    slider.press("Shift+ArrowRight")
    tab.drawn(LAST)
    slider.press("Shift+ArrowLeft")
    tab.drawn(0)
    slider.press("End")
    tab.drawn(LAST)
    for name, step in [("First step", 0), ("Step on", 1), ("Last step", LAST), ("Step back", 7)]:
        tab.button(name).click()
        tab.drawn(step)

    tab.choice("speed").select_option("20")
    tab.button("Loop").click()
    tab.button("First step").click()
    tab.button("Play").click()
    tab.button("Play").wait_for()  # it has come to the end, and stopped
    tab.drawn(LAST)
    tab.button("Loop").click()
    slider.focus()
    tab.page.keyboard.press("Home")
    tab.page.keyboard.press("Space")
    tab.button("Pause").wait_for()
    tab.drawn(2)
    tab.drawn(0)  # round again
    tab.page.keyboard.press("Space")
    tab.button("Play").wait_for()
    for key, speed in [("-", "10"), ("-", "5"), ("+", "10")]:
        slider.press(key)
        assert tab.choice("speed").input_value() == speed
    slider.press("l")
    assert tab.button("Loop").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(
    ("shape", "grids"), [((7, 7, 3, 64), 1), ((3, 3, 1, 64), 2)], ids=["filters", "both parts"]
)
def test_sixty_steps_a_second_are_drawn(logs, open_tab, conv_info, shape, grids):
    """500 steps of 64 filters, also with what was learned beside them."""
    name = f"z_long_{grids}"
    logs.write(name, range(500), conv_info("rgb", shape, bias=False))
    tab = open_tab().go(logs.address, runs=f'["{name}"]').drawn(499).loaded()
    assert tab.grid.count() == grids
    tab.choice("speed").select_option("60")
    tab.button("Play").click()
    tab.button("Pause").wait_for()
    assert tab.frame.evaluate(COUNT, 2) >= 45


@pytest.fixture
def small_cache(logs, open_tab, conv_info):
    """Open a run of 200 steps in a page whose cache holds 31 of them."""
    if not Run.exists(logs.logdir / "z_large"):
        logs.write("z_large", range(200), conv_info("rgb", (7, 7, 3, 16), bias=False))
    tab = open_tab().set_constants("step_cache.js", MOST_BYTES="300e3")
    tab.go(logs.address, runs='["z_large"]').drawn(199)
    assert "of 200 steps loaded" in tab.at.locator(".status").inner_text()
    tab.choice("speed").select_option("60")
    return tab


def test_a_run_larger_than_the_cache_plays_every_step(small_cache):
    """Only snapshots around the current one are kept."""
    tab = small_cache
    tab.button("Loop").click()
    tab.frame.evaluate(SEEN)
    tab.at.get_by_role("slider").press("Home")
    tab.drawn(0)
    tab.button("Play").click()
    tab.drawn(199)
    seen = tab.frame.evaluate("window.seen")
    ascending = list(dict.fromkeys(seen[seen.index(0) : seen.index(199, 1) + 1]))
    assert len(ascending) > 150  # at 60 a second a frame may be left out
    assert ascending == sorted(ascending)


def test_a_run_larger_than_the_cache_loops(small_cache):
    """After the last step comes the first one, although it was removed."""
    tab = small_cache
    tab.at.get_by_role("slider").fill("190")
    tab.drawn(190)
    tab.frame.evaluate(SEEN)
    tab.button("Play").click()
    tab.frame.wait_for_function("window.seen.length > 30")
    seen = tab.frame.evaluate("window.seen")
    assert {199, 0} <= set(seen)
    assert seen[seen.index(199) + 1] == 0


def test_a_run_added_during_playback_is_played(logs, open_tab):
    """Playback continues with both."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    tab.choice("speed").select_option("60")
    tab.button("Play").click()
    tab.choose_runs("exp1", "exp2")
    tab.at.locator("figure.grid[data-drawn]").nth(1).wait_for()
    tab.frame.evaluate(SEEN)
    tab.frame.wait_for_function("window.seen.length > 20")
    assert len(set(tab.frame.evaluate("window.seen"))) > 3
