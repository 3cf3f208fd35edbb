"""A run becomes an animation: noise turning into edges and blobs.

Everything is drawn from the stored weights, never from TensorBoard's event files, and one frame at
a time: memory does not grow with the length of the run.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from filtertrack.caption import Caption
from filtertrack.cells import to_cells, view_of
from filtertrack.errors import FiltertrackError
from filtertrack.files import write_whole
from filtertrack.gif import GifWriter
from filtertrack.grid import SEPARATOR, Layout, to_levels, to_rgb
from filtertrack.palette import TEXT, colour_palette, grey_palette, to_entries
from filtertrack.scaling import Span, ValueRange, value_range
from filtertrack.store import Run

Scale = Literal["frame", "filter", "layer"]
SCALES: tuple[Scale, ...] = ("frame", "filter", "layer")
"""What one picture's dark-to-light range covers: see ``Film``."""

Progress = Callable[[int, int], None]

_NARROWEST = 260
_log = logging.getLogger("filtertrack")
_SAMPLES = 20_000


class Film:
    """One layer's snapshots as palette pictures, drawn when they are asked for.

    Args:
        run: Where the snapshots are.
        layer: One of the run's layers.
        steps: Which snapshots, ascending.
        size: Longer side of the grid, in pixels, at most.
        scale: What dark and light mean. ``"frame"``: lowest and highest weight of each filter in
            each frame, as in TensorBoard. ``"filter"``: of each filter over the whole run, so its
            growth is seen. ``"layer"``: of all filters over the whole run.
        most: Draw only so many cells, the first ones; None for all.
    """

    def __init__(
        self,
        run: Run,
        layer: str,
        steps: Sequence[int],
        *,
        size: int,
        scale: Scale = "frame",
        most: int | None = None,
    ) -> None:
        self._run, self._layer, self.steps = run, layer, list(steps)
        self._view = view_of(run.layer(layer))
        self._most = most
        self._moments = [run.moment(step) for step in self.steps]
        shown = min(self._view.count, most or self._view.count)
        self._layout = Layout.fit(
            shown, self._view.height, self._view.width, size, self._view.slices
        )
        height, width = self._layout.shape
        caption_width = max(width, _NARROWEST)
        self._caption = Caption(layer, self._moments, caption_width)
        self.shape = (self._caption.height + height, caption_width)
        self._range = self._whole_range(scale)
        self.palette = self._sampled_palette() if self._view.coloured else grey_palette()

    def pictures(self) -> Iterator[np.ndarray]:
        """Draw snapshot after snapshot.

        Yields:
            ``uint8`` arrays of the film's ``shape``: entries of its ``palette``.
        """
        width = self._layout.shape[1]
        left = (self.shape[1] - width) // 2
        for moment, cells in zip(self._moments, self._cells(), strict=True):
            picture = np.full(self.shape, TEXT, np.uint8)
            picture[: self._caption.height] = self._caption.draw(moment)
            grid = self._layout.compose(self._entries(cells), SEPARATOR)
            picture[self._caption.height :, left : left + width] = grid
            yield picture

    def _cells(self) -> Iterator[np.ndarray]:
        """Yield each snapshot's cells, their signs following on from one to the next."""
        cells = None
        shown = None if self._view.kind == "matrix" else self._most
        for kernels in self._run.history(self._layer, self.steps):
            cells = to_cells(self._view, kernels[:shown], like=cells)
            yield cells

    def _whole_range(self, scale: Scale) -> ValueRange | None:
        if scale == "frame":
            return None
        span: Span = "cell" if scale == "filter" else "layer"
        return reduce(ValueRange.union, (value_range(cells, span) for cells in self._cells()))

    def _entries(self, cells: np.ndarray) -> np.ndarray:
        values = self._range or value_range(cells)
        if self._view.coloured:
            return to_entries(to_rgb(cells, values), self.palette)
        return to_levels(cells, values)

    def _sampled_palette(self) -> np.ndarray:
        """Choose the palette from colours out of every snapshot."""
        rng = np.random.default_rng(0)
        each = -(-_SAMPLES // len(self.steps))
        samples = []
        for cells in self._cells():
            colours = to_rgb(cells, self._range or value_range(cells)).reshape(-1, 3)
            samples.append(colours if len(colours) <= each else rng.choice(colours, each, axis=0))
        return colour_palette(np.concatenate(samples))


def animate(
    run: Run | str | os.PathLike[str],
    output: str | os.PathLike[str] = "evolution.gif",
    *,
    layer: str | None = None,
    fps: float = 10.0,
    size: int = 640,
    scale: Scale = "frame",
    hold: tuple[float, float] = (1.0, 2.0),
    progress: Progress | None = None,
) -> Path:
    """Turn a run's snapshots into an animated GIF: a grid of filters under a caption.

    The file appears whole or not at all. One that is there already is replaced. A damaged snapshot
    is left out, with a warning in the log.

    Args:
        run: A run or its folder.
        output: The file to write; its name ends in ``.gif``.
        layer: Which layer; None for the first.
        fps: Snapshots a second.
        size: Longer side of the grid, in pixels, at most.
        scale: What dark and light mean: the range of each filter in each ``"frame"``, of each
            ``"filter"`` over the whole run, or of the whole ``"layer"`` over the whole run.
        hold: Seconds the first and the last snapshot are shown.
        progress: Called with the frames done and the frames there are, after each.

    Returns:
        The file's path.

    Raises:
        FiltertrackError: If there is no run, no such layer or fewer than two snapshots, or if an
            option does not fit.
        OSError: If the file cannot be written.

    Example:
        >>> animate("runs/exp1", "evolution.gif", layer="conv1")  # doctest: +SKIP
        PosixPath('evolution.gif')
    """
    target = Path(output)
    run = run if isinstance(run, Run) else Run(run)
    _check_options(target, fps, size, scale, hold)
    layer = layer or next(iter(run.layers))
    steps = _steps_to_show(run, layer)
    film = Film(run, layer, steps, size=size, scale=scale)

    def write(file: BinaryIO) -> None:
        with GifWriter(file, film.shape, film.palette) as gif:
            for done, picture in enumerate(film.pictures(), start=1):
                gif.add(picture, seconds_on_screen(done - 1, len(steps), fps, hold))
                if progress:
                    progress(done, len(steps))

    write_whole(target, write)
    return target


def seconds_on_screen(number: int, count: int, fps: float, hold: tuple[float, float]) -> float:
    """Return how long a frame is shown: the first and the last are held.

    Example:
        >>> [seconds_on_screen(n, 3, 10, (1, 2)) for n in range(3)]
        [1, 0.1, 2]
    """
    if number == count - 1:
        return hold[1]
    return hold[0] if number == 0 else 1 / fps


def _check_options(
    target: Path, fps: float, size: int, scale: Scale, hold: tuple[float, float]
) -> None:
    if target.suffix.lower() != ".gif":
        raise FiltertrackError(f"output {str(target)!r}: expected a name that ends in .gif")
    if not target.absolute().parent.is_dir():
        raise FiltertrackError(f"output {str(target)!r}: there is no folder {str(target.parent)!r}")
    if not 0 < fps <= 100:
        raise FiltertrackError(f"fps: expected more than 0 and at most 100, got {fps}")
    if not 16 <= size <= 8192:
        raise FiltertrackError(f"size: expected 16 to 8192 pixels, got {size}")
    if scale not in SCALES:
        raise FiltertrackError(f"scale: expected one of {', '.join(SCALES)}, got {scale!r}")
    if not all(0 <= seconds <= 600 for seconds in hold):
        raise FiltertrackError(f"hold: expected 0 to 600 seconds, got {hold}")


def readable_steps(run: Run, layer: str, steps: Sequence[int]) -> list[int]:
    """Return those steps at which a layer can be read, and warn of the others.

    Args:
        run: Where the snapshots are.
        layer: One of the run's layers.
        steps: Which to try.

    Returns:
        The readable ones, in the same order.
    """
    run.layer(layer)
    readable = []
    for step in steps:
        try:
            run.moment(step)
            run.kernels(layer, step)
            readable.append(step)
        except FiltertrackError as error:
            _log.warning("left out step %d: %s", step, error)
    return readable


def _steps_to_show(run: Run, layer: str) -> list[int]:
    steps = readable_steps(run, layer, run.steps)
    if len(steps) < 2:
        raise FiltertrackError(
            f"{str(run.path)!r} holds {len(steps)} readable "
            f"snapshot{'' if len(steps) == 1 else 's'}; an animation needs at least 2: train for "
            f"longer"
        )
    return steps
