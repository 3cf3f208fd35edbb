"""``Probes``: the images that a model is shown at each snapshot, as the user gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filtertrack.errors import FiltertrackError, whole

MAP_SIZE = 32
MAPS = 16


@dataclass(frozen=True, eq=False)
class Probes:
    """Images that a model is shown at each snapshot, to record what its filters answer to.

    Args:
        images: As the model takes them: an array whose first axis counts images, a mapping of such
            arrays by the names of the model's inputs, or a list of them in the order of the inputs.
        labels: The class of each image: whole numbers. Needed for class selectivity only.
        layers: The tracked layers whose responses are recorded: names or patterns; None for all.
        map_size: Height and width of the maps that are kept, at most. Larger ones are shrunk: each
            block becomes its value of largest magnitude.
        maps: Of how many images, the first ones, maps are kept. Statistics and strongest places
            are those of all images.

    Raises:
        FiltertrackError: If the images or options are of another kind.

    Example:
        >>> probes = Probes(np.zeros((4, 32, 32, 3)), labels=[0, 1, 1, 0])
        >>> probes.count
        4
    """

    images: Any
    labels: Sequence[int] | np.ndarray | None = None
    layers: str | Sequence[str] | None = None
    map_size: int = MAP_SIZE
    maps: int = MAPS

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("map_size", "maps"):
            if (whole(getattr(self, name)) or 0) < 1:
                raise FiltertrackError(
                    f"{name}: expected a whole number from 1 on, got {getattr(self, name)!r}"
                )
        counts = {len(array) for array in self.arrays}
        if len(counts) != 1 or not min(counts):
            raise FiltertrackError(f"probes: expected as many images for each input, got {counts}")
        if self.labels is not None and np.shape(self.labels) != (self.count,):
            raise FiltertrackError(
                f"labels: expected one for each of {self.count} images, got shape "
                f"{np.shape(self.labels)}"
            )

    @property
    def arrays(self) -> list[np.ndarray]:
        """The images of each input."""
        if isinstance(self.images, Mapping):
            return [np.asarray(each) for each in self.images.values()]
        if isinstance(self.images, (list, tuple)) and np.ndim(self.images[0]) > 1:
            return [np.asarray(each) for each in self.images]
        return [np.asarray(self.images)]

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.arrays[0])


def as_probes(given: Any) -> Probes | None:
    """Return probes from what the user gave: ``Probes``, or their images alone."""
    return given if given is None or isinstance(given, Probes) else Probes(given)
