"""Measures as tables for a terminal, CSV and JSON."""

import csv
import io
import json
import math
import stat
from dataclasses import replace
from importlib import import_module
from itertools import chain

import numpy as np
import pytest
from rich.console import Console

from filtertrack import FiltertrackError, Moment, Run, Snapshot, measure
from filtertrack.measures import LABELS
from filtertrack.outputs import tables as report
from filtertrack.outputs.tables import (
    NOTHING,
    each_filter,
    overview,
    sentences,
    with_pattern,
    write_csv,
    write_json,
)

STEPS = [0, 1, 2, 5, 10, 20]


@pytest.fixture(scope="module")
def measured(planted_run):
    return measure(planted_run)


@pytest.fixture
def broken(conv_info, tmp_path, rng):
    """The measures of a run with one infinite filter and a last snapshot of NaN."""
    info = conv_info(kernel_shape=(5, 5, 3, 3), bias=False)
    run = Run.create(tmp_path / "broken", [info])
    kernels = rng.normal(size=(3, 5, 5, 3, 3)).astype(np.float32)
    kernels[1, ..., 0], kernels[2] = np.inf, np.nan
    for step, kernel in enumerate(kernels):
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
    return measure(run)


def printed(table):
    """Return a table as text of any width."""
    console = Console(file=io.StringIO(), width=400, markup=False, highlight=False)
    console.print(table)
    return console.file.getvalue()


