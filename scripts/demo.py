"""Train a small CNN on photographs and track its filters: ``make demo``.

The task: to classify from which of 13 photographs a patch of 28×28 pixels comes, and by how many
quarter turns it is rotated (52 classes). Training patches come from the left three quarters of each
photograph, held-out patches from the right quarter, so that they do not overlap.

Why each choice was made:

- Quarter turns are part of the task, and each patch is tilted by up to 30 degrees besides: the
  edges point in many directions, and no filter is aligned with the 8×8 blocks of JPEG files.
- Photographs are reduced to about 256 pixels: this removes noise and most traces of JPEG.
- The mean colour of each patch is replaced by a random one, and three in ten patches are grey:
  otherwise colour alone solves the task, and filters stay flat instead of becoming edges.
- Each patch fades out towards its border: otherwise the border is an edge that filters learn.
- Low contrasts are raised, and colour contrasts relative to brightness: otherwise a few photographs
  dominate, and hardly any filter is coloured.
- All kernels start from N(0, 0.01²) and decay quickly: nothing is left of the random start.
- Kernels of 5×5 in the second and third layer, and pooling windows that overlap: large enough for
  patterns that are smooth.
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
TURNS = 4
CLASSES = TURNS * len(PHOTOGRAPHS)
SIDE = 28
BATCH = 128
TRAINING_WIDTH = 0.75
HEIGHT = 256
"""Shorter side of a reduced photograph in pixels, about."""
TILT = 30
"""Largest rotation besides the quarter turn, in degrees."""
GREY = 0.3
"""Share of patches without colour."""
TINT = 0.7
"""Standard deviation of the random colour of a patch, relative to that of its pixels."""
FADE_FROM = 8
"""Distance from a patch's centre in pixels from which on it fades out."""
LOW_CONTRAST = 0.01
"""Contrast (standard deviation) below which a patch is hardly raised any more."""
COLOUR_BALANCE = 0.75
"""How far colours are raised: 0 is not at all, 1 to the variance of brightness (whitening)."""


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
    model = make_model(CLASSES, options.epochs * -(-len(training[0]) // BATCH))
    model.fit(
        *training,
        batch_size=BATCH,
        epochs=options.epochs,
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            FilterTracker(
                options.run, schedule="log", existing="replace", probes=make_probes(*held_out)
            )
        ],
    )
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    gif = animate(
        options.run, options.run / "evolution.gif", layers="conv1", responses=[make_picture()]
    )
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
        rng: Chooses positions, rotations, mirror images, and which patches are grey.

    Returns:
        ``(patches, labels)`` for training and held out. Patches: ``(n, 28, 28, 3)`` float32, with
        standard deviation 1 over all training patches. Labels: 4 · photograph + quarter turn.
    """
    photographs = [_photograph(name) for name in PHOTOGRAPHS]
    seams = [int(TRAINING_WIDTH * photograph.shape[1]) for photograph in photographs]
    left = [p[:, :seam] for p, seam in zip(photographs, seams, strict=True)]
    right = [p[:, seam:] for p, seam in zip(photographs, seams, strict=True)]
    (seen, seen_labels), (unseen, unseen_labels) = (
        _cut(left, each, rng),
        _cut(right, each // 5, rng),
    )
    colours = seen.reshape(-1, 3)
    variances, axes = np.linalg.eigh(colours.T @ colours / len(colours))
    balance = ((axes * variances ** (-COLOUR_BALANCE / 2)) @ axes.T).astype(np.float32)
    balance /= (seen[::10] @ balance).std()
    seen, unseen = seen @ balance, unseen @ balance
    return (seen, seen_labels), (unseen, unseen_labels)


def make_picture(name: str = "chelsea") -> np.ndarray:
    """Return a whole photograph with the mean and contrast of the patches, for the animation."""
    photograph = _photograph(name)
    return np.asarray((photograph - photograph.mean(axis=(0, 1))) / photograph.std())


def make_probes(patches: np.ndarray, labels: np.ndarray, each: int = 4) -> Any:
    """Return some held-out patches of every photograph, with the photographs as labels."""
    from filtertrack import Probes  # noqa: PLC0415 - with the package, in main

    photographs = labels // TURNS
    places = [np.flatnonzero(photographs == n)[:each] for n in range(len(PHOTOGRAPHS))]
    chosen = np.stack(places, axis=1).ravel()  # of each photograph one, then the second of each
    return Probes(patches[chosen], labels=photographs[chosen], maps=len(PHOTOGRAPHS))


def make_model(classes: int, batches: int) -> Any:
    """Make the CNN: three convolutions, the first with 48 kernels of 9×9 pixels in colour.

    Args:
        classes: Number of classes.
        batches: Batches of the whole training, over which the learning rate decays to zero.

    Returns:
        A compiled ``keras.Model``.
    """
    import keras  # noqa: PLC0415 - after the check in main
    from keras import layers  # noqa: PLC0415

    model = keras.Sequential(name="demo")
    model.add(keras.Input((SIDE, SIDE, 3)))
    for number, (filters, size, stride) in enumerate([(48, 9, 2), (32, 5, 1), (32, 5, 1)], 1):
        small = keras.initializers.RandomNormal(stddev=0.01)
        name = f"conv{number}"
        model.add(
            layers.Conv2D(
                filters,
                size,
                stride,
                "same",
                use_bias=False,
                kernel_initializer=small,
                name=name,
            )
        )
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        if number != 2:
            model.add(layers.MaxPooling2D(3, 2, "same"))
    model.add(layers.Flatten())
    model.add(layers.Dense(classes, activation="softmax"))
    rate = keras.optimizers.schedules.CosineDecay(0.1, batches)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, weight_decay=3e-2),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="folder (%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="(%(default)d)")
    parser.add_argument("--patches", type=int, default=6000, help="a photograph (%(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)d)")
    return parser.parse_args(arguments)


def _photograph(name: str) -> np.ndarray:
    """Return a photograph of scikit-image or scikit-learn, reduced, in colour, values 0..1."""
    import skimage.data  # noqa: PLC0415 - after the check in main
    from sklearn.datasets import load_sample_image  # noqa: PLC0415

    if name.endswith(".jpg"):
        image = load_sample_image(name)
    else:
        image = getattr(skimage.data, name)()
        image = image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=-1)
    return _reduced(np.asarray(image[..., :3], np.float32) / 255)


def _reduced(image: np.ndarray) -> np.ndarray:
    """Reduce a photograph by a whole factor, at least 2, to the mean of each square of pixels."""
    factor = max(2, round(min(image.shape[:2]) / HEIGHT))
    height, width = image.shape[0] // factor, image.shape[1] // factor
    squares = image[: factor * height, : factor * width].reshape(height, factor, width, factor, 3)
    return np.asarray(squares.mean(axis=(1, 3)))


def _cut(
    areas: Sequence[np.ndarray], each: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut random patches out of each area, normalised, with their labels."""
    turns = rng.integers(TURNS, size=(len(areas), each))
    degrees = 90 * turns + rng.uniform(-TILT, TILT, turns.shape)
    patches = np.empty((len(areas), each, SIDE, SIDE, 3), np.float32)
    for area, angles, target in zip(areas, np.radians(degrees), patches, strict=True):
        target[:] = _normalised(_rotated(area, angles, rng), rng)
    labels = TURNS * np.arange(len(areas))[:, np.newaxis] + turns
    return patches.reshape(-1, SIDE, SIDE, 3), labels.ravel()


def _rotated(area: np.ndarray, angles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample one patch per angle at random positions, half of them mirrored (bilinear)."""
    down, across = _offsets()
    cos, sin = np.cos(angles)[:, np.newaxis, np.newaxis], np.sin(angles)[:, np.newaxis, np.newaxis]
    mirror = rng.choice([-1, 1], len(angles))[:, np.newaxis, np.newaxis]
    reach = np.hypot(down, across).max()
    height, width = area.shape[:2]
    top, left = (
        rng.uniform(reach, side - 1 - reach, (len(angles), 1, 1)) for side in (height, width)
    )
    return _sampled(
        area, top + down * cos - across * sin, left + (down * sin + across * cos) * mirror
    )


def _offsets() -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's offsets from a patch's centre: down ``(28, 1)``, across ``(28,)``."""
    across = np.arange(SIDE) - (SIDE - 1) / 2
    return across[:, np.newaxis], across


def _sampled(area: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolate an area between its pixels at any rows and columns (bilinear)."""
    top, left = rows.astype(int), columns.astype(int)
    down = (rows - top)[..., np.newaxis].astype(np.float32)
    across = (columns - left)[..., np.newaxis].astype(np.float32)
    upper = area[top, left] * (1 - across) + area[top, left + 1] * across
    lower = area[top + 1, left] * (1 - across) + area[top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)


def _normalised(patches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make some patches grey, subtract mean colours, fade out borders, raise low contrasts."""
    grey = rng.random(len(patches)) < GREY
    patches[grey] = patches[grey].mean(axis=-1, keepdims=True)
    down, across = _offsets()
    beyond = np.clip((np.hypot(down, across) - FADE_FROM) / (SIDE / 2 - FADE_FROM), 0, 1)
    window = np.square(np.cos(np.pi / 2 * beyond))[..., np.newaxis].astype(np.float32)
    patches -= (patches * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    tint = TINT * rng.normal(size=(len(patches), 1, 1, 3)).astype(np.float32)
    patches += tint * patches.std(axis=(1, 2, 3), keepdims=True)
    patches *= window
    patches /= np.sqrt(patches.std(axis=(1, 2, 3), keepdims=True) + LOW_CONTRAST)
    return patches


def _report(run: Any, accuracy: float) -> None:
    """Print accuracy, when filters formed, their labels and directions, and their roughness."""
    from filtertrack import measure, measures  # noqa: PLC0415 - with the package, in main

    layer = measure(run, layers="conv1").layers["conv1"]
    share, labels = layer.whole["structured"], layer.filters["label"][-1]
    kernels = run.kernels("conv1", run.steps[-1])
    names, counts = np.unique(labels, return_counts=True)
    found = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
    degrees = measures.orientation(kernels).degrees[labels == "edge"]
    directions = len(np.unique(degrees // 22.5))
    print(f"\nheld-out accuracy: {accuracy:.1%} (chance: {1 / CLASSES:.1%})")
    print(
        f"structured filters of conv1: {share[0]:.0%} before training, {share[-1]:.0%} after; "
        f"half were structured from batch {layer.half_formed:.0f} of {layer.steps[-1]} on"
    )
    print(f"labels: {found}")
    print(f"directions of the edges: {directions} of 8 (22.5 degrees each)")
    print(f"median roughness (noise: 1): {np.median(measures.roughness(kernels)):.2f}")


def _print_next_commands(run: Path) -> None:
    folder = Path(sys.executable).parent
    here = "" if shutil.which("filtertrack") else f"{os.path.relpath(folder)}/"
    path = shlex.quote(str(run))
    print(f"\nIn TensorBoard:   {here}filtertrack view {path}")
    print(f"Other animations: {here}filtertrack animate {path} --layers conv2 -o conv2.gif")
    print(f"In numbers:       {here}filtertrack measure {path}")


if __name__ == "__main__":
    sys.exit(main())
