"""Train a small CNN on handwritten digits and track its filters: ``make digits``.

The textbook case: 1,797 images of 8×8 pixels that ship inside scikit-learn, 32 filters of 3×3 in
one channel, 98 % held-out accuracy. Kernels this small keep most of their random start, so the
animation shows the difference from the start beside them: that is what training has added.

The choices, and their reasons:

- Images enlarged to 32×32, interpolated: neighbouring pixels are alike, and so are the neighbouring
  weights that are learned from them.
- Dropout before the last layer: fewer errors on held-out images.
- No weight decay: it would remove the random start, and the difference would show that instead of
  what was learned.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

HELD_OUT = 360
"""Images that are not trained on: a fifth."""
BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, draw the animation, and print the results."""
    options = _parse(arguments)
    try:
        import keras  # noqa: PLC0415 - an error message instead of a traceback
        import sklearn  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        print(f"digits: {error.name} is missing: pip install -e '.[demo]'", file=sys.stderr)
        return 2
    from filtertrack import FilterTracker, animate  # noqa: PLC0415 - needs Keras

    start = time.monotonic()
    keras.utils.set_random_seed(options.seed)
    training, held_out = load_images(np.random.default_rng(options.seed))
    model = make_model(options.epochs * -(-len(training[0]) // BATCH))
    model.fit(
        *training,
        batch_size=BATCH,
        epochs=options.epochs,
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[FilterTracker(options.run, schedule="log", existing="replace")],
    )
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    gif = animate(options.run, options.run / "evolution.gif", layers="conv1")
    _report(options.run, accuracy)
    print(f"{time.monotonic() - start:.0f} seconds. Look at {shlex.quote(str(gif))}")
    return 0


def load_images(
    rng: np.random.Generator,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Load the digits of scikit-learn in random order.

    Args:
        rng: Chooses the order, and so the images that are held out.

    Returns:
        ``(images, labels)`` for training and held out. Images: ``(n, 8, 8, 1)`` float32, with mean
        0 and standard deviation 1 over the training images.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - after the check in main

    digits = load_digits()
    order = rng.permutation(len(digits.target))
    images = digits.images[order, :, :, np.newaxis].astype(np.float32)
    labels = digits.target[order]
    mean, deviation = images[HELD_OUT:].mean(), images[HELD_OUT:].std()
    images = (images - mean) / deviation
    return (images[HELD_OUT:], labels[HELD_OUT:]), (images[:HELD_OUT], labels[:HELD_OUT])


def make_model(batches: int) -> Any:
    """Make the CNN: two convolutions, the first with 32 kernels of 3×3 in one channel.

    Args:
        batches: Batches of the whole training, over which the learning rate decays to zero.

    Returns:
        A compiled ``keras.Model``.
    """
    import keras  # noqa: PLC0415 - after the check in main
    from keras import layers  # noqa: PLC0415

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.UpSampling2D(4, interpolation="bilinear"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(4),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )
    rate = keras.optimizers.schedules.CosineDecay(0.02, batches)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--run", type=Path, default=Path("runs/digits"), help="folder (%(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=20, help="(%(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)d)")
    return parser.parse_args(arguments)


def _report(folder: Path, accuracy: float) -> None:
    """Print the accuracy, and how smooth the filters and what was added to them are."""
    from filtertrack import Run  # noqa: PLC0415 - with the package, in main
    from filtertrack.measures import roughness  # noqa: PLC0415

    run = Run(folder)
    start, end = (run.kernels("conv1", run.steps[number]) for number in (0, -1))
    rough = [np.nanmean(roughness(each)) for each in (start, end, end - start)]
    print(f"\nheld-out accuracy: {accuracy:.1%} (chance: 10.0%)")
    print(
        f"mean roughness of conv1 (noise: 1): {rough[0]:.2f} before training, {rough[1]:.2f} "
        f"after; {rough[2]:.2f} of the difference"
    )


if __name__ == "__main__":
    sys.exit(main())
