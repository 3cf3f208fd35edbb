"""Watch a convolutional network learn to see.

Example:
    Track every convolution of a model, then turn the run into an animation::

        from filtertrack import FilterTracker, animate

        model.fit(x, y, epochs=30, callbacks=[FilterTracker("runs/exp1")])
        animate("runs/exp1", "evolution.gif")
"""

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from filtertrack._version import __version__ as __version__

if TYPE_CHECKING:
    from filtertrack.capture.array_tracker import ArrayTracker
    from filtertrack.capture.callback import FilterTracker
    from filtertrack.capture.filter_plot import plot_filters
    from filtertrack.capture.probes import Probes
    from filtertrack.capture.torch_tracker import TorchTracker
    from filtertrack.errors import FiltertrackError
    from filtertrack.outputs.animation import Animation, animate
    from filtertrack.outputs.curves import plot_trajectories
    from filtertrack.outputs.dot_product_figure import plot_dot_product
    from filtertrack.outputs.filmstrip_figure import filmstrip
    from filtertrack.outputs.measurement import Measurement, measure
    from filtertrack.outputs.strongest_patches_figure import plot_strongest_patches
    from filtertrack.outputs.xarray_export import to_xarray
    from filtertrack.snapshot import LayerInfo, Moment, Snapshot
    from filtertrack.storage.run import Run
    from filtertrack.tensorboard_plugin.tensorboard_frame import view
    from filtertrack.web.html_file import to_html

__all__ = [
    "Animation",
    "ArrayTracker",
    "FilterTracker",
    "FiltertrackError",
    "LayerInfo",
    "Measurement",
    "Moment",
    "Probes",
    "Run",
    "Snapshot",
    "TorchTracker",
    "animate",
    "filmstrip",
    "measure",
    "plot_dot_product",
    "plot_filters",
    "plot_strongest_patches",
    "plot_trajectories",
    "to_html",
    "to_xarray",
    "view",
]

_MODULES = {
    "Animation": "outputs.animation",
    "ArrayTracker": "capture.array_tracker",
    "FilterTracker": "capture.callback",
    "FiltertrackError": "errors",
    "LayerInfo": "snapshot",
    "Measurement": "outputs.measurement",
    "Moment": "snapshot",
    "Probes": "capture.probes",
    "Run": "storage.run",
    "Snapshot": "snapshot",
    "TorchTracker": "capture.torch_tracker",
    "animate": "outputs.animation",
    "filmstrip": "outputs.filmstrip_figure",
    "measure": "outputs.measurement",
    "plot_dot_product": "outputs.dot_product_figure",
    "plot_filters": "capture.filter_plot",
    "plot_strongest_patches": "outputs.strongest_patches_figure",
    "plot_trajectories": "outputs.curves",
    "to_html": "web.html_file",
    "to_xarray": "outputs.xarray_export",
    "view": "tensorboard_plugin.tensorboard_frame",
}

_WITH_KERAS = {"FilterTracker", "Probes"}
"""Public names that cannot be loaded without Keras."""
_KERAS_AND_BACKENDS = {"keras", "tensorflow", "jax", "torch"}
_OLDEST_KERAS = (3, 4)
"""The first version whose layers have a path."""


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: importing the package stays light."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        if name in _WITH_KERAS:
            _check_version_of_keras()
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if name not in _WITH_KERAS or missing not in _KERAS_AND_BACKENDS:
            raise
        raise ModuleNotFoundError(
            f"{name} needs Keras and one of its backends: pip install 'filtertrack[tensorflow]' "
            f"(or [jax], or [torch])",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not; without Keras, those that can be loaded.

    ``help(filtertrack)`` loads each of them.
    """
    names = {*globals(), *__all__}
    return sorted(names if _has_keras() else names - _WITH_KERAS)


def _check_version_of_keras() -> None:
    """Raise an ImportError if Keras is older than the package supports."""
    found = import_module("keras").__version__
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < _OLDEST_KERAS:
        oldest = ".".join(map(str, _OLDEST_KERAS))
        raise ImportError(
            f"filtertrack: expected Keras {oldest} or later, got {found}: "
            f"pip install --upgrade keras"
        )


def _has_keras() -> bool:
    if "keras" in sys.modules:
        return sys.modules["keras"] is not None
    return find_spec("keras") is not None
