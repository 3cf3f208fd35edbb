import subprocess
import sys

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run, measure
from filtertrack.outputs.recorded_run import copy_recorded_run


def test_it_shows_noise_becoming_edges(tmp_path):
    run = copy_recorded_run(tmp_path / "demo")
    assert run.verify() == {}
    assert run.steps[0] == 0
    assert len(run.steps) == 30
    assert run.layers["conv1"].shape == (48, 9, 9, 3)
    structured = measure(run, steps=[0, run.steps[-1]]).layers["conv1"].whole["structured"]
    assert structured[0] <= 0.05
    assert structured[-1] >= 0.9


def test_a_copy_is_kept(tmp_path):
    run = copy_recorded_run(tmp_path / "demo")
    run.remove(run.steps[-1])
    assert len(copy_recorded_run(tmp_path / "demo").steps) == 29


def test_a_folder_with_other_files_is_an_error(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FiltertrackError, match="expected a folder that is empty"):
        copy_recorded_run(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


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
