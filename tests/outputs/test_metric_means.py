"""Means of metrics between snapshots."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FilterTracker, Moment, Run
from filtertrack.outputs.metric_means import means_between

BATCHES = 10


def moment(number, of=BATCHES):
    """Return the moment after a batch; the last one of an epoch ends it."""
    epoch, batch = divmod(number, of)
    return Moment(number, epoch, number, epoch_batch=batch, epoch_batches=of)


def running(values, of=BATCHES):
    """Return the running mean of each epoch's values, as Keras logs it."""
    epochs = [values[start : start + of] for start in range(0, len(values), of)]
    return [float(mean) for e in epochs for mean in np.cumsum(e) / np.arange(1, len(e) + 1)]


def at(numbers, values, name="loss"):
    """Return the means and their names at some batches, of running means in float32."""
    logged = [None, *np.float32(running(values))]
    moments = [moment(number) for number in numbers]
    logs = [{name: float(logged[n]), "loss": float(logged[n])} if n else {} for n in numbers]
    means, names = means_between(moments, logs)
    return [log.get(name) for log in means], names


@given(
    st.lists(st.floats(0, 100, width=32), min_size=2, max_size=40),
    st.sets(st.integers(0, 40), min_size=2),
)
def test_means_are_those_of_the_batches_since(values, chosen):
    """Since the snapshot before, or since the start of the epoch if that came later."""
    numbers = sorted(number for number in chosen if number <= len(values))
    if len(numbers) < 2:
        return
    means, _ = at(numbers, values)
    before = 0
    for number, mean in zip(numbers, means, strict=True):
        if number:
            start = max(before, (number - 1) // BATCHES * BATCHES)
            expected = np.mean(values[start:number])
            assert mean == pytest.approx(expected, abs=1e-5 * 100 * BATCHES, rel=0)
        before = number


def test_smooth_values_have_no_jump_at_an_epoch():
    """Running means of the same values jump."""
    values = 2.0 - 0.05 * np.arange(30)
    logged = running(values)
    means, names = at(range(1, 31), values)
    assert names == ["loss"]
    np.testing.assert_allclose(means, values, atol=1e-5)
    assert np.abs(np.diff(logged)).max() > 4 * np.abs(np.diff(means)).max()


@pytest.mark.parametrize(
    "name", ["auc", "precision", "learning_rate", "val_loss", "val_accuracy", "lossy", "my_metric"]
)
def test_other_metrics_are_kept(name):
    """They are no means over batches, or not since the start of the epoch."""
    values = np.linspace(0.9, 0.1, 20)
    means, names = at(range(1, 21), values, name)
    assert means == [float(np.float32(value)) for value in running(values)]
    assert name not in names


@pytest.mark.parametrize("name", ["accuracy", "acc", "binary_accuracy", "head_loss", "mae", "mse"])
def test_metrics_that_keras_averages_are_replaced(name):
    """Losses of outputs, accuracies and mean errors."""
    values = np.linspace(0.9, 0.1, 20)
    means, names = at(range(1, 21), values, name)
    np.testing.assert_allclose(means, values, atol=1e-5)
    assert names == ["loss", name]


def test_losses_without_a_total_are_kept():
    """A training step that logs them usually logs those of single batches."""
    logs = [{"d_loss": 1.0}, {"d_loss": 0.9}, {"d_loss": 0.8}]
    assert means_between([moment(n) for n in (1, 2, 3)], logs) == (logs, [])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("loss", [1.0, 0.2, 0.9, 0.8]),
        ("accuracy", [0.5, 0.9, 0.95, 0.99]),
        ("loss", [-1.0, -1.1, -1.2, -1.3]),
    ],
    ids=["negative", "above 1", "below 0"],
)
def test_impossible_means_are_not_shown(name, values):
    """Such values are no running means of values in their range: all are kept as logged."""
    logs = [{name: value, "loss": value} for value in values]
    means, names = means_between([moment(n) for n in (1, 2, 3, 4)], logs)
    assert [log[name] for log in means] == values
    assert name not in names


def test_means_are_in_the_possible_range_despite_rounding():
    """Float32 rounds running means: a mean of zeros, or of ones, is exact."""
    ones = running([0.0] * 3 + [1.0] * 997, 1000)
    logs = [{"loss": 1.0, "accuracy": float(np.float32(v) + np.float32(2e-8))} for v in ones]
    means, names = means_between([moment(n, 1000) for n in range(1, 1001)], logs)
    shown = np.array([log["accuracy"] for log in means])
    assert names == ["accuracy"]
    assert shown.max() <= 1
    assert shown.min() >= 0
    np.testing.assert_allclose(shown, [0.0] * 3 + [1.0] * 997, atol=2e-4)


