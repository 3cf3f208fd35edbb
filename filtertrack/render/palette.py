"""The colours of an animation: one palette for the whole of it, so that nothing flickers.

GIF and palette PNG give each pixel one of 256 colours. Weights get 236 of them. The rest is fixed:
the two entries that ``grid`` needs, four for outlines, the background with three ramps for
antialiased text and curves, and one that means "as before".
"""

import difflib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from filtertrack.errors import FiltertrackError
from filtertrack.measures import LABELS
from filtertrack.render.grid import (
    LEVELS,
    NOT_FINITE,
    NOT_FINITE_RGB,
    SEPARATOR,
    SEPARATOR_RGB,
    grid_palette,
)
from filtertrack.render.look import GREY, ThemeName

OUTLINE = SEPARATOR + 1
"""Entry of the first outline; those of the others follow, in the order of ``OUTLINED``."""
OUTLINED = LABELS[:4]
"""The labels whose filters are outlined."""
BACKGROUND = OUTLINE + len(OUTLINED)
"""Entry of the caption's background; the ramps follow."""
TEXT, FIRST, SECOND = range(3)
"""The ramps: for text, and for the first and the second curve of a plot."""
SHADES = 4
"""Entries of each ramp, from nearly the background to the ramp's own colour."""
TRANSPARENT = 255
"""Entry that leaves a pixel as it was."""

_SETTLED = 100
"""k-means ends when fewer than one in so many samples changes its colour: more is not seen."""
_ROWS_AT_ONCE = 256
"""So few that the product stays in the cache, and BLAS does not wake its threads for it."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours around the weights.

    Attributes:
        background: Behind the text.
        separator: Between cells; a colour that neither a dark nor a light grey cell melts into.
        text: Of the text.
        first: Of a plot's first curve.
        second: Of its second one. Orange and blue: told apart by the colour-blind, too.
        outlines: Of filters, by their label, in the order of ``OUTLINED``. After Okabe and Ito's
            colours, which are told apart by the colour-blind.
    """

    background: Rgb
    separator: Rgb
    text: Rgb
    first: Rgb
    second: Rgb
    outlines: tuple[Rgb, Rgb, Rgb, Rgb]

    @property
    def ramps(self) -> tuple[Rgb, Rgb, Rgb]:
        """The colours that ``BACKGROUND`` fades into, in the order of the palette."""
        return self.text, self.first, self.second


THEMES: dict[ThemeName, Theme] = {
    "dark": Theme(
        background=(20, 26, 38),
        separator=SEPARATOR_RGB,
        text=(236, 240, 246),
        first=(255, 176, 84),
        second=(96, 190, 255),
        outlines=((86, 180, 233), (240, 180, 40), (0, 200, 140), (226, 130, 180)),
    ),
    "light": Theme(
        background=(255, 255, 255),
        separator=(186, 200, 222),
        text=(24, 28, 36),
        first=(196, 84, 0),
        second=(0, 98, 184),
        outlines=((0, 114, 178), (190, 105, 0), (0, 150, 110), (190, 80, 140)),
    ),
}


def film_palette(theme: ThemeName = "dark", levels: np.ndarray | None = None) -> np.ndarray:
    """Put a palette together.

    Args:
        theme: Colours around the weights.
        levels: ``uint8`` array of shape ``(236, 3)``: colours of the weights; None for greys.

    Returns:
        ``uint8`` array of shape ``(256, 3)``.
    """
    look = THEMES[theme]
    colours = grid_palette()
    if levels is not None:
        colours[:LEVELS] = levels
    colours[SEPARATOR] = look.separator
    colours[OUTLINE:BACKGROUND] = look.outlines
    colours[BACKGROUND] = look.background
    for number, end in enumerate(look.ramps):
        start = ramp_entry(number, 1)
        steps = np.linspace(look.background, end, SHADES + 1)[1:]
        colours[start : start + SHADES] = np.rint(steps)
    return colours


