import tracemalloc
from inspect import isfunction

import numpy as np
import pytest

from filtertrack import measures
from filtertrack.measures.spatial_structure import _laplacians, _single_laplacians
from filtertrack.measures.templates import _blobs, _fine_gratings, _gabors, _noise_fits

OF_A_SNAPSHOT = [
    measures.colour_share,
    measures.compact,
    measures.compare_filters,
    measures.effective_rank,
    measures.fit_templates,
    measures.flat_share,
    measures.label,
    measures.near_zero,
    measures.norm,
    measures.orientation,
    measures.orthogonality,
    measures.roughness,
    measures.similarity,
    measures.sparsity,
    measures.structure,
    measures.twins,
    measures.variance_entropy,
]
OF_TWO_SNAPSHOTS = [
    measures.drift,
    measures.movement_since,
    measures.relative_change,
    measures.rotation,
]
OF_KERNELS = [*OF_A_SNAPSHOT, *OF_TWO_SNAPSHOTS]
OF_OTHER_VALUES = [
    measures.class_selectivity,
    measures.entropy_threshold,
    measures.finite_mean,
    measures.formed_at,
    measures.answers_from,
    measures.formed_by,
    measures.lifetime_sparsity,
    measures.settled_at,
    measures.silent,
]


def values_of(found):
    """Return all arrays in the result of a measure."""
    if hasattr(found, "__slots__") and hasattr(found, "__dataclass_fields__"):
        found = tuple(getattr(found, name) for name in found.__dataclass_fields__)
    if isinstance(found, tuple):
        return [value for part in found for value in values_of(part)]
    return [np.asarray(found)]


def test_all_measures_are_listed():
    """The list of this file is that of the package."""
    listed = {getattr(measures, name) for name in measures.__all__ if name != "LABELS"}
    functions = {each for each in listed if isfunction(each) or hasattr(each, "cache_clear")}
    assert functions == {*OF_KERNELS, *OF_OTHER_VALUES}


def extreme_kernels(shape, rng):
    """Return kernels with values that under- or overflow, or are not finite."""
    normal = rng.normal(size=shape)
    some = rng.random(size=shape) < 0.3
    return [
        *(np.full(shape, value) for value in (0.0, 0.1, np.nan, np.inf, -np.inf, 1.7e308, 5e-324)),
        normal,
        np.sign(normal) * 1.7e308,
        10.0 ** rng.uniform(-300, 300, size=shape),
        np.where(some, np.nan, normal),
        np.where(some, np.inf * np.sign(normal), normal),
        (normal * 1e4).astype(np.float16),
        (normal * 1e-7).astype(np.float16),
        (normal * 1e38).astype(np.float32),
        np.ones(shape, np.int8),
    ]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # in extreme_kernels
@pytest.mark.parametrize(
    "shape",
    [
        (0, 3, 3, 2),
        (1, 3, 3, 1),
        (3, 3, 3, 0),
        (3, 0, 3, 1),
        (3, 1, 1, 1),
        (3, 1, 1, 3),
        (3, 1, 5, 1),
        (2, 2, 2, 1),
        (3, 3, 3, 3),
        (2, 5, 5, 2),
        (2, 3, 3, 40),
    ],
    ids=str,
)
def test_extreme_kernels_are_measured(shape, rng):
    """Without warnings or errors, and without changing the kernels."""
    kernels = extreme_kernels(shape, rng)
    copies = [each.copy() for each in kernels]
    for kernel in kernels:
        for measure in OF_A_SNAPSHOT:
            measure(kernel)
        for measure in OF_TWO_SNAPSHOTS:
            for other in kernels:
                measure(kernel, other)
    for kernel, copy in zip(kernels, copies, strict=True):
        assert kernel.dtype == copy.dtype
        np.testing.assert_array_equal(kernel, copy)


@pytest.mark.parametrize("measure", OF_KERNELS, ids=lambda each: each.__name__)
def test_half_and_single_precision_are_measured_in_double(measure, rng):
    """Kernels in mixed precision give the same results as in float64; views are accepted."""
    half = rng.normal(size=(8, 5, 5, 3)).astype(np.float16)
    kernels = [half.astype(np.float64), half, half.astype(np.float32)]
    kernels.append(np.asfortranarray(half))
    frozen = np.broadcast_to(half, half.shape)
    assert not frozen.flags.writeable
    kernels.append(frozen)
    found = [
        values_of(measure(each) if measure in OF_A_SNAPSHOT else measure(each, each[::-1] * 2))
        for each in kernels
    ]
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            if one.dtype.kind == "f":
                np.testing.assert_allclose(two, one, rtol=1e-6, atol=1e-9)
            else:
                np.testing.assert_array_equal(two, one)


@pytest.mark.parametrize("shape", [(512, 3, 3, 512), (64, 11, 11, 3)], ids=str)
@pytest.mark.parametrize("measure", OF_KERNELS, ids=lambda each: each.__name__)
def test_large_layers_take_little_memory(measure, shape):
    """Below 150 MB, with what is cached for the next layer."""
    kernels = np.random.default_rng(0).normal(size=shape[1:]).astype(np.float32)
    kernels = np.stack([kernels * (1 + number % 7) for number in range(shape[0])])
    for kept in (_laplacians, _single_laplacians, _gabors, _blobs, _fine_gratings, _noise_fits):
        kept.cache_clear()
    arguments = (kernels,) if measure in OF_A_SNAPSHOT else (kernels, kernels)
    tracemalloc.start()
    try:
        measure(*arguments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150e6
