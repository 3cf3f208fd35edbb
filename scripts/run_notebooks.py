"""Run the notebooks from top to bottom and keep their outputs: ``make notebooks``.

Each runs in an empty folder of its own. What libraries write to stderr is left out of the outputs:
it names the processor and the minute.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FOLDER = Path(__file__).parents[1] / "notebooks"
LONGEST = 180
"""Seconds that a notebook may take."""


def run_notebook(file: Path) -> Any:
    """Return a notebook with the outputs of a new run.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
        nbclient.exceptions.CellTimeoutError: If a cell takes too long.
    """
    notebook: Any = nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=LONGEST, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")))
    for file in parser.parse_args().notebooks:
        start = time.monotonic()
        nbformat.write(run_notebook(file), file)  # type: ignore[no-untyped-call]
        seconds = time.monotonic() - start
        print(f"{file.name}: {seconds:.0f} seconds, {file.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
