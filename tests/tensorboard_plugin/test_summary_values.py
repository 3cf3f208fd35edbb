"""Values of summaries, as TensorBoard reads them."""

import numpy as np
import pytest
from tensorboard.util import tensor_util

from filtertrack.tensorboard_plugin.summary_values import histogram_value


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "bool"])
def test_a_histogram_counts_the_whole_range_of_a_type(dtype):
    """The difference of the largest and the smallest number is not one of the type."""
    limits = np.finfo(dtype) if dtype.startswith("float") else None
    low, high = (
        (0, 1)
        if dtype == "bool"
        else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if limits is None
        else (limits.min, limits.max)
    )
    values = np.array([[low, high], [high, high]], dtype)
    (value,) = histogram_value("tag", values, "")
    left, right, counts = tensor_util.make_ndarray(value.tensor).T
    assert (left[0], right[-1]) == (float(low), float(high))
    assert (counts[0], counts[-1], counts.sum()) == (1, 3, 4)


def test_equal_values_are_in_one_bucket_without_width():
    (value,) = histogram_value("tag", np.full((2, 3), 0.5), "")
    left, right, counts = tensor_util.make_ndarray(value.tensor).T
    assert set(left) == set(right) == {0.5}
    assert counts.tolist() == [0] * 29 + [6]


@pytest.mark.parametrize("values", [[], [np.nan, np.inf, -np.inf]], ids=["none", "not finite"])
def test_without_finite_numbers_there_is_no_histogram(values):
    assert list(histogram_value("tag", np.array(values), "")) == []
