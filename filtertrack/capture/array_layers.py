"""Plain arrays as layers: kernels by name, with the letters of their axes."""

from collections.abc import Collection, Mapping

import numpy as np

from filtertrack.capture.kernel_axes import canonical_axes
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo, safe_names

Axes = str | Mapping[str, str]
"""The letters of the axes of every kernel, or of each one by its name: see ``canonical_axes``."""


class ArrayLayers:
    """Kernels that are given as arrays.

    Args:
        kernels: Name to array; whatever ``np.asarray`` converts.
        axes: The letters of the axes, such as ``"HWIO"`` or ``"OIHW"``; for kernels with different
            orders, name to letters.
        biases: Name of a kernel to the bias of its filters.

    Raises:
        FiltertrackError: If there is no kernel, or the axes do not fit.

    Attributes:
        infos: A description of each kernel, in the order given.
        remarks: Always empty.

    Example:
        >>> layers = ArrayLayers({"conv1": np.zeros((3, 3, 1, 8))}, "HWIO")
        >>> layers.infos[0].shape
        (8, 3, 3, 1)
    """

    def __init__(
        self,
        kernels: Mapping[str, object],
        axes: Axes,
        biases: Mapping[str, object] | None = None,
    ) -> None:
        if not isinstance(kernels, Mapping) or not kernels:
            raise FiltertrackError(
                f"expected kernels by name, such as {{'conv1': array}}, got {kernels!r:.100}"
            )
        given = biases or {}
        unknown = sorted(set(map(str, given)) - set(map(str, kernels)))
        if unknown:
            raise FiltertrackError(f"biases: there is no kernel {unknown[0]!r}")
        names = safe_names(map(str, kernels))
        arrays = {
            name: np.asarray(kernel) for name, kernel in zip(names, kernels.values(), strict=True)
        }
        self.remarks: tuple[str, ...] = ()
        self._arrays = {f"{name}/kernel": array for name, array in arrays.items()}
        infos = []
        for name, key in zip(names, kernels, strict=True):
            bias = f"{name}/bias" if key in given else None
            if bias:
                self._arrays[bias] = np.asarray(given[key])
            shape, dtype = arrays[name].shape, arrays[name].dtype.name
            letters = _letters(axes, key)
            infos.append(describe_array(name, str(key), shape, dtype, letters=letters, bias=bias))
        self.infos = tuple(infos)

    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Copy kernels and biases: see ``LayerSource``."""
        members = [
            name
            for info in (self.infos if infos is None else infos)
            for name in (info.kernel, info.bias)
            if name
        ]
        return {name: self._arrays[name].copy() for name in members}


def _letters(axes: Axes, name: object) -> str:
    if isinstance(axes, str):
        return axes
    try:
        return axes[str(name)]
    except (KeyError, TypeError, IndexError):
        raise FiltertrackError(
            f"axes: expected letters for the kernel {name!r}, such as 'HWIO', got {axes!r:.100}"
        ) from None


def describe_array(
    name: str,
    path: str,
    shape: tuple[int, ...],
    dtype: str,
    *,
    letters: str,
    bias: str | None = None,
) -> LayerInfo:
    """Describe a kernel that is an array of no layer.

    Args:
        name: Its unique and safe name.
        path: The name that the user knows it by.
        shape: Its shape.
        dtype: The name of its type.
        letters: The letters of its axes: see ``canonical_axes``.
        bias: The name of its bias in a snapshot file, or None.

    Raises:
        FiltertrackError: If the letters do not fit the shape.
    """
    axes, canonical_shape = canonical_axes(letters, shape)
    return LayerInfo(
        name=name,
        path=path,
        class_name="array",
        kernel=f"{name}/kernel",
        bias=bias,
        kernel_shape=shape,
        axes=axes,
        shape=canonical_shape,
        dtype=dtype,
    )
