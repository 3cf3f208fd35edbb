"""What a snapshot is: the layers it covers, the moment it was taken, the weights it holds."""

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from filtertrack.errors import FiltertrackError

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-/]+")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
_MAX_NAME = 120
_LONGEST_NAME, _LONGEST_TEXT = 255, 4096
"""Characters of a layer's name and of its other texts, at most."""
_MOST_AXES = 32
_MOST_WEIGHTS, _MOST_WITHOUT_WEIGHTS = 1 << 40, 1 << 16
"""Weights of one kernel, at most; and the product of the other sizes where one of them is 0."""
_AXES_IN_3D = 5
_MOST_STEPS = 10**12
"""Steps, epochs and batches are less: a snapshot's file has twelve digits for its step."""
_MOST_METRICS, _LONGEST_METRIC = 4096, 200

PLAIN_TYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
)
"""Types that are stored as they are, as numpy calls them."""
_NARROW = (
    (re.compile(r"bfloat16|float[468]_\w+"), "float32"),
    (re.compile(r"int[124]"), "int8"),
    (re.compile(r"uint[124]"), "uint8"),
)
"""Types that ``.npy`` cannot name, and what holds each of their values exactly."""


def stored_type(dtype: str) -> str | None:
    """Return the type in which values of a type are stored without loss.

    Args:
        dtype: A type as Keras or numpy calls it.

    Returns:
        One of ``PLAIN_TYPES``; None if values of that type cannot be stored.

    Example:
        >>> [stored_type(name) for name in ("float16", "bfloat16", "uint4", "complex64")]
        ['float16', 'float32', 'uint8', None]
    """
    if dtype in PLAIN_TYPES:
        return dtype
    return next((stored for narrow, stored in _NARROW if narrow.fullmatch(dtype)), None)


def safe_names(paths: Iterable[str]) -> list[str]:
    """Turn layer paths into names that are safe as TensorBoard tags and as members of a file.

    Letters, digits, ``_ . -`` and ``/`` stay; every other run of characters becomes one ``_``.
    Names that would meet (also when only their case differs, since some file systems ignore it)
    get a number: two different entries never share a name.

    Args:
        paths: Layer paths in model order; the same path may come twice.

    Returns:
        One name for each path, in the same order.

    Example:
        >>> safe_names(["block 1/conv", "block_1/conv", "../x"])
        ['block_1/conv', 'block_1/conv_2', '_/x']
    """
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        parts = [part for part in _UNSAFE.sub("_", path).split("/") if part]
        base = "/".join(part if part.strip(".") else "_" for part in parts)
        base = _shortened(base) or "_"
        name, count = base, 1
        while name.casefold() in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _is_safe(name: str) -> bool:
    """Whether a name may be a tag and a file's member: it leads nowhere else."""
    return bool(_SAFE_NAME.fullmatch(name)) and all(part.strip(".") for part in name.split("/"))


