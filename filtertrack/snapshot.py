"""Data classes of a snapshot: its layers, its moment in training, and its weights."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from html import escape
from itertools import islice
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from filtertrack.errors import FiltertrackError, counted, printable, whole
from filtertrack.response import LayerResponse

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-/]+")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
_MAX_NAME = 120
_LONGEST_NAME, _LONGEST_TEXT = 255, 4096
"""Maximum numbers of characters of a layer's name and of its other texts."""
_MOST_AXES = 32
_MOST_WEIGHTS, _MOST_WITHOUT_WEIGHTS = 1 << 40, 1 << 16
"""Maximum number of weights of a kernel; of one without weights, the product of the other sizes."""
_AXES_IN_3D = 5
_MOST_CHANNELS, _LARGEST_PAD, _MOST_PREPROCESSING = 4096, 1 << 16, 64
"""Maxima of a preprocessing: numbers for channels, zeros at one side, and steps."""
_MOST_STEPS = 10**12
"""Steps, epochs and batches are smaller: the name of a snapshot's file has twelve digits."""
_MOST_METRICS, _LONGEST_METRIC, _LONGEST_NOTE = 4096, 200, 100

PLAIN_TYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
)
"""Types that are stored unchanged, by their names in numpy."""
_NARROW = (
    (re.compile(r"bfloat16|float[468]_\w+"), "float32"),
    (re.compile(r"int[124]"), "int8"),
    (re.compile(r"uint[124]"), "uint8"),
)
"""Types that ``.npy`` does not support, and the types that represent their values exactly."""


def stored_type(dtype: str) -> str | None:
    """Return the type that stores values of a type without loss.

    Args:
        dtype: The name of a type in Keras or numpy.

    Returns:
        One of ``PLAIN_TYPES``; None if the type cannot be stored.

    Example:
        >>> [stored_type(name) for name in ("float16", "bfloat16", "uint4", "complex64")]
        ['float16', 'float32', 'uint8', None]
    """
    if dtype in PLAIN_TYPES:
        return dtype
    return next((stored for narrow, stored in _NARROW if narrow.fullmatch(dtype)), None)


def safe_names(paths: Iterable[str]) -> list[str]:
    """Return unique names for layer paths that are safe as TensorBoard tags and as file members.

    Letters, digits, ``_ . -`` and ``/`` stay; each sequence of other characters becomes one ``_``.
    Equal names get a number, also if they differ in case only, which some file systems ignore.

    Args:
        paths: Layer paths in model order; a path may occur more than once.

    Returns:
        One name for each path, in the same order.

    Example:
        >>> safe_names(["block 1/conv", "block_1/conv", "../x"])
        ['block_1/conv', 'block_1/conv_2', '_/x']
    """
    names: list[str] = []
    taken: set[str] = set()
    counts: dict[str, int] = {}  # of equal names: a file may have thousands
    for path in paths:
        parts = [part for part in _UNSAFE.sub("_", path).split("/") if part]
        base = "/".join(part if part.strip(".") else "_" for part in parts)
        base = _shortened(base) or "_"
        name, count = base, counts.get(base.casefold(), 1)
        while name.casefold() in taken:
            count += 1
            name = f"{base}_{count}"
        counts[base.casefold()] = count
        taken.add(name.casefold())
        names.append(name)
    return names


