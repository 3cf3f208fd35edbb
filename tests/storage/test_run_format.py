import json

import numpy as np
import pytest

from filtertrack import Moment, Snapshot
from filtertrack.storage.run_format import checksums, members_of, moment_of, same_weights

FULL = Moment(6, 5, 765, {"loss": 0.5}, 1.7e9, 12, 0, 153, "restored: epoch 2")


@pytest.mark.parametrize("moment", [FULL, Moment(6, 5, 765, {"loss": np.inf}, 1.7e9), Moment(0, 0)])
def test_a_moment_reads_back(moment):
    """Every field, those of later versions too."""
    assert moment_of(members_of(Snapshot(moment, {}))["meta"]) == moment


def test_what_is_not_known_is_not_written():
    """An older version of this package reads what has none of the later fields."""
    meta = json.loads(str(members_of(Snapshot(Moment(3, 3, 30), {}))["meta"]))
    assert meta.keys() == {"step", "epoch", "batch", "metrics", "wall_time"}


def test_fields_of_a_later_version_are_ignored():
    """They describe nothing that this one needs."""
    text = json.dumps({"step": 3, "epoch": 3, "temperature": [1, 2]})
    assert moment_of(np.array(text)) == Moment(3, 3)


@pytest.mark.parametrize(
    "text", ["[]", "3", "null", '"step"', '{"step": 1}', '{"step": true}', "{"]
)
def test_a_text_that_describes_no_moment(text):
    """It is a ``ValueError``, which names the file in the end."""
    with pytest.raises(ValueError, match=r".*"):
        moment_of(np.array(text))


def test_weights_are_the_same_bit_for_bit():
    """Names, types, shapes and bytes: NaN is like itself, 0.0 is not like -0.0."""
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


def test_checksums_tell_what_differs():
    """Of each array by its name; one bit is enough."""
    weights = {"a": np.zeros(9, np.float32), "b": np.ones(9, np.float32)}
    first = checksums(weights)
    weights["a"][3] = -0.0
    second = checksums(weights)
    assert first["a"] != second["a"]
    assert first["b"] == second["b"]
