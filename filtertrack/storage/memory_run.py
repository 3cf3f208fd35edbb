"""A run of one snapshot in memory: to draw the filters of a model or file that is no run."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.response import StoredProbes
from filtertrack.snapshot import LayerInfo, Moment, Snapshot
from filtertrack.storage.paths import StoragePath, path_of
from filtertrack.storage.run import Run
from filtertrack.storage.run_format import Member, members_of

Reader = Callable[[Sequence[LayerInfo]], Mapping[str, np.ndarray]]
"""Returns the kernels and biases of layers, by their names in a snapshot file."""
_FIRST = Moment(0, 0)


class MemoryRun(Run):
    """A run of one snapshot that is not stored; its layers are read when they are first needed.

    Args:
        name: What the snapshot is of, such as a file's name, for messages.
        layers: The layers.
        read: Reads the arrays of layers.
        moment: The moment of the snapshot.

    Example:
        >>> from filtertrack.storage.run import Run
        >>> run = Run("tests/golden/run-v1")
        >>> one = MemoryRun("model", run.layers.values(), lambda _: run.snapshot(2).arrays)
        >>> one.steps, one.kernels("conv1", 0).shape
        ([0], (4, 3, 3, 1))
    """

    def __init__(
        self, name: str, layers: Sequence[LayerInfo], read: Reader, moment: Moment = _FIRST
    ) -> None:
        self.path: StoragePath = path_of(name)
        self.layers = MappingProxyType({info.name: info for info in layers})
        self.software = MappingProxyType({})
        self.within = None
        self._read_layers = read
        self._owners = {
            member: info
            for info in layers
            for member in (info.kernel, info.bias)
            if member is not None
        }
        # The text of the moment; arrays are added when they are read.
        self._only = moment
        self._kept = members_of(Snapshot(moment, {}))

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse pickling: the model or file is not held in the pickle."""
        raise TypeError("a run in memory cannot be pickled")

    @property
    def steps(self) -> list[int]:
        """The only step."""
        return [self._only.step]

    @property
    def probes(self) -> StoredProbes | None:
        """None: a model or file holds no probes."""
        return None

    def file(self, step: int) -> StoragePath:
        """Refuse: there is no file."""
        raise FiltertrackError(f"{str(self.path)!r} is not a run on disk: no file of step {step}")

    def _read(self, step: int, members: Sequence[Member]) -> dict[str, np.ndarray]:
        if step != self._only.step:
            only = self._only.step
            raise FiltertrackError(f"{str(self.path)!r} has only step {only}, got {step}")
        for member in members:
            if member.name not in self._kept:
                arrays = self._read_layers([self._owners[member.name]])
                self._kept.update(members_of(Snapshot(self._only, arrays)))
        return {member.name: self._kept[member.name] for member in members}
