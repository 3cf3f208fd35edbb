"""Draw how one value of a feature map follows from an image: ``plot_dot_product``."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from matplotlib.text import Text

from filtertrack.errors import FiltertrackError, whole
from filtertrack.measures.activations import ACTIVATIONS
from filtertrack.outputs.figure_parts import draw_text, new_figure
from filtertrack.outputs.matplotlib_figure import FIGURE_FORMATS, colour, figure_settings, save
from filtertrack.outputs.paper_size import (
    CHARACTER,
    DIGIT,
    FONT,
    POINT,
    PaperSize,
    check_figure_memory,
)
from filtertrack.outputs.run_selection import RunLike, open_run
from filtertrack.outputs.value_pictures import (
    MINUS,
    filter_rgb,
    image_rgb,
    number_of_digits,
    range_of,
    signed_rgb,
)
from filtertrack.render.look import ThemeName
from filtertrack.render.palette import THEMES
from filtertrack.render.text import cut
from filtertrack.response import DotProduct
from filtertrack.snapshot import LayerInfo, describe
from filtertrack.storage.layer_responses import activated, steps_of
from filtertrack.storage.local_files import check_target
from filtertrack.storage.memory_limit import check_memory
from filtertrack.storage.run import Run, recorded_probes

_COLOURS = 3
_KERNEL_AXES = 4
_MOST_NUMBERED = 7
"""Height and width of a kernel whose weights are printed in its cells, at most."""
_LONGEST_NAME = 40

# Inches as shares of the figure's width.
_MARGIN, _SIGN = 0.02, 0.055
"""Margin at the edges, and space between two of the three panels, for × and =."""
_TITLE, _LINE, _SUM = 2.2, 1.5, 2.6
"""Height of the title, of a panel's title and of the sum, in font sizes."""
_NOTE = 1.5
"""From one line below the sum to the next, in font sizes."""
_SMALLEST_DIGITS = 4.5
"""Font size of the numbers in cells in points, at least."""
_MOST_SHRUNK = 5
"""Times that the font of a text is made smaller, at most: letters shrink by whole pixels."""
_MOST_ZEROS = 3
"""Digits before or after the point, from which on a number in a cell has an exponent."""
_LUMINANCE, _MIDDLE = np.array([0.299, 0.587, 0.114]), 128
"""Weights of red, green and blue, and the luminance below which a text is white."""

_SHORTEST_LINE = 40
"""Characters of a line below the sum that is continued in another one, at least."""
_COLOUR_NAMES = ("red", "green", "blue")
_OUTSIDE = {"light": "grey-blue", "dark": "dark blue"}
"""The colour of what is outside of the image in each theme."""


class _Panels(NamedTuple):
    """Positions of the parts of a figure, in pixels from its upper left corner.

    Attributes:
        side: Height and width of each panel.
        lefts: Left edges of the three columns.
        tops: Top edges of the two rows.
        height: Height of the figure.
    """

    side: float
    lefts: tuple[float, float, float]
    tops: tuple[float, float]
    height: int

    @classmethod
    def of(cls, paper: PaperSize, notes: int) -> "_Panels":
        """Return the positions on paper of a width, with space for lines below the sum."""
        wide, size = paper.shape[1], paper.pixels(FONT)
        margin, sign = _MARGIN * wide, _SIGN * wide
        side = (wide - 2 * margin - 2 * sign) / 3
        first = (_TITLE + _LINE) * size
        second = first + side + 2 * _LINE * size
        lefts = (margin, margin + side + sign, margin + 2 * (side + sign))
        height = second + side + (_SUM + _NOTE * notes) * size
        return cls(side, lefts, (first, second), math.ceil(height))


