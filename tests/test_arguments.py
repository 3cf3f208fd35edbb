import argparse

import pytest

from filtertrack.arguments import numbers


def test_numbers_ranges_and_every_so_many():
    """Both ends of a range are meant."""
    assert numbers("3") == [3]
    assert numbers("0,2-4,10-30/10") == [0, range(2, 5), range(10, 31, 10)]


@pytest.mark.parametrize("text", ["", "a", "1-", "1-2/", "1-2/0", "1/2", "1-2-3"])
def test_what_is_none_is_said(text):
    """With an example of what is."""
    with pytest.raises(argparse.ArgumentTypeError, match="such as 0,1,5-20"):
        numbers(text)
