import importlib.util
import inspect
import logging
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import weakref

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run, TorchTracker
from filtertrack.snapshot import describe

torch = pytest.importorskip("torch")
nn = torch.nn


def make():
    """Return a module whose training depends on every kind of state, and its optimizer."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.3),
        nn.ReLU(),
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return module, torch.optim.Adam(module.parameters(), 0.01)


def batches(module, optimizer, number):
    """Train so many batches, and yield the loss after each."""
    x = torch.randn(8, 3, 8, 8)
    for _ in range(number):
        loss = ((module(x + 0.1 * torch.randn_like(x)) - 1) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss


IMPORTS = """
import os, sys
import numpy as np
import torch
from torch import nn
from filtertrack import TorchTracker
"""
LOOP = IMPORTS + inspect.getsource(make) + inspect.getsource(batches)


def run_program(program, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", LOOP + textwrap.dedent(program), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def weight_of(module):
    return module[0].weight.detach().numpy().copy()


def everything(module, optimizer):
    """Return weights, buffers, the optimizer's state and every random state, as bytes."""
    states = [*module.state_dict().values()]
    states += [v for s in optimizer.state_dict()["state"].values() for v in s.values()]
    tensors = [torch.as_tensor(state).numpy().tobytes() for state in states]
    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002
    return tensors, torch.get_rng_state().numpy().tobytes(), numpy_state, random.getstate()


@pytest.mark.parametrize("schedule", ["log", "epoch", 3, lambda epoch, batch: batch % 2])
def test_training_is_the_same_bit_for_bit_with_a_tracker(tmp_path, schedule):
    """With dropout, batch normalization, a spectral norm and Adam."""
    states = []
    for tracked in (False, True):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        module, optimizer = make()
        tracker = TorchTracker(tmp_path, module, schedule=schedule) if tracked else None
        for _ in range(3):
            for loss in batches(module, optimizer, 7):
                if tracker:
                    tracker.step({"loss": loss})
            if tracker:
                tracker.end_epoch()
        if tracker:
            tracker.close()
            assert len(Run(tmp_path).steps) > 3
        assert module.training
        states.append(everything(module, optimizer))
    assert states[0] == states[1]


def test_the_log_schedule_needs_no_epochs(tmp_path):
    """Each snapshot holds the weights and the metrics of its batch; step 0 is the untrained one."""
    module, optimizer = make()
    expected, losses = {0: weight_of(module)}, {}
    with TorchTracker(tmp_path, module) as tracker:
        for step, loss in enumerate(batches(module, optimizer, 25), start=1):
            expected[step], losses[step] = weight_of(module), loss.item()
            tracker.step({"loss": loss})
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 23, 25]
    for step in run.steps:
        np.testing.assert_array_equal(run.snapshot(step).arrays["0/weight"], expected[step])
        if step:
            assert run.moment(step).metrics == {"loss": pytest.approx(losses[step])}
    told = [describe(run.moment(step)) for step in (0, 1, 25)]
    assert told == ["before training", "batch 1", "batch 25"]
    assert set(run.layers) == {"0", "4"}


def test_epochs_are_counted_by_end_epoch(tmp_path):
    """An epoch's snapshot has the metrics of its last batch and of its end."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule="log") as tracker:
        for epoch in range(2):
            for loss in batches(module, optimizer, 8):
                tracker.step({"loss": loss})
            tracker.end_epoch({"val_loss": epoch})
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    assert [describe(run.moment(step)) for step in (8, 10, 16)] == [
        "epoch 1",
        "epoch 2, batch 2",
        "epoch 2",
    ]
    assert run.moment(8).metrics.keys() == {"loss", "val_loss"}
    assert run.moment(10).metrics.keys() == {"loss"}
    assert run.moment(16).metrics["val_loss"] == 1


@pytest.mark.parametrize("steps", [True, False])
def test_the_epoch_schedule_counts_epochs(tmp_path, steps):
    """Batches are known if ``step`` is called."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule="epoch") as tracker:
        for _ in range(3):
            for _ in batches(module, optimizer, 4):
                if steps:
                    tracker.step()
            tracker.end_epoch()
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3]
    assert [run.moment(step).batch for step in run.steps] == (
        [0, 4, 8, 12] if steps else [0] + 3 * [None]
    )
    assert describe(run.moment(2)) == "epoch 2"


