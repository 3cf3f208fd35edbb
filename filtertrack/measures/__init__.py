"""Measures of filters and layers: arrays in, numbers out, with numpy alone.

Kernels are arrays of shape ``(filters, height, width, channels)``. A measure of filters returns one
value per filter, a measure of a layer a single number; NaN if it is undefined. Measures of
responses take one number for each probe image and filter instead.
"""

from filtertrack.measures.content import colour_share, flat_share, near_zero
from filtertrack.measures.formation import answers_from, formed_at, formed_by, settled_at
from filtertrack.measures.labels import LABELS, Label, Labels, label
from filtertrack.measures.movement import (
    UNMOVED,
    Movement,
    drift,
    movement_since,
    norm,
    relative_change,
    rotation,
)
from filtertrack.measures.redundancy import (
    Comparison,
    Twins,
    compare_filters,
    effective_rank,
    orthogonality,
    similarity,
    sparsity,
    twins,
)
from filtertrack.measures.selectivity import (
    ClassSelectivity,
    class_selectivity,
    lifetime_sparsity,
    silent,
)
from filtertrack.measures.spatial_structure import Structure, roughness, structure
from filtertrack.measures.spectrum import Orientation, orientation
from filtertrack.measures.templates import Fit, Fits, fit_templates
from filtertrack.measures.variance import entropy_threshold, variance_entropy
from filtertrack.measures.vectors import compact, finite_mean

__all__ = [
    "LABELS",
    "UNMOVED",
    "ClassSelectivity",
    "Comparison",
    "Fit",
    "Fits",
    "Label",
    "Labels",
    "Movement",
    "Orientation",
    "Structure",
    "Twins",
    "answers_from",
    "class_selectivity",
    "colour_share",
    "compact",
    "compare_filters",
    "drift",
    "effective_rank",
    "entropy_threshold",
    "finite_mean",
    "fit_templates",
    "flat_share",
    "formed_at",
    "formed_by",
    "label",
    "lifetime_sparsity",
    "movement_since",
    "near_zero",
    "norm",
    "orientation",
    "orthogonality",
    "relative_change",
    "rotation",
    "roughness",
    "settled_at",
    "silent",
    "similarity",
    "sparsity",
    "structure",
    "twins",
    "variance_entropy",
]
