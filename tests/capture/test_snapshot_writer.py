import numpy as np
import pytest

from filtertrack import Moment, Run, Snapshot
from filtertrack.capture.snapshot_writer import SnapshotWriter


@pytest.fixture
def shot(conv_info):
    def shot(step, value, **fields):
        kernel = np.full(conv_info().kernel_shape, value, np.float32)
        return Snapshot(Moment(step, step, **fields), {"conv1/kernel": kernel})

    return shot


@pytest.fixture
def writer(conv_info, shot, tmp_path):
    """A writer that has stored steps 0 to 2."""
    made = SnapshotWriter(Run.create(tmp_path, [conv_info(bias=False)]))
    for step in range(3):
        made.store(shot(step, step, metrics={"loss": step}))
    return made


def last(writer, snapshot, after=2, **options):
    return writer.last(snapshot, after=after, **{"averaged": False, **options})


def test_the_weights_of_the_last_snapshot_are_not_stored_again(writer, shot):
    """At its step."""
    assert last(writer, shot(2, 2)) is None


def test_weights_noted_at_a_later_moment_are_stored(writer, shot):
    """Such as those of an epoch's end."""
    end = shot(4, 9)
    writer.note(end.moment, end.arrays)
    assert last(writer, end) is end


@pytest.mark.parametrize(
    ("value", "averaged", "expected"),
    [
        (1, True, (3, "restored: epoch 1", {"loss": 1.0})),
        (0, False, (3, "restored: before training", {"loss": 0.0})),
        (9, True, (3, "averaged", {})),
        (9, False, (3, "changed after the last epoch", {})),
    ],
)
def test_other_weights_are_stored_with_a_note(writer, shot, value, averaged, expected):
    """At the next step."""
    moment = last(writer, shot(2, value), averaged=averaged).moment
    assert (moment.step, moment.note, moment.metrics) == expected


def test_weights_after_the_last_moment_that_was_seen_have_no_note(writer, shot):
    """They are those of the final moment, with its metrics; averages still have a note."""
    end = shot(4, 9, metrics={"loss": 4})
    moment = last(writer, end, seen=False).moment
    assert (moment.step, moment.note, moment.metrics) == (4, "", {"loss": 4.0})
    assert last(writer, end, seen=False, averaged=True).moment.note == "averaged"
    assert last(writer, shot(4, 1), seen=False).moment.note == "restored: epoch 1"


def test_the_note_of_weights_changed_within_an_epoch_names_the_batch(writer, shot):
    """Where batches are known."""
    moment = last(writer, shot(2, 9, batch=20, epoch_batch=5)).moment
    assert moment.note == "changed after the last batch"


def test_a_lost_snapshot_is_returned_again(writer, shot, tmp_path):
    """With its moment, however often it failed."""
    (tmp_path / "filters" / "snapshots").rename(tmp_path / "away")
    lost = shot(3, 3, metrics={"loss": 3})
    for _ in range(2):
        with pytest.raises(OSError, match="snapshots"):
            writer.store(lost)
        again = last(writer, shot(3, 3), after=3)
        assert again.moment == lost.moment
    (tmp_path / "away").rename(tmp_path / "filters" / "snapshots")
    writer.store(again)
    assert last(writer, shot(3, 3), after=3) is None
    assert Run(tmp_path).steps == [0, 1, 2, 3]


def test_a_refused_snapshot_is_returned_if_the_weights_are_equal(writer, shot):
    """Otherwise the final weights are."""
    refused = shot(3, 3)
    assert last(writer, shot(3, 3), after=3, refused=refused) is refused
    assert last(writer, shot(3, 1), after=3, refused=refused).moment.note == "restored: epoch 1"
