import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.render.palette import BACKGROUND, SHADES, ramp_entry
from filtertrack.render.sparkline import Axis, Curve, Metric, Sparkline, metrics_of, spaced_marks

SHAPE = (40, 120)
DIM = 2
ANY = st.lists(st.none() | st.floats(), min_size=1, max_size=8)


def plot(*curves, knots=None, shape=SHAPE, epochs=()):
    """Return the plot of one or two lists of values; None if nothing was logged."""
    logs = [[{} if v is None else {"loss": v} for v in values] for values in curves]
    metric = Metric("loss", tuple(Curve.of("", log, "loss") for log in logs))
    knots = np.linspace(0, 1, len(curves[0])) if knots is None else np.array(knots, float)
    return Sparkline(metric, Axis(knots, epochs=np.array(epochs)), shape, 1.0)


def shades(picture, ramp=1):
    """Return the shade of each pixel in one ramp; 0 outside the ramp."""
    shade = picture.astype(int) - ramp_entry(ramp, 0)
    return np.where((shade >= 1) & (shade <= SHADES), shade, 0)


def marker(picture):
    """Return the marker's column: the only one without background."""
    (column,) = np.flatnonzero((picture != BACKGROUND).all(axis=0))
    return column


def middle(picture, ramp=1):
    """Return the middle row of a curve's pixels."""
    rows = np.flatnonzero((shades(picture, ramp) > 0).any(axis=1))
    return (rows.min() + rows.max()) / 2


def test_loss_is_the_first_metric():
    """The others keep the order in which they were first logged."""
    logs = [{}, {"accuracy": 1, "auc": 1}, {"accuracy": 1, "f1": 1, "loss": 1}]
    assert [metric.name for metric in metrics_of([logs], 9)[0]] == ["loss", "accuracy", "auc", "f1"]


def test_validation_is_paired_with_its_metric():
    """Training first, validation second; a validation alone is a metric of its own."""
    logs = [{"val_loss": 3.0, "loss": 2.0, "acc": 0.5, "val_auc": 0.7}]
    loss, *others = metrics_of([logs], 9)[0]
    assert [curve.label for curve in loss.curves] == ["", "val"]
    assert [curve.values.tolist() for curve in loss.curves] == [[2.0], [3.0]]
    assert [metric.name for metric in others] == ["acc", "val_auc"]
    assert [len(metric.curves) for metric in others] == [1, 1]


def test_validation_loss_alone_is_the_first_metric():
    """Also if the training loss was not logged."""
    metrics, more = metrics_of([[{"acc": 1.0, "val_loss": 2.0}]], 2)
    assert ([metric.name for metric in metrics], more) == (["val_loss", "acc"], 0)


def test_two_runs_have_a_curve_each():
    """For every name that either logged; a validation is a metric of its own."""
    metrics, _ = metrics_of([[{"a": 1.0, "loss": 2.0}], [{"loss": 3.0, "val_loss": 4.0}]], 9)
    assert [metric.name for metric in metrics] == ["loss", "val_loss", "a"]
    assert {len(metric.curves) for metric in metrics} == {2}
    loss, validation, _ = metrics
    assert [curve.values.tolist() for curve in loss.curves] == [[2.0], [3.0]]
    assert [curve.known.tolist() for curve in validation.curves] == [[False], [True]]


def test_no_logs_give_no_metrics():
    """For one run and for two."""
    assert metrics_of([[{}, {}]], 9) == ([], 0)
    assert metrics_of([[{}], [{}]], 9) == ([], 0)


def test_excess_metrics_are_counted():
    """Only the first are returned; a metric and its validation, or both runs, count once."""
    log = {"acc": 1.0, "val_acc": 1.0, "f1": 1.0, "loss": 1.0, "val_loss": 1.0}
    metrics, more = metrics_of([[log]], 2)
    assert ([metric.name for metric in metrics], more) == (["loss", "acc"], 1)
    metrics, more = metrics_of([[log], [log]], 2)
    assert ([metric.name for metric in metrics], more) == (["loss", "val_loss"], 3)


@given(ANY)
def test_last_value_is_kept(values):
    """At each snapshot; before the first value there is none."""
    curve = Curve.of("", [{} if v is None else {"x": v} for v in values], "x")
    last, expected = np.nan, []
    for value in values:
        last = last if value is None else value
        expected.append(last)
    np.testing.assert_array_equal(curve.values, expected)
    assert curve.logged.tolist() == [value is not None for value in values]
    assert curve.known.tolist() == np.logical_or.accumulate(curve.logged).tolist()


