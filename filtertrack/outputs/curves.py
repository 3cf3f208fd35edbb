"""Plot the measures of a run over training: structure, drift, labels and responses."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from filtertrack.errors import FiltertrackError, printable
from filtertrack.measures import LABELS
from filtertrack.outputs.matplotlib_figure import (
    FIGURE_FORMATS,
    Colour,
    PaperFigure,
    colour,
    figure_settings,
    save,
)
from filtertrack.outputs.measurement import MeasuredLayer, Measurement
from filtertrack.outputs.timeline import epoch_ends
from filtertrack.render.look import ThemeName
from filtertrack.render.palette import OUTLINED, THEMES, Theme
from filtertrack.render.sparkline import spaced_marks
from filtertrack.render.text import cut
from filtertrack.storage.local_files import check_target

_WIDTH, _ROW_HEIGHT, _TITLE_AND_LEGEND = 6.7, 1.75, 0.75
"""Inches: width of the figure, height of a layer's row, height of title and legend together."""
_FONT = 8.0
_MOST_LAYERS = 16
_LONGEST_NAME = 22
"""Characters of a layer's name beside its row, at most."""
_LEAST_BETWEEN_EPOCHS = 0.025
"""Distance of two marked ends of epochs, as a share of the axis, at least."""
_LineStyle: TypeAlias = str | tuple[int, tuple[float, float]]
_FADED = {"unstructured": 0.62, "unknown": 0.82}
"""Colours of the labels without an outline: share of the way from text to background."""


