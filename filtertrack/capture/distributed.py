"""Which process of several this is, and how weights that lie in all of them are brought together.

Only process 0 writes. Where it holds every kernel the others do nothing. Where a part of one lies
in another process only, it takes all of them together to read it.

What they agree on goes through jax's coordination service, not through their devices: a device that
waits for a process that does not come waits for ever, a call to the service does not.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from filtertrack.capture.layer_kernels import copied
from filtertrack.capture.tracked_layers import TrackedLayers
from filtertrack.errors import FiltertrackError

_PATIENCE = 60.0
"""Seconds that a snapshot of sharded kernels waits for the other processes."""
_PATIENCE_ONCE_MISSED = 5.0
"""The same, after they did not come: a process that is out of step costs training this, no more."""
_FIRST_PATIENCE = 300.0
"""Seconds to wait for process 0 to begin. The first training step would wait for it as well."""
_GROUP = 256 << 20
"""Bytes of sharded kernels that are brought together at once: each device holds them meanwhile."""
_LISTEN = 1.0
"""Seconds of one call to the service: Ctrl-C is seen between two."""

_begun: Counter[str] = Counter()
"""How many runs of which layers began here: in each process as many, so that it names one."""


class Processes:
    """One process alone: it begins, reads and writes, and asks nobody.

    Attributes:
        writes: Whether this process claims the folder and writes the run.
        takes_part: Whether this process does anything at all.
        alone: Whether no other process takes part.
    """

    writes = True
    takes_part = True
    alone = True

    def begin(self, tracked: TrackedLayers, start: Callable[[], int | None]) -> int | None:  # noqa: ARG002
        """Begin a run: process 0 does it, and all learn how that went.

        Args:
            tracked: The kernels of the run; with their order they tell one run from another.
            start: Claims and opens the folder; returns how many batches were seen before, or None
                where nothing says it. Only called in process 0.

        Returns:
            What ``start`` returned, in every process.

        Raises:
            FiltertrackError: In every process, if ``start`` failed, or said nothing for five
                minutes.
        """
        return start()

    def is_needed(self, tracked: TrackedLayers) -> bool:  # noqa: ARG002
        """Whether this process must ``read`` when the others do."""
        return True

    def read(self, tracked: TrackedLayers, step: int) -> dict[str, np.ndarray] | None:  # noqa: ARG002
        """Copy every tracked weight to the host.

        Args:
            tracked: Kernels that are built.
            step: The snapshot's step: every process that is needed must read the same one.

        Returns:
            Member name to an array of its own, whole; None in a process that does not write.

        Raises:
            FiltertrackError: If kernels lie in several processes, and the others did not come
                within a minute.
        """
        return tracked.read()


class Bystander(Processes):
    """A process of several that has nothing to add: no files, no copies, no communication."""

    writes = False
    takes_part = False


class JaxProcesses(Processes):
    """One of several processes of jax that train one model together.

    Args:
        jax: The module, already in use by Keras.
    """

    alone = False

    def __init__(self, jax: Any) -> None:
        self._jax = jax
        self._service = _coordination_service()
        self._name = ""
        self._missed = False
        self._meetings: Counter[int] = Counter()
        self.writes = jax.process_index() == 0

    def begin(self, tracked: TrackedLayers, start: Callable[[], int | None]) -> int | None:
        """Begin a run in process 0, and tell the others how that went."""
        layers = ",".join(f"{info.kernel}{list(info.kernel_shape)}" for info in tracked.infos)
        _begun[layers] += 1
        self._name = f"filtertrack/{_begun[layers]}/{layers}"
        if not self.writes:
            return self._hear()
        try:
            batches = start()
        except BaseException as error:
            # Whatever it is, even Ctrl-C: the others would wait for this process in vain.
            self._tell({"error": str(error) or type(error).__name__})
            raise
        self._tell({"batches": batches})
        return batches

    def is_needed(self, tracked: TrackedLayers) -> bool:
        """Whether this process writes, or has a part that process 0 lacks to write it."""
        return self.writes or any(map(_is_spread, _arrays_of(tracked).values()))

    def read(self, tracked: TrackedLayers, step: int) -> dict[str, np.ndarray] | None:
        """Copy every tracked weight to the host of process 0."""
        weights = _arrays_of(tracked)
        spread = {member: value for member, value in weights.items() if _is_spread(value)}
        if spread:
            self._meet(step)
        gathered = self._gathered(list(spread.values()))
        if not self.writes:
            return None
        whole = dict(zip(spread, gathered, strict=True))
        return {
            member: whole[member] if member in whole else _own(value)
            for member, value in weights.items()
        }

    def _gathered(self, values: list[Any]) -> list[np.ndarray]:
        """Bring sharded arrays together: a collective operation, to enter with all processes.

        Only process 0 copies them to its host; elsewhere this returns nothing.
        """
        arrays: list[np.ndarray] = []
        for group in _groups(values):
            meshes = tuple(value.sharding.mesh for value in group)
            everywhere = tuple(
                self._jax.sharding.NamedSharding(mesh, self._jax.sharding.PartitionSpec())
                for mesh in meshes
            )
            whole = self._jax.jit(_unchanged, out_shardings=everywhere)(*group)
            if self.writes:
                # Nothing else uses this memory: a view of it is as good as a copy.
                arrays += map(np.asarray, whole)
            elif group[-1] is not values[-1]:
                # Else these devices would hold several groups at once.
                self._jax.block_until_ready(whole)
        return arrays

    def _meet(self, step: int) -> None:
        """Wait until every process is about to read this step; the service decides for all."""
        if self._service is None:
            return
        self._meetings[step] += 1  # a name that was missed once is no good again
        patience = _PATIENCE_ONCE_MISSED if self._missed else _PATIENCE
        place = f"{self._name}/{step}/{self._meetings[step]}"
        self._missed = True
        try:
            self._service.wait_at_barrier(place, round(1000 * patience))
        except self._jax.errors.JaxRuntimeError as error:
            raise FiltertrackError(
                f"step {step}: its kernels are sharded over {self._jax.process_count()} processes, "
                f"and not all of them came to bring them together within {patience:g} s; each must "
                f"have a FilterTracker with the same schedule, or call snapshot at the same step"
            ) from error
        self._missed = False

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self._service is not None:
            self._service.key_value_set(f"{self._name}/begun", json.dumps(message))

    def _hear(self) -> int | None:
        """Wait for what process 0 has to say."""
        if self._service is None:
            return None
        message = json.loads(self._listen(time.monotonic() + _FIRST_PATIENCE))
        if "error" in message:
            raise FiltertrackError(message["error"])
        batches: int | None = message["batches"]
        return batches

    def _listen(self, deadline: float) -> str:
        while True:
            seconds = max(0.001, min(_LISTEN, deadline - time.monotonic()))
            try:
                return str(
                    self._service.blocking_key_value_get(
                        f"{self._name}/begun", round(1000 * seconds)
                    )
                )
            except self._jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error) or time.monotonic() >= deadline:
                    raise FiltertrackError(
                        f"process 0 did not begin a run of these layers within "
                        f"{_FIRST_PATIENCE:g} s; each process must have a FilterTracker, process 0 "
                        f"above all: {error}"
                    ) from error


def here() -> Processes:
    """Return which process this is, as the backend of Keras says at this moment.

    Not to be asked before something is trained: jax can only be told of other processes before it
    is first used, and to ask is to use it.

    Returns:
        What begins, reads and writes here. A process alone, on any backend, pays nothing for it.

    Example:
        >>> here().writes
        True
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax  # noqa: PLC0415 - only where Keras runs on it

        return JaxProcesses(jax) if jax.process_count() > 1 else Processes()
    if backend == "torch":
        import torch.distributed as dist  # noqa: PLC0415 - only where Keras runs on it

        several = dist.is_available() and dist.is_initialized()
        return Bystander() if several and dist.get_rank() > 0 else Processes()
    return Processes()


