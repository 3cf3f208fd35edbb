"""Draw the filters of a model, a file, a run or an array: the public function ``plot_filters``."""

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from filtertrack.capture.array_layers import Axes
from filtertrack.capture.checkpoints.checkpoint_paths import is_saved_model
from filtertrack.capture.sources import framework_of, open_run_at, open_source
from filtertrack.errors import FiltertrackError, whole
from filtertrack.outputs.matplotlib_figure import FIGURE_FORMATS, save
from filtertrack.outputs.paper_size import PaperSize
from filtertrack.outputs.plot_figure import draw_plot
from filtertrack.outputs.run_selection import (
    DamagedSnapshotError,
    RunSelection,
    select_layers,
    select_step,
    select_steps,
)
from filtertrack.render.look import Channels, Filters, Look, Order, Scale, ThemeName
from filtertrack.snapshot import LayerInfo, Moment, describe, stored_type
from filtertrack.storage.local_files import check_target
from filtertrack.storage.memory_run import MemoryRun
from filtertrack.storage.paths import is_address, path_of
from filtertrack.storage.run import Run

_log = logging.getLogger("filtertrack")


_Layers = str | Sequence[str] | None


class _Draw(Protocol):
    """Draws a selection of one step below a heading."""

    def __call__(self, selection: RunSelection, *, heading: str) -> Figure: ...


