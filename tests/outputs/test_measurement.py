"""Measures of a run, and their tables."""

import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot, measure, measures
from filtertrack.measures import LABELS
from filtertrack.render.cells import to_channels, view_of

STEPS = (0, 1, 2, 5, 10, 20)
NAN = float("nan")
FORMED = {"conv1": [2, 5, 1, NAN, 2, NAN, 10, NAN], "conv2": [1, 1, 2, 5]}
END = {
    "conv1": [
        "edge",
        "blob",
        "colour blob",
        "unstructured",
        "edge",
        "unstructured",
        "other structure",
        "unstructured",
    ],
    "conv2": ["edge", "edge", "blob", "edge"],
}


@pytest.fixture(scope="module")
def measured(planted_run):
    return measure(planted_run)


@pytest.fixture
def own_run(planted_run, tmp_path):
    """A copy of the planted run that a test may damage."""
    shutil.copytree(planted_run.path, tmp_path / "own")
    return Run(tmp_path / "own")


def damage(run, step):
    run.file(step).write_bytes(run.file(step).read_bytes()[:-40])


def write(folder, info, kernels):
    """Write a run of one layer from its kernels in the axes of Keras, one a step."""
    run = Run.create(folder, [info])
    for step, kernel in enumerate(kernels):
        run.append(Snapshot(Moment(step, step), {info.kernel: np.asarray(kernel, np.float32)}))
    return run


def channels_of(run, layer, step):
    return to_channels(view_of(run.layer(layer)), run.kernels(layer, step))


def test_planted_labels_are_found(measured):
    """Noise at first; each planted filter appears at its step and stays."""
    for name, layer in measured.layers.items():
        labels = layer.filters["label"]
        assert set(labels[0]) == {"unstructured"}
        assert labels[-1].tolist() == END[name]
        for index, step in enumerate(STEPS):
            there = np.array(FORMED[name]) <= step
            expected = np.where(there, END[name], "unstructured")
            assert labels[index].tolist() == expected.tolist()
            np.testing.assert_array_equal(layer.filters["structured"][index], there)


def test_planted_filters_form_at_their_steps(measured):
    """Each filter, half of a layer, nine in ten; NaN where that never happens."""
    for name, layer in measured.layers.items():
        np.testing.assert_array_equal(layer.formed, FORMED[name])
    half = {name: layer.half_formed for name, layer in measured.layers.items()}
    assert half == {"conv1": 5, "conv2": 1}
    assert np.isnan(measured.layers["conv1"].mostly_formed)
    assert measured.layers["conv2"].mostly_formed == 5


def test_planted_unmoved_repeated_and_zero_filters_are_found(measured):
    layer = measured.layers["conv1"]
    moved = layer.filters["unmoved"]
    assert moved[0].tolist() == [True] * 5 + [False] + [True] * 2, "zero filters have no direction"
    assert (moved[1:] == [False, False, False, True] + [False] * 4).all()
    for index, step in enumerate(STEPS):
        repeated = layer.filters["repeated"][index]
        assert np.flatnonzero(repeated).tolist() == ([0, 4] if step >= 2 else [])
        if step >= 2:
            assert layer.filters["twin"][index][[0, 4]].tolist() == [4, 0]
        assert np.flatnonzero(layer.filters["near_zero"][index]).tolist() == [5]
    whole = {key: values[-1] for key, values in layer.whole.items()}
    assert (whole["unmoved"], whole["repeated"], whole["near_zero"]) == (1, 2, 1)


def test_steps_and_moments_are_those_of_the_run(measured):
    assert [moment.step for moment in measured.moments] == list(STEPS)
    assert {layer.steps for layer in measured.layers.values()} == {STEPS}


