import subprocess
import sys
from dataclasses import replace
from inspect import signature
from typing import get_args

import numpy as np
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
        (
            {"channels": "every"},
            r"channels: expected 'strongest', 'all', .*, got 'every'",
        ),
        ({"channels": True}, r"channels: expected 'strongest', 'all', .*, got True; leave it out"),
        ({"channels": 1.0}, r"channels: expected .* a channel's number, or two or .*, got 1.0"),
        ({"channels": (0, 1, 2, 3)}, r"two or three of them such as .*, got \(0, 1, 2, 3\)"),
        ({"channels": []}, r"channels: expected 'strongest', 'all', .*, got \[\]"),
        ({"channels": ["red"]}, r"channels: expected .*, got \['red'\]"),
        (
            {"channels": "nir", "channel_names": ["red", "green"]},
            r"a channel's number, one of the names red, green, or two .*, got 'nir'",
        ),
        ({"channel_names": "ACGT"}, r"channel_names: .* of each .* in a list, got 'ACGT'"),
        ({"channel_names": 4}, r"channel_names: expected the name of each input channel .* got 4"),
        ({"channel_names": ["A", 3]}, r"channel_names: expected the name .*, got \['A', 3\]"),
        ({"channel_names": ["A", ""]}, r"channel_names: expected the name .*, got \['A', ''\]"),
        ({"channel_names": ["A", "a\nb"]}, r"channel_names: expected the name of each"),
        ({"channel_names": ["A", "C", "A"]}, r"channel_names: expected different names, got"),
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
    assert flags == {"zero_centred", "delta", "outline", "smooth"}


@pytest.mark.parametrize(
    ("channels", "names", "resolved"),
    [
        (None, None, None),
        ("strongest", None, "strongest"),
        ("all", None, "all"),
        (3, None, 3),
        ([3], None, 3),
        ("bgr", None, (2, 1, 0)),
        ("rgb", None, (0, 1, 2)),
        ([2, 0], None, (2, 0)),
        ("G", ["A", "C", "G", "T"], 2),
        (["T", "A"], ["A", "C", "G", "T"], (3, 0)),
        (["T", 1], ("A", "C", "G", "T"), (3, 1)),
        ((name for name in "TA"), list("ACGT"), (3, 0)),
        ("T", iter("ACGT"), 3),
        ("T", np.array(["A", "T"]), 1),
    ],
)
def test_channels_become_numbers(channels, names, resolved):
    """Names are found among those of the channels, which become a tuple."""
    look = Look(channels=channels, channel_names=names)
    assert look.channels == resolved
    assert look.channel_names is None or isinstance(look.channel_names, tuple)
    assert replace(look, delta=True).channels == resolved


def test_the_difference_is_undecided_by_default():
    """``None`` lets the layer decide; the default scale and colormap depend on that."""
    look = Look()
    assert (look.delta, look.scale, look.colormap) == (None, None, None)


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
