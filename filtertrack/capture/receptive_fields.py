"""Computes receptive fields of feature maps from the calls of a forward pass."""

from collections.abc import Mapping, Sequence
from typing import Any

from filtertrack.capture.forward_trace import Call
from filtertrack.response import ReceptiveField


def fields_of_calls(
    calls: Sequence[Call], inputs: Mapping[str, Any]
) -> dict[int, tuple[str, ReceptiveField]]:
    """Return the receptive field of the output of each call, where it is known.

    Args:
        calls: Every call of a forward pass, in order.
        inputs: The model's input tensors by name.

    Returns:
        The index of a call to the name of the input, and the field in it.
    """
    del calls, inputs
    return {}
