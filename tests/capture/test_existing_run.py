import pytest

from filtertrack import FilterTracker, FiltertrackError, Run
from filtertrack.capture.run_writer import RunWriter


def loop(model, data, tracker, steps):
    tracker.set_model(model)
    for step in steps:
        model.train_on_batch(*data)
        tracker.snapshot(step)
    tracker.close()


def test_a_users_loop_that_runs_again_is_refused(tiny_model, data, tmp_path):
    """From step 1, 5 or 20, with the remedies, before anything is deleted."""
    loop(tiny_model, data, FilterTracker(tmp_path / "run"), range(1, 21))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.npz")}
    for first in (0, 1, 5, 20):
        with pytest.raises(FiltertrackError, match=r"Go on from step 21, .*existing='new'"):
            loop(tiny_model, data, FilterTracker(tmp_path / "run"), range(first, 22))
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.npz")} == before
    loop(tiny_model, data, FilterTracker(tmp_path / "run"), (21, 30))
    assert Run(tmp_path / "run").steps == [*range(1, 22), 30]


def test_a_users_loop_may_replace_snapshots_or_use_a_new_folder(tiny_model, data, tmp_path):
    """``"replace"`` deletes from its first step on, ``"new"`` uses a folder beside it."""
    loop(tiny_model, data, FilterTracker(tmp_path / "run"), range(1, 6))
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="new"), (1, 2))
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="new"), (3, 4))
    assert Run(tmp_path / "run").steps == [1, 2, 3, 4, 5]
    assert Run(tmp_path / "run-2").steps == [1, 2, 3, 4]
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="replace"), (4, 9))
    assert Run(tmp_path / "run").steps == [1, 2, 3, 4, 9]
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="replace"), (1, 2))
    assert Run(tmp_path / "run").steps == [1, 2]


def test_epochs_of_a_users_loop_delete_nothing(tiny_model, data, tmp_path):
    """It may continue with a lower epoch, or none: only steps count."""
    tracker = FilterTracker(tmp_path)
    tracker.set_model(tiny_model)
    for step in range(3):
        tracker.snapshot(step, epoch=5, batch=99)
    tracker.close()
    loop(tiny_model, data, FilterTracker(tmp_path), (3,))
    assert Run(tmp_path).steps == [0, 1, 2, 3]


def test_a_run_is_not_continued_with_other_layers(tiny_model, data, tmp_path):
    """The error names the layers that differ, and the remedies."""
    tiny_model.get_layer("conv2").trainable = False
    tracker = FilterTracker(tmp_path, layers=lambda layer: layer.trainable)
    tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[tracker])
    tiny_model.get_layer("conv2").trainable = True
    with pytest.raises(
        FiltertrackError, match=r"other layers \(.*conv2.* only here\).*layers="
    ) as error:
        tiny_model.fit(*data, epochs=1, verbose=0, callbacks=[tracker])
    assert len(str(error.value)) < 400


def test_an_error_names_at_most_three_layers(tmp_path, conv_info):
    """And how many more there are."""
    layers = [conv_info(f"conv{number}") for number in range(53)]
    Run.create(tmp_path, layers[:1])
    run_writer = RunWriter(tmp_path, None)
    with pytest.raises(
        FiltertrackError, match="conv1, conv2, conv3 and 49 more only here"
    ) as error:
        run_writer.open(layers, {})
    run_writer.close()
    assert "conv40" not in str(error.value)


def test_a_run_without_a_snapshot_is_continued(tiny_model, data, tmp_path):
    """It is left by a training that ended before its first snapshot."""
    tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path)])
    run = Run(tmp_path)
    for step in run.steps:
        run.remove(step)
    manifest = (run.folder / "manifest.json").read_bytes()
    tiny_model.fit(*data, verbose=0, callbacks=[FilterTracker(tmp_path)])
    assert run.steps == [0, 1]
    assert (run.folder / "manifest.json").read_bytes() == manifest
