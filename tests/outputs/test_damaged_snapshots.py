"""How often pictures and tables read each kernel, and how they leave out damaged snapshots."""

import logging
from collections import Counter
from pathlib import Path

import pytest

from filtertrack import FiltertrackError, Run, animate, filmstrip, measure
from filtertrack.outputs.run_selection import read_kernels, select_from_run, skip_damaged

MOMENT = "meta"


class CountingRun(Run):
    """A run that counts how often each array of each step is read."""

    def __init__(self, path, **options):
        self.reads = Counter()
        super().__init__(path, **options)

    def _read(self, step, members):
        self.reads.update((member.name, step) for member in members)
        return super()._read(step, members)


def damage_kernel(run, step, layer="conv1"):
    """Change one bit of a kernel: only reading it shows the damage."""
    file, kernel = run.file(step), run.snapshot(step).arrays[f"{layer}/kernel"].tobytes()
    whole = file.read_bytes()
    start = whole.index(kernel)
    file.write_bytes(whole[:start] + bytes([whole[start] ^ 1]) + whole[start + 1 :])


@pytest.fixture
def long_run(make_run, conv_info):
    return make_run(conv_info(), conv_info("conv2"), steps=range(6))


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize(
    ("options", "kernel_reads"),
    [
        ({}, 1),
        ({"between": 2, "layers": "*"}, 1),
        ({"scale": "filter"}, 2),
        ({"scale": "layer"}, 2),
    ],
    ids=str,
)
def test_animate_reads_each_kernel_once_per_pass(  # noqa: PLR0917 - fixtures
    long_run, tmp_path, options, kernel_reads, kept, monkeypatch
):
    """One pass draws; a scale over the whole run takes one pass before that. No bias is read.

    Cells that are kept from the first pass are not read again.
    """
    monkeypatch.setattr("filtertrack.outputs.layer_cells._MOST_KEPT", kept)
    kernel_reads = min(kernel_reads, 1 if kept else 2)
    run = CountingRun(long_run.path)
    animate(run, tmp_path / "a.gif", delta=False, **{"layers": "conv1", **options})
    layers = ["conv1", "conv2"] if options.get("layers") == "*" else ["conv1"]
    expected = {(f"{name}/kernel", step): kernel_reads for name in layers for step in range(6)}
    assert run.reads == {**expected, **{(MOMENT, step): 1 for step in range(6)}}


def test_filmstrip_reads_each_kernel_once(long_run):
    run = CountingRun(long_run.path)
    filmstrip(run, layers="conv1", steps=range(6), delta=False)
    assert {n for (name, _), n in run.reads.items() if name == "conv1/kernel"} == {1}


def test_two_parts_of_a_filmstrip_read_each_kernel_once_each(long_run):
    """The first once more: every other one is compared with it."""
    run = CountingRun(long_run.path)
    filmstrip(run, layers="conv1", steps=range(6))
    assert [run.reads["conv1/kernel", step] for step in range(6)] == [3, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(("kept", "reads"), [(0, 4), (1 << 20, 1)])
def test_two_parts_of_an_animation_read_each_kernel_together(
    long_run, tmp_path, kept, reads, monkeypatch
):
    """The first once more: every other one is compared with it.

    Without memory to keep them, each part reads each kernel once for its scale and once to draw it.
    """
    monkeypatch.setattr("filtertrack.outputs.layer_cells._MOST_KEPT", kept)
    run = CountingRun(long_run.path)
    animate(run, tmp_path / "a.gif", layers="conv1", steps=range(6))
    counts = [run.reads["conv1/kernel", step] for step in range(6)]
    assert counts == [reads + 1, *[reads] * 5]


def test_measure_reads_each_kernel_once(long_run):
    """The first and the last twice: every other one is compared with them."""
    run = CountingRun(long_run.path)
    measure(run, layers="conv1")
    assert [run.reads["conv1/kernel", step] for step in range(6)] == [2, 1, 1, 1, 1, 2]


def test_animate_leaves_out_a_damaged_kernel(long_run, tmp_path, caplog):
    """The file is the same as with only the other steps; the log names the damaged file."""
    expected = Path(animate(long_run, tmp_path / "a.gif", steps=[0, 1, 2, 4, 5])).read_bytes()
    damage_kernel(long_run, 3)
    animation = animate(long_run, tmp_path / "b.gif")
    assert animation.frames == 5
    assert Path(animation).read_bytes() == expected
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"left out step 3: damaged file '{long_run.file(3)}'")


def test_animate_starts_over_once_for_several_damaged_kernels(long_run, tmp_path, caplog):
    """Drawing stops at the first; one check finds the others; then drawing starts again."""
    for step in (1, 3, 4):
        damage_kernel(long_run, step)
    run, progress = CountingRun(long_run.path), []
    options = {"layers": "conv1", "delta": False}
    animate(run, tmp_path / "a.gif", progress=lambda *done: progress.append(done), **options)
    assert progress == [(1, 6), (1, 3), (2, 3), (3, 3)]
    assert max(n for (name, _), n in run.reads.items() if name == "conv1/kernel") == 3
    warned = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert warned == ["left out step 1", "left out step 3", "left out step 4"]


