import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest

from filtertrack import ArrayTracker, FiltertrackError, Run, animate
from filtertrack.snapshot import describe


@pytest.fixture
def kernels(rng):
    """Two kernels in the order of Keras and flax."""
    return {
        "encoder/conv1": rng.normal(size=(3, 3, 2, 4)).astype("float32"),
        "conv2": rng.normal(size=(5, 5, 4, 6)).astype("float32"),
    }


def test_snapshots_hold_the_arrays_of_each_call(kernels, tmp_path):
    """Bit for bit, with their moments; the caller may change the arrays at once."""
    expected = {}
    with ArrayTracker(tmp_path) as tracker:
        for step in (0, 10, 25):
            expected[step] = {name: kernel.copy() for name, kernel in kernels.items()}
            biases = {"conv2": np.full(6, step, "float32")}
            tracker.snapshot(
                *(step, kernels, "HWIO", biases),
                epoch=step // 10,
                batch=step,
                metrics={"loss": np.float32(1) / (1 + step), "name": "x"},
            )
            for name in kernels:
                kernels[name] += 1
            biases["conv2"][:] = -1
    run = Run(tmp_path)
    assert run.steps == [0, 10, 25]
    assert list(run.layers) == ["encoder/conv1", "conv2"]
    for step, arrays in expected.items():
        for name, kernel in arrays.items():
            stored = run.snapshot(step).arrays[f"{name}/kernel"]
            np.testing.assert_array_equal(stored, kernel, strict=True)
        np.testing.assert_array_equal(run.bias("conv2", step), np.full(6, step))
    assert run.moment(10).metrics == {"loss": pytest.approx(1 / 11)}
    assert (run.moment(25).epoch, run.moment(25).batch) == (2, 25)
    assert describe(run.moment(0)) == "before training"
    assert animate(run, tmp_path / "a.gif").frames >= 3


