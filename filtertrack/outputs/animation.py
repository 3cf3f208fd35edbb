"""Write an animation of a run: the public function ``animate``."""

import base64
import html
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filtertrack.errors import FiltertrackError, repeatable
from filtertrack.outputs.animation_pace import Pace, Time
from filtertrack.outputs.frame_sequence import FrameSequence, FrameSequenceWriter
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.output_names import default_output
from filtertrack.outputs.response_maps import (
    Responses,
    is_wanted,
    probe_numbers,
    select_responses,
)
from filtertrack.outputs.run_selection import RunLike, RunSelection, Steps, open_run, skip_damaged
from filtertrack.outputs.timeline import Timeline, plan
from filtertrack.render.encoders.formats import ANIMATION_FORMATS, Writer, format_of
from filtertrack.render.frame_palettes import Repaint
from filtertrack.render.look import Channels, Filters, Look, Order, Scale, ThemeName
from filtertrack.storage.local_files import check_target, write_whole

Progress = Callable[[int, int], None]
_LARGEST_IN_A_NOTEBOOK = 50 << 20
"""Bytes of a file that a notebook shows, at most."""


@dataclass(frozen=True, slots=True)
class Animation(os.PathLike[str]):
    """An animation in a file: a path that a notebook displays as the animation.

    Attributes:
        path: The file; of a picture for each frame the path with its ``%04d``.
        frames: Number of frames.
        seconds: Duration.
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
        """Return HTML that contains the file's bytes, so that a saved notebook still shows it.

        Of a picture for each frame it is the last one.
        """
        form = format_of(self.path)
        sequence = FrameSequence.of(self.path)
        file = sequence.file(self.frames - 1) if sequence else self.path
        name = html.escape(str(file))
        size = file.stat().st_size
        if size > _LARGEST_IN_A_NOTEBOOK:
            return f"<p>{name}: {size / 1e6:.0f} MB, too large for a notebook</p>"
        data = f"data:{form.mime};base64,{base64.b64encode(file.read_bytes()).decode()}"
        height, width = self.shape
        shape = f'width="{width}" height="{height}"'
        if form.video:
            return f'<video src="{data}" {shape} controls autoplay loop muted></video>'
        return f'<img src="{data}" {shape} alt="{name}">'


def animate(
    run: RunLike,
    output: str | os.PathLike[str] | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    compare: RunLike | None = None,
    one_scale: bool = False,
    match: bool = False,
    steps: Steps | None = None,
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
    theme: ThemeName = "dark",
    size: int | None = None,
    columns: int | None = None,
    big: bool = False,
    responses: Responses = None,
    fps: float = 10.0,
    seconds: float | None = None,
    time: Time = "snapshot",
    between: int = 0,
    hold: tuple[float, float] | None = None,
    loop: int | None = None,
    huge: bool = False,
    progress: Progress | None = None,
) -> Animation:
    """Write an animation of a run's snapshots: grids of filters under a caption.

    The file is written whole or not at all; an existing one is replaced. A damaged snapshot is left
    out, with a warning in the log. Memory does not grow with the number of snapshots.

    PNG and WebP are exact: a decoded pixel has the colour of its weight. So is a GIF of layers with
    one value a pixel (grey or through a colormap), also beside others. Colour filters are near in a
    GIF: each frame draws the weights that have noticeably changed in up to 235 new colours, without
    dithering. MP4 and WebM are the smallest, and approximate.

    Args:
        run: A run or its folder.
        output: The file to write. Its ending selects the format: ``.gif``, ``.png`` or ``.apng``,
            ``.webp``, and with the extra ``filtertrack[video]`` ``.mp4`` and ``.webm``. A name
            such as ``frames/%04d.png`` makes a PNG file for each frame, from ``0000.png`` on,
            without their durations; the folder is created, and all files are written or none. A
            file with a higher number is an error, as it would be taken for a frame. None for
            ``evolution.gif`` (``responses.gif``) in the run's folder, with the options that are not
            the defaults in its name, such as ``evolution-conv2-delta.gif``.
        layers: A layer, or several, each with its own grid. None for the first that has changed.
        compare: A second run, or its folder, drawn beside the first: the same layers at the same
            steps, each run on its own scale and in its own order.
        one_scale: Give both runs the same scale.
        match: Draw each filter of the second run at the position of the filter of the first that is
            most like it at the last snapshot; takes ``filtertrack[match]``.
        steps: Numbers of snapshots, each of which must exist, and ranges, which select the
            snapshots inside them. None for all.
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
        order: The order of the filters. ``"stored"``: as in the kernel. ``"similarity"``: each
            beside the one most like it at the last snapshot. ``"orientation"``: by the direction of
            their edges. ``"drift"``: the one that has turned farthest from its start first.
            ``"label"``: edges, blobs, colour blobs, fine gratings, other structure, the others.
        scale: The value range from dark to light. ``"frame"``: lowest and highest weight of each
            filter in each frame, as in TensorBoard. ``"filter"``: of each filter over all frames,
            which shows its growth. ``"layer"``: of all filters over all frames. None for
            ``"frame"`` where the filters are drawn alone, else for ``"filter"``.
        zero_centred: Widen each range so that zero is in its middle.
        delta: True draws what training has added: the difference from the first snapshot,
            zero-centred; changes of less than one grey level (1/256 of the filter's largest weight)
            are drawn as none. False draws the filters themselves. None draws the filters, and the
            difference beside them where the filters alone hardly tell what was learned: where a
            kernel has fewer than 5x5 weights, or where the start is still strong in half of the
            filters (a cosine of 0.5 or more).
        outline: Draw a line around each filter in the colour of its label: edge, blob, colour blob,
            fine grating or other structure (see ``measures.label``). For a single grid the legend
            counts them.
        channels: How input channels are drawn. ``"strongest"``: each filter collapsed to its
            strongest pattern, light where it raises the output for inputs that are all positive.
            ``"all"``: a cell a channel, those of a filter together. A number or name: that one. Two
            or three of them, such as ``(2, 1, 0)`` or ``"bgr"``: as orange and blue, or as red,
            green and blue. None: grey for one channel, colour for the three of an image, channels
            by positions for a 1-D kernel, else the strongest pattern.
        channel_names: The name of each input channel, such as ``("A", "C", "G", "T")``.
        smooth: Interpolate between the weights of kernels of 5x5 or more; the caption says so.
        colormap: A colormap of matplotlib, for layers with one value a pixel. None for grey, and
            for ``"RdBu_r"`` where the difference is drawn.
        theme: ``"dark"`` or ``"light"``: the colours around the weights.
        size: Longer side of all grids together, in pixels, at most; the magnification is the
            largest whole number that fits. None for 640, or more for several grids.
        columns: Filters in a row; None to choose.
        big: Tell the story of one filter, such as with ``filters=[5]``: its drift and roughness are
            in the caption, and ``outline`` is on, which tells its label.
        responses: Draw what filters answer to: for each image a row with the image, the filters
            and their feature maps. True for the first probe that the run was recorded with, a
            number or a list of numbers for others: the maps that were stored, of any layer that has
            them. Or images as the model takes them, an array of shape ``(images, height, width,
            channels)`` or a list of images, for a first convolution: the dot product with the
            image at each position, bias included, before the activation function; see
            ``Run.responses``. Large maps are shrunk; each block shows its value of largest
            magnitude. Snapshots without responses are left out, with a warning in the log.
        fps: Snapshots a second, on average.
        seconds: Duration of the animation; ``fps`` is then ignored.
        time: Spacing of the snapshots: ``"snapshot"`` (equal), ``"epoch"`` (by the training between
            them) or ``"log"`` (by its logarithm, which gives early snapshots more time).
        between: Frames between each two snapshots, by linear interpolation; the caption says so.
        hold: Seconds by which the first and the last frame are shown longer than others. None for
            1 and 2.
        loop: How often the animation plays; 0 for ever. None for the default of the format: for
            ever, and of a video what its player does.
        huge: Allow more than 2 GB of memory or 20 GB of disk.
        progress: Called after each frame with the number of frames done and of all frames. If a
            damaged snapshot is found meanwhile, drawing starts again without it.

    Returns:
        The animation: the path of the file, which a notebook displays as the animation.

    Raises:
        FiltertrackError: If there is no run, no such layer or fewer than two snapshots, if two runs
            cannot be compared, or if an option is invalid; the message says what is expected.
        OSError: If the file cannot be written.

    Example:
        >>> animate("runs/exp1", "evolution.gif", layers="conv1")  # doctest: +SKIP
        Animation(path=PosixPath('evolution.gif'), frames=31, seconds=6.1, shape=(733, 646))
    """
    layers, steps, filters, responses = map(repeatable, (layers, steps, filters, responses))
    run = open_run(run)
    compare = None if compare is None else open_run(compare)
    given = locals()
    if output is None:
        images = is_wanted(responses) and probe_numbers(responses) is None
        name = "responses.gif" if images else "evolution.gif"
        if images or not is_wanted(responses):  # images have no name
            del given["responses"]
        output = default_output(run.path, name, animate, given)
    target = Path(output)
    sequence = FrameSequence.of(target)
    if sequence is None:
        check_target(target, ANIMATION_FORMATS)
    elif loop is not None:
        raise FiltertrackError("loop: a picture for each frame does not play; leave it out")
    form = format_of(target)
    start = form.opener(loop)
    pace = Pace(fps=fps, seconds=seconds, time=time, between=between, hold=hold)
    look = Look(
        scale=scale,
        zero_centred=zero_centred,
        delta=delta,
        outline=outline or big,
        channels=channels,
        channel_names=channel_names,
        smooth=smooth,
        order=order,
        filters=filters,
        colormap=colormap,
        theme=theme,
    )
    for name, number in (("size", size), ("columns", columns)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise FiltertrackError(f"{name}: expected a whole number from 1 on, got {number!r}")
    selection = select_responses(
        run, responses, layers=layers, compare=compare, steps=steps, least=2
    )

    def write(readable: RunSelection) -> Animation:
        frames = AnimationFrames(
            readable,
            plan(readable.moments[0], pace),
            look,
            side=size,
            columns=columns,
            indexed=form.palette,
            even=form.video,
            huge=huge,
            one_scale=one_scale,
            match=match,
            big=big,
            responses=responses,
        )
        if size is not None and frames.side > size:
            raise FiltertrackError(
                f"size: {size} pixels are too few for one pixel a weight; expected at least "
                f"{frames.side}, or fewer filters"
            )
        form.check_shape(frames.shape)
        timeline = frames.timeline
        durations = [frame.seconds for frame in timeline.frames]
        # A palette for each frame is what only GIF has.
        pictures = frames.repaints() if frames.quantised else frames.pictures()
        colours = frames.base_palette if frames.quantised else frames.colours
        if sequence is not None:
            sequence.check_replaceable(len(timeline.frames))
            _write(timeline, pictures, FrameSequenceWriter(sequence, colours), progress)
        else:
            write_whole(
                target,
                lambda file: _write(
                    timeline, pictures, start(file, frames.shape, colours, durations), progress
                ),
            )
        return Animation(target, len(timeline.frames), timeline.seconds, frames.shape)

    return skip_damaged(selection, write)


def _write(
    timeline: Timeline,
    pictures: Iterable[np.ndarray | Repaint],
    start: AbstractContextManager[Writer],
    progress: Progress | None,
) -> None:
    """Draw each frame and add it to the file."""
    with start as writer:
        for done, (frame, picture) in enumerate(zip(timeline.frames, pictures, strict=True), 1):
            writer.add(picture, frame.seconds)
            if progress:
                progress(done, len(timeline.frames))
