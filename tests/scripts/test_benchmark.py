import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def comparison(scripts):
    from benchmarks import comparison

    return comparison


@pytest.fixture
def report(scripts):
    from benchmarks import report

    return report


@pytest.fixture
def storing(scripts):
    from benchmarks import storing

    return storing


def test_every_second_round_runs_in_reverse_order(comparison):
    """After one warm-up call of each side, so that no side always follows the same other one."""
    calls = []
    took = comparison.in_turn(
        {name: lambda name=name: calls.append(name) for name in "abc"},
        3,
        between=lambda: calls.append("-"),
    )
    assert "".join(calls) == "-a-b-c" + "-a-b-c" + "-c-b-a" + "-a-b-c"
    assert {name: len(times) for name, times in took.items()} == {"a": 3, "b": 3, "c": 3}


def test_wall_and_cpu_time_are_measured(comparison):
    """Waiting takes wall time and no CPU time; working takes both."""
    import time

    waited = comparison.timed(lambda: time.sleep(0.05))
    assert 0.05 <= waited.wall < 0.5
    assert waited.cpu < 0.03
    end = time.process_time() + 0.05
    worked = comparison.timed(lambda: [None for _ in iter(lambda: time.process_time() > end, True)])
    assert worked.cpu >= 0.045
    assert worked.wall >= 0.045


def test_a_ratio_is_the_median_over_all_rounds(comparison):
    """One round with other load on the machine does not change it."""
    ours = [comparison.Time(1, 2), comparison.Time(90, 2), comparison.Time(1, 2)]
    theirs = [comparison.Time(10, 4), comparison.Time(10, 4), comparison.Time(30, 4)]
    row = comparison.times_faster("drawing", ours, theirs, 10)
    assert (row.value, row.cpu, row.reached) == (10, 2, True)
    assert row.note == "1 s against 10 s"
    row = comparison.times_the_cost("drawing", ours, theirs, 0.05)
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
def test_a_goal_is_an_inclusive_bound(comparison, goal, more, reached, wanted):
    """A value equal to the goal reaches it; without a goal every value does."""
    row = comparison.Row("a", 3.0, "x", goal, more)
    assert (row.reached, row.wanted) == (reached, wanted)


@pytest.mark.parametrize(
    ("value", "text"), [(12.34, "12.3 s"), (0.00123, "1.23 ms"), (45.6e-6, "45.6 µs"), (0, "0 µs")]
)
def test_times_are_formatted_in_s_ms_or_us(comparison, value, text):
    """With three digits."""
    assert comparison.seconds(value) == text


def test_the_time_of_a_fit_is_the_sum_of_median_epochs(comparison):
    """A slow first epoch counts in full; one disturbed round does not count."""
    from benchmarks.training import _Parts, _typical

    def fit(*epochs, rest=1):
        times = [comparison.Time(wall, wall / 2) for wall in epochs]
        return _Parts(times, comparison.Time(rest, rest), comparison.Time(0, 0))

    rounds = [fit(10, 2, 2), fit(9, 2, 99), fit(11, 77, 3, rest=50)]
    assert _typical(rounds) == comparison.Time(10 + 2 + 3 + 1, 7.5 + 1)


def test_each_call_runs_in_a_new_process(comparison):
    """Modules and caches of one side do not speed up the other."""
    found = comparison.apart_in_turn({"a": (os.getpid,), "b": (os.getpid,)}, 2)
    assert len({os.getpid(), *found["a"], *found["b"]}) == 5


def test_the_page_lists_every_figure_and_counts_missed_goals(comparison, report):
    """Each row has its value, its goal and whether it is reached."""
    results = {
        "drawing": [comparison.Row("a grid", 397.4, "x", 100, more=True, cpu=398, note="1 ms")],
        "storing": [comparison.Row("append", 1.62, "x", 1.5), comparison.Row("size", 3.0, "MB")],
    }
    facts = {
        "date": "2026-01-02",
        "machine": "a machine, 2 cores",
        "python": "3.11",
        "versions": {"numpy": "2.4"},
        "minutes": 12.3,
    }
    text = report.to_markdown(facts, results, "chart.png")
    assert "Of 2 goals 1 is not reached" in text
    assert "| a grid | 397 x | 398 | ≥ 100 | 1 ms |" in text
    assert "| append | 1.62 x |  | ≤ 1.5 **not reached** |  |" in text
    assert "| size | 3 MB |  |  |  |" in text
    assert "2026-01-02 (12 minutes): a machine, 2 cores, Python 3.11, numpy 2.4." in text
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Drawing a grid", "On disk"]


def test_the_chart_has_a_bar_for_every_ratio_with_a_goal(comparison, report, tmp_path, monkeypatch):
    """Missed goals have another colour; figures without a goal have no bar."""
    drawn = []
    monkeypatch.setattr(report, "_bars", lambda axes, *parts: drawn.append(parts))
    rows = [
        comparison.Row("faster", 397.0, "x", 100, more=True),
        comparison.Row("cost", 1.62, "x", 1.5),
        comparison.Row("no goal", 3.0, "x"),
        comparison.Row("no ratio", 3.0, "MB", 5),
    ]
    report.draw_chart({"drawing": rows}, tmp_path / "a.png")
    faster, cost = drawn
    assert faster == (rows[:1], [397], [100])
    assert cost == (rows[1:2], [1.62 / 1.5], [1])
    monkeypatch.undo()
    report.draw_chart({"drawing": rows}, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        colours = {tuple(c) for c in np.asarray(image.convert("RGB")).reshape(-1, 3)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_the_large_run_has_the_shapes_of_resnet_50(storing):
    """53 kernels of 93.8 MB; the narrower version has the same layers."""
    shapes = storing.resnet50_shapes()
    assert len(shapes) == 53
    assert sum(map(np.prod, shapes.values())) == 23_454_912
    assert list(storing.resnet50_shapes(8)) == list(shapes)


def test_the_raw_side_reads_exactly_the_bytes_of_the_layer(storing, tmp_path):
    """The byte ranges in each file are those of the layer's values."""
    run = storing.make_wide_run(tmp_path, {"a": (3, 3, 1, 2), "b": (5, 5, 3, 4)}, 3)
    for step, (path, ((start, size),)) in zip(
        run.steps, storing._byte_ranges(run, "b"), strict=True
    ):
        stored = np.load(run.file(step))["b/kernel"]
        assert Path(path) == run.file(step)
        assert Path(path).read_bytes()[start : start + size] == stored.tobytes()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux reports peaks")
def test_a_peak_is_the_memory_that_a_task_adds(scripts, tmp_path):
    """Also of memory that is freed before the task ends; not what the process held before."""
    program = """if True:
        import sys
        from pathlib import Path
        import numpy as np
        from benchmarks.memory_growth import _peak

        held = np.ones(32 << 20, np.uint8)
        print(_peak(lambda folder: np.ones(64 << 20, np.uint8).sum(), Path(sys.argv[1])))
        assert held.any()
    """
    command = [sys.executable, "-c", program, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(scripts)}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert 60 << 20 <= float(found.stdout) < 90 << 20


def test_exponents_of_memory_ignore_the_noise_of_the_allocator(scripts):
    """Ten times the memory is an exponent of 1; from nothing to 1 MB is none."""
    from benchmarks import memory_growth

    row = memory_growth._exponent("snapshots", 8e6, 8e7, 1.1)
    assert row.value == pytest.approx(1)
    assert memory_growth._exponent("snapshots", 0, 1e6, 0.2).value == 0, "noise of the allocator"
