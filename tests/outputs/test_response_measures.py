"""Measures of responses to probes: in measurements, tables, CSV and JSON."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from filtertrack import FiltertrackError, Run, measure, measures
from filtertrack.outputs.measurement import measure_selection
from filtertrack.outputs.response_measures import RESPONSE_COLUMNS, response_columns
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.tables import (
    overview,
    responses_of_filters,
    sentences,
    write_csv,
    write_json,
)

MEANS = ("silent_share", "lifetime_sparsity", "class_selectivity")


@pytest.fixture
def measured(probed_run):
    return measure(probed_run)


def cells(table):
    """Return the texts of a rich table: a dictionary a row, by the headings on one line."""
    columns = {
        str(column.header).replace("\n", " "): list(column.cells) for column in table.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def without_responses(run, step):
    """Replace a snapshot by one without responses."""
    run.append(dataclasses.replace(run.snapshot(step), responses={}))


def test_columns_are_the_measures_of_the_stored_statistics(probed_run, measured):
    layer, labels = measured.layers["conv1"], probed_run.probes.labels
    for index, step in enumerate(probed_run.steps):
        response = probed_run.probe_responses("conv1", step)
        selectivity = measures.class_selectivity(response.mean, labels)
        expected = {
            "silent": measures.silent(response.highest),
            "lifetime_sparsity": measures.lifetime_sparsity(response.mean),
            "class_selectivity": selectivity.selectivity,
            "preferred_class": selectivity.preferred,
        }
        assert tuple(expected) == RESPONSE_COLUMNS
        for name, values in expected.items():
            np.testing.assert_array_equal(layer.filters[name][index], values)


def test_the_silent_filter_is_found_at_its_step(measured):
    """Filter 1 of 4 responds at first, and is silent at the last step."""
    layer = measured.layers["conv1"]
    assert layer.filters["silent"].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert layer.whole["silent_share"].tolist() == [0, 0, 0.25]
    assert np.isnan(layer.filters["lifetime_sparsity"]).tolist()[-1] == [False, True, False, False]


def test_layer_measures_are_means_of_the_filters_that_have_a_value(measured):
    layer = measured.layers["conv1"]
    for name in ("lifetime_sparsity", "class_selectivity"):
        for index in range(3):
            expected = np.nanmean(layer.filters[name][index])
            assert layer.whole[name][index] == pytest.approx(expected)


def test_a_layer_whose_responses_may_be_negative_has_nan(measured):
    layer = measured.layers["conv2"]
    for values in [*(layer.filters[name] for name in RESPONSE_COLUMNS),
                   *(layer.whole[name] for name in MEANS)]:  # fmt: skip
        assert np.isnan(values).all()


def test_a_snapshot_without_responses_has_nan(probed_run):
    without_responses(probed_run, 1)
    layer = measure(probed_run).layers["conv1"]
    for name in RESPONSE_COLUMNS:
        assert np.isnan(layer.filters[name][1]).all()
        assert np.isfinite(layer.filters[name][0]).all()


def test_a_layer_that_was_not_probed_has_nan(make_probed_run, conv_info):
    infos = [conv_info(), conv_info("conv2", (3, 3, 4, 6)), conv_info("other", (3, 3, 4, 5))]
    table = measure(make_probed_run(*infos)).filters()
    rows = table["layer"] == "other"
    assert rows.sum() == 5
    assert np.isnan(table["silent"][rows]).all()


def test_without_labels_there_is_no_class_selectivity(probed_run):
    layer = probed_run.probes.layers["conv1"]
    response = probed_run.probe_responses("conv1", 0)
    columns = response_columns(response, layer, None)
    assert np.isnan(columns["class_selectivity"]).all()
    assert np.isnan(columns["preferred_class"]).all()
    assert np.isfinite(columns["lifetime_sparsity"]).all()


def test_a_run_without_probes_has_no_such_columns(run):
    """Tables, sentences and JSON have nothing of responses."""
    measured = measure(run)
    assert not {*RESPONSE_COLUMNS, "answers_from"} & {*measured.filters()}
    assert not {*MEANS} & {*measured.trajectories()}
    assert len(overview(measured)) == 3
    assert responses_of_filters(measured, "conv1") is None
    assert not any("probe" in sentence for sentence in sentences(measured))


def test_with_probes_the_other_columns_are_unchanged(probed_run):
    """The columns of responses are behind the others, before the step of forming."""
    history = measure(probed_run).history()
    (probed_run.folder / "probes.npz").unlink()
    expected = measure(Run(probed_run.path)).history()
    assert list(history) == [*list(expected)[:-1], *RESPONSE_COLUMNS, "formed", "answers_from"]
    for name, values in expected.items():
        np.testing.assert_array_equal(history[name], values)


def test_damaged_probes_make_responses_nan_with_one_warning(probed_run, caplog):
    """All measures of the kernels are there."""
    expected = measure(probed_run).history()
    file = probed_run.folder / "probes.npz"
    file.write_bytes(file.read_bytes()[:-60])
    measured = measure(Run(probed_run.path))
    check_only_responses_are_nan(measured, expected, expected["step"] >= 0)
    assert measured.probe_count == 0
    assert len(caplog.records) == 1
    assert "responses are not measured" in caplog.text


def damage_checksum(file, name):
    """Change one byte of an array."""
    data = bytearray(file.read_bytes())
    data[data.index(name.encode()) + 200] ^= 1
    file.write_bytes(bytes(data))


def cut_array(file, name):
    """Write an array of another shape."""
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed[name] = changed[name][:1]
    np.savez(file, **changed)


def check_only_responses_are_nan(measured, expected, rows):
    """Compare the table of all filters with that of the undamaged run."""
    history = measured.history()
    assert list(history) == list(expected)
    for name, values in expected.items():
        if name in RESPONSE_COLUMNS:
            assert np.isnan(history[name][rows]).all()
            np.testing.assert_array_equal(history[name][~rows], values[~rows])
        elif name != "answers_from":
            np.testing.assert_array_equal(history[name], values)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (damage_checksum, "conv1/response_statistics"),
        (cut_array, "conv1/response_places"),
        (cut_array, "conv1/response_maps"),
    ],
)
@pytest.mark.parametrize("steps", [[1], [0, 1, 2]])
def test_damaged_responses_are_nan_with_one_warning(probed_run, caplog, damage, name, steps):
    """Each snapshot keeps the measures of its kernels, even if the responses of all are damaged."""
    expected = measure(probed_run).history()
    for step in steps:
        damage(probed_run.file(step), name)
    run = Run(probed_run.path)
    for step in steps:
        with pytest.raises(FiltertrackError):
            run.probe_responses("conv1", step)
    measured = measure(run)
    rows = (expected["layer"] == "conv1") & np.isin(expected["step"], steps)
    check_only_responses_are_nan(measured, expected, rows)
    assert len(caplog.records) == 1
    shown = ", ".join(map(str, steps))
    assert f"responses of conv1 are not measured at step {shown}: " in caplog.text
    assert str(run.file(steps[0])) in caplog.text


def test_damaged_kernels_and_responses_are_one_warning_each(probed_run, caplog):
    """Measuring starts again without the damaged kernels, and warns of the responses once."""
    cut_array(probed_run.file(0), "conv1/response_places")
    damage_checksum(probed_run.file(1), next(iter(probed_run.layers.values())).kernel)
    assert measure(Run(probed_run.path)).layers["conv1"].steps == (0, 2)
    assert len(caplog.records) == 2


def test_responses_to_probes_that_were_replaced_meanwhile_are_not_measured(probed_run, caplog):
    """Their statistics do not belong to the labels that were read."""
    selection = select_from_run(probed_run, layers="conv1", steps=[0, 1])

    def replace_after_first(done, total):
        if done == 1:
            probes = Run(probed_run.path).probes
            Run(probed_run.path).store_probes(dataclasses.replace(probes, labels=None))

    measured = measure_selection(selection, replace_after_first)
    assert np.isfinite(measured.layers["conv1"].filters["silent"][0]).all()
    assert np.isnan(measured.layers["conv1"].filters["silent"][1]).all()
    assert "were replaced meanwhile" in caplog.text


def test_sentences_count_silent_filters_and_say_what_was_read(measured):
    first, second = sentences(measured)
    read = "(read: the output of relu1, after conv1)."
    assert first.endswith(
        f"; 1 filter silent (number 1), with no response to any of 5 probes {read}"
    )
    assert second.endswith(
        "; responses to probes may be negative (read: the layer's output, without an activation)."
    )
    assert sentences(measured, 0)[0].endswith(f"; each filter responds to some of 5 probes {read}")


def test_a_sentence_of_a_step_without_responses_says_nothing_of_them(probed_run):
    without_responses(probed_run, 2)
    assert "probes" not in sentences(measure(probed_run))[0]


def test_a_sentence_counts_filters_with_responses_that_are_not_finite(probed_run):
    """Whether these are silent is not known."""
    measured = measure(probed_run)
    silent = measured.layers["conv1"].filters["silent"]
    silent[-1, 3] = np.nan
    silent[0, 3] = np.nan
    assert sentences(measured)[0].endswith(
        "; 1 filter silent (number 1), with no response to any of 5 probes (read: the output of "
        "relu1, after conv1); responses of 1 filter are not finite."
    )
    last = sentences(measured, 0)[0]
    assert last.endswith("; responses of 1 filter are not finite.")
    assert "each filter" not in last


def test_sentences_name_silent_filters_up_to_eight(measured):
    layer = measured.layers["conv1"]
    for count, text in (
        (2, "2 filters silent (numbers 0, 1), with"),
        (8, "8 filters silent (numbers 0, 1, 2, 3, 4, 5, 6, 7), with"),
        (11, "11 filters silent (numbers 0, 1, 2, 3, 4, 5, 6, 7 and 3 more), with"),
    ):
        silent = np.repeat([np.arange(12) < count], 3, axis=0).astype(float)
        changed = dataclasses.replace(layer, filters={**layer.filters, "silent": silent})
        named = dataclasses.replace(measured, layers={"conv1": changed})
        assert text in sentences(named)[0]


def test_a_filter_that_is_silent_at_first_answers_from_a_later_step(probed_run):
    """Filter 1 is silent at the last step only; then at the first only."""
    measured = measure(probed_run, steps=[range(2)]).layers["conv1"]
    assert measured.answers_from.tolist() == [0, 0, 0, 0]
    responses = {name: probed_run.probe_responses(name, 2) for name in ("conv1", "conv2")}
    probed_run.append(dataclasses.replace(probed_run.snapshot(0), responses=responses))
    responses = {name: probed_run.probe_responses(name, 1) for name in ("conv1", "conv2")}
    probed_run.append(dataclasses.replace(probed_run.snapshot(2), responses=responses))
    measured = measure(probed_run)
    assert measured.layers["conv1"].answers_from.tolist() == [0, 1, 0, 0]
    assert np.isnan(measured.layers["conv2"].answers_from).all()
    table = measured.filters(step=0)
    np.testing.assert_array_equal(table["answers_from"][:4], [0, 1, 0, 0])


def test_the_overview_counts_silent_filters(measured):
    table = overview(measured)[-1]
    assert table.title == "What the filters respond to: step 2, epoch 2 · batch 20; 5 probes"
    whole = measured.layers["conv1"].whole
    assert cells(table) == [
        {
            "layer": "conv1",
            "filters": "4",
            "silent": "1",
            "lifetime sparsity": f"{whole['lifetime_sparsity'][-1]:.2f}",
            "class selectivity": f"{whole['class_selectivity'][-1]:.2f}",
        },
        {
            "layer": "conv2",
            "filters": "6",
            "silent": "–",
            "lifetime sparsity": "–",
            "class selectivity": "–",
        },
    ]
    assert cells(overview(measured, 0)[-1])[0]["silent"] == "0"


def test_each_filter_has_a_row_of_responses(measured):
    rows = cells(responses_of_filters(measured, "conv1"))
    assert [row["filter"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["silent"] for row in rows] == ["no", "yes", "no", "no"]
    assert [row["answers from"] for row in rows] == ["0", "–", "0", "0"]
    assert [row["preferred class"] == "–" for row in rows] == [False, True, False, False]
    assert responses_of_filters(measured, "conv2") is None


def test_tables_of_responses_fit_into_80_columns(measured):
    layer = measured.layers["conv1"]
    name = "conv2_block1_2_conv"
    info = dataclasses.replace(layer.info, name=name)
    named = dataclasses.replace(
        measured, layers={name: dataclasses.replace(layer, info=info)}, probe_count=123456
    )
    for table in (overview(named)[-1], responses_of_filters(named, name)):
        table.title = None
        console = Console(file=io.StringIO(), width=400, markup=False, highlight=False)
        console.print(table)
        assert max(map(len, console.file.getvalue().splitlines())) <= 80


def test_csv_has_the_columns(measured, tmp_path):
    write_csv(measured, tmp_path / "a.csv", step=2)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["silent"] for row in rows] == ["False", "True", "False", "False", *[""] * 6]
    assert [row["answers_from"] for row in rows] == ["0", "", "0", "0", *[""] * 6]
    sparsity = measured.layers["conv1"].filters["lifetime_sparsity"][-1]
    assert float(rows[0]["lifetime_sparsity"]) == pytest.approx(sparsity[0], rel=1e-5)
    assert rows[1]["class_selectivity"] == rows[1]["preferred_class"] == ""


def test_json_has_the_measures_and_what_was_read(measured, tmp_path):
    write_json(measured, tmp_path / "a.json")
    whole = json.loads((tmp_path / "a.json").read_text())
    layers = whole["layers"]
    assert whole["probes"] == 5
    assert layers["conv1"]["layer"]["silent_share"] == [0, 0, 0.25]
    assert layers["conv2"]["layer"]["silent_share"] == [None, None, None]
    assert layers["conv1"]["filters"]["silent"][-1] == [False, True, False, False]
    assert layers["conv1"]["filters"]["silent"][-1][0] is False  # as other columns of yes and no
    assert layers["conv2"]["filters"]["silent"][-1] == [None] * 6
    assert layers["conv1"]["answers_from"] == [0, None, 0, 0]
    read = {"read": "the output of relu1, after conv1", "rectified": True}
    assert layers["conv1"]["responses"] == read
