"""The layers that a file of Keras holds, and the description of the kernels among them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from filtertrack.capture.checkpoints.checkpoint import Checkpoint, refused
from filtertrack.capture.checkpoints.hdf5 import Hdf5File
from filtertrack.capture.checkpoints.keras_config import (
    ConfigLayer,
    kernels_of,
    option,
    text_option,
)
from filtertrack.capture.keras_kernels import (
    KERNELS_OF_CLASS,
    KernelAttribute,
    activation_of,
    axes_letters,
)
from filtertrack.capture.kernel_axes import canonical_axes
from filtertrack.capture.layer_names import child_names, snake_case
from filtertrack.errors import FiltertrackError, listed, printable
from filtertrack.snapshot import LayerInfo, name_parts, safe_names
from filtertrack.storage.memory_limit import check_memory

KERNEL_AXES = (3, 4, 5)
"""The numbers of axes that a kernel may have."""
_CLASS_OF_STEM = {snake_case(name): name for name in KERNELS_OF_CLASS}
_NO_CONVOLUTIONS = {
    *("query", "key", "value", "attention_output", "einsum_dense"),
    *("p_re_lu", "layer_normalization", "rms_normalization", "normalization"),
}
"""Names of Keras's layers that do not convolve and whose variables may have three axes or more."""
_CLASS_OF_KERNEL = {
    "pointwise_kernel": "SeparableConv",
    "depthwise_kernel": "DepthwiseConv",
    "recurrent_kernel": "ConvLSTM",
}
"""Names of kernels that only one kind of convolution has."""
_OF_CONVOLUTIONS = {"kernel", "bias", "lora_kernel_a", "lora_kernel_b", "0", "1"}
_MOST_DEPTHWISE = 3
_LONGEST_TEXT = 1000
_UNKNOWN = ConfigLayer("", "", of_keras=False, options={}, graph=None, parts={})


class StoredArray(Protocol):
    """An array in a file, whose values are not read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> str:
        """The name of its type in Keras."""

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""

    def read(self) -> np.ndarray:
        """Read the values."""


@dataclass(slots=True)
class StoredLayer:
    """A layer in a file, with the layers in it.

    Attributes:
        name: Its name in Keras.
        stem: Keras's name of the first layer of its class; empty if the class is not known.
        held: The attribute of the parent that holds it; None if it is in the parent's graph.
        config: Its description; an empty one if the file has none.
        variables: Its own variables, by attribute name, or by their number in the file.
        children: The layers in it, in order.
    """

    name: str
    stem: str
    held: str | None = None
    config: ConfigLayer = _UNKNOWN
    variables: dict[str, StoredArray] = field(default_factory=dict)
    children: "list[StoredLayer]" = field(default_factory=list)


def is_by_shape(layer: "StoredLayer") -> bool:
    """Whether only the shapes of a layer's variables tell the class of a convolution."""
    return not (
        is_convolution(layer.stem or name_parts(layer.name)[0])
        or _CLASS_OF_KERNEL.keys() & layer.variables.keys()
    )


def is_convolution(stem: str) -> bool:
    """Whether it is Keras's name of the first layer of a class of convolutions."""
    return stem in _CLASS_OF_STEM


def class_of(stem: str, variables: Mapping[str, StoredArray]) -> str:
    """Return the class of a convolution that the file does not name; empty for another layer.

    It is known from the automatic name of the layer or of its group. For other names it is the
    class whose kernel and bias have these shapes; a kernel without a bias is taken as that of a
    plain convolution.

    Args:
        stem: The layer's name, without the number that Keras appends.
        variables: Its variables, in order.
    """
    if stem in _CLASS_OF_STEM:
        return _CLASS_OF_STEM[stem]
    named = next((name for name in _CLASS_OF_KERNEL if name in variables), None)
    kernel = variables.get(named or "kernel", variables.get("0"))
    if kernel is None or len(kernel.shape) not in KERNEL_AXES or stem in _NO_CONVOLUTIONS:
        return ""
    rank = len(kernel.shape) - 2
    if named:
        return f"{_CLASS_OF_KERNEL[named]}{rank}D"
    bias = variables.get("bias", variables.get("1"))
    if not variables.keys() <= _OF_CONVOLUTIONS:
        return ""
    if rank == 1 and not bias and "kernel" not in variables:
        return ""  # such as the slopes of a PReLU
    return _class_of_shapes(kernel.shape, bias.shape if bias else None)


