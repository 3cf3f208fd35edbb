"""The kernels of each class of Keras's convolutions, by the names of the classes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from filtertrack.capture.kernel_axes import SPACES

AxisOrder = Literal["convolution", "transposed", "depthwise", "dense"]

_AFTER_SPACE = {"convolution": "IO", "transposed": "OI", "depthwise": "IM"}


class KernelAttribute(NamedTuple):
    """The attribute of a layer that holds a kernel, and the order of the kernel's axes.

    Attributes:
        attribute: Such as ``"kernel"`` or ``"cell.kernel"``.
        order: The axes after the spatial ones: ``(channels, filters)`` for a convolution,
            ``(filters, channels)`` for a transposed one, ``(channels, multiplier)`` for a depthwise
            one, whose filters have one channel each. The axes of a Dense layer are
            ``(inputs, filters)``.
        bias: The attribute of the bias of its filters, or None.
    """

    attribute: str
    order: AxisOrder
    bias: str | None


_CONVOLUTION = (KernelAttribute("kernel", "convolution", "bias"),)
_TRANSPOSED = (KernelAttribute("kernel", "transposed", "bias"),)
_DEPTHWISE = (KernelAttribute("kernel", "depthwise", "bias"),)
_SEPARABLE = (
    KernelAttribute("depthwise_kernel", "depthwise", None),
    KernelAttribute("pointwise_kernel", "convolution", "bias"),
)
_LSTM = (
    KernelAttribute("cell.kernel", "convolution", "cell.bias"),
    KernelAttribute("cell.recurrent_kernel", "convolution", None),
)

KERNELS_OF_CLASS: Mapping[str, tuple[KernelAttribute, ...]] = MappingProxyType(
    {
        **{f"Conv{n}D": _CONVOLUTION for n in (1, 2, 3)},
        **{f"Conv{n}DTranspose": _TRANSPOSED for n in (1, 2, 3)},
        **{f"DepthwiseConv{n}D": _DEPTHWISE for n in (1, 2)},
        **{f"SeparableConv{n}D": _SEPARABLE for n in (1, 2)},
        **{f"ConvLSTM{n}D": _LSTM for n in (1, 2, 3)},
    }
)
"""Name of a class in ``keras.layers`` to its kernels, in the order of its variables."""


def activation_of(attribute: str, bias: str | None, activation: str) -> str:
    """Return the activation function that a layer applies to the outputs of one of its kernels.

    A separable layer applies its own after the last one only. What a recurrent layer does with
    those of its kernels has no name.

    Args:
        attribute: The attribute that holds the kernel.
        bias: The attribute of the bias that is added to its outputs; None for a kernel before the
            last one.
        activation: The layer's activation function; empty if it is not known.

    Example:
        >>> depthwise, pointwise = KERNELS_OF_CLASS["SeparableConv2D"]
        >>> [activation_of(each.attribute, each.bias, "relu") for each in (depthwise, pointwise)]
        ['linear', 'relu']
    """
    if attribute.startswith("cell.") or not activation:
        return ""
    return "linear" if bias is None else activation


def axes_letters(order: AxisOrder, axes: int) -> str:
    """Return the letters of a convolution's kernel in Keras: see ``kernel_axes.canonical_axes``.

    Args:
        order: The order of the axes after the spatial ones.
        axes: The number of axes, 3 to 5.

    Example:
        >>> axes_letters("convolution", 4), axes_letters("depthwise", 3)
        ('HWIO', 'WIM')
    """
    return SPACES[axes - 2] + _AFTER_SPACE[order]


def per_axis(value: int | list[int] | tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return a layer's option, such as ``strides``, as a number for each spatial axis.

    Example:
        >>> per_axis(2, 3), per_axis([1, 2], 2)
        ((2, 2, 2), (1, 2))
    """
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else (int(value),) * count
