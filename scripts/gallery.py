"""Train the networks of docs/gallery.md and draw its pictures: ``make gallery``.

The runs of ``demo.py`` and ``digits.py`` are in the gallery as well; ``docs_pictures.py`` draws
them. PyTorch is another backend: its network is trained in an environment of its own.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from demo import CLASSES, TURNS, make_patches
from filtertrack import Run, animate, plot_filters, plot_strongest_patches

SEED = 0
GAN_SIDE, GAN_CODE, GAN_BATCH = 32, 64, 64
ECG_RATE, ECG_LENGTH = 250, 320  # samples a second, samples
ECG_WAVES = {
    # milliseconds from the R wave, height, and width in milliseconds: P, Q, R, S, T
    "normal": ((-170, 0.15, 25), (-30, -0.12, 9), (0, 1.0, 10), (30, -0.25, 9), (250, 0.3, 45)),
    "ventricular": ((-40, -0.2, 25), (0, 1.1, 38), (90, -0.5, 40), (260, -0.35, 55)),
    "ST elevation": (
        *((-170, 0.15, 25), (-30, -0.12, 9), (0, 0.9, 10)),
        *((90, 0.35, 50), (220, 0.45, 55)),
    ),
}


class Scale(NamedTuple):
    """How much is trained: the whole, or little to see that everything works."""

    patches: int
    epochs: int
    gan_steps: int
    beats: int


WHOLE, QUICK = Scale(3000, 5, 3000, 3000), Scale(60, 1, 30, 120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train each network, draw it and write its figures into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--only", help=f"some networks, comma-separated: {','.join(NETWORKS)}")
    parser.add_argument("--quick", action="store_true", help="train little: checks that it works")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="(%(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else list(NETWORKS)
    if not set(names) <= set(NETWORKS):
        parser.error(f"--only: expected some of {', '.join(NETWORKS)}")
    folder = options.docs / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    page = options.docs / "gallery.md"
    for name in names:
        train, draw = NETWORKS[name]
        run = options.runs / f"gallery-{name}"
        figures = train(run, QUICK if options.quick else WHOLE)
        for file in draw(run, folder):
            print(file, flush=True)
        said = f"{figures}, {len(Run(run).steps)} snapshots."
        print(f"{name}: {said}", flush=True)
        if page.exists():
            text = page.read_text(encoding="utf-8")
            page.write_text(with_figures(text, name, said), encoding="utf-8")
    return 0


def with_figures(page: str, name: str, figures: str) -> str:
    """Return the page with the line of figures of one network replaced.

    Args:
        page: Markdown with a line ``<!-- figures of NAME -->`` before the line that is replaced.
        name: The network.
        figures: The new line.

    Raises:
        ValueError: If the page has no such line.
    """
    before, mark, rest = page.partition(f"<!-- figures of {name} -->\n")
    if not mark:
        raise ValueError(f"the page has no line <!-- figures of {name} -->")
    _, _, after = rest.partition("\n")
    return f"{before}{mark}{figures}\n{after}"


def train_deep(run: Path, scale: Scale) -> str:
    """Train six convolutions on patches of photographs; return accuracy and labels."""
    import keras  # noqa: PLC0415 - slow, and not there beside PyTorch
    from keras import layers  # noqa: PLC0415

    from filtertrack import FilterTracker, Probes  # noqa: PLC0415

    keras.utils.set_random_seed(SEED)
    training, held_out = make_patches(scale.patches, np.random.default_rng(SEED))
    small = keras.initializers.RandomNormal(stddev=0.02)
    model = keras.Sequential([keras.Input(training[0].shape[1:])])
    for number, (filters, size) in enumerate(
        ((32, 7), (48, 3), (48, 3), (64, 3), (64, 3), (64, 3))
    ):
        name = f"conv{number + 1}"
        options = {"padding": "same", "use_bias": False, "kernel_initializer": small}
        model.add(layers.Conv2D(filters, size, name=name, **options))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        if number % 2 == 0:
            model.add(layers.MaxPooling2D(3, 2, "same"))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(CLASSES, activation="softmax"))
    batches = scale.epochs * -(-len(training[0]) // 128)
    rate = keras.optimizers.schedules.CosineDecay(0.1, batches)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, weight_decay=3e-2),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    chosen = np.random.default_rng(SEED).permutation(len(held_out[0]))[:256]
    probes = Probes(held_out[0][chosen], labels=held_out[1][chosen] // TURNS, maps=8)
    tracker = FilterTracker(run, schedule="log", existing="replace", probes=probes)
    model.fit(*training, batch_size=128, epochs=scale.epochs, verbose=2, callbacks=[tracker])
    return _how_often_right(model.predict(held_out[0], verbose=0), held_out[1])


def draw_deep(run: Path, folder: Path) -> Iterator[Path]:
    """Draw the strongest patches of three depths."""
    for layer in ("conv1", "conv3", "conv6"):
        file = folder / f"deep-{layer}.png"
        plot_strongest_patches(run, layer, file, filters=range(8), dpi=100)
        yield file


def train_gan(run: Path, scale: Scale) -> str:
    """Train a discriminator against a generator of digits; return what both reached."""
    import keras  # noqa: PLC0415 - slow, and not there beside PyTorch
    import tensorflow as tf  # noqa: PLC0415

    from filtertrack import FilterTracker  # noqa: PLC0415

    keras.utils.set_random_seed(SEED)
    digits = _digits()
    generator, discriminator = _generator(keras), _discriminator(keras)
    # A strong decay removes the random start from the discriminator's filters.
    optimizers = [keras.optimizers.AdamW(4e-4, decay, beta_1=0.5) for decay in (3, 0)]
    judge = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function  # type: ignore[untyped-decorator]
    def train(real: Any) -> Any:
        codes = tf.random.normal((GAN_BATCH, GAN_CODE))
        with tf.GradientTape() as first, tf.GradientTape() as second:
            made = generator(codes, training=True)
            real_says, made_says = (discriminator(each, training=True) for each in (real, made))
            found = judge(0.9 * tf.ones_like(real_says), real_says)
            found += judge(tf.zeros_like(made_says), made_says)
            passed = judge(tf.ones_like(made_says), made_says)
        for tape, loss, model, optimizer in (
            (first, found, discriminator, optimizers[0]),
            (second, passed, generator, optimizers[1]),
        ):
            weights = model.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)
        right = tf.concat([real_says > 0, made_says < 0], 0)
        return found, passed, tf.reduce_mean(tf.cast(right, tf.float32))

    rng = np.random.default_rng(SEED)
    codes = rng.normal(size=(8, GAN_CODE)).astype(np.float32)
    shown, right = [], 0.0
    due = _log_spaced(scale.gan_steps)
    tracker = FilterTracker(run, existing="replace")
    tracker.set_model(discriminator)
    for step in range(scale.gan_steps + 1):
        if step in due:
            tracker.snapshot(step)
        if step in {0, scale.gan_steps // 30, scale.gan_steps // 5, scale.gan_steps}:
            shown.append(np.asarray(generator(codes))[..., 0])
        *_, share = train(digits[rng.integers(len(digits), size=GAN_BATCH)])
        right = float(share) if step == 0 else 0.98 * right + 0.02 * float(share)
    tracker.close()
    _save_rows(shown, run / "generated.png")
    return f"{scale.gan_steps:,} batches; the discriminator is right about {right:.0%} at the end"


def draw_gan(run: Path, folder: Path) -> Iterator[Path]:
    """Draw the discriminator's first layer, and what the generator made meanwhile."""
    yield animate(run, folder / "gan.webp", layers="conv1", delta=False, size=420).path
    yield _copied(run / "generated.png", folder / "gan-generated.png")


