"""The page inside TensorBoard: its keys, address and theme, and where it is hidden."""

import re
import signal

import pytest

from filtertrack import FilterTracker, Run

LAST = 8


@pytest.fixture
def opened(in_tensorboard, open_tensorboard):
    """The tab with a run, loaded."""
    return open_tensorboard().go(in_tensorboard.address, runs='["exp1"]', layer="rgb").loaded()


def test_a_training_with_keras_is_shown(in_tensorboard, open_tensorboard, logs, tiny_model, rng):
    """The weights and the metrics of its last step."""
    tracker = FilterTracker(logs.logdir / "trained")
    x, y = rng.normal(size=(8, 8, 8, 3)), rng.normal(size=(8, 2))
    tiny_model.fit(x, y, epochs=2, verbose=0, callbacks=[tracker])
    tab = open_tensorboard().go(in_tensorboard.address, runs='["trained"]', delta=0)
    tab.drawn(2).loaded()
    moment = tab.at.get_by_role("slider", name="Step").get_attribute("aria-valuetext")
    assert re.fullmatch(r"epoch 2 of 2, loss \d\.\d{3}", moment)
    tab.shows(tab.canvas, logs.picture([Run(logs.logdir / "trained")], "conv1", 2))


def test_keys_work_wherever_the_focus_is(opened):
    """Without a click, and while TensorBoard's own page has the focus."""
    opened.page.keyboard.press("ArrowLeft")
    opened.drawn(LAST - 1)
    opened.page.evaluate("window.focus(); document.activeElement.blur()")
    opened.page.keyboard.press("Home")
    opened.drawn(0)


def test_keys_work_when_the_tab_is_chosen_again(opened):
    """And not while another tab is shown."""
    tabs = opened.page.get_by_role("tab")
    tabs.filter(has_text="Time Series").click()
    opened.wait(lambda: not opened.page.locator("iframe").bounding_box()["height"], "another tab")
    opened.page.evaluate("document.activeElement.blur()")
    opened.page.keyboard.press("ArrowLeft")
    tabs.filter(has_text="Filters").click()
    opened.wait(lambda: opened.page.locator("iframe").bounding_box()["height"], "this tab")
    opened.wait(
        lambda: opened.page.evaluate("document.activeElement.tagName") == "IFRAME", "the focus"
    )
    opened.page.keyboard.press("ArrowLeft")
    opened.drawn(LAST - 1)  # the step before the last one: the first press did nothing


def test_a_hidden_tab_requests_nothing(in_tensorboard, open_tensorboard):
    """Beside a request that began before."""
    tab = open_tensorboard().poll_often()
    tab.go(in_tensorboard.address, runs='["exp1"]', layer="rgb").loaded()
    tab.page.get_by_role("tab", name="Scalars").click()
    tab.at.locator(".page").wait_for(state="hidden")
    requests = []
    tab.page.on("request", lambda request: requests.append(request.url))
    tab.page.wait_for_timeout(1500)
    assert len([url for url in requests if "/filtertrack/" in url]) <= 1


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_its_width_and_theme(  # noqa: PLR0917
    in_tensorboard, open_tensorboard, logs, exp1, width, theme
):
    """No horizontal scrolling; the theme is TensorBoard's, also between cells."""
    tab = open_tensorboard(width)
    look = {"runs": '["exp1"]', "layer": "rgb", "filter": 2}
    tab.go(in_tensorboard.address, dark=theme == "dark", **look).drawn(LAST).loaded()
    tab.at.get_by_role("heading", name="Filter 2").wait_for()
    assert tab.frame.evaluate("document.documentElement.dataset.theme") == theme
    for frame in (tab.frame, tab.page):
        assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.shows(tab.canvas, logs.picture([exp1], "rgb", LAST, theme=theme))


def test_the_url_keeps_the_state(in_tensorboard, open_tensorboard):
    """After a reload: the same runs, layer, step, filter and look."""
    tab = open_tensorboard().go(in_tensorboard.address, runs='["exp1"]').drawn(LAST)
    tab.choose_runs("exp1", "exp2")
    tab.grid.nth(1).wait_for()
    tab.choice("layer").select_option("deep")
    tab.choice("scale").select_option("layer")
    tab.choice("order").select_option("drift")
    tab.button("filter 3").first.click()
    tab.at.get_by_role("slider").fill("4")
    tab.choice("scale of runs").select_option("one for all runs")
    tab.choice("show").select_option("what was learned")
    tab.wait(lambda: "filtertrack.delta=1" in tab.page.url, "the address")
    assert "filtertrack.step=4" in tab.page.url
    tab.reload()
    tab.drawn(4).loaded()
    assert tab.grid.count() == 2
    expected = {"layer": "deep", "scale": "layer", "order": "drift", "show": "1"}
    for name, value in {**expected, "scale of runs": "1"}.items():
        assert tab.choice(name).input_value() == value
    tab.at.get_by_role("heading", name="Filter 3").wait_for()


def test_a_stopped_server_has_a_notice(in_tensorboard, open_tensorboard, logs, exp1):
    """After a second here, five in use; when the server answers again, the page continues."""
    tab = open_tensorboard().set_constants("step_cache.js", SLOW=1000)
    tab.go(in_tensorboard.address, runs='["exp1"]', layer="rgb", delta=0).drawn(LAST).loaded()
    in_tensorboard.process.send_signal(signal.SIGSTOP)
    try:
        tab.choice("channels").select_option("1")
        tab.says(".alert", "has not answered for 1 seconds; the page waits for it")
    finally:
        in_tensorboard.process.send_signal(signal.SIGCONT)
    tab.at.locator(".alert").wait_for(state="hidden")
    tab.loaded().shows(tab.canvas, logs.picture([exp1], "rgb", LAST, channels=1))


def test_the_first_run_appears_below_a_path_prefix(
    tensorboard, open_tensorboard, tmp_path, write_run, logs
):
    """Before, a sentence says that there is none."""
    tab = open_tensorboard().poll_often()
    # TensorBoard asks for its fonts without the prefix.
    tab.expected = ["font-roboto"]
    with tensorboard("--logdir", tmp_path, "--path_prefix", "/some/prefix") as server:
        assert server.address.endswith("/some/prefix")
        tab.go(server.address)
        tab.says(".alert", "There is no run of filtertrack below the log folder yet")
        run = write_run(tmp_path / "new", range(2))
        tab.drawn(1)
        tab.shows(tab.canvas, logs.picture([run], "rgb", 1))
        tab.at.locator(".alert").wait_for(state="hidden")
        tab.page.goto("about:blank")  # before the server ends
