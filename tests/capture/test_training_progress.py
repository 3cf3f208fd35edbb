import numpy as np
import pytest

from filtertrack import Moment, Snapshot
from filtertrack.capture.training_progress import TrainingProgress, batches_before


@pytest.mark.parametrize(("by_batch", "steps"), [(True, [0, 3, 6, 9]), (False, [0, 1, 2, 3])])
def test_epochs_and_batches_are_counted_over_two_fits(by_batch, steps):
    """Whichever of them a step is; a second fit that starts at 0 counts on."""
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


def test_batches_of_one_report_do_not_exceed_the_epoch():
    """With ``steps_per_execution`` the last report may."""
    position = TrainingProgress(by_batch=True)
    position.start_fit(0, again=False)
    position.start_epoch()
    assert [position.finish_batch(batch, 5) for batch in (1, 3, 5)] == [2, 4, 5]
    assert position.batches == 5


def test_batches_stay_unknown_if_keras_does_not_tell_them():
    """Epochs are counted all the same."""
    position = TrainingProgress(by_batch=False)
    position.start_fit(4, again=False)
    position.finish_epoch(4, None)
    assert (position.step, position.batches) == (5, None)


def test_batches_before_an_epoch_are_read_from_the_run(make_run, tmp_path):
    """In an older run, from the first snapshot of that epoch."""
    run = make_run()  # ten batches an epoch, epochs 0 to 2
    assert batches_before(0, None, run.path) == 0
    assert batches_before(7, 5, run.path) == 35
    assert batches_before(2, None, run.path) == 20
    assert batches_before(9, None, run.path) is None
    assert batches_before(9, None, tmp_path / "none") is None
    run.append(Snapshot(Moment(3, 2, 25), run.snapshot(0).arrays))
    assert batches_before(2, None, run.path) == 20


@pytest.mark.parametrize("every", [2, 3, 7])
def test_the_start_of_an_epoch_is_known_from_any_snapshot_in_it(make_run, every):
    """Of epochs of ten batches with a snapshot every 2, 3 or 7: 10 and 20."""
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


def test_batches_of_fits_of_different_lengths_are_added():
    """Three epochs of 10 batches and one of 20 are 50 batches."""
    position = TrainingProgress(by_batch=False)
    for fit, (epochs, steps) in enumerate([(3, 10), (1, 20)]):
        position.start_fit(0, again=fit > 0, planned=epochs)
        for epoch in range(epochs):
            position.start_epoch()
            position.finish_epoch(epoch, steps)
    moment = position.moment({})
    assert (moment.epoch, moment.epochs, moment.batch) == (4, 4, 50)


def test_steps_continue_if_the_batches_before_are_unknown():
    """The moment has no number of batches then."""
    position = TrainingProgress(by_batch=True)
    position.start_fit(5, again=False)
    position.start_from(None)
    position.offset = 40
    position.start_epoch()
    position.finish_batch(2, None)
    moment = position.moment({})
    assert (moment.step, moment.epoch, moment.batch, moment.epoch_batch) == (43, 5, None, 3)


def test_unreadable_snapshots_are_skipped_when_batches_are_read(make_run):
    """One that is damaged, or a link to a missing file."""
    run = make_run()
    run.file(0).unlink()
    run.file(0).symlink_to("not fetched")
    run.file(1).write_bytes(b"damaged")
    assert batches_before(2, None, run.path) == 20
    assert batches_before(1, None, run.path) is None


@pytest.mark.parametrize(("first", "expected"), [(0, (19, 1, 9)), (1, (10, 1, 0))])
def test_a_fit_after_an_interrupted_epoch_continues_or_repeats_it(first, expected):
    """It repeats the epoch if ``initial_epoch`` says so."""
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


def test_the_batch_of_an_epoch_is_unknown_until_an_epoch_was_reported():
    """A loop that may have no epochs counts batches only."""
    progress = TrainingProgress(by_batch=True, has_epochs=False)
    progress.start_fit(0, again=False)
    progress.start_epoch()
    progress.finish_batch(0, None)
    assert (progress.moment({}).batch, progress.moment({}).epoch_batch) == (1, None)
    progress.finish_epoch(0, 1)
    assert (progress.moment({}).batch, progress.moment({}).epoch_batch) == (1, 0)
    progress.start_epoch()
    progress.finish_batch(0, None)
    assert (progress.moment({}).batch, progress.moment({}).epoch_batch) == (2, 1)
