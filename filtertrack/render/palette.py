"""Palettes of 256 colours: entries for weights, outlines and text, themes, colormaps, quantising.

GIF and palette PNG give each pixel one of 256 colours. All frames of an animation have one palette;
only in a GIF the colours of coloured cells differ from frame to frame, see ``frame_palettes``.
Weights have 235 entries: those of colormaps are reserved, and colours of cells get the rest. The
others are fixed: not finite, separator, five outlines, the
background and three ramps for antialiased text and curves, and transparent.
"""

import difflib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from filtertrack.errors import FiltertrackError
from filtertrack.measures import LABELS
from filtertrack.render.look import DIVERGING, GREY, ThemeName

Rgb = tuple[int, int, int]

LEVELS = 235
"""Entries for weights, from dark to light, or the colours of colour filters; the first entries."""
ALL_LEVELS = range(LEVELS)
NOT_FINITE = LEVELS
"""Entry of a weight that is NaN or infinite."""
SEPARATOR = NOT_FINITE + 1
"""Entry between cells."""
OUTLINED = LABELS[:5]
"""The labels whose filters are outlined."""
OUTLINE = SEPARATOR + 1
"""Entry of the first outline; the others follow, in the order of ``OUTLINED``."""
BACKGROUND = OUTLINE + len(OUTLINED)
"""Entry of the background of text; the ramps follow."""
TEXT, FIRST, SECOND = range(3)
"""The ramps: for text, and for the first and the second curve of a plot."""
SHADES = 4
"""Entries of each ramp, from nearly the background to the full colour."""
TRANSPARENT = 255
"""Entry of a pixel that keeps its colour of the frame before; the last entry."""

NOT_FINITE_RGB: Rgb = (255, 0, 170)
SEPARATOR_RGB: Rgb = (40, 52, 74)
"""A blue that differs from both dark and light grey cells."""

_DIVERGING_COLOURS = (
    (5, 48, 97),
    (33, 102, 172),
    (67, 147, 195),
    (146, 197, 222),
    (209, 229, 240),
    (247, 247, 247),
    (253, 219, 199),
    (244, 165, 130),
    (214, 96, 77),
    (178, 24, 43),
    (103, 0, 31),
)
"""The colours of ``DIVERGING``, from low to high, between which it is linear (ColorBrewer)."""
_STEPS = 256
"""Colours of one of matplotlib's colormaps."""
_FEW_CHANGES = 100
"""k-means ends when fewer than one in 100 samples changes its colour: more is not visible."""
_PIXELS_AT_ONCE = 256
"""Few enough for the product to stay in the CPU's cache, and for BLAS not to start its threads."""


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours around the weights.

    Attributes:
        background: Colour behind the text.
        separator: Colour between cells; differs from both dark and light grey.
        text: Colour of text.
        first: Colour of a plot's first curve.
        second: Colour of the second. Orange and blue can be distinguished by the colour-blind, too.
        outlines: Colours of outlines, in the order of ``OUTLINED``: near the colours of Okabe and
            Ito, and a violet; the colour-blind can distinguish them.
    """

    background: Rgb
    separator: Rgb
    text: Rgb
    first: Rgb
    second: Rgb
    outlines: tuple[Rgb, Rgb, Rgb, Rgb, Rgb]

    @property
    def ramps(self) -> tuple[Rgb, Rgb, Rgb]:
        """The full colours of the ramps, in the order of the palette."""
        return self.text, self.first, self.second


THEMES: dict[ThemeName, Theme] = {
    "dark": Theme(
        background=(20, 26, 38),
        separator=SEPARATOR_RGB,
        text=(236, 240, 246),
        first=(255, 176, 84),
        second=(96, 190, 255),
        outlines=((86, 180, 233), (240, 180, 40), (0, 200, 140), (150, 100, 255), (226, 130, 180)),
    ),
    "light": Theme(
        background=(255, 255, 255),
        separator=(186, 200, 222),
        text=(24, 28, 36),
        first=(196, 84, 0),
        second=(0, 98, 184),
        outlines=((0, 114, 178), (190, 105, 0), (0, 150, 110), (100, 60, 220), (190, 80, 140)),
    ),
}


def grid_palette() -> np.ndarray:
    """Return the palette of a single grid: ``uint8`` array of shape ``(256, 3)``."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:LEVELS] = _greys(LEVELS)
    colours[NOT_FINITE] = NOT_FINITE_RGB
    colours[SEPARATOR] = SEPARATOR_RGB
    return colours


def _greys(count: int) -> np.ndarray:
    greys: np.ndarray = np.rint(np.arange(count) * 255 / (count - 1)).astype(np.uint8)
    return greys[:, np.newaxis].repeat(3, axis=1)


def _diverging(count: int) -> np.ndarray:
    """Return what matplotlib returns for ``DIVERGING``, without the slow import of it."""
    anchors = np.array(_DIVERGING_COLOURS, np.float64)
    at, steps = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, _STEPS)
    colours = np.stack([np.interp(steps, at, channel) for channel in anchors.T], axis=1)
    numbers = np.minimum((np.linspace(0, 1, count) * _STEPS).astype(int), _STEPS - 1)
    levels: np.ndarray = np.rint(colours[numbers]).astype(np.uint8)
    return levels


