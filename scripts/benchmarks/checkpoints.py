"""Benchmarks of checkpoint files and of responses: against h5py and the backend's convolution."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import Row, Scale, apart, in_turn, times_the_cost

_FILES = 100
_ROUNDS = 3
_WEIGHTS = ".weights.h5"
_FORMATS = (".keras", _WEIGHTS, ".h5")


def checkpoints(folder: Path, scale: Scale) -> Iterator[Row]:
    """Measure reading the kernels of many checkpoint files, and the responses of a first layer."""
    yield from apart(_reading, folder, scale)
    yield from apart(_responses, scale)


def _reading(folder: Path, scale: Scale) -> list[Row]:
    """Compare reading the convolutions of checkpoints with h5py reading the same arrays.

    The files are links to one file of each format, so that a disk does not count. What h5py reads
    beside a ``.keras`` file is the weights file of the same model.
    """
    import keras  # noqa: PLC0415 - in this process only

    from filtertrack.capture.checkpoints.file_formats import open_checkpoint  # noqa: PLC0415

    model = keras.applications.ResNet50(weights=None) if scale.large else _small_model(keras)
    count = _FILES if scale.large else 3
    files: dict[str, list[Path]] = {}
    for ending in _FORMATS:
        original = folder / f"model{ending}"
        (model.save_weights if ending == _WEIGHTS else model.save)(original)
        files[ending] = [folder / f"epoch_{number}{ending}" for number in range(count)]
        for file in files[ending]:
            os.link(original, file)
    name = "ResNet-50" if scale.large else "a small model"
    rows = []
    for ending in _FORMATS:
        theirs = files[_WEIGHTS if ending == ".keras" else ending]
        with open_checkpoint(files[ending][0]) as opened:
            arrays = opened.read()
        datasets = _datasets_of(theirs[0], list(arrays.values()))

        def ours(paths: Sequence[Path] = files[ending]) -> None:
            for path in paths:
                with open_checkpoint(path) as opened:
                    opened.read()

        def plain(paths: Sequence[Path] = theirs, names: Sequence[str] = datasets) -> None:
            for path in paths:
                _read(path, names)

        took = in_turn({"ours": ours, "theirs": plain}, min(scale.rounds, _ROUNDS))
        what = f"the {len(arrays)} arrays of convolutions of {count} {ending} files of {name}"
        rows.append(times_the_cost(f"{what}, times h5py", took["ours"], took["theirs"], 1.5))
    return rows


def _small_model(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Conv2D(8, 3), layers.Conv2D(8, 3), layers.Flatten()]
    )


def _datasets_of(file: Path, arrays: Sequence[np.ndarray]) -> list[str]:
    """Return the datasets that hold arrays: each the first of the same values."""
    import h5py  # noqa: PLC0415 - in this process only

    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "optimizer" not in name:
            found.append(name)

    with h5py.File(file) as opened:
        opened.visititems(visit)
        held = {name: opened[name][()] for name in found}
    keys = [(array.shape, array.tobytes()[:256]) for array in arrays]
    by_value: dict[Any, list[str]] = {}
    for name, array in held.items():
        by_value.setdefault((array.shape, array.tobytes()[:256]), []).append(name)
    return [by_value[key].pop() for key in keys]


def _read(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    import h5py  # noqa: PLC0415 - in this process only

    with h5py.File(file) as opened:
        return {name: opened[name][()] for name in names}


def _responses(scale: Scale) -> list[Row]:
    """Compare the responses of a first layer with TensorFlow's convolution on one thread."""
    import tensorflow as tf  # noqa: PLC0415 - in this process only

    from filtertrack.measures.convolution import convolve, same_pads  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    count = 8 if scale.large else 1
    images = rng.normal(size=(count, 224, 224, 3)).astype(np.float32)
    filters = rng.normal(size=(64, 7, 7, 3)).astype(np.float32)
    options = {"strides": (2, 2), "dilation": (1, 1)}
    pads = same_pads((224, 224), (7, 7), (2, 2), (1, 1))
    tensor, kernel = tf.constant(images), tf.constant(filters.transpose(1, 2, 3, 0))

    def ours() -> np.ndarray:
        return convolve(images, filters, **options, pads=pads)

    def theirs() -> np.ndarray:
        outputs: np.ndarray = tf.nn.conv2d(tensor, kernel, 2, "SAME").numpy()
        return outputs

    np.testing.assert_allclose(ours(), theirs(), atol=1e-3)
    took = in_turn({"ours": ours, "theirs": theirs}, scale.rounds)
    what = f"responses of 64 filters of 7x7 with stride 2 to {count} images of 224x224"
    return [times_the_cost(f"{what}, times TensorFlow", took["ours"], took["theirs"], 3)]