def plot_dot_product(
    run: RunLike,
    image: np.ndarray | int,
    output: str | os.PathLike[str] | None = None,
    *,
    layer: str | None = None,
    step: int | None = None,
    filter_number: int = 0,
    at: Sequence[int] | None = None,
    theme: ThemeName = "light",
    width: str | float = "17cm",
    dpi: int = 300,
) -> Figure:
    """Draw how one value of a filter's feature map follows from an image, step by step.

    Above are the image, with the patch below the filter outlined, and the feature map: the layer's
    output before its activation. Below them the patch is multiplied with the filter's weights; the
    products are added, with the bias, to the value in the feature map. The numbers are printed in
    the cells of kernels up to 7×7 with one input channel. With three input channels patch and
    filter are in colour, the filter with grey for zero; the product is that of the three channels
    together, and the sum of each is written below. Further lines say what the numbers do not: that
    the patch reaches over the edge of the image, is rescaled, or that the filter answers nowhere.

    Args:
        run: A run or its folder.
        image: An image as the model takes it, or the number of one of the run's probes; see
            ``Run.dot_product``.
        output: The file to write, or None. Its ending selects the format: ``.png``, ``.pdf`` or
            ``.svg``. It is written whole or not at all.
        layer: The name of a layer whose input is the model's, or a known preprocessing of that;
            None for the first one.
        step: A step of the run; None for the last.
        filter_number: The number of a filter, from 0 on.
        at: Row and column in the feature map; None for its highest value, if possible of those
            whose patch lies within the image.
        theme: ``"light"`` or ``"dark"``: the colours around the pictures.
        width: Width of the figure: ``"17cm"``, ``"6.7in"``, or a number of inches.
        dpi: Pixels an inch.

    Returns:
        A matplotlib figure, which can be changed and which a notebook displays.

    Raises:
        FiltertrackError: As ``Run.dot_product``; if the layer is no convolution of images, or an
            option is invalid.
        OSError: If the file cannot be written.

    Example:
        >>> figure = plot_dot_product("runs/demo", photograph)  # doctest: +SKIP
        >>> [axes.get_title() for axes in figure.axes][2:]  # doctest: +SKIP
        ['patch', 'filter 0', 'product']
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target, FIGURE_FORMATS)
    if theme not in THEMES:
        raise FiltertrackError(f"theme: expected one of {', '.join(THEMES)}, got {theme!r}")
    paper = PaperSize.of(width, None, dpi)
    run = open_run(run)
    info = run.layer(first_layer(run) if layer is None else layer)
    chosen = max(run.steps, default=0) if step is None else step
    explained = _explained(run, info, chosen, image, (filter_number, at))
    most = max(_SHORTEST_LINE, int(paper.width / POINT / (FONT * CHARACTER)))
    notes = [line for note in _notes(explained, _OUTSIDE[theme]) for line in wrap(note, most)]
    panels = _Panels.of(paper, len(notes))
    check_figure_memory((panels.height, paper.shape[1]), explained.picture.shape[:2])
    with figure_settings():
        figure = _Drawing(explained, panels, paper, theme).draw(notes)
    if target is not None:
        save(figure, target)
    return figure


class _Explained(NamedTuple):
    """What a figure shows.

    Attributes:
        heading: The run, the layer, the filter and the time.
        info: The layer.
        number: The number of the filter.
        picture: The image as the model takes it: ``(height, width, channels)``.
        feature_map: The outputs of the filter, before the activation function.
        at: The row and the column in the feature map.
        value: The dot product there.
        read: What recorded responses of the layer are, such as ``"after relu1"``; empty if none
            were recorded.
        silent: Whether the filter is known to answer nowhere in the image, after the activation.
    """

    heading: str
    info: LayerInfo
    number: int
    picture: np.ndarray
    feature_map: np.ndarray
    at: tuple[int, int]
    value: DotProduct
    read: str
    silent: bool

    @property
    def outside(self) -> np.ndarray:
        """Which pixels of the patch are outside of the image: ``(height, width)``."""
        inside = []
        for side, part, size in zip(
            self.value.patch.shape, self.value.region, self.picture.shape, strict=False
        ):
            pixels = np.linspace(part.start, part.stop - 1, side)
            inside.append((pixels >= 0) & (pixels < size))
        outside: np.ndarray = ~np.logical_and.outer(*inside)
        return outside

    @property
    def rescaled(self) -> bool:
        """Whether the values of the patch are others than those of the image."""
        return any(
            set(step.scale) != {1} or set(step.offset) != {0}
            for step in self.info.preprocessing or ()
        )

    @property
    def channel(self) -> int | None:
        """The channel of the patch that is drawn; None for three, which are drawn in colour."""
        if self.value.kernel.shape[-1] == _COLOURS:
            return None
        return int(np.abs(np.nan_to_num(self.value.product.sum(axis=(0, 1)))).argmax())

    @property
    def part_names(self) -> tuple[str, str, str]:
        """The titles of the patch, the filter and their product."""
        name, channel = f"filter {self.number}", self.channel
        patch = "patch, rescaled" if self.rescaled else "patch"
        if channel is None:
            return patch, f"{name}: grey is zero", "product, three channels added"
        if self.value.kernel.shape[-1] == 1:
            return patch, name, "product"
        of = f"channel {self.value.channels.start + channel}"
        return f"{patch}, {of}", f"{name}, {of}", f"product, {of}"


def _explained(
    run: Run, info: LayerInfo, step: int, image: Any, filter_and_place: tuple[int, Any]
) -> _Explained:
    if len(info.kernel_shape) != _KERNEL_AXES:
        raise FiltertrackError(f"layer {info.name}: it does not slide over images")
    number, at = filter_and_place
    # At any place: this checks the layer, the image and the number.
    first = run.dot_product(info.name, step, image, number, (0, 0)).region
    pixels = (
        np.asarray(image)
        if whole(image) is None
        else recorded_probes(run).image(int(image), info.name)
    )
    places = pixels.size // (info.shape[3] * info.groups) // math.prod(info.strides or (1,))
    check_memory(4 * info.filters * places, "the feature maps of the image take")
    (outputs,) = run.responses(info.name, step, pixels[np.newaxis])
    silent = _silent(run, info, step, image, outputs)
    outputs = outputs[..., number]
    picture = np.moveaxis(pixels, 0, -1) if info.data_format == "channels_first" else pixels
    if at is None:
        at = _highest(outputs, _within(info, first, outputs.shape, picture.shape))
    value = run.dot_product(info.name, step, image, number, at)
    name = cut(f"{run.path.name}, {info.name}", _LONGEST_NAME)
    return _Explained(
        f"{name} · filter {number} · {describe(run.moment(step))}",
        info,
        number,
        picture,
        outputs,
        (int(at[0]), int(at[1])),
        value,
        _read_of(run, info),
        silent is not None and bool(silent[number]),
    )


def _within(
    info: LayerInfo, first: Sequence[slice], places: Sequence[int], sides: Sequence[int]
) -> np.ndarray:
    """Return at which places of a feature map the patch lies within the image.

    Args:
        info: The layer.
        first: The part of the image below the filter at (0, 0).
        places: Height and width of the feature map.
        sides: Height and width of the image.
    """
    inside = []
    for part, stride, count, side in zip(first, steps_of(info)[0], places, sides, strict=False):
        moved = stride * np.arange(count)
        inside.append((part.start + moved >= 0) & (part.stop + moved <= side))
    within: np.ndarray = np.logical_and.outer(*inside)
    return within


def _highest(outputs: np.ndarray, within: np.ndarray) -> tuple[int, int]:
    """Return the place of the highest value, of those ``within`` if there are any."""
    finite = np.isfinite(outputs)
    chosen = finite & within if (finite & within).any() else finite
    row, column = np.unravel_index(int(np.where(chosen, outputs, -np.inf).argmax()), outputs.shape)
    return int(row), int(column)


def _read_of(run: Run, info: LayerInfo) -> str:
    """Return what the recorded responses of a layer are; empty if there are none."""
    if run.probes is None or info.name not in run.probes.layers:
        return ""
    return run.probes.layers[info.name].read


def _silent(
    run: Run, info: LayerInfo, step: int, image: Any, outputs: np.ndarray
) -> np.ndarray | None:
    """Return which filters answer nowhere in an image after the activation; None if not known.

    The activation of the layer itself is applied to its outputs. Responses after an activation that
    follows the layer are recorded if the image is a probe.

    Args:
        run: The run.
        info: The layer.
        step: The step.
        image: The image, or the number of a probe.
        outputs: The outputs of the layer: ``(height, width, filters)``.
    """
    if info.activation in ACTIVATIONS and info.activation != "linear":
        return np.asarray(~activated(info, outputs).any(axis=(0, 1)))
    probe = whole(image)
    if probe is None or not _read_of(run, info) or not run.moment(step).probed:
        return None
    if not recorded_probes(run).layer(info.name).rectified:
        return None
    return np.asarray(run.probe_responses(info.name, step).highest[probe] == 0)


def _notes(explained: _Explained, tint: str) -> list[str]:
    """Return the lines below the sum.

    Args:
        explained: What is shown.
        tint: The name of the colour of what is outside of the image.
    """
    row, column = explained.at
    activation, value = explained.info.activation, explained.value
    place = f"in the feature map: row {row}, column {column}"
    is_linear = activation == "linear"
    if value.activated is not None and not is_linear:
        place += f"; after {activation}: {number_of_digits(value.activated)}"
    notes = [place]
    later = explained.read if explained.read.startswith("after ") else ""
    if explained.silent:
        after = later or f"after {activation}"
        notes.append(f"the filter answers nowhere in this image: {after} every value is 0")
    if later:
        notes.append(
            f"the feature map is the layer's own output, before any normalization "
            f"and activation; responses to probes are read {later}"
        )
    if explained.rescaled:
        notes.append("the patch has the values after the model's preprocessing of the image")
    if explained.outside.any():
        notes.append(f"{tint} in the patch: padding outside of the image")
    return notes


def _explanation(info: LayerInfo) -> str:
    """Return how values of a feature map follow from an image."""
    added = "the products and the bias are added." if info.bias else "the products are added."
    return (
        f"The filter slides over the image.\nAt each position every weight is\nmultiplied with the "
        f"value below it;\n{added}\nAll these sums are the feature map.\n\n"
        f"Feature map and product: red is\npositive, blue negative, white zero."
    )


def first_layer(run: Run) -> str:
    """Return the name of the first layer whose responses to any image follow from its kernel.

    Raises:
        FiltertrackError: If there is none.
    """
    known = [info.name for info in run.layers.values() if info.preprocessing is not None]
    if not known:
        raise FiltertrackError(
            f"{str(run.path)!r} does not say how the input of any layer follows from the model's "
            f"input, so no value of a feature map follows from an image"
        )
    return known[0]


class _Drawing:
    """Draws the figure of a dot product.

    Args:
        explained: What it shows.
        panels: The positions of its parts.
        paper: The size of the figure.
        theme: The theme.
    """

    def __init__(
        self, explained: _Explained, panels: _Panels, paper: PaperSize, theme: ThemeName
    ) -> None:
        self._explained = explained
        self._panels = panels
        self._size = paper.pixels(FONT)
        self._width = paper.shape[1]
        self._theme: ThemeName = theme
        self._ink, self._accent = colour(THEMES[theme].text), colour(THEMES[theme].first)
        self._figure = new_figure((panels.height, self._width), paper.dpi, theme)

    def draw(self, notes: Sequence[str]) -> Figure:
        """Draw everything, with lines below the sum, and return the figure."""
        explained, left = self._explained, self._panels.lefts[0]
        at, right = (left, 0.5 * self._size), self._width - left
        draw_text(self._figure, explained.heading, at, right, self._theme, weight="bold")
        low, high = range_of(explained.picture)
        picture = self._add_panel((0, 0), image_rgb(explained.picture, low, high), "image")
        self._outline(picture, explained.value.region)
        half = self._panels.side / 2
        middle = self._panels.lefts[1] + half, self._panels.tops[0] + half
        explanation = self._text(*middle, _explanation(explained.info), FONT - 0.5, linespacing=1.5)
        _shrink(
            explanation, 2 * (self._panels.lefts[1] - self._panels.lefts[0]) - self._panels.side
        )
        if float(explanation.get_fontsize()) < _SMALLEST_DIGITS:
            explanation.set_visible(False)
        feature_map = self._add_panel((0, 2), signed_rgb(explained.feature_map), "feature map")
        self._outline(feature_map, [slice(n, n + 1) for n in explained.at])
        patch, shown = self._draw_product(low, high)
        self._connect(picture, patch)
        for column, sign in ((1, "×"), (2, "=")):
            between = (self._panels.lefts[column - 1] + self._panels.lefts[column]) / 2
            self._text(between + half, self._panels.tops[1] + half, sign, 2 * FONT)
        self._draw_sum(shown, notes)
        return self._figure

    def _draw_product(self, low: np.ndarray, high: np.ndarray) -> tuple[Axes, float]:
        """Draw patch, filter and product; return the axes of the patch and the sum of the product.

        Args:
            low: The value drawn black of each channel of the image.
            high: The value drawn white.
        """
        explained = self._explained
        value, channel, names = explained.value, explained.channel, explained.part_names
        black, white = (n[value.channels] for n in _preprocessed(explained.info, low, high))
        drawn = slice(None) if channel is None else slice(channel, channel + 1)
        patch, kernel = value.patch[..., drawn], value.kernel[..., drawn]
        added = value.product[..., drawn].sum(axis=-1)
        of_patch = image_rgb(patch, black[drawn], white[drawn])
        of_patch[explained.outside] = THEMES[self._theme].separator
        of_kernel = filter_rgb(kernel) if channel is None else signed_rgb(kernel[..., 0])
        axes = [
            self._add_panel((1, column), pixels, name)
            for column, (pixels, name) in enumerate(
                zip((of_patch, of_kernel, signed_rgb(added)), names, strict=True)
            )
        ]
        if channel is not None:
            _print_numbers(axes[0], patch[..., 0], of_patch, self._figure.dpi)
            _print_numbers(axes[1], kernel[..., 0], of_kernel, self._figure.dpi)
        _print_numbers(axes[2], added, signed_rgb(added), self._figure.dpi)
        return axes[0], float(added.sum(dtype=np.float64))

    def _add_panel(self, place: tuple[int, int], pixels: np.ndarray, title: str) -> Axes:
        """Add a picture, as large as fits in its panel, with a title above."""
        row, column = place
        wide, high, side = self._width, self._panels.height, self._panels.side
        bottom = 1 - (self._panels.tops[row] + side) / high
        axes = self._figure.add_axes(
            (self._panels.lefts[column] / wide, bottom, side / wide, side / high)
        )
        axes.imshow(pixels, interpolation="nearest" if max(pixels.shape) < side else "auto")
        axes.set_anchor("N")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(colour(THEMES[self._theme].separator))
        drawn = axes.set_title(title, fontsize=FONT, color=self._ink, pad=3)
        _shrink(drawn, side + (self._panels.lefts[1] - self._panels.lefts[0] - side) / 2)
        return axes

    def _outline(self, axes: Axes, region: Sequence[slice]) -> None:
        """Draw a line around rows and columns of a picture, which may reach over its edge."""
        rows, columns = region
        at = columns.start - 0.5, rows.start - 0.5
        size = columns.stop - columns.start, rows.stop - rows.start
        ground = colour(THEMES[self._theme].background)
        for ink, wide in ((ground, 3.0), (self._accent, 1.5)):
            axes.add_patch(
                Rectangle(at, *size, fill=False, color=ink, linewidth=wide, clip_on=False, zorder=3)
            )

    def _connect(self, picture: Axes, patch: Axes) -> None:
        """Draw lines from the patch in the picture to the magnified one."""
        rows, columns = self._explained.value.region
        for x, end in ((columns.start - 0.5, 0), (columns.stop - 0.5, 1)):
            line = ConnectionPatch(
                (x, rows.stop - 0.5), (end, 1), picture.transData, patch.transAxes
            )
            line.set(color=self._accent, linewidth=0.8)
            self._figure.add_artist(line)

    def _draw_sum(self, shown: float, notes: Sequence[str]) -> None:
        """Draw the sum of the products, the bias, the value in the feature map, and further lines.

        Args:
            shown: The sum of the product that is drawn.
            notes: The lines.
        """
        explained, value = self._explained, self._explained.value
        channels = value.kernel.shape[-1]
        parts = [number_of_digits(shown)]
        if channels == _COLOURS:
            sums = value.product.sum(axis=(0, 1), dtype=np.float64)
            parts = [
                f"{name} {number_of_digits(float(each))}"
                for name, each in zip(_COLOUR_NAMES, sums, strict=True)
            ]
        elif channels > 1:
            parts.append(f"those of the other channels {number_of_digits(value.sum - shown)}")
        if explained.info.bias:
            parts.append(f"bias {number_of_digits(value.bias)}")
        words = f"sum of the products{':' * (channels == _COLOURS)} {' + '.join(parts)}"
        if len(parts) > 1:
            words += f" = {number_of_digits(value.output)}"
        below = self._panels.tops[1] + self._panels.side
        middle, width = self._width / 2, self._width - 2 * self._panels.lefts[0]
        above = below + 1.6 * self._size
        total = self._text(middle, above, words, FONT + 1, color=self._accent, weight="bold")
        _shrink(total, width)
        for number, line in enumerate(notes):
            at = below + (_SUM + 0.7 + _NOTE * number) * self._size
            _shrink(self._text(middle, at, line, FONT), width)

    def _text(self, x: float, y: float, words: str, size: float, **options: Any) -> Text:
        """Draw a text around a point, in pixels from the upper left corner."""
        options = {"color": self._ink, "ha": "center", "va": "center", **options}
        at = x / self._width, 1 - y / self._panels.height
        return self._figure.text(*at, words, fontsize=size, **options)


def _shrink(text: Text, width: float) -> None:
    """Make the font of a text smaller, so that it takes about a width in pixels at most."""
    for _ in range(_MOST_SHRUNK):
        share = 0.97 * width / text.get_window_extent().width
        if share >= 1:
            return
        text.set_fontsize(share * float(text.get_fontsize()))


def _preprocessed(
    info: LayerInfo, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that the layer receives for the values drawn black and white."""
    for step in info.preprocessing or ():
        if not step.pads:
            scale, offset = np.array(step.scale), np.array(step.offset)
            low, high = low * scale + offset, high * scale + offset
    return low, high


