"""Finds the kernels of each class of Keras layers, and the order of their axes."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import keras
import numpy as np

from filtertrack.capture.keras_kernels import KERNELS_OF_CLASS, AxisOrder
from filtertrack.errors import FiltertrackError

EffectiveKernel: TypeAlias = Callable[[Any], Any]
"""Returns the array that a layer convolves with; None for the kernel of the layer's class."""

EFFECTIVE = "effective_kernel"
"""The attribute or method of a layer that returns the array it convolves with."""

_KERNEL_AXES = {3, 4, 5}


@dataclass(frozen=True, slots=True)
class Kernel:
    """The attribute of a layer that holds a kernel, and the order of the kernel's axes.

    Attributes:
        attribute: Such as ``"kernel"`` or ``"cell.kernel"``.
        order: The axes after the spatial ones: see ``keras_kernels.KernelAttribute``.
        bias: The attribute of the bias of its filters, or None.
        compute: Computes the kernel of a layer if it is not a weight of the layer; else None.
    """

    attribute: str
    order: AxisOrder
    bias: str | None
    compute: Callable[[Any], Any] | None = None

    def of(self, layer: Any) -> Any:
        """Return a layer's kernel, or None if it does not exist (yet)."""
        return weight_of(layer, self.attribute) if self.compute is None else self.compute(layer)

    def bias_of(self, layer: Any) -> Any:
        """Return the bias of the kernel's filters, or None if there is none."""
        return None if self.bias is None else weight_of(layer, self.bias)


_CONVOLUTIONS: tuple[tuple[type, tuple[Kernel, ...]], ...] = tuple(
    (getattr(keras.layers, name), tuple(Kernel(*kernel) for kernel in kernels))
    for name, kernels in KERNELS_OF_CLASS.items()
)
_DENSE = (Kernel("kernel", "dense", "bias"),)


class KernelFinder:
    """Finds the kernels of a layer.

    Args:
        effective: The user's function that returns the array a layer convolves with.
    """

    def __init__(self, effective: EffectiveKernel | None = None) -> None:
        self._effective = effective

    def kernels(self, layer: Any, *, dense: bool = False) -> tuple[Kernel, ...]:
        """Return the kernels of a layer; an empty tuple if it has none to track.

        Args:
            layer: The layer.
            dense: Whether it is a Dense layer to track; otherwise Dense layers have no kernel here.
        """
        known = _DENSE if dense else _known_kernels(layer)
        compute = self._computed(layer)
        if compute is not None:
            order = known[0].order if known else "convolution"
            return (Kernel(EFFECTIVE, order, known[-1].bias if known else "bias", compute),)
        return known or _own_kernel(layer)

    def is_convolution(self, layer: Any) -> bool:
        """Whether a layer is a convolution of Keras, or has an effective kernel."""
        return bool(_known_kernels(layer)) or self.has_effective_kernel(layer)

    def has_effective_kernel(self, layer: Any) -> bool:
        """Whether a layer has an effective kernel; it replaces those of the layers in it."""
        return self._computed(layer) is not None

    def overrides_call(self, layer: Any) -> bool:
        """Whether a user's subclass of a convolution may convolve with another array."""
        known = _known_kernels(layer) or isinstance(layer, keras.layers.Dense)
        if not known or self.has_effective_kernel(layer):
            return False
        own = [each for each in type(layer).__mro__ if not is_of_keras(each)]
        return any({"call", "convolution_op", "kernel"} & vars(each).keys() for each in own)

    def _computed(self, layer: Any) -> Callable[[Any], Any] | None:
        """Return the function that computes a layer's effective kernel; None if it has none."""
        if self._effective is not None and layer.built and self._by_user(layer) is not None:
            return self._by_user
        return _by_layer if hasattr(type(layer), EFFECTIVE) else None

    def _by_user(self, layer: Any) -> Any:
        """Call the user's function, which may read attributes that only some layers have."""
        if self._effective is None:
            return None
        try:
            return self._effective(layer)
        except AttributeError:
            return None
        except Exception as error:
            raise FiltertrackError(
                f"kernel: the function raised {type(error).__name__} for layer {layer.name!r}: "
                f"{error}; it must return None for layers that convolve with their own variable"
            ) from error


def _by_layer(layer: Any) -> Any:
    """Return the layer's ``effective_kernel``; None before it is built."""
    if not layer.built:
        return None
    kernel = getattr(layer, EFFECTIVE)
    return kernel() if callable(kernel) else kernel


