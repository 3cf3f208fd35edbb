import subprocess
import sys
from inspect import signature
from typing import get_args

import pytest

from filtertrack import FiltertrackError, animate, filmstrip
from filtertrack.render.look import LOOK_OPTIONS, ORDERS, Look, Scale, ThemeName
from filtertrack.render.palette import THEMES


@pytest.mark.parametrize(
    ("look", "message"),
    [
        ({"scale": "global"}, r"scale: expected one of frame, filter, layer, got 'global'"),
        ({"order": "size"}, r"order: expected one of stored, similarity, orientation, drift"),
        ({"theme": "blue"}, r"theme: expected one of dark, light, got 'blue'"),
        ({"theme": None}, r"theme: expected one of dark, light, got None"),
        ({"filters": []}, r"filters: none are chosen"),
        ({"filters": [0], "order": "drift"}, r"order given.*order='drift', not both"),
        ({"channels": "all"}, r"channels: expected 'strongest' or a .*, got 'all'; leave it out"),
        ({"channels": True}, r"channels: expected 'strongest' or a channel's number, got True"),
        ({"channels": 1.0}, r"channels: expected 'strongest' or a channel's number, got 1.0"),
        ({"channels": [0]}, r"channels: expected 'strongest' or a channel's number, got \[0\]"),
    ],
    ids=str,
)
def test_an_invalid_value_raises_an_error(look, message):
    """The message says what was expected, what came, and what to do."""
    with pytest.raises(FiltertrackError, match=message):
        Look(**look)


@pytest.mark.parametrize("function", [animate, filmstrip])
def test_the_public_functions_have_every_option(function):
    """Their keywords have the types and defaults of ``Look``; only a filmstrip's theme differs."""
    keywords = signature(function).parameters
    for option in LOOK_OPTIONS:
        is_light = function is filmstrip and option.name == "theme"
        assert keywords[option.name].default == ("light" if is_light else option.default)
        assert keywords[option.name].annotation == Look.__annotations__[option.name]


def test_options_are_derived_from_the_fields():
    """Choices come from the ``Literal`` types, also from an optional one; flags from ``bool``."""
    choices = {option.name: option.choices for option in LOOK_OPTIONS if option.choices}
    assert choices == {"order": ORDERS, "scale": get_args(Scale), "theme": get_args(ThemeName)}
    flags = {option.name for option in LOOK_OPTIONS if option.flag}
    assert flags == {"zero_centred", "delta", "outline"}


@pytest.mark.parametrize("option", LOOK_OPTIONS, ids=lambda option: option.name)
def test_every_choice_is_valid(option):
    """As is the default."""
    for value in (option.default, *option.choices):
        assert getattr(Look(**{option.name: value}), option.name) == value


def test_every_theme_has_its_colours():
    """The palette holds one set of colours for each name."""
    assert tuple(THEMES) == get_args(ThemeName)


def test_the_options_load_no_numpy():
    """The command line imports them for ``--help``."""
    code = (
        "import sys, filtertrack.render.look, filtertrack.outputs.animation_pace; "
        "sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