def plot_filters(
    source: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    step: int | None = None,
    axes: Axes | None = None,
    filters: Filters | None = None,
    order: Order = "stored",
    scale: Scale | None = None,
    zero_centred: bool = False,
    delta: bool | None = None,
    outline: bool = False,
    channels: Channels = None,
    channel_names: Sequence[str] | None = None,
    smooth: bool = False,
    colormap: str | None = None,
    theme: ThemeName = "light",
    columns: int | None = None,
    width: str | float = "17cm",
    height: str | float | None = None,
    dpi: int = 300,
) -> Figure:
    """Draw the filters of a trained model, a layer, a checkpoint file, a run or an array.

    Each filter is a cell of a grid: in colour if it has three input channels, in grey if it has
    one, and otherwise its strongest pattern; each is normalised to its own range. The title says
    what is drawn and how. Every weight is a square of whole pixels at the given resolution. Only
    the layers that are drawn are read from a model or a file.

    Args:
        source: A Keras model or layer, a ``torch.nn.Module``, the path of a checkpoint file, a run
            or its folder, or an array or arrays by name, with ``axes``.
        output: The file to write, or None. Its ending selects the format: ``.png``, ``.pdf`` or
            ``.svg``. It is written whole or not at all, and is the same for the same weights.
        layers: Names or patterns of layers, such as ``"block1/*"``; there is a grid for each. None
            for the first convolution with kernels larger than 1×1; in a run, for the first one that
            has changed.
        step: A step of a run; None for the last one that can be read. The log names each later one.
        axes: The letters of an array's axes, such as ``"HWIO"`` (Keras) or ``"OIHW"`` (torch):
            ``O`` filters, ``I`` input channels, ``D``, ``H`` and ``W`` space, ``M`` filters per
            input channel of a depthwise kernel. For arrays with different axes, name to letters.
            Also for files whose format does not tell the axes.
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
        order: The order of the filters; see ``animate``.
        scale: The weights that the range from dark to light spans: ``"layer"`` for all of a
            layer's, otherwise each filter's.
        zero_centred: Widen each range so that zero is in its middle.
        delta: Draw the difference from the first snapshot of a run, the filters (False), or both;
            see ``animate``. Only a run has a start; the filters are drawn of other sources.
        outline: Draw a line around each filter in the colour of its label; see ``animate``.
        channels: How input channels are drawn; see ``animate``.
        channel_names: The name of each input channel.
        smooth: Interpolate between weights; see ``animate``.
        colormap: A colormap of matplotlib, for layers with one value a pixel; see ``animate``.
        theme: ``"light"`` or ``"dark"``: the colours around the weights.
        columns: Filters in a row; None to choose.
        width: Width of the figure: ``"17cm"``, ``"6.7in"``, or a number of inches.
        height: Height of the figure, at most; None for a third more than the width, or for as much
            as it takes where weights would be too small to be seen.
        dpi: Pixels an inch.

    Returns:
        A matplotlib figure, which can be changed, and which a notebook displays: one axes for each
        grid.

    Raises:
        FiltertrackError: If the source is none of these, cannot be read or has no convolution, if
            there is no such layer or step, if a size is too small for one pixel a weight, or an
            option is invalid.
        OSError: If the file cannot be written.

    Example:
        >>> figure = plot_filters("tests/golden/run-v1", step=2, layers="conv1", delta=False)
        >>> [text.get_text() for text in figure.texts[:2]]
        ['run-v1, step 2 (epoch 2 · batch 20)',
         'conv1 · 4 filters of 3×3×1 · each filter has its own scale']
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target, FIGURE_FORMATS)
    paper = PaperSize.of(width, height, dpi)
    if step is not None and whole(step) is None:
        raise FiltertrackError(f"step: expected a whole number, got {step!r}")
    if columns is not None and (whole(columns) or 0) < 1:
        raise FiltertrackError(f"columns: expected a whole number from 1 on, got {columns!r}")
    look = Look(
        scale=scale,
        zero_centred=zero_centred,
        delta=delta,
        outline=outline,
        channels=channels,
        channel_names=channel_names,
        smooth=smooth,
        order=order,
        filters=filters,
        colormap=colormap,
        theme=theme,
    )
    draw = partial(draw_plot, look=look, paper=paper, columns=columns, grows=height is None)
    run = run_of(source)
    if run is None:
        if step is not None:
            raise FiltertrackError("step: only a run has steps; leave it out")
        figure = _draw_weights(source, layers, axes, look, draw)
    else:
        if axes is not None:
            raise FiltertrackError("axes: a run knows the axes of its kernels; leave it out")
        figure = _draw_run(run, layers, step, look, draw)
    if target is not None:
        save(figure, target)
    return figure


def run_of(source: Any) -> Run | None:
    """Return the run that is given as itself, its folder or its address; None for other sources.

    A file, and the folder of a SavedModel, are other sources.

    Raises:
        FiltertrackError: If a folder or an address holds no run; the message names runs below it.
    """
    if isinstance(source, Run):
        return source
    if isinstance(source, (str, os.PathLike)):
        if is_address(str(source)):
            return open_run_at(source)
        local = Path(str(path_of(source)))
        if local.is_dir() and (Run.exists(local) or not is_saved_model(local)):
            return open_run_at(local)
    return None


def _draw_run(run: Run, layers: _Layers, step: int | None, look: Look, draw: _Draw) -> Figure:
    """Draw a step of a run: the given one, or the last that can be read."""
    steps = run.steps if step is None else select_steps(run, [step], option="step")
    option = _option_of_start(look)
    if option and steps[-1:] == run.steps[:1]:
        raise FiltertrackError(
            f"{option}: step {steps[-1]} is the first of {str(run.path)!r}, from which the "
            f"difference is taken; choose a later step, or leave it out"
        )
    names = select_layers(run, layers)
    for number in reversed(steps):
        try:
            selection = select_step(run, names, number)
            return draw(selection, heading=_run_heading(run, selection.moments[0][0]))
        except DamagedSnapshotError as error:
            if step is not None:
                raise
            _log.warning("left out step %d: %s", number, error)
    raise FiltertrackError(f"{str(run.path)!r} holds no snapshot that can be read")


def _option_of_start(look: Look) -> str | None:
    """Return the option of a look that needs the start of a run, or None."""
    return "delta" if look.delta else "order='drift'" if look.order == "drift" else None


def _run_heading(run: Run, moment: Moment) -> str:
    """Return the name of a run's folder and a description of a step.

    Example:
        >>> run = Run("tests/golden/run-v1")
        >>> _run_heading(run, Moment(0, 0)), _run_heading(run, Moment(300, 0))
        ('run-v1, step 0 (before training)', 'run-v1, step 300')
        >>> _run_heading(run, Moment(6, 5, epochs=12, epoch_batch=0, note="restored: epoch 2"))
        'run-v1, step 6 (epoch 5 of 12; restored: epoch 2)'
    """
    when = describe(moment).removesuffix(f" ({moment.note})")
    words = [text for text in (when, moment.note) if text not in ("", f"step {moment.step}")]
    more = f" ({'; '.join(words)})" if words else ""
    return f"{run.path.absolute().name}, step {moment.step}{more}"


def _draw_weights(
    source: Any, layers: _Layers, axes: Axes | None, look: Look, draw: _Draw
) -> Figure:
    """Draw a source that is not a run, as a run of one snapshot."""
    if option := _option_of_start(look):
        raise FiltertrackError(
            f"{option}: the difference from the start takes a run, which holds the start; leave it "
            f"out"
        )
    framework = framework_of(source)
    if framework is not None and axes is not None:
        raise FiltertrackError("axes: a model knows the axes of its kernels; leave it out")
    is_file = isinstance(source, (str, os.PathLike))
    heading = ""
    if framework is not None:
        heading = str(source.name) if framework == "keras" else type(source).__name__
    elif is_file:
        source = Path(str(path_of(source)))
        heading = source.name
    with open_source(source, axes=axes) as opened:
        if is_file:
            for remark in opened.remarks:
                _log.warning("%s", remark)
        run = MemoryRun(heading or "the arrays", opened.infos, opened.read)
        names = select_layers(run, _first_spatial(opened.infos) if layers is None else layers)
        for name in names:
            if stored_type(run.layer(name).dtype) is None:
                raise FiltertrackError(
                    f"layer {name}: expected real numbers, got {run.layer(name).dtype}"
                )
        # The name of a layer that is given alone is in the title of its grid.
        heading = "" if names == (heading,) else heading
        return draw(select_step(run, names, 0), heading=heading)


def _first_spatial(infos: Sequence[LayerInfo]) -> str:
    """Return the name of the first layer with kernels larger than 1×1, or of the first."""
    spatial = (info.name for info in infos if info.shape[1] * info.shape[2] > 1)
    return next(spatial, infos[0].name)
