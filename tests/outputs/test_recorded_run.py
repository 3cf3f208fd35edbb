import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot, measure
from filtertrack.cli import main
from filtertrack.outputs import recorded_run
from filtertrack.outputs.recorded_run import copy_recorded_run
from filtertrack.storage.local_files import write_whole


def test_it_shows_noise_becoming_edges(tmp_path):
    run = copy_recorded_run(tmp_path / "demo")
    assert run.verify() == {}
    assert run.steps[0] == 0
    assert len(run.steps) == 30
    assert run.layers["conv1"].shape == (48, 9, 9, 3)
    structured = measure(run, steps=[0, run.steps[-1]]).layers["conv1"].whole["structured"]
    assert structured[0] <= 0.05
    assert structured[-1] >= 0.9


def contents(folder):
    """Return each file of a folder, by its path."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_complete_copy_is_kept(tmp_path):
    copy_recorded_run(tmp_path)
    (tmp_path / "page.html").touch()
    times = {path: path.stat().st_mtime_ns for path in contents(tmp_path)}
    assert len(copy_recorded_run(tmp_path).steps) == 30
    assert {path: path.stat().st_mtime_ns for path in contents(tmp_path)} == times


def test_a_copy_that_was_interrupted_is_completed(tmp_path, monkeypatch):
    """No file of it is a part of a snapshot."""
    writes = []

    def interrupt(path, write):
        writes.append(path)
        if len(writes) > 6:
            raise KeyboardInterrupt
        write_whole(path, write)

    monkeypatch.setattr(recorded_run, "write_whole", interrupt)
    with pytest.raises(KeyboardInterrupt):
        copy_recorded_run(tmp_path)
    monkeypatch.undo()
    assert len(contents(tmp_path)) == 6
    run = copy_recorded_run(tmp_path)
    assert len(run.steps) == 30
    assert run.verify() == {}


@pytest.mark.parametrize("cut", ["manifest.json", "snapshots/000000000002.npz"])
def test_files_that_are_missing_or_cut_off_are_written_again(tmp_path, cut):
    run = copy_recorded_run(tmp_path)
    whole = contents(tmp_path)
    os.truncate(tmp_path / "filters" / cut, 100)
    run.remove(run.steps[-1])
    copy_recorded_run(tmp_path)
    assert contents(tmp_path) == whole


def make_other_run(folder):
    info = replace(copy_recorded_run(folder.parent / "recorded").layers["conv1"], name="mine")
    Run.create(folder, [info])


def add_snapshot(folder):
    run = copy_recorded_run(folder)
    run.append(Snapshot(Moment(9999, 0, 0), run.snapshot(0).arrays))


def change_snapshot(folder):
    run = copy_recorded_run(folder)
    run.file(0).write_bytes(run.file(2).read_bytes())


def add_file(folder):
    folder.mkdir()
    (folder / "notes.txt").touch()


def add_file_to_part(folder):
    copy_recorded_run(folder)
    (folder / "filters" / "manifest.json").unlink()
    (folder / "page.html").touch()


@pytest.mark.parametrize(
    "fill", [make_other_run, add_snapshot, change_snapshot, add_file, add_file_to_part]
)
def test_a_folder_with_other_contents_is_refused_and_not_changed(tmp_path, fill):
    folder = tmp_path / "folder"
    fill(folder)
    before = contents(folder)
    with pytest.raises(FiltertrackError, match=r"expected a folder that is empty.*-o"):
        copy_recorded_run(folder)
    assert contents(folder) == before


def test_the_command_keeps_the_pictures_of_another_run(tmp_path, capsys):
    make_other_run(tmp_path / "mine")
    for name in ("page.html", "evolution.gif"):
        (tmp_path / "mine" / name).write_text("my own")
    before = contents(tmp_path)
    assert main(["demo", "-o", str(tmp_path / "mine"), "--no-browser"]) != 0
    assert "expected a folder that is empty" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_the_command_quotes_the_folder_for_the_shell(tmp_path, capsys):
    folder = tmp_path / "my  run; x"
    assert main(["demo", "-o", str(folder), "--no-browser"]) == 0
    assert f"next: filtertrack view '{folder}'\n" in capsys.readouterr().out


def test_the_command_draws_it_and_names_the_files(tmp_path):
    """Also without an installed Keras: no framework is loaded."""
    blocked = "import sys; sys.modules['keras'] = sys.modules['tensorflow'] = None; "
    program = blocked + "from filtertrack.cli import main; sys.exit(main(['demo', '--no-browser']))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    folder = tmp_path / "filtertrack-demo"
    assert "filtertrack view filtertrack-demo" in done.stdout
    assert (folder / "evolution.gif").stat().st_size > 100_000
    assert (folder / "page.html").stat().st_size > 100_000
    assert np.isfinite(Run(folder).kernels("conv1", 0)).all()
