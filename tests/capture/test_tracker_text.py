"""Trackers and probes as Python and notebooks show them."""

import numpy as np
import pytest

from filtertrack import ArrayTracker, FilterTracker, Probes


def test_a_tracker_names_its_folder_and_layers(tiny_model, data, tmp_path):
    """Before training the folder only; then the layers, and in a notebook the snapshots."""
    tracker = FilterTracker(tmp_path / "run")
    assert repr(tracker) == f"FilterTracker('{tmp_path}/run')"
    assert "when training begins" in tracker._repr_html_()
    tiny_model.fit(*data, verbose=0, callbacks=[tracker])
    assert repr(tracker) == f"FilterTracker('{tmp_path}/run': conv1, conv2)"
    html = tracker._repr_html_()
    assert "conv1, conv2; 2 snapshots" in html
    assert f"Run(&#x27;{tmp_path}/run&#x27;)" in html


def test_a_tracker_of_the_next_folder_names_that_one(tiny_model, data, tmp_path):
    """``existing="new"`` chooses one beside ``log_dir``."""
    for _ in range(2):
        tracker = FilterTracker(tmp_path / "run", existing="new")
        tiny_model.fit(*data, verbose=0, callbacks=[tracker])
    assert repr(tracker) == f"FilterTracker('{tmp_path}/run-2': conv1, conv2)"


def test_a_deleted_run_is_named_and_no_error(tmp_path):
    """The text of a notebook's output raises nothing."""
    with ArrayTracker(tmp_path / "<b>") as tracker:
        tracker.snapshot(0, {"<i>": np.zeros((3, 3, 1, 2))}, axes="HWIO")
        assert (
            "&lt;i&gt;; 1 snapshot." in tracker._repr_html_()
            or "0 snapshots" in tracker._repr_html_()
        )
    for file in (tmp_path / "<b>" / "filters").glob("*.json"):
        file.unlink()
    html = tracker._repr_html_()
    assert "no snapshot can be read" in html
    assert "<b>" not in html
    assert "<i>" not in html


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "Probes(4 images)"),
        ({"maps": 2, "layers": "conv1"}, "Probes(4 images, layers='conv1', maps=2)"),
    ],
)
def test_probes_are_one_line(options, text):
    """Without the pixels."""
    assert repr(Probes(np.zeros((4, 8, 8, 3)), **options)) == text
