from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.tensorboard_plugin.query import Query


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", (3,)), ("0-3", (0, 1, 2, 3)), ("5,2,7-8", (5, 2, 7, 8))]
)
def test_numbers_and_ranges_are_parsed(text, numbers):
    """Single numbers and ranges, in the given order."""
    assert Query({"filters": text}).numbers("filters") == numbers


@pytest.mark.parametrize("text", ["", "-1", "1-", "a", "1,,2", "٣", "1e3", "0-99999", "9" * 13])
def test_invalid_numbers_raise_an_error(text):
    """The error names the parameter."""
    with pytest.raises(FiltertrackError, match="filters"):
        Query({"filters": text}).numbers("filters")


def test_a_value_that_is_too_long_raises_an_error():
    """It is not parsed."""
    with pytest.raises(FiltertrackError, match="at most"):
        Query({"run": "x" * 5000}).text("run")


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_raises_our_error(text):
    """Whatever a client sends, no other exception is raised."""
    query = Query({"asked": text})
    for parse in (query.numbers, query.channels, query.number, query.flag):
        with suppress(FiltertrackError):
            parse("asked")


def test_channels_are_parsed():
    """None, ``strongest`` or a number."""
    texts = {"": None, "strongest": "strongest", "2": 2}
    assert {text: Query({"c": text}).channels("c") for text in texts} == texts


def test_an_answer_is_cached_only_for_a_version():
    """Without a version in the query the answer may change."""
    assert Query({"version": "17"}).max_age(60) == 60
    assert Query({}).max_age(60) == 0


def test_animation_options_hold_only_what_is_given(conv_info):
    """Other options keep the defaults of ``animate``."""
    texts = {"scale": "layer", "fps": "20", "filters": "3,1", "delta": "0", "theme": ""}
    texts |= {"one_scale": "1", "channel_names": "A,C,G,T"}
    assert Query(texts).animation_options(conv_info()) == {
        "layers": ["conv1"],
        "scale": "layer",
        "delta": False,
        "channel_names": ["A", "C", "G", "T"],
        "one_scale": True,
        "fps": 20.0,
        "filters": (3, 1),
    }
