"""``plot_filters`` in a notebook that is really run."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

import filtertrack

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

_CALL = "plot_filters(np.arange(36.0).reshape(3, 3, 1, 4), axes='HWIO', dpi=100)"
_IMPORT = "import numpy as np\nfrom filtertrack import plot_filters"


@pytest.mark.filterwarnings("default")  # those of the notebook's own packages
@pytest.mark.parametrize(
    "cells",
    [
        [_IMPORT, _CALL],
        [_IMPORT, f"import matplotlib.pyplot as plt\n{_CALL}"],
        [f"%matplotlib inline\n{_IMPORT}", _CALL],
    ],
    ids=["plain", "pyplot", "inline"],
)
def test_a_cell_displays_the_figure_once(cells, monkeypatch):
    """One image, also where matplotlib displays figures by itself."""
    monkeypatch.setenv("PYTHONPATH", str(Path(filtertrack.__file__).parent.parent))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = notebook.cells[-1].outputs
    images = [output["data"]["image/png"] for output in outputs if "data" in output]
    assert len(outputs) == len(images) == 1
    with Image.open(io.BytesIO(base64.b64decode(images[0]))) as image:
        assert image.width > 300
