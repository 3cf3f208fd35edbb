"""The answer of ``/metrics``."""

import json

import numpy as np
import pytest

from filtertrack import Moment, Run, Snapshot
from filtertrack.outputs.metric_means import means_between
from filtertrack.web import metric_curves
from filtertrack.web.metric_curves import (
    MomentCache,
    curves_of_metrics,
    readable_moments,
    without_known,
)

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def write(tmp_path, conv_info):
    """Write a run with a snapshot for each of some moments."""

    def write(moments):
        info = conv_info(bias=False)
        run = Run.create(tmp_path / "run", [info])
        for moment in moments:
            run.append(Snapshot(moment, {info.kernel: np.zeros(info.kernel_shape, np.float32)}))
        return run

    return write


def curves(run, cache=None, **options):
    """Return an answer that JSON can hold."""
    answer = curves_of_metrics(*(cache or MomentCache()).read(run, **options))
    return json.loads(json.dumps(answer, allow_nan=False))


def of_epoch(step, **metrics):
    return Moment(step, step, 10 * step, metrics, epochs=9, epoch_batch=0, epoch_batches=10)


def of_batch(step, **metrics):
    epoch, batch = divmod(step, 4)
    return Moment(step, epoch, step, metrics, epoch_batch=batch, epoch_batches=4)


def test_values_are_the_means_that_animations_show(write):
    """Running means of an epoch become the means since the snapshot before."""
    logged = [4.0, 3.0, 2.5, 2.25, 1.0, 0.75]
    moments = [of_batch(0), *(of_batch(n, loss=loss) for n, loss in enumerate(logged, start=1))]
    shown, names = means_between(moments, [moment.metrics for moment in moments])
    answer = curves(write(moments))
    assert answer["steps"] == list(range(7))
    assert answer["metrics"] == {"loss": [None, *(log["loss"] for log in shown[1:])]}
    assert answer["metrics"]["loss"][1:] == pytest.approx([4, 2, 1.5, 1.5, 1, 0.5])
    assert answer["means"] == names == ["loss"]
    assert answer["left"] == 0


def test_moments_are_in_words(write):
    """As in captions."""
    answer = curves(write([of_batch(0), of_batch(3), of_batch(8)]))
    assert answer["when"] == ["before training", "epoch 1, batch 3 of 4", "epoch 2"]
    assert answer["metrics"] == {}


def test_values_that_are_missing_differ_from_values_that_are_not_finite(write):
    """Also where the metrics of restored weights are not known."""
    moments = [of_epoch(0), of_epoch(1, loss=NAN, val_loss=2), of_epoch(2, loss=INF)]
    moments += [of_epoch(3, loss=1 / 3), Moment(4, 3, note="restored: epoch 1")]
    assert curves(write(moments))["metrics"] == {
        "loss": [None, "NaN", "Infinity", 0.333333, "NaN"],
        "val_loss": [None, 2.0, None, None, "NaN"],
    }


def test_ends_of_epochs_have_a_number_and_a_step(write):
    """Between two snapshots, by the batches."""
    run = write([of_batch(step) for step in (0, 2, 6, 15, 16)])
    assert curves(run)["epochs"] == {"numbers": [1, 2, 3], "steps": [4.0, 8.0, 12.0]}


@pytest.mark.parametrize("last", [1200, 10**11])
def test_at_most_a_thousand_ends_of_epochs_are_sent(write, last):
    """Those with round numbers."""
    epochs = curves(write([Moment(0, 0), Moment(last, last)]))["epochs"]
    assert 400 <= len(epochs["numbers"]) <= 1000
    assert epochs["numbers"] == pytest.approx(epochs["steps"])
    assert all(number % epochs["numbers"][0] == 0 for number in epochs["numbers"])


def test_answers_are_bounded(write, monkeypatch):
    """In metrics, in the length of their names, and in snapshots; the loss is kept."""
    monkeypatch.setattr(metric_curves, "_MOST_POINTS", 4)
    many = {f"{n} {'long' * 30}": 1.0 for n in range(40)} | {"loss": 0.5, "val_loss": 1.5}
    answer = curves(write([of_epoch(step, **many) for step in range(9)]))
    assert answer["steps"] == [0, 3, 6]
    assert len(answer["metrics"]) == 16
    assert list(answer["metrics"])[:2] == ["loss", "val_loss"]
    assert max(map(len, answer["metrics"])) == 80


