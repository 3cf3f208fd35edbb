"""Activation functions of Keras at their defaults, by name, in numpy."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_LEAK = 0.2


def activate(values: np.ndarray, name: str) -> np.ndarray:
    """Apply an activation function to the outputs of a layer.

    Args:
        values: Array with the filters along its last axis.
        name: The function's name in Keras.

    Returns:
        An array of the same shape and type.

    Raises:
        KeyError: If there is no function of that name here.

    Example:
        >>> activate(np.array([-1.0, 2.0]), "relu").tolist()
        [0.0, 2.0]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return ACTIVATIONS[name](values).astype(values.dtype, copy=False)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = 0.5 * (1 + np.tanh(0.5 * x))
    return values


def _softplus(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = np.logaddexp(x, 0)
    return values


def _gelu(x: np.ndarray) -> np.ndarray:
    """Return x Φ(x), with the error function of Python, which numpy does not have."""
    wide = x.astype(np.float64) / math.sqrt(2)
    erf = np.fromiter(map(math.erf, wide.ravel()), np.float64, wide.size).reshape(x.shape)
    values: np.ndarray = 0.5 * x * (1 + erf)
    return values


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _log_softmax(x: np.ndarray) -> np.ndarray:
    below = x - x.max(axis=-1, keepdims=True)
    logarithms: np.ndarray = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return logarithms


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x / 6 + 0.5, 0, 1)


ACTIVATIONS: Mapping[str, Function] = MappingProxyType(
    {
        "linear": lambda x: x,
        "relu": lambda x: np.maximum(x, 0),
        "relu6": lambda x: np.clip(x, 0, 6),
        "leaky_relu": lambda x: np.where(x > 0, x, _LEAK * x),
        "elu": _elu,
        "celu": _elu,
        "selu": lambda x: (
            _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))
        ),
        "sigmoid": _sigmoid,
        "hard_sigmoid": _hard_sigmoid,
        "tanh": np.tanh,
        "hard_tanh": lambda x: np.clip(x, -1, 1),
        "silu": lambda x: x * _sigmoid(x),
        "swish": lambda x: x * _sigmoid(x),
        "hard_silu": lambda x: x * _hard_sigmoid(x),
        "hard_swish": lambda x: x * _hard_sigmoid(x),
        "mish": lambda x: x * np.tanh(_softplus(x)),
        "gelu": _gelu,
        "softplus": _softplus,
        "softsign": lambda x: x / (1 + np.abs(x)),
        "exponential": np.exp,
        "softmax": _softmax,
        "log_softmax": _log_softmax,
    }
)
"""The activation functions that are known, by name."""