def test_values_that_are_not_finite_are_kept():
    """The rest of the epoch is not finite then; the next epoch is."""
    values = [1.0, 2.0, np.nan, 4.0, *[3.0] * 8]
    means, names = at(range(1, 13), values)
    np.testing.assert_array_equal(np.isnan(means), [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    assert means[:2] == [1.0, 2.0]
    assert names == ["loss"]


def test_unknown_batches_are_kept():
    """Of runs by hand, and beside restored weights; of these nothing is known."""
    by_hand = [Moment(n, 0, n) for n in (1, 2, 3)]
    logs = [{"loss": 3.0}, {"loss": 2.5}, {"loss": 2.2}]
    assert means_between(by_hand, logs) == (logs, [])
    moments = [moment(1), moment(2), Moment(3, 0, 2, epoch_batch=2, note="averaged"), moment(4)]
    means, _ = means_between(moments, [{"loss": 3.0}, {"loss": 2.5}, None, {"loss": 2.0}])
    assert means == [{"loss": 3.0}, {"loss": 2.0}, None, {"loss": 1.5}]


def test_a_snapshot_without_training_since_keeps_the_mean():
    """Such as one at the last batch and one at the end of its epoch."""
    moments = [moment(4), Moment(10, 0, 10, epoch_batch=10, epoch_batches=10), moment(10)]
    means, _ = means_between(moments, [{"loss": 2.0}, {"loss": 1.4}, {"loss": 1.4}])
    assert [log["loss"] for log in means] == pytest.approx([2.0, 1.0, 1.0])


def test_a_training_is_drawn_with_the_losses_of_its_batches(tmp_path):
    """Of a real training in Keras, loss and accuracy; the last batch of an epoch is smaller."""
    import keras

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    count, size = 6 * 16 + 8, 16
    images = rng.normal(size=(count, 6, 6, 1)).astype("float32")
    classes = (images.mean(axis=(1, 2, 3)) > 0).astype("float32")
    layers = [keras.layers.Conv2D(4, 3, name="conv1"), keras.layers.Flatten()]
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), *layers, keras.layers.Dense(1, activation="sigmoid")]
    )
    model.compile(keras.optimizers.SGD(0.2), "binary_crossentropy", metrics=["accuracy"])
    own = []

    class Own(keras.callbacks.Callback):
        """Computes the loss and accuracy of each batch before its update, as Keras does."""

        def on_train_batch_begin(self, batch, logs=None):
            chosen = slice(batch * size, (batch + 1) * size)
            shares = np.asarray(self.model(images[chosen]))[:, 0]
            right = classes[chosen] == 1
            loss = -np.log(np.where(right, shares, 1 - shares))
            own.append((loss.mean(), ((shares > 0.5) == right).mean()))

    tracker = FilterTracker(tmp_path / "run", schedule=1)
    options = {"epochs": 4, "batch_size": size, "shuffle": False, "verbose": 0}
    model.fit(images, classes, callbacks=[Own(), tracker], **options)
    run = Run(tmp_path / "run")
    moments = [run.moment(step) for step in run.steps]
    means, names = means_between(moments, [moment.metrics for moment in moments])
    assert names == ["loss", "accuracy"]
    shown = np.array([[log["loss"], log["accuracy"]] for log in means[1:]])
    assert shown.shape == (28, 2)
    expected, logged = np.array(own), np.array([m.metrics["loss"] for m in moments[1:]])
    full = np.arange(28) % 7 != 6
    np.testing.assert_allclose(shown[full], expected[full], atol=2e-5)
    # The smaller batch counts as a whole one: its mean is drawn towards that of the epoch.
    for number in np.flatnonzero(~full):
        low, high = sorted([expected[number, 0], logged[number - 1]])
        assert low - 1e-5 <= shown[number, 0] <= high + 1e-5
    starts = [7, 14, 21]
    true_jumps = np.abs(expected[starts, 0] - expected[np.array(starts) - 1, 0])
    assert (np.abs(shown[starts, 0] - shown[np.array(starts) - 1, 0]) < true_jumps + 0.1).all()
