"""docs/trackers.md, run with the real packages, offline: ``pip install -e '.[trackers]'``."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filtertrack import Run

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs" / "trackers.md"
MODEL = """
import keras, numpy as np
model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv1"),
                          keras.layers.GlobalAveragePooling2D()])
model.compile("sgd", "mse")
x, y = np.ones((32, 8, 8, 3), "float32"), np.zeros((32, 4), "float32")
"""


def run_example(package, folder, **environment):
    """Run the code block of the page that imports a package, in its own folder."""
    pytest.importorskip(package)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (block,) = (each for each in blocks if f"import {package}\n" in each)
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run(
        [sys.executable, "-c", MODEL + block],
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        timeout=300,
    )
    return Run(folder / "runs" / "exp1")


def test_wandb_receives_every_picture(tmp_path):
    """Both grids for each step (of the first only the filters), the timelapse and the filmstrip."""
    run = run_example("wandb", tmp_path, WANDB_MODE="offline", WANDB_SILENT="true")
    (record,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    written = record.read_bytes()
    for tag in ("filters/conv1", "filters_timelapse/conv1", "filter_drift/conv1"):
        assert tag.encode() in written
    media = record.parent / "files" / "media"
    assert len(list(media.glob("images/*.png"))) == 2 * len(run.steps) - 1 + 2
    (video,) = media.glob("videos/*.gif")
    assert video.read_bytes() == (run.path / "evolution.gif").read_bytes()


def test_mlflow_stores_the_animation_and_the_run(tmp_path):
    """The downloaded run can be read."""
    uri = {"MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    run = run_example("mlflow", tmp_path, **uri)
    (artifacts,) = (tmp_path / "mlruns").glob("0/*/artifacts")
    with Image.open(artifacts / "evolution.gif") as animation:
        assert animation.n_frames == len(run.steps)
    kept = Run(artifacts / "exp1")
    assert kept.steps == run.steps
    np.testing.assert_array_equal(kept.kernels("conv1", 3), run.kernels("conv1", 3))
