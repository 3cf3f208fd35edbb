import math
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial import distance

from filtertrack import measures
from filtertrack.measures.limits import too_large_for
from filtertrack.measures.templates import _shrink_factor
from filtertrack.outputs.measurement import measure_snapshot

PAIRS = ("twin", "twin_cosine", "repeated", "orthogonality")
LABELLED = ("label", "structured", "p_value")


@pytest.mark.parametrize(
    "shape",
    [
        (64, 7, 7, 3),
        (512, 3, 3, 512),
        (4096, 7, 7, 512),
        (8192, 1, 1, 4096),
        (8192, 3, 3, 256),
        (20_000, 3, 3, 1),
        (768, 32, 32, 4),
        (1024, 14, 14, 3),
        (80, 1, 251, 1),
        (64, 3, 1, 8),
        (0, 3, 3, 1),
        (4, 3, 0, 1),
    ],
    ids=str,
)
def test_common_layers_are_measured_completely(shape):
    """Nothing is left out."""
    assert too_large_for(shape) == ()


@pytest.mark.parametrize(
    ("shape", "omitted"),
    [
        ((1_000_000, 3, 3, 1), PAIRS),
        ((1, 1, 3_000_000, 1), LABELLED),
        ((2, 2000, 2000, 1), LABELLED),
        ((6000, 1, 1, 6000), ("effective_rank",)),
        ((16, 64, 64, 512), (*LABELLED, "entropy_threshold")),
        ((10**9, 0, 3, 1), PAIRS),
    ],
    ids=str,
)
def test_omitted_measures_are_named(shape, omitted):
    """They are NaN, and take no time."""
    found = too_large_for(shape)
    assert set(omitted) <= set(found)
    if math.prod(shape) > 5_000_000 or shape[0] > 10**6:
        return
    kernels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    filters, whole = measure_snapshot(kernels, kernels, None)
    for name in found:
        if name in whole:
            assert math.isnan(whole[name])
    if "label" in found:
        assert not filters["structured"].any()
        assert set(filters["label"]) <= {"unknown", "other structure", "edge", "blob"}