def _print_numbers(axes: Axes, values: np.ndarray, pixels: np.ndarray, dpi: float) -> None:
    """Print each value in its cell, if the cells are large enough."""
    side = max(values.shape)
    if side > _MOST_NUMBERED:
        return
    largest = float(np.abs(values).max())
    texts = [[_short(float(value), largest) for value in row] for row in values]
    longest = max(len(text) for row in texts for text in row)
    box = axes.get_window_extent()
    cell = max(box.width, box.height) / side / (POINT * dpi)
    size = min(FONT + 1, 0.9 * cell / (DIGIT * longest))
    if size < _SMALLEST_DIGITS:
        return
    for y, x in np.ndindex(values.shape):
        dark = float(pixels[y, x] @ _LUMINANCE) < _MIDDLE
        ink = "white" if dark else "black"
        axes.text(x, y, texts[y][x], ha="center", va="center", fontsize=size, color=ink)


def _short(value: float, largest: float) -> str:
    """Format a value with about two digits of the largest one, without a zero before the point.

    Example:
        >>> _short(0.123, 0.5), _short(0.0, 0.5), _short(120.4, 200.0), _short(2e7, 4e7)
        ('.12', '0', '120', '2e7')
    """
    if not value or not math.isfinite(value):
        return f"{value:.0f}".replace("-", MINUS)
    power = math.floor(math.log10(largest)) if math.isfinite(largest) else 0
    if not -_MOST_ZEROS <= power <= _MOST_ZEROS:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("-", MINUS)
    text = f"{abs(value):.{max(0, 1 - power)}f}"
    if not float(text):
        return "0"
    if text.startswith("0."):
        text = text[1:]
    return f"{MINUS if value < 0 else ''}{text}"