def name_parts(name: str) -> tuple[str, int]:
    """Split a name into its stem and the number that Keras appends from the second layer on.

    Example:
        >>> name_parts("conv2d"), name_parts("conv2d_12")
        (('conv2d', 0), ('conv2d', 12))
    """
    match = re.fullmatch(r"(.+?)_([0-9]+)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _is_safe(name: str) -> bool:
    """Whether a name is safe as a tag and as a file member."""
    return bool(_SAFE_NAME.fullmatch(name)) and all(part.strip(".") for part in name.split("/"))


def _shortened(name: str) -> str:
    """Cut a long name at its end, so that the rest is safe."""
    return name if len(name) <= _MAX_NAME else name[:_MAX_NAME].rstrip("/.")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """One step from a model's input to the input of its first convolution.

    Attributes:
        scale: What the values are multiplied by: one number, or one for each channel.
        offset: What is added then: one number, or one for each channel.
        pads: Zeros added before and after along each spatial axis; empty for none.

    Raises:
        FiltertrackError: If the fields are no such numbers.
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    pads: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Check all fields, which may come from a file."""
        try:
            factors = [tuple(map(float, values)) for values in (self.scale, self.offset)]
            pads = tuple((int(before), int(after)) for before, after in self.pads)
        except (TypeError, ValueError, OverflowError) as error:
            raise FiltertrackError(f"a layer's preprocessing does not fit: {error}") from error
        few = all(0 < len(values) <= _MOST_CHANNELS for values in factors) and len(pads) <= 3
        if not few or not all(math.isfinite(n) for values in factors for n in values):
            raise FiltertrackError("a layer's preprocessing: expected a few finite numbers")
        if not all(0 <= n <= _LARGEST_PAD for pad in pads for n in pad):
            raise FiltertrackError(f"a layer's preprocessing: expected small pads, got {pads}")
        object.__setattr__(self, "scale", factors[0])
        object.__setattr__(self, "offset", factors[1])
        object.__setattr__(self, "pads", pads)


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """The description of a tracked kernel: its layer, its name in a file, and its axes.

    Attributes:
        name: The layer's unique and safe name: the key of ``Run.layers`` and the TensorBoard tag.
        path: The layer's path in Keras.
        class_name: The layer's class, such as ``"Conv2D"``.
        kernel: The kernel's name in a snapshot file, such as ``"conv1/kernel"``.
        bias: The bias's name in a snapshot file, or None if the layer has no bias.
        kernel_shape: The kernel's shape in Keras.
        axes: The transposition of the kernel's axes that makes the filter the first one.
        shape: The shape after that, ``(filters, height, width, channels)``: the axis order of this
            package.
        dtype: The kernel's type in Keras.
        strides: The layer's strides along each spatial axis.
        dilation: The layer's dilation along each spatial axis.
        data_format: ``"channels_last"`` or ``"channels_first"``: the format of the layer's input.
            Kernels are the same for both, except with ``image``: there it is the order in which
            the images were flattened.
        trainable: Whether training may change the kernel; False for a frozen layer.
        image: For a Dense layer on flattened images, their ``(height, width, channels)``; else
            empty. The kernel has the shape ``(inputs, filters)`` then.
        padding: The layer's padding, ``"same"``, ``"valid"`` or ``"causal"``; empty if it is not
            known or has another form.
        groups: The number of groups of a convolution.
        activation: The name of the layer's activation function; empty if it is not known.
        preprocessing: The steps from the model's input to the layer's; None if it is not known, or
            if the layer's input is the output of another layer with weights.

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
    trainable: bool = True
    image: tuple[int, ...] = ()
    padding: str = ""
    groups: int = 1
    activation: str = ""
    preprocessing: tuple[Preprocessing, ...] | None = None

    def __post_init__(self) -> None:
        """Check all fields, which may come from a file."""
        for name in (self.name, self.kernel, *(() if self.bias is None else (self.bias,))):
            if not isinstance(name, str) or len(name) > _LONGEST_NAME or not _is_safe(name):
                raise FiltertrackError(f"not a safe layer name: {name!r:.300}")
        for text in (
            self.path,
            self.class_name,
            self.dtype,
            self.data_format,
            self.padding,
            self.activation,
        ):
            if not isinstance(text, str) or len(text) > _LONGEST_TEXT or not text.isprintable():
                raise FiltertrackError(f"layer {self.name}: expected plain text, got {text!r:.300}")
        for numbers in (
            self.kernel_shape,
            self.axes,
            self.shape,
            self.strides,
            self.dilation,
            self.image,
            (self.groups,),
        ):
            if (
                type(numbers) is not tuple
                or len(numbers) > _MOST_AXES
                or not all(type(n) is int and 0 <= n <= _MOST_WEIGHTS for n in numbers)
            ):
                raise FiltertrackError(
                    f"layer {self.name}: expected whole numbers, got {numbers!r:.300}"
                )
        steps = self.preprocessing
        if steps is not None and not (
            type(steps) is tuple
            and len(steps) <= _MOST_PREPROCESSING
            and all(isinstance(step, Preprocessing) for step in steps)
        ):
            raise FiltertrackError(f"layer {self.name}: preprocessing: got {steps!r:.300}")
        if type(self.trainable) is not bool:
            raise FiltertrackError(
                f"layer {self.name}: trainable: expected true or false, got {self.trainable!r:.300}"
            )
        self._check_shapes()

    def _check_shapes(self) -> None:
        if sorted(self.axes) != list(range(len(self.kernel_shape))):
            raise FiltertrackError(
                f"layer {self.name}: axes {self.axes} do not order a kernel of {self.kernel_shape}"
            )
        for sizes in (self.kernel_shape, self.shape):
            # The shape of a kernel without weights cannot be checked against the size of a file.
            most = _MOST_WEIGHTS if math.prod(sizes) else _MOST_WITHOUT_WEIGHTS
            if math.prod(n or 1 for n in sizes) > most:
                raise FiltertrackError(f"layer {self.name}: a kernel of {sizes} is too large")
        fits = self._is_grouping if not self.image else self._is_flattened_image
        if len(self.shape) != 4 or not fits():
            raise FiltertrackError(
                f"layer {self.name}: a kernel of {self.kernel_shape} in the order {self.axes} "
                f"cannot be read as {self.shape}"
            )

    def _is_grouping(self) -> bool:
        """Whether ``shape`` results from merging adjacent axes of the transposed kernel."""
        if not math.prod(self.kernel_shape):
            return not math.prod(self.shape)
        sizes = iter([self.kernel_shape[axis] for axis in self.axes])
        for size in self.shape:
            joined = 1
            while joined < size:
                joined *= next(sizes, size + 1)
            if joined != size:
                return False
        if set(sizes) - {1}:
            return False
        if len(self.axes) == _AXES_IN_3D and self.shape[1] != self.kernel_shape[self.axes[1]]:
            return False
        return self.shape[2] % self.slices == 0  # slices lie side by side

    def _is_flattened_image(self) -> bool:
        """Whether ``shape`` results from splitting the inputs of a Dense layer into an image."""
        return (
            self.axes == (1, 0)
            and self.kernel_shape == (math.prod(self.image), self.shape[0])
            and self.shape[1:] == self.image
        )

    @property
    def slices(self) -> int:
        """The number of slices of a 3-D kernel that lie side by side in the width; else 1."""
        # After the filters and the height.
        depth = self.axes[2] if len(self.kernel_shape) == _AXES_IN_3D else None
        return 1 if depth is None else max(1, self.kernel_shape[depth])

    @property
    def filters(self) -> int:
        """The number of filters."""
        return self.shape[0]

    def canonical(self, kernel: np.ndarray) -> np.ndarray:
        """Return a kernel in the axis order ``(filters, height, width, channels)``.

        Args:
            kernel: Array of shape ``kernel_shape``, as in Keras.

        Returns:
            The same values in the shape ``self.shape``; a view if possible.

        Raises:
            FiltertrackError: If the array has another shape.
        """
        if kernel.shape != self.kernel_shape:
            raise FiltertrackError(
                f"layer {self.name}: expected a kernel of shape {self.kernel_shape}, "
                f"got {kernel.shape}"
            )
        filters_first = kernel.transpose(self.axes)
        if self.image and self.data_format == "channels_first":
            filters, height, width, channels = self.shape
            apart = filters_first.reshape(filters, channels, height, width)
            return apart.transpose(0, 2, 3, 1)
        return filters_first.reshape(self.shape)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON.

        The shape of a flattened image is written as one row, which versions without the field
        ``image`` can read.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.preprocessing is not None:
            values["preprocessing"] = [asdict(step) for step in self.preprocessing]
        if not self.image:
            del values["image"]
            return values
        return {**values, "shape": (self.filters, 1, self.kernel_shape[0], 1)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create one from plain values; unknown fields are ignored.

        Raises:
            FiltertrackError: If a field is missing or invalid.
        """
        try:
            known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
            lists = {key: tuple(v) for key, v in known.items() if isinstance(v, (list, tuple))}
            steps = known.get("preprocessing")
            if steps is not None:
                lists["preprocessing"] = tuple(_preprocessing(step) for step in steps)
            if lists.get("image"):
                lists["shape"] = (*lists["shape"][:1], *lists["image"])
            return cls(**{**known, **lists})
        except (TypeError, AttributeError, KeyError) as error:
            raise FiltertrackError(f"a layer's description does not fit: {error}") from error


def _preprocessing(values: Mapping[str, Any]) -> Preprocessing:
    """Create one from plain values; unknown fields are ignored."""
    if not isinstance(values, Mapping):
        raise TypeError(f"expected a step of preprocessing, got {values!r:.100}")
    known = {f.name: values[f.name] for f in fields(Preprocessing) if f.name in values}
    return Preprocessing(**known)


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of a snapshot in the training, with the metrics.

    Attributes:
        step: The number that identifies the snapshot in the run; 0 is the untrained model. It is
            the number of finished epochs for epoch schedules, else of batches; larger if training
            continued from weights that the run did not contain.
        epoch: Finished epochs.
        batch: Batches since the start of training, or None if Keras does not provide it.
        metrics: The values that Keras logged, by name. At most 4,096 are kept, and of each name the
            first 200 characters.
        wall_time: Seconds since 1970.
        epochs: Planned epochs, or None if not known.
        epoch_batch: Finished batches of the current epoch; 0 between two epochs, None if not known.
        epoch_batches: Batches per epoch, or None if not known.
        note: A description of weights that are not the result of the training until then, such as
            ``"restored: epoch 2"`` or ``"averaged"``; else empty.
        probed: Whether the snapshot holds responses to the run's probes.

    Raises:
        FiltertrackError: If a number is negative, not a number, or 10**12 or more.
    """

    step: int
    epoch: int
    batch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    wall_time: float = 0.0
    epochs: int | None = None
    epoch_batch: int | None = None
    epoch_batches: int | None = None
    note: str = ""
    probed: bool = False

    def __post_init__(self) -> None:
        """Check the numbers and freeze the metrics."""
        for name in ("step", "epoch"):
            object.__setattr__(self, name, _whole(getattr(self, name), name))
        for name in ("batch", "epochs", "epoch_batch", "epoch_batches"):
            number = getattr(self, name)
            if number is not None:
                object.__setattr__(self, name, _whole(number, name))
        try:
            items = islice(self.metrics.items(), _MOST_METRICS)
            metrics = {str(name)[:_LONGEST_METRIC]: float(value) for name, value in items}
            wall_time = float(self.wall_time)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise FiltertrackError(f"a snapshot's metrics do not fit: {error}") from error
        if not math.isfinite(wall_time):
            raise FiltertrackError(f"wall_time: expected seconds since 1970, got {wall_time}")
        if not isinstance(self.note, str) or len(self.note) > _LONGEST_NOTE:
            raise FiltertrackError(
                f"a snapshot's note: expected at most {_LONGEST_NOTE} characters"
            )
        object.__setattr__(self, "metrics", MappingProxyType(metrics))
        object.__setattr__(self, "wall_time", wall_time)
        object.__setattr__(self, "note", printable(self.note))
        object.__setattr__(self, "probed", bool(self.probed))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the plain values: the frozen metrics cannot be pickled."""
        values = [getattr(self, f.name) for f in fields(self)]
        return type(self), tuple(dict(v) if isinstance(v, Mapping) else v for v in values)

    @property
    def counts_epochs(self) -> bool:
        """Whether the step counts epochs instead of batches."""
        if self.step == self.epoch:
            return True
        if self.epoch_batch != 0:
            return False
        return self.batch is None or abs(self.step - self.epoch) < abs(self.step - self.batch)


def describe(moment: Moment) -> str:
    """Return a short description of a moment, with epochs counted from 1 as in Keras's log.

    Example:
        >>> describe(Moment(0, 0)), describe(Moment(300, 0))
        ('before training', 'step 300')
        >>> describe(Moment(261, 1, 261, epochs=12, epoch_batch=108, epoch_batches=153))
        'epoch 2 of 12, batch 108 of 153'
        >>> describe(Moment(6, 5, epochs=12, epoch_batch=0, note="restored: epoch 2"))
        'epoch 5 of 12 (restored: epoch 2)'
    """
    if not moment.note:
        return _when(moment)
    return f"{_when(moment)} ({moment.note})"


def start_text(first: Moment) -> str:
    """Return what differences are taken from, in words: the first snapshot of a run.

    Only a run that begins with step 0 has the start of training.

    Example:
        >>> start_text(Moment(0, 0)), start_text(Moment(1, 1)), start_text(Moment(300, 0))
        ('the start', 'epoch 1', 'step 300')
    """
    if first.step == 0:
        return "the start"
    return f"epoch {first.epoch}" if first.counts_epochs else f"step {first.step}"


def unit_of(moments: Sequence[Moment]) -> str:
    """Return the unit of the numbers on an axis of moments: epochs, batches or steps.

    Example:
        >>> unit_of([Moment(0, 0), Moment(1, 1)]), unit_of([Moment(0, 0), Moment(300, 0)])
        ('epochs', 'steps')
    """
    counted = [moment for moment in moments if not moment.note]
    if all(moment.counts_epochs for moment in counted or moments):
        return "epochs"
    return "steps" if any(moment.batch is None for moment in moments) else "batches"


def mark_of(moment: Moment, unit: str) -> str:
    """Return the text of a moment's mark on an axis: its number, or the first word of its note.

    Args:
        moment: The moment.
        unit: The unit of numbers, as returned by ``unit_of``.

    Example:
        >>> mark_of(Moment(3, 3), "epochs"), mark_of(Moment(40, 3, 40), "batches")
        ('3', '40')
        >>> mark_of(Moment(6, 5, epoch_batch=0, note="restored: epoch 2"), "epochs")
        'restored'
    """
    if moment.note and moment.step:
        return moment.note.partition(" ")[0].rstrip(":")
    numbers = {"epochs": moment.epoch, "batches": moment.batch, "steps": moment.step}
    return str(numbers[unit])


def _when(moment: Moment) -> str:
    if not (moment.step or moment.epoch or moment.batch):
        return "start" if moment.note else "before training"
    if moment.epoch_batch is None:
        return _when_by_hand(moment)
    if moment.epoch_batch == 0:
        return f"epoch {_of(moment.epoch, moment.epochs)}"
    batch = _of(moment.epoch_batch, moment.epoch_batches)
    return f"epoch {_of(moment.epoch + 1, moment.epochs)}, batch {batch}"


def _when_by_hand(moment: Moment) -> str:
    """Describe a moment of a custom loop or of an older run by finished epochs and batches.

    The progress within the current epoch is not known for these.
    """
    epoch = f"epoch {moment.epoch}"
    if moment.batch is not None:
        return f"{epoch} · batch {moment.batch}" if moment.epoch else f"batch {moment.batch}"
    if not moment.epoch:
        return f"step {moment.step}"
    return epoch if moment.step == moment.epoch else f"{epoch}, step {moment.step}"


def _of(number: int, total: int | None) -> str:
    return f"{number} of {total}" if total and number <= total else str(number)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The weights at one moment.

    Attributes:
        moment: The moment.
        arrays: Member name (such as ``"conv1/kernel"``) to array, as in Keras.
        responses: What the filters of each layer answered to the run's probes, by the layer's
            name. It may be computed when it is first read; empty if there are none.
    """

    moment: Moment
    arrays: Mapping[str, np.ndarray]
    responses: Mapping[str, LayerResponse] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the moment and the number of arrays, without their values."""
        return f"Snapshot({describe(self.moment)}: {counted(len(self.arrays), 'arrays')})"

    def _repr_html_(self) -> str:
        """Return the moment, the metrics, and a table of the arrays for a notebook."""
        metrics = (f"{name} {value:.4g}" for name, value in self.moment.metrics.items())
        title = f"step {self.step}: {' · '.join([describe(self.moment), *metrics])}"
        rows = (
            (name, "×".join(map(str, array.shape)), str(array.dtype))
            for name, array in self.arrays.items()
        )
        body = "".join(f"<tr>{''.join(f'<td>{escape(x)}</td>' for x in row)}</tr>" for row in rows)
        head = "<tr><th>array</th><th>shape</th><th>type</th></tr>"
        return f"<p>{escape(printable(title))}</p><table>{head}{body}</table>"

    @property
    def step(self) -> int:
        """The number that identifies the snapshot in the run."""
        return self.moment.step


def _whole(value: object, what: str) -> int:
    """Return a whole number from 0 on as ``int``."""
    number = whole(value)
    if number is None or not 0 <= number < _MOST_STEPS:
        raise FiltertrackError(
            f"{what}: expected a whole number from 0 to {_MOST_STEPS - 1}, got {value!r:.100}"
        )
    return number


def layer_of(info: LayerInfo) -> str:
    """Return the name of a kernel's layer, which several kernels may have in common.

    For ``"sep/depthwise_kernel"`` of a separable convolution it is ``"sep"``.
    """
    layer = info.kernel.rpartition("/")[0]
    return layer if info.name.startswith(f"{layer}/") else info.name


def total_bytes(layers: Sequence[LayerInfo]) -> int:
    """Return the size of one snapshot's kernels in bytes, without the much smaller biases.

    Example:
        >>> total_bytes([])
        0
    """
    return sum(math.prod(info.kernel_shape) * _item_size(info.dtype) for info in layers)


def _item_size(dtype: str) -> int:
    """Return the size of a stored value in bytes; 4 for unknown types."""
    return np.dtype(stored_type(dtype) or "float32").itemsize