def _known_kernels(layer: Any) -> tuple[Kernel, ...]:
    return next((found for cls, found in _CONVOLUTIONS if isinstance(layer, cls)), ())


def _own_kernel(layer: Any) -> tuple[Kernel, ...]:
    """Return the kernel of a user's own layer class, in the order of a convolution's axes.

    Keras's layers outside the table do not convolve: one that has a kernel of several axes is an
    attention layer, or repeats the kernel of a convolution in it.
    """
    if is_of_keras(type(layer)) or not layer.built:
        return ()
    names = [name for name, value in vars(layer).items() if _is_kernel_variable(value)]
    names = ["kernel"] if _has_axes(weight_of(layer, "kernel")) else names
    return (Kernel(names[0], "convolution", "bias"),) if len(names) == 1 else ()


def _is_kernel_variable(value: Any) -> bool:
    return isinstance(value, keras.Variable) and value.name == "kernel" and _has_axes(value)


def _has_axes(value: Any) -> bool:
    """Whether a value has as many axes as a kernel."""
    return len(getattr(value, "shape", ())) in _KERNEL_AXES


def changes_kernels(layer: Any) -> bool:
    """Whether the ``call`` of a user's class uses kernels of the layers in it.

    For example to mask or normalize them. Detected by the attribute names in its code.
    """
    return not {"kernel", "_kernel"}.isdisjoint(_names_in_call(layer))


def masked_kernel(layer: Any) -> str | None:
    """Return an expression of the masked kernel of a layer, such as ``layer.kernel * layer.mask``.

    It is what the layer probably convolves with: its ``call`` uses a kernel, and an attribute of
    zeros and ones that has the kernel's shape. It is meant as a suggestion to the user.

    Args:
        layer: A layer of a user's class, which may hold the convolution.

    Returns:
        The expression; None if there is no such mask.
    """
    values = {name: _attribute(layer, name) for name in _names_in_call(layer)}
    owners = {f"layer.{n}": v for n, v in values.items() if isinstance(v, keras.layers.Layer)}
    for owner, value in {"layer": layer, **owners}.items():
        kernel = _attribute(value, "kernel")
        if "kernel" in values and _has_axes(kernel):
            shape = tuple(kernel.shape)
            mask = next((name for name in values if _is_mask(values[name], shape)), None)
            if mask is not None:
                return f"{owner}.kernel * layer.{mask}"
    return None


def _names_in_call(layer: Any) -> tuple[str, ...]:
    """Return the names of attributes in the ``call`` of a user's class; empty for Keras's own."""
    call = inspect.unwrap(type(layer).call)
    names: tuple[str, ...] = getattr(getattr(call, "__code__", None), "co_names", ())
    return () if is_of_keras(type(layer)) else names


def _attribute(layer: Any, name: str) -> Any:
    """Return an attribute; None if there is none, or if it is a property that fails."""
    with suppress(Exception):
        return getattr(layer, name, None)
    return None


def _is_mask(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether a value is a constant array of a shape, of zeros and ones only."""
    if tuple(getattr(value, "shape", ())) != shape or getattr(value, "trainable", False):
        return False
    with suppress(Exception):  # such as a symbolic tensor
        return bool(np.isin(copied(value), (0, 1)).all())
    return False


def is_of_keras(cls: type) -> bool:
    """Whether a class is Keras's own."""
    return cls.__module__.partition(".")[0] == "keras"


def check_axes(path: str, kernel: Any) -> None:
    """Refuse an array that cannot be a convolution's kernel.

    Raises:
        FiltertrackError: If it has no shape of three to five axes.
    """
    if not _has_axes(kernel):
        came = f"shape {tuple(kernel.shape)}" if hasattr(kernel, "shape") else repr(kernel)
        raise FiltertrackError(
            f"kernel of {path}: expected an array of 3 to 5 axes (space, input channels, filters), "
            f"got {came}; kernel= must return None for layers that are no convolutions"
        )


def weight_of(layer: Any, attribute: str) -> Any:
    """Return a weight, or None if the layer does not have it (yet)."""
    return reduce(lambda owner, name: getattr(owner, name, None), attribute.split("."), layer)


def copied(value: Any) -> np.ndarray:
    """Copy one array of the backend to the host."""
    return np.array(keras.ops.convert_to_numpy(value))
