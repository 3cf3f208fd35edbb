import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.layer_selection import Candidate, choose_layers


class Conv:
    """A stand-in for a layer: only its class and the attributes that a selection reads matter."""

    def __init__(self, filters):
        self.filters = filters


class Wide(Conv):
    """Another class."""


def candidates():
    return [
        Candidate(Conv(4), "stem", "stem", convolution=True),
        Candidate(Wide(8), "conv", "block_1/conv", convolution=True),
        Candidate(Conv(8), "conv", "block_2/conv", convolution=True),
        Candidate(Conv(2), "own", "own", convolution=False),
    ]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, ["stem", "block_1/conv", "block_2/conv"]),
        ("first", ["stem"]),
        ("conv", ["block_1/conv", "block_2/conv"]),
        ("block_?/*", ["block_1/conv", "block_2/conv"]),
        (["block_2/conv", "stem", "*"], ["stem", "block_1/conv", "block_2/conv"]),
        (Wide, ["block_1/conv"]),
        ([Wide, "stem"], ["stem", "block_1/conv"]),
        (lambda layer: layer.filters < 5, ["stem", "own"]),
    ],
    ids=["all", "first", "name", "glob", "list", "class", "class and name", "function"],
)
def test_layers_are_chosen_in_model_order(select, expected):
    """Each once; only a function may choose layers that are not convolutions."""
    assert [candidate.path for candidate in choose_layers(candidates(), select)] == expected


def test_a_layer_named_first_has_precedence():
    """Over the first convolution."""
    named = Candidate(Conv(1), "first", "first", convolution=True)
    assert choose_layers([*candidates(), named], "first") == [named]


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("stemm", r"matches 'stemm'. Did you mean 'stem'\? The model has: stem, block_1/conv"),
        (["stem", "x*"], r"matches 'x\*'"),
        (dict, "matches 'dict'"),
        ([], "empty"),
        ([3], "expected names or classes, got 3"),
        (lambda layer: False, "chose none of the layers that have a kernel: stem"),
    ],
    ids=["misspelt", "glob", "class", "empty", "number", "function"],
)
def test_a_selection_without_a_match_is_an_error(select, message):
    """It lists the layers."""
    with pytest.raises(FiltertrackError, match=message):
        choose_layers(candidates(), select)


def test_a_model_without_convolutions_is_an_error():
    """It lists layers that a function may choose."""
    with pytest.raises(
        FiltertrackError, match=r"no convolution to track.*Choose own by name, class"
    ):
        choose_layers(candidates()[-1:], None)
    with pytest.raises(FiltertrackError, match="no convolution to track"):
        choose_layers([], None)
