"""Selection of layers and steps of runs."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot
from filtertrack.outputs.run_selection import default_layer, select_from_run


def damage(run, step):
    """Cut off half of a snapshot's file."""
    file = run.file(step)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.fixture
def blocks(make_run, conv_info):
    """A run of four layers, two of them in a block."""
    names = ["stem", "block1/a", "block1/b", "head"]
    return make_run(*(conv_info(name) for name in names))


def test_the_default_selection_is_the_first_layer_at_every_step(run):
    """With the moment of each snapshot."""
    selection = select_from_run(run)
    assert selection.runs == (run,)
    assert selection.layers == ("conv1",)
    assert selection.steps == (0, 1, 2)
    assert selection.moments == (tuple(run.moment(step) for step in (0, 1, 2)),)


def test_the_default_layer_is_the_first_with_spatial_kernels(make_run, conv_info):
    """A 1x1 layer only where there is no other."""
    point, deep = conv_info("point", (1, 1, 3, 4)), conv_info("deep", (3, 3, 4, 4))
    run = make_run(point, deep, conv_info("deeper", (3, 3, 4, 4)))
    assert default_layer(run) == "deep"
    assert select_from_run(run).layers == ("deep",)
    assert default_layer(make_run(point, folder="points")) == "point"


def test_the_default_layer_is_trainable(make_run, conv_info):
    """A frozen layer only where all are frozen."""
    frozen = replace(conv_info("frozen"), trainable=False)
    assert default_layer(make_run(frozen, conv_info("head"))) == "head"
    assert default_layer(make_run(frozen, folder="all")) == "frozen"


def test_the_default_layer_has_changed(make_run, conv_info, caplog):
    """A layer that cannot be compared counts as changed."""
    run = make_run(conv_info("teacher"), conv_info("student"))
    first = run.snapshot(0).arrays
    for step in run.steps[1:]:
        snapshot = run.snapshot(step)
        still = {name: first[name] for name in first if name.startswith("teacher")}
        run.append(Snapshot(snapshot.moment, {**snapshot.arrays, **still}))
    assert default_layer(run) == "student"
    damage(run, 0)
    assert default_layer(run) == "teacher"  # it cannot be compared
    assert not caplog.records


def test_the_default_layer_of_a_run_without_snapshots(make_run, conv_info):
    assert default_layer(make_run(conv_info("a"), conv_info("b"), steps=())) == "a"


@pytest.mark.parametrize("given", [str, lambda path: path, lambda path: path / "filters"])
def test_a_run_may_be_given_as_its_folder(run, given):
    """As text or path; also the folder ``filters`` inside."""
    (chosen,) = select_from_run(given(run.path)).runs
    assert isinstance(chosen, Run)
    assert chosen.path == run.path


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("head", ["head"]),
        ("block1/*", ["block1/a", "block1/b"]),
        ("*", ["stem", "block1/a", "block1/b", "head"]),
        (["head", "stem"], ["head", "stem"]),
        (["head", "*1/?", "stem"], ["head", "block1/a", "block1/b", "stem"]),
        (["block1/b", "block1/*", "block1/b"], ["block1/b", "block1/a"]),
        (("[sh]*",), ["stem", "head"]),
    ],
    ids=str,
)
def test_layers_are_selected_by_name_and_pattern(blocks, layers, expected):
    """In the order given, each once; matches of a pattern in the order of the run."""
    assert select_from_run(blocks, layers=layers).layers == tuple(expected)


@pytest.mark.parametrize("layers", ["conv9", "conv9*", ["conv1", "Conv1"]])
def test_a_missing_layer_is_an_error(run, layers):
    """The message names it and the layers of the run."""
    wrong = layers if isinstance(layers, str) else layers[-1]
    with pytest.raises(FiltertrackError) as error:
        select_from_run(run, layers=layers)
    assert repr(wrong) in str(error.value)
    assert "it has: conv1, conv2" in str(error.value)


@pytest.mark.parametrize("empty", [{"layers": []}, {"steps": []}, {"steps": np.array([], int)}])
def test_an_empty_selection_is_an_error(run, empty):
    """It is not the same as none; the message names the option."""
    with pytest.raises(FiltertrackError, match=rf"{next(iter(empty))}: none .*are chosen"):
        select_from_run(run, **empty)


@pytest.mark.parametrize("steps", [[2, 0], (0, 2, 2), {0, 2}, np.array([2, 0]), range(0, 3, 2)])
def test_steps_may_be_any_collection(run, steps):
    """The selection is ascending, each step once."""
    selection = select_from_run(run, steps=steps)
    assert selection.steps == (0, 2)
    assert [moment.step for moment in selection.moments[0]] == [0, 2]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (range(1, 1000), (1, 2)),
        (range(0, 10**12, 2), (0, 2)),
        ([range(2, 9), 0], (0, 2)),
        ([range(2), range(1, 2), 1], (0, 1)),
    ],
    ids=str,
)
def test_ranges_select_existing_steps(run, steps, expected):
    """Together with single steps, each once."""
    assert select_from_run(run, steps=steps).steps == expected