def outline_entries(labels: np.ndarray) -> np.ndarray:
    """Return the entry of each label's outline; the separator's where it has none.

    Example:
        >>> outline_entries(np.array(["edge", "unstructured"])).tolist()
        [238, 237]
    """
    entries = np.full(labels.shape, SEPARATOR, np.uint8)
    for number, name in enumerate(OUTLINED):
        entries[labels == name] = OUTLINE + number
    return entries


def ramp_entry(ramp: int, shade: int) -> int:
    """Return the entry of one shade (1 to ``SHADES``) of ``TEXT``, ``FIRST`` or ``SECOND``."""
    return BACKGROUND + ramp * SHADES + shade


def colormap_levels(name: str) -> np.ndarray:
    """Sample one of matplotlib's colormaps.

    Args:
        name: Such as ``"gray"``, ``"viridis"`` or ``"RdBu_r"``.

    Returns:
        ``uint8`` array of shape ``(236, 3)``, from low to high.

    Raises:
        FiltertrackError: If matplotlib has no such colormap.
    """
    if name == GREY:
        return grid_palette()[:LEVELS]
    import matplotlib as mpl  # noqa: PLC0415 - takes as long as numpy, and grey needs none of it

    if name not in mpl.colormaps:
        close = difflib.get_close_matches(name, mpl.colormaps, n=3)
        hint = ", ".join(close) or "gray, viridis, magma, RdBu_r, coolwarm"
        raise FiltertrackError(f"colormap {name!r}: matplotlib has none of that name; try {hint}")
    colours = np.asarray(mpl.colormaps[name](np.linspace(0, 1, LEVELS)))[:, :3]
    levels: np.ndarray = np.rint(255 * colours).astype(np.uint8)
    return levels


def chosen_levels(sample: np.ndarray) -> np.ndarray:
    """Choose the 236 colours of a colour animation from a sample of its weights' colours.

    Chosen from weights, not from pixels: a magnified weight is no more important than a small one.
    Pillow's median cut, then its k-means.

    Args:
        sample: ``uint8`` array of shape ``(samples, 3)``: colours from all over the run.

    Returns:
        ``uint8`` array of shape ``(236, 3)``.
    """
    chosen = np.unique(sample, axis=0)
    if len(chosen) > LEVELS:
        image = Image.fromarray(sample[np.newaxis]).quantize(
            LEVELS, Image.Quantize.MEDIANCUT, kmeans=max(1, len(sample) // _SETTLED)
        )
        flat = image.getpalette() or []
        chosen = np.array(flat, np.uint8).reshape(-1, 3)[:LEVELS]
    levels = np.zeros((LEVELS, 3), np.uint8)
    levels[: len(chosen)] = chosen
    levels[len(chosen) :] = chosen[-1] if len(chosen) else 0
    return levels


def to_entries(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return for each colour the nearest entry of a palette; no dithering.

    Args:
        pixels: ``uint8`` array of shape ``(…, 3)``.
        colours: A palette of shape ``(256, 3)``.

    Returns:
        ``uint8`` array of shape ``(…)``: entries below 236, or that of a weight that is not finite.
    """
    flat = pixels.reshape(-1, 3)
    nearest = _nearest(flat, colours[:LEVELS])
    red, green, blue = NOT_FINITE_RGB
    nearest[(flat[:, 0] == red) & (flat[:, 1] == green) & (flat[:, 2] == blue)] = NOT_FINITE
    return nearest.reshape(pixels.shape[:-1])


def _nearest(pixels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the number of the centre nearest to each pixel.

    Nearest is where x·c - |c|²/2 is largest: one matrix product, with a fourth coordinate of 1 and
    -|c|²/2. All numbers are multiples of a half below 2²⁴, so float32 holds them exactly.
    """
    half_square = np.square(centres, dtype=np.float32).sum(axis=1, keepdims=True) / 2
    matrix = np.concatenate([centres, -half_square], axis=1, dtype=np.float32).T
    points = np.ones((len(pixels), 4), np.float32)
    points[:, :3] = pixels
    numbers = np.empty(len(pixels), np.uint8)
    for start in range(0, len(pixels), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        numbers[block] = (points[block] @ matrix).argmax(axis=1)
    return numbers
