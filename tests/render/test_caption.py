import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import Moment
from filtertrack.outputs.frame_layout import NARROWEST
from filtertrack.render.caption import Caption, Legend
from filtertrack.render.palette import (
    BACKGROUND,
    FIRST,
    OUTLINE,
    OUTLINED,
    SECOND,
    SHADES,
    TEXT,
    ramp_entry,
)
from filtertrack.render.sparkline import Axis
from filtertrack.render.text import QUIET, font, font_size, line


def caption(*logs, title="conv1", width=400):
    """Return the caption of one run or two, with one snapshot per epoch."""
    count = len(logs[0])
    moments = [Moment(step, step, 10 * step) for step in range(count)]
    return Caption(title, moments, logs, Axis(np.linspace(0, 1, count)), width)


def values(count=3, **metrics):
    """Return each snapshot's metrics: none at the start, increasing from then on."""
    return [{n: v * step for n, v in metrics.items()} if step else {} for step in range(count)]


def of_ramp(picture, ramp):
    return (picture >= ramp_entry(ramp, 1)) & (picture <= ramp_entry(ramp, SHADES))


def touches_border(picture):
    borders = picture[:3], picture[-3:], picture[:, :3], picture[:, -3:]
    return any((border != BACKGROUND).any() for border in borders)


def first_line(drawn, picture):
    """Return the first line of names and values, above the plots."""
    return picture[drawn._tops[0] : drawn._tops[0] + drawn._line]


def marker(drawn, picture):
    """Return the column of the only plot's marker: the only column without background."""
    top = drawn._tops[0] + drawn._line
    height, width = drawn._plots[0].shape
    left = drawn._columns_left[0]
    plot = picture[top : top + height, left : left + width]
    (column,) = np.flatnonzero((plot != BACKGROUND).all(axis=0))
    return column


@pytest.mark.parametrize("width", [260, 333, 400, 640, 1000])
@pytest.mark.parametrize("runs", [1, 2])
def test_text_stays_inside(width, runs):
    """Nothing touches the border at any width; only background and ramps occur."""
    log = values(loss=0.5, val_loss=3e4, a_metric_with_a_rather_long_name=1e-7)
    drawn = caption(*[log] * runs, title="block_1/a_rather_long_name/conv1", width=width)
    for position in (0, 0.5, 1, 2):
        picture = drawn.draw(position)
        assert picture.dtype == np.uint8
        assert picture.shape == (drawn.height, width)
        assert picture.min() == BACKGROUND
        assert picture.max() <= ramp_entry(SECOND, SHADES)
        assert not touches_border(picture)


@pytest.mark.parametrize("runs", [1, 2])
def test_long_name_and_extreme_values_stay_inside(runs):
    """Also at the smallest width, with extreme values of training and validation."""
    name = "a_metric_with_a_rather_long_name_that_goes_on"
    log = [{}, {name: -1e300, "val_" + name: -1e-300}]
    drawn = caption(*[log] * runs, width=260)
    assert not touches_border(drawn.draw(1))


@pytest.mark.parametrize("width", [260, 640, 1000])
def test_long_title_is_shortened_from_the_front(width):
    """It has a line of its own, and only one."""
    log = values(loss=0.5)
    drawn = caption(log, title="a_rather_long_name/" * 20 + "conv1", width=width)
    picture = drawn.draw(1)
    assert not touches_border(picture)
    assert drawn.height == caption(log, title="a_rather_long_name/" * 8, width=width).height
    other = caption(log, title="a_rather_long_name/" * 20 + "conv2", width=width)
    assert (picture != other.draw(1)).any()


def test_names_have_fixed_positions():
    """While values get longer and shorter."""
    log = [{}, {"loss": 12.3, "a": 0.5}, {"loss": 9.87, "a": 1e-9}, {"loss": np.nan, "a": -123.4}]
    drawn = caption(log, width=640)
    names = [of_ramp(first_line(drawn, drawn.draw(step)), TEXT) for step in range(4)]
    assert names[0].any()
    for other in names[1:]:
        np.testing.assert_array_equal(other, names[0])


def test_validation_has_a_fixed_position():
    """Its label does not move when the training's value beside it gets longer or shorter."""
    log = [{}, {"loss": 12.3, "val_loss": 12.3}, {"loss": 9.87, "val_loss": 12.3}]
    drawn = caption(log)
    names = [of_ramp(first_line(drawn, drawn.draw(step)), TEXT) for step in range(3)]
    np.testing.assert_array_equal(names[2], names[1])
    np.testing.assert_array_equal(names[0], names[1])


