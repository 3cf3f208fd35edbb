"""Measures of a run in a notebook: sentences and tables."""

import re
from dataclasses import replace

from filtertrack import measure
from filtertrack.outputs.tables import sentences

HOSTILE = "<img src=x onerror=alert(1)>"


def test_sentences_and_tables_are_shown(run):
    """Those that the command prints, with a row a layer."""
    measured = measure(run)
    html = measured._repr_html_()
    for sentence in sentences(measured):
        assert f"<p>{sentence}</p>" in html
    rows = re.findall(r"<tr><td>(.*?)</td>", html)
    assert rows == ["conv1", "conv2"] * 3
    heads = re.findall(r"<th>(.*?)</th>", html)
    assert {"layer", "rotation", "effective rank"} <= set(heads)


def test_layers_of_1x1_kernels_are_left_out_as_in_the_command(make_run, conv_info):
    """A run of no others has them."""
    point, large = conv_info("point", (1, 1, 3, 4)), conv_info("large", (3, 3, 3, 4))
    assert "point" not in measure(make_run(point, large))._repr_html_()
    assert "point" in measure(make_run(point, folder="second"))._repr_html_()


def test_texts_of_a_run_stay_text(run):
    """The note of a moment, which a file may hold, is inserted as text."""
    measured = measure(run)
    *first, last = measured.moments
    noted = replace(measured, moments=(*first, replace(last, note=HOSTILE)))
    assert "<img" not in noted._repr_html_()
    assert "&lt;img" in noted._repr_html_()


def test_measures_too_large_to_compute_are_named(run, monkeypatch):
    """In a paragraph below the tables, as in the command."""
    monkeypatch.setattr(
        "filtertrack.outputs.measurement.too_large_for", lambda _: ["orthogonality"]
    )
    assert "too large to measure its orthogonality" in measure(run)._repr_html_()


def test_reprs_are_short(run):
    """One line, without the numbers."""
    measured = measure(run)
    assert repr(measured) == f"Measurement('{run.path}': 3 snapshots of conv1, conv2)"
    assert repr(measured.layers["conv1"]) == "MeasuredLayer(conv1: 4 filters, 3 snapshots)"