def test_the_epoch_schedule_without_end_epoch_is_warned_of(tmp_path, caplog):
    """The final weights are stored nevertheless."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule="epoch") as tracker:
        for _ in batches(module, optimizer, 4):
            tracker.step()
    assert "4 batches since the last end_epoch" in caplog.text
    run = Run(tmp_path)
    assert run.steps == [0, 1]
    assert describe(run.moment(1)) == "batch 4"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [(10, [0, 10, 20, 25]), (lambda epoch, batch: batch in {3, 25}, [0, 3, 25])],
)
def test_snapshots_are_taken_every_n_batches_or_when_a_function_says_so(
    tmp_path, schedule, expected
):
    """The last weights are stored without a note, as they are those of the last batch."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule=schedule) as tracker:
        for _ in batches(module, optimizer, 25):
            tracker.step()
    run = Run(tmp_path)
    assert run.steps == expected
    assert not run.moment(25).note


def test_weights_restored_before_close_are_stored_with_a_note(tmp_path):
    """Those of an earlier snapshot, and others."""
    for name, note in (("best", "restored: step 2"), ("other", "changed after the last batch")):
        module, optimizer = make()
        with TorchTracker(tmp_path / name, module, schedule=1) as tracker:
            for step, _ in enumerate(batches(module, optimizer, 4), start=1):
                tracker.step()
                if step == 2:
                    held = {key: value.clone() for key, value in module.state_dict().items()}
            if name == "other":
                held = {key: value * 2 for key, value in held.items()}
            module.load_state_dict(held)
        run = Run(tmp_path / name)
        assert run.steps == [0, 1, 2, 3, 4, 5]
        assert run.moment(5).note == note
        np.testing.assert_array_equal(run.snapshot(5).arrays["0/weight"], weight_of(module))


def test_an_existing_run_is_an_error_that_says_how_to_continue(tmp_path):
    """Before training; ``existing`` chooses otherwise."""
    module, _ = make()
    TorchTracker(tmp_path / "run", module).close()
    with pytest.raises(FiltertrackError, match=r"already holds a run.*initial_step") as error:
        TorchTracker(tmp_path / "run", module)
    assert "fit" not in str(error.value)
    with TorchTracker(tmp_path / "run", module, existing="new") as tracker:
        assert tracker.run_dir == tmp_path / "run-2"
    TorchTracker(tmp_path / "run", module, existing="replace").close()
    assert Run(tmp_path / "run").steps == [0]