@pytest.mark.parametrize("index", [0, 2, 5])
@pytest.mark.parametrize("name", ["conv1", "conv2"])
def test_columns_equal_the_measures_called_directly(planted_run, measured, name, index):
    """Exactly."""
    now = planted_run.kernels(name, STEPS[index])
    start = planted_run.kernels(name, 0)
    labels, tuned, twins = measures.label(now), measures.orientation(now), measures.twins(now)
    fits, smooth = measures.fit_templates(now), measures.structure(now)
    drift = measures.drift(now, start)
    step_size = (
        measures.relative_change(now, planted_run.kernels(name, STEPS[index - 1]))
        if index
        else np.full(len(now), np.nan)
    )
    expected = {
        "label": labels.names,
        "structured": labels.structured,
        "norm": measures.norm(now),
        "drift": drift,
        "unmoved": drift <= measures.UNMOVED,
        "change": measures.relative_change(now, start),
        "step_size": step_size,
        "roughness": measures.roughness(now),
        "p_value": smooth.p_value,
        "gabor": fits.gabor.r2,
        "gabor_chance": fits.gabor.chance,
        "gabor_excess": (fits.gabor.r2 - fits.gabor.chance) / (1 - fits.gabor.chance),
        "blob": fits.blob.r2,
        "blob_chance": fits.blob.chance,
        "blob_excess": (fits.blob.r2 - fits.blob.chance) / (1 - fits.blob.chance),
        "fit_p_value": fits.p_value,
        "grating": fits.grating.r2,
        "grating_chance": fits.grating.chance,
        "grating_excess": (fits.grating.r2 - fits.grating.chance) / (1 - fits.grating.chance),
        "grating_p_value": fits.grating_p_value,
        "degrees": tuned.degrees,
        "selectivity": tuned.selectivity,
        "frequency": tuned.frequency,
        "blob_width": fits.blob.size,
        "colour": measures.colour_share(now),
        "flat": measures.flat_share(now),
        "near_zero": measures.near_zero(now),
        "twin": twins.number,
        "twin_cosine": twins.cosine,
        "repeated": twins.repeated,
    }
    columns = measured.layers[name].filters
    assert list(columns) == list(expected)
    unrounded = {"grating_p_value", "blob_width"}
    for key, values in expected.items():
        # R² is kept in single precision; p-values are not, so that 0.001 is at most 0.001.
        single = key.startswith(("gabor", "blob", "grating")) and key not in unrounded
        direct = values.astype(np.float32) if single else values
        np.testing.assert_array_equal(columns[key][index], direct, err_msg=key)


@pytest.mark.parametrize("index", [0, 2, 5])
@pytest.mark.parametrize("name", ["conv1", "conv2"])
def test_layer_measures_equal_means_counts_and_direct_calls(planted_run, measured, name, index):
    """Means over finite values."""
    now, start = planted_run.kernels(name, STEPS[index]), planted_run.kernels(name, 0)
    layer = measured.layers[name]
    columns = {key: values[index] for key, values in layer.filters.items()}

    def mean(key):
        finite = columns[key][np.isfinite(columns[key])]
        return finite.mean() if len(finite) else np.nan

    filters, height, width, channels = now.shape
    expected = {
        "structured": columns["structured"].mean(),
        **{label: (columns["label"] == label).sum() for label in LABELS},
        **{key: mean(key) for key in ("norm", "drift", "step_size", "roughness")},
        "rotation": measures.rotation(now, start),
        "sparsity": measures.sparsity(now),
        "variance_entropy": measures.variance_entropy(now),
        "entropy_threshold": measures.entropy_threshold(filters * channels, height, width),
        "orthogonality": measures.orthogonality(now),
        "effective_rank": measures.effective_rank(now),
        **{key: columns[key].sum() for key in ("unmoved", "repeated", "near_zero")},
    }
    assert set(layer.whole) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(layer.whole[key][index], value, rtol=1e-12, err_msg=key)
    assert sum(layer.whole[label][index] for label in LABELS) == filters


def test_at_rest_is_the_first_step_near_the_last_snapshot(planted_run, measured):
    """By the angle to it."""
    for name, layer in measured.layers.items():
        end = planted_run.kernels(name, 20)
        away = [measures.rotation(planted_run.kernels(name, step), end) for step in STEPS]
        assert layer.at_rest == measures.settled_at(np.array(away), STEPS)
    assert measured.layers["conv2"].at_rest == 5, "the step at which its last pattern appears"


