"""Opens what people have filters in: models, modules, files, runs and arrays, as one kind."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from filtertrack.capture.array_layers import ArrayLayers, Axes
from filtertrack.capture.checkpoints.file_formats import open_checkpoint
from filtertrack.capture.layer_source import LayerSource
from filtertrack.errors import FiltertrackError

EXPECTED = (
    "a Keras model or layer, a torch module, a checkpoint file, a run or its folder, or an array "
    "with axes="
)
"""What can be opened, for messages."""


@contextmanager
def open_source(source: Any, *, axes: Axes | None = None) -> Iterator[LayerSource]:
    """Open a model, module, file or array, to list and read its kernels.

    Args:
        source: A Keras model or layer, a ``torch.nn.Module``, the path of a checkpoint file, an
            array, or several arrays by name.
        axes: The letters of the axes of arrays, and of kernels in files that do not tell.

    Raises:
        FiltertrackError: If it is something else, has no convolution, or cannot be read.
    """
    framework = framework_of(source)
    if framework == "keras":
        yield _keras_layers(source)
    elif framework == "torch":
        yield _torch_layers(source)
    elif isinstance(source, (str, os.PathLike)):
        with open_checkpoint(
            Path(source), axes=axes if isinstance(axes, str) else None
        ) as checkpoint:
            yield checkpoint
    elif isinstance(source, Mapping) or hasattr(source, "__array__"):
        yield _array_layers(source, axes)
    else:
        raise FiltertrackError(f"expected {EXPECTED}, got {type(source).__name__}")


def framework_of(source: Any) -> str | None:
    """Return ``"keras"`` for a model or layer of Keras, ``"torch"`` for a module, else None.

    No framework is imported. With the torch backend a model of Keras is a torch module as well.
    """
    packages = {cls.__module__.partition(".")[0]: cls for cls in type(source).__mro__}
    if "keras" in packages and hasattr(source, "variables"):
        return "keras"
    modules = {f"{cls.__module__}.{cls.__name__}" for cls in type(source).__mro__}
    return "torch" if "torch.nn.modules.module.Module" in modules else None


def _keras_layers(model: Any) -> LayerSource:
    from filtertrack.capture.tracked_layers import TrackedLayers  # noqa: PLC0415 - imports Keras

    tracked = TrackedLayers(model)
    if not tracked.ready:
        tracked.finish()
    return tracked


def _torch_layers(module: Any) -> LayerSource:
    from filtertrack.capture.torch_layers import TorchLayers  # noqa: PLC0415 - rarely needed

    return TorchLayers(module)


def _array_layers(source: Any, axes: Axes | None) -> LayerSource:
    if axes is None:
        shape = "" if isinstance(source, Mapping) else f" of shape {np.shape(source)}"
        raise FiltertrackError(
            f"axes: say which axis of the array{shape} is which, such as axes='HWIO' (Keras) or "
            f"'OIHW' (torch)"
        )
    return ArrayLayers(source if isinstance(source, Mapping) else {"kernel": source}, axes)
