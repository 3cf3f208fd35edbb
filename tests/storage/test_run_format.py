import json

import numpy as np
import pytest

from filtertrack import Moment, Snapshot
from filtertrack.storage.run_format import checksums, members_of, moment_of, same_weights

FULL = Moment(6, 5, 765, {"loss": 0.5}, 1.7e9, 12, 0, 153, "restored: epoch 2")


@pytest.mark.parametrize("moment", [FULL, Moment(6, 5, 765, {"loss": np.inf}, 1.7e9), Moment(0, 0)])
def test_a_moment_is_read_as_written(moment):
    """With optional fields and without."""
    assert moment_of(members_of(Snapshot(moment, {}))["meta"]) == moment


def test_unknown_values_are_not_written():
    """So an older version of the package can read the file."""
    meta = json.loads(str(members_of(Snapshot(Moment(3, 3, 30), {}))["meta"]))
    assert meta.keys() == {"step", "epoch", "batch", "metrics", "wall_time"}


def test_unknown_fields_are_ignored():
    """As later versions may add some."""
    text = json.dumps({"step": 3, "epoch": 3, "temperature": [1, 2]})
    assert moment_of(np.array(text)) == Moment(3, 3)


@pytest.mark.parametrize(
    "text", ["[]", "3", "null", '"step"', '{"step": 1}', '{"step": true}', "{"]
)
def test_an_invalid_moment_is_a_value_error(text):
    """The caller adds the name of the file."""
    with pytest.raises(ValueError, match=r".*"):
        moment_of(np.array(text))


def test_same_weights_compares_bits():
    """Names, types, shapes and bytes: NaN equals itself, 0.0 does not equal -0.0."""
    weights = {"a": np.array([1.0, np.nan, 0.0], np.float32), "b": np.ones((2, 2))}
    same = {name: array.copy(order="F") for name, array in weights.items()}
    assert same_weights(weights, same)
    assert checksums(weights) == checksums(same)
    for other in (
        {"a": weights["a"]},
        {**weights, "a": np.array([1.0, np.nan, -0.0], np.float32)},
        {**weights, "b": np.ones((4,))},
        {**weights, "b": np.ones((2, 2), np.float32)},
    ):
        assert not same_weights(weights, other)
        assert not same_weights(other, weights)


def test_checksums_differ_for_a_single_bit():
    """Of the array that differs."""
    weights = {"a": np.zeros(9, np.float32), "b": np.ones(9, np.float32)}
    first = checksums(weights)
    weights["a"][3] = -0.0
    second = checksums(weights)
    assert first["a"] != second["a"]
    assert first["b"] == second["b"]
