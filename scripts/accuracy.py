"""Measure how often labels are right, on planted filters of known label: ``make accuracy``.

Patterns in random poses with noise of known strength must get the right label and direction.
Filters as Keras initialises them must not be labelled structured. Writes docs/accuracy.md.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from filtertrack.measures import label, orientation

KINDS = ("edge", "blob", "colour blob", "unstructured")
FINE = ("chequers", "fine stripes")
NAMES = ("edge", "blob", "fine grating", "other structure", "unstructured")
NEITHER = ("cross", "corner", "two blobs", "smooth noise")
SIZES = (3, 4, 5, 7, 9, 11)
NOISES = (1, 2, 4, 16)
CHANNELS = (1, 3)
INITIALISERS = (
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "orthogonal",
)
_LAYER = 64
"""Filters of an initialised layer."""


class Found(NamedTuple):
    """Results for planted filters of one size, number of channels and signal-to-noise ratio.

    Attributes:
        right: Share of each kind with the right label, in the order of ``KINDS``; NaN where a kind
            is impossible (colour in a grey filter). For a random filter of fewer than 5x5 pixels
            ``"unknown"`` is right.
        degrees: Median error of the edges' direction.
        edges_called_fine: Share of the edges that are labelled a fine grating.
    """

    right: tuple[float, ...]
    degrees: float
    edges_called_fine: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--each", type=int, default=500, help="filters of a kind (%(default)d)")
    parser.add_argument(
        "--random", type=int, default=4096, help="filters of an initialiser (%(default)d)"
    )
    parser.add_argument("--markdown", type=Path, help="write the tables there as well")
    options = parser.parse_args(arguments)
    text = "\n".join(_page(options.each, options.random))
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0


def plant(
    kind: str, size: int, channels: int, ratio: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Plant one filter.

    Args:
        kind: One of ``KINDS`` or ``FINE``.
        size: Side in pixels.
        channels: 1 or 3. With 3, blobs are grey; edges and fine gratings are grey or in opponent
            colours, half each.
        ratio: Variance of the pattern divided by the variance of the added normal noise.
        rng: Chooses pose and noise.

    Returns:
        The filter, ``(size, size, channels)``, and the direction of its edge, in degrees.
    """
    noise = rng.normal(size=(size, size, channels))
    if kind == "unstructured":
        return noise, np.nan
    degrees = np.nan
    if kind == "edge":
        pattern, degrees = _gabor(size, rng)
    elif kind in FINE:
        pattern = _fine_grating(kind, size, rng)
    else:
        pattern = _blob(size, rng)
    opponent = kind == "colour blob" or (kind in {"edge", *FINE} and rng.random() < 0.5)
    mixture = _opponent(rng) if opponent else np.ones(3) / np.sqrt(3)
    kernel = pattern[..., np.newaxis] * (mixture if channels == 3 else 1.0)
    varied = kernel - kernel.mean(axis=(0, 1))
    strength = np.sqrt(np.square(varied).mean() / np.square(noise).mean() / ratio)
    return kernel + strength * noise, degrees


def find(size: int, channels: int, ratio: float, each: int, rng: np.random.Generator) -> Found:
    """Plant filters of each kind and measure how many get the right label."""
    right, error, fine = [], np.nan, np.nan
    for kind in KINDS:
        if kind == "colour blob" and channels == 1:
            right.append(np.nan)
            continue
        kernels, degrees = _planted(kind, size, channels, ratio, each=each, rng=rng)
        names = label(kernels).names
        wanted = "unknown" if kind == "unstructured" and size < 5 else kind
        right.append(float((names == wanted).mean()))
        if kind == "edge":
            away = (orientation(kernels).degrees - degrees + 90) % 180 - 90
            error = float(np.nanmedian(np.abs(away)))
            fine = float((names == "fine grating").mean())
    return Found(tuple(right), error, fine)


def find_fine(
    size: int, channels: int, ratio: float, each: int, rng: np.random.Generator
) -> list[float]:
    """Return the share of each pattern in ``FINE`` that is labelled a fine grating."""
    return [
        float((label(kernels).names == "fine grating").mean())
        for kernels, _ in (
            _planted(kind, size, channels, ratio, each=each, rng=rng) for kind in FINE
        )
    ]


