import re

import pytest

LAST = 8

WHERE_FOCUS_IS = "document.activeElement.getAttribute('aria-label')"


def test_keyboard_use_and_accessible_names(logs, open_tab):
    """Every control has a name; the grid is one tab stop, with arrow keys between its cells."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    for role in ("button", "combobox", "checkbox", "slider"):
        everything = tab.at.get_by_role(role).all()
        assert everything
        for each in everything:
            assert re.search(rf'- {role} "[^"]+"', each.aria_snapshot()), each.aria_snapshot()
    words = tab.at.get_by_role("slider").get_attribute("aria-valuetext")
    assert words.startswith("epoch 8 of 8, loss ")
    tab.button("filter 0").focus()
    stops = []
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight"):
        tab.page.keyboard.press(key)
        stops.append(tab.frame.evaluate(WHERE_FOCUS_IS))
    assert stops == [f"filter {number}" for number in (1, 5, 4, 0, 1)]
    outline = tab.frame.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    tab.page.keyboard.press("Tab")
    assert tab.frame.evaluate(WHERE_FOCUS_IS) == "First step"
    tab.page.keyboard.press("Shift+Tab")
    assert tab.frame.evaluate(WHERE_FOCUS_IS) == "filter 1"
    tab.page.keyboard.press("Enter")
    tab.at.get_by_role("heading", name="Filter 1").wait_for()


def test_escape_closes_a_filter_opened_by_key(logs, open_tab):
    """The focus is kept although the grid is laid out again."""
    tab = open_tab().go(logs.address, runs='["exp1"]', layer="rgb").drawn(LAST).loaded()
    tab.button("filter 1").focus()
    tab.page.keyboard.press("Enter")
    tab.at.get_by_role("heading", name="Filter 1").wait_for()
    tab.page.keyboard.press("Escape")
    tab.at.locator("section.filter").wait_for(state="hidden")


@pytest.mark.parametrize(
    "look",
    [
        {"runs": "[", "layer": "x", "step": "-1", "filter": "999", "page": "77", "scale": "?"},
        {"runs": '{"a": 1}', "step": "9" * 40, "channels": "99", "page": "1e9"},
        {"layer": "__proto__", "runs": '["__proto__", "../exp1"]', "filter": "NaN"},
        {"colormap": "none-such"},
        {"order": "none-such"},
        {"layer": "rgb", "channels": "-1"},
        {"layer": "point", "channels": "1"},
    ],
    ids=["cut", "large", "prototype", "colormap", "order", "channel", "matrix"],
)
def test_invalid_values_in_the_url_are_ignored(logs, open_tab, look):
    """The valid ones are used."""
    tab = open_tab()
    tab.expected = ["^400: ", "^console: .* 400 "]  # looked at below, where a fault may be known
    tab.go(logs.address, **look).loaded()
    tab.grid.and_(tab.at.locator("[data-drawn]")).first.wait_for()
    assert tab.at.locator(".alert").is_hidden()
    assert tab.errors == []


def test_the_button_of_a_filter_covers_its_cell(logs, open_tab):
    """Also where cells are wide: its outline marks the whole filter that is open."""
    logs.write("z_wide", range(2))
    tab = open_tab(height=1000).go(logs.address, runs='["z_wide"]').drawn(1)
    stage = tab.at.locator(".stage").bounding_box()
    cell = tab.button("filter 3").bounding_box()
    right, bottom = (stage[a] + stage[b] for a, b in (("x", "width"), ("y", "height")))
    assert stage["width"] > 500
    assert cell["x"] + cell["width"] == pytest.approx(right, abs=8)
    assert cell["y"] + cell["height"] == pytest.approx(bottom, abs=8)
    assert cell["width"] == pytest.approx(stage["width"] / 2, abs=12)
