import numpy as np
import pytest

from filtertrack.capture.keras_kernels import axes_letters
from filtertrack.capture.kernel_axes import canonical_axes
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo


def read_as(letters, kernel):
    """Return a kernel in the package's axis order, by the description of a layer."""
    axes, shape = canonical_axes(letters, kernel.shape)
    info = LayerInfo("k", "k", "array", "k/kernel", None, kernel.shape, axes, shape, "float64")
    return info, info.canonical(kernel)


@pytest.mark.parametrize(
    ("letters", "shape", "wanted"),
    [
        ("HWIO", (3, 5, 2, 4), "oihw"),
        ("OIHW", (4, 2, 3, 5), "oihw"),
        ("HWOI", (3, 5, 4, 2), "oihw"),
        ("IOHW", (2, 4, 3, 5), "oihw"),
        ("WIO", (5, 2, 4), "oiw"),
        ("OIW", (4, 2, 5), "oiw"),
    ],
)
def test_letters_put_each_axis_in_its_place(letters, shape, wanted):
    """Filters first, then height, width and channels, whatever the order in memory is."""
    kernel = np.arange(np.prod(shape)).reshape(shape).astype(float)
    moved = np.einsum(f"{letters.lower()}->{wanted}", kernel)
    expected = moved.reshape(4, 2, -1, 5).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(read_as(letters, kernel)[1], expected)


@pytest.mark.parametrize(
    ("letters", "shape"), [("DHWIO", (2, 3, 5, 1, 4)), ("OIDHW", (4, 1, 2, 3, 5))]
)
def test_slices_of_a_3d_kernel_lie_side_by_side(letters, shape):
    kernel = np.random.default_rng(0).normal(size=shape)
    info, cells = read_as(letters, kernel)
    assert info.slices == 2
    apart = np.einsum(f"{letters.lower()}->ohdwi", kernel)
    np.testing.assert_array_equal(cells, apart.reshape(4, 3, 10, 1))


def test_filters_of_a_depthwise_kernel_have_one_channel():
    kernel = np.arange(3 * 3 * 4 * 2).reshape(3, 3, 4, 2)
    cells = read_as("HWIM", kernel)[1]
    assert cells.shape == (8, 3, 3, 1)
    np.testing.assert_array_equal(cells[5, :, :, 0], kernel[:, :, 2, 1])


def test_missing_letters_are_one_filter_and_one_channel():
    assert canonical_axes("HWI", (3, 3, 8)).shape == (1, 3, 3, 8)
    assert canonical_axes("HWO", (3, 3, 8)).shape == (8, 3, 3, 1)
    assert canonical_axes("HW", (3, 5)).shape == (1, 3, 5, 1)


@pytest.mark.parametrize("letters", ["HWIX", "HHIO", "IO", "HWM", "HWIOM", "DHWO", "", 3])
def test_other_letters_are_refused(letters):
    with pytest.raises(FiltertrackError, match="axes"):
        canonical_axes(letters, (3, 3, 8, 4))


def test_letters_may_be_of_lower_case():
    assert canonical_axes("hwio", (3, 5, 2, 4)) == canonical_axes("HWIO", (3, 5, 2, 4))
    assert canonical_axes("Oihw", (4, 2, 3, 5)) == canonical_axes("OIHW", (4, 2, 3, 5))


def test_letters_must_be_as_many_as_axes():
    """This comes before what else is wrong with the letters."""
    with pytest.raises(FiltertrackError, match=r"4 letters.*3 axes"):
        canonical_axes("HWIO", (3, 3, 8))
    with pytest.raises(FiltertrackError, match=r"2 letters.*4 axes"):
        canonical_axes("OI", (4, 2, 3, 3))


def test_letters_of_keras():
    assert axes_letters("transposed", 5) == "DHWOI"
