"""Export a layer of a run as a lazily read xarray ``DataArray``."""

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
_CHUNK_BYTES = 16 << 20
"""Enough work for a task, and small enough that several chunks fit into memory."""
_MOST_FILES = 1000
"""Maximum number of snapshots in a chunk, so that small layers are read by several threads too."""


def to_xarray(run: RunLike, layer: str, *, steps: Steps | None = None) -> "xarray.DataArray":
    """Return a layer's kernels over training as a labelled array that is read when computed.

    The call reads the manifest and the folder's listing only. A computation reads the snapshots it
    uses: ``array.sel(step=10)`` one, ``array.std("step")`` all, in chunks of about 16 MB (or of one
    snapshot, if that is larger). The array contains the snapshots that exist now; call the function
    again for later ones. The checksums of the files are checked, and a damaged file is a
    ``FiltertrackError`` that names it.

    Args:
        run: A run or its folder.
        layer: A key of ``Run.layers``.
        steps: The snapshots: numbers, which must exist, and ranges, which select the existing steps
            among their numbers. None for all.

    Returns:
        Array with the dimensions ``step``, ``filter``, ``height``, ``width`` and ``channel``, of
        the layer's type in Keras (float32 for bfloat16, which numpy does not have). Steps, filters
        and channels have their numbers as coordinates. Its attributes describe the layer.

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
    """An array-like object for dask: it has a shape and a type, and reads what is indexed.

    It holds no open run. Each task opens one, which is fast compared with its reads, and prefetches
    for its own thread. Pickled for other processes and machines it contains the path or address
    only, no credentials.

    Attributes:
        path: The run's path.
        layer: The layer's name.
        steps: The snapshots' steps: whole numbers of shape ``(snapshots,)``.
        shape: ``(snapshots, filters, height, width, channels)``.
        dtype: The type of its values.
        token: A text that identifies the snapshots and the layer.
    """

    path: PathOrAddress
    layer: str
    steps: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    token: str

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "path": str(self.path)}

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def snapshots_a_chunk(self) -> int:
        """Return how many snapshots one task reads."""
        size = max(1, self.dtype.itemsize * math.prod(self.shape[1:]))
        return min(max(1, _CHUNK_BYTES // size), _MOST_FILES)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read the indexed snapshots, and return the indexed part of each."""
        which, *rest = index if isinstance(index, tuple) else (index,)
        within = tuple(rest)
        steps = self.steps[which]
        part = np.broadcast_to(np.empty((), self.dtype), self.shape[1:])[within].shape
        found = np.empty((*steps.shape, *part), self.dtype)
        run = Run(self.path)
        for position, step in np.ndenumerate(steps):
            found[position] = self._kernel(run, int(step))[within]
        return found

    def _kernel(self, run: Run, step: int) -> np.ndarray:
        """Read one snapshot, and check that it fits the array's shape and type without loss."""
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
    path = run.path.absolute()  # other processes may have another working directory
    version = run.version()
    chosen = np.array(select_steps(run, steps), np.int64)
    token = dask.base.tokenize(str(path), version, info.to_dict(), chosen)
    return _Stored(path, layer, chosen, (len(chosen), *info.shape), dtype, token)


def _dtype(info: LayerInfo) -> np.dtype[Any]:
    """Return the stored type of a layer's values, according to the manifest."""
    stored = stored_type(info.dtype)
    if stored is None:
        raise FiltertrackError(
            f"layer {info.name}: the manifest says that its kernel is of type {info.dtype!r}, "
            f"expected one of numpy's types of numbers; Run.kernels reads it as it is"
        )
    return np.dtype(stored)


def _attributes(run: Run, info: LayerInfo) -> dict[str, Any]:
    """Return a description of the layer as text and numbers, which netCDF and Zarr can store."""
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