def test_drift_is_from_the_first_snapshot_of_the_run(planted_run, measured):
    """Also where it is not selected; step sizes are between selected steps."""
    chosen = measure(planted_run, steps=[2, 10]).layers["conv1"]
    every = measured.layers["conv1"]
    assert chosen.steps == (2, 10)
    indices = [STEPS.index(step) for step in chosen.steps]
    for key in ("drift", "change", "unmoved", "label", "twin_cosine"):
        np.testing.assert_array_equal(chosen.filters[key], every.filters[key][indices])
    np.testing.assert_array_equal(chosen.whole["rotation"], every.whole["rotation"][indices])
    assert (chosen.filters["drift"][0][[0, 1, 2, 4, 6, 7]] > 0.5).all()
    assert np.isnan(chosen.filters["step_size"][0]).all(), "the first has none before it"
    first, second = (planted_run.kernels("conv1", step) for step in chosen.steps)
    np.testing.assert_array_equal(
        chosen.filters["step_size"][1], measures.relative_change(second, first)
    )
    formed = [2, 10, 2, NAN, 2, NAN, 10, NAN]
    np.testing.assert_array_equal(chosen.formed, formed, err_msg="no finer than the steps")


def test_with_a_damaged_first_snapshot_drift_is_from_the_next(own_run, caplog):
    """The log says so."""
    damage(own_run, 0)
    layer = measure(own_run, layers="conv1").layers["conv1"]
    assert layer.steps == STEPS[1:]
    assert "drift is counted from step 1" in caplog.text
    assert str(own_run.file(0)) in caplog.text
    assert np.nan_to_num(layer.filters["drift"][0]).tolist() == [0] * 8
    start = own_run.kernels("conv1", 1)
    expected = measures.drift(own_run.kernels("conv1", 20), start)
    np.testing.assert_array_equal(layer.filters["drift"][-1], expected)


def test_with_a_damaged_unselected_first_snapshot_drift_is_from_the_first_selected(own_run, caplog):
    """The log says so."""
    damage(own_run, 0)
    layer = measure(own_run, layers="conv1", steps=[5, 20]).layers["conv1"]
    assert layer.steps == (5, 20)
    assert "drift is counted from step 5" in caplog.text
    assert np.nan_to_num(layer.filters["drift"][0]).tolist() == [0] * 8


def test_a_damaged_snapshot_is_left_out(own_run, measured, caplog):
    """With a warning; the measures of the others are unchanged."""
    damage(own_run, 5)
    layer = measure(own_run).layers["conv1"]
    assert layer.steps == (0, 1, 2, 10, 20)
    assert "left out step 5" in caplog.text
    assert "drift is counted" not in caplog.text
    for key in ("label", "drift", "norm"):
        expected = np.delete(measured.layers["conv1"].filters[key], 3, axis=0)
        np.testing.assert_array_equal(layer.filters[key], expected)
    assert layer.formed[1] == 10


def deep(conv_info, slices=5, channels=1, filters=3):
    return conv_info(
        "deep",
        (slices, 7, 7, channels, filters),
        axes=(4, 1, 0, 2, 3),
        shape=(filters, 7, slices * 7, channels),
        bias=False,
    )


def spots(slices, weights, filters=3):
    """Return a kernel of 3-D filters: one spot in every slice, each slice weighted."""
    y, x = np.mgrid[-3:4, -3:4]
    spot = np.exp(-(x**2 + y**2) / 4)
    noise = 0.01 * np.random.default_rng(0).normal(size=(slices, 7, 7, 1, filters))
    return np.multiply.outer(weights, spot - spot.mean())[..., None, None] + noise


def test_slices_of_a_3d_kernel_are_measured_as_channels(conv_info, tmp_path):
    """A spot in each of five slices is a blob."""
    run = write(tmp_path / "run", deep(conv_info), [spots(5, [1, 2, 3, 2, 1])] * 2)
    layer = measure(run).layers["deep"]
    assert layer.filters["label"][-1].tolist() == ["blob"] * 3
    kernels = channels_of(run, "deep", 1)
    assert kernels.shape == (3, 7, 7, 5)
    np.testing.assert_array_equal(layer.filters["roughness"][1], measures.roughness(kernels))
    np.testing.assert_array_equal(layer.filters["norm"][1], measures.norm(kernels))
    assert layer.whole["effective_rank"][1] == measures.effective_rank(kernels)


def test_three_slices_are_not_measured_as_colours(conv_info, tmp_path):
    run = write(tmp_path / "run", deep(conv_info, 3), [spots(3, [1, -0.5, -0.5])] * 2)
    layer = measure(run).layers["deep"]
    assert layer.filters["label"][-1].tolist() == ["blob"] * 3
    assert np.isnan(layer.filters["colour"]).all()