def _shortened(name: str) -> str:
    """Cut a long name at its end, without leaving an unsafe part there."""
    return name if len(name) <= _MAX_NAME else name[:_MAX_NAME].rstrip("/.")


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One tracked kernel: whose it is, where it is stored, and which of its axes means what.

    Attributes:
        name: Unique and safe name: the key of ``Run.layers`` and the TensorBoard tag.
        path: The layer's path as Keras gives it.
        class_name: The layer's class, such as ``"Conv2D"``.
        kernel: Member of the snapshot file that holds the kernel, such as ``"conv1/kernel"``.
        bias: Member that holds the bias, or None where the layer has none.
        kernel_shape: The kernel's shape as Keras holds it.
        axes: The order of the kernel's axes that makes the filter the first one.
        shape: ``(filters, height, width, channels)`` after that: the one order of this package.
        dtype: The kernel's type as Keras holds it.
        strides: The layer's strides, one for each spatial axis.
        dilation: The layer's dilation, one for each spatial axis.
        data_format: ``"channels_last"`` or ``"channels_first"`` (of the layer's input; Keras
            stores kernels alike for both).

    Raises:
        FiltertrackError: If the fields contradict each other.
    """

    name: str
    path: str
    class_name: str
    kernel: str
    bias: str | None
    kernel_shape: tuple[int, ...]
    axes: tuple[int, ...]
    shape: tuple[int, int, int, int]
    dtype: str
    strides: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    data_format: str = "channels_last"

    def __post_init__(self) -> None:
        """Check everything once, so that no reader has to check again."""
        for name in (self.name, self.kernel, *(() if self.bias is None else (self.bias,))):
            if not isinstance(name, str) or len(name) > _LONGEST_NAME or not _is_safe(name):
                raise FiltertrackError(f"not a safe layer name: {name!r:.300}")
        for text in (self.path, self.class_name, self.dtype, self.data_format):
            if not isinstance(text, str) or len(text) > _LONGEST_TEXT or not text.isprintable():
                raise FiltertrackError(f"layer {self.name}: expected plain text, got {text!r:.300}")
        for numbers in (self.kernel_shape, self.axes, self.shape, self.strides, self.dilation):
            if (
                type(numbers) is not tuple
                or len(numbers) > _MOST_AXES
                or not all(type(n) is int and 0 <= n <= _MOST_WEIGHTS for n in numbers)
            ):
                raise FiltertrackError(
                    f"layer {self.name}: expected whole numbers, got {numbers!r:.300}"
                )
        self._check_shapes()

    def _check_shapes(self) -> None:
        if sorted(self.axes) != list(range(len(self.kernel_shape))):
            raise FiltertrackError(
                f"layer {self.name}: axes {self.axes} do not order a kernel of {self.kernel_shape}"
            )
        for sizes in (self.kernel_shape, self.shape):
            # Of a kernel without weights no file's size says whether its shape is an honest one.
            most = _MOST_WEIGHTS if math.prod(sizes) else _MOST_WITHOUT_WEIGHTS
            if math.prod(n or 1 for n in sizes) > most:
                raise FiltertrackError(f"layer {self.name}: a kernel of {sizes} is too large")
        if len(self.shape) != 4 or not self._is_grouping():
            raise FiltertrackError(
                f"layer {self.name}: a kernel of {self.kernel_shape} in the order {self.axes} "
                f"cannot be read as {self.shape}"
            )

    def _is_grouping(self) -> bool:
        """Whether ``shape`` joins neighbours of the ordered axes, and mixes no others."""
        if not math.prod(self.kernel_shape):
            return not math.prod(self.shape)
        sizes = iter([self.kernel_shape[axis] for axis in self.axes])
        for whole in self.shape:
            joined = 1
            while joined < whole:
                joined *= next(sizes, whole + 1)
            if joined != whole:
                return False
        slices = self.kernel_shape[0] if len(self.kernel_shape) == _AXES_IN_3D else 1
        return set(sizes) <= {1} and self.shape[2] % slices == 0  # slices stand side by side

    @property
    def filters(self) -> int:
        """The number of filters."""
        return self.shape[0]

    def canonical(self, kernel: np.ndarray) -> np.ndarray:
        """Bring a kernel into the one order ``(filters, height, width, channels)``.

        Args:
            kernel: Array of shape ``kernel_shape``, as Keras holds it.

        Returns:
            The same values in the shape ``self.shape``; a view where that is possible.

        Raises:
            FiltertrackError: If the array has another shape.
        """
        if kernel.shape != self.kernel_shape:
            raise FiltertrackError(
                f"layer {self.name}: expected a kernel of shape {self.kernel_shape}, "
                f"got {kernel.shape}"
            )
        return kernel.transpose(self.axes).reshape(self.shape)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make one from plain values; unknown fields are ignored, missing or wrong ones refused.

        Raises:
            FiltertrackError: If a field is missing or does not fit.
        """
        try:
            known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
            lists = {key: tuple(v) for key, v in known.items() if isinstance(v, list)}
            return cls(**{**known, **lists})
        except (TypeError, AttributeError) as error:
            raise FiltertrackError(f"a layer's description does not fit: {error}") from error


@dataclass(frozen=True, slots=True)
class Moment:
    """When a snapshot was taken, and what the training had reached.

    Attributes:
        step: The snapshot's place in the run; 0 is the untrained model. Finished epochs with an
            epoch schedule, batches seen with every other.
        epoch: Finished epochs.
        batch: Batches seen since the start of training, or None where Keras does not say.
        metrics: What Keras logged: name to value. Of more than 4,096 the first are kept, and of
            a longer name the first 200 characters.
        wall_time: Seconds since 1970.

    Raises:
        FiltertrackError: If a number is negative, not a number, or 10**12 or more.
    """

    step: int
    epoch: int
    batch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    wall_time: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers and freeze the metrics."""
        object.__setattr__(self, "step", _whole(self.step, "step"))
        object.__setattr__(self, "epoch", _whole(self.epoch, "epoch"))
        if self.batch is not None:
            object.__setattr__(self, "batch", _whole(self.batch, "batch"))
        try:
            items = islice(self.metrics.items(), _MOST_METRICS)
            metrics = {str(name)[:_LONGEST_METRIC]: float(value) for name, value in items}
            wall_time = float(self.wall_time)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise FiltertrackError(f"a snapshot's metrics do not fit: {error}") from error
        if not math.isfinite(wall_time):
            raise FiltertrackError(f"wall_time: expected seconds since 1970, got {wall_time}")
        object.__setattr__(self, "metrics", MappingProxyType(metrics))
        object.__setattr__(self, "wall_time", wall_time)

    @property
    def counts_epochs(self) -> bool:
        """Whether the step counts epochs (else batches)."""
        return self.step == self.epoch


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The weights of one moment.

    Attributes:
        moment: When it was taken.
        arrays: Member name (such as ``"conv1/kernel"``) to array, just as Keras holds it.
    """

    moment: Moment
    arrays: Mapping[str, np.ndarray]

    @property
    def step(self) -> int:
        """The snapshot's place in the run."""
        return self.moment.step


def _whole(value: object, what: str) -> int:
    """Return a whole number from 0 on, numpy's among them; a bool is none."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number < _MOST_STEPS:
        raise FiltertrackError(
            f"{what}: expected a whole number from 0 to {_MOST_STEPS - 1}, got {value!r:.100}"
        )
    return number


def total_bytes(layers: Sequence[LayerInfo]) -> int:
    """Return how many bytes the kernels of one snapshot take (biases are left out: tiny).

    Example:
        >>> total_bytes([])
        0
    """
    return sum(math.prod(info.kernel_shape) * _item_size(info.dtype) for info in layers)


def _item_size(dtype: str) -> int:
    """Return the bytes one stored value takes; 4 where the type is not known."""
    return np.dtype(stored_type(dtype) or "float32").itemsize
