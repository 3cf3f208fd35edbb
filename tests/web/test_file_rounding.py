"""Cells rounded to 16 bits, of any magnitude."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from filtertrack import Moment, Run, Snapshot
from filtertrack.web.file_rounding import round_cells
from filtertrack.web.html_file import to_html
from filtertrack.web.page_script import page_files


def expect_rounded(found, cells):
    """Check each value against the bound of its error."""
    finite = np.isfinite(cells)
    np.testing.assert_array_equal(found[~finite], cells[~finite])
    magnitude = np.where(finite, np.abs(cells), 0).reshape(len(cells), -1)
    largest = magnitude.max(axis=1, initial=0).reshape(-1, *[1] * (cells.ndim - 1))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        error = np.abs(found / 2 - cells / 2)
        bound = np.maximum(np.abs(cells) * 2.0**-11, largest * 2.0**-31) / 2
    smallest = np.finfo(cells.dtype).smallest_subnormal
    assert (error <= bound + smallest)[finite].all()


def values_of(width):
    """Return a strategy of arrays whose cells have magnitudes far from each other."""
    dtype = np.dtype(f"float{width}")
    most = np.finfo(dtype).maxexp
    one = st.builds(
        lambda value, exponent: float(np.ldexp(dtype.type(value), exponent)),
        st.floats(-1, 1, width=width),
        st.integers(-most - 20, most - 1),
    )
    special = st.sampled_from([np.inf, -np.inf, np.nan, 0.0, float(np.finfo(dtype).max)])
    return arrays(dtype, array_shapes(min_dims=2, max_dims=3, max_side=5), elements=one | special)


@given(st.sampled_from([32, 64]).flatmap(values_of))
def test_values_of_any_magnitude_keep_11_bits(cells):
    """Infinity and NaN stay; a cell of small values beside one of large ones stays, too."""
    halves, exponents = round_cells(cells)
    assert halves.dtype == np.float16
    factors = exponents.reshape(-1, *[1] * (cells.ndim - 1))
    expect_rounded(np.ldexp(halves.astype(cells.dtype), factors), cells)


@given(st.integers(-126, 126), st.floats(-1, 1, width=16))
def test_what_has_11_bits_is_exact(exponent, value):
    cells = np.full((1, 2), np.ldexp(np.float32(value), exponent))
    halves, exponents = round_cells(cells)
    found = np.ldexp(halves.astype(np.float32), exponents[:, np.newaxis])
    if np.abs(cells[0, 0]) >= 2.0**-126:
        np.testing.assert_array_equal(found, cells)


MAGNITUDES = {"float32": [1e-44, 1e-30, 1e-8, 1, 1e6, 1e38], "float64": [5e-324, 1e-200, 1e300]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_page_reads_rounded_weights_of_any_magnitude(
    tmp_path, conv_info, rng, open_file, dtype
):
    """Each filter has another magnitude, and each step, and one is not finite."""
    info = conv_info("conv1", (7, 7, 3, 16), bias=False, dtype=dtype)
    run = Run.create(tmp_path / "run", [info])
    for step in range(16):
        kernel = rng.uniform(-1, 1, size=info.kernel_shape)
        for number in range(16):
            kernel[..., number] *= MAGNITUDES[dtype][(number + step) % len(MAGNITUDES[dtype])]
        kernel[0, 0, 0, 3] = np.inf
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel.astype(dtype)}))
    size = to_html(run, tmp_path / "whole.html").size
    file = to_html(run, tmp_path / "page.html", max_size=size - 1)
    assert file.thinned == "values are rounded to 16 bits"
    shown = open_file(file.path)
    first, count = 0, 0
    while first is not None:
        query = {"run": "run", "layer": "conv1", "filters": "0-15", "first": first}
        answer = shown.request("requestCells", query)
        for moment, cells in zip(answer["moments"], answer["arrays"], strict=True):
            expected = run.kernels("conv1", moment["step"]).reshape(16, -1)
            found = np.array(cells, dtype).reshape(16, -1)
            expect_rounded(found, expected)
            np.testing.assert_array_equal(found != 0, expected != 0)
            count += 1
        first = answer["next"]
    assert count == 16


def test_halves_are_read_as_numpy_reads_them(chromium):
    """All 65,536 numbers of 16 bits: subnormal ones, infinities and NaN as well."""
    halves = np.arange(1 << 16, dtype=np.uint16)
    source = re.search(r"function valueOfHalf[^}]+}", page_files(".js")["cells_message"])[0]
    every = "Array.from({length: 65536}, (_, n) => String(valueOfHalf(n)))"
    page = chromium.new_page()
    got = page.evaluate(f"(() => {{ {source}; return {every} }})()")
    page.close()
    expected = halves.view(np.float16).astype(np.float64)
    np.testing.assert_array_equal(np.array([float(each) for each in got]), expected)
