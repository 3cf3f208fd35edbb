"""Training of a Keras model in several processes: how sharded kernels are gathered.

Only process 0 writes. If it holds every kernel, the other processes do nothing. If another process
alone holds a part of a kernel, all processes take part in reading it.

The processes communicate through jax's coordination service, not through their devices: a call to
the service has a timeout, while a collective operation waits for an absent process without limit.
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
from filtertrack.capture.processes import Processes, torch_processes
from filtertrack.capture.training_source import TrainingSource
from filtertrack.errors import FiltertrackError

_BARRIER_TIMEOUT = 60.0
"""Seconds that a snapshot of sharded kernels waits for the other processes."""
_SHORT_BARRIER_TIMEOUT = 5.0
"""The same after a timeout, to limit the delay if a process takes no snapshots."""
_BEGIN_TIMEOUT = 300.0
"""Seconds to wait for process 0 to begin. The first training step waits for it anyway."""
_GROUP_BYTES = 256 << 20
"""Bytes of sharded kernels that are gathered at once: each device holds them temporarily."""
_CALL_SECONDS = 1.0
"""Seconds of one call to the service: Ctrl-C is handled between two calls."""

_begun: Counter[str] = Counter()
"""Number of runs begun here, by their layers. It is equal in all processes and identifies a run."""


class JaxProcesses(Processes):
    """Several processes that train one model on jax.

    Args:
        jax: The module, already initialized by Keras.
    """

    alone = False

    def __init__(self, jax: Any) -> None:
        self._jax = jax
        self._service = _coordination_service()
        self._name = ""
        self._timed_out = False
        self._barriers: Counter[int] = Counter()
        self.writes = jax.process_index() == 0

    def begin(self, source: TrainingSource, start: Callable[[], int | None]) -> int | None:
        """Begin a run in process 0, and send the result to the other processes."""
        layers = ",".join(f"{info.kernel}{list(info.kernel_shape)}" for info in source.infos)
        _begun[layers] += 1
        self._name = f"filtertrack/{_begun[layers]}/{layers}"
        if not self.writes:
            return self._receive()
        try:
            batches = start()
        except BaseException as error:
            # Also Ctrl-C: otherwise the other processes would wait until the timeout.
            self._send({"error": str(error) or type(error).__name__})
            raise
        self._send({"batches": batches})
        return batches

    def is_needed(self, source: TrainingSource) -> bool:
        """Whether this process writes, or a kernel is sharded beyond process 0."""
        return self.writes or any(map(_is_sharded, _arrays_of(source).values()))

    def read(self, source: TrainingSource, step: int) -> dict[str, np.ndarray] | None:
        """Copy every tracked weight to the host of process 0."""
        weights = _arrays_of(source)
        sharded = {member: value for member, value in weights.items() if _is_sharded(value)}
        if sharded:
            self._wait_at_barrier(step)
        gathered = self._gathered(list(sharded.values()))
        if not self.writes:
            return None
        whole = dict(zip(sharded, gathered, strict=True))
        return {
            member: whole[member] if member in whole else _local_copy(value)
            for member, value in weights.items()
        }

    def _gathered(self, values: list[Any]) -> list[np.ndarray]:
        """Gather sharded arrays: a collective operation, which every process must call.

        Only process 0 copies them to its host; the other processes return an empty list.
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
                # No other object uses this memory, so that a view is safe.
                arrays += map(np.asarray, whole)
            elif group[-1] is not values[-1]:
                # Otherwise these devices would hold several groups at once.
                self._jax.block_until_ready(whole)
        return arrays

    def _wait_at_barrier(self, step: int) -> None:
        """Wait until every process is about to read this step."""
        if self._service is None:
            return
        self._barriers[step] += 1  # a barrier that timed out cannot be used again
        timeout = _SHORT_BARRIER_TIMEOUT if self._timed_out else _BARRIER_TIMEOUT
        barrier = f"{self._name}/{step}/{self._barriers[step]}"
        self._timed_out = True
        try:
            self._service.wait_at_barrier(barrier, round(1000 * timeout))
        except self._jax.errors.JaxRuntimeError as error:
            raise FiltertrackError(
                f"step {step}: its kernels are sharded over {self._jax.process_count()} processes, "
                f"and not all of them came to bring them together within {timeout:g} s; each must "
                f"have a FilterTracker with the same schedule, or call snapshot at the same step"
            ) from error
        self._timed_out = False

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._service is not None:
            self._service.key_value_set(f"{self._name}/begun", json.dumps(message))

    def _receive(self) -> int | None:
        """Wait for the message of process 0."""
        if self._service is None:
            return None
        message = json.loads(self._wait_for_message(time.monotonic() + _BEGIN_TIMEOUT))
        if "error" in message:
            raise FiltertrackError(message["error"])
        batches: int | None = message["batches"]
        return batches

    def _wait_for_message(self, deadline: float) -> str:
        while True:
            seconds = max(0.001, min(_CALL_SECONDS, deadline - time.monotonic()))
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
                        f"{_BEGIN_TIMEOUT:g} s; each process must have a FilterTracker, above all "
                        f"process 0: {error}"
                    ) from error


