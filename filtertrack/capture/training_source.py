"""``TrainingSource``: the kernels of a model that is being trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from filtertrack.response import LayerResponse, StoredProbes
from filtertrack.snapshot import LayerInfo


class PreparedProbes(Protocol):
    """The probes of a training, ready to be shown to the model.

    Attributes:
        stored: The probes as they are stored, with what is read of each layer.
        remarks: Sentences for the user about layers whose responses are not read.
        waiting_bytes: Bytes of a snapshot that wait for the background thread.
    """

    stored: StoredProbes
    remarks: Sequence[str]
    waiting_bytes: int

    def responses(self, failed: Callable[[Exception], None]) -> Mapping[str, LayerResponse]:
        """Show the model the probes; the result may be computed when it is first read.

        Args:
            failed: Called, on the thread that reads the result, if it cannot be computed.

        Raises:
            FiltertrackError: If the model cannot be called.
        """


class TrainingSource(ABC):
    """A ``LayerSource`` whose kernels are read again and again during a training.

    The defaults are those of a source whose kernels exist before training starts.

    Attributes:
        remarks: Sentences for the user about the choice of layers.
        others: Descriptions of the kernels that are not tracked.
        advice_if_unchanged: What to check if no weight has changed at the second snapshot of a
            training loop of the user's own.
    """

    remarks: Sequence[str] = ()
    others: Sequence[LayerInfo] = ()
    advice_if_unchanged = ""

    @property
    @abstractmethod
    def infos(self) -> Sequence[LayerInfo]:
        """A description of each kernel, in data-flow order as far as it is known."""

    @abstractmethod
    def rename(self, infos: Sequence[LayerInfo]) -> None:
        """Use the descriptions of the run that this training continues.

        Args:
            infos: A description of each kernel, in the order of ``infos``.
        """

    @abstractmethod
    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Copy kernels and biases to the host: see ``LayerSource``."""

    @abstractmethod
    def software(self) -> dict[str, str]:
        """Return the name and version of each library of the framework, for the manifest."""

    @property
    def ready(self) -> bool:
        """Whether every tracked kernel exists, so that it can be read."""
        return True

    def finish(self, *, whole: bool = False) -> None:  # noqa: B027 - nothing to do by default
        """Describe the layers in their present state.

        Args:
            whole: Refuse a model if any layer to track has no weights yet; otherwise only if all of
                them have none.

        Raises:
            FiltertrackError: If nothing matches the selection, or weights are missing.
        """

    def watch_first_step(self) -> Callable[[], None]:
        """Start reading the initial weights of layers that are built in the first training step.

        Returns:
            A function that stops it.
        """
        return _nothing

    def initial_weights(self) -> dict[str, np.ndarray] | None:
        """Return the untrained weights that ``watch_first_step`` read; None if some are missing."""
        return None

    def weights(self) -> dict[str, Any]:
        """Return every tracked kernel and bias as the framework holds it, without copying."""
        raise NotImplementedError

    def update(self) -> None:  # noqa: B027 - nothing to do by default
        """Update the model from the state of its training, before its weights are read."""

    @property
    def has_probes(self) -> bool:
        """Whether the user gave probes."""
        return False

    def prepare_probes(self) -> PreparedProbes | None:
        """Prepare the pass of the probes; return None if there are none.

        Raises:
            FiltertrackError: If the model does not take them.
        """
        return None

    @property
    def was_trained(self) -> bool:
        """Whether the model is known to have been trained before."""
        return False

    @property
    def averages_weights(self) -> bool:
        """Whether the optimizer replaces weights by their averages at the end of training."""
        return False


def _nothing() -> None:
    """Do nothing."""
