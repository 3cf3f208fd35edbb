import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filtertrack import FilterTracker, Moment, Run, Snapshot
from filtertrack.capture.folder_choice import FolderChoice
from filtertrack.storage.paths import path_of
from filtertrack.storage.run_folders import last_numbered


def new(folder):
    return FolderChoice(folder, "new").new(None)


@pytest.fixture
def begun(conv_info):
    """Claim a folder and start a run there."""

    def begin(run_writer):
        run_writer.open([conv_info()], {})
        run_writer.begin()
        run_writer.put(Snapshot(Moment(0, 0), {"conv1/kernel": np.zeros((3, 3, 1, 4), np.float32)}))
        return run_writer

    return begin


def test_new_chooses_the_next_unused_folder(begun, tmp_path, caplog):
    """The log names it."""
    caplog.set_level(logging.INFO, "filtertrack")
    first = begun(new(tmp_path / "exp1"))
    second = new(tmp_path / "exp1")  # the first is still written
    third = new(tmp_path / "exp1")  # the second holds no run yet
    assert [each.folder.name for each in (first, second, third)] == ["exp1", "exp1-2", "exp1-3"]
    assert f"{tmp_path / 'exp1'} is taken: this run is in {tmp_path / 'exp1-2'}" in caplog.text
    for each in (first, second, third):
        each.close()
    again = new(tmp_path / "exp1")
    assert again.folder.name == "exp1-2", "it was claimed, but no run was started there"
    again.close()
    assert last_numbered(tmp_path / "exp1") == tmp_path / "exp1"


def test_a_folder_without_a_name_is_numbered_by_its_real_name(begun, tmp_path, monkeypatch):
    """Such as ``"."``, the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    begun(new(Path())).close()
    second = new(Path())
    assert second.folder == tmp_path / "here-2"
    second.close()


def test_processes_that_start_together_get_different_folders(tmp_path):
    """Eight processes, eight folders."""
    code = (
        "import sys, pathlib\nfrom filtertrack.capture.folder_choice import FolderChoice\n"
        "sys.stdin.readline()\n"
        "run_writer = FolderChoice(pathlib.Path(sys.argv[1]), 'new').new(None)\n"
        "print(run_writer.folder.name, flush=True)\nsys.stdin.readline()"
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


def test_new_works_on_object_storage_within_one_program(begun):
    """Which has no locks."""
    address = path_of("memory://bucket/exp1")
    first = begun(new(address))
    second = begun(new(address))
    for each in (first, second):
        each.close()
    assert str(first.folder) == "memory://bucket/exp1"
    assert str(second.folder) == "memory://bucket/exp1-2"
    assert Run("memory://bucket/exp1-2").steps == [0]


def fit(model, data, tracker, **options):
    model.fit(*data, verbose=0, callbacks=[tracker], **options)


def test_a_new_folder_is_used_for_each_model_and_tracker(tiny_model, data, tmp_path):
    """The same model continues its run."""
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
