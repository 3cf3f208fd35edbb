"""Training loops without ``fit``: ``snapshot`` and ``close``, or hooks that the loop calls."""

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Run
from filtertrack.snapshot import describe

TARGETS = np.ones((32, 4), "float32")


def test_snapshot_and_close_work_with_train_on_batch(
    x,
    tmp_path,
    small,
    kernel_of,
):
    """Without ``fit``."""
    model = small()
    tracker = FilterTracker(tmp_path)
    tracker.set_model(model)
    expected = {}
    for step in range(5):
        tracker.snapshot(step, epoch=step // 2, metrics={"loss": 1.0 - 0.1 * step})
        expected[step] = kernel_of(model).copy()
        model.train_on_batch(x, TARGETS)
    with pytest.raises(FiltertrackError, match="step 4: expected more than the last, 4"):
        tracker.snapshot(4)
    tracker.close()
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4]
    for step, kernel in expected.items():
        np.testing.assert_array_equal(run.snapshot(step).arrays["conv/kernel"], kernel)
    assert run.moment(3).metrics == {"loss": pytest.approx(0.7)}
    assert run.moment(3).epoch == 1
    for step in (0, 3, 4):
        with pytest.raises(FiltertrackError, match="already holds a run, up to step 4") as error:
            tracker.snapshot(step)
        for way in ("Go on from step 5", "another folder", "existing='new'", "existing='replace'"):
            assert way in str(error.value)
    tracker.snapshot(5)
    tracker.close()
    assert run.steps == [0, 1, 2, 3, 4, 5]


def test_snapshot_without_a_model_or_weights_is_an_error(keras, tmp_path):
    """The error says what is missing."""
    tracker = FilterTracker(tmp_path)
    with pytest.raises(FiltertrackError, match=r"tracker\.set_model\(model\)"):
        tracker.snapshot(0)
    tracker.set_model(keras.Sequential([keras.layers.Conv2D(2, 3)]))
    with pytest.raises(FiltertrackError, match=r"conv2d: not built, .* on one batch"):
        tracker.snapshot(0)
    assert not Run.exists(tmp_path)


def test_hooks_may_be_called_by_a_callback_list_without_params(
    keras,
    x,
    tmp_path,
    small,
):
    """A ``CallbackList`` without epochs and steps is enough."""
    model = small()
    callbacks = keras.callbacks.CallbackList([FilterTracker(tmp_path, schedule=2)], model=model)
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(3):
            callbacks.on_train_batch_begin(batch)
            model.train_on_batch(x, TARGETS)
            callbacks.on_train_batch_end(batch)
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()
    assert Run(tmp_path).steps == [0, 2, 4, 6]


def test_captions_of_a_users_loop_show_steps(
    x,
    tmp_path,
    small,
):
    """And batches if they are given, but not "epoch 0"."""
    model = small()
    tracker = FilterTracker(tmp_path)
    tracker.set_model(model)
    for step in (0, 100, 200):
        tracker.snapshot(step)
        model.train_on_batch(x, TARGETS)
    tracker.snapshot(300, batch=1200)
    tracker.snapshot(400, epoch=2)
    tracker.close()
    run = Run(tmp_path)
    assert [describe(run.moment(step)) for step in run.steps] == [
        "before training",
        "step 100",
        "step 200",
        "batch 1200",
        "epoch 2, step 400",
    ]


def test_a_users_loop_that_changes_no_weights_is_warned_of(
    x,
    tmp_path,
    caplog,
    small,
):
    """Once, at the second snapshot, with a remedy."""
    model = small()
    tracker = FilterTracker(tmp_path / "still")
    tracker.set_model(model)
    for step in range(4):
        tracker.snapshot(step)
    tracker.close()
    logged = [r for r in caplog.records if "no tracked weight has changed" in r.getMessage()]
    assert len(logged) == 1
    assert "variable.assign(value)" in logged[0].getMessage()
    caplog.clear()
    tracker = FilterTracker(tmp_path / "moving")
    tracker.set_model(model)
    for step in range(3):
        tracker.snapshot(step)
        model.train_on_batch(x, TARGETS)
    tracker.close()
    assert "no tracked weight" not in caplog.text


@pytest.mark.parametrize("assigned", [False, True])
def test_stateless_jax_training_must_assign_the_state_before_snapshots(  # noqa: PLR0917
    keras,
    x,
    tmp_path,
    caplog,
    assigned,
    small,
):
    """Otherwise the variables keep their initial values, which is warned of."""
    if keras.backend.backend() != "jax":
        pytest.skip("stateless_call is how loops are written on jax")
    import jax

    model = small()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    def loss_of(trainable, others):
        predicted, others = model.stateless_call(trainable, others, x, training=True)
        return keras.ops.mean((predicted - TARGETS) ** 2), others

    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    state = [variable.value for variable in optimizer.variables]
    tracker = FilterTracker(tmp_path)
    tracker.set_model(model)
    for step in range(3):
        tracker.snapshot(step)
        (_, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others)
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        if assigned:
            for variable, value in zip(model.trainable_variables, trainable, strict=True):
                variable.assign(value)
    tracker.close()
    run = Run(tmp_path)
    moved = (run.kernels("conv", 0) != run.kernels("conv", 2)).any()
    assert moved == assigned
    assert ("no tracked weight has changed" in caplog.text) == (not assigned)


def halves(keras, small):
    """Return a generator and a discriminator."""
    generator = keras.Sequential(
        [keras.Input((2, 2, 4)), keras.layers.Conv2DTranspose(3, 4, 4, name="up")]
    )
    return generator, small()


def test_both_models_of_a_gan_in_a_users_loop_are_tracked(
    keras,
    x,
    tmp_path,
    small,
    kernel_of,
):
    """With a tracker each; both runs continue when the loop does."""
    generator, discriminator = halves(keras, small)
    combined = keras.Sequential([generator, discriminator])
    combined.compile("sgd", "mse")
    noise = np.random.default_rng(1).normal(size=(32, 2, 2, 4)).astype("float32")
    held_last = {}
    for first in (0, 3):
        trackers = {"g": generator, "d": discriminator}
        trackers = {FilterTracker(tmp_path / name): model for name, model in trackers.items()}
        for tracker, model in trackers.items():
            tracker.set_model(model)
        for step in range(first, first + 3):
            for tracker in trackers:
                tracker.snapshot(step, metrics={"step": step})
            held_last = {"d": kernel_of(discriminator).copy()}
            discriminator.train_on_batch(x, TARGETS)
            combined.train_on_batch(noise, TARGETS)
        for tracker in trackers:
            tracker.close()
    for name, layer in (("g", "up"), ("d", "conv")):
        run = Run(tmp_path / name)
        assert run.steps == [*range(6)]
        assert run.moment(5).metrics == {"step": 5}
        assert all((run.kernels(layer, s) != run.kernels(layer, s + 1)).any() for s in range(5))
    np.testing.assert_array_equal(
        Run(tmp_path / "d").snapshot(5).arrays["conv/kernel"], held_last["d"]
    )
