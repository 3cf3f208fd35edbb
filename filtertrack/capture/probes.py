"""``Probes``: the images that a model is shown at each snapshot, as the user gives them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from filtertrack.capture.checkpoint_search import is_path
from filtertrack.capture.picture_paths import files_of_pictures
from filtertrack.capture.probe_arrays import class_labels, image_arrays
from filtertrack.capture.probe_batches import first_batch
from filtertrack.errors import FiltertrackError, counted, whole

MAP_SIZE = 32
MAPS = 16


@runtime_checkable
class ArrayLike(Protocol):
    """An array of numpy, or a tensor of TensorFlow, jax or torch."""

    def __array__(self) -> np.ndarray:
        """Return the values as an array of numpy."""


ProbeImages: TypeAlias = ArrayLike | str | os.PathLike[str] | Iterable[Any]
"""What ``Probes`` takes as images."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Images that a model is shown at each snapshot, to record what its filters answer to.

    ``images`` may be, and ``FilterTracker(probes=...)`` takes the same:

    - an array, or a tensor of TensorFlow, jax or torch, as the model takes it; the first axis
      counts images: ``x_val[:8]``;
    - picture files: a path, a list of paths, a folder or a pattern such as ``"photos/*.jpg"``, in
      the natural order of the names (2 before 10). They are read when training begins, and resized
      to the model's input without regard to their proportions, as Keras does in
      ``image_dataset_from_directory``. Where the model takes any size, all get that of the first
      one, at most 128 pixels in height and width;
    - a batch, as it comes from a dataset: ``(images, labels)``. Labels that are no classes are left
      out;
    - a ``tf.data.Dataset``, a ``keras.utils.PyDataset`` or a ``torch.utils.data.DataLoader``, of
      which the first batch is taken, not shuffled. A ``tf.data.Dataset`` that shuffles or changes
      images at random is refused: training on it would see other batches after one was taken;
    - for a model with several inputs a dict of arrays by the names of the inputs, or a list of
      arrays in the order of the inputs.

    Arrays are copied, and kept in their type, except that ``float64`` becomes the type of the
    model's input.

    Args:
        images: The images.
        labels: The class of each image: whole numbers, or one row of zeros and a one. Needed for
            class selectivity only.
        layers: The tracked layers whose responses are recorded: names or patterns; None for all.
        map_size: Height and width of the maps that are kept, at most. Larger ones are shrunk: each
            block becomes its value of largest magnitude.
        maps: Of how many images, the first ones, maps are kept. Statistics and strongest places
            are those of all images.
        values: For picture files: the values of black and white in the model's input. None for 0
            and 255 where the model itself rescales or normalizes such values, else for 0 and 1.

    Raises:
        FiltertrackError: If the images or options are of another kind, if a picture cannot be read,
            or if the images take more than a fourth of the memory.

    Example:
        >>> probes = Probes(np.zeros((4, 32, 32, 3)), labels=[0, 1, 1, 0])
        >>> probes.count
        4
        >>> FilterTracker("runs/exp1", probes=Probes("photos/*.jpg", maps=8))  # doctest: +SKIP
    """

    images: ProbeImages
    labels: Sequence[int] | ArrayLike | None = None
    layers: str | Sequence[str] | None = None
    map_size: int = MAP_SIZE
    maps: int = MAPS
    values: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the options, and copy the images."""
        for name in ("map_size", "maps"):
            if (whole(getattr(self, name)) or 0) < 1:
                raise FiltertrackError(
                    f"{name}: expected a whole number from 1 on, got {getattr(self, name)!r}"
                )
        images, labels = _taken(self.images)
        object.__setattr__(self, "images", images)
        if self.labels is not None and (labels := class_labels(self.labels)) is None:
            raise FiltertrackError(
                f"labels: expected a whole number for each image, got {self.labels!r:.100}"
            )
        if labels is not None and len(labels) != self.count:
            raise FiltertrackError(
                f"labels: expected one for each of {self.count} images, got {len(labels)}"
            )
        object.__setattr__(self, "labels", labels)
        if self.values is not None:
            object.__setattr__(self, "values", _two_values(self.values))
            if not self.files:
                raise FiltertrackError(
                    "values: expected with picture files only; give an array with the values that "
                    "the model takes"
                )

    def __repr__(self) -> str:
        """Return the number of images, and the options that are not the defaults."""
        given = {name: getattr(self, name) for name in ("layers", "map_size", "maps", "values")}
        default = {"layers": None, "map_size": MAP_SIZE, "maps": MAPS, "values": None}
        options = [f", {name}={value!r}" for name, value in given.items() if value != default[name]]
        return f"Probes({counted(self.count, 'images')}{''.join(options)})"

    @property
    def files(self) -> tuple[Path, ...]:
        """The picture files; empty if the images are arrays."""
        given: Any = self.images
        return given if isinstance(given, tuple) else ()

    @property
    def count(self) -> int:
        """The number of images."""
        if self.files:
            return len(self.files)
        given: Any = self.images
        if isinstance(given, Mapping):
            given = list(given.values())
        return len(given[0] if isinstance(given, list) else given)


def as_probes(given: Probes | ProbeImages | None) -> Probes | None:
    """Return probes from what the user gave: ``Probes``, or their images alone."""
    return given if given is None or isinstance(given, Probes) else Probes(given)


def _taken(given: Any) -> tuple[Any, np.ndarray | None]:
    """Return copies of images, or the paths of picture files, with the labels of a batch."""
    if is_path(given):
        return files_of_pictures([given]), None
    if isinstance(given, (list, tuple)) and given and all(map(is_path, given)):
        return files_of_pictures(given), None
    if isinstance(given, Iterator):
        first: Any = next(given, None)
        if is_path(first):  # as of Path.glob
            return files_of_pictures([first, *given]), None
    if not isinstance(given, (list, Mapping, tuple, ArrayLike)):
        given = first_batch(given)
    labels = None
    if isinstance(given, tuple):
        if not 1 <= len(given) <= 3:  # as Keras takes batches
            raise FiltertrackError(
                f"probes: a tuple is a batch, (images, labels), got {len(given)} values; give "
                f"several inputs of a model as a list or a dict"
            )
        images = image_arrays(given[0])
        labels = class_labels(given[1]) if len(given) > 1 else None
        return images, labels
    return image_arrays(given), labels


def _two_values(values: Any) -> tuple[float, float]:
    try:
        low, high = map(float, values)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low != high):
        raise FiltertrackError(
            f"values: expected two numbers, those of black and white, got {values!r:.100}"
        )
    return low, high