def _class_of_shapes(kernel: tuple[int, ...], bias: tuple[int, ...] | None) -> str:
    """Return the class whose kernel and bias have these shapes; empty if none has."""
    rank, channels, last = len(kernel) - 2, kernel[-2], kernel[-1]
    if bias is None or bias == (last,):
        return f"Conv{rank}D"
    if bias == (channels * last,) and rank < _MOST_DEPTHWISE:
        return f"DepthwiseConv{rank}D"
    return f"Conv{rank}DTranspose" if bias == (channels,) else ""


@dataclass(frozen=True, slots=True)
class MergedKernel:
    """The kernel of a layer with LoRA, computed from three arrays in the file.

    Attributes:
        kernel: The frozen kernel.
        a: The factor of shape ``(…, channels, rank)``.
        b: The factor of shape ``(rank, filters)``.
        alpha: The numerator of the scale ``alpha / rank``; None for the rank.
    """

    kernel: StoredArray
    a: StoredArray
    b: StoredArray
    alpha: object = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The kernel's shape."""
        return self.kernel.shape

    @property
    def dtype(self) -> str:
        """The name of the kernel's type in Keras."""
        return self.kernel.dtype

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.kernel.nbytes + self.a.nbytes + self.b.nbytes

    def read(self) -> np.ndarray:
        """Read the arrays and return ``kernel + alpha / rank * a @ b``, as Keras computes it."""
        kernel, a, b = self.kernel.read(), self.a.read(), self.b.read()
        if a.shape[-1:] != b.shape[:1] or (*a.shape[:-1], *b.shape[1:]) != kernel.shape:
            raise FiltertrackError(
                f"the factors of LoRA have the shapes {a.shape} and {b.shape}, which do not fit "
                f"a kernel of shape {kernel.shape}"
            )
        rank = max(1, b.shape[0])
        alpha = self.alpha if isinstance(self.alpha, (int, float)) else rank
        merged: np.ndarray = (kernel + (alpha / rank) * (a @ b)).astype(kernel.dtype)
        return merged


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A kernel in a file."""

    path: str
    keras_path: str
    class_name: str
    config: ConfigLayer
    attribute: KernelAttribute
    several: bool
    array: StoredArray
    bias: StoredArray | None


class StoredKernels:
    """The kernels of the convolutions among the layers of a file.

    Args:
        root: The model.

    Attributes:
        infos: A description of each kernel.
        arrays: The arrays of kernels and biases, by their names in a snapshot file.
        remarks: Sentences about kernels that are left out, or whose class is not known.
    """

    def __init__(self, root: StoredLayer) -> None:
        self._guessed: list[str] = []
        self._skipped: list[str] = []
        owners = [list(each) for each in self._owners(root)]
        owners = [kernels for kernels in owners if kernels]
        members = safe_names(kernels[0].path for kernels in owners)
        kernels = [
            (member, kernel)
            for member, each in zip(members, owners, strict=True)
            for kernel in each
        ]
        names = safe_names(
            f"{kernel.path}/{_last(kernel.attribute.attribute)}" if kernel.several else kernel.path
            for _, kernel in kernels
        )
        self.infos: list[LayerInfo] = []
        self.arrays: dict[str, StoredArray] = {}
        for name, (member, kernel) in zip(names, kernels, strict=True):
            info = _info_of(name, member, kernel)
            self.infos.append(info)
            self.arrays[info.kernel] = kernel.array
            if info.bias and kernel.bias:
                self.arrays[info.bias] = kernel.bias
        self.remarks = list(self._sentences())

    def check(self, path: Path) -> None:
        """Refuse a file without kernels.

        Raises:
            FiltertrackError: If there is none.
        """
        if not self.infos:
            raise refused(path, "; ".join(["it holds no convolution", *self.remarks]))

    def _owners(self, root: StoredLayer) -> Iterator[Iterator[_Kernel]]:
        for path, keras_path, layer in _walk(root, "", ""):
            yield self._kernels(path or layer.name, keras_path or layer.name, layer)

    def _kernels(self, path: str, keras_path: str, layer: StoredLayer) -> Iterator[_Kernel]:
        class_name, attributes = layer.config.class_name, kernels_of(layer.config)
        if not class_name:
            class_name = class_of(layer.stem or name_parts(layer.name)[0], layer.variables)
            attributes = KERNELS_OF_CLASS.get(class_name, ())
            if attributes and is_by_shape(layer):
                self._guessed.append(path)
        found = list(_matched(attributes, layer))
        if len(found) < len(attributes) or (_may_convolve(layer) and not found):
            if layer.variables:
                self._skipped.append(path)
            return
        for attribute, array, bias in found:
            yield _Kernel(
                path, keras_path, class_name, layer.config, attribute, len(found) > 1, array, bias
            )

    def _sentences(self) -> Iterator[str]:
        if self._guessed:
            yield (
                f"{listed(self._guessed)}: the file does not name the class, so the shapes decide: "
                f"check the filters of transposed and depthwise convolutions"
            )
        if self._skipped:
            yield (
                f"left out: {listed(self._skipped)}: of a class that is no convolution of Keras, "
                f"and nothing in the file says that it is one"
            )


def _walk(layer: StoredLayer, path: str, keras_path: str) -> Iterator[tuple[str, str, StoredLayer]]:
    yield path, keras_path, layer
    names = child_names(
        [child.name for child in layer.children],
        [child.stem for child in layer.children],
        [child.held for child in layer.children],
    )
    for name, child in zip(names, layer.children, strict=True):
        below = f"{keras_path}/{child.name}" if keras_path else child.name
        yield from _walk(child, f"{path}/{name}" if path else name, below)


def _matched(
    attributes: Sequence[KernelAttribute], layer: StoredLayer
) -> Iterator[tuple[KernelAttribute, StoredArray, StoredArray | None]]:
    """Yield a layer's kernels that are among its variables, each with its bias."""
    found = layer.variables
    names = [_last(attribute.attribute) for attribute in attributes]
    if all(name.isdecimal() for name in found):  # in the order of the attributes
        found = dict(zip([*names, "bias"], found.values(), strict=False))
    elif attributes and attributes[0].order == "depthwise" and "depthwise_kernel" in found:
        names[0] = "depthwise_kernel"  # its name in Keras 2 in every depthwise layer
    bias = found.get("bias") if layer.config.options.get("use_bias", True) else None
    if bias is not None and len(bias.shape) != 1:
        bias = None
    for name, attribute in zip(names, attributes, strict=True):
        kernel = found.get(name)
        if kernel is None or len(kernel.shape) not in KERNEL_AXES:
            return
        a, b = (found.get(f"lora_{name}_{each}") for each in "ab")
        if a is not None and b is not None:
            kernel = MergedKernel(kernel, a, b, layer.config.options.get("lora_alpha"))
        yield attribute, kernel, bias if attribute.bias else None