def current_processes() -> Processes:
    """Return the processes that train together now, as Keras's backend reports them.

    Must not be called before training begins: it initializes jax, which can be connected with other
    processes only before that.

    Example:
        >>> current_processes().writes
        True
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax  # noqa: PLC0415 - only if it is the backend

        return JaxProcesses(jax) if jax.process_count() > 1 else Processes()
    if backend == "torch":
        import torch  # noqa: PLC0415 - only if it is the backend

        return torch_processes(torch)
    return Processes()


def _arrays_of(source: TrainingSource) -> dict[str, Any]:
    """Return the jax arrays of the model. They are invalid after the next batch."""
    return {member: getattr(held, "value", held) for member, held in source.weights().items()}


def _is_sharded(value: Any) -> bool:
    """Whether process 0 lacks a part of a jax array; the result is equal in every process."""
    return _lacks_a_part(value.sharding, value.shape)


@lru_cache(maxsize=4096)
def _lacks_a_part(sharding: Any, shape: tuple[int, ...]) -> bool:
    indices = sharding.devices_indices_map(shape).items()
    parts = {(device.process_index, str(index)) for device, index in indices}
    return {part for process, part in parts if process == 0} != {part for _, part in parts}


def _local_copy(value: Any) -> np.ndarray:
    """Copy an array whose every part is in this process, and maybe in others as well."""
    if value.is_fully_replicated or value.is_fully_addressable:
        return copied(value)
    whole = np.empty(value.shape, value.dtype)
    for shard in value.addressable_shards:
        whole[shard.index] = np.asarray(shard.data)
    return whole


def local_array(value: Any) -> Any:
    """Return a jax array of several processes as an array of this one, for work without the others.

    Raises:
        FiltertrackError: If another process alone holds a part of it.
    """
    if value.is_fully_addressable:
        return value
    if value.is_fully_replicated:
        return value.addressable_data(0)
    if _is_sharded(value):
        raise FiltertrackError("its weights are sharded over several processes")
    return _local_copy(value)


def _groups(values: list[Any]) -> Iterator[list[Any]]:
    """Yield consecutive groups of values of at most ``_GROUP_BYTES``, or of one larger value."""
    group: list[Any] = []
    size = 0
    for value in values:
        if group and size + value.nbytes > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(value)
        size += value.nbytes
    if group:
        yield group


def _unchanged(*values: Any) -> tuple[Any, ...]:
    """Return the arguments; a single function, so that jax compiles it once."""
    return values


def _coordination_service() -> Any:
    """Return jax's client of the coordination service; None if there is none.

    jax has no public access to it, and its public barriers have no timeout. Orbax uses it as well.
    """
    try:
        from jax._src.distributed import global_state  # noqa: PLC0415
    except ImportError:
        return None
    return getattr(global_state, "client", None)
