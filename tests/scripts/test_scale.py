import sys

import numpy as np
import pytest


@pytest.fixture
def scale(scripts):
    import scale

    return scale


@pytest.fixture
def size_estimates(scripts):
    from scale_scenarios import size_estimates

    return size_estimates


@pytest.mark.parametrize(
    "shapes", [{"a": (3, 3, 1, 8)}, {"a": (7, 7, 3, 64), "b": (1, 1, 64, 256)}]
)
def test_estimated_bytes_of_a_snapshot_equal_the_file_size(size_estimates, tmp_path, shapes):
    """To 1 %, or the few hundred bytes of names and metrics."""
    from benchmarks.synthetic_runs import make_wide_run

    run = make_wide_run(tmp_path, shapes, 1)
    stored = run.file(0).stat().st_size
    estimated = size_estimates.file_bytes(run.layers.values())
    assert abs(stored - estimated) < 500 + stored / 100


@pytest.mark.parametrize(
    "shape",
    [(3, 3, 1, 8), (3, 3, 3, 16), (7, 7, 3, 64), (3, 3, 64, 64), (1, 1, 64, 64), (1, 1, 64, 256)],
)
def test_estimated_bytes_of_events_are_an_upper_bound(size_estimates, tmp_path, shape):
    """Even if every weight is noise, which compresses least."""
    from benchmarks.synthetic_runs import make_wide_run
    from filtertrack import Moment, Snapshot
    from filtertrack.tensorboard_plugin.summaries import Summaries

    run = make_wide_run(tmp_path, {"conv1": shape}, 1)
    summaries, rng, count = Summaries(run), np.random.default_rng(0), 5
    summaries.add(run.snapshot(0))
    before = size_estimates.bytes_below(tmp_path, "events.*")
    for step in range(1, count + 1):
        summaries.add(Snapshot(Moment(step, step), {"conv1/kernel": rng.normal(size=shape)}))
    written = (size_estimates.bytes_below(tmp_path, "events.*") - before) / count
    assert written < size_estimates.event_bytes(run.layers.values()) < 3 * written


def test_figures_have_three_digits(scripts):
    """In s or ms, and in MB or GB."""
    from scale_scenarios.report import seconds, size

    assert [seconds(s) for s in (0.0123, 1.2345, 754.3)] == ["12.3 ms", "1.23 s", "754 s"]
    assert [size(b) for b in (93_819_648, 28.24e9)] == ["93.8 MB", "28.2 GB"]


def test_only_the_text_between_the_marked_lines_is_replaced(scale):
    """A page without the marked lines is an error."""
    page = f"before\n{scale.BEGIN}\nold\n{scale.END}\nafter\n"
    written = scale.inserted(page, "new\n")
    assert written == f"before\n{scale.BEGIN}\n\nnew\n\n{scale.END}\nafter\n"
    assert scale.inserted(written, "new") == written
    with pytest.raises(ValueError, match="no lines"):
        scale.inserted("before\nafter\n", "new")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory and open files are read from /proc")
def test_every_scenario_is_simulated(scale, tmp_path, capsys):
    """At small scale, with real training, files, TensorBoard and a Keras model."""
    page = tmp_path / "page.md"
    page.write_text(f"{scale.BEGIN}\n{scale.END}\n")
    assert scale.main(["--quick", "--markdown", str(page)]) == 0
    text = page.read_text()
    assert text.count("**First limit:**") == len(scale.SCENARIOS)
    assert text.strip().removeprefix(scale.BEGIN).removesuffix(scale.END).strip() in (
        capsys.readouterr().out
    )
    read = next(line for line in text.splitlines() if line.startswith("| weights looked at"))
    _, _, paper, measured, _ = read.split("|")
    assert paper == measured  # the bytes of the two tracked layers only
