"""Selects the arrays of a state dict that may be convolution kernels, by their names and shapes."""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from filtertrack.capture.checkpoints.derived_kernels import Formula, formula_of, unknown_formula
from filtertrack.capture.checkpoints.state_names import ModuleArrays, numbered_successor
from filtertrack.capture.keras_kernels import AxisOrder, axes_letters
from filtertrack.capture.kernel_axes import SPACES, canonical_axes
from filtertrack.errors import listed
from filtertrack.snapshot import stored_type

_LARGEST_SIDE = 256
"""Maximum size of a kernel along a spatial axis, unless the name says that it is a convolution:
larger arrays are tables, not kernels."""
_LARGEST_SMALL_SIDE = 16
"""The same for kernels of one spatial axis and several channels: stacked matrices, such as the
weight of a bilinear layer, have three axes as well. And for those named as a norm or a table."""
_MOST_WEIGHTS = 1 << 40
_CONVOLUTION_NAME = re.compile(r"conv", re.IGNORECASE)
_NO_CONVOLUTION = re.compile(r"(\w+_)?(norm|layernorm|ln|bn)\d*|pos\w*emb\w*", re.IGNORECASE)
_ATTENTION = {"query", "key", "value", "out"}
"""The modules of attention in flax, whose kernels have the axes (inputs, heads, outputs)."""
_STORE_COMPUTED = "remove_parametrizations before state_dict() stores them"
_BIASES = ("bias", "biases", "b")
_ORDERS: tuple[AxisOrder, ...] = ("convolution", "transposed", "depthwise")


class StateArray(NamedTuple):
    """An array in a file.

    Attributes:
        shape: Its shape.
        dtype: The name of its type.
        orders: The orders of axes that are possible for it as a kernel.
    """

    shape: tuple[int, ...]
    dtype: str
    orders: tuple[AxisOrder, ...] = _ORDERS


class Convention(NamedTuple):
    """How a framework orders the axes of its kernels, and names its layers.

    Attributes:
        letters: Order to the letters of a kernel's axes; ``{}`` stands for the spatial ones.
        classes: Order to the name of the class; ``{}`` stands for the number of spatial axes.
    """

    letters: Mapping[AxisOrder, str]
    classes: Mapping[AxisOrder, str]


_TORCH_CLASSES: dict[AxisOrder, str] = {
    "convolution": "Conv{}d",
    "transposed": "ConvTranspose{}d",
    "depthwise": "ConvTranspose{}d",  # each group has one input channel
}
CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        "torch": Convention(
            {"convolution": "OI{}", "transposed": "IO{}", "depthwise": "IM{}"}, _TORCH_CLASSES
        ),
        "mlx": Convention({"convolution": "O{}I", "transposed": "O{}I"}, _TORCH_CLASSES),
    }
)
"""The axes of an array named ``weight``, by the framework. Others are those of Keras."""
KERAS = Convention(
    {order: "{}" + axes_letters(order, 3)[1:] for order in _ORDERS},
    {
        "convolution": "Conv{}D",
        "transposed": "Conv{}DTranspose",
        "depthwise": "DepthwiseConv{}D",
    },
)
_KERAS_ATTRIBUTES: Mapping[str, tuple[AxisOrder, ...]] = MappingProxyType(
    {
        "kernel": _ORDERS,
        "weights": _ORDERS,  # TF-Slim
        "w": ("convolution",),  # Sonnet and Haiku
        "depthwise_kernel": ("depthwise",),
        "depthwise_weights": ("depthwise",),
        "pointwise_kernel": ("convolution",),
        "pointwise_weights": ("convolution",),
        "recurrent_kernel": ("convolution",),
    }
)


@dataclass(frozen=True, slots=True)
class KernelCandidate:
    """An array that may be a kernel.

    Attributes:
        module: Its module.
        attribute: Its attribute in the module: the name it gets in a snapshot.
        formula: How it is computed.
        array: Its shape and type.
        convention: The framework's order of axes.
        outputs: The number of filters that the bias, or the norm layer after it, tells; or None.
        bias: The attribute of the bias, or None.
        norms: The numbers of elements of the weights with one axis in modules beside its module.
    """

    module: ModuleArrays
    attribute: str
    formula: Formula
    array: StateArray
    convention: Convention
    outputs: int | None
    bias: str | None
    norms: Collection[int]

    @property
    def name(self) -> str:
        """The name for the user, such as ``layer1/0/conv1/weight``."""
        return "/".join((*self.module.parts, self.attribute))

    @property
    def space(self) -> int:
        """The number of spatial axes."""
        return len(self.array.shape) - 2

    def letters(self, order: AxisOrder) -> str:
        """Return the letters of the axes in an order."""
        return self.convention.letters[order].format(SPACES[self.space])

    def filters(self, order: AxisOrder) -> int:
        """Return the number of filters of a kernel with axes in an order."""
        return canonical_axes(self.letters(order), self.array.shape).shape[0]


