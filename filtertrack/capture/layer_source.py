"""``LayerSource``: anything whose convolution kernels can be listed and read."""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

import numpy as np

from filtertrack.errors import FiltertrackError, listed
from filtertrack.snapshot import LayerInfo, layer_of


class LayerSource(Protocol):
    """The convolution kernels of a model, a module, a checkpoint file or plain arrays."""

    @property
    def infos(self) -> Sequence[LayerInfo]:
        """A description of each kernel, in the order in which data flows as far as it is known."""

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences for the user about kernels that are left out or may be read in another way."""

    def read(self, infos: Collection[LayerInfo] | None = None) -> Mapping[str, np.ndarray]:
        """Read kernels and biases, by their names in a snapshot file.

        Args:
            infos: Those of ``infos`` to read; None for all.
        """


def select_infos(
    infos: Sequence[LayerInfo], layers: str | Sequence[str] | None, option: str = "layers"
) -> tuple[LayerInfo, ...]:
    """Select kernels by the names and paths of their layers, in the order of ``infos``.

    The name of a layer with several kernels, such as a separable convolution, selects all of them.

    Args:
        infos: The kernels to select from.
        layers: A name, a path, the last part of one, or a pattern such as ``"block1/*"``, or
            several; None for all.
        option: The name of the option, for messages.

    Raises:
        FiltertrackError: If a name or pattern matches nothing.
    """
    if layers is None:
        return tuple(infos)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(_matches(info, pattern) for info in infos):
            known = listed([info.name for info in infos])
            advice = "; '*' matches all" if pattern == "all" else ""
            raise FiltertrackError(
                f"{option}: no convolution matches {pattern!r}; there are: {known}{advice}"
            )
    return tuple(info for info in infos if any(_matches(info, pattern) for pattern in patterns))


def _matches(info: LayerInfo, pattern: str) -> bool:
    names = (info.name, info.path, layer_of(info))
    return any(
        fnmatchcase(each, pattern) for name in names for each in (name, name.rpartition("/")[2])
    )
