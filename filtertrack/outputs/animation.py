"""A run becomes an animation: noise turning into edges and blobs."""

import base64
import html
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filtertrack.errors import FiltertrackError, repeatable
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.output_names import default_output
from filtertrack.outputs.run_selection import RunLike, Steps, select_from_run
from filtertrack.outputs.time_spacing import Time
from filtertrack.outputs.timeline import Pace, plan
from filtertrack.render.encoders.formats import ANIMATION_FORMATS, Writer, format_of
from filtertrack.render.look import GREY, Channels, Filters, Look, Order, Scale, ThemeName
from filtertrack.storage.files import check_target, write_whole
from filtertrack.storage.run import Run

Progress = Callable[[int, int], None]
_LARGEST_IN_A_NOTEBOOK = 50 << 20


@dataclass(frozen=True, slots=True)
class Animation(os.PathLike[str]):
    """An animation that has been written; in a notebook it displays itself.

    Attributes:
        path: Its file; wherever a path is expected, the animation itself will do.
        frames: Number of frames.
        seconds: How long it lasts.
        shape: Height and width, in pixels.
    """

    path: Path
    frames: int
    seconds: float
    shape: tuple[int, int]

    def __fspath__(self) -> str:
        """Return the file's path."""
        return str(self.path)

    def __str__(self) -> str:
        """Return the file's path."""
        return str(self.path)

    def _repr_html_(self) -> str:
        """Return HTML that holds the file itself, so that a saved notebook still shows it."""
        form = format_of(self.path)
        name = html.escape(str(self.path))
        size = self.path.stat().st_size
        if size > _LARGEST_IN_A_NOTEBOOK:
            return f"<p>{name}: {size / 1e6:.0f} MB, too large for a notebook</p>"
        data = f"data:{form.mime};base64,{base64.b64encode(self.path.read_bytes()).decode()}"
        height, width = self.shape
        size_of_it = f'width="{width}" height="{height}"'
        if form.video:
            return f'<video src="{data}" {size_of_it} controls autoplay loop muted></video>'
        return f'<img src="{data}" {size_of_it} alt="{name}">'