def candidates_of(
    modules: Mapping[tuple[str, ...], ModuleArrays],
    arrays: Mapping[str, StateArray],
    convention: Convention,
    axes: str | None,
) -> tuple[list[KernelCandidate], list[str]]:
    """Select the arrays that may be kernels: see ``state_kernels.kernels_in_state``.

    Returns:
        The kernels, and remarks about arrays that are left out.
    """
    found, tables, computed, types = [], [], [], []
    norms = _norms(modules, arrays)
    for module in modules.values():
        if all(len(arrays[name].shape) < 3 for name in module.names.values()):
            continue
        unknown = None if formula_of(module.names) else unknown_formula(module.names)
        if unknown and _is_kernel_shape(arrays[module.names[unknown]].shape):
            computed.append("/".join((*module.parts, unknown)))
        for attribute, formula, by in _formulas(module, convention):
            array = _array_of(module, attribute, formula, arrays)
            if not _is_kernel_shape(array.shape) or _has_other_bias(module, arrays):
                continue
            bias = _bias_of(module, attribute)
            outputs = _outputs_of(module, formula, bias, modules, arrays)
            beside = norms.get(module.parts[:-1], ())
            candidate = KernelCandidate(
                module, attribute, formula, array, by, outputs, bias, beside
            )
            if any(stored_type(arrays[module.names[n]].dtype) is None for n in formula.arrays):
                types.append(f"{candidate.name} ({array.dtype})")
            elif (axes is not None and len(axes) == len(array.shape)) or _is_plausible(candidate):
                found.append(candidate)
            else:
                tables.append(f"{candidate.name} {array.shape}")
    remarks = [
        f"{what}: {listed(names)}"
        for what, names in (
            ("left out, as probably no convolutions (axes= takes them)", tables),
            (f"left out, as it is not known how they are computed ({_STORE_COMPUTED})", computed),
            ("left out, as values of their type cannot be stored", types),
        )
        if names
    ]
    flat = [c.name for c in found if len(c.array.shape) == 3 and not _is_named_convolution(c)]
    if flat:
        remarks.append(
            f"read as kernels of one spatial axis, though their names have no 'conv': "
            f"{listed(flat)}"
        )
    derived = sorted({c.formula.what for c in found if c.formula.what})
    if derived:
        remarks.append(f"computed as torch does it: the kernels with {' and '.join(derived)}")
    return found, remarks


def _norms(
    modules: Mapping[tuple[str, ...], ModuleArrays], arrays: Mapping[str, StateArray]
) -> dict[tuple[str, ...], set[int]]:
    """Return the sizes of weights with one axis, by the path of the module that holds theirs."""
    sizes: dict[tuple[str, ...], set[int]] = {}
    for module in modules.values():
        shape = arrays[module.names["weight"]].shape if "weight" in module.names else ()
        if len(shape) == 1:
            sizes.setdefault(module.parts[:-1], set()).add(shape[0])
    return sizes


def _formulas(
    module: ModuleArrays, convention: Convention
) -> Iterator[tuple[str, Formula, Convention]]:
    """Yield the attributes of a module that may be kernels."""
    formula = formula_of(module.names)
    if formula is not None:
        yield "weight", formula, convention
    elif "weight" in module.names:
        yield "weight", Formula(("weight",)), convention
    for attribute in _KERAS_ATTRIBUTES:
        if attribute in module.names:
            yield attribute, Formula((attribute,)), KERAS


def _array_of(
    module: ModuleArrays, attribute: str, formula: Formula, arrays: Mapping[str, StateArray]
) -> StateArray:
    array = arrays[module.names[formula.arrays[-1]]]
    orders = [o for o in array.orders if o in _KERAS_ATTRIBUTES.get(attribute, _ORDERS)]
    if "recurrent_kernel" in module.names:
        orders = ["convolution"]
    return array._replace(orders=tuple(orders))


def _is_kernel_shape(shape: tuple[int, ...]) -> bool:
    return len(shape) in (3, 4, 5) and 0 < math.prod(shape) <= _MOST_WEIGHTS


def _is_plausible(candidate: KernelCandidate) -> bool:
    """Whether an array is a kernel by its name and the sizes of its spatial axes."""
    shape = candidate.array.shape
    if not candidate.array.orders:
        return False
    flat = len(shape) == 3 and candidate.convention is KERAS
    if flat and candidate.module.last in _ATTENTION:
        return False
    letters = candidate.letters("convolution")
    sides = [size for size, letter in zip(shape, letters, strict=True) if letter in SPACES[3]]
    if _NO_CONVOLUTION.fullmatch(candidate.module.last):
        several = shape[letters.index("O")] > 1  # a table of positions is one "filter"
        return len(sides) > 1 and several and max(sides) <= _LARGEST_SMALL_SIDE
    if _is_named_convolution(candidate):
        return True
    one_channel = shape[letters.index("I")] == 1
    most = _LARGEST_SIDE if len(sides) > 1 or one_channel else _LARGEST_SMALL_SIDE
    return max(sides) <= most


def _is_named_convolution(candidate: KernelCandidate) -> bool:
    return any(map(_CONVOLUTION_NAME.search, candidate.module.parts))


def _bias_of(module: ModuleArrays, attribute: str) -> str | None:
    """Return the attribute of a kernel's bias; of several kernels, one has it."""
    separable = attribute.replace("depthwise", "pointwise")
    if attribute == "recurrent_kernel" or (separable != attribute and separable in module.names):
        return None
    return next((name for name in _BIASES if name in module.names), None)


def _has_other_bias(module: ModuleArrays, arrays: Mapping[str, StateArray]) -> bool:
    """Whether a bias has several axes: that of a norm layer or of an attention layer."""
    return any(len(arrays[module.names[b]].shape) > 1 for b in _BIASES if b in module.names)


def _outputs_of(
    module: ModuleArrays,
    formula: Formula,
    bias: str | None,
    modules: Mapping[tuple[str, ...], ModuleArrays],
    arrays: Mapping[str, StateArray],
) -> int | None:
    """Return the number of filters, as far as other arrays tell it."""
    after = numbered_successor(module, modules)
    name = module.names.get(bias or formula.filters)
    if name is None and after is not None:
        name = after.names.get("weight")
    shape = () if name is None else arrays[name].shape
    # A vector of one weight after a kernel is that of a PReLU layer.
    return shape[0] if len(shape) == 1 and (bias is not None or shape[0] > 1) else None