def test_title_has_a_fixed_position():
    """A long and a short title."""
    for title in ("conv1", "block_1/a_rather_long_name_of_a_block/conv1"):
        drawn = caption(values(loss=0.5), title=title)
        top, left = drawn._title_at
        parts = [drawn.draw(step)[top : top + drawn._line, left:] for step in range(3)]
        assert (parts[0] != BACKGROUND).any()
        np.testing.assert_array_equal(parts[1], parts[0])
        np.testing.assert_array_equal(parts[2], parts[0])


def test_later_metric_has_its_position_from_the_start():
    """Its name is drawn from the first frame on, with a dash for the unknown value."""
    log = [{}, {"loss": 1.0}, {"loss": 1.0, "other": 2.0}]
    drawn = caption(log)
    lines = [first_line(drawn, drawn.draw(step)) for step in range(3)]
    for other in lines[1:]:
        np.testing.assert_array_equal(of_ramp(other, TEXT), of_ramp(lines[0], TEXT))
    dash, dashes = (of_ramp(other, FIRST).sum() for other in (lines[1], lines[0]))
    assert 0 < dashes < dash < of_ramp(lines[2], FIRST).sum()


def test_last_value_is_kept():
    """A snapshot without metrics of its own shows those of the one before."""
    drawn = caption([{}, {"loss": 1.5}, {}, {"loss": 1.5}])
    lines = [first_line(drawn, drawn.draw(step)) for step in range(4)]
    assert (lines[0] != lines[1]).any()
    np.testing.assert_array_equal(lines[2], lines[1])
    np.testing.assert_array_equal(lines[3], lines[1])


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 1e-300, 0.0, 123456.0]
)
def test_any_value_can_be_drawn(value):
    """Also if the value before and after is moderate."""
    drawn = caption([{"loss": 1.0}, {"loss": value}, {"loss": -1.0}], width=260)
    pictures = [drawn.draw(position) for position in (0, 0.5, 1, 1.5, 2)]
    assert not any(map(touches_border, pictures))
    assert (first_line(drawn, pictures[2]) != first_line(drawn, pictures[0])).any()


def test_validation_is_beside_its_metric():
    """On the same line, to the right, in the colour of the second curve."""
    alone = caption(values(loss=0.1))
    drawn = caption(values(loss=0.1, val_loss=0.3))
    assert drawn.height == alone.height
    line = first_line(drawn, drawn.draw(2))
    first, second = (np.flatnonzero(of_ramp(line, ramp).any(axis=0)) for ramp in (FIRST, SECOND))
    assert len(first)
    assert first.max() < second.min()
    changed = caption(values(loss=0.1, val_loss=0.4))
    other = first_line(changed, changed.draw(2))
    differs = other != line
    assert differs.any()
    assert (of_ramp(line, SECOND) | of_ramp(other, SECOND))[differs].all()


def test_two_runs_have_values_side_by_side():
    """Each run's value has the colour of its curve and does not depend on the other run."""
    drawn = caption(values(loss=0.1), values(loss=0.3))
    changed = caption(values(loss=0.1), values(loss=0.4))
    line, other = (first_line(each, each.draw(2)) for each in (drawn, changed))
    differs = other != line
    assert of_ramp(line, FIRST).any()
    assert differs.any()
    assert (of_ramp(line, SECOND) | of_ramp(other, SECOND))[differs].all()
    swapped = caption(values(loss=0.3), values(loss=0.1))
    assert (first_line(swapped, swapped.draw(2)) != line).any()


@pytest.mark.parametrize("width", [260, 640])
def test_many_metrics_are_drawn(width):
    """Each of twenty has its value, without overlap, inside the borders."""
    log = {f"metric_{number:02}": 0.125 for number in range(20)}
    drawn = caption([log, log], width=width)
    picture = drawn.draw(0)
    assert not touches_border(picture)
    times = np.zeros(picture.shape, int)
    for name in log:
        changed = {**log, name: 0.777}
        differs = caption([changed, changed], width=width).draw(0) != picture
        assert differs.any(), name
        times += differs
    assert times.max() == 1


