"""Size limits: the measures that would take gigabytes, or minutes per snapshot, for a layer."""

import math

from filtertrack.measures.redundancy import can_be_compared, can_be_decomposed
from filtertrack.measures.spatial_structure import can_be_tested
from filtertrack.measures.templates import can_be_fitted, is_a_shape
from filtertrack.measures.variance import can_have_threshold


def too_large_for(shape: tuple[int, int, int, int]) -> tuple[str, ...]:
    """Return the measures that are not computed because the layer is too large.

    Args:
        shape: ``(filters, height, width, channels)``.

    Returns:
        Names of measures, as in the result of ``measure`` and in its order; none for most layers.

    Example:
        >>> too_large_for((512, 3, 3, 512)), too_large_for((1_000_000, 3, 3, 1))[-2:]
        ((), ('repeated', 'orthogonality'))
    """
    filters, height, width, channels = shape
    slices, pixels = filters * channels, height * width
    groups = {
        ("label", "structured", "p_value"): can_be_tested(shape),
        ("gabor", "blob", "fit_p_value", "grating", "grating_p_value", "blob_width"): (
            can_be_fitted(shape) or not is_a_shape(height, width)
        ),
        ("twin", "twin_cosine", "repeated", "orthogonality"): can_be_compared(shape),
        ("variance_entropy",): can_be_decomposed(slices, pixels),
        ("entropy_threshold",): can_have_threshold(slices, pixels),
        ("effective_rank",): can_be_decomposed(filters, math.prod(shape[1:])),
    }
    return tuple(name for names, possible in groups.items() if not possible for name in names)
