"""Watch a convolutional network learn to see.

Example:
    Track every convolution of a model, then turn the run into an animation::

        from filtertrack import FilterTracker, animate

        model.fit(x, y, epochs=30, callbacks=[FilterTracker("runs/exp1")])
        animate("runs/exp1", "evolution.gif")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filtertrack.animation import Animation, animate
    from filtertrack.callback import FilterTracker
    from filtertrack.errors import FiltertrackError
    from filtertrack.figure import filmstrip
    from filtertrack.labelled import to_xarray
    from filtertrack.measurement import Measurement, measure
    from filtertrack.snapshot import LayerInfo, Moment, Snapshot
    from filtertrack.store import Run
    from filtertrack.trajectories import plot_trajectories

__version__ = "0.1.0"

__all__ = [
    "Animation",
    "FilterTracker",
    "FiltertrackError",
    "LayerInfo",
    "Measurement",
    "Moment",
    "Run",
    "Snapshot",
    "animate",
    "filmstrip",
    "measure",
    "plot_trajectories",
    "to_xarray",
]

_ROOMS = {
    "Animation": "animation",
    "FilterTracker": "callback",
    "FiltertrackError": "errors",
    "LayerInfo": "snapshot",
    "Measurement": "measurement",
    "Moment": "snapshot",
    "Run": "store",
    "Snapshot": "snapshot",
    "animate": "animation",
    "filmstrip": "figure",
    "measure": "measurement",
    "plot_trajectories": "trajectories",
    "to_xarray": "labelled",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: importing the package stays light."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted([*globals(), *__all__])
