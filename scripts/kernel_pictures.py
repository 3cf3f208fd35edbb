"""Draw a picture of each kind of kernel for docs/pictures.md: ``make docs-pictures``.

Each picture is the last frame of the default animation of a small model that is trained here, on
data that is made here, or of the runs of ``demo.py`` and ``digits.py``.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from filtertrack import FilterTracker, animate

WIDTH = 560
"""Longer side of the grids of a picture, in pixels."""
SAMPLES = 1500
BASES = "ACGT"
MOTIFS = {1: "TATAAT", 2: "CATAAC"}


class Data(NamedTuple):
    """Samples and their classes."""

    samples: np.ndarray
    classes: np.ndarray


class Model(NamedTuple):
    """A small classifier.

    Attributes:
        data: Makes the samples that it is trained on.
        hidden: Makes the layers before the last one, from ``keras.layers``.
        dense: The image shapes of Dense layers that are tracked.
    """

    data: Callable[[], Data]
    hidden: Callable[[Any], list[Any]]
    dense: dict[str, tuple[int, ...]] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a small model for each kind of kernel and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="(%(default)s)")
    parser.add_argument("--digits", type=Path, default=Path("runs/digits"), help="(%(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="of each model (%(default)d)")
    options = parser.parse_args(arguments)
    folder = options.docs / "kernels"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        runs = {"demo": options.demo, "digits": options.digits}
        for name, model in MODELS.items():
            runs[name] = Path(temporary) / name
            fit(model, runs[name], options.epochs)
        for name, (run, look) in PICTURES.items():
            print(draw(runs[run], folder / f"{name}.png", look), flush=True)
    return 0


def draw(run: Path, target: Path, look: dict[str, Any]) -> Path:
    """Write the last frame of an animation of the first and the last snapshot."""
    with tempfile.TemporaryDirectory() as frames:
        options = {"size": WIDTH, **look}
        drawn = animate(run, Path(frames) / "%04d.png", **options)
        shutil.copyfile(Path(frames) / f"{drawn.frames - 1:04d}.png", target)
    return target


def fit(model: Model, run: Path, epochs: int) -> None:
    """Train a classifier and track it."""
    import keras  # noqa: PLC0415 - slow

    data = model.data()
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input(data.samples.shape[1:]), *model.hidden(keras.layers)])
    network.add(keras.layers.Dense(int(data.classes.max()) + 1, activation="softmax"))
    network.compile(
        keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    tracker = FilterTracker(run, schedule="log", existing="replace", dense=model.dense)
    network.fit(*data, epochs=epochs, batch_size=32, verbose=0, callbacks=[tracker])


def sequences() -> Data:
    """Make DNA in one-hot code; two classes contain one of two motifs that differ at their ends."""
    rng = np.random.default_rng(0)
    letters = rng.integers(0, len(BASES), (SAMPLES, 60))
    classes = rng.integers(0, 3, SAMPLES)
    for sample in np.flatnonzero(classes):
        motif = MOTIFS[int(classes[sample])]
        start = rng.integers(0, letters.shape[1] - len(motif))
        letters[sample, start : start + len(motif)] = [BASES.index(base) for base in motif]
    return Data(np.eye(len(BASES), dtype=np.float32)[letters], classes)


def movements() -> Data:
    """Make accelerometer data of three axes, each class with its frequency on its own axis."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, SAMPLES)
    samples = rng.normal(0, 0.3, (SAMPLES, 128, 3)).astype(np.float32)
    time = np.arange(128) / 32
    for sample, axis in enumerate(classes):
        phase = rng.uniform(0, 2 * np.pi)
        samples[sample, :, axis] += np.sin(2 * np.pi * (1 + 2 * axis) * time + phase)
    return Data(samples, classes)