def test_metrics_without_log_are_unknown():
    """Such as those of averaged weights: the last values belong to other weights."""
    logs = [{}, {"loss": 2.0}, {}, None, {"loss": 1.0}]
    curve = Curve.of("", logs, "loss")
    assert curve.known.tolist() == [False, True, True, False, True]
    assert curve.values.tolist()[1:] == [2.0, 2.0, 2.0, 1.0]


def test_marker_moves_from_left_to_right():
    """From near the left edge to near the right edge, in equal steps."""
    drawn = plot([1.0, 3.0, 2.0])
    columns = [marker(drawn.draw(when)) for when in np.linspace(0, 1, 41)]
    steps = np.diff(columns)
    assert steps.min() >= 1
    assert np.ptp(steps) <= 1
    assert columns[0] < 5
    assert columns[-1] >= SHAPE[1] - 5


@pytest.mark.parametrize("when", [0.0, 0.3, 0.5, 1.0])
def test_future_is_dim_and_past_bright(when):
    """Left of the marker a curve has its full colour, right of it and of its dot it has not."""
    picture = plot([1.0, 3.0, 2.0]).draw(when)
    column, shade = marker(picture), shades(picture)
    past, future = shade[:, : column - 3], shade[:, column + 4 :]
    assert future.max(initial=0) == (DIM if when < 1 else 0)
    assert past.max(initial=0) == (SHADES if when > 0 else 0)
    assert shade[:, column].max() == SHADES, "the dot"


def test_whole_curve_is_always_drawn():
    """The same pixels at the start as at the end."""
    drawn = plot([1.0, 3.0, 2.0, 2.5])
    start, end = shades(drawn.draw(0.0)), shades(drawn.draw(1.0))
    inside = slice(7, -7)
    assert (start[:, inside] > 0).sum() > SHAPE[1]
    assert (end[:, inside] > 0)[start[:, inside] > 0].all()
    assert (start[:, inside] > 0)[end[:, inside] >= SHADES / 2].all()


def test_larger_values_are_higher():
    """The largest value is at the top, the smallest at the bottom."""
    drawn = plot([1.0, 3.0, 2.0])
    rows = [middle(drawn.draw(when)[:, marker(drawn.draw(when)), None]) for when in (0, 0.5, 1)]
    assert rows[1] < rows[2] < rows[0]
    assert rows[1] < 5
    assert rows[0] > SHAPE[0] - 6
    assert rows[2] == pytest.approx((rows[0] + rows[1]) / 2, abs=1)


def test_dot_is_on_the_curve():
    """Also between snapshots: half-way between two values."""
    drawn = plot([0.0, 1.0], shape=(60, 120))
    rows = []
    for when in np.linspace(0, 1, 21):
        picture = drawn.draw(when)
        rows.append(middle(picture[:, marker(picture), None]))
    np.testing.assert_allclose(rows, np.linspace(rows[0], rows[-1], 21), atol=1)