def animate(
    run: RunLike,
    output: str | os.PathLike[str] | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    compare: RunLike | None = None,
    steps: Steps | None = None,
    filters: Filters | None = None,
    order: Order = "stored",
    scale: Scale | None = None,
    zero_centred: bool = False,
    delta: bool = False,
    outline: bool = False,
    channels: Channels = None,
    colormap: str = GREY,
    theme: ThemeName = "dark",
    size: int | None = None,
    columns: int | None = None,
    fps: float = 10.0,
    seconds: float | None = None,
    time: Time = "snapshot",
    between: int = 0,
    hold: tuple[float, float] | None = None,
    loop: int | None = None,
    huge: bool = False,
    progress: Progress | None = None,
) -> Animation:
    """Turn a run's snapshots into an animation: grids of filters under a caption.

    The file appears whole or not at all. One that is there already is replaced. A damaged snapshot
    is left out, with a warning in the log. Memory does not grow with the number of snapshots.

    PNG and WebP are exact: a decoded pixel is its weight's colour. So is a GIF of layers with one
    value a pixel (grey or through a colormap); one of colour filters has 236 colours for the whole
    run, never dithered. MP4 and WebM are the smallest, and close.

    Args:
        run: A run or its folder.
        output: The file to write. Its ending says the format: ``.gif``, ``.png`` or ``.apng``,
            ``.webp``, and with the extra ``filtertrack[video]`` ``.mp4`` and ``.webm``. None for
            ``evolution.gif`` in the run's folder, the options that are not the defaults in its
            name, such as ``evolution-conv2-delta.gif``.
        layers: Which layer, or which layers, each with a grid of its own. None for the first.
        compare: A second run, or its folder, shown beside the first: the same layers at the same
            steps on the same scale.
        steps: Which snapshots: numbers, which have to be there, and ranges, which mean those of
            their numbers that are. None for all.
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
        order: In which order filters come. ``"stored"``: as in the kernel. ``"similarity"``: like
            beside like, by what they have become. ``"orientation"``: by the direction of their
            edges. ``"drift"``: the one that has turned farthest from its start first. ``"label"``:
            edges, blobs, colour blobs, other structure, the rest.
        scale: What dark and light mean. ``"frame"``: lowest and highest weight of each filter in
            each frame, as in TensorBoard. ``"filter"``: of each filter over all frames, so its
            growth is seen. ``"layer"``: of all filters over all frames. None for ``"frame"``, or
            ``"filter"`` with ``delta``.
        zero_centred: Widen each range so that zero is in its middle.
        delta: Draw the difference from the first snapshot shown, zero-centred.
        outline: Draw a line around each filter whose colour says its label: edge, blob, colour
            blob or other structure (see ``measures.label``); of a single grid with how many there
            are.
        channels: How input channels are drawn: ``"strongest"`` collapses each filter to its
            strongest pattern, a number draws that channel alone; None for what suits their number.
        colormap: One of matplotlib's, for layers with one value a pixel.
        theme: ``"dark"`` or ``"light"``: the colours around the weights.
        size: Longer side of all grids together, in pixels, at most; the magnification is the
            largest whole number that fits. None for 640, or more for several grids.
        columns: Filters in a row; None to choose.
        fps: Snapshots a second, on average.
        seconds: How long the whole lasts; then ``fps`` has no say.
        time: What spaces the snapshots: ``"snapshot"`` (all alike), ``"epoch"`` (the training
            between them) or ``"log"`` (its logarithm, which gives the early ones more room).
        between: Pictures put between each two snapshots, by linear interpolation; the caption says
            so.
        hold: Seconds by which the first and the last picture are shown longer than the others. None
            for 1 and 2.
        loop: How often it plays; 0 for ever. None for the format's own way: for ever, and for a
            video what its player does.
        huge: Allow what would take more than 2 GB of memory, or might take more than 20 GB of disk.
        progress: Called with the frames done and the frames there are, after each.

    Returns:
        The animation: a path to the file that displays itself in a notebook.

    Raises:
        FiltertrackError: If there is no run, no such layer or fewer than two snapshots, if two runs
            cannot be compared, or if an option does not fit; the message says what would.
        OSError: If the file cannot be written.

    Example:
        >>> animate("runs/exp1", "evolution.gif", layers="conv1")  # doctest: +SKIP
        Animation(path=PosixPath('evolution.gif'), frames=31, seconds=6.1, shape=(733, 646))
    """
    layers, steps, filters = map(repeatable, (layers, steps, filters))
    given = locals()
    if output is None:
        run = run if isinstance(run, Run) else Run(run)
        output = default_output(run.path, "evolution.gif", animate, given)
    target = Path(output)
    check_target(target, ANIMATION_FORMATS)
    form = format_of(target)
    start = form.opener(loop)
    pace = Pace(fps=fps, seconds=seconds, time=time, between=between, hold=hold)
    look = Look(
        scale=scale,
        zero_centred=zero_centred,
        delta=delta,
        outline=outline,
        channels=channels,
        order=order,
        filters=filters,
        colormap=colormap,
        theme=theme,
    )
    for name, number in (("size", size), ("columns", columns)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise FiltertrackError(f"{name}: expected a whole number from 1 on, got {number!r}")
    selection = select_from_run(run, layers=layers, compare=compare, steps=steps, least=2)
    film = AnimationFrames(
        selection,
        plan(selection.moments[0], pace),
        look,
        side=size,
        columns=columns,
        indexed=form.palette,
        even=form.video,
        huge=huge,
    )
    if size is not None and film.side > size:
        raise FiltertrackError(
            f"size: {size} pixels are too few for one pixel a weight; expected at least "
            f"{film.side}, or fewer filters"
        )
    form.check_shape(film.shape)
    write_whole(target, lambda file: _write(film, start(file, film.shape, film.colours), progress))
    return Animation(target, len(film.timeline.frames), film.timeline.seconds, film.shape)


def _write(
    film: AnimationFrames, start: AbstractContextManager[Writer], progress: Progress | None
) -> None:
    frames = film.timeline.frames
    with start as writer:
        for done, (frame, picture) in enumerate(zip(frames, film.pictures(), strict=True), start=1):
            writer.add(picture, frame.seconds)
            if progress:
                progress(done, len(frames))
