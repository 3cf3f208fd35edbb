"""TensorBoard summaries of a layer over the whole run: an animation and a filmstrip."""

import io
from collections.abc import Sequence

from tensorboard.compat.proto.summary_pb2 import Summary

from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.filmstrip_picture import FilmstripPicture, card_rows
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.outputs.timeline import plan
from filtertrack.render.cells import explain, explain_scale, view_of
from filtertrack.render.encoders.png import AnimatedPngWriter, to_png
from filtertrack.render.grid import PAGE
from filtertrack.render.look import Look
from filtertrack.snapshot import LayerInfo, start_text
from filtertrack.tensorboard_plugin.summary_values import IMAGE_WIDTH, image_value

_MOST_FRAMES, _FEWEST_FRAMES, _ALL_FRAMES = 60, 12, 600
"""Maximum and minimum of the frames of one layer's animation, and their sum over all layers."""
_PACE = Pace(fps=8.0)


def steps_of_animations(steps: Sequence[int], layers: int) -> list[int]:
    """Return the steps that the animation of each layer shows, evenly spaced.

    Args:
        steps: All steps of the run.
        layers: How many layers have an animation.
    """
    most = max(_FEWEST_FRAMES, min(_MOST_FRAMES, _ALL_FRAMES // max(1, layers)))
    if len(steps) <= most:
        return list(steps)
    return [steps[round(n * (len(steps) - 1) / (most - 1))] for n in range(most)]


def evolution_values(
    info: LayerInfo, moving: Sequence[int], still: Sequence[int], selection: RunSelection
) -> tuple[RunSelection, list[Summary.Value]]:
    """Return the animation and the filmstrip of a layer; nothing for a single snapshot.

    Args:
        info: The layer.
        moving: The steps of the animation.
        still: The steps of the filmstrip.
        selection: The layer at the readable ones of these steps.

    Returns:
        The selection, and the two images.
    """
    animated, side_by_side = selection.at(moving), selection.at(still)
    if len(animated.steps) < 2:
        return selection, []
    values = [_timelapse(animated, info)]
    if len(side_by_side.steps) > 1 and view_of(info).kind != "matrix":  # too small side by side
        values.append(_filmstrip(side_by_side, info))
    return selection, values


def _timelapse(selection: RunSelection, info: LayerInfo) -> Summary.Value:
    view = view_of(info)
    look = Look(filters=range(PAGE) if view.count > PAGE else None, delta=False)
    timeline = plan(selection.moments[0], _PACE)
    frames = AnimationFrames(selection, timeline, look, side=IMAGE_WIDTH)
    file = io.BytesIO()
    with AnimatedPngWriter(file, frames.shape, frames.colours) as png:
        for frame, picture in zip(frames.timeline.frames, frames.pictures(), strict=True):
            png.add(picture, frame.seconds)
    filters = f"the first {PAGE} filters, " if view.count > PAGE else ""
    about = (
        f"Animation of {len(selection.steps)} snapshots, {filters}from {_first_moment(selection)} "
        f"on. "
        f"{explain(info, curves=True)} {explain_scale(view)}"
    )
    return image_value(f"filters_timelapse/{info.name}", [file.getvalue()], frames.shape, about)


def _filmstrip(selection: RunSelection, info: LayerInfo) -> Summary.Value:
    view = view_of(info)
    rows = min(view.count, card_rows(view, len(selection.steps)))
    look = Look(filters=range(rows) if rows else None, delta=False)
    picture = FilmstripPicture(selection, look).card(IMAGE_WIDTH)
    about = (
        f"Filmstrip: filters from the first one down, steps from the first one across. "
        f"{explain(info)} {explain_scale(view)}"
    )
    return image_value(
        f"filters_filmstrip/{info.name}", [to_png(picture)], picture.shape[:2], about
    )


def _first_moment(selection: RunSelection) -> str:
    first = selection.moments[0][0]
    return start_text(first) if first.step else "the start of training"