def plot_trajectories(
    measured: Measurement,
    output: str | os.PathLike[str] | None = None,
    *,
    theme: ThemeName = "light",
) -> Figure:
    """Plot the measures of a run over training: a row a layer.

    The left axes show the share of structured filters, the mean roughness, and the step at which
    half of the filters had formed. The middle axes show the drift from the start: its median, and
    the range of the middle half and of all filters. The right axes show the number of filters with
    each label. Steps that count batches have a logarithmic axis, since filters form early; thin
    lines mark the ends of epochs, or of every second, fifth, tenth and so on if they are dense.

    Of a run with probes, further axes show the share of silent filters, and the means of lifetime
    sparsity and class selectivity where these are known.

    Args:
        measured: The measures of the run.
        output: The file to write, or None. Its ending selects the format: ``.png``, ``.pdf`` or
            ``.svg``.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A matplotlib figure, which can be changed and which a notebook displays.

    Raises:
        FiltertrackError: If there are more than 16 layers or fewer than two steps, or the ending of
            the output is another.
        OSError: If the file cannot be written.

    Example:
        >>> from filtertrack.outputs.measurement import measure
        >>> figure = plot_trajectories(measure("tests/golden/run-v1"))
        >>> [axes.get_title(loc="left") for axes in figure.axes[:3]]
        ['structure', 'drift', 'labels']
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target, FIGURE_FORMATS)
    if theme not in THEMES:
        raise FiltertrackError(f"theme: expected one of {', '.join(THEMES)}, got {theme!r}")
    layers = list(measured.layers.values())
    check_trajectories(len(layers), len(measured.moments))
    with figure_settings():
        figure = _draw(measured, layers, theme)
    if target is not None:
        save(figure, target)
    return figure


def check_trajectories(layers: int, steps: int) -> None:
    """Check the number of layers and steps of a figure, before they are measured.

    Raises:
        FiltertrackError: If there are more than 16 layers or fewer than two steps.
    """
    if layers > _MOST_LAYERS:
        raise FiltertrackError(
            f"layers: a figure shows at most {_MOST_LAYERS}, got {layers}; choose some"
        )
    if steps < 2:
        raise FiltertrackError(f"steps: curves take at least two snapshots, got {steps}")


def _draw(measured: Measurement, layers: Sequence[MeasuredLayer], theme: ThemeName) -> Figure:
    look = THEMES[theme]
    ink, ground = colour(look.text), colour(look.background)
    plots = dict(_PLOTS)
    if any(_has_responses(layer) for layer in layers):
        plots["responses"] = _plot_responses
    size = (_WIDTH, _TITLE_AND_LEGEND + _ROW_HEIGHT * len(layers))
    figure = PaperFigure(figsize=size, dpi=200, facecolor=ground, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(layers), len(plots), squeeze=False, sharex=True)
    epochs = all(moment.counts_epochs for moment in measured.moments)
    for row, layer in zip(grid, layers, strict=True):
        for axes, plot in zip(row, plots.values(), strict=True):
            plot(axes, layer, theme)
        name = printable(cut(layer.info.name, _LONGEST_NAME))
        row[0].set_ylabel(name, fontsize=_FONT, color=ink, weight="bold")
        for axes in row:
            _style(axes, ink, ground)
            if not epochs:
                axes.set_xscale("symlog", linthresh=1)
                axes.xaxis.set_major_formatter(ScalarFormatter())
                _mark_epochs(axes, measured, look)
            axes.set_xlim(layer.steps[0], layer.steps[-1])
    for axes, title in zip(grid[0], plots, strict=True):
        axes.set_title(title, fontsize=_FONT, color=ink, loc="left", weight="bold")
    for axes in grid[-1]:
        axes.set_xlabel("epochs" if epochs else "batches, log scale", fontsize=_FONT, color=ink)
    named = _legend_entries(grid.ravel())
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=_FONT - 1,
        labelcolor=ink,
    )
    return figure


def _mark_epochs(axes: Axes, measured: Measurement, look: Theme) -> None:
    """Draw a thin vertical line at the ends of epochs."""
    steps = [moment.step for moment in measured.moments]
    ends = np.interp(epoch_ends(measured.moments), np.arange(len(steps)), steps)
    length = np.log1p(steps[-1]) - np.log1p(steps[0])
    every, marks = spaced_marks(np.log1p(ends), _LEAST_BETWEEN_EPOCHS * length)
    label = "ends of epochs" if every == 1 else f"every {every} epochs"
    for step in np.expm1(marks):
        axes.axvline(
            step, color=colour(look.text), linewidth=0.5, alpha=0.3, zorder=1.5, label=label
        )


def _plot_structure(axes: Axes, layer: MeasuredLayer, theme: ThemeName) -> None:
    look = THEMES[theme]
    axes.plot(
        layer.steps, layer.whole["structured"], color=colour(look.first), label="share structured"
    )
    axes.plot(
        layer.steps,
        layer.whole["roughness"],
        color=colour(look.second),
        linestyle=(0, (4, 1.5)),
        label="mean roughness (noise: 1)",
    )
    roughness = layer.whole["roughness"]
    axes.set_ylim(0, max(1.15, 1.05 * np.nanmax(roughness, initial=0.0)))
    if np.isfinite(layer.half_formed):
        axes.axvline(
            layer.half_formed,
            color=colour(look.text),
            linewidth=0.8,
            linestyle=":",
            label="half had formed",
        )


def _plot_drift(axes: Axes, layer: MeasuredLayer, theme: ThemeName) -> None:
    drift = layer.filters["drift"]
    known = np.isfinite(drift).any(axis=1)
    shade = colour(THEMES[theme].second)
    if known.any():
        steps = np.array(layer.steps)[known]
        low, first, middle, third, high = np.nanquantile(
            drift[known], [0, 0.25, 0.5, 0.75, 1], axis=1
        )
        axes.plot(steps, middle, color=shade, label="median drift")
        bands = (("middle half", first, third, 0.35), ("all filters", low, high, 0.15))
        for name, below, above, alpha in bands:
            axes.fill_between(
                steps, below, above, color=shade, alpha=alpha, linewidth=0, label=name
            )
    axes.set_ylim(bottom=0)


def _plot_labels(axes: Axes, layer: MeasuredLayer, theme: ThemeName) -> None:
    counts = [layer.whole[name] for name in LABELS]
    axes.stackplot(
        layer.steps, counts, labels=LABELS, colors=_label_colours(theme), linewidth=0, step="mid"
    )
    axes.set_ylim(0, max(1, layer.info.filters))


def _has_responses(layer: MeasuredLayer) -> bool:
    return bool(np.isfinite(layer.whole.get("silent_share", np.nan)).any())


def _plot_responses(axes: Axes, layer: MeasuredLayer, theme: ThemeName) -> None:
    look = THEMES[theme]
    axes.set_ylim(0, 1.05)
    if not _has_responses(layer):
        negative = layer.probed is not None and not layer.probed.rectified
        text = "responses may\nbe negative" if negative else "no responses"
        axes.text(
            0.5,
            0.5,
            text,
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=_FONT - 1,
            color=colour(look.text),
        )
        return
    curves: tuple[tuple[str, str, Colour, _LineStyle], ...] = (
        ("silent_share", "share silent", colour(look.text), "-"),
        ("lifetime_sparsity", "mean lifetime sparsity", colour(look.first), (0, (4, 1.5))),
        ("class_selectivity", "mean class selectivity", colour(look.second), (0, (1, 1))),
    )
    for name, label, shade, style in curves:
        values = layer.whole[name]
        if np.isfinite(values).any():
            axes.plot(layer.steps, values, color=shade, linestyle=style, label=label)


_PLOTS: Mapping[str, Callable[[Axes, MeasuredLayer, ThemeName], None]] = {
    "structure": _plot_structure,
    "drift": _plot_drift,
    "labels": _plot_labels,
}
"""The axes of a layer's row, by their title."""


def _label_colours(theme: ThemeName) -> list[Colour]:
    look = THEMES[theme]
    named: dict[str, Colour] = dict(zip(OUTLINED, map(colour, look.outlines), strict=True))
    ink, ground = np.array(colour(look.text)), np.array(colour(look.background))
    for name, share in _FADED.items():
        red, green, blue = ink + share * (ground - ink)
        named[name] = (red, green, blue)
    return [named[name] for name in LABELS]


def _legend_entries(grid: Iterable[Axes]) -> dict[str, Artist]:
    """Return each name in any of the axes once, with the line or area that it names."""
    named: dict[str, Artist] = {}
    for axes in grid:
        handles, names = axes.get_legend_handles_labels()
        for name, handle in zip(names, handles, strict=True):
            named.setdefault(name, handle)
    return named


def _style(axes: Axes, ink: Colour, ground: Colour) -> None:
    """Set colours, fonts and line widths of axes."""
    axes.set_facecolor(ground)
    axes.tick_params(labelsize=_FONT - 1, colors=ink, length=2, width=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_edgecolor(ink)
        spine.set_linewidth(0.5)
    for line in axes.lines:
        line.set_linewidth(1.2)
