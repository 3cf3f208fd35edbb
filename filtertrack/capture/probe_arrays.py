"""Copies probe images and labels of any framework into checked arrays of numpy."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from filtertrack.errors import FiltertrackError, counted
from filtertrack.storage.memory_limit import check_memory

_STORABLE = "buif"
"""Kinds of types that numpy computes with and a run stores: bool, whole and real numbers."""
_IMAGE_AXES = 4
"""Axes of a batch of images with channels."""

Images = np.ndarray | list[np.ndarray] | dict[str, np.ndarray]
"""The images of one input, or those of several inputs in their order or by their names."""


def image_arrays(given: Any) -> Images:
    """Return copies of images.

    Args:
        given: An array, a list of images or of inputs, or a dict of inputs.

    Raises:
        FiltertrackError: If they are no finite numbers, of different numbers for each input, or
            take too much memory.
    """
    if isinstance(given, Mapping):
        inputs = {str(name): _images(each, f" of input {name!r}") for name, each in given.items()}
        _check_counts({name: len(each) for name, each in inputs.items()})
        return inputs
    if isinstance(given, list) and not given:
        raise FiltertrackError("probes: no images were given")
    if isinstance(given, list) and any(hasattr(each, "shape") for each in given):
        arrays = [_array(each) for each in given]
        shapes = [array.shape for array in arrays]
        if len({len(shape) for shape in shapes}) > 1 or len(shapes[0]) >= _IMAGE_AXES:
            several = [_images(each, f" of input {n}") for n, each in enumerate(arrays)]
            _check_counts({str(n): len(each) for n, each in enumerate(several)})
            return several
        if len(set(shapes)) > 1:
            raise FiltertrackError(
                f"probes: expected images of one shape, got {shapes[0]} and "
                f"{next(shape for shape in shapes if shape != shapes[0])}; resize them, or give "
                f"picture files, which are resized (several inputs of a model: a dict)"
            )
        given = np.stack(arrays)
    return _images(given)


def class_labels(given: Any) -> np.ndarray | None:
    """Return labels as whole numbers; None if they are no classes.

    Example:
        >>> class_labels([[0, 1], [1, 0]]).tolist(), class_labels([3.0, 1.0]).tolist()
        ([1, 0], [3, 1])
        >>> class_labels([0.5, 1.0])
    """
    if isinstance(given, Mapping):
        return None
    labels = _array(given)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in _STORABLE or not np.isfinite(labels).all():
        return None
    if (labels != np.floor(labels)).any():
        return None
    if labels.ndim == 2 and ((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all():
        labels = labels.argmax(axis=1)
    return labels.astype(np.int64) if labels.ndim == 1 else None


def _images(given: Any, what: str = "") -> np.ndarray:
    """Return a checked copy of the images of one input."""
    check_memory(getattr(given, "nbytes", 0) or 0, f"probes: the images{what} take")
    images = _array(given)
    kind = {"c": "complex numbers", "O": "objects", "U": "text", "S": "text"}.get(images.dtype.kind)
    if kind or images.dtype.kind not in _STORABLE:
        raise FiltertrackError(
            f"probes: expected numbers{what}, got {kind or f'values of type {images.dtype}'}; give "
            f"an array as the model takes it, or the paths of picture files"
        )
    if images.ndim < 2 or not len(images):
        raise FiltertrackError(
            f"probes: expected an array of images{what} whose first axis counts them, got shape "
            f"{images.shape}"
        )
    if not images.size:
        raise FiltertrackError(f"probes: the images{what} are empty, of shape {images.shape}")
    bad = ~np.isfinite(images)
    if bad.any():
        first = int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
        raise FiltertrackError(
            f"probes: {counted(int(bad.sum()), 'values')}{what} not finite (NaN or infinite), the "
            f"first in image {first}; every value must be a number"
        )
    return np.array(images)


def _array(given: Any) -> np.ndarray:
    """Return an array, or a tensor of any framework, as an array of numpy."""
    if hasattr(given, "detach"):  # a tensor of torch, perhaps on a GPU
        given = given.detach().cpu()
        given = given.float() if "bfloat16" in str(given.dtype) else given
    try:
        array = np.asarray(given)
    except Exception as error:
        raise FiltertrackError(
            f"probes: expected an array, got {type(given).__name__}, which numpy cannot read: "
            f"{error}"
        ) from error
    if array.dtype.kind == "V" and "float" in array.dtype.name:  # bfloat16
        array = array.astype(np.float32)
    return array


def _check_counts(counts: Mapping[str, int]) -> None:
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{count} of input {name}" for name, count in counts.items())
        raise FiltertrackError(
            f"probes: expected as many images for each input, got {listed or 'no inputs'}"
        )