def train_ecg(run: Path, scale: Scale) -> str:
    """Train a 1-D convolution on simulated heartbeats of three kinds; return its accuracy."""
    import keras  # noqa: PLC0415 - slow, and not there beside PyTorch
    from keras import layers  # noqa: PLC0415

    from filtertrack import FilterTracker  # noqa: PLC0415

    keras.utils.set_random_seed(SEED)
    beats, kinds = heartbeats(scale.beats, np.random.default_rng(SEED))
    held_out = heartbeats(600, np.random.default_rng(SEED + 1))
    model = keras.Sequential([keras.Input((ECG_LENGTH, 1))])
    model.add(layers.Conv1D(12, 96, activation="relu", name="conv"))
    model.add(layers.GlobalMaxPooling1D())
    model.add(layers.Dense(len(ECG_WAVES), activation="softmax"))
    optimizer = keras.optimizers.AdamW(2e-3, weight_decay=0.5)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    tracker = FilterTracker(run, schedule="log", existing="replace")
    model.fit(beats, kinds, batch_size=32, epochs=4 * scale.epochs, verbose=0, callbacks=[tracker])
    tracker.close()
    _draw_beats(*held_out, model.get_weights()).savefig(run / "beats.png", dpi=120)
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    return f"{len(beats):,} beats, held-out accuracy {accuracy:.1%}"


