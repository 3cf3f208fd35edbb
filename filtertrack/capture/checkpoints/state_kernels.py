"""Finds the convolution kernels in a state dict, and describes their layers."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filtertrack.capture.checkpoint_names import natural_order
from filtertrack.capture.checkpoints.kernel_candidates import (
    KERAS,
    Convention,
    StateArray,
    candidates_of,
)
from filtertrack.capture.checkpoints.kernel_orders import KernelOrders, OrderedKernel
from filtertrack.capture.checkpoints.state_names import modules_of, without_roots
from filtertrack.capture.kernel_axes import canonical_axes
from filtertrack.errors import FiltertrackError, listed, printable
from filtertrack.snapshot import LayerInfo, safe_names, stored_type


@dataclass(frozen=True, slots=True)
class StateKernel:
    """A kernel in a state dict.

    Attributes:
        info: The description of its layer.
        arrays: The names of the arrays in the file that it is read or computed from.
        compute: Computes it from these arrays; None if it is the array itself.
        bias: The name of the bias's array in the file, or None.
    """

    info: LayerInfo
    arrays: tuple[str, ...]
    compute: Callable[..., np.ndarray] | None
    bias: str | None


def kernels_in_state(
    arrays: Mapping[str, StateArray],
    convention: Convention,
    *,
    axes: str | None = None,
    in_order: bool = False,
    containers: Collection[str] = (),
) -> tuple[list[StateKernel], list[str]]:
    """Find the convolution kernels in a state dict.

    Kernels are arrays named ``weight``, ``kernel`` or as the layers of Keras, TF-Slim and Sonnet
    name them, with one to three spatial axes, if their path has "conv" in it. Others are taken if
    their spatial axes have at most 256 elements; 16 if it is one axis, and several channels, or if
    the module is named as a norm layer or an embedding, of which one axis is never a kernel's.
    A kernel is read as that of a transposed or depthwise convolution if its order of axes follows
    from the length of the bias, from the norm layer after it in a ``Sequential``, or from the name.

    Args:
        arrays: Name to shape and type.
        convention: The order of axes of an array named ``weight``.
        axes: The letters of the axes of every kernel that has as many; None to decide by names.
        in_order: Whether the order of ``arrays`` is that of the model's modules; otherwise kernels
            are in natural order of their names.
        containers: The first parts of names that are keys of dicts around a state dict.

    Returns:
        The kernels, and remarks for the user.

    Raises:
        FiltertrackError: If ``axes`` fits no kernel.

    Example:
        >>> from filtertrack.capture.checkpoints.kernel_candidates import CONVENTIONS
        >>> state = {"conv1.weight": StateArray((64, 3, 7, 7), "float32")}
        >>> kernels, _ = kernels_in_state(state, CONVENTIONS["torch"])
        >>> kernels[0].info.name, kernels[0].info.shape
        ('conv1', (64, 7, 7, 3))
    """
    names = list(arrays) if in_order else sorted(arrays, key=natural_order)
    modules, remarks = modules_of(names)
    candidates, left_out = candidates_of(modules, arrays, convention, axes)
    if axes is not None and not any(len(c.array.shape) == len(axes) for c in candidates):
        others = [name for name, array in arrays.items() if len(array.shape) == len(axes)]
        advice = (
            f": no array named weight or kernel, but {listed(others)}; give these as arrays by name"
        )
        raise FiltertrackError(
            f"axes: {axes!r} has {len(axes)} letters; the file has no kernel of as many axes"
            f"{advice if others else ''}"
        )
    orders = KernelOrders(axes)
    for candidate in candidates:
        orders.add(candidate)
    return _described(orders.kernels, containers), [*remarks, *left_out, *orders.remarks]


def _described(kernels: Sequence[OrderedKernel], containers: Collection[str]) -> list[StateKernel]:
    """Describe kernels, each with a unique name: that of its module if it has one kernel."""
    owners = [kernel.candidate.module.parts for kernel in kernels]
    counts = Counter(owners)
    paths = dict(zip(counts, without_roots(list(counts), containers), strict=True))
    classes = {owner: _class_of(kernel) for owner, kernel in zip(owners, kernels, strict=True)}
    modules = safe_names("/".join(path) or classes[owner].lower() for owner, path in paths.items())
    members = dict(zip(counts, modules, strict=True))
    names = safe_names(
        members[owner] + (f"/{kernel.candidate.attribute}" if counts[owner] > 1 else "")
        for owner, kernel in zip(owners, kernels, strict=True)
    )
    return [
        _described_kernel(kernel, name, members[owner], paths[owner])
        for name, owner, kernel in zip(names, owners, kernels, strict=True)
    ]


def _class_of(kernel: OrderedKernel) -> str:
    candidate = kernel.candidate
    return candidate.convention.classes[kernel.order].format(candidate.space)


def _described_kernel(
    kernel: OrderedKernel, name: str, member: str, path: tuple[str, ...]
) -> StateKernel:
    candidate, letters, _ = kernel
    kernel_shape, names = candidate.array.shape, candidate.module.names
    axes, shape = canonical_axes(letters, kernel_shape)
    bias = candidate.bias if candidate.outputs == shape[0] else None
    keras = candidate.convention is KERAS
    dtype = candidate.array.dtype
    info = LayerInfo(
        name=name,
        path=printable(("/" if keras else ".").join(path))[:1000] or member,
        class_name=_class_of(kernel),
        kernel=f"{member}/{candidate.attribute}",
        bias=None if bias is None else f"{member}/{bias}",
        kernel_shape=kernel_shape,
        axes=axes,
        shape=shape,
        dtype=(stored_type(dtype) or dtype) if candidate.formula.compute else dtype,
    )
    arrays = tuple(names[attribute] for attribute in candidate.formula.arrays)
    return StateKernel(
        info, arrays, candidate.formula.compute, None if bias is None else names[bias]
    )
