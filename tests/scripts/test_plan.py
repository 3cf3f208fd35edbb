import sys

import numpy as np
import pytest


@pytest.fixture
def plan(scripts):
    import plan

    return plan


@pytest.fixture
def figures(plan):
    from plans import figures

    return figures


@pytest.mark.parametrize(
    "shapes", [{"a": (3, 3, 1, 8)}, {"a": (7, 7, 3, 64), "b": (1, 1, 64, 256)}]
)
def test_bytes_on_paper_are_those_on_disk(figures, tmp_path, shapes):
    """Within a hundredth, or the few hundred bytes that names and metrics take."""
    from benchmarks.made import make_wide_run

    run = make_wide_run(tmp_path, shapes, 1)
    stored = run.file(0).stat().st_size
    computed = figures.file_bytes(run.layers.values())
    assert abs(stored - computed) < 500 + stored / 100


@pytest.mark.parametrize(
    "shape",
    [(3, 3, 1, 8), (3, 3, 3, 16), (7, 7, 3, 64), (3, 3, 64, 64), (1, 1, 64, 64), (1, 1, 64, 256)],
)
def test_events_take_no_more_than_on_paper(figures, tmp_path, shape):
    """Also where every weight is noise, which compresses least."""
    from benchmarks.made import make_wide_run
    from filtertrack import Moment, Snapshot
    from filtertrack.tensorboard_plugin.summaries import Summaries

    run = make_wide_run(tmp_path, {"conv1": shape}, 1)
    summaries, rng, count = Summaries(run), np.random.default_rng(0), 5
    summaries.add(run.snapshot(0))
    before = figures.bytes_below(tmp_path, "events.*")
    for step in range(1, count + 1):
        summaries.add(Snapshot(Moment(step, step), {"conv1/kernel": rng.normal(size=shape)}))
    written = (figures.bytes_below(tmp_path, "events.*") - before) / count
    assert written < figures.event_bytes(run.layers.values()) < 3 * written


def test_figures_have_three_digits(figures):
    """In the unit that suits them."""
    assert [figures.seconds(s) for s in (0.0123, 1.2345, 754.3)] == ["12.3 ms", "1.23 s", "754 s"]
    assert [figures.size(b) for b in (93_819_648, 28.24e9)] == ["93.8 MB", "28.2 GB"]


def test_a_page_keeps_what_is_around_the_plan(plan):
    """What was there between its two lines goes; without them it is refused."""
    page = f"before\n{plan.BEGIN}\nold\n{plan.END}\nafter\n"
    written = plan.inserted(page, "new\n")
    assert written == f"before\n{plan.BEGIN}\n\nnew\n\n{plan.END}\nafter\n"
    assert plan.inserted(written, "new") == written
    with pytest.raises(ValueError, match="no lines"):
        plan.inserted("before\nafter\n", "new")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory and open files are read from /proc")
def test_every_plan_is_simulated(plan, tmp_path, capsys):
    """Far smaller, and real: training's own path, files, TensorBoard, a model of Keras."""
    page = tmp_path / "page.md"
    page.write_text(f"{plan.BEGIN}\n{plan.END}\n")
    assert plan.main(["--quick", "--markdown", str(page)]) == 0
    text = page.read_text()
    assert text.count("**Breaks first:**") == len(plan.PLANS)
    assert text.strip().removeprefix(plan.BEGIN).removesuffix(plan.END).strip() in (
        capsys.readouterr().out
    )
    read = next(line for line in text.splitlines() if line.startswith("| weights looked at"))
    _, _, paper, measured, _ = read.split("|")
    assert paper == measured  # of the two tracked layers, and of nothing else
