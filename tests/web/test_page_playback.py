import re

import pytest

from filtertrack import Run

LAST = 8

# Records the steps that are drawn from now on.
SEEN = """() => {
  const figure = document.querySelector("figure.grid");
  window.seen = [];
  new MutationObserver(() => window.seen.push(Number(figure.dataset.drawn)))
    .observe(figure, {attributes: true, attributeFilter: ["data-drawn"]});
}"""


def test_steps_play_and_scrub(logs, open_tab):
    """Slider, keys, buttons and speeds go through all steps."""
    tab = open_tab().go(logs.address, runs='["exp1"]').drawn(LAST).loaded()
    slider = tab.at.get_by_role("slider", name="Step")
    assert tab.at.locator(".when").inner_text() == f"step {LAST} · {LAST + 1} of {LAST + 1}"
    slider.fill("4")
    tab.drawn(4)
    tab.wait(
        lambda: re.fullmatch(
            r"epoch 4 of 8, loss \d\.\d{3}", slider.get_attribute("aria-valuetext")
        ),
        "the moment",
    )
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
        tab.wait(
            lambda speed=speed: tab.choice("speed").input_value() == speed, f"a speed of {speed}"
        )
    slider.press("l")
    assert tab.button("Loop").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(
    ("shape", "grids"), [((7, 7, 3, 64), 1), ((3, 3, 1, 64), 2)], ids=["filters", "both parts"]
)
def test_sixty_steps_a_second_can_be_drawn(logs, open_tab, conv_info, shape, grids):
    """Drawing 64 filters takes the page less than a 60th of a second, also with both parts.

    Measured as the time that the page's thread computes: the machine may do other things as well.
    """
    name = f"z_long_{grids}"
    logs.write(name, range(150), conv_info("rgb", shape, bias=False))
    tab = open_tab().go(logs.address, runs=f'["{name}"]').drawn(149).loaded()
    assert tab.grid.count() == grids
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def computed():
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "TaskDuration")

    tab.choice("speed").select_option("60")
    tab.frame.evaluate(SEEN)
    before = computed()
    tab.button("Play").click()
    tab.frame.wait_for_function("window.seen.length > 60")
    assert (computed() - before) / len(tab.frame.evaluate("window.seen")) < 1 / 60


# Plays on a screen of 60 pictures a second whose times vary a little; returns the indices shown.
PLAYED = """async ([count, speed]) => {
  const {PlaybackClock} = await import("./playback_clock.js");
  const waiting = [], shown = [];
  window.requestAnimationFrame = call => waiting.push(call);
  const clock = new PlaybackClock(index => shown.push(index), () => true, () => {});
  Object.assign(clock, {count, speed, loop: false});
  clock.play();
  for (let frame = 0; waiting.length; frame++) waiting.shift()(frame * 1000 / 60 + (frame % 3) / 5);
  return shown;
}"""


@pytest.mark.parametrize("speed", [5, 10, 30, 60])
def test_every_step_is_shown_once_where_the_browser_keeps_up(modules, speed):
    """In order, to the end."""
    assert modules.evaluate(PLAYED, [200, speed]) == [*range(1, 200)]


@pytest.fixture
def small_cache(logs, open_tab, conv_info):
    """Open a run of 80 steps in a page whose cache holds 31 of them."""
    if not Run.exists(logs.logdir / "z_large"):
        logs.write("z_large", range(80), conv_info("rgb", (7, 7, 3, 16), bias=False))
    tab = open_tab().set_constants("step_cache.js", MOST_BYTES="300e3")
    tab.go(logs.address, runs='["z_large"]').drawn(79)
    assert "of 80 steps loaded" in tab.at.locator(".status").inner_text()
    tab.choice("speed").select_option("30")
    return tab


def test_a_run_larger_than_the_cache_plays_in_order(small_cache):
    """To its end, although only snapshots around the current one are kept."""
    tab = small_cache
    tab.button("Loop").click()
    tab.at.get_by_role("slider").press("Home")
    tab.drawn(0)
    tab.frame.evaluate(SEEN)
    tab.button("Play").click()
    tab.drawn(79)
    seen = tab.frame.evaluate("window.seen")
    assert len(seen) > 10  # a slow browser leaves out steps
    assert seen == sorted(seen)


def test_a_run_larger_than_the_cache_loops(small_cache):
    """After the last steps come the first ones, although they were removed."""
    tab = small_cache
    tab.at.get_by_role("slider").fill("70")
    tab.drawn(70)
    tab.frame.evaluate(SEEN)
    tab.button("Play").click()
    tab.frame.wait_for_function("seen.length > 10 && seen.at(-1) < 70")
    seen = tab.frame.evaluate("window.seen")
    again = next(n for n, step in enumerate(seen) if step < 70)
    assert max(seen[:again]) > 70
    assert seen[again] < 20


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
