"""Train a small CNN on photographs and track its filters: ``make demo``.

The task: to classify from which of 13 photographs a patch of 24×24 pixels comes. Training patches
come from the left four fifths of each photograph, held-out patches from the right fifth, so that
they do not overlap. The mean colour of each patch is subtracted. Otherwise colour alone solves the
task, and the filters stay flat instead of becoming edges.
"""

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "rocket",
    "stereo_motorcycle",
    "china.jpg",
    "flower.jpg",
)
SIDE = 24
TRAINING_WIDTH = 0.8
BATCH = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, draw the animation, print the results and the commands to run next."""
    options = _parse(arguments)
    try:
        import keras  # noqa: PLC0415 - an error message instead of a traceback
        import skimage  # noqa: F401, PLC0415
        import sklearn  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        print(f"demo: {error.name} is missing: pip install -e '.[demo]'", file=sys.stderr)
        return 2
    from filtertrack import FilterTracker, Run, animate  # noqa: PLC0415 - needs Keras

    start = time.monotonic()
    keras.utils.set_random_seed(options.seed)
    print(f"cutting {SIDE}x{SIDE} patches out of {len(PHOTOGRAPHS)} photographs", flush=True)
    training, held_out = make_patches(options.patches, np.random.default_rng(options.seed))
    model = make_model(len(PHOTOGRAPHS), options.epochs * -(-len(training[0]) // BATCH))
    model.fit(
        *training,
        batch_size=BATCH,
        epochs=options.epochs,
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[FilterTracker(options.run, schedule="log", existing="replace")],
    )
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    gif = animate(options.run, options.run / "evolution.gif", layers="conv1")
    _report(Run(options.run), accuracy)
    print(f"{time.monotonic() - start:.0f} seconds. Look at {shlex.quote(str(gif))}")
    _print_next_commands(options.run)
    return 0


def make_patches(
    each: int, rng: np.random.Generator
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Cut patches out of every photograph.

    Args:
        each: Training patches per photograph; a fifth as many are held out.
        rng: Chooses the positions.

    Returns:
        ``(patches, labels)`` for training and held out. Patches: ``(n, 24, 24, 3)`` float32, each
        minus its mean colour, all divided by the training patches' standard deviation.
    """
    photographs = [_photograph(name) for name in PHOTOGRAPHS]
    seams = [int(TRAINING_WIDTH * photograph.shape[1]) for photograph in photographs]
    left = [p[:, :seam] for p, seam in zip(photographs, seams, strict=True)]
    right = [p[:, seam:] for p, seam in zip(photographs, seams, strict=True)]
    seen, unseen = _cut(left, each, rng), _cut(right, each // 5, rng)
    mirrored = rng.random(len(seen)) < 0.5
    seen[mirrored] = seen[mirrored, :, ::-1]
    deviation = seen.std()
    return (
        (seen / deviation, np.repeat(np.arange(len(left)), each)),
        (unseen / deviation, np.repeat(np.arange(len(right)), each // 5)),
    )


def make_model(classes: int, batches: int) -> Any:
    """Make the CNN: three convolutions, the first with kernels of 9×9 pixels in colour.

    Args:
        classes: Number of photographs.
        batches: Batches of the whole training, over which the learning rate decays to zero.

    Returns:
        A compiled ``keras.Model``.
    """
    import keras  # noqa: PLC0415 - after the check in main
    from keras import layers  # noqa: PLC0415

    model = keras.Sequential(name="demo")
    model.add(keras.Input((SIDE, SIDE, 3)))
    for number, (filters, size, stride) in enumerate([(32, 9, 2), (48, 3, 1), (64, 3, 1)], 1):
        name = f"conv{number}"
        model.add(layers.Conv2D(filters, size, stride, "same", use_bias=False, name=name))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D() if number < 3 else layers.GlobalAveragePooling2D())
    model.add(layers.Dense(classes, activation="softmax"))
    rate = keras.optimizers.schedules.CosineDecay(0.1, batches)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, weight_decay=5e-3),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="folder (%(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="(%(default)d)")
    parser.add_argument("--patches", type=int, default=1500, help="a photograph (%(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)d)")
    return parser.parse_args(arguments)


def _photograph(name: str) -> np.ndarray:
    """Return a photograph of scikit-image or scikit-learn, in colour, with values 0..1."""
    import skimage.data  # noqa: PLC0415 - after the check in main
    from sklearn.datasets import load_sample_image  # noqa: PLC0415

    if name.endswith(".jpg"):
        image = load_sample_image(name)
    else:
        image = getattr(skimage.data, name)()
        image = image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=-1)
    return np.asarray(image[..., :3], np.float32) / 255


def _cut(areas: Sequence[np.ndarray], each: int, rng: np.random.Generator) -> np.ndarray:
    """Cut random patches out of each area and subtract the mean colour of each."""
    patches = np.empty((len(areas), each, SIDE, SIDE, 3), np.float32)
    for area, target in zip(areas, patches, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(area, (SIDE, SIDE), axis=(0, 1))
        top = rng.integers(windows.shape[0], size=each)
        left = rng.integers(windows.shape[1], size=each)
        target[:] = windows[top, left].transpose(0, 2, 3, 1)
    patches -= patches.mean(axis=(2, 3), keepdims=True)
    return patches.reshape(-1, SIDE, SIDE, 3)


def _report(run: Any, accuracy: float) -> None:
    """Print accuracy, the share of structured filters, and their labels."""
    from filtertrack import measure  # noqa: PLC0415 - with the package, in main

    layer = measure(run, layers="conv1").layers["conv1"]
    share = layer.whole["structured"]
    names, counts = np.unique(layer.filters["label"][-1], return_counts=True)
    found = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
    print(f"\nheld-out accuracy: {accuracy:.1%} (chance: {1 / len(PHOTOGRAPHS):.1%})")
    print(
        f"structured filters of conv1: {share[0]:.0%} before training, {share[-1]:.0%} after; "
        f"half had formed by batch {layer.half_formed:.0f} of {layer.steps[-1]}"
    )
    print(f"labels: {found}")


def _print_next_commands(run: Path) -> None:
    folder = Path(sys.executable).parent
    here = "" if shutil.which("filtertrack") else f"{os.path.relpath(folder)}/"
    path = shlex.quote(str(run))
    print(f"\nIn TensorBoard:   {here}filtertrack view {path}")
    print(f"Other animations: {here}filtertrack animate {path} --layers conv2 -o conv2.gif")
    print(f"In numbers:       {here}filtertrack measure {path}")


if __name__ == "__main__":
    sys.exit(main())