def test_axes_may_differ_between_kernels_and_arrays_may_be_lists(tmp_path, rng):
    """Each kernel becomes (filters, height, width, channels)."""
    torch_order = rng.normal(size=(4, 2, 3, 5))
    with ArrayTracker(tmp_path) as tracker:
        tracker.snapshot(
            0,
            {"a": torch_order, "b": [[1.0, 2.0], [3.0, 4.0]]},
            axes={"a": "OIHW", "b": "HW"},
        )
    run = Run(tmp_path)
    np.testing.assert_array_equal(run.kernels("a", 0), torch_order.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(run.kernels("b", 0)[0, :, :, 0], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("change", "axes", "biases", "message"),
    [
        (lambda k: k.pop("conv2"), "HWIO", None, "'conv2' is missing"),
        (lambda k: k.update(new=np.zeros((3, 3, 1, 2))), "HWIO", None, "'new' is new"),
        (
            lambda k: k.update(conv2=np.zeros((5, 5, 4, 7))),
            *("HWIO", None),
            r"'conv2' has shape \(5, 5, 4, 7\), before \(5, 5, 4, 6\)",
        ),
        (lambda k: None, "WHIO", None, "other axes"),
        (lambda k: None, "HWIO", {"conv2": np.zeros(6)}, "'conv2' has a bias now"),
        (lambda k: k.update(conv2=np.zeros((5, 5, 4, 6), "complex64")), "HWIO", None, "complex64"),
    ],
)
def test_kernels_that_differ_from_the_first_call_are_an_error(  # noqa: PLR0917
    kernels, tmp_path, change, axes, biases, message
):
    """It says in what; the run goes on with the next snapshot that fits."""
    tracker = ArrayTracker(tmp_path)
    tracker.snapshot(0, kernels, "HWIO")
    changed = dict(kernels)
    change(changed)
    with pytest.raises(FiltertrackError, match=message):
        tracker.snapshot(1, changed, axes, biases)
    tracker.snapshot(2, kernels, "HWIO")
    tracker.close()
    assert Run(tmp_path).steps == [0, 2]


def test_a_step_must_be_greater_than_the_last(kernels, tmp_path):
    """As with ``FilterTracker.snapshot``."""
    with ArrayTracker(tmp_path) as tracker:
        tracker.snapshot(3, kernels, "HWIO")
        with pytest.raises(FiltertrackError, match="step 3: expected more than the last, 3"):
            tracker.snapshot(3, kernels, "HWIO")


def test_metrics_are_given_by_name(kernels, tmp_path):
    """Otherwise it is an error, before anything is written."""
    with pytest.raises(FiltertrackError, match="metrics: expected name to number"):
        ArrayTracker(tmp_path).snapshot(0, kernels, "HWIO", metrics=0.5)
    assert not Run.exists(tmp_path)


def test_a_run_that_ends_before_the_step_is_continued(kernels, tmp_path):
    """By another tracker, or by the same one after ``close``; otherwise ``existing`` applies."""
    for step in (0, 1):
        with ArrayTracker(tmp_path) as tracker:
            tracker.snapshot(step, kernels, "HWIO")
    tracker.snapshot(2, kernels, "HWIO")
    tracker.close()
    assert Run(tmp_path).steps == [0, 1, 2]
    with pytest.raises(FiltertrackError, match="already holds a run, up to step 2") as error:
        ArrayTracker(tmp_path).snapshot(1, kernels, "HWIO")
    assert "FilterTracker" not in str(error.value)
    with ArrayTracker(tmp_path, existing="replace") as tracker:
        tracker.snapshot(1, kernels, "HWIO")
    assert Run(tmp_path).steps == [0, 1]
    with ArrayTracker(tmp_path, existing="new") as tracker:
        tracker.snapshot(0, kernels, "HWIO")
    assert tracker.run_dir == tmp_path.with_name(f"{tmp_path.name}-2")
    assert Run(tracker.run_dir).steps == [0]


def test_a_continued_run_must_have_the_same_kernels(kernels, tmp_path):
    """The error names the difference, and nothing is written."""
    with ArrayTracker(tmp_path) as tracker:
        tracker.snapshot(0, kernels, "HWIO")
    other = {**kernels, "conv2": np.zeros((5, 5, 4, 7))}
    with pytest.raises(FiltertrackError, match="run of other layers"):
        ArrayTracker(tmp_path).snapshot(1, other, "HWIO")
    assert Run(tmp_path).steps == [0]


def test_a_failing_disk_does_not_stop_the_loop(kernels, tmp_path, caplog):
    """Losses are logged and counted; ``strict`` raises."""
    for strict in (False, True):
        tracker = ArrayTracker(tmp_path / str(strict), strict=strict)
        tracker.snapshot(0, kernels, "HWIO")
        tracker._session._run_writer._background_writer.flush()
        shutil.rmtree(tmp_path / str(strict))
        if strict:
            with pytest.raises(FiltertrackError, match="could not write"):  # noqa: PT012
                tracker.snapshot(1, kernels, "HWIO")
                tracker.close()
        else:
            for step in (1, 2):
                tracker.snapshot(step, kernels, "HWIO")
            tracker.close()
            assert "lost 2 snapshots" in caplog.text


def test_unchanged_kernels_are_warned_of(kernels, tmp_path, caplog):
    """With a hint that suits arrays."""
    caplog.set_level(logging.WARNING, "filtertrack")
    with ArrayTracker(tmp_path) as tracker:
        for step in range(3):
            tracker.snapshot(step, kernels, "HWIO")
    warnings = [r.getMessage() for r in caplog.records if "no tracked weight" in r.getMessage()]
    assert len(warnings) == 1
    assert "the present weights" in warnings[0]


def test_arrays_of_jax_are_stored_exactly(tmp_path):
    """Also those of type bfloat16, and after their buffers were donated to the next step."""
    jax = pytest.importorskip("jax")
    weights = {"conv": jax.random.normal(jax.random.key(0), (3, 3, 1, 4))}
    update = jax.jit(lambda w: jax.tree.map(lambda v: v * 2, w), donate_argnums=0)
    expected = {}
    with ArrayTracker(tmp_path / "f32") as tracker:
        for step in range(3):
            expected[step] = np.array(weights["conv"])
            tracker.snapshot(step, weights, axes="HWIO")
            weights = update(weights)
    run = Run(tmp_path / "f32")
    for step, kernel in expected.items():
        np.testing.assert_array_equal(run.snapshot(step).arrays["conv/kernel"], kernel)
    half = weights["conv"].astype("bfloat16")
    with ArrayTracker(tmp_path / "bf16") as tracker:
        tracker.snapshot(0, {"conv": half}, axes="HWIO")
    stored = Run(tmp_path / "bf16").snapshot(0).arrays["conv/kernel"]
    np.testing.assert_array_equal(stored, np.asarray(half.astype("float32")))


def test_missing_axes_are_asked_for(kernels, tmp_path):
    """Nothing is written."""
    with pytest.raises(FiltertrackError, match=r"axes: say which axis of the kernels is which"):
        ArrayTracker(tmp_path / "run").snapshot(0, kernels)
    assert not (tmp_path / "run").exists()


def test_a_snapshot_after_close_continues_the_run(kernels, tmp_path):
    """It is stored by the next close; a step that the run has is refused."""
    tracker = ArrayTracker(tmp_path)
    tracker.snapshot(0, kernels, "HWIO")
    tracker.close()
    tracker.snapshot(1, {name: kernel + 1 for name, kernel in kernels.items()}, "HWIO")
    tracker.close()
    run = Run(tmp_path)
    assert run.steps == [0, 1]
    np.testing.assert_array_equal(run.snapshot(1).arrays["conv2/kernel"], kernels["conv2"] + 1)
    with pytest.raises(FiltertrackError):
        tracker.snapshot(1, kernels, "HWIO")


def test_a_snapshot_after_close_is_stored_when_the_program_ends(tmp_path):
    """Without another close."""
    code = (
        "import numpy as np\n"
        "from filtertrack import ArrayTracker\n"
        f"with ArrayTracker({str(tmp_path)!r}) as tracker:\n"
        "    tracker.snapshot(0, {'a': np.zeros((3, 3, 1, 2))}, 'HWIO')\n"
        "tracker.snapshot(1, {'a': np.ones((3, 3, 1, 2))}, 'HWIO')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    run = Run(tmp_path)
    assert run.steps == [0, 1]
    assert np.all(run.kernels("a", 1) == 1)