def _may_convolve(layer: StoredLayer) -> bool:
    """Whether a layer of unknown class has a variable with the axes of a kernel."""
    shapes = [each.shape for each in layer.variables.values()]
    return (
        not layer.config.of_keras
        and (layer.stem or name_parts(layer.name)[0]) not in _NO_CONVOLUTIONS
        and bool(shapes)
        and any(len(shape) in KERNEL_AXES for shape in shapes)
    )


def _last(attribute: str) -> str:
    return attribute.rpartition(".")[2]


def _info_of(name: str, member: str, kernel: _Kernel) -> LayerInfo:
    """Describe a kernel as ``TrackedLayers`` does."""
    attribute, config = kernel.attribute, kernel.config
    shape = kernel.array.shape
    letters = axes_letters(attribute.order, len(shape))
    groups = config.options.get("groups", 1)
    return LayerInfo(
        name=name,
        path=printable(kernel.keras_path)[:_LONGEST_TEXT],
        class_name=printable(kernel.class_name)[:_LONGEST_TEXT],
        kernel=f"{member}/{_last(attribute.attribute)}",
        bias=f"{member}/{_last(str(attribute.bias))}" if kernel.bias is not None else None,
        kernel_shape=shape,
        **canonical_axes(letters, shape)._asdict(),
        dtype=kernel.array.dtype,
        strides=option(config, "strides", len(shape) - 2),
        dilation=option(config, "dilation_rate", len(shape) - 2),
        data_format=text_option(config, "data_format") or "channels_last",
        trainable=bool(config.options.get("trainable", True)),
        padding=text_option(config, "padding"),
        groups=groups if type(groups) is int else 1,
        activation=activation_of(
            attribute.attribute, attribute.bias, text_option(config, "activation")
        ),
    )


class KerasFile(Checkpoint):
    """The convolution kernels in a file of Keras.

    Args:
        path: The file, for messages.
        files: The open HDF5 files that hold the arrays.
        kernels: The kernels in them.
        remarks: Sentences about the file, before those about the kernels.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Hdf5File],
        kernels: StoredKernels,
        remarks: Iterable[str] = (),
    ) -> None:
        super().__init__(path)
        self.infos = tuple(kernels.infos)
        self.remarks = (*remarks, *kernels.remarks)
        self._files = files
        self._arrays = kernels.arrays

    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Read kernels and biases: see ``Checkpoint``."""
        wanted = {
            name: self._arrays[name]
            for info in (self.infos if infos is None else infos)
            for name in (info.kernel, info.bias)
            if name
        }
        total = sum(array.nbytes for array in wanted.values())
        check_memory(total, f"cannot read {str(self.path)!r}: its kernels take")
        return {name: array.read() for name, array in wanted.items()}

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
