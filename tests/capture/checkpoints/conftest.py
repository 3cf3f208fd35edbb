"""Models of every kind, and each format in which Keras writes them."""

import math

import pytest


@pytest.fixture
def save(tmp_path):
    """Return a function that writes a model in one format and returns the path."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    def write(model, kind):
        path = tmp_path / f"model{kind}"
        if kind == ".weights.json":
            largest = max(math.prod(v.shape) * 4 for v in model.variables)
            model.save_weights(path, max_shard_size=1.01 * largest / 1024**3)
        elif kind == ".weights.h5":
            model.save_weights(path)
        elif kind == ".legacy-weights.h5":
            with h5py.File(path, "w") as file:
                legacy_h5_format.save_weights_to_hdf5_group(file, model)
        else:
            model.save(path)
        return path

    return write