def draw_ecg(run: Path, folder: Path) -> Iterator[Path]:
    """Draw the filters as curves, before training and at the end, and beats of each kind."""
    for name, step in (("start", 0), ("end", Run(run).steps[-1])):
        file = folder / f"ecg-{name}.png"
        plot_filters(run, file, step=step, columns=6, dpi=120)
        yield file
    yield _copied(run / "beats.png", folder / "ecg-beats.png")


def heartbeats(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Simulate heartbeats as sums of Gaussian waves, in noise.

    The model is that of McSharry et al., "A dynamical model for generating synthetic
    electrocardiogram signals" (2003), without its coupling of one beat to the next.

    Args:
        count: Number of beats.
        rng: Chooses kinds, positions, heights, widths and noise.

    Returns:
        Signals ``(count, 320, 1)`` float32 of 1.28 seconds, and each signal's kind ``(count,)``.
    """
    kinds = rng.integers(len(ECG_WAVES), size=count)
    time = 1000 * np.arange(ECG_LENGTH) / ECG_RATE
    signals = np.zeros((count, ECG_LENGTH), np.float32)
    for kind, waves in enumerate(ECG_WAVES.values()):
        of_kind = np.flatnonzero(kinds == kind)[:, np.newaxis]
        middle = rng.uniform(400, 800, of_kind.shape)
        for at, height, width in waves:
            vary = rng.normal(1, 0.12, (2, *of_kind.shape))
            wave = np.exp(-(((time - middle - at) / (width * vary[0])) ** 2) / 2)
            signals[of_kind[:, 0]] += height * vary[1] * wave
    wander = rng.normal(0, 0.15, (count, 1)) * np.sin(
        2 * np.pi * time / rng.uniform(1500, 4000, (count, 1)) + rng.uniform(0, 6, (count, 1))
    )
    signals += wander + rng.normal(0, 0.08, signals.shape)
    return signals[..., np.newaxis].astype(np.float32), kinds


def _draw_beats(signals: np.ndarray, kinds: np.ndarray, weights: Sequence[np.ndarray]) -> Figure:
    """Draw one beat of each kind, and on it a filter where its response is strongest.

    Of the filters it is the one whose weight in the last layer favours that kind most, compared
    with the kind that it favours next.

    Args:
        signals: Beats ``(n, time, 1)``.
        kinds: The kind of each, ``(n,)``.
        weights: Kernels ``(width, 1, filters)``, biases, weights ``(filters, kinds)``, biases.
    """
    kernels, favours = weights[0][:, 0], weights[2]
    time = np.arange(ECG_LENGTH) / ECG_RATE
    figure = Figure(figsize=(6.9, 2.4), layout="constrained")
    for kind, (name, axes) in enumerate(
        zip(ECG_WAVES, figure.subplots(1, len(ECG_WAVES), sharex=True, sharey=True), strict=True)
    ):
        beat = signals[kinds == kind][0, :, 0]
        margin = favours[:, kind] - np.delete(favours, kind, axis=1).max(axis=1)
        kernel = kernels[:, margin.argmax()]
        at = int(np.correlate(beat, kernel).argmax())
        window = beat[at : at + len(kernel)]
        kernel = kernel - kernel.mean()
        kernel *= window.std() / kernel.std()
        axes.plot(time, beat, color="0.6", linewidth=1)
        axes.plot(time[at : at + len(kernel)], kernel + window.mean(), color="tab:red")
        axes.set_title(f"{name}: filter {margin.argmax()}", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_xlabel("seconds", fontsize=8)
    return figure


def train_pytorch(run: Path, scale: Scale) -> str:
    """Train a PyTorch module on patches of photographs; return its accuracy."""
    import torch  # noqa: PLC0415 - in an environment of its own
    from torch import nn  # noqa: PLC0415

    from filtertrack import TorchTracker  # noqa: PLC0415

    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    training, held_out = make_patches(scale.patches, rng)
    images, seen = (
        torch.from_numpy(each[0].transpose(0, 3, 1, 2)) for each in (training, held_out)
    )
    labels = torch.from_numpy(training[1]).long()
    module = nn.Sequential(
        *(nn.Conv2d(3, 32, 9, 2, 4, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(32, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 9, CLASSES)),
    )
    nn.init.normal_(module[0].weight, std=0.01)
    epochs = 2 * scale.epochs
    batches = epochs * -(-len(images) // 128)
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9, weight_decay=3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches)
    with TorchTracker(run, module, schedule="log", existing="replace") as tracker:
        for _ in range(epochs):
            for part in np.array_split(rng.permutation(len(images)), -(-len(images) // 128)):
                loss = nn.functional.cross_entropy(module(images[part]), labels[part])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimizer.step()
                decay.step()
                tracker.step({"loss": loss})
            tracker.end_epoch()
    module.eval()
    with torch.no_grad():
        return _how_often_right(module(seen).numpy(), held_out[1])


def draw_pytorch(run: Path, folder: Path) -> Iterator[Path]:
    """Draw the first layer's evolution, with its filters in groups."""
    yield animate(
        run, folder / "pytorch.webp", layers="0", order="label", outline=True, size=420
    ).path


def _how_often_right(scores: np.ndarray, labels: np.ndarray) -> str:
    """Say how often photograph and quarter turn are told rightly, and the photograph alone."""
    told = scores.argmax(axis=1)
    both, photograph = (told == labels).mean(), (told // TURNS == labels // TURNS).mean()
    return (
        f"{len(labels):,} held-out patches: photograph and quarter turn correct {both:.0%} "
        f"(chance: {1 / CLASSES:.0%}), photograph correct {photograph:.0%}"
    )


def _copied(source: Path, file: Path) -> Path:
    file.write_bytes(source.read_bytes())
    return file


def _digits() -> np.ndarray:
    """Return scikit-learn's digits enlarged to 32x32, values from -1 to 1."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - one network needs it

    images = [Image.fromarray(np.uint8(15.9 * each)) for each in load_digits().images]
    large = [each.resize((GAN_SIDE, GAN_SIDE), Image.Resampling.BICUBIC) for each in images]
    return np.stack([np.asarray(each, np.float32) for each in large])[..., np.newaxis] / 127.5 - 1


def _generator(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential([keras.Input((GAN_CODE,)), layers.Dense(8 * 8 * 32)])
    model.add(layers.Reshape((8, 8, 32)))
    for filters in (32, 16):
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        # Transposed convolutions would draw checkerboards, which filters learn to tell.
        model.add(layers.UpSampling2D(interpolation="bilinear"))
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
    model.add(layers.BatchNormalization())
    model.add(layers.ReLU())
    model.add(layers.Conv2D(1, 5, padding="same", activation="tanh"))
    return model


def _discriminator(keras: Any) -> Any:
    layers, small = keras.layers, keras.initializers.RandomNormal(stddev=0.002)
    model = keras.Sequential([keras.Input((GAN_SIDE, GAN_SIDE, 1))])
    model.add(layers.Conv2D(24, 9, 2, "same", kernel_initializer=small, name="conv1"))
    model.add(layers.LeakyReLU(0.2))
    model.add(layers.Conv2D(48, 5, 2, "same", name="conv2"))
    model.add(layers.LeakyReLU(0.2))
    model.add(layers.Dropout(0.3))
    model.add(layers.Flatten())
    model.add(layers.Dense(1))
    return model


def _log_spaced(last: int, count: int = 40) -> set[int]:
    """Return about ``count`` steps from 0 to ``last``, close together at first."""
    return {0, *np.unique(np.geomspace(1, last, count).round().astype(int)).tolist()}


def _save_rows(rows: Sequence[np.ndarray], file: Path, zoom: int = 2) -> None:
    """Save rows of pictures of values from -1 to 1 as one picture, with white lines between."""
    lined = [[np.pad(each, 1, constant_values=1) for each in row] for row in rows]
    whole = np.concatenate([np.concatenate(row, axis=1) for row in lined])
    levels = np.uint8(np.clip(127.5 * (whole + 1), 0, 255))
    Image.fromarray(levels.repeat(zoom, 0).repeat(zoom, 1)).save(file)


Trains = Callable[[Path, Scale], str]
Draws = Callable[[Path, Path], Iterator[Path]]
NETWORKS: dict[str, tuple[Trains, Draws]] = {
    "deep": (train_deep, draw_deep),
    "gan": (train_gan, draw_gan),
    "ecg": (train_ecg, draw_ecg),
    "pytorch": (train_pytorch, draw_pytorch),
}

if __name__ == "__main__":
    sys.exit(main())