@pytest.mark.parametrize(
    "kernel_shape",
    [(1, 1, 8, 5), (1, 1, 1, 3), (1, 7, 2, 4), (1, 31, 1, 2), (3, 3, 4, 6), (7, 7, 3, 1)],
    ids=str,
)
def test_unusual_layers_have_every_column(make_run, conv_info, kernel_shape):
    """1x1, 1-D, small and single kernels, without warnings."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=range(3))
    layer = measure(run).layers["conv1"]
    assert {values.shape for values in layer.filters.values()} == {(3, kernel_shape[-1])}
    assert {values.shape for values in layer.whole.values()} == {(3,)}
    np.testing.assert_array_equal(layer.filters["norm"][2], measures.norm(run.kernels("conv1", 2)))
    if kernel_shape[:2] == (1, 1):
        assert (layer.filters["label"] == "unknown").all()


def test_smooth_1d_kernels_are_structured(conv_info, tmp_path):
    info = conv_info(kernel_shape=(1, 31, 1, 1), bias=False)
    wave = np.cos(np.arange(31) * 2 * np.pi / 16)
    run = write(tmp_path / "run", info, [wave[None, :, None, None]])
    assert measure(run).layers["conv1"].filters["structured"].tolist() == [[True]]


def test_a_layer_without_filters_has_empty_columns(make_run, conv_info):
    """The other layer is measured."""
    run = make_run(conv_info("none", (3, 3, 1, 0), bias=False), conv_info())
    measured = measure(run)
    layer = measured.layers["none"]
    assert layer.filters["label"].shape == (3, 0)
    assert np.isnan([layer.half_formed, layer.mostly_formed, layer.whole["drift"][0]]).all()
    assert set(measured.filters()["layer"]) == {"conv1"}
    assert measured.trajectories()["layer"].tolist() == ["none"] * 3 + ["conv1"] * 3


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0, 3e38])
def test_non_finite_zero_and_constant_weights_are_measured(conv_info, tmp_path, rng, value):
    """Without warnings."""
    kernels = rng.normal(size=(3, 5, 5, 3, 4)).astype(np.float32)
    kernels[1, ..., 0] = value
    kernels[2] = value
    run = write(tmp_path / "run", conv_info(kernel_shape=(5, 5, 3, 4), bias=False), kernels)
    layer = measure(run).layers["conv1"]
    np.testing.assert_array_equal(
        layer.filters["label"][1][1:], measures.label(run.kernels("conv1", 1)).names[1:]
    )
    assert np.isfinite(layer.filters["drift"][1][1:]).all()


def test_one_snapshot_has_no_measures_of_change(planted_run):
    """They are NaN or zero; the others are there."""
    measured = measure(planted_run, steps=[20])
    layer = measured.layers["conv1"]
    assert layer.filters["label"].tolist() == [END["conv1"]]
    assert np.isnan(layer.filters["step_size"]).all()
    assert np.isnan(layer.at_rest)
    assert layer.half_formed == 20


def test_layers_are_selected_by_name_or_pattern(planted_run, measured):
    """In the order given; by default all."""
    assert list(measured.layers) == ["conv1", "conv2"]
    assert list(measure(planted_run, layers="conv2", steps=[0]).layers) == ["conv2"]
    both = measure(planted_run, layers=["conv2", "conv*"], steps=[0, 20])
    assert list(both.layers) == ["conv2", "conv1"]
    assert both.filters()["layer"].tolist() == ["conv2"] * 4 + ["conv1"] * 8


def test_a_run_may_be_given_as_its_folder(planted_run, measured):
    again = measure(str(planted_run.path), layers="conv2", steps=[0, 20])
    np.testing.assert_array_equal(again.filters()["drift"], measured.filters()["drift"][8:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "conv9"}, "no layer 'conv9'"),
        ({"steps": [3]}, "no snapshot at step 3"),
        ({"steps": 3}, "steps: expected numbers and ranges in a list, got 3"),
        ({"steps": [range(30, 40)]}, "none of"),
        ({"layers": 0}, "layers: expected a name or several, got 0"),
        ({"layers": []}, "layers: none are chosen; give a name or a pattern, or leave it out"),
    ],
    ids=str,
)
def test_invalid_options_are_errors(planted_run, options, message):
    """The message names the option and what is expected."""
    with pytest.raises(FiltertrackError) as error:
        measure(planted_run, **options)
    assert message in str(error.value)


def test_a_folder_without_run_or_snapshots_is_an_error(make_run, tmp_path):
    """The message names it."""
    with pytest.raises(FiltertrackError, match="no run in"):
        measure(tmp_path)
    with pytest.raises(FiltertrackError, match="holds 0 readable snapshots"):
        measure(make_run(steps=[]))


@pytest.mark.parametrize("step", [3, -1, 99])
def test_a_step_that_was_not_measured_is_an_error(measured, step):
    """The message names those that were."""
    with pytest.raises(FiltertrackError, match=rf"step {step} is not measured.*0, 1, 2, 5, 10, 20"):
        measured.filters(step)


def test_the_message_shortens_many_steps(make_run, conv_info):
    """To the first twelve and the last."""
    measured = measure(make_run(conv_info(kernel_shape=(1, 1, 1, 1)), steps=range(20)))
    with pytest.raises(FiltertrackError, match="9, 10, 11, … 19"):
        measured.filters(20)


def test_tables_have_equal_columns_and_a_row_each(measured):
    """A row a filter; a filter and step; a layer and step."""
    filters, history, trajectories = (
        measured.filters(),
        measured.history(),
        measured.trajectories(),
    )
    for table, rows in ((filters, 12), (history, 12 * 6), (trajectories, 2 * 6)):
        assert {len(column) for column in table.values()} == {rows}
    assert list(filters)[:3] == ["layer", "step", "filter"]
    assert list(filters)[-1] == "formed"
    assert list(filters) == list(history)
    assert set(filters["step"]) == {20}
    assert filters["filter"].tolist() == [*range(8), *range(4)]
    assert filters["label"].tolist() == END["conv1"] + END["conv2"]
    np.testing.assert_array_equal(filters["formed"], FORMED["conv1"] + FORMED["conv2"])
    assert trajectories["step"].tolist() == list(STEPS) * 2
    for name, layer in measured.layers.items():
        mine = trajectories["layer"] == name
        for key, values in layer.whole.items():
            np.testing.assert_array_equal(trajectories[key][mine], values)


def test_the_history_is_the_table_of_filters_at_each_step(measured):
    history = measured.history()
    for step in STEPS:
        at = measured.filters(step)
        there = history["step"] == step
        for key, values in at.items():
            np.testing.assert_array_equal(history[key][there], values)


def test_pandas_takes_the_tables(measured):
    """Where it is installed."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(measured.history())
    assert frame.groupby(["layer", "step"]).size().to_dict()["conv1", 20] == 8
    assert len(pandas.DataFrame(measured.filters())) == 12
    assert len(pandas.DataFrame(measured.trajectories())) == 12