def test_damaged_snapshots_are_left_out_until_they_are_replaced(write):
    """Removed snapshots are left out."""
    run, cache = write([of_epoch(step, loss=step) for step in range(4)]), MomentCache()
    content = run.file(2).read_bytes()
    run.file(2).write_bytes(content[:100])
    run.remove(1)
    assert curves(run, cache)["metrics"] == {"loss": [0.0, 3.0]}
    assert [moment.step for moment in readable_moments(run)] == [0, 3]
    info = run.layers["conv1"]
    kernel = np.zeros(info.kernel_shape, np.float32)
    run.append(Snapshot(of_epoch(2, loss=7), {info.kernel: kernel}))
    run.remove(0)
    answer = curves(run, cache)
    assert (answer["steps"], answer["metrics"]) == ([2, 3], {"loss": [7.0, 3.0]})


def test_a_short_time_reads_some_snapshots_and_later_answers_the_rest(write):
    """No snapshot is read twice."""
    run, cache = write([of_epoch(step, loss=step) for step in range(5)]), MomentCache()
    reads = []

    class Counting(Run):
        def moment(self, step):
            reads.append(step)
            return super().moment(step)

    run = Counting(run.path)
    answers = [curves(run, cache, seconds=0) for _ in range(6)]
    assert [len(answer["steps"]) for answer in answers] == [1, 2, 3, 4, 5, 5]
    assert [answer["left"] for answer in answers] == [4, 3, 2, 1, 0, 0]
    assert reads == [0, 1, 2, 3, 4]


def test_the_cache_is_bounded(write, monkeypatch, tmp_path):
    """The moments of the run that was asked for last are kept."""
    monkeypatch.setattr(metric_curves, "_MOST_CACHED", 4)
    cache = MomentCache()
    write([of_epoch(step) for step in range(3)])
    (tmp_path / "run").rename(tmp_path / "one")
    other = write([of_epoch(step) for step in range(3)])
    for each in (Run(tmp_path / "one"), other):
        cache.read(each)
    assert [key[0] for key in cache._runs] == [str(other.folder)]


def test_a_run_without_snapshots_has_no_curves(write):
    answer = curves(write([]))
    assert (answer["steps"], answer["metrics"], answer["epochs"]["numbers"]) == ([], {}, [])


def test_known_snapshots_are_left_out(write):
    """A metric that begins later does not change those before."""
    moments = [of_epoch(0), of_epoch(1, loss=4.0), of_epoch(2, loss=3.0, other=1.0)]
    known = curves_of_metrics(moments[:2])["known"]
    answer = without_known(curves_of_metrics(moments), known)
    assert (answer["first"], answer["steps"], answer["when"]) == (2, [2], ["epoch 2 of 9"])
    assert answer["metrics"] == {"loss": [3.0], "other": [1.0]}
    again = without_known(curves_of_metrics(moments), answer["known"])
    assert (again["first"], again["steps"], again["metrics"]) == (3, [], {"loss": [], "other": []})


def test_all_snapshots_are_sent_where_a_known_value_has_changed(write):
    """A value, a moment, or a mean that turns out to be none; also for a text that is no name."""
    moments = [of_batch(0), of_batch(1, loss=4.0), of_batch(2, loss=3.0)]
    whole = curves_of_metrics(moments)
    known = curves_of_metrics(moments[:2])["known"]
    assert without_known(whole, known)["first"] == 2
    others = [
        [of_batch(0), of_batch(1, loss=5.0), moments[2]],
        [of_batch(0), of_epoch(1, loss=4.0), moments[2]],
        moments[1:],
    ]
    for other in others:
        assert without_known(curves_of_metrics(other), known)["first"] == 0
    impossible = curves_of_metrics([*moments, of_batch(3, loss=0.0)])  # no running mean
    assert without_known(impossible, whole["known"])["first"] == 0
    for text in ("", "2", "-1-0", "9" * 5000, "²-1", "99-" + known):
        assert without_known(whole, text) == whole