def tones() -> Data:
    """Make noisy sound of one channel; each class has its frequency."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, SAMPLES)
    samples = rng.normal(0, 0.5, (SAMPLES, 1024, 1)).astype(np.float32)
    time = np.arange(1024) / 1024
    for sample, pitch in enumerate(classes):
        phase = rng.uniform(0, 2 * np.pi)
        samples[sample, :, 0] += np.sin(2 * np.pi * (40, 90, 180, 360)[pitch] * time + phase)
    return Data(samples, classes)


def brain_waves() -> Data:
    """Make EEG of 22 electrodes; the classes differ in frequency and in place."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, SAMPLES // 2)
    samples = rng.normal(0, 1, (SAMPLES // 2, 22, 128, 1)).astype(np.float32)
    time = np.arange(128) / 128
    for sample, kind in enumerate(classes):
        phase = rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * (14, 8)[kind] * time + phase)
        samples[sample, :, :, 0] += np.outer(np.cos(np.arange(22) / 4 + kind), wave)
    return Data(samples, classes)


def clips() -> Data:
    """Make short videos of a line that moves down or up."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 400)
    samples = rng.normal(0, 0.5, (400, 8, 12, 12, 1)).astype(np.float32)
    for sample, up in enumerate(classes):
        for frame in range(8):
            samples[sample, frame, 2 + (7 - frame if up else frame)] += 1.5
    return Data(samples, classes)


def fields() -> Data:
    """Make satellite images of four bands; each class has an edge in another band."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 400)
    samples = rng.normal(0, 0.5, (400, 16, 16, 4)).astype(np.float32)
    samples[classes == 1, :, :8, 3] += 1
    samples[classes == 0, :8, :, 1] += 1
    return Data(samples, classes)


def digits() -> Data:
    """Return scikit-learn's handwritten digits of 8x8 pixels."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - for one of the models

    found = load_digits()
    return Data(found.images[..., np.newaxis].astype(np.float32) / 16, found.target)


def masked_convolution(layers: Any) -> Any:
    """Return a convolution that sees only pixels above and to the left, as in a PixelCNN."""
    from keras import ops  # noqa: PLC0415 - slow

    class MaskedConvolution(layers.Conv2D):  # type: ignore[misc]
        mask = np.ones((7, 7, 1, 1), np.float32)
        mask[3, 3:] = mask[4:] = 0

        @property
        def effective_kernel(self) -> Any:
            return self.kernel * self.mask

        def call(self, inputs: Any) -> Any:
            sums = ops.conv(inputs, self.effective_kernel, padding=self.padding)
            return ops.relu(sums + self.bias)

    return MaskedConvolution(16, 7, padding="same", name="conv")


MODELS = {
    "sequences": Model(
        sequences,
        lambda k: [k.Conv1D(16, 8, activation="relu", name="motifs"), k.GlobalMaxPooling1D()],
    ),
    "movements": Model(
        movements,
        lambda k: [k.Conv1D(16, 9, activation="relu", name="conv"), k.GlobalAveragePooling1D()],
    ),
    "tones": Model(
        tones,
        lambda k: [
            k.Conv1D(16, 64, strides=4, activation="relu", name="conv"),
            k.GlobalAveragePooling1D(),
        ],
    ),
    "brain_waves": Model(
        brain_waves,
        lambda k: [
            k.Conv2D(8, (1, 64), padding="same", use_bias=False, name="temporal"),
            k.BatchNormalization(),
            k.DepthwiseConv2D((22, 1), depth_multiplier=2, use_bias=False, name="spatial"),
            k.BatchNormalization(),
            k.Activation("elu"),
            k.GlobalAveragePooling2D(),
        ],
    ),
    "clips": Model(
        clips,
        lambda k: [k.Conv3D(8, (3, 5, 5), activation="relu", name="conv"), k.GlobalMaxPooling3D()],
    ),
    "fields": Model(
        fields,
        lambda k: [
            k.Conv2D(16, 7, activation="relu", name="conv"),
            k.Conv2D(24, 1, activation="relu", name="mix"),
            k.GlobalMaxPooling2D(),
        ],
    ),
    "masked": Model(digits, lambda k: [masked_convolution(k), k.MaxPooling2D(), k.Flatten()]),
    "flattened": Model(
        digits,
        lambda k: [k.Flatten(), k.Dense(32, activation="relu", name="dense")],
        dense={"dense": (8, 8)},
    ),
}

PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("digits", {"layers": "conv1"}),
    "colour": ("demo", {"layers": "conv1"}),
    "smooth": ("demo", {"layers": "conv1", "smooth": True}),
    "deep": ("demo", {"layers": "conv2"}),
    "channels": ("fields", {"layers": "conv", "channels": "all", "filters": range(6)}),
    "bands": ("fields", {"layers": "conv", "channels": "bgr"}),
    "two_channels": (
        "fields",
        {"layers": "conv", "channels": (1, 3), "channel_names": ("b", "g", "r", "nir")},
    ),
    "matrix": ("fields", {"layers": "mix"}),
    "dna": ("sequences", {"channel_names": tuple(BASES)}),
    "axes": ("movements", {"channel_names": ("x", "y", "z")}),
    "sound": ("tones", {}),
    "temporal": ("brain_waves", {"layers": "temporal"}),
    "spatial": ("brain_waves", {"layers": "spatial"}),
    "video": ("clips", {}),
    "masked": ("masked", {"zero_centred": True}),
    "dense": ("flattened", {}),
    "story": ("demo", {"layers": "conv1", "filters": [0], "big": True}),
}
"""Each picture: the run, and the options of ``animate``."""


if __name__ == "__main__":
    sys.exit(main())
