"""``plot_filters`` in a notebook that is really run."""

import base64
import io

import pytest
from PIL import Image

_CALL = "plot_filters(np.arange(36.0).reshape(3, 3, 1, 4), axes='HWIO', dpi=100)"
_IMPORT = "import numpy as np\nfrom filtertrack import plot_filters"


@pytest.mark.parametrize(
    "cells",
    [
        [_IMPORT, _CALL],
        [_IMPORT, f"import matplotlib.pyplot as plt\n{_CALL}"],
        [f"%matplotlib inline\n{_IMPORT}", _CALL],
    ],
    ids=["plain", "pyplot", "inline"],
)
def test_a_cell_displays_the_figure_once(cells, run_notebook, tmp_path):
    """One image, also where matplotlib displays figures by itself."""
    executed = run_notebook(*cells, cwd=tmp_path)
    outputs = executed.notebook.cells[-1].outputs
    images = [shown["image/png"] for shown in executed.shown(-1)]
    assert len(outputs) == len(images) == 1
    with Image.open(io.BytesIO(base64.b64decode(images[0]))) as image:
        assert image.width > 300
