"""Documented ways to train many times, run with the real packages as the page shows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from filtertrack import Run

pytestmark = pytest.mark.slow  # keras-tuner and scikit-learn take 40 seconds

PAGE = Path(__file__).parents[2] / "docs" / "several-fits.md"


def blocks():
    """Return the page's code blocks; the first is the common beginning."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def ran(folder, *parts):
    """Run code in a new program in a folder, and return its output."""
    code = "\n".join([blocks()[0], *parts])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def steps_in(folder):
    return {each.name: Run(each).steps for each in sorted((folder / "runs").iterdir())}


def test_each_seed_has_its_own_folder(tmp_path):
    """``run_dir`` of the tracker names it."""
    printed = ran(tmp_path, blocks()[1])
    assert printed.count("runs/seeds-3") >= 2
    assert steps_in(tmp_path) == {name: [0, 1, 2] for name in ("seeds", "seeds-2", "seeds-3")}


def test_each_execution_of_keras_tuner_has_its_own_run(tmp_path):
    """Three trials of two executions: six runs, without a failed trial."""
    pytest.importorskip("keras_tuner")
    failed = "print('trials', [t.status for t in tuner.oracle.trials.values()])"
    printed = ran(tmp_path, blocks()[2], failed)
    assert printed.count("COMPLETED") == 3, printed
    assert len(steps_in(tmp_path)) == 6
    assert all(steps == [0, 1, 2] for steps in steps_in(tmp_path).values())


def test_each_fit_of_scikit_learn_has_its_own_run(tmp_path):
    """Three folds, then four fits in two processes: seven complete runs."""
    pytest.importorskip("scikeras")
    printed = ran(tmp_path, blocks()[3], blocks()[4])
    assert "nan" not in printed
    runs = steps_in(tmp_path)
    assert len(runs) == 7, runs
    assert all(steps == [0, 1, 2] for steps in runs.values())
    assert printed.count("[0, 1, 2]") == 7


def test_the_error_of_a_second_trial_names_the_remedy(tmp_path):
    """With the default ``existing="error"``."""
    pytest.importorskip("keras_tuner")
    refused = blocks()[2].replace(', existing="new"', "")
    code = "\n".join([blocks()[0], refused])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "existing='new' for a new one beside it each time" in done.stdout + done.stderr
    assert steps_in(tmp_path) == {"tuner": [0, 1, 2]}