@pytest.mark.parametrize(
    "size",
    [44, *(pytest.param(size, marks=pytest.mark.slow) for size in (64, 100)), 200],
)
def test_label_of_a_large_filter_takes_little_memory(size):
    """A bank of templates of full size would grow with the fourth power of the side."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    edge = (np.exp(-(x**2 + y**2) * 4) * np.sin(5 * x)).reshape(1, size, size, 1)
    blob = np.exp(-(x**2 + y**2) * 20).reshape(1, size, size, 1)
    tracemalloc.start()
    found = measures.label(np.concatenate([edge, blob]))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.names.tolist() == ["edge", "blob"]
    assert peak < 300e6
    assert kept < 150e6
    wave, width = found.fits.gabor.size[0], found.fits.blob.size[1]
    assert wave == pytest.approx(2 * np.pi / 5 / 2 * size, rel=0.4), "in pixels of the filter"
    assert width == pytest.approx(math.sqrt(1 / 40) / 2 * size, rel=0.4)


@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_large_filters_of_noise_are_not_structured(draw):
    """Shrunk noise is noise: fewer than 1 in 100 pass."""
    rng = np.random.default_rng(1)
    shape = (400, 57, 50, 1)
    assert _shrink_factor(57, 50) == 2
    kernels = rng.normal(size=shape) if draw == "normal" else rng.uniform(-1, 1, shape)
    found = measures.fit_templates(kernels)
    assert (found.p_value <= 1 / 1000).mean() < 0.01
    assert (found.p_value <= 0.1).mean() == pytest.approx(0.1, abs=0.06)


def test_not_finite_weight_at_the_border_of_a_large_filter_counts():
    """Also if shrinking leaves out the border."""
    kernels = np.random.default_rng(0).normal(size=(2, 57, 57, 1))
    kernels[0, 56, 56] = np.nan
    found = measures.fit_templates(kernels)
    assert np.isnan(found.blob.r2[0])
    assert np.isfinite(found.blob.r2[1])


def copies(count):
    """Return filters that all occur twice."""
    half = np.random.default_rng(0).normal(size=(count, 3, 3, 1)).astype(np.float32)
    return np.concatenate([half, half])


def test_twins_are_found_across_blocks():
    """The same as in one block; the first of several equal ones."""
    kernels = copies(1500)
    found = measures.twins(kernels)
    cosines = measures.similarity(kernels)
    np.fill_diagonal(cosines, -2)
    np.testing.assert_allclose(found.cosine, cosines.max(axis=1))
    expected = np.concatenate([np.arange(1500, 3000), np.arange(1500)])
    np.testing.assert_array_equal(found.number, expected)
    orthogonality = measures.orthogonality(kernels)
    np.fill_diagonal(cosines, 0)
    assert orthogonality == pytest.approx(1 - np.abs(cosines).mean() * 3000 / 2999)


@pytest.mark.parametrize("shape", [(3000, 3, 3, 2), (12, 30, 30, 300), (300, 7, 7, 200)], ids=str)
def test_measures_by_blocks_agree_with_whole_layers(shape):
    """Layers of several blocks, compared with scipy and numpy."""
    rng = np.random.default_rng(0)
    kernels, start = rng.normal(size=(2, *shape)).astype(np.float32)
    flat = kernels.reshape(len(kernels), -1).astype(np.float64)
    was = start.reshape(len(kernels), -1).astype(np.float64)
    np.testing.assert_allclose(measures.norm(kernels), np.linalg.norm(flat, axis=1))
    rotation = distance.cosine(flat.ravel(), was.ravel())
    assert measures.rotation(kernels, start) == pytest.approx(rotation)
    rank = np.exp(stats.entropy(linalg.svdvals(flat)))
    assert measures.effective_rank(kernels) == pytest.approx(rank)
    slices = kernels.transpose(0, 3, 1, 2).reshape(-1, shape[1] * shape[2]).astype(np.float64)
    variances = linalg.svdvals(slices - slices.mean(axis=0)) ** 2
    entropy = stats.entropy(variances, base=10)
    assert measures.variance_entropy(kernels) == pytest.approx(entropy)


PROGRAM = """
import sys
import numpy as np
shape = tuple(map(int, sys.argv[1].split(",")))
filters, height, width, channels = shape
from filtertrack import LayerInfo, Moment, Run, Snapshot, measure
from filtertrack.outputs.tables import overview, each_filter, write_csv
info = LayerInfo("conv", "conv", "Conv2D", "conv/kernel", None, (*shape[1:], filters),
                 (3, 0, 1, 2), shape, "float32")
run = Run.create(sys.argv[2], [info])
rng = np.random.default_rng(0)
for step in range(2):
    kernel = rng.normal(size=info.kernel_shape).astype(np.float32)
    run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
del kernel
measured = measure(run)
overview(measured), each_filter(measured, "conv")
print(open('/proc/self/status').read())  # ru_maxrss would be pytest's own, inherited
"""


def peak_megabytes(shape, folder):
    """Return the peak memory of a process that measures a run of two snapshots of a layer."""
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n{PROGRAM}"
    )
    arguments = [sys.executable, "-c", limited, ",".join(map(str, shape)), str(folder)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # busy cores make threads wait
    done = subprocess.run(arguments, check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "shape",
    [
        (20_000, 3, 3, 1),
        pytest.param((8192, 3, 3, 64), marks=pytest.mark.slow),
        pytest.param((8192, 3, 3, 256), marks=pytest.mark.slow),
        pytest.param((1_000_000, 3, 3, 1), marks=pytest.mark.slow),
        pytest.param((1, 1, 3_000_000, 1), marks=pytest.mark.slow),
        pytest.param((2, 2000, 2000, 1), marks=pytest.mark.slow),
        pytest.param((4, 3, 3, 1 << 20), marks=pytest.mark.slow),
        pytest.param((16, 64, 64, 512), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_large_layer_is_measured_in_a_gigabyte(shape, tmp_path):
    """The whole process, with four snapshots of the layer."""
    peak = peak_megabytes(shape, tmp_path)
    assert peak < 1024 + max(0, 4 * math.prod(shape) * 4 / 2**20 - 300)