def test_values_are_not_interpolated():
    """Between snapshots only the marker moves."""
    drawn = caption(values(4, loss=0.5))
    pictures = {position: drawn.draw(position) for position in (1, 1.25, 1.75, 2)}
    for position in (1.25, 1.75):
        np.testing.assert_array_equal(
            first_line(drawn, pictures[position]), first_line(drawn, pictures[1])
        )
    columns = [marker(drawn, picture) for picture in pictures.values()]
    assert columns == sorted(set(columns))


def test_marker_follows_the_knots():
    """With uneven times the first snapshots are close together."""
    moments = [Moment(step, step) for step in range(3)]
    log = values(loss=0.5)
    early = Caption("conv1", moments, [log], Axis(np.array([0.0, 0.1, 1.0])), 400)
    even = Caption("conv1", moments, [log], Axis(np.array([0.0, 0.5, 1.0])), 400)
    first, second, last = (marker(early, early.draw(position)) for position in (0, 1, 2))
    assert second - first == pytest.approx(0.1 * (last - first), abs=1)
    assert marker(early, early.draw(0)) == marker(even, even.draw(0))
    assert marker(even, even.draw(0.5)) > second


@given(st.integers(260, 1000), st.integers(1, 20), st.integers(1, 2))
def test_height_is_even(width, count, runs):
    """At any width and for any number of metrics, as video requires."""
    log = {f"metric_{number}": 1.0 for number in range(count)}
    drawn = caption(*[[log, log]] * runs, width=width)
    assert drawn.height % 2 == 0
    picture = drawn.draw(1)
    assert picture.shape == (drawn.height, width)
    assert not touches_border(picture)


@pytest.mark.parametrize("width", [260, 640])
@pytest.mark.parametrize("logs", [[[{}, {}, {}]], [[{}, {}, {}], [{}, {}, {}]]], ids=["one", "two"])
def test_no_metrics(width, logs):
    """A run without logs shows the step and the title."""
    drawn = caption(*logs, width=width)
    pictures = [drawn.draw(position) for position in (0, 0.5, 2)]
    assert drawn.height % 2 == 0
    assert drawn.height < caption(values(loss=0.5), width=width).height
    assert not any(map(touches_border, pictures))
    np.testing.assert_array_equal(pictures[1], pictures[0])
    assert (pictures[2] != pictures[0]).any()


def test_single_snapshot():
    """A run that has just begun has a normal caption."""
    drawn = caption([{"loss": 1.0}])
    assert of_ramp(first_line(drawn, drawn.draw(0)), FIRST).any()


def test_control_characters_in_names_are_replaced():
    """A metric's name takes one line."""
    strange = caption([{"lo\nss\x1b": 1.0}])
    expected = caption([{"lo?ss?": 1.0}])
    assert strange.height == caption([{"loss": 1.0}]).height
    np.testing.assert_array_equal(strange.draw(0), expected.draw(0))


def test_excess_metrics_are_counted_below():
    """The loss, which comes last, is among those shown."""
    began = time.process_time()
    log = values(**{f"metric_{number}": number for number in range(40_000)}, loss=1.0)
    many, some = caption(log), caption([{**dict(list(each.items())[:31]), **each} for each in log])
    assert time.process_time() - began < 10
    assert len(many._readings) == 32
    assert many._readings[0]._metric.name == "loss"
    assert many._more == "… and 39969 more"
    assert many.height < 1000
    picture = many.draw(1)
    assert not touches_border(picture)
    top, left = many._more_at
    text = line(many._more, many._plain, TEXT, QUIET)
    np.testing.assert_array_equal(picture[top : top + len(text), left : left + text.shape[1]], text)
    assert some.height == many.height


def test_32_metrics_are_all_shown():
    """Without a count of others."""
    drawn = caption(values(**{f"metric_{number}": number for number in range(32)}))
    assert (len(drawn._readings), drawn._more) == (32, "")


def test_a_long_title_has_several_lines_that_end_at_phrases():
    """Each phrase is whole, and the caption is higher by the lines that were added."""
    words = ["conv1", "strongest pattern of 48 channels", "each filter on its own scale"] * 2
    long, short = caption(values(loss=1.0), title=" · ".join(words)), caption(values(loss=1.0))
    assert len(long._title) > 1
    assert " · ".join(long._title).split(" · ") == words
    assert long.height - short.height >= (len(long._title) - 1) * long._line
    assert not touches_border(long.draw(0))


