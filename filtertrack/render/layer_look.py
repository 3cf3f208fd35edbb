"""What a look means for given layers: checks that its options have an effect, and describes it."""

from collections.abc import Sequence

from filtertrack.errors import FiltertrackError, counted
from filtertrack.render.cells import View, view_of
from filtertrack.render.look import GREY, Look
from filtertrack.snapshot import LayerInfo


def check_look(look: Look, views: Sequence[View]) -> None:
    """Refuse a colormap or outlines that would not be visible.

    Raises:
        FiltertrackError: If a colormap is given and every layer is drawn in its own colours, or
            outlines and no layer has filters to outline.
    """
    if look.outline and all(view.kind == "matrix" for view in views):
        raise FiltertrackError(
            "outline: 1x1 kernels are drawn as one matrix, which has no filters to outline; leave "
            "it out"
        )
    if look.colormap != GREY and all(view.coloured for view in views):
        raise FiltertrackError(
            f"colormap {look.colormap!r}: layers with three input channels are drawn in their own "
            f"colours; leave the colormap out"
        )


def describe_look(look: Look, infos: Sequence[LayerInfo]) -> list[str]:
    """Describe what is done to the weights before they are drawn, for a caption.

    Args:
        look: How they are drawn.
        infos: The layers that are drawn.

    Returns:
        A phrase for each step, such as "difference from the start"; empty for plain weights.
    """
    parts = []
    if isinstance(look.channels, int):
        parts.append(f"channel {look.channels}")
    patterns = [info for info in infos if view_of(info, look.channels).kind == "pattern"]
    if len(infos) == 1 and patterns:
        parts.append(f"strongest pattern of {counted(infos[0].shape[3], 'channels')}")
    elif patterns:
        parts.append("strongest patterns")
    if look.delta:
        parts.append("difference from the start")
    return parts