def cells(table):
    """Return the texts of a rich table: a dictionary a row, by the headings on one line."""
    columns = {
        str(column.header).replace("\n", " "): list(column.cells) for column in table.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_value(text, value, where):
    """Check that a text in a CSV file is the value of a table; empty if not finite."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        assert text == "", where
    elif isinstance(value, float):
        assert float(text) == pytest.approx(value, rel=1e-5), where
    else:
        assert text == str(value), where


def check_json(found, value, where):
    """Check that a value in JSON is that of a table; null if not finite."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        assert found is None, where
    elif isinstance(value, float):
        assert found == pytest.approx(value, rel=1e-5), where
    else:
        assert found == value, where
        assert type(found) is type(value), where


@pytest.mark.parametrize("step", [None, 0, 5])
@pytest.mark.parametrize("which", ["measured", "broken"])
def test_csv_has_the_values_of_the_table(request, tmp_path, which, step):
    """Of the history, or of one step."""
    measured = request.getfixturevalue(which)
    step = step if which == "measured" else step and 2
    write_csv(measured, tmp_path / "a.csv", step)
    table = measured.history() if step is None else measured.filters(step)
    rows = read_csv(tmp_path / "a.csv")
    assert list(rows[0]) == list(table)
    assert len(rows) == len(table["step"])
    for number, row in enumerate(rows):
        for key, text in row.items():
            check_value(text, table[key][number], (number, key))
    if step is not None:
        assert {row["step"] for row in rows} == {str(step)}
    nothing = {key for row in rows for key, text in row.items() if not text}
    assert nothing, "the table has NaN"


@pytest.mark.parametrize("step", [None, 0, 5])
@pytest.mark.parametrize("which", ["measured", "broken"])
def test_json_has_all_measures(request, tmp_path, which, step):
    """NaN, which JSON lacks, is null."""
    measured = request.getfixturevalue(which)
    step = step if which == "measured" else step and 2
    write_json(measured, tmp_path / "a.json", step)
    text = (tmp_path / "a.json").read_text()
    whole = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert set(whole) == {"run", "layers"}
    assert whole["run"] == str(measured.run.path)
    assert list(whole["layers"]) == list(measured.layers)
    for name, layer in measured.layers.items():
        found = whole["layers"][name]
        assert found["kernel"] == list(layer.info.kernel_shape)
        assert found["steps"] == list(layer.steps)
        for key in ("half_formed", "mostly_formed", "at_rest"):
            check_json(found[key], getattr(layer, key), key)
        for value, expected in zip(found["formed"], layer.formed, strict=True):
            check_json(value, None if np.isnan(expected) else int(expected), "formed")
        assert list(found["layer"]) == list(layer.whole)
        for key, values in layer.whole.items():
            for value, expected in zip(found["layer"][key], values, strict=True):
                check_json(value, expected, key)
        shown = list(layer.steps) if step is None else [step]
        assert found["filters_at"] == shown
        assert list(found["filters"]) == list(layer.filters)
        for key, columns in layer.filters.items():
            expected = columns[[layer.steps.index(at) for at in shown]]
            assert np.shape(found["filters"][key]) == expected.shape
            for value, other in zip(np.ravel(expected), chain(*found["filters"][key]), strict=True):
                check_json(other, value, key)


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_a_step_that_was_not_measured_is_an_error_and_writes_nothing(measured, tmp_path, write):
    """The message names those that were."""
    with pytest.raises(FiltertrackError, match="step 99 is not measured"):
        write(measured, tmp_path / "a.csv", 99)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_an_existing_file_is_replaced(measured, tmp_path, write):
    """Nothing else is in the folder, and equal tables make equal files."""
    target = tmp_path / "a.csv"
    target.write_text("x" * 1_000_000)
    write(measured, target)
    first = target.read_bytes()
    write(measured, target)
    assert target.read_bytes() == first
    assert b"xxx" not in first
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_a_file_that_cannot_be_written_is_an_oserror_and_leaves_nothing(measured, tmp_path, write):
    """Without its folder, or with a folder of its name."""
    with pytest.raises(OSError, match="No such file"):
        write(measured, tmp_path / "no" / "a.csv")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(measured, tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert stat.S_ISDIR((tmp_path / "a.csv").stat().st_mode)


def test_the_overview_counts_labels(measured):
    """A row a layer with the filters of each label; labels without a filter are left out."""
    first, second = cells(overview(measured)[0])
    assert first == {
        "layer": "conv1",
        "edge": "2",
        "blob": "1",
        "colour blob": "1",
        "other structure": "1",
        "unstructured": "3",
    }
    assert second == dict.fromkeys(first, NOTHING) | {"layer": "conv2", "edge": "3", "blob": "1"}


def test_the_overview_says_from_when_on_filters_are_structured(measured):
    """A row a layer: the number of filters, the steps, and when the layer was at rest."""
    first, second = cells(overview(measured)[1])
    assert (first["layer"], first["filters"], second["layer"]) == ("conv1", "8", "conv2")
    formed = ("half structured", "90 % structured", "at rest")
    assert [first[key] for key in formed] == ["5", NOTHING, "10"]
    assert [second[key] for key in formed] == ["1", "5", "5"]


@pytest.mark.parametrize("step", [None, 0, 2])
def test_the_overview_has_the_measures_of_the_layer(measured, step):
    """To two digits, at the given step; a dash for zero."""
    _, changes, whole = overview(measured, step)
    rows = [{**one, **two} for one, two in zip(cells(changes), cells(whole), strict=True)]
    for row, (name, layer) in zip(rows, measured.layers.items(), strict=True):
        index = layer.place(step)
        values = {key: column[index] for key, column in layer.whole.items()}
        assert row["layer"] == name
        numbers = {
            "rotation": "rotation",
            "sparsity": "sparsity",
            "variance entropy": "variance_entropy",
            "random from": "entropy_threshold",
            "orthogonality": "orthogonality",
            "effective rank": "effective_rank",
        }
        for head, key in numbers.items():
            assert float(row[head]) == pytest.approx(values[key], abs=0.00501)
        counts = {"unmoved": "unmoved", "repeated": "repeated", "near zero": "near_zero"}
        for head, key in counts.items():
            assert row[head] == (f"{values[key]:.0f}" if values[key] else NOTHING)


@pytest.mark.parametrize("step", [None, 0, 5])
def test_each_filter_has_a_row(measured, step):
    """Its number, label and measures at the given step."""
    rows = cells(each_filter(measured, "conv1", step))
    assert len(rows) == 8
    layer = measured.layers["conv1"]
    index = layer.place(step)
    for number, row in enumerate(rows):
        values = {key: column[index, number] for key, column in layer.filters.items()}
        assert (row["filter"], row["label"]) == (str(number), values["label"])
        formed = layer.formed[number]
        assert row["structured from"] == (NOTHING if np.isnan(formed) else str(int(formed)))
        assert float(row["norm"]) == pytest.approx(values["norm"], rel=1e-3, abs=0.05)
        heads = {
            "drift": "drift",
            "roughness": "roughness",
            "colour": "colour",
        }
        for head, key in heads.items():
            expected = f"{values[key]:.2f}" if np.isfinite(values[key]) else NOTHING
            assert row[head] == expected, (number, head)
        fits = [values[f"{name}_excess"] for name in ("gabor", "blob", "grating")]
        best = NOTHING if np.isnan(fits).all() else f"{np.nanmax(fits):.2f}"
        assert row["best fit"] == best
        copy = str(values["twin"]) if values["repeated"] else NOTHING
        assert row.get("copy of", NOTHING) == copy
    if step is None:
        assert rows[0]["degrees"] == "45°", "the planted edge"
        assert rows[1]["degrees"] == NOTHING, "a blob has no direction"
        assert (rows[0]["copy of"], rows[4]["copy of"]) == ("4", "0")


def test_titles_name_step_and_epoch(measured):
    """Of the first, that it is before training."""
    for step, words in ((None, "step 20, epoch 20 · batch 200"), (0, "step 0, before training")):
        for table in (*overview(measured, step), each_filter(measured, "conv2", step)):
            assert words in str(table.title)


def test_a_table_of_a_step_that_was_not_measured_is_an_error(measured):
    """The message names those that were."""
    for table in (
        lambda: each_filter(measured, "conv1", 99),
        lambda: overview(measured, 99),
    ):
        with pytest.raises(FiltertrackError, match="step 99 is not measured"):
            table()


def test_non_finite_values_are_dashes(broken):
    for table in (*overview(broken)[1:], each_filter(broken, "conv1")):
        text = printed(table).replace("conv1", "")
        assert NOTHING in text
        for word in ("nan", "inf", "None"):
            assert word not in text


def test_a_layer_without_filters_has_a_row_of_dashes(make_run, conv_info):
    measured = measure(make_run(conv_info(kernel_shape=(3, 3, 1, 0), bias=False)))
    _, changes, whole = overview(measured)
    assert cells(changes)[0]["filters"] == "0"
    assert cells(each_filter(measured, "conv1")) == []
    assert cells(changes)[0]["rotation"] == NOTHING
    assert "nan" not in printed(changes) + printed(whole)
    assert sentences(measured) == ["conv1: 0 filters in it."]


def test_tables_have_all_rows_of_200_filters(make_run, conv_info):
    """Also with the longest layer name."""
    name = "/".join(["block"] * 20)
    run = make_run(conv_info(name, (3, 3, 1, 200), bias=False), steps=[0, 3])
    table = each_filter(measure(run), name)
    assert [row["filter"] for row in cells(table)] == [str(number) for number in range(200)]
    assert name in printed(table).replace("\n", ""), "a long title is wrapped"


def test_measures_left_out_of_a_large_layer_are_named(
    make_run, conv_info, monkeypatch, tmp_path, caplog
):
    """In the log, below the tables and in JSON; their values are dashes."""
    for name in ("redundancy", "spatial_structure"):
        monkeypatch.setattr(import_module(f"filtertrack.measures.{name}"), "_MOST_PRODUCTS", 1000)
    measured = measure(make_run(conv_info("large", (5, 5, 1, 4)), conv_info("small", (5, 5, 1, 0))))
    expected = "label, structured, p_value, twin, twin_cosine, repeated, orthogonality"
    assert f"layer large is too large to measure its {expected}" in caplog.text
    assert "small is too large" not in caplog.text
    shown = printed(overview(measured)[-1])
    for word in expected.split(", "):
        assert word in shown
    assert sentences(measured)[0] == "large: 4 filters, too many to compare each with noise."
    whole = measured.layers["large"].whole
    assert np.isnan([whole[name][-1] for name in ("structured", "repeated", "orthogonality")]).all()
    assert whole["unknown"][-1] == 4
    write_json(measured, tmp_path / "a.json")
    held = json.loads((tmp_path / "a.json").read_text())["layers"]["large"]
    assert ", ".join(held["too_large_for"]).startswith(expected)
    assert held["layer"]["orthogonality"] == [None] * 3


def test_a_long_table_is_cut(make_run, conv_info, monkeypatch):
    """Its caption says how many filters it lacks."""
    monkeypatch.setattr(report, "_MOST_ROWS", 3)
    grid = each_filter(measure(make_run(conv_info("conv", (3, 3, 1, 8)))), "conv")
    assert len(grid.rows) == 3
    assert "… and 5 more; a CSV or JSON file holds all" in printed(grid)


def run_of(tmp_path, info, kernels, moments=None):
    """Measure a run of one layer with the given kernels: (filters, height, width, channels)."""
    run = Run.create(tmp_path / "run", [info])
    moments = moments or [Moment(step, step) for step in range(len(kernels))]
    for moment, kernel in zip(moments, kernels, strict=True):
        arrays = {info.kernel: np.moveaxis(kernel, 0, -1).astype(np.float32)}
        run.append(Snapshot(moment, arrays))
    return measure(run)


def bars(count, rng, size=7):
    """Return smooth vertical edges with some noise: (filters, size, size, 1)."""
    x = np.linspace(-1, 1, size)[np.newaxis, np.newaxis, :, np.newaxis]
    return x + 0.05 * rng.normal(size=(count, size, size, 1))


def test_a_sentence_counts_labels_and_says_from_when_on_they_are_structured(measured):
    first, second = sentences(measured)
    assert first.startswith(
        "conv1: 2 edges, 1 blob, 1 colour blob and 1 other structure of 8 filters;"
    )
    assert first.endswith("; half were structured from epoch 5 on.")
    assert second == "conv2: 3 edges and 1 blob of 4 filters; half were structured from epoch 1 on."


def test_a_sentence_of_an_earlier_step_says_what_holds_for_the_whole_run(measured):
    first, second = sentences(measured, 1)
    assert first == (
        "conv1: 1 colour blob of 8 filters; over the whole run half were structured from epoch 5 "
        "on."
    )
    assert second.endswith("filters; over the whole run half were structured from epoch 1 on.")
    assert sentences(measured, 0)[1] == "conv2: none of 4 filters is structured."


@pytest.mark.parametrize(
    ("moments", "when"),
    [
        (
            [Moment(0, 0), Moment(10, 0, 10), Moment(400, 1, 400)],
            "half were structured from batch 10 on",
        ),
        ([Moment(0, 0), Moment(10, 0), Moment(20, 0)], "half were structured from step 10 on"),
        ([Moment(0, 0), Moment(1, 1), Moment(2, 2)], "half were structured from epoch 1 on"),
    ],
    ids=["batches", "steps", "epochs"],
)
def test_a_sentence_counts_epochs_batches_or_steps(conv_info, tmp_path, rng, moments, when):
    """As the run does."""
    info = conv_info(kernel_shape=(7, 7, 1, 3), bias=False)
    edges = bars(3, rng)
    measured = run_of(tmp_path, info, [rng.normal(size=edges.shape), edges, edges], moments)
    assert sentences(measured) == [f"conv1: 3 edges of 3 filters; {when}."]


def test_a_sentence_of_filters_without_structure(conv_info, tmp_path, rng):
    """It does not say from when on they are structured."""
    info = conv_info(kernel_shape=(7, 7, 1, 3), bias=False)
    measured = run_of(tmp_path, info, rng.normal(size=(2, 3, 7, 7, 1)))
    assert sentences(measured) == ["conv1: none of 3 filters is structured yet."]


def test_a_sentence_of_few_structured_filters(conv_info, tmp_path, rng):
    """Fewer than half were structured at the end."""
    info = conv_info(kernel_shape=(7, 7, 1, 3), bias=False)
    kernels = rng.normal(size=(2, 3, 7, 7, 1))
    kernels[1, 0] = bars(1, rng)[0]
    (sentence,) = sentences(run_of(tmp_path, info, kernels))
    assert sentence == "conv1: 1 edge of 3 filters; fewer than half were structured at the end."


def test_a_sentence_of_a_pretrained_layer(conv_info, tmp_path, rng):
    """It was structured at the first snapshot; one that is frozen never changes."""
    info = conv_info(kernel_shape=(7, 7, 1, 3), bias=False)
    edges = bars(3, rng)
    (sentence,) = sentences(run_of(tmp_path / "tuned", info, [edges, edges * 1.1]))
    assert (
        sentence == "conv1: 3 edges of 3 filters; half were structured from the first snapshot on."
    )
    (sentence,) = sentences(run_of(tmp_path / "frozen", info, [edges, edges]))
    assert sentence == "conv1: 3 edges of 3 filters; its weights never changed."


def test_a_sentence_of_one_snapshot_says_nothing_of_the_training(conv_info, tmp_path, rng):
    """No change can be seen in it."""
    info = conv_info(kernel_shape=(7, 7, 1, 2), bias=False)
    assert sentences(run_of(tmp_path, info, [bars(2, rng)])) == ["conv1: 2 edges of 2 filters."]


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        (1.0, "together they are smoother than noise (mean roughness"),
        (0.0, "together they are neither smoother nor rougher than noise (mean roughness"),
    ],
)
def test_a_sentence_of_small_kernels_speaks_of_the_layer(conv_info, tmp_path, rng, strength, words):
    """Single filters of 3x3 cannot be told from noise, but many together can."""
    info = conv_info(kernel_shape=(3, 3, 1, 64), bias=False)
    noise = rng.normal(size=(2, 64, 3, 3, 1))
    (sentence,) = sentences(
        run_of(tmp_path, info, noise + strength * bars(64, rng, 3) * [[[[[0]]]], [[[[1]]]]])
    )
    assert "too small to be told from noise one by one; " + words in sentence