def theme_palette(theme: ThemeName = "dark", levels: np.ndarray | None = None) -> np.ndarray:
    """Return the palette of an animation or a filmstrip.

    Args:
        theme: Name of the theme.
        levels: ``uint8`` array of shape ``(LEVELS, 3)``, or fewer colours: of the weights; None for
            greys.

    Returns:
        ``uint8`` array of shape ``(256, 3)``.
    """
    chosen = THEMES[theme]
    colours = grid_palette()
    if levels is not None:
        colours[: len(levels)] = levels
    colours[SEPARATOR] = chosen.separator
    colours[OUTLINE:BACKGROUND] = chosen.outlines
    colours[BACKGROUND] = chosen.background
    for ramp, full in enumerate(chosen.ramps):
        start = ramp_entry(ramp, 1)
        shades = np.linspace(chosen.background, full, SHADES + 1)[1:]
        colours[start : start + SHADES] = np.rint(shades)
    return colours


def outline_entries(labels: np.ndarray) -> np.ndarray:
    """Return the entry of each label's outline; that of the separator if it has none.

    Example:
        >>> outline_entries(np.array(["edge", "unstructured"])).tolist()
        [237, 236]
    """
    entries = np.full(labels.shape, SEPARATOR, np.uint8)
    for number, name in enumerate(OUTLINED):
        entries[labels == name] = OUTLINE + number
    return entries


def ramp_entry(ramp: int, shade: int) -> int:
    """Return the entry of one shade (1 to ``SHADES``) of ``TEXT``, ``FIRST`` or ``SECOND``."""
    return BACKGROUND + ramp * SHADES + shade


def split_levels(colormaps: int) -> list[range]:
    """Divide the entries for weights among colormaps: the same odd number each, for a middle.

    Example:
        >>> [len(levels) for levels in split_levels(2)]
        [117, 117]
    """
    each = (LEVELS // colormaps - 1) // 2 * 2 + 1
    return [range(number * each, (number + 1) * each) for number in range(colormaps)]


def colormap_levels(name: str, count: int = LEVELS) -> np.ndarray:
    """Sample a colormap of matplotlib.

    Args:
        name: Such as ``"gray"``, ``"viridis"`` or ``"RdBu_r"``.
        count: Number of colours.

    Returns:
        ``uint8`` array of shape ``(count, 3)``, from low to high.

    Raises:
        FiltertrackError: If matplotlib has no such colormap.
    """
    if name == GREY:
        return _greys(count)
    if name == DIVERGING:
        return _diverging(count)
    import matplotlib as mpl  # noqa: PLC0415 - a slow import that grey does not need

    if name not in mpl.colormaps:
        close = difflib.get_close_matches(name, mpl.colormaps, n=3)
        hint = ", ".join(close) or "gray, viridis, magma, RdBu_r, coolwarm"
        raise FiltertrackError(f"colormap {name!r}: matplotlib has none of that name; try {hint}")
    colours = np.asarray(mpl.colormaps[name](np.linspace(0, 1, count)))[:, :3]
    levels: np.ndarray = np.rint(255 * colours).astype(np.uint8)
    return levels


def chosen_levels(sample: np.ndarray, count: int = LEVELS) -> np.ndarray:
    """Choose colours for coloured cells of a run or frame by Pillow's median cut and k-means.

    Args:
        sample: ``uint8`` array of shape ``(samples, 3)``: colours of weights that are to be shown;
            one sample per weight, as magnification does not make a weight more important.
        count: Number of colours.

    Returns:
        ``uint8`` array of shape ``(count, 3)``.
    """
    chosen = np.unique(sample, axis=0)
    if len(chosen) > count:
        image = Image.fromarray(sample[np.newaxis]).quantize(
            count, Image.Quantize.MEDIANCUT, kmeans=max(1, len(sample) // _FEW_CHANGES)
        )
        flat = image.getpalette() or []
        chosen = np.array(flat, np.uint8).reshape(-1, 3)[:count]
    levels = np.zeros((count, 3), np.uint8)
    levels[: len(chosen)] = chosen
    levels[len(chosen) :] = chosen[-1] if len(chosen) else 0
    return levels


def to_entries(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the nearest palette entry of each colour, without dithering.

    Args:
        pixels: ``uint8`` array of shape ``(…, 3)``.
        colours: A palette of shape ``(256, 3)``.

    Returns:
        ``uint8`` array of shape ``(…)``: entries of weights, or ``NOT_FINITE``.
    """
    flat = pixels.reshape(-1, 3)
    entries = nearest(flat, colours[:LEVELS])
    red, green, blue = NOT_FINITE_RGB
    entries[(flat[:, 0] == red) & (flat[:, 1] == green) & (flat[:, 2] == blue)] = NOT_FINITE
    return entries.reshape(pixels.shape[:-1])


def nearest(pixels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the number of the nearest of at most 256 centres for each pixel: ``uint8`` array.

    The nearest centre c of a pixel x has the largest x·c - |c|²/2: one matrix product, with a
    fourth coordinate of 1 and -|c|²/2. All numbers are multiples of a half below 2²⁴, so float32 is
    exact.
    """
    half_square = np.square(centres, dtype=np.float32).sum(axis=1, keepdims=True) / 2
    matrix = np.concatenate([centres, -half_square], axis=1, dtype=np.float32).T
    points = np.ones((_PIXELS_AT_ONCE, 4), np.float32)
    numbers = np.empty(len(pixels), np.uint8)
    for start in range(0, len(pixels), _PIXELS_AT_ONCE):
        block = pixels[start : start + _PIXELS_AT_ONCE]
        points[: len(block), :3] = block
        numbers[start : start + len(block)] = (points[: len(block)] @ matrix).argmax(axis=1)
    return numbers
