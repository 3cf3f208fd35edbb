"""Kernels that torch's parametrizations compute from other arrays of a state dict."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Formula(NamedTuple):
    """How a kernel is computed from arrays of a file.

    Attributes:
        arrays: The attributes of the module; the kernel has the shape of the last one.
        compute: Computes the kernel from these arrays; None if the kernel is the array itself.
        what: The name of the method, for the user.
        filters: The attribute of a vector with an element for each filter; empty if there is none.
    """

    arrays: tuple[str, ...]
    compute: Callable[..., np.ndarray] | None = None
    what: str = ""
    filters: str = ""


def _weight_normed(magnitude: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return ``g · v / ‖v‖``; the norm is over the axes in which ``g`` has the size 1.

    Source: Salimans and Kingma 2016, equation 2, as torch.nn.utils.weight_norm applies it.
    """
    _check_shape(magnitude, direction)
    shared = tuple(
        axis
        for axis in range(direction.ndim)
        if magnitude.ndim != direction.ndim or magnitude.shape[axis] == 1
    )
    wide = direction.astype(np.float64)
    norm = np.sqrt(np.sum(wide**2, axis=shared, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel = wide * (magnitude / norm)
    return np.asarray(kernel, dtype=direction.dtype)


def _spectral_normed(left: np.ndarray, right: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return ``W / (uᵀ W v)`` with the filters of ``W`` as rows.

    Source: Miyato et al. 2018, equation 7, as torch.nn.utils.spectral_norm applies it. The filters
    are the first axis, of a transposed convolution the second; if both have the length of ``u``, it
    is the one in which ``u`` and ``v`` belong to the larger singular value.
    """
    norms = [
        float(left.astype(np.float64) @ np.moveaxis(kernel, axis, 0).reshape(left.size, -1) @ right)
        for axis in (0, 1)
        if (kernel.shape[axis],) == left.shape and (kernel.size // left.size,) == right.shape
    ]
    if not norms:
        raise ValueError("the vectors of its spectral norm do not fit the kernel")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(kernel / max(norms, key=abs), dtype=kernel.dtype)


def _masked(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    _check_shape(mask, kernel)
    return np.asarray(kernel * mask, dtype=kernel.dtype)


def _check_shape(factor: np.ndarray, kernel: np.ndarray) -> None:
    """Refuse a factor that would make another array of the kernel, which may be a huge one."""
    if np.broadcast_shapes(factor.shape, kernel.shape) != kernel.shape:
        raise ValueError(f"a factor of shape {factor.shape} for a kernel of {kernel.shape}")


_NORMED = "weight norm"
_SPECTRAL = "spectral norm"
_ROOT = "parametrizations.weight"
_FORMULAS = (
    Formula(("weight_g", "weight_v"), _weight_normed, _NORMED),
    Formula((f"{_ROOT}.original0", f"{_ROOT}.original1"), _weight_normed, _NORMED),
    Formula(
        ("weight_u", "weight_v", "weight_orig"), _spectral_normed, _SPECTRAL, filters="weight_u"
    ),
    Formula(
        (f"{_ROOT}.0._u", f"{_ROOT}.0._v", f"{_ROOT}.original"),
        _spectral_normed,
        _SPECTRAL,
        filters=f"{_ROOT}.0._u",
    ),
    Formula(("weight_mask", "weight_orig"), _masked, "a pruning mask"),
)
_UNKNOWN = (f"{_ROOT}.original", f"{_ROOT}.original1", "weight_orig")


def formula_of(attributes: Mapping[str, object]) -> Formula | None:
    """Return how the ``weight`` of a module is computed; None if nothing says that it is.

    Args:
        attributes: The module's arrays by their attributes.

    Example:
        >>> formula_of({"weight_g": 0, "weight_v": 0, "bias": 0}).what
        'weight norm'
    """
    known = (each for each in _FORMULAS if all(name in attributes for name in each.arrays))
    formula = next(known, None)
    more = sum(name.startswith(_ROOT) for name in attributes)
    if formula is not None and formula.arrays[0].startswith(_ROOT) and more > len(formula.arrays):
        return None  # several parametrizations in sequence
    return formula


def unknown_formula(attributes: Mapping[str, object]) -> str | None:
    """Return the array that a ``weight`` is computed from in an unknown way; None if there is none.

    Example:
        >>> unknown_formula({"parametrizations.weight.original": 0})
        'parametrizations.weight.original'
    """
    return next((name for name in _UNKNOWN if name in attributes), None)