def _arrays_of(tracked: TrackedLayers) -> dict[str, Any]:
    """Return the arrays of jax themselves. Not to be kept: the next batch takes their memory."""
    return {member: getattr(held, "value", held) for member, held in tracked.weights().items()}


def _is_spread(value: Any) -> bool:
    """Whether process 0 lacks a part of an array of jax; the same answer in every process."""
    return _lacks_a_part(value.sharding, value.shape)


@lru_cache(maxsize=4096)
def _lacks_a_part(sharding: Any, shape: tuple[int, ...]) -> bool:
    places = sharding.devices_indices_map(shape).items()
    parts = {(device.process_index, str(index)) for device, index in places}
    return {part for process, part in parts if process == 0} != {part for _, part in parts}


def _own(value: Any) -> np.ndarray:
    """Copy an array of which this process holds every part, whoever holds them as well."""
    if value.is_fully_replicated or value.is_fully_addressable:
        return copied(value)
    whole = np.empty(value.shape, value.dtype)
    for shard in value.addressable_shards:
        whole[shard.index] = np.asarray(shard.data)
    return whole


def _groups(values: list[Any]) -> Iterator[list[Any]]:
    """Yield runs of values that take at most a group's bytes, or are one value."""
    group: list[Any] = []
    size = 0
    for value in values:
        if group and size + value.nbytes > _GROUP:
            yield group
            group, size = [], 0
        group.append(value)
        size += value.nbytes
    if group:
        yield group


def _unchanged(*values: Any) -> tuple[Any, ...]:
    """Return what came; one function for all calls, so that jax compiles it once."""
    return values


def _coordination_service() -> Any:
    """Return jax's client of the service that all its processes share; None where it has none.

    jax has no public way to it, and none of its public barriers gives up. Orbax takes this one too.
    """
    try:
        from jax._src.distributed import global_state  # noqa: PLC0415
    except ImportError:
        return None
    return getattr(global_state, "client", None)