def test_a_killed_training_continues_its_run_from_a_checkpoint(tmp_path):
    """After SIGKILL: nothing is deleted or overwritten, and batches are counted on."""
    killed = run_program(
        """
        module, optimizer = make()
        tracker = TorchTracker("run", module, schedule=2)
        for n, loss in enumerate(batches(module, optimizer, 30), start=1):
            tracker.step({"loss": loss})
            if n == 6:
                torch.save((module.state_dict(), optimizer.state_dict()), "checkpoint.pt")
            if n == 11:
                tracker._session._run_writer._background_writer.flush()
                os.kill(os.getpid(), 9)
        """,
        tmp_path,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = Run(tmp_path / "run")
    assert run.steps == [0, 2, 4, 6, 8, 10]
    assert not run.verify()
    early = run.snapshot(4).arrays["0/weight"]
    module, optimizer = make()
    for state, each in zip(
        torch.load(tmp_path / "checkpoint.pt"), (module, optimizer), strict=True
    ):
        each.load_state_dict(state)
    with TorchTracker(tmp_path / "run", module, schedule=2, initial_step=6) as tracker:
        for _ in batches(module, optimizer, 4):
            tracker.step()
    run = Run(tmp_path / "run")
    # The run holds the weights of the checkpoint, so training repeats what followed.
    assert run.steps == [0, 2, 4, 6, 8, 10]
    assert run.moment(10).batch == 10
    assert not run.moment(10).metrics
    np.testing.assert_array_equal(run.snapshot(4).arrays["0/weight"], early)
    np.testing.assert_array_equal(run.snapshot(10).arrays["0/weight"], weight_of(module))


def test_a_checkpoint_that_the_run_lacks_deletes_nothing(tmp_path, caplog):
    """Steps go on after the last one of the run."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule=2) as tracker:
        for _ in batches(module, optimizer, 10):
            tracker.step()
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule=2, initial_step=5) as tracker:
        for _ in batches(module, optimizer, 2):
            tracker.step()
    assert Run(tmp_path).steps == [0, 2, 4, 6, 8, 10, 11, 12, 13]
    assert "steps go on after them" in caplog.text


def test_a_run_of_epochs_continues_at_initial_epoch(tmp_path):
    """With the schedules ``"epoch"`` and ``"log"``; the batches are those of the run."""
    for schedule, steps in (("epoch", [0, 1, 2, 3, 4]), ("log", [0, 1, 2, 3, 4, 5, 6, 8, 9, 12])):
        folder = tmp_path / schedule
        module, optimizer = make()
        for first in (0, 2):
            with TorchTracker(folder, module, schedule=schedule, initial_epoch=first) as tracker:
                for _ in range(2):
                    for _ in batches(module, optimizer, 3):
                        tracker.step()
                    tracker.end_epoch()
        run = Run(folder)
        assert set(steps) <= set(run.steps)
        assert not [step for step in run.steps if run.moment(step).note]
        last = run.moment(run.steps[-1])
        assert (last.epoch, last.batch) == (4, 12)


def test_initial_steps_do_not_fit_a_schedule_of_epochs(tmp_path):
    """The error names the option to give."""
    with pytest.raises(FiltertrackError, match=r"counts epochs.*give initial_epoch"):
        TorchTracker(tmp_path, make()[0], schedule="epoch", initial_step=5)
    with pytest.raises(FiltertrackError, match="initial_step: expected a whole number"):
        TorchTracker(tmp_path, make()[0], initial_step=-1)


def test_a_folder_deleted_during_training_does_not_stop_it(tmp_path, caplog):
    """One warning and a count; ``strict`` raises."""
    module, optimizer = make()
    tracker = TorchTracker(tmp_path / "run", module, schedule=1)
    tracker._session._run_writer._background_writer.flush()
    shutil.rmtree(tmp_path / "run")
    for _ in batches(module, optimizer, 3):
        tracker.step()
    tracker.close()
    assert "training goes on" in caplog.text
    assert "lost 3 snapshots" in caplog.text


def test_faults_raise_with_strict(tmp_path):
    """At the next step, or at ``close``."""
    module, optimizer = make()
    tracker = TorchTracker(tmp_path / "run", module, schedule=1, strict=True)
    tracker._session._run_writer._background_writer.flush()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FiltertrackError, match="could not write"):  # noqa: PT012
        for _ in batches(module, optimizer, 20):
            tracker.step()
            time.sleep(0.05)
        tracker.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda tracker: tracker.step(0.5), "metrics: expected name to number"),
        (lambda tracker: tracker.end_epoch(0.5), "metrics: expected name to number"),
        (lambda tracker: (tracker.close(), tracker.step()), "the tracker is closed"),
    ],
)
def test_a_wrong_call_does_not_stop_training(tmp_path, caplog, wrong, message):
    """It is a warning; with ``strict`` an error."""
    for strict in (False, True):
        tracker = TorchTracker(tmp_path / str(strict), make()[0], schedule=1, strict=strict)
        if strict:
            with pytest.raises(FiltertrackError, match=message):
                wrong(tracker)
        else:
            wrong(tracker)
            assert message in caplog.text
        tracker.close()


def test_snapshots_are_taken_and_counted_whatever_the_metrics_are(tmp_path):
    """Wrong metrics are left out."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule="log") as tracker:
        for _ in range(2):
            for loss in batches(module, optimizer, 3):
                tracker.step(loss)
            tracker.end_epoch(loss)
    run = Run(tmp_path)
    assert run.steps == [0, 1, 2, 3, 4, 5, 6]
    assert [describe(run.moment(step)) for step in (3, 4, 6)] == [
        "epoch 1",
        "epoch 2, batch 1",
        "epoch 2",
    ]
    assert not run.moment(6).metrics


def test_epochs_are_counted_if_a_snapshot_fails(tmp_path, caplog):
    """Such as one whose weights cannot be copied."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule="epoch") as tracker:
        for epoch in range(3):
            for _ in batches(module, optimizer, 3):
                tracker.step()
            weight = module[0].weight
            if epoch == 1:
                module[0].weight = None
            tracker.end_epoch()
            module[0].weight = weight
    assert "could not take a snapshot, training goes on" in caplog.text
    run = Run(tmp_path)
    assert run.steps == [0, 1, 3]
    assert (run.moment(3).batch, describe(run.moment(3))) == (9, "epoch 3")


def test_a_schedule_that_raises_does_not_stop_training(tmp_path, caplog):
    """The rest of the training is tracked."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module, schedule=lambda _, batch: batch // (batch - 2)) as tracker:
        for _ in batches(module, optimizer, 4):
            tracker.step()
    assert "training goes on" in caplog.text
    assert Run(tmp_path).steps[-1] == 4


def test_only_single_numbers_become_metrics(tmp_path):
    """Other values do not stop a snapshot."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module) as tracker:
        for loss in batches(module, optimizer, 1):
            others = {"all": torch.ones(3), "name": "a", "imaginary": torch.tensor(1j)}
            tracker.step({"loss": loss, "one": torch.ones(1), **others})
    assert Run(tmp_path).moment(1).metrics == {"loss": pytest.approx(loss.item()), "one": 1.0}


def test_the_graph_of_a_loss_is_not_kept(tmp_path):
    """Its memory is freed as without a tracker."""
    module, optimizer = make()
    with TorchTracker(tmp_path, module) as tracker:
        for loss in batches(module, optimizer, 3):
            tracker.step({"loss": loss})
            held = weakref.ref(loss)
        del loss
        assert held() is None
        assert not tracker._metrics["loss"].requires_grad


def test_an_exception_in_the_loop_closes_the_run(tmp_path):
    """The weights at that time are stored."""
    module, optimizer = make()

    def train():
        with TorchTracker(tmp_path, module, schedule=4) as tracker:
            for n, _ in enumerate(batches(module, optimizer, 9), start=1):
                tracker.step()
                if n == 6:
                    raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train()
    assert Run(tmp_path).steps == [0, 4, 6]


def test_snapshots_are_stored_if_the_program_ends_without_close(tmp_path):
    """By an error in the loop."""
    ended = run_program(
        """
        module, optimizer = make()
        tracker = TorchTracker("run", module, schedule=1)
        for n, loss in enumerate(batches(module, optimizer, 30), start=1):
            tracker.step({"loss": loss})
            if n == 20:
                raise RuntimeError("mine")
        """,
        tmp_path,
    )
    assert "RuntimeError: mine" in ended.stderr
    run = Run(tmp_path / "run")
    assert run.steps == [*range(21)]
    assert not run.verify()


def test_the_log_names_the_kernels_and_what_is_left_out(tmp_path, caplog):
    """Before training."""
    caplog.set_level(logging.INFO, "filtertrack")
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 6, 3, groups=2))
    tracker = TorchTracker(tmp_path, module)
    assert "tracking 0 in" in caplog.text
    assert "1 kernel," in caplog.text
    assert "not tracked: 1" in caplog.text
    tracker.close()
    assert Run(tmp_path).software["torch"] == torch.__version__


@pytest.mark.skipif(not importlib.util.find_spec("keras"), reason="Keras is not installed")
def test_a_model_of_keras_is_refused(tmp_path):
    """With the torch backend it is a module of torch as well; it has a callback of its own."""
    program = """
        os.environ["KERAS_BACKEND"] = "torch"
        import keras
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
        TorchTracker("run", model)
        """
    assert "give FilterTracker to its fit" in run_program(program, tmp_path).stderr