def test_progress_counts_every_snapshot_of_every_layer(planted_run):
    seen = []
    measure(planted_run, progress=lambda *done: seen.append(done))
    assert seen == [(n, 12) for n in range(1, 13)]


def test_measuring_does_not_change_the_run(own_run):
    """Neither the files nor their bytes."""

    def content():
        files = (file for file in own_run.path.rglob("*") if file.is_file())
        return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}

    before = content()
    measure(own_run)
    assert content() == before


def test_changing_a_table_changes_no_other(measured):
    measured.filters()["drift"][:] = 7
    measured.history()["norm"][:] = 7
    assert (np.nan_to_num(measured.filters()["drift"]) != 7).all()
    assert (measured.history()["norm"] != 7).all()


def test_measuring_imports_no_framework(planted_run):
    """And nothing that draws."""
    code = (
        "import sys; from filtertrack import measure\n"
        f"measure({str(planted_run.path)!r}).history()\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'keras', 'tensorflow', 'jax', 'torch', 'matplotlib'}, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_memory_does_not_grow_with_the_run(make_run, conv_info):
    """Sixty snapshots take more than six only by their tables."""
    info = conv_info(kernel_shape=(3, 3, 128, 16), bias=False)
    runs = [make_run(info, steps=range(n), folder=str(n)) for n in (6, 60)]
    measure(runs[0])  # fills caches
    peaks = []
    for run in runs:
        tracemalloc.start()
        table = measure(run).history()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    tables = sum(column.nbytes for column in table.values())
    weights = 4 * 3 * 3 * 128 * 16
    assert 54 * weights > 4 * tables, "the weights would show"
    assert peaks[1] - peaks[0] < 4 * tables
