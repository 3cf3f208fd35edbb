import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def sides(scripts):
    from benchmarks import sides

    return sides


@pytest.fixture
def page(sides):
    from benchmarks import page

    return page


@pytest.fixture
def storing(sides):
    from benchmarks import storing

    return storing


def test_sides_take_turns_forwards_and_backwards(sides):
    """So no side always comes after the same other one; each is called once before that."""
    calls = []
    took = sides.in_turn(
        {name: lambda name=name: calls.append(name) for name in "abc"},
        3,
        between=lambda: calls.append("-"),
    )
    assert "".join(calls) == "-a-b-c" + "-a-b-c" + "-c-b-a" + "-a-b-c"
    assert {name: len(times) for name, times in took.items()} == {"a": 3, "b": 3, "c": 3}


def test_what_is_timed(sides):
    """Waiting takes wall time and no CPU time; working takes both."""
    import time

    waited = sides.timed(lambda: time.sleep(0.05))
    assert 0.05 <= waited.wall < 0.5
    assert waited.cpu < 0.03
    end = time.process_time() + 0.05
    worked = sides.timed(lambda: [None for _ in iter(lambda: time.process_time() > end, True)])
    assert worked.cpu >= 0.045
    assert worked.wall >= 0.045


def test_a_ratio_is_the_median_over_rounds(sides):
    """One round in which the machine was busy with something else counts for nothing."""
    ours = [sides.Time(1, 2), sides.Time(90, 2), sides.Time(1, 2)]
    theirs = [sides.Time(10, 4), sides.Time(10, 4), sides.Time(30, 4)]
    row = sides.times_faster("drawing", ours, theirs, 10)
    assert (row.value, row.cpu, row.reached) == (10, 2, True)
    assert row.note == "1 s against 10 s"
    row = sides.times_the_cost("drawing", ours, theirs, 0.05)
    assert (row.value, row.cpu, row.reached) == (0.1, 0.5, False)


@pytest.mark.parametrize(
    ("goal", "more", "reached", "wanted"),
    [
        (3, False, True, "≤ 3"),
        (2.9, False, False, "≤ 2.9"),
        (3, True, True, "≥ 3"),
        (3.1, True, False, "≥ 3.1"),
        (None, False, True, ""),
    ],
)
def test_a_goal_is_reached_or_not(sides, goal, more, reached, wanted):
    """At the goal it is; without one there is nothing to miss."""
    row = sides.Row("a", 3.0, "x", goal, more)
    assert (row.reached, row.wanted) == (reached, wanted)


@pytest.mark.parametrize(
    ("value", "text"), [(12.34, "12.3 s"), (0.00123, "1.23 ms"), (45.6e-6, "45.6 µs"), (0, "0 µs")]
)
def test_times_in_their_unit(sides, value, text):
    """Three digits are enough."""
    assert sides.seconds(value) == text


def test_a_fit_is_the_sum_of_its_typical_epochs(sides):
    """An expensive first epoch counts as what it takes; a round that was disturbed does not."""
    from benchmarks.training import _Parts, _typical

    def fit(*epochs, rest=1):
        times = [sides.Time(wall, wall / 2) for wall in epochs]
        return _Parts(times, sides.Time(rest, rest), sides.Time(0, 0))

    rounds = [fit(10, 2, 2), fit(9, 2, 99), fit(11, 77, 3, rest=50)]
    assert _typical(rounds) == sides.Time(10 + 2 + 3 + 1, 7.5 + 1)


def test_each_call_has_a_process_of_its_own(sides):
    """What one side has loaded or warmed up does not help the other."""
    found = sides.apart_in_turn({"a": (os.getpid,), "b": (os.getpid,)}, 2)
    assert len({os.getpid(), *found["a"], *found["b"]}) == 5


def test_the_page_says_what_was_missed(sides, page):
    """Every figure is on it, with its goal; it counts the goals that are not reached."""
    results = {
        "drawing": [sides.Row("a grid", 397.4, "x", 100, more=True, cpu=398, note="1 ms")],
        "storing": [sides.Row("append", 1.62, "x", 1.5), sides.Row("size", 3.0, "MB")],
    }
    facts = {
        "date": "2026-01-02",
        "machine": "a machine, 2 cores",
        "python": "3.11",
        "versions": {"numpy": "2.4"},
        "minutes": 12.3,
    }
    text = page.to_markdown(facts, results, "chart.png")
    assert "Of 2 goals 1 is not reached" in text
    assert "| a grid | 397 x | 398 | ≥ 100 | 1 ms |" in text
    assert "| append | 1.62 x |  | ≤ 1.5 **not reached** |  |" in text
    assert "| size | 3 MB |  |  |  |" in text
    assert "2026-01-02 (12 minutes): a machine, 2 cores, Python 3.11, numpy 2.4." in text
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Drawing a grid", "On disk"]


def test_the_chart_shows_every_ratio_with_a_goal(sides, page, tmp_path, monkeypatch):
    """A bar each, in another colour where the goal is missed; none for a figure without a goal."""
    drawn = []
    monkeypatch.setattr(page, "_bars", lambda axes, *parts: drawn.append(parts))
    rows = [
        sides.Row("faster", 397.0, "x", 100, more=True),
        sides.Row("cost", 1.62, "x", 1.5),
        sides.Row("no goal", 3.0, "x"),
        sides.Row("no ratio", 3.0, "MB", 5),
    ]
    page.draw_chart({"drawing": rows}, tmp_path / "a.png")
    faster, cost = drawn
    assert faster == (rows[:1], [397], [100])
    assert cost == (rows[1:2], [1.62 / 1.5], [1])
    monkeypatch.undo()
    page.draw_chart({"drawing": rows}, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        colours = {tuple(c) for c in np.asarray(image.convert("RGB")).reshape(-1, 3)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_the_large_run_is_resnet_50(storing):
    """53 kernels of 93.8 MB; a narrower one has the same layers."""
    shapes = storing.resnet50()
    assert len(shapes) == 53
    assert sum(map(np.prod, shapes.values())) == 23_454_912
    assert list(storing.resnet50(8)) == list(shapes)


def test_the_other_side_reads_the_layer_itself(storing, tmp_path):
    """Its places in each file are those of the layer's values, no more and no fewer bytes."""
    run = storing.make_wide_run(tmp_path, {"a": (3, 3, 1, 2), "b": (5, 5, 3, 4)}, 3)
    for step, (path, start, size) in zip(run.steps, storing._places(run, "b"), strict=True):
        stored = np.load(run.file(step))["b/kernel"]
        assert Path(path) == run.file(step)
        assert Path(path).read_bytes()[start : start + size] == stored.tobytes()
