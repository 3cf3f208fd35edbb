import logging
import re
import subprocess
import sys

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Moment, Run, Snapshot
from filtertrack.recording import Recording, last_of_numbered


@pytest.fixture
def begun(conv_info):
    """Claim a folder and start a run there."""

    def begin(recording):
        recording.open([conv_info()], {})
        recording.begin()
        recording.put(Snapshot(Moment(0, 0), {"conv1/kernel": np.zeros((3, 3, 1, 4), np.float32)}))
        return recording

    return begin


def test_a_new_folder_each_time(begun, tmp_path, caplog):
    """The first that holds no run and in which nobody writes; the log says which."""
    caplog.set_level(logging.INFO, "filtertrack")
    first = begun(Recording.in_new_folder(tmp_path / "exp1", None))
    second = Recording.in_new_folder(tmp_path / "exp1", None)  # the first is still written
    third = Recording.in_new_folder(tmp_path / "exp1", None)  # the second holds no run yet
    assert [each.folder.name for each in (first, second, third)] == ["exp1", "exp1-2", "exp1-3"]
    assert f"{tmp_path / 'exp1'} is taken: this run is in {tmp_path / 'exp1-2'}" in caplog.text
    for each in (first, second, third):
        each.close()
    again = Recording.in_new_folder(tmp_path / "exp1", None)
    assert again.folder.name == "exp1-2", "it was claimed, but no run was started there"
    again.close()
    assert last_of_numbered(tmp_path / "exp1") == tmp_path / "exp1"


def test_a_folder_without_a_name(begun, tmp_path, monkeypatch):
    """The current one, ``"."``, has its number beside its real name."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    from pathlib import Path

    begun(Recording.in_new_folder(Path(), None)).close()
    second = Recording.in_new_folder(Path(), None)
    assert second.folder == tmp_path / "here-2"
    second.close()


def test_two_processes_never_get_the_same_folder(tmp_path):
    """Eight that begin at once: eight folders."""
    code = (
        "import sys, pathlib\nfrom filtertrack.recording import Recording\n"
        "sys.stdin.readline()\n"
        "recording = Recording.in_new_folder(pathlib.Path(sys.argv[1]), None)\n"
        "print(recording.folder.name, flush=True)\nsys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "exp")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    programs = [subprocess.Popen(command, **pipes) for _ in range(8)]
    try:
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()
        names = [program.stdout.readline().strip() for program in programs]
    finally:
        for program in programs:
            program.communicate("\n")
    assert sorted(names) == sorted({"exp", *(f"exp-{number}" for number in range(2, 9))})


def test_on_object_storage_too(begun):
    """Where there are no locks, within one program."""
    from filtertrack.places import place_of

    place = place_of("memory://bucket/exp1")
    first = begun(Recording.in_new_folder(place, None))
    second = begun(Recording.in_new_folder(place, None))
    for each in (first, second):
        each.close()
    assert str(first.folder) == "memory://bucket/exp1"
    assert str(second.folder) == "memory://bucket/exp1-2"
    assert Run("memory://bucket/exp1-2").steps == [0]


def fit(model, data, tracker, **options):
    model.fit(*data, verbose=0, callbacks=[tracker], **options)


def test_fits_with_new_folders(tiny_model, data, tmp_path):
    """The same model goes on with its run, another one and another tracker begin one."""
    import keras

    tracker = FilterTracker(tmp_path / "exp", existing="new")
    assert tracker.run_dir == tmp_path / "exp"
    fit(tiny_model, data, tracker, epochs=2)
    fit(tiny_model, data, tracker, epochs=1)
    assert Run(tmp_path / "exp").steps == [0, 1, 2, 3]
    other = keras.models.clone_model(tiny_model)
    other.compile("sgd", "mse")
    fit(other, data, tracker, epochs=1)
    assert tracker.run_dir == tmp_path / "exp-2"
    fit(other, data, FilterTracker(tmp_path / "exp", existing="new"), epochs=1)
    fit(other, data, FilterTracker(tmp_path / "exp", existing="new"), initial_epoch=1, epochs=3)
    runs = {each.name: Run(each).steps for each in tmp_path.iterdir()}
    assert runs == {"exp": [0, 1, 2, 3], "exp-2": [0, 1], "exp-3": [0, 1, 2, 3]}


def loop(model, data, tracker, steps):
    tracker.set_model(model)
    for step in steps:
        model.train_on_batch(*data)
        tracker.snapshot(step)
    tracker.close()


def test_a_loop_that_runs_again_deletes_nothing(tiny_model, data, tmp_path):
    """From step 1, 5 or 20: refused with the ways out, before anything is lost."""
    loop(tiny_model, data, FilterTracker(tmp_path / "run"), range(1, 21))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.npz")}
    for first in (0, 1, 5, 20):
        with pytest.raises(FiltertrackError, match=r"Go on from step 21, .*existing='new'"):
            loop(tiny_model, data, FilterTracker(tmp_path / "run"), range(first, 22))
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.npz")} == before
    loop(tiny_model, data, FilterTracker(tmp_path / "run"), (21, 30))
    assert Run(tmp_path / "run").steps == [*range(1, 22), 30]


def test_a_loop_that_may_replace_or_begin_anew(tiny_model, data, tmp_path):
    """``"replace"`` deletes from its first step on, ``"new"`` begins beside it."""
    loop(tiny_model, data, FilterTracker(tmp_path / "run"), range(1, 6))
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="new"), (1, 2))
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="new"), (3, 4))
    assert Run(tmp_path / "run").steps == [1, 2, 3, 4, 5]
    assert Run(tmp_path / "run-2").steps == [1, 2, 3, 4]
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="replace"), (4, 9))
    assert Run(tmp_path / "run").steps == [1, 2, 3, 4, 9]
    loop(tiny_model, data, FilterTracker(tmp_path / "run", existing="replace"), (1, 2))
    assert Run(tmp_path / "run").steps == [1, 2]


def test_epochs_of_a_loop_by_hand_delete_nothing(tiny_model, data, tmp_path):
    """A loop that goes on with a lower epoch, or none: only steps count."""
    tracker = FilterTracker(tmp_path)
    tracker.set_model(tiny_model)
    for step in range(3):
        tracker.snapshot(step, epoch=5, batch=99)
    tracker.close()
    loop(tiny_model, data, FilterTracker(tmp_path), (3,))
    assert Run(tmp_path).steps == [0, 1, 2, 3]


def test_the_announced_cost_is_about_what_is_written(tiny_model, data, tmp_path, caplog):
    """Snapshots and what is drawn of them, within a factor of two."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(32, 9, name="colour"),
            keras.layers.Conv2D(64, 3, name="deep"),
            keras.layers.Conv2D(64, 1, name="matrix"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile("sgd", "mse")
    caplog.set_level(logging.INFO, "filtertrack")
    x, y = np.zeros((2, 32, 32, 3), "float32"), np.zeros((2, 64), "float32")
    model.fit(x, y, epochs=20, verbose=0, callbacks=[FilterTracker(tmp_path)])
    said = float(re.search(r"about 21 snapshots: ([\d.]+) MB", caplog.text)[1])
    written = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) / 1e6
    assert written / 2 < said < 2 * written