def _planted(
    kind: str, size: int, channels: int, ratio: float, *, each: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Plant some filters; return them and the direction of each."""
    kernels, degrees = zip(
        *(plant(kind, size, channels, ratio, rng) for _ in range(each)), strict=True
    )
    return np.stack(kernels), np.array(degrees)


def called(name: str, each: int) -> list[float]:
    """Return the share of each label in ``NAMES`` for a pattern that is neither edge nor blob."""
    rng = np.random.default_rng(0)
    kernels = []
    for _ in range(each):
        down, right = np.mgrid[:7, :7] - 3 + rng.uniform(-1, 1, (2, 1, 1))
        pattern = {
            "cross": np.exp(-(down**2)) + np.exp(-(right**2)),
            "corner": np.tanh(2 * down.clip(max=0) + 1) * np.tanh(2 * right.clip(max=0) + 1),
            "two blobs": _spot(down - 2, right - 2) + _spot(down + 2, right + 2),
            "smooth noise": rng.normal(size=(9, 9)),
        }[name]
        if name == "smooth noise":
            pattern = np.lib.stride_tricks.sliding_window_view(pattern, (3, 3)).mean(axis=(2, 3))
        kernels.append(pattern + rng.normal(size=(7, 7)) * pattern.std() / 2)
    names = label(np.stack(kernels)[..., np.newaxis]).names
    return [float((names == wanted).mean()) for wanted in NAMES]


def _spot(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-(down**2 + right**2)))


def structured_share(name: str, size: int, channels: int, filters: int) -> float:
    """Return the share of Keras's initialised filters that are labelled structured."""
    import keras  # noqa: PLC0415 - not needed for the first table

    layers = []
    for seed in range(-(-filters // _LAYER)):
        initialiser = keras.initializers.get(
            {"class_name": name, "config": {"seed": seed}, "registered_name": None}
        )
        values = keras.ops.convert_to_numpy(initialiser((size, size, channels, _LAYER)))
        layers.append(values.transpose(3, 0, 1, 2))
    return float(label(np.concatenate(layers)).structured.mean())


def _gabor(size: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Draw a Gabor pattern: from fine stripes to a single edge across the filter."""
    down, right = np.mgrid[:size, :size] - (size - 1) / 2
    angle = rng.uniform(0, np.pi)
    wave = np.exp(rng.uniform(np.log(3.0), np.log(max(3.5, 1.5 * size))))
    left, top = rng.uniform(-size / 6, size / 6, 2)
    along = np.cos(angle) * (right - left) - np.sin(angle) * (down - top)
    across = -np.sin(angle) * (right - left) - np.cos(angle) * (down - top)
    width = max(0.8, rng.uniform(0.4, 0.7) * min(wave, size))
    length = width * rng.uniform(1, 2)
    envelope = np.exp(-(across**2) / (2 * width**2) - along**2 / (2 * length**2))
    phase = rng.uniform(0, 2 * np.pi)
    return envelope * np.cos(2 * np.pi * across / wave + phase), float(np.degrees(angle))


def _blob(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a Gaussian or a difference of Gaussians, light or dark."""
    down, right = np.mgrid[:size, :size] - (size - 1) / 2
    left, top = rng.uniform(-size / 6, size / 6, 2)
    square = (right - left) ** 2 + (down - top) ** 2
    width = rng.uniform(max(0.7, size / 10), size / 4)
    spot = np.exp(-square / (2 * width**2))
    if rng.random() < 0.5:
        wider = rng.uniform(1.5, 2.5)
        surround = np.exp(-square / (2 * (wider * width) ** 2)) / wider**2
        spot = spot - rng.uniform(0.5, 1.0) * surround
    return np.asarray(spot * rng.choice([-1.0, 1.0]))


def _fine_grating(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw chequers of single pixels, or stripes of 2 to 2.2 pixels, that fade towards a side."""
    down, right = np.indices((size, size)) - (size - 1) / 2
    angle, side = rng.uniform(0, 2 * np.pi, 2)
    fade = 1 + rng.uniform(0, 1) * (np.cos(side) * right + np.sin(side) * down) / size
    if kind == "chequers":
        return np.asarray(fade * np.cos(np.pi * (down + right)))
    across = np.cos(angle) * right + np.sin(angle) * down
    # A sine of 2 pixels is zero at each pixel, so the phase is nearer to that of the cosine.
    return np.asarray(fade * np.cos(2 * np.pi * across / rng.uniform(2, 2.2) + rng.uniform(-1, 1)))


def _opponent(rng: np.random.Generator) -> np.ndarray:
    """Return random weights of red, green and blue that sum to zero."""
    mixture = rng.normal(size=3)
    mixture -= mixture.mean()
    return np.asarray(mixture / np.linalg.norm(mixture))


def _page(each: int, filters: int) -> Iterator[str]:
    yield "# How often the labels are right"
    yield ""
    yield (
        "This page measures how often the labels of [Measures](measures.md#label) are right: on "
        "filters whose pattern is known because it was planted, and on random filters. "
        "`make accuracy` writes it (`scripts/accuracy.py`, seeded: the same numbers each time)."
    )
    yield ""
    yield "## Planted filters"
    yield ""
    yield (
        f"For each row {each} filters of each kind were made, in random poses: edges are Gabors "
        "(any direction and phase, stripes from 3 pixels to 1.5 sides of the filter), blobs are "
        "Gaussians and differences of Gaussians, grey or in opponent colours, and the rest is "
        "noise. Each was covered with normal noise. *Signal to noise* is the variance of the "
        "pattern divided by that of the noise. The columns *edge* to *noise* are the share of "
        "filters with the right label. Below 5×5 pixels the right label of noise is *unknown*, "
        "because such small noise cannot be told from a pattern."
    )
    yield ""
    yield (
        "| size | channels | signal to noise | edge | blob | colour blob | noise | "
        "median error of direction |"
    )
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|"
    fine = []
    for size in SIZES:
        for channels in CHANNELS:
            for ratio in NOISES:
                rng = np.random.default_rng([size, channels, ratio])
                found = find(size, channels, ratio, each, rng)
                called_fine = [
                    *find_fine(size, channels, ratio, each, rng),
                    found.edges_called_fine,
                ]
                row = " | ".join(_share(value) for value in called_fine)
                fine.append(f"| {size}×{size} | {channels} | {ratio} | {row} |")
                shares = " | ".join(_share(value) for value in found.right)
                yield (
                    f"| {size}×{size} | {channels} | {ratio} | {shares} | {found.degrees:.1f}° |"
                )
    yield ""
    yield "## Fine gratings"
    yield ""
    yield (
        f"For each row {each} filters of each kind were made: chequers of single pixels, and "
        "stripes with a period of 2 to 2.2 pixels in any direction. The columns are the share that "
        "is called a fine grating. The last column is an error: the share of the planted edges "
        "above, whose stripes have a period of 3 pixels or more, that are called a fine grating. "
        "Below 5×5 pixels only filters that are rougher than all their shuffles are called so; the "
        "others are *unknown*."
    )
    yield ""
    yield "| size | channels | signal to noise | chequers | fine stripes | edges, by mistake |"
    yield "|--:|--:|--:|--:|--:|--:|"
    yield from fine
    yield ""
    yield "## Patterns that are neither"
    yield ""
    yield (
        f"{each} grey filters of 7×7, at a signal to noise of 4, have a pattern that is neither "
        "stripes nor a blob. The table says how they are labelled. A label says which template "
        "fits best, and that it fits better than chance. It does not say that no other pattern "
        "would fit better."
    )
    yield ""
    yield f"| pattern | {' | '.join(NAMES)} |"
    yield "|---|" + "--:|" * len(NAMES)
    for name in NEITHER:
        shares = " | ".join(f"{share:.1%}" for share in called(name, each))
        yield f"| {name} | {shares} |"
    yield ""
    yield "## Filters as Keras initialises them"
    yield ""
    yield (
        f"The table is the share of {filters} random filters that are called structured, which is "
        "an error: at most 1 in 100 may be. The values of He's and Glorot's initialisers are "
        "equal, because they differ in scale only, which labels do not depend on."
    )
    yield ""
    names = " | ".join(f"`{name}`" for name in INITIALISERS)
    yield f"| size | channels | {names} |"
    yield "|--:|--:|" + "--:|" * len(INITIALISERS)
    for size in range(3, 12):
        for channels in CHANNELS:
            shares = " | ".join(
                f"{structured_share(name, size, channels, filters):.2%}" for name in INITIALISERS
            )
            yield f"| {size}×{size} | {channels} | {shares} |"
    yield ""


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1%}"


if __name__ == "__main__":
    sys.exit(main())
