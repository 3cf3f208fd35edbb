"""The processes that train one model, for a single process and for those of torch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from filtertrack.capture.training_source import TrainingSource


class Processes:
    """The processes that train one model; this class is for a single process.

    Attributes:
        writes: Whether this process claims the folder and writes the run.
        takes_part: Whether this process does anything for tracking.
        alone: Whether no other process takes part.
    """

    writes = True
    takes_part = True
    alone = True

    def begin(self, source: TrainingSource, start: Callable[[], int | None]) -> int | None:  # noqa: ARG002
        """Begin a run in process 0, and return the result in every process.

        Args:
            source: The kernels of the run, which identify it together with its number.
            start: Claims and opens the folder; returns the number of batches before, or None if it
                is unknown. Only called in process 0.

        Returns:
            The return value of ``start``, in every process.

        Raises:
            FiltertrackError: In every process, if ``start`` failed, or has not returned after five
                minutes.
        """
        return start()

    def is_needed(self, source: TrainingSource) -> bool:  # noqa: ARG002
        """Whether this process must call ``read`` together with the others."""
        return True

    def read(self, source: TrainingSource, step: int) -> dict[str, np.ndarray] | None:  # noqa: ARG002
        """Copy every tracked weight to the host.

        Args:
            source: Kernels that are built.
            step: The snapshot's step: every needed process must read the same one.

        Returns:
            Member name to a complete array that shares no memory with the model; None in a process
            that does not write.

        Raises:
            FiltertrackError: If kernels are sharded over several processes, and the others did not
                call ``read`` within a minute.
        """
        return source.read()


class InactiveProcess(Processes):
    """A process that is not needed: it writes, copies and communicates nothing."""

    writes = False
    takes_part = False


def torch_processes(torch: Any) -> Processes:
    """Return the processes of ``torch.distributed``, of which only rank 0 writes.

    Args:
        torch: The module.
    """
    dist = torch.distributed
    several = dist.is_available() and dist.is_initialized()
    return InactiveProcess() if several and dist.get_rank() > 0 else Processes()
