"""``SummaryOptions``: which layers have images in TensorBoard, and whether there are histograms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from filtertrack.capture.layer_source import select_infos
from filtertrack.errors import FiltertrackError, is_list
from filtertrack.snapshot import LayerInfo
from filtertrack.tensorboard_plugin.filter_summaries import default_image_layers

ImageLayers: TypeAlias = str | Sequence[str] | None
"""Names or patterns of layers; None for the default, and empty for no layer."""


@dataclass(frozen=True, slots=True)
class SummaryOptions:
    """What TensorBoard shows of a run beside scalars.

    Attributes:
        images: The layers that have images: a name or a pattern, several, none (an empty list), or
            None for ``default_image_layers``.
        histograms: Whether there are histograms.

    Raises:
        FiltertrackError: If ``images`` is something else than names, or ``histograms`` than a bool.
    """

    images: ImageLayers = None
    histograms: bool = False

    def __post_init__(self) -> None:
        """Check the types; the names are checked when the layers are known."""
        given, histograms = self.images, self.histograms
        if given is not None and not isinstance(given, str):
            if not is_list(given) or not all(isinstance(name, str) for name in given):
                raise FiltertrackError(
                    f"images: expected a layer's name or a pattern such as 'block1/*', several of "
                    f"these, '*' for all layers, or [] for none, got {given!r:.100}"
                )
            object.__setattr__(self, "images", tuple(given))
        if type(histograms) is not bool:
            raise FiltertrackError(f"histograms: expected True or False, got {histograms!r:.100}")

    def image_layers(self, layers: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
        """Return the layers that have images.

        Args:
            layers: All tracked layers, in the order in which data flows.

        Raises:
            FiltertrackError: If a name or pattern of ``images`` matches no layer.
        """
        if self.images is not None:
            return select_infos(layers, self.images, option="images")
        names = default_image_layers(layers)
        return tuple(info for info in layers if info.name in names)


DEFAULT_SUMMARIES = SummaryOptions()
"""The images of the default layers, and no histograms."""