@pytest.mark.parametrize("steps", [range(3, 9), [range(3, 9), range(0)]], ids=str)
def test_ranges_without_snapshots_are_an_error(run, steps):
    """The message says which steps the run has."""
    with pytest.raises(FiltertrackError, match=r"none of .*run.* it has 3 snapshots from step 0"):
        select_from_run(run, steps=steps)


def test_a_missing_step_is_an_error(make_run):
    """The message names the run, the step and the steps it has."""
    one, two = make_run(folder="one"), make_run(folder="two", steps=(0, 1))
    with pytest.raises(FiltertrackError, match=r"one' has no snapshot at step 7; it has 3 snapsho"):
        select_from_run(one, steps=[9, 0, 7])
    with pytest.raises(
        FiltertrackError, match=r"two' has no snapshot at step 2; it has 2 snapshots from step 0 to"
    ):
        select_from_run(one, compare=two, steps=[0, 2])


def test_too_few_snapshots_are_an_error(make_run):
    """The message says how many there are and how many are needed."""
    run, empty = make_run(folder="run"), make_run(folder="empty", steps=())
    with pytest.raises(FiltertrackError, match=r"run' holds 1 readable snapshot to.*at least 2"):
        select_from_run(run, steps=[1], least=2)
    with pytest.raises(FiltertrackError, match=r"empty' holds 0 readable snapshots.*at least 1"):
        select_from_run(empty)
    assert select_from_run(run, least=3).steps == (0, 1, 2)


def test_a_folder_without_run_is_an_error(tmp_path):
    """The message names it."""
    with pytest.raises(FiltertrackError, match="nothing"):
        select_from_run(tmp_path / "nothing")


def test_a_snapshot_without_readable_moment_is_left_out(run, caplog):
    """With a warning that names it."""
    damage(run, 1)
    with caplog.at_level(logging.WARNING, "filtertrack"):
        selection = select_from_run(run)
    assert selection.steps == (0, 2)
    assert [moment.step for moment in selection.moments[0]] == [0, 2]
    (record,) = caplog.records
    assert "left out step 1" in record.getMessage()
    assert str(run.file(1)) in record.getMessage()


def test_only_damaged_snapshots_are_an_error(run, caplog):
    """After a warning for each."""
    for step in run.steps:
        damage(run, step)
    with pytest.raises(FiltertrackError, match="0 readable snapshots"):
        select_from_run(run)
    assert len(caplog.records) == 3


def test_two_runs_have_their_common_steps(make_run):
    """Each with its own moments."""
    one, two = make_run(folder="one", steps=(0, 1, 2, 5)), make_run(folder="two", steps=(1, 3, 5))
    selection = select_from_run(one, compare=two.path, layers="conv*")
    assert [run.path for run in selection.runs] == [one.path, two.path]
    assert selection.layers == ("conv1", "conv2")
    assert selection.steps == (1, 5)
    for run, moments in zip((one, two), selection.moments, strict=True):
        assert moments == (run.moment(1), run.moment(5))


def run_at(folder, info, moments):
    """Write a run of zeros with a snapshot at each moment."""
    run = Run.create(folder, [info])
    for moment in moments:
        run.append(Snapshot(moment, {info.kernel: np.zeros(info.kernel_shape, np.float32)}))
    return run


def test_comparing_steps_that_are_epochs_with_batches_is_warned(tmp_path, conv_info, caplog):
    """The warning says what the first such step is in each run; equal schedules have none."""
    info = conv_info(bias=False)
    epochs, others = (
        [Moment(n, n, 45 * n, epochs=20, epoch_batch=0, epoch_batches=size) for n in range(5)]
        for size in (45, 90)
    )
    batches = [
        Moment(n, 0, n, epochs=20, epoch_batch=n, epoch_batches=45) if n else epochs[0]
        for n in range(5)
    ]
    by_hand = [Moment(n, 0) for n in range(5)]
    runs = {
        name: run_at(tmp_path / name, info, moments)
        for name, moments in {
            "epochs": epochs,
            "others": others,
            "batches": batches,
            "hand": by_hand,
        }.items()
    }
    select_from_run(runs["epochs"], compare=runs["others"])
    select_from_run(runs["epochs"], compare=runs["batches"], steps=[0])
    select_from_run(runs["batches"], compare=runs["hand"])
    assert not caplog.records
    for one, other, text in (
        ("epochs", "batches", "'epoch 1 of 20' and 'epoch 1 of 20, batch 1 of 45'"),
        ("batches", "epochs", "'epoch 1 of 20, batch 1 of 45' and 'epoch 1 of 20'"),
        ("epochs", "hand", "'epoch 1 of 20' and 'step 1'"),
    ):
        caplog.clear()
        select_from_run(runs[one], compare=runs[other])
        (record,) = caplog.records
        assert record.getMessage() == (
            f"the steps of one run count epochs, those of the other do not: step 1 is {text}; "
            f"runs with the same schedule can be compared"
        )


