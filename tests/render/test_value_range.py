import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from filtertrack.render.value_range import ValueRange, normalise, range_of_cells

SHAPES = array_shapes(min_dims=4, max_dims=4, max_side=4)
ANY = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats()))
TAME = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-1e3, 1e3)))


@given(ANY, st.sampled_from(["cell", "layer"]))
def test_finite_weights_are_between_0_and_1(cells, span):
    """Also extremes of float64; only values that are not finite become NaN."""
    unit = normalise(cells, range_of_cells(cells, span))
    finite = np.isfinite(cells)
    assert (np.isnan(unit) == ~finite).all()
    assert ((unit[finite] >= 0) & (unit[finite] <= 1)).all()


@given(TAME)
def test_each_cell_spans_0_to_1(cells):
    """Its lowest weight is 0 and its highest 1, exactly; a constant cell is one half."""
    for cell, unit in zip(cells, normalise(cells, range_of_cells(cells)), strict=True):
        if cell.min() / 2 < cell.max() / 2:  # not for the smallest number of float64 beside zero
            assert (unit[cell == cell.min()] == 0).all()
            assert (unit[cell == cell.max()] == 1).all()
        else:
            assert (unit == 0.5).all()


@given(TAME)
def test_order_of_weights_is_kept(cells):
    """A higher weight is never drawn darker."""
    unit = normalise(cells, range_of_cells(cells, "layer"))
    order = np.argsort(cells, axis=None)
    assert (np.diff(unit.ravel()[order]) >= 0).all()


@given(TAME, st.floats(0.5, 100), st.floats(-1e3, 1e3))
def test_scale_and_offset_do_not_matter(cells, factor, shift):
    """A filter looks the same if it is scaled or shifted."""
    cells = np.round(cells)
    moved = cells * factor + shift
    np.testing.assert_allclose(
        normalise(moved, range_of_cells(moved)), normalise(cells, range_of_cells(cells)), atol=1e-9
    )


@given(ANY)
def test_ranges_ignore_not_finite_values(cells):
    """Cell by cell; with ``"layer"`` one range for all cells."""
    values, shared = range_of_cells(cells), range_of_cells(cells, "layer")
    for number, cell in enumerate(cells):
        finite = cell[np.isfinite(cell)]
        if len(finite):
            assert (values.low[number], values.high[number]) == (finite.min(), finite.max())
    assert len(set(shared.low.tolist())) == 1
    assert shared.low[0] == values.low.min()
    assert shared.high[0] == values.high.max()


@given(TAME, st.integers(0, 10))
def test_union_covers_both(cells, seed):
    """The range over a run is the union of its snapshots' ranges."""
    other = np.random.default_rng(seed).normal(size=cells.shape)
    both = range_of_cells(cells).union(range_of_cells(other))
    stacked = np.concatenate([cells, other], axis=1)
    expected = range_of_cells(stacked)
    np.testing.assert_array_equal(both.low, expected.low)
    np.testing.assert_array_equal(both.high, expected.high)


def test_values_outside_the_range_are_clipped():
    """They are darkest or lightest."""
    cells = np.array([[[[-5.0], [0.0], [5.0]]]])
    values = range_of_cells(np.array([[[[-1.0], [1.0]]]]))
    assert normalise(cells, values).ravel().tolist() == [0, 0.5, 1]


@given(ANY, st.sampled_from(["cell", "layer"]))
def test_zero_centred_is_the_smallest_range_with_zero_in_its_middle(cells, span):
    """It reaches the finite weight farthest from zero, in both directions."""
    values = range_of_cells(cells, span)
    centred = values.zero_centred()
    np.testing.assert_array_equal(centred.low, -centred.high)
    groups = cells if span == "cell" else [cells] * len(cells)
    for number, group in enumerate(groups):
        finite = np.abs(group[np.isfinite(group)])
        if len(finite):
            assert centred.high[number] == finite.max()
        else:
            assert centred.high[number] == -np.inf, "no finite value"
    again = centred.zero_centred()
    np.testing.assert_array_equal(again.low, centred.low)
    np.testing.assert_array_equal(again.high, centred.high)


@given(ANY)
def test_with_a_zero_centred_range_zero_is_one_half(cells):
    """Positive weights are lighter, negative ones darker, and those not finite NaN."""
    unit = normalise(cells, range_of_cells(cells).zero_centred())
    finite = np.isfinite(cells)
    assert (np.isnan(unit) == ~finite).all()
    assert (unit[cells == 0] == 0.5).all()
    assert (unit[finite & (cells > 0)] >= 0.5).all()
    assert (unit[finite & (cells < 0)] <= 0.5).all()


@given(ANY, st.integers(1, 3), st.sampled_from(["cell", "layer"]))
def test_cells_that_belong_together_have_one_range(cells, together, span):
    """That of all of them in one cell."""
    factors = np.arange(1, together + 1).repeat(len(cells))[:, None, None, None]
    with np.errstate(over="ignore"):
        several = np.concatenate([cells] * together) * factors
    values = range_of_cells(several, span, together)
    joined = several.reshape(len(cells), -1, 1, 1)
    expected = range_of_cells(joined, span)
    np.testing.assert_array_equal(values.low, expected.low.repeat(together))
    np.testing.assert_array_equal(values.high, expected.high.repeat(together))


@given(TAME, st.floats(0, 1e3))
def test_reaching_widens_a_range_on_both_sides(cells, least):
    """To the given value on either side of zero, and no more."""
    values = range_of_cells(cells)
    wide = values.reaching(np.full(len(cells), least))
    np.testing.assert_array_equal(wide.low, np.minimum(values.low, -least))
    np.testing.assert_array_equal(wide.high, np.maximum(values.high, least))


def test_an_empty_range_reaches_the_given_value():
    """Of a cell without finite values."""
    empty = ValueRange(np.array([np.inf]), np.array([-np.inf]))
    wide = empty.reaching(np.array([0.5]))
    assert (wide.low[0], wide.high[0]) == (-0.5, 0.5)