def test_a_sentence_counts_filters_that_are_not_finite(broken):
    assert sentences(broken) == [
        "conv1: none of 3 filters is structured yet; 3 filters with values that are not finite."
    ]
    assert "1 filter with values that are not finite" in sentences(broken, 1)[0]


@pytest.fixture
def pointwise(make_run, conv_info):
    """The measures of one layer of 5x5 and two of 1x1 kernels."""
    infos = [
        conv_info("conv", (5, 5, 1, 4), bias=False),
        conv_info("one", (1, 1, 4, 4), bias=False),
        conv_info("two", (1, 1, 4, 4), bias=False),
    ]
    return measure(make_run(*infos))


def test_layers_of_1x1_kernels_are_left_out(pointwise, make_run, conv_info, tmp_path):
    """Unless there are no others; the files have all of them."""
    assert list(with_pattern(pointwise).layers) == ["conv"]
    write_json(pointwise, tmp_path / "a.json")
    assert list(json.loads((tmp_path / "a.json").read_text())["layers"]) == ["conv", "one", "two"]
    layers = {name: pointwise.layers[name] for name in ("one", "two")}
    only = replace(pointwise, layers=layers)
    assert list(with_pattern(only).layers) == ["one", "two"]
    assert sentences(only)[0] == "one: 4 filters of 1x1 pixels, which have no spatial pattern."


def test_tables_have_whole_words_and_fit_into_80_columns(make_run, conv_info, rng):
    """For names of up to 19 characters, as those of Keras's ResNet50, and of each filter."""
    name = "conv2_block1_2_conv"
    measured = measure(make_run(conv_info(name, (7, 7, 3, 128), bias=False)))
    layer = measured.layers[name]
    for number, label in enumerate(LABELS):
        layer.filters["label"][-1, number] = label
        layer.whole[label][-1] = 20
    layer.filters["repeated"][-1, :] = True
    tables = [*overview(measured), each_filter(measured, name)]
    for table in tables:
        table.title = None
        assert max(map(len, printed(table).splitlines())) <= 80
        assert not any("-" in str(column.header) for column in table.columns)
