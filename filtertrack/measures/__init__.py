"""What can be said of filters in numbers: arrays in, arrays out, nothing but numpy.

Kernels are arrays of shape ``(filters, height, width, channels)`` throughout. Of filters a measure
returns one value each, of a layer a single number. Where nothing can be said it is NaN.
"""

from filtertrack.measures.content import colour_share, flat_share, near_zero
from filtertrack.measures.formation import formed_at, formed_by, settled_at
from filtertrack.measures.labels import LABELS, Label, Labels, label
from filtertrack.measures.movement import UNMOVED, drift, norm, relative_change, rotation
from filtertrack.measures.redundancy import (
    Twins,
    effective_rank,
    orthogonality,
    similarity,
    sparsity,
    twins,
)
from filtertrack.measures.spatial_structure import Structure, roughness, structure
from filtertrack.measures.spectrum import Orientation, orientation
from filtertrack.measures.templates import Fit, Fits, fit_templates
from filtertrack.measures.variance import entropy_threshold, variance_entropy
from filtertrack.measures.vectors import finite_mean

__all__ = [
    "LABELS",
    "UNMOVED",
    "Fit",
    "Fits",
    "Label",
    "Labels",
    "Orientation",
    "Structure",
    "Twins",
    "colour_share",
    "drift",
    "effective_rank",
    "entropy_threshold",
    "finite_mean",
    "fit_templates",
    "flat_share",
    "formed_at",
    "formed_by",
    "label",
    "near_zero",
    "norm",
    "orientation",
    "orthogonality",
    "relative_change",
    "rotation",
    "roughness",
    "settled_at",
    "similarity",
    "sparsity",
    "structure",
    "twins",
    "variance_entropy",
]