@pytest.mark.parametrize("runs", [1, 2])
def test_long_names_are_shortened(runs):
    """Of a metric and of a layer: their ends are shown, in little time."""
    began = time.process_time()
    log = values(**{"x" * 500_000 + "_accuracy": 0.5}, loss=1.0)
    drawn = caption(*[log] * runs, title="block/" * 100_000 + "conv")
    assert time.process_time() - began < 2
    assert drawn._title[0].endswith("block/conv")
    assert drawn._readings[1]._still[0][1].endswith("xx_accuracy ")
    assert not touches_border(drawn.draw(1))


def beside_plots(drawn, picture):
    """Return the pixels below and beside the plots, where only still text is."""
    top, (height, width) = drawn._tops[0] + drawn._line, drawn._plots[0].shape
    part = picture[top : drawn._explained_top + drawn._small_line * len(drawn._explained)].copy()
    for left in drawn._columns_left:
        part[:height, left : left + width] = BACKGROUND
    return part


@pytest.mark.parametrize("width", [260, 400, 640, 1280])
def test_axis_and_span_are_named(width):
    """Whole and inside the border: the axis, its ticks, the lowest and the highest value."""
    moments = [Moment(step, step, 10 * step) for step in range(5)]
    log = values(5, loss=0.51, accuracy=0.11)
    axis = Axis(np.linspace(0, 1, 5), "batches, log scale", np.array([0.25, 0.5, 0.75]))
    drawn = Caption("conv1", moments, [log], axis, width, averaged=["loss"])
    picture = drawn.draw(2)
    assert not touches_border(picture)
    text = " · ".join(drawn._explained)
    assert text == (
        "horizontal: batches, log scale · ticks: epochs · loss: mean since the snapshot before"
    )
    part = beside_plots(drawn, picture)
    for label in ("0.510", "2.040", "0.110", "0.440", *drawn._explained):
        assert len(found(part, label, drawn._small)) == 1, label
    np.testing.assert_array_equal(beside_plots(drawn, drawn.draw(0)), part, "it does not move")


@pytest.mark.parametrize("width", [260, 640])
@pytest.mark.parametrize("count", [1, 2, 30, 30_000])
def test_metrics_whose_names_do_not_fit_are_counted(width, count):
    """In a line that is not cut off."""
    names = [
        f"output_{number}_with_a_name_that_goes_on_and_on_and_on_for_long_accuracy"
        for number in range(count)
    ]
    axis = Axis(np.linspace(0, 1, 3), "batches, log scale")
    moments = [Moment(step, step) for step in range(3)]
    drawn = Caption("conv1", moments, [values(loss=0.5)], axis, width, averaged=names)
    assert drawn._explained[-1].endswith(
        "1 mean since the snapshot before"
        if count == 1
        else f"{count} means since the snapshot before"
    )
    assert not touches_border(drawn.draw(1))
    assert not any(text.startswith("…") for text in drawn._explained)


def test_every_second_epoch_is_named():
    """Where not every end of an epoch is a tick; without ticks nothing is said of them."""
    log = values(3, loss=0.5)
    moments = [Moment(step, step) for step in range(3)]
    for count, expected in ((60, ["ticks: every 2 epochs"]), (1, [])):
        axis = Axis(np.linspace(0, 1, 3), "snapshots", np.arange(1, count) / count)
        drawn = Caption("conv1", moments, [log], axis, 640)
        assert " · ".join(drawn._explained).split(" · ") == ["horizontal: snapshots", *expected]


@pytest.mark.parametrize("value", [0.25, -3.0])
def test_constant_metric_has_one_label(value):
    """Beside the middle of the plot, at the height of the curve."""
    drawn = caption([{"loss": value}] * 3)
    part = beside_plots(drawn, drawn.draw(1))
    (at,) = found(part, f"{value:.3f}", drawn._small)
    assert at[0] + drawn._small_line / 2 == pytest.approx(drawn._plots[0].shape[0] / 2, abs=2)


def test_metric_without_finite_values_has_no_labels():
    """Also if it was logged."""
    drawn = caption([{"loss": float("nan")}] * 3)
    part = beside_plots(drawn, drawn.draw(1))[: drawn._plots[0].shape[0]]
    assert (part == BACKGROUND).all()


