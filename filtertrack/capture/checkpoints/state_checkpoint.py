"""``StateCheckpoint``: a checkpoint that is a list of named arrays, as a state dict is."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.kernel_candidates import CONVENTIONS, StateArray
from filtertrack.capture.checkpoints.state_kernels import StateKernel, kernels_in_state
from filtertrack.snapshot import LayerInfo


class StateFile(ABC):
    """A file of named arrays.

    Attributes:
        arrays: Name to shape and type, in the order of the file.
        convention: The key in ``CONVENTIONS`` of the order of axes in a ``weight``.
        containers: The first parts of names that are keys of dicts around the model's state dict.
        in_order: Whether ``arrays`` are in the order in which the model's modules were made;
            otherwise kernels are in natural order of their names.
        remarks: Sentences for the user.
    """

    arrays: Mapping[str, StateArray]
    convention: str = "torch"
    containers: Collection[str] = ()
    in_order: bool = False
    remarks: tuple[str, ...] = ()

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """Read one array, in a type of ``snapshot.PLAIN_TYPES`` that holds its values exactly."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


class StateCheckpoint(Checkpoint):
    """The convolution kernels in a file of named arrays: see ``Checkpoint``.

    Args:
        path: The file, for messages.
        file: Its arrays. It is closed with the checkpoint.
        axes: The letters of the kernels' axes; None for what names and biases tell.

    Raises:
        FiltertrackError: If there is no kernel of a convolution in the file.
    """

    def __init__(self, path: Path, file: StateFile, axes: str | None = None) -> None:
        super().__init__(path)
        self._file = file
        try:
            kernels, remarks = kernels_in_state(
                file.arrays,
                CONVENTIONS[file.convention],
                axes=axes,
                in_order=file.in_order,
                containers=file.containers,
            )
        except BaseException:
            file.close()
            raise
        if not kernels:
            file.close()
            more = "".join(f"; {remark}" for remark in remarks)
            raise refused(path, f"it holds no kernel of a convolution{more}")
        self._kernels: dict[str, StateKernel] = {each.info.kernel: each for each in kernels}
        self.infos = tuple(each.info for each in kernels)
        self.remarks = (*file.remarks, *remarks)

    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Read kernels and biases: see ``Checkpoint``."""
        found = {}
        for info in self.infos if infos is None else infos:
            kernel = self._kernels[info.kernel]
            found[info.kernel] = self._kernel(kernel)
            if info.bias is not None and kernel.bias is not None:
                found[info.bias] = self._file.read(kernel.bias)
        return found

    def _kernel(self, kernel: StateKernel) -> np.ndarray:
        arrays = [self._file.read(name) for name in kernel.arrays]
        try:
            found = arrays[0] if kernel.compute is None else kernel.compute(*arrays)
        except ValueError as error:
            raise refused(self.path, f"layer {kernel.info.name}: {error}") from error
        if found.shape != kernel.info.kernel_shape:
            raise refused(
                self.path,
                f"layer {kernel.info.name}: expected a kernel of shape "
                f"{kernel.info.kernel_shape}, got {found.shape}",
            )
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()