def test_constant_curve_is_in_the_middle():
    """A straight horizontal line."""
    picture = plot([7.0, 7.0, 7.0]).draw(1.0)
    rows = np.flatnonzero((shades(picture) > 0)[:, : marker(picture) - 4].any(axis=1))
    assert len(rows) <= 2
    assert rows.mean() == pytest.approx((SHAPE[0] - 1) / 2, abs=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_values_are_left_out(value):
    """The curve is the same as if they had not been logged."""
    for when in (0.0, 0.4, 1.0):
        np.testing.assert_array_equal(
            plot([1.0, value, 3.0, 2.0, value]).draw(when),
            plot([1.0, None, 3.0, 2.0, None]).draw(when),
        )


def test_curve_that_begins_later_has_no_dot_before():
    """A single value is a dot from its time on, without a line."""
    drawn = plot([None, None, 2.0, None, None])
    assert not shades(drawn.draw(0.0)).any()
    assert not shades(drawn.draw(0.49)).any()
    for when in (0.5, 0.8, 1.0):
        picture = drawn.draw(when)
        columns = np.flatnonzero(shades(picture).any(axis=0))
        assert abs(columns - marker(picture)).max() <= 3
        assert middle(picture) == pytest.approx((SHAPE[0] - 1) / 2, abs=1)


@pytest.mark.parametrize("values", [[None, None], [np.nan, np.inf]])
def test_curve_without_values_is_empty(values):
    """The plot has only its axis and its marker."""
    picture = plot(values).draw(0.5)
    assert not shades(picture).any()
    expected = np.full(SHAPE, BACKGROUND, np.uint8)
    expected[-1] = ramp_entry(0, 1)
    expected[:, marker(picture)] = ramp_entry(0, DIM)
    np.testing.assert_array_equal(picture, expected)


def test_two_curves_share_a_range():
    """The lower one stays below, each in its own colour; a missing one changes nothing."""
    picture = plot([1.0, 1.0], [3.0, 3.0]).draw(1.0)
    assert middle(picture, 2) < 5
    assert middle(picture, 1) > SHAPE[0] - 6
    alone = plot([1.0, 2.0]).draw(1.0)
    np.testing.assert_array_equal(plot([1.0, 2.0], [None, None]).draw(1.0), alone)


def test_first_curve_covers_the_second():
    """If both are equal, only the colour of the first is visible."""
    picture = plot([1.0, 3.0, 2.0], [1.0, 3.0, 2.0]).draw(1.0)
    line = slice(None), slice(0, marker(picture) - 4)
    np.testing.assert_array_equal(
        shades(picture)[line], shades(plot([1.0, 3.0, 2.0]).draw(1.0))[line]
    )
    assert not shades(picture, 2)[line].any()


@given(
    ANY.flatmap(
        lambda one: st.tuples(
            st.just(one),
            st.lists(st.none() | st.floats(), min_size=len(one), max_size=len(one)),
        )
    ),
    st.floats(0, 1),
    st.integers(20, 60),
    st.integers(40, 200),
)
def test_any_values_can_be_plotted(curves, when, height, width):
    """Any floats: the plot has its shape, its entries and its marker."""
    drawn = plot(*curves, shape=(height, width))
    picture = drawn.draw(when)
    assert picture.shape == (height, width)
    assert picture.dtype == np.uint8
    assert picture.min() >= BACKGROUND
    assert picture.max() <= ramp_entry(2, SHADES)
    assert (picture[:, marker(picture)] != BACKGROUND).all()
    before = picture.copy()
    drawn.draw(1 - when)
    np.testing.assert_array_equal(drawn.draw(when), before, "one drawing leaves no trace")


def ticks(picture):
    """Return the columns in which the second row from below has the colour of the axis."""
    return np.flatnonzero(picture[-2] == ramp_entry(0, 1)).tolist()


def test_ends_of_epochs_are_ticks():
    """Short and dark, at their times; the curve lies over them."""
    drawn = plot([1.0, 3.0, 2.0], epochs=[0.25, 0.5, 0.75])
    picture = drawn.draw(0.0)
    assert ticks(picture) == [marker(drawn.draw(when)) for when in (0.25, 0.5, 0.75)]
    assert drawn.tick_epochs == 1
    for column in ticks(picture):
        tick = picture[:, column] == ramp_entry(0, 1)
        assert 2 < tick.sum() < SHAPE[0] / 3
    without = plot([1.0, 3.0, 2.0]).draw(0.0)
    np.testing.assert_array_equal(shades(picture), shades(without))


@pytest.mark.parametrize("count", [3, 10, 30, 100, 1000])
def test_dense_epochs_are_no_band(count):
    """Only every second, fifth, tenth … is a tick, and there is space between two."""
    drawn = plot([1.0, 2.0], epochs=np.arange(1, count) / count)
    columns = ticks(drawn.draw(0.0))
    assert columns
    assert np.diff(columns).min(initial=99) >= 5
    assert drawn.tick_epochs == {3: 1, 10: 1, 30: 2, 100: 5, 1000: 50}[count]


def test_plot_without_epochs_has_no_ticks():
    """It says so."""
    assert plot([1.0, 2.0]).tick_epochs == 0
    assert ticks(plot([1.0, 2.0]).draw(0.5)) == []


@given(st.lists(st.integers(0, 300), max_size=400), st.integers(1, 20))
def test_marks_are_spaced(marks, least):
    """No two are nearer; the number between them is 1, 2 or 5 times a power of ten."""
    number, chosen = spaced_marks(np.sort(np.array(marks, int)), least)
    assert (np.diff(chosen) >= least).all()
    assert str(number).rstrip("0") in {"1", "2", "5"}
    assert chosen.tolist() == sorted(marks)[number - 1 :: number]


def test_span_is_that_of_all_curves():
    """Values that are not finite are left out; None without any."""
    assert plot([1.0, np.inf, 3.0], [0.5, None, np.nan]).span == (0.5, 3.0)
    assert plot([None, np.nan]).span is None
