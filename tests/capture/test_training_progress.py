import numpy as np
import pytest

from filtertrack import Moment, Snapshot
from filtertrack.capture.training_progress import TrainingProgress, batches_before


@pytest.mark.parametrize(("by_batch", "steps"), [(True, [0, 3, 6, 9]), (False, [0, 1, 2, 3])])
def test_a_training_is_counted(by_batch, steps):
    """Epochs and batches, whichever of them a step is; a second fit that starts at 0 goes on."""
    position, seen = TrainingProgress(by_batch=by_batch), []
    for fit, epochs in enumerate((2, 1)):
        position.start_fit(0, again=fit > 0)
        seen = seen or [position.step]
        for epoch in range(epochs):
            position.start_epoch()
            if by_batch:
                assert [position.finish_batch(batch, 3) for batch in range(3)] == [1, 2, 3]
            position.finish_epoch(epoch, 3)
            seen.append(position.step)
    assert seen == steps
    assert (position.epochs, position.batches) == (3, 9)
    assert position.moment({"loss": 1.0}).metrics == {"loss": 1.0}


def test_batches_that_come_several_at_a_time():
    """With ``steps_per_execution`` the last report may be past the epoch's end."""
    position = TrainingProgress(by_batch=True)
    position.start_fit(0, again=False)
    position.start_epoch()
    assert [position.finish_batch(batch, 5) for batch in (1, 3, 5)] == [2, 4, 5]
    assert position.batches == 5


def test_what_is_not_known_stays_unknown():
    """Where Keras does not say how many batches an epoch has, epochs are counted all the same."""
    position = TrainingProgress(by_batch=False)
    position.start_fit(4, again=False)
    position.finish_epoch(4, None)
    assert (position.step, position.batches) == (5, None)


def test_the_run_tells_how_many_batches_were_seen(make_run, tmp_path):
    """Where Keras does not: of an older run, those of the first snapshot at that epoch."""
    run = make_run()  # ten batches an epoch, epochs 0 to 2
    assert batches_before(0, None, run.path) == 0
    assert batches_before(7, 5, run.path) == 35
    assert batches_before(2, None, run.path) == 20
    assert batches_before(9, None, run.path) is None
    assert batches_before(9, None, tmp_path / "none") is None
    run.append(Snapshot(Moment(3, 2, 25), run.snapshot(0).arrays))
    assert batches_before(2, None, run.path) == 20


@pytest.mark.parametrize("every", [2, 3, 7])
def test_an_epoch_begins_where_a_snapshot_within_it_says(make_run, every):
    """Of epochs of ten batches with a snapshot every 2, 3 or 7: 10 and 20, whatever was taken."""
    run = make_run(steps=())
    arrays = {"conv1/kernel": (3, 3, 1, 4), "conv2/kernel": (3, 3, 4, 6)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in arrays.items()}
    position = TrainingProgress(by_batch=True)
    position.start_fit(0, again=False)
    for epoch in range(3):
        position.start_epoch()
        for batch in range(10):
            position.finish_batch(batch, None)
            if position.count % every == 0:
                run.append(Snapshot(position.moment({}), arrays))
        position.finish_epoch(epoch, None)
    assert [batches_before(epoch, None, run.path) for epoch in (0, 1, 2)] == [0, 10, 20]
    assert batches_before(3, None, run.path) is None


def test_batches_of_fits_that_differ_are_added_up():
    """Three epochs of 10 batches and one of 20: 50, not four times 20."""
    position = TrainingProgress(by_batch=False)
    for fit, (epochs, steps) in enumerate([(3, 10), (1, 20)]):
        position.start_fit(0, again=fit > 0, planned=epochs)
        for epoch in range(epochs):
            position.start_epoch()
            position.finish_epoch(epoch, steps)
    moment = position.moment({})
    assert (moment.epoch, moment.epochs, moment.batch) == (4, 4, 50)


def test_steps_go_on_where_the_batches_before_are_not_known():
    """They count from there; the moment does not claim to know the batches."""
    position = TrainingProgress(by_batch=True)
    position.start_fit(5, again=False)
    position.start_from(None)
    position.offset = 40
    position.start_epoch()
    position.finish_batch(2, None)
    moment = position.moment({})
    assert (moment.step, moment.epoch, moment.batch, moment.epoch_batch) == (43, 5, None, 3)


def test_a_snapshot_that_cannot_be_read_does_not_keep_the_others_from_telling(make_run):
    """One that is damaged, or a link to a file that is not there."""
    run = make_run()
    run.file(0).unlink()
    run.file(0).symlink_to("not fetched")
    run.file(1).write_bytes(b"damaged")
    assert batches_before(2, None, run.path) == 20
    assert batches_before(1, None, run.path) is None


@pytest.mark.parametrize(("first", "expected"), [(0, (19, 1, 9)), (1, (10, 1, 0))])
def test_a_fit_that_was_interrupted_in_mid_epoch(first, expected):
    """The next one goes on from there, or trains that epoch again where it says so."""
    position = TrainingProgress(by_batch=True)
    position.start_fit(0, again=False)
    for epoch, batches in enumerate((10, 9)):
        position.start_epoch()
        for batch in range(batches):
            position.finish_batch(batch, 10)
        if batches == 10:
            position.finish_epoch(epoch, 10)
    assert position.start_fit(first, again=True)
    moment = position.moment({})
    assert (moment.batch, moment.epoch, moment.epoch_batch) == expected
    position.start_epoch()
    assert position.moment({}).epoch_batch == 0
