import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.capture.schedule import make_schedule


def taken(schedule, batches, epoch=0):
    return [n for n in range(1, batches + 1) if schedule.due(epoch, n - 1, n)]


def test_epoch_needs_no_batch_hook():
    """So that training is not slowed."""
    schedule = make_schedule("epoch")
    assert schedule.every_epoch
    assert schedule.due is None
    assert not schedule.counts_batches


def test_log_takes_four_batches_per_doubling():
    """Every batch at first; after five epochs only epochs."""
    schedule = make_schedule("log")
    assert schedule.every_epoch
    batches = taken(schedule, 4096)
    assert batches[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    for power in range(4, 12):
        assert sum(2**power < n <= 2 ** (power + 1) for n in batches) == 4
    assert taken(schedule, 4096, epoch=5) == []


def test_an_integer_is_a_number_of_batches():
    """The end of an epoch takes none."""
    schedule = make_schedule(10)
    assert taken(schedule, 35) == [10, 20, 30]
    assert not schedule.every_epoch


def test_a_function_is_called_for_every_batch():
    """With the finished epochs and batches."""
    schedule = make_schedule(lambda epoch, batch: batch == 7 and epoch == 2)
    assert taken(schedule, 20, epoch=2) == [7]
    assert taken(schedule, 20, epoch=1) == []


@pytest.mark.parametrize(
    "value", ["log", 7, lambda epoch, batch: batch % 5 == 3], ids=["log", "number", "function"]
)
@given(after=st.integers(0, 3000), jump=st.integers(1, 400), epoch=st.integers(0, 6))
def test_a_schedule_checks_every_batch_of_a_report(value, after, jump, epoch):
    """A report of several batches is due if one of them is."""
    due = make_schedule(value).due
    each = (due(epoch, n - 1, n) for n in range(after + 1, after + jump + 1))
    assert due(epoch, after, after + jump) == any(each)


@pytest.mark.parametrize("value", [0, -1, "weekly", 1.5, True, None, []], ids=repr)
def test_an_invalid_schedule_is_an_error(value):
    """It lists the valid ones."""
    with pytest.raises(FiltertrackError, match="expected 'epoch', 'log', a number of batches"):
        make_schedule(value)
