"""The notebooks run from top to bottom, and show something where they are only displayed."""

import runpy
import time
from pathlib import Path

import nbformat
import pytest

PROGRAM = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "run_notebooks.py"))
FOLDER, LONGEST = PROGRAM["FOLDER"], PROGRAM["LONGEST"]
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_from_top_to_bottom(file):
    start = time.monotonic()
    PROGRAM["run_notebook"](file)
    assert time.monotonic() - start < LONGEST


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_holds_its_outputs(file):
    """Pictures, no error, nothing of the machine that ran it, and less than GitHub displays."""
    notebook = nbformat.read(file, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert file.stat().st_size < 2_000_000
