"""What an HTML file holds to show responses as products of patch and kernel.

The kernels are those of the cells; to them come the biases, and what the filters slide over for the
first probes. ``page/file_answers.js`` reads them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from filtertrack.errors import FiltertrackError
from filtertrack.render.cells import view_of
from filtertrack.response import StoredProbes
from filtertrack.snapshot import LayerInfo
from filtertrack.storage.run import Run
from filtertrack.web.filter_answers import input_of_probe, why_no_products

_MOST_BYTES = 1 << 18
"""Bytes of the inputs of a layer before they are compressed, unless one alone is larger."""


class ProductsInFile(TypedDict):
    """What is needed for products beside the cells of a layer.

    Attributes:
        steps: The steps at which the biases are known.
        biases: At each of these steps the bias of each filter; None where one is not finite. Empty
            if the layer has no biases.
        inputs: Of each probe, the first ones, the element with the answer of ``/input``.
    """

    steps: list[int]
    biases: list[list[float | None]]
    inputs: list[str]


@dataclass(slots=True)
class PackedProducts:
    """What is needed for products, packed; see ``ProductsInFile``."""

    steps: list[int]
    biases: list[list[float | None]]
    inputs: list[bytes]

    def in_file(self, maps: int, add: Callable[[bytes], str]) -> ProductsInFile:
        """Add the inputs for as many probes as have maps to a file.

        Args:
            maps: The number of these probes.
            add: Adds an element, and returns its name.
        """
        inputs = [add(message) for message in self.inputs[:maps]]
        return {"steps": self.steps, "biases": self.biases, "inputs": inputs}


def has_products(run: Run, info: LayerInfo, probes: StoredProbes) -> bool:
    """Return whether a file can show products: also whether cells hold all weights of a filter."""
    view = view_of(info, curves=False)
    is_whole = view.kind in {"grey", "colour"} and (view.height, view.width) == info.shape[1:3]
    return is_whole and why_no_products(run, info, probes) is None


def pack_products(run: Run, info: LayerInfo, probes: StoredProbes, maps: int) -> PackedProducts:
    """Read the biases of a layer, and pack its inputs for the first probes.

    Args:
        run: The run.
        info: The layer, which ``has_products``.
        probes: The probes of the run.
        maps: The number of probes, at most.
    """
    found = PackedProducts([], [], [])
    for step in run.steps if info.bias else ():
        try:
            biases = run.bias(info.name, step)
        except FiltertrackError:  # the page says that the snapshot is damaged
            continue
        values = [] if biases is None else biases.astype(float).reshape(-1).tolist()
        found.steps.append(step)
        found.biases.append([value if math.isfinite(value) else None for value in values])
    size = 0
    for number in range(maps):
        found.inputs.append(input_of_probe(info, probes, number))
        size += len(found.inputs[-1])
        if size > _MOST_BYTES:
            break
    return found
