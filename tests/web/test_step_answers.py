"""Which steps are in an answer, and where the next one continues."""

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.web import step_answers
from filtertrack.web.step_answers import StepAnswer


@pytest.fixture
def ask(make_run):
    """Return the answer about the steps 1 to 8 of a run of ten."""
    run = make_run(steps=range(10))

    def collect(arrays=None, *, damaged=(), step_bytes=1):
        def read(step):
            if step in damaged:
                raise FiltertrackError(f"/logs/{step}")
            return (arrays or {}).get(step, np.zeros(2, np.float32))

        answer = StepAnswer(run, 1, 8, lambda text: text.removeprefix("/logs/"))
        added = []
        for step, array in answer.readable_steps(read, step_bytes):
            if not answer.add(array):
                break
            added.append(step)
        assert len(answer.arrays) == len(added)
        return added, answer.head

    return collect


def test_all_steps_fit_into_one_answer(ask):
    added, head = ask()
    assert added == list(range(1, 9))
    assert head == {"damaged": {}, "next": None, "type": "float32", "shape": (2,)}


@pytest.mark.parametrize(
    ("limit", "value"), [("_MOST_BYTES", 3 * 8), ("_MOST_SNAPSHOTS", 3), ("_MOST_READ", 30)]
)
def test_each_limit_ends_an_answer(ask, monkeypatch, limit, value):
    monkeypatch.setattr(step_answers, limit, value)
    added, head = ask(step_bytes=10)
    assert (added, head["next"]) == ([1, 2, 3], 4)


@pytest.mark.parametrize("limit", ["_MOST_BYTES", "_MOST_READ"])
def test_a_single_step_may_exceed_a_limit(ask, monkeypatch, limit):
    monkeypatch.setattr(step_answers, limit, 1)
    added, head = ask(step_bytes=10)
    assert (added, head["next"]) == ([1], 2)


def test_another_dtype_begins_another_answer(ask):
    added, head = ask({3: np.zeros(2)})
    assert (added, head["next"], head["type"]) == ([1, 2], 3, "float32")


def test_damaged_steps_are_listed_and_count_as_answered(ask, monkeypatch):
    added, head = ask(damaged={1, 4, 8})
    assert added == [2, 3, 5, 6, 7]
    assert (head["damaged"], head["next"]) == ({1: "1", 4: "4", 8: "8"}, None)
    monkeypatch.setattr(step_answers, "_MOST_SNAPSHOTS", 3)
    added, head = ask(damaged={1, 2, 3})
    assert (added, head) == (
        [],
        {"damaged": {1: "1", 2: "2", 3: "3"}, "next": 4, "type": None, "shape": None},
    )
    monkeypatch.undo()
    monkeypatch.setattr(step_answers, "_MOST_BYTES", 8)
    added, head = ask(damaged={2})
    assert (added, head["damaged"], head["next"]) == ([1], {2: "2"}, 3)