@pytest.mark.parametrize(
    "options",
    [{"scale": "layer"}, {"delta": True}, {"order": "drift"}, {"outline": True}, {"between": 2}],
    ids=str,
)
@pytest.mark.parametrize("step", [0, 5])
def test_a_damaged_first_or_last_kernel_is_left_out_whatever_reads_it(
    long_run, tmp_path, options, step
):
    """Also where the order, the difference or the value range reads it before any frame.

    A difference is from the start of the run, also where that is not drawn, but not if it is
    damaged: see ``test_start_of_difference``.
    """
    steps = [other for other in range(6) if other != step]
    options = {"layers": "conv1", "delta": False, **options}
    options["delta"] &= step > 0
    expected = Path(animate(long_run, tmp_path / "a.png", steps=steps, **options)).read_bytes()
    damage_kernel(long_run, step)
    found = Path(animate(long_run, tmp_path / "b.png", **options)).read_bytes()
    assert found == expected


def test_a_kernel_damaged_in_one_run_or_layer_is_left_out_of_all(make_run, tmp_path):
    """Every frame shows the same step of all runs and layers."""
    one, two = make_run(folder="one", steps=range(5)), make_run(folder="two", steps=range(5))
    damage_kernel(two, 1)
    damage_kernel(one, 2, "conv2")
    assert animate(one, tmp_path / "a.gif", compare=two, layers="*").frames == 3
    assert animate(one, tmp_path / "a.gif", compare=two, layers="conv1").frames == 4
    assert animate(one, tmp_path / "a.gif", layers="conv1").frames == 5


def test_animate_with_too_few_readable_kernels_keeps_the_old_file(long_run, tmp_path):
    target = tmp_path / "a.gif"
    target.write_bytes(b"old")
    for step in range(1, 6):
        damage_kernel(long_run, step)
    with pytest.raises(FiltertrackError, match=r"holds 1 readable snapshot to .*: others"):
        animate(long_run, target, layers="conv1")
    with pytest.raises(FiltertrackError, match=r"holds 0 readable snapshots to .*: others"):
        animate(long_run, target, layers="conv1", steps=[2, 4])
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "run"]


def test_a_snapshot_that_is_removed_while_drawing_is_left_out(long_run, tmp_path):
    """As retention does while training goes on."""

    def remove(done, total):
        long_run.remove(4)

    options = {"layers": "conv1", "delta": False}
    assert animate(long_run, tmp_path / "a.gif", progress=remove, **options).frames == 5


def test_snapshots_removed_while_drawing_are_found_without_reading_the_others(long_run, tmp_path):
    """All at once: drawing starts again only once."""
    run, progress = CountingRun(long_run.path), []

    def remove(*done):
        progress.append(done)
        if len(progress) == 1:
            for step in (2, 4):
                long_run.remove(step)

    options = {"layers": "conv1", "delta": False}
    assert animate(run, tmp_path / "a.gif", progress=remove, **options).frames == 4
    assert [done for done in progress if done[0] == 1] == [(1, 6), (1, 4)]
    assert run.reads["conv1/kernel", 5] == 1


def test_filmstrip_leaves_out_a_damaged_kernel(long_run, caplog):
    damage_kernel(long_run, 2)
    figure = filmstrip(long_run, layers="conv1")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["0", "1", "3", "4", "5"]
    assert f"left out step 2: damaged file '{long_run.file(2)}'" in caplog.text


@pytest.mark.parametrize("step", [0, 2, 5])
def test_measure_leaves_out_a_damaged_kernel_in_all_layers(long_run, caplog, step):
    damage_kernel(long_run, step, "conv2")
    measured = measure(long_run)
    expected = tuple(other for other in range(6) if other != step)
    assert {layer.steps for layer in measured.layers.values()} == {expected}
    assert tuple(moment.step for moment in measured.moments) == expected
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings[0].startswith(f"left out step {step}: damaged file '{long_run.file(step)}'")
    drift = [text for text in warnings if text.startswith("drift is counted from step 1")]
    assert len(drift) == len(warnings) - 1 == (step == 0)


@pytest.mark.parametrize("concurrent", [False, True])
def test_a_damaged_bias_leaves_nothing_out(long_run, caplog, monkeypatch, concurrent):
    """Only kernels are drawn, also where whole snapshots are prefetched."""
    monkeypatch.setattr(type(long_run.path), "concurrent", concurrent)
    file, bias = long_run.file(1), long_run.snapshot(1).arrays["conv1/bias"].tobytes()
    file.write_bytes(file.read_bytes().replace(bias, bytes(len(bias))))
    with pytest.raises(FiltertrackError, match="damaged file"):
        long_run.bias("conv1", 1)
    assert len(measure(long_run, layers="conv1").moments) == 6
    assert not caplog.records


def test_skip_damaged_returns_the_result_with_readable_steps_only(long_run, caplog):
    """The function is called again with the same layers and runs."""
    damage_kernel(long_run, 1)
    selection = select_from_run(long_run, layers="conv1")
    assert selection.steps == tuple(range(6)), "kernels are not read before they are used"

    def use(readable):
        assert (readable.runs, readable.layers) == (selection.runs, selection.layers)
        return [read_kernels(long_run, "conv1", step).shape for step in readable.steps]

    assert skip_damaged(selection, use) == [(4, 3, 3, 1)] * 5
    assert len(caplog.records) == 1


def test_skip_damaged_lets_other_errors_through(long_run):
    def use(readable):
        raise FiltertrackError("size: too small")

    with pytest.raises(FiltertrackError, match="size: too small"):
        skip_damaged(select_from_run(long_run), use)
