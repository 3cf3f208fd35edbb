"""A run's layer as a labelled array of xarray's, of which only what is used is read."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.run_selection import RunLike, Steps, select_steps
from filtertrack.snapshot import LayerInfo, stored_type, total_bytes
from filtertrack.storage.memory_limit import check_memory
from filtertrack.storage.paths import PathOrAddress
from filtertrack.storage.run import Run

if TYPE_CHECKING:
    import xarray

_DIMS = ("step", "filter", "height", "width", "channel")
_CHUNK = 16 << 20  # bytes: enough work for a task, and several fit into memory
_MOST_FILES = 1000  # in a chunk: so that a run of small layers is read by several threads as well


def to_xarray(run: RunLike, layer: str, *, steps: Steps | None = None) -> "xarray.DataArray":
    """Return a layer's filters over training as a labelled array, read when it is computed.

    Nothing but the manifest and the folder's listing is read at first, and what is read later is
    what the computation takes: of ``array.sel(step=10)`` one snapshot, of ``array.std("step")``
    all, in chunks of about 16 MB (of one snapshot, where that is larger). It holds the snapshots
    that are there now: call it again for those that a training adds. Each file's checksum is
    checked, and a damaged one is a ``FiltertrackError`` that names it.

    Args:
        run: A run or its folder.
        layer: A key of ``Run.layers``.
        steps: Which snapshots: numbers, which have to be there, and ranges, which mean those of
            their numbers that are. None for all.

    Returns:
        Array with the dimensions ``step``, ``filter``, ``height``, ``width`` and ``channel``, of
        the type the layer has in Keras (float32 where that is bfloat16, which numpy does not know).
        Steps, filters and channels have their numbers as coordinates. Its attributes say whose
        kernel it is.

    Raises:
        FiltertrackError: If xarray or dask is not installed, or there is no such run, layer or
            step.

    Example:
        >>> array = to_xarray("tests/golden/run-v1", "conv1")
        >>> dict(array.sizes)
        {'step': 3, 'filter': 4, 'height': 3, 'width': 3, 'channel': 1}
        >>> array.sel(step=2, filter=0).std().compute().item() > 0
        True
    """
    _check_installed()
    import dask.array  # noqa: PLC0415 - an extra
    import xarray  # noqa: PLC0415 - an extra

    run = run if isinstance(run, Run) else Run(run)
    stored = _stored(run, layer, steps)
    chunks = (stored.snapshots_a_chunk(), *stored.shape[1:])
    values = dask.array.from_array(
        stored, chunks, name=f"kernels-{stored.token}", meta=np.empty((0,) * 5, stored.dtype)
    )
    coordinates = {
        "step": stored.steps,
        "filter": np.arange(stored.shape[1]),
        "channel": np.arange(stored.shape[4]),
    }
    attributes = _attributes(run, run.layer(layer))
    return xarray.DataArray(values, coordinates, _DIMS, layer, attributes)


def _check_installed() -> None:
    try:
        import dask.array  # noqa: F401, PLC0415 - an extra
        import xarray  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise FiltertrackError(
            "to_xarray needs xarray and dask: pip install 'filtertrack[xarray]'"
        ) from error


@dataclass(frozen=True, eq=False)
class _Stored:
    """What dask takes for an array: it knows its shape and type, and reads what is indexed.

    It holds no open run. Each task opens one: that takes little beside what it reads, and what a
    run reads ahead on object storage is then for one thread. Other processes and machines are told
    no more than the address, and use credentials of their own.

    Attributes:
        place: Where the run is.
        layer: The layer's name.
        steps: Steps of the snapshots it holds: whole numbers of shape ``(snapshots,)``.
        shape: ``(snapshots, filters, height, width, channels)``.
        dtype: The type of its values.
        token: The same for the same snapshots of the same layer, and for nothing else.
    """

    place: PathOrAddress
    layer: str
    steps: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    token: str

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "place": str(self.place)}

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def snapshots_a_chunk(self) -> int:
        """Return how many snapshots one task reads."""
        size = max(1, self.dtype.itemsize * math.prod(self.shape[1:]))
        return min(max(1, _CHUNK // size), _MOST_FILES)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read the snapshots that are indexed, and keep of each what is."""
        which, *rest = index if isinstance(index, tuple) else (index,)
        within = tuple(rest)
        steps = self.steps[which]
        part = np.broadcast_to(np.empty((), self.dtype), self.shape[1:])[within].shape
        found = np.empty((*steps.shape, *part), self.dtype)
        run = Run(self.place)
        for place, step in np.ndenumerate(steps):
            found[place] = self._kernel(run, int(step))[within]
        return found

    def _kernel(self, run: Run, step: int) -> np.ndarray:
        """Read one snapshot; refuse what does not fit without loss in what was declared."""
        kernel = run.kernels(self.layer, step)
        if kernel.shape != self.shape[1:]:
            raise FiltertrackError(
                f"{str(run.file(step))!r} holds layer {self.layer} in the shape {kernel.shape}, "
                f"expected {self.shape[1:]}: the run was replaced; call to_xarray again"
            )
        if not np.can_cast(kernel.dtype, self.dtype, "safe"):
            raise FiltertrackError(
                f"{str(run.file(step))!r} holds layer {self.layer} as {kernel.dtype}, which does "
                f"not fit in the {self.dtype} of the manifest; Run.kernels reads it as it is"
            )
        return kernel


def _stored(run: Run, layer: str, steps: Steps | None) -> _Stored:
    import dask.base  # noqa: PLC0415 - an extra

    if not isinstance(layer, str):
        raise FiltertrackError(f"layer: expected one name, got {layer!r}")
    info = run.layer(layer)
    dtype = _dtype(info)
    check_memory(total_bytes([info]), f"layer {info.name}: a snapshot of it takes")
    place = run.path.absolute()  # a process that reads may have been started in another folder
    version = run.version()
    chosen = np.array(select_steps(run, steps), np.int64)
    token = dask.base.tokenize(str(place), version, info.to_dict(), chosen)
    return _Stored(place, layer, chosen, (len(chosen), *info.shape), dtype, token)


def _dtype(info: LayerInfo) -> np.dtype[Any]:
    """Return the type in which a layer's values are stored, as the manifest has it."""
    stored = stored_type(info.dtype)
    if stored is None:
        raise FiltertrackError(
            f"layer {info.name}: the manifest says that its kernel is of type {info.dtype!r}, "
            f"expected one of numpy's types of numbers; Run.kernels reads it as it is"
        )
    return np.dtype(stored)


def _attributes(run: Run, info: LayerInfo) -> dict[str, Any]:
    """Return whose kernel it is: text and lists of numbers, which netCDF and Zarr can store."""
    numbers = {
        "kernel_shape": info.kernel_shape,
        "strides": info.strides,
        "dilation": info.dilation,
    }
    return {
        "long_name": "weight",
        "layer_class": info.class_name,
        "keras_path": info.path,
        "keras_dtype": info.dtype,
        "run": str(run.path),
        **{name: list(values) for name, values in numbers.items() if values},
    }
