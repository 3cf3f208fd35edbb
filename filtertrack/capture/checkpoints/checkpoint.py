"""``Checkpoint``: the convolution kernels that one checkpoint file holds."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from filtertrack.capture.closing import ClosedAtExit
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo


class Checkpoint(ClosedAtExit):
    """An open checkpoint file: a ``LayerSource`` to close after use.

    Nothing in the file is executed, and no model is built. Opening reads names and shapes only;
    ``read`` reads the arrays that are asked for.

    Args:
        path: The file, for messages.

    Attributes:
        path: The file.
        infos: A description of each convolution kernel, in the order in which data flows where the
            file tells it, otherwise in natural order of the names.
        remarks: Sentences for the user about kernels that are left out or may be read in another
            way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.infos: Sequence[LayerInfo] = ()
        self.remarks: Sequence[str] = ()

    @abstractmethod
    def read(self, infos: Collection[LayerInfo] | None = None) -> Mapping[str, np.ndarray]:
        """Read kernels and biases, by their names in a snapshot file.

        Args:
            infos: Those of ``infos`` to read; None for all.

        Raises:
            FiltertrackError: If an array is damaged or lies outside the file.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


def refused(path: Path, reason: object) -> FiltertrackError:
    """Return the error for a file that is damaged, or that must not be read as it asks to be."""
    return FiltertrackError(f"cannot read {str(path)!r}: {reason}")
