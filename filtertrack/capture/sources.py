"""Opens what people have filters in: models, modules, files, runs and arrays, as one kind."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from filtertrack.capture.array_layers import ArrayLayers, Axes
from filtertrack.capture.checkpoint_search import checkpoints_in
from filtertrack.capture.checkpoints.checkpoint_paths import (
    ARRAY_ENDINGS,
    is_checkpoint_name,
    is_saved_model,
)
from filtertrack.capture.kernel_axes import axes_missing
from filtertrack.capture.layer_selection import NoConvolutionError
from filtertrack.capture.layer_source import LayerSource
from filtertrack.errors import FiltertrackError, command_or_call, counted
from filtertrack.storage.paths import PathOrAddress, is_address, path_of
from filtertrack.storage.redaction import without_userinfo
from filtertrack.storage.run import Run
from filtertrack.tensorboard_plugin.logdir import run_at

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
            array or nested lists of numbers, or several arrays by name.
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
        from filtertrack.capture.checkpoints.file_formats import (  # noqa: PLC0415
            open_checkpoint,  # imports all readers, which runs do not need
        )

        with open_checkpoint(
            Path(source), axes=axes if isinstance(axes, str) else None
        ) as checkpoint:
            yield checkpoint
    elif isinstance(source, (Mapping, list, tuple)) or hasattr(source, "__array__"):
        yield _array_layers(source, axes)
    else:
        raise FiltertrackError(f"expected {EXPECTED}, got {type(source).__name__}")


def open_run_at(path: PathOrAddress) -> Run:
    """Open a run; for a checkpoint, or a folder of some, say in the error what can be done with it.

    Raises:
        FiltertrackError: If there is no run at the path or address, or it cannot be read; the
            message names runs below it.
    """
    check_no_checkpoint(path)
    try:
        return run_at(path)
    except FiltertrackError as error:
        local = Path(str(path_of(path)))
        is_folder = local.is_dir() and not Run.exists(path)
        files = list(checkpoints_in(local, {})) if is_folder else []
        if not files:
            raise
        plot = command_or_call(f"`filtertrack plot {files[0]}`", f"plot_filters({files[0]!r})")
        make = command_or_call(
            f"`filtertrack import {local} -o RUN`", "Run.from_models(folder, files)"
        )
        raise FiltertrackError(
            f"{error}; it holds {counted(len(files), 'checkpoints')}: {plot} draws the filters of "
            f"one, and {make} makes a run of them"
        ) from error


def check_no_checkpoint(path: PathOrAddress) -> None:
    """Raise ``FiltertrackError`` for a checkpoint where a run is expected; it says what to do."""
    given = str(path)
    if is_address(given):  # recognised by its text: the package for that storage may be missing
        address = without_userinfo(given)
        if _is_named_as_checkpoint(address.partition("?")[0]):
            raise FiltertrackError(
                f"{address!r} is the address of a checkpoint file and no run: download it first, "
                f"and give the path of the file"
            )
        return
    text = str(path_of(path))
    local = Path(text)
    is_named = local.is_file() and _is_named_as_checkpoint(local.name)
    if is_named or (is_saved_model(local) and not Run.exists(path)):
        kind = "file" if local.is_file() else "folder"
        raise FiltertrackError(
            f"{text!r} is a checkpoint {kind} and no run: "
            f"{command_or_call('`filtertrack plot`', 'plot_filters')} draws its filters, and "
            f"{command_or_call('`filtertrack import`', 'Run.from_models')} makes a run of several"
        )


def _is_named_as_checkpoint(name: str) -> bool:
    """Whether a name ends like that of a checkpoint or of a file of arrays."""
    return is_checkpoint_name(name) or name.lower().endswith(ARRAY_ENDINGS)


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

    try:
        tracked = TrackedLayers(model)
        if not tracked.ready:
            tracked.finish()
    except NoConvolutionError as error:
        raise _no_convolution(model) from error
    return tracked


def _torch_layers(module: Any) -> LayerSource:
    from filtertrack.capture.torch_layers import TorchLayers  # noqa: PLC0415 - rarely needed

    try:
        return TorchLayers(module)
    except NoConvolutionError as error:
        raise _no_convolution(module, str(error)) from error


def _no_convolution(source: Any, reason: str = "") -> FiltertrackError:
    name = type(source).__name__
    reason = reason or (
        f"the {name} {source.name!r} has no convolution: neither it nor a layer in it is a Conv, "
        f"DepthwiseConv, SeparableConv or ConvLSTM"
    )
    return FiltertrackError(
        f"{reason}; give the weights of another layer as an array with axes=, those of a dense "
        f"layer on images as weights.reshape(height, width, channels, -1) with axes='HWIO'"
    )


def _array_layers(source: Any, axes: Axes | None) -> LayerSource:
    arrays = source if isinstance(source, Mapping) else {"kernel": _as_array(source)}
    if not arrays:
        raise FiltertrackError("the dictionary has no arrays; expected name to array")
    if axes is None:
        named = isinstance(source, Mapping)
        shape = "" if named else f" of shape {np.shape(arrays['kernel'])}"
        raise axes_missing(f"the array{shape}")
    return ArrayLayers(arrays, axes)


def _as_array(source: Any) -> Any:
    """Return an array, or nested lists of numbers as an array.

    Raises:
        FiltertrackError: If it is a list of arrays, as ``get_weights`` returns, or of something
            else than numbers.
    """
    if not isinstance(source, (list, tuple)):
        return source
    if any(hasattr(each, "__array__") and np.ndim(each) for each in source):
        raise FiltertrackError(
            f"expected one array, got a {type(source).__name__} of {counted(len(source), 'arrays')}"
            f": give one of them, such as get_weights()[0], or several by name, such as "
            f"{{'conv1': array}}"
        )
    try:
        array = np.asarray(source)
    except ValueError:  # of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biufc" or not array.size:
        raise FiltertrackError(f"expected {EXPECTED}, got {type(source).__name__}")
    return array
