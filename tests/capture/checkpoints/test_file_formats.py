import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.checkpoint_paths import is_checkpoint, is_saved_model
from filtertrack.capture.checkpoints.file_formats import FORMATS, open_checkpoint
from filtertrack.capture.sources import open_run_at

ENDINGS = [".keras", ".h5", ".weights.h5", ".hdf5", ".pt", ".pth", ".bin", ".ckpt", ".npy", ".npz"]


@pytest.mark.parametrize("ending", [*ENDINGS, ".safetensors", ".weights.json", ".index", ".txt"])
def test_an_empty_file_is_said_to_be_empty(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    path.touch()
    with pytest.raises(FiltertrackError, match="it is empty"):
        open_checkpoint(path, axes="HWIO")


@pytest.mark.parametrize("ending", [*ENDINGS, ".weights.json"])
def test_other_content_than_the_name_says_is_named(ending, tmp_path):
    """The message does not ask for the ending that the file has."""
    path = tmp_path / f"a{ending}"
    path.write_text("<html>Not found</html>")
    with pytest.raises(FiltertrackError, match=r"it is no .*, though its name says so") as error:
        open_checkpoint(path, axes="HWIO")
    assert "ends with" not in str(error.value)


def test_an_unknown_ending_lists_those_that_are_read(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_text("text")
    with pytest.raises(FiltertrackError, match="format is not known") as error:
        open_checkpoint(path)
    assert all(ending in str(error.value) for ending in (*ENDINGS, ".safetensors"))
    assert ".hdf5" in FORMATS


def test_a_folder_without_a_checkpoint_is_said_to_be_a_folder(tmp_path):
    with pytest.raises(FiltertrackError, match="it is a folder, and no SavedModel"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("path", [".", "..", "/", ""])
def test_a_folder_without_a_name_is_no_checkpoint(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not is_checkpoint(Path(path))
    assert not is_saved_model(Path(path))
    with pytest.raises(FiltertrackError, match="no run in"):
        open_run_at(".")


@pytest.mark.parametrize("name", ["model", "model.zip", "model.bin"])
def test_a_keras_archive_is_known_by_its_content(name, save, tmp_path):
    """As a download without an ending is."""
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv")])
    path = shutil.copy(save(model, ".keras"), tmp_path / name)
    with open_checkpoint(path) as checkpoint:
        (array,) = (v for k, v in checkpoint.read().items() if k.endswith("/kernel"))
    np.testing.assert_array_equal(array, model.get_layer("conv").get_weights()[0])