WIDTHS = pytest.mark.parametrize("width", [NARROWEST, 300, 445, 640, 1280, 4000])
COUNTS = {
    "edge": 12,
    "blob": 0,
    "colour blob": 512,
    "fine grating": 4,
    "other structure": 3,
    "unstructured": 9,
}


def found(picture, text, face):
    """Return the top and left of all positions at which a text is drawn."""
    part = line(text, face, TEXT, QUIET)
    windows = np.lib.stride_tricks.sliding_window_view(picture, part.shape)
    return np.argwhere((windows == part).all(axis=(2, 3)))


def squares(picture):
    """Return top, bottom, left and right of each outline's square, by its number."""
    boxes = {}
    for number in range(len(OUTLINED)):
        down, across = np.nonzero(picture == OUTLINE + number)
        boxes[number] = (down.min(), down.max(), across.min(), across.max())
        assert len(down) == (np.ptp(down) + 1) * (np.ptp(across) + 1), "a full square"
        assert np.ptp(down) == np.ptp(across)
    return boxes


@WIDTHS
@pytest.mark.parametrize("most", [None, 9, 96, 4096])
def test_legend_names_all_outlined_labels(width, most):
    """A square of each outline's colour with its name beside it, complete at any width."""
    legend = Legend(width, most)
    counts = None if most is None else dict.fromkeys(OUTLINED, most)
    picture = legend.draw(counts)
    assert picture.shape == (legend.height, width)
    assert picture.dtype == np.uint8
    assert legend.height % 2 == 0
    face = font(font_size(width))
    boxes = squares(picture)
    for number, name in enumerate(OUTLINED):
        text = name if most is None else f"{name} {most}"
        top, _, _, right = boxes[number]
        positions = [at for at in found(picture, text, face) if at[0] <= top and at[1] > right]
        assert positions, text
        distance = min(at[1] for at in positions) - right
        assert distance <= font_size(width), "next to its square"


@WIDTHS
def test_legend_holds_only_squares_and_text(width):
    """The margin is free."""
    picture = Legend(width, 64).draw(COUNTS)
    entries = set(np.unique(picture).tolist())
    outlines = {OUTLINE + number for number in range(len(OUTLINED))}
    assert outlines <= entries
    assert BACKGROUND in entries
    assert all(entry in outlines or entry >= BACKGROUND for entry in entries)
    margin = font_size(width) // 2
    assert (picture[:, :margin] == BACKGROUND).all()


@pytest.mark.parametrize("most", [None, 9, 99, 512, 4096])
def test_legend_fits_into_the_narrowest_animation(most):
    """In 260 pixels no square and no text is cut off, also with the largest counts."""
    counts = None if most is None else dict.fromkeys(OUTLINED, most)
    narrow = Legend(NARROWEST, most)
    picture = narrow.draw(counts)
    assert (picture[:, -1] == BACKGROUND).all()
    assert len(squares(picture)) == len(OUTLINED)
    assert Legend(1280, most).height < narrow.height, "a single line"


def test_legend_shows_counts():
    """Zero for a label that does not occur; labels without outlines are not counted."""
    face = font(font_size(640))
    picture = Legend(640, 512).draw(COUNTS)
    for name in OUTLINED:
        assert len(found(picture, f"{name} {COUNTS[name]}", face)) == 1
    empty = Legend(640, 512).draw({})
    for name in OUTLINED:
        assert len(found(empty, f"{name} 0", face)), "at the end of another label, too"


def test_legend_has_fixed_positions():
    """Whatever the counts, as there is space for the largest."""
    for width in (NARROWEST, 640):
        legend = Legend(width, 4096)
        all_positions = [squares(legend.draw(dict.fromkeys(OUTLINED, n))) for n in (0, 7, 98, 4096)]
        assert all(positions == all_positions[0] for positions in all_positions)


def test_legends_are_independent():
    """Changing one does not change the next."""
    legend = Legend(300)
    legend.draw()[:] = 0
    assert (legend.draw() == BACKGROUND).any()


def test_the_legend_of_one_filter_has_only_its_label():
    """Without a count, at the position that it has in any legend; empty for no label."""
    legend = Legend(640, 1)
    empty, edge = legend.draw({"unstructured": 1}), legend.draw({"edge": 1})
    assert (empty == BACKGROUND).all()
    without_counts = Legend(640).draw()
    used = edge != BACKGROUND
    assert used.any()
    np.testing.assert_array_equal(edge[used], without_counts[used])
    assert not (edge == OUTLINE + 1).any()