def test_a_step_damaged_in_one_run_is_left_out_of_both(make_run, caplog):
    one, two = make_run(folder="one"), make_run(folder="two")
    damage(two, 1)
    selection = select_from_run(one, compare=two)
    assert selection.steps == (0, 2)
    assert [[m.step for m in moments] for moments in selection.moments] == [[0, 2], [0, 2]]
    assert str(two.file(1)) in caplog.text


@pytest.mark.parametrize("steps", [(3, 4), ()])
def test_no_common_step_is_an_error(make_run, steps):
    """The message says which steps each run has."""
    one, two = make_run(folder="one"), make_run(folder="two", steps=steps)
    has = "2 snapshots from step 3 to 4" if steps else "no snapshots"
    with pytest.raises(
        FiltertrackError,
        match=rf"one' and .*two' have no step in common: 3 snapshots from step 0 to 2 and {has}",
    ):
        select_from_run(one, compare=two)


def test_comparing_layers_of_different_shapes_is_an_error(make_run, conv_info):
    """The message names the layer and both shapes; other layers can be compared."""
    infos = [conv_info("conv1"), conv_info("conv2", (3, 3, 4, 6))]
    one = make_run(*infos, folder="one")
    two = make_run(infos[0], conv_info("conv2", (3, 3, 4, 8)), folder="two")
    assert select_from_run(one, compare=two, layers="conv1").layers == ("conv1",)
    with pytest.raises(FiltertrackError) as error:
        select_from_run(one, compare=two, layers="*")
    for part in ("layer conv2", str(two.path), "(8, 3, 3, 4)", "(6, 3, 3, 4)"):
        assert part in str(error.value)


def test_a_layer_missing_in_the_second_run_is_an_error(make_run, conv_info):
    """The message names the run."""
    one = make_run(folder="one")
    two = make_run(conv_info("conv1"), folder="two")
    with pytest.raises(FiltertrackError, match=r"no layer 'conv2' in .*two"):
        select_from_run(one, compare=two, layers=["conv1", "conv2"])


def test_at_keeps_the_given_steps(make_run):
    """Ascending, of both runs; steps it lacks are ignored."""
    one, two = make_run(folder="one"), make_run(folder="two")
    selection = select_from_run(one, compare=two)
    some = selection.at([2, 0, 7])
    assert (some.runs, some.layers) == (selection.runs, selection.layers)
    assert some.steps == (0, 2)
    assert some.moments == tuple((moments[0], moments[2]) for moments in selection.moments)
    assert selection.at(selection.steps) == selection


def test_steps_count_epochs_batches_or_steps(run):
    """Batches with one snapshot within an epoch."""
    arrays = run.snapshot(0).arrays
    assert (select_from_run(run).unit, select_from_run(run).marks) == ("epochs", ("0", "1", "2"))
    run.append(Snapshot(Moment(40, 3, 40), arrays))
    assert (select_from_run(run).unit, select_from_run(run).marks) == (
        "batches",
        ("0", "10", "20", "40"),
    )
    assert select_from_run(run).at([0, 1]).unit == "epochs"
    run.append(Snapshot(Moment(50, 0), arrays))
    assert (select_from_run(run).unit, select_from_run(run).marks[-1]) == ("steps", "50")


def test_restored_weights_are_labelled_as_restored(run):
    """Training had no such step."""
    last = Moment(3, 2, 20, epoch_batch=0, note="restored: epoch 1")
    run.append(Snapshot(last, run.snapshot(1).arrays))
    assert (select_from_run(run).unit, select_from_run(run).marks) == (
        "epochs",
        ("0", "1", "2", "restored"),
    )


def test_the_name_of_a_layer_with_several_kernels_selects_all_of_them(make_run, conv_info):
    """As that of a separable convolution; names that begin alike are not selected."""
    names = ["sep/depthwise_kernel", "sep/pointwise_kernel"]
    infos = [replace(conv_info(name), kernel=name, bias=None) for name in names]
    run = make_run(*infos, conv_info("separate"))
    assert select_from_run(run, layers="sep").layers == tuple(names)
    assert select_from_run(run, layers=["separate", "s?p"]).layers == ("separate", *names)
    assert select_from_run(run, layers=names[1]).layers == (names[1],)


def test_all_is_answered_with_a_star(blocks):
    with pytest.raises(FiltertrackError, match=r"no layer 'all' .*; '\*' matches all"):
        select_from_run(blocks, layers="all")
