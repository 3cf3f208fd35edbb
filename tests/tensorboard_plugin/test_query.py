from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.tensorboard_plugin.query import Query


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", (3,)), ("0-3", (0, 1, 2, 3)), ("5,2,7-8", (5, 2, 7, 8))]
)
def test_numbers(text, numbers):
    """Single ones and ranges, in the order given."""
    assert Query({"filters": text}).numbers("filters") == numbers


@pytest.mark.parametrize("text", ["", "-1", "1-", "a", "1,,2", "٣", "1e3", "0-99999", "9" * 13])
def test_what_is_no_number(text):
    """The error names what was asked for."""
    with pytest.raises(FiltertrackError, match="filters"):
        Query({"filters": text}).numbers("filters")


def test_a_text_that_is_too_long():
    """Is not looked at."""
    with pytest.raises(FiltertrackError, match="at most"):
        Query({"run": "x" * 5000}).text("run")


@given(st.text(max_size=30))
def test_any_text_is_numbers_or_an_error_of_ours(text):
    """Whatever a browser sends."""
    query = Query({"asked": text})
    for ask in (query.numbers, query.channels, query.number, query.flag, query.kept):
        with suppress(FiltertrackError):
            ask(60 if ask == query.kept else "asked")


def test_how_channels_are_drawn():
    """As they are, collapsed, or one of them."""
    texts = {"": None, "strongest": "strongest", "2": 2}
    assert {text: Query({"c": text}).channels("c") for text in texts} == texts


def test_an_answer_is_kept_only_if_its_address_names_a_version():
    """Another one could be another answer tomorrow."""
    assert Query({"version": "17"}).kept(60) == 60
    assert Query({}).kept(60) == 0


def test_the_look_of_an_animation(conv_info):
    """What is left out stays what ``animate`` does by itself."""
    texts = {"scale": "layer", "fps": "20", "filters": "3,1", "delta": "1"}
    assert Query(texts).look(conv_info()) == {
        "layers": ["conv1"],
        "zero_centred": False,
        "delta": True,
        "channels": None,
        "scale": "layer",
        "fps": 20.0,
        "filters": (3, 1),
    }
