"""The page's shell: the sidebar, the layer menu, keys, contrast, and what a screen reader says."""

import pytest

LAST = 8

# Returns the texts whose contrast with what is behind them is below a bound, with the contrast as
# WCAG 2 defines it. Texts over pictures, and those that cannot be used at present, do not count.
LOW_CONTRAST = """bound => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = rgb => [0.2126, 0.7152, 0.0722].reduce((sum, share, n) => {
    const value = rgb[n] / 255;
    return sum + share * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  }, 0);
  const backOf = element => {
    for (let each = element; each; each = each.parentElement) {
      const [red, green, blue, alpha = 1] = channels(getComputedStyle(each).backgroundColor);
      if (alpha === 1) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const isText = node => node.nodeType === 3 && node.textContent.trim();
  const hasText = element => [...element.childNodes].some(isText);
  const isOff = element => element.matches(":disabled, :disabled *, option");
  return [...document.body.querySelectorAll("*")].flatMap(element => {
    if (!hasText(element) || !element.checkVisibility() || isOff(element)) return [];
    const lights = [channels(getComputedStyle(element).color), backOf(element)].map(luminance);
    const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    return ratio < bound ? [`${element.textContent}: ${ratio.toFixed(2)}`] : [];
  });
}"""


def test_arrow_keys_step_after_a_choice_with_the_mouse(logs, open_tab):
    """A select keeps the focus after a choice with the keyboard."""
    tab = open_tab(1440).go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    for name, value in (("layer", "deep"), ("order", "label")):
        select = tab.choice(name)
        select.focus()
        select.dispatch_event("pointerdown")
        select.select_option(value)
        tab.page.keyboard.press("ArrowLeft")
        assert select.input_value() == value
    tab.drawn(LAST - 2)
    select.focus()
    select.press("ArrowUp")
    tab.wait(lambda: select.input_value() != "label", "the order before")
    assert select.evaluate("each => each === document.activeElement")


def test_one_column_shows_what_is_opened(logs, open_tab):
    """The sidebar opens below its button, which stays; the window scrolls to an open filter."""
    tab = open_tab(390, 844).go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    fold = tab.button("Runs and look (S)")
    before = fold.bounding_box()
    fold.click()
    sidebar = tab.at.locator(".sidebar").bounding_box()
    assert fold.bounding_box() == before
    assert sidebar["y"] >= before["y"] + before["height"]
    fold.click()
    assert tab.at.locator(".sidebar").is_hidden()
    tab.button("filter 3").click()
    heading = tab.at.get_by_role("heading", name="Filter 3")
    heading.wait_for()
    tab.wait(lambda: heading.bounding_box()["y"] < 400, "the open filter")


def test_contrast_in_both_themes(logs, open_tab):
    """Texts have that of WCAG AA; the open filter has a white frame in a black one."""
    look = {"runs": '["exp1"]', "layer": "rgb", "filter": 1, "outline": 1}
    tab = open_tab(width=1440).go(logs.address, **look).drawn(LAST).loaded()
    tab.at.get_by_role("heading", name="Filter 1").wait_for()
    tab.says("p.label", "at step")
    for theme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=theme)
        tab.at.locator(f"html[data-theme={theme}]").wait_for()
        assert tab.frame.evaluate(LOW_CONTRAST, 4.5) == []
        styles = tab.button("filter 1").evaluate(
            "each => [getComputedStyle(each).outlineColor, getComputedStyle(each).boxShadow]"
        )
        assert styles == ["rgb(255, 255, 255)", "rgb(0, 0, 0) 0px 0px 0px 4px"]


def test_keys_and_buttons_show_the_layers_before_and_after(logs, open_tab):
    """In the order of the menu, which lists 1x1 kernels last; a screen reader hears which."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST)
    menu = tab.choice("layer")
    texts = menu.evaluate("menu => [...menu.options].map(each => each.text)")
    assert texts == ["rgb · 8 of 7×7×3", "deep · 70 of 3×3×8", "point · 12 of 1×1×70"]
    assert menu.evaluate("menu => menu.options[2].parentElement.label") == "1×1 kernels"
    for press, expected in (
        (lambda: tab.page.keyboard.press("n"), "deep"),
        (lambda: tab.button("Next layer (N)").click(), "point"),
        (lambda: tab.page.keyboard.press("n"), "rgb"),
        (lambda: tab.button("Previous layer (P)").click(), "point"),
        (lambda: tab.page.keyboard.press("p"), "deep"),
    ):
        press()
        tab.wait(lambda expected=expected: menu.input_value() == expected, f"layer {expected}")
        tab.says("[role=status]", expected)


def test_a_1x1_kernel_between_larger_ones_is_last_in_the_menu(logs, open_tab, exp1):
    logs.write("point_first", [0, 1], exp1.layer("point"))
    tab = open_tab().go(logs.address, runs='["point_first","exp1"]').drawn(LAST)
    names = tab.choice("layer").evaluate("menu => [...menu.options].map(each => each.value)")
    assert names == ["rgb", "deep", "point"]


@pytest.mark.parametrize(("width", "is_open"), [(1440, True), (1000, False), (390, False)])
def test_the_sidebar_is_open_where_there_is_room(logs, open_tab, width, is_open):
    tab = open_tab(width=width).go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST)
    sidebar, fold = tab.at.locator(".sidebar"), tab.button("Runs and look (S)")
    assert sidebar.is_visible() == is_open
    fold.click()
    assert sidebar.is_visible() != is_open
    assert fold.get_attribute("aria-expanded") == str(not is_open).lower()
    assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.keyboard.press("s")
    assert sidebar.is_visible() == is_open


def test_the_grids_scroll_and_the_timeline_stays(logs, open_tab):
    """In a window of 500 pixels the timeline is visible while the page does not scroll."""
    tab = open_tab(height=500).go(logs.address, runs='["exp1","exp2"]', layer="rgb").drawn(LAST)
    assert tab.frame.evaluate("document.documentElement.scrollHeight <= innerHeight")
    box = tab.at.get_by_role("slider").bounding_box()
    assert box["y"] + box["height"] <= 500
