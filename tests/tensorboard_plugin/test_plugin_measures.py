"""``/order``, ``/trajectory`` and ``/label``: the measures that the page shows."""

import numpy as np
import pytest

from filtertrack import measures
from filtertrack.render.cells import to_channels, view_of
from filtertrack.render.filter_order import arrange
from filtertrack.render.look import ORDERS
from filtertrack.web import page_api

KINDS = ("grey", "colour", "pattern", "slices", "deep slices", "matrix", "one weight")


def number(value):
    return float(value) if np.isfinite(value) else None


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "bool"])
@pytest.mark.parametrize("kind", KINDS)
def test_measures_equal_the_packages(tab, write_run, layer, rng, *, kind, dtype):
    """Norm, drift and roughness at each step, the label and its evidence, every order."""
    info = layer(kind)
    view = view_of(info)
    kernels = [(3 * rng.normal(size=info.kernel_shape)).astype(dtype) for _ in range(3)]
    run = write_run(info, kernels)
    request = {"run": "run", "layer": "conv1"}
    shown = [to_channels(view, run.kernels("conv1", step)) for step in run.steps]
    for one in (0, info.filters - 1):
        got = tab.json("trajectory", **request, filter=one)
        assert got["steps"] == run.steps
        filters = [kernels[one : one + 1] for kernels in shown]
        assert got["norm"] == [number(measures.norm(f)[0]) for f in filters]
        assert got["drift"] == [number(measures.drift(f, filters[0])[0]) for f in filters]
        assert got["roughness"] == [number(measures.roughness(f)[0]) for f in filters]
        found = measures.label(filters[1], rgb=view.coloured)
        assert tab.json("label", **request, filter=one, step=1) == {
            "label": found.names[0],
            "roughness": number(found.structure.ratio[0]),
            "chance": number(found.structure.p_value[0]),
            "gabor": number(found.fits.gabor.excess[0]),
            "blob": number(found.fits.blob.excess[0]),
            "grating": number(found.fits.grating.excess[0]),
        }
    for way in ORDERS:
        expected = arrange(way, shown[0], shown[-1], rgb=view.coloured).tolist()
        assert tab.json("order", **request, order=way)["numbers"] == expected
    last = measures.label(shown[-1], rgb=view.coloured).names.tolist()
    assert tab.json("labels", **request) == {"step": 2, "names": last}


def test_planted_filters_have_their_labels(planted_run, make_tab):
    """Over HTTP as in Python."""
    tab = make_tab(planted_run.path)
    labels = [
        tab.json("label", run=".", layer="conv1", filter=n, step=20)["label"] for n in range(8)
    ]
    names = measures.label(planted_run.kernels("conv1", 20)).names
    assert labels == list(names)
    assert labels[:2] == ["edge", "blob"]


def test_labels_are_those_of_the_last_readable_snapshot(tab, make_run):
    """The answer names its step."""
    run = make_run(steps=range(3))
    run.file(2).write_bytes(b"damaged")
    names = measures.label(run.kernels("conv1", 1)).names.tolist()
    assert tab.json("labels", run="run", layer="conv1") == {"step": 1, "names": names}


def test_labels_are_those_of_the_step_in_the_query(planted_run, make_tab):
    """The filters are noise before training."""
    tab = make_tab(planted_run.path)
    for step in (0, 20):
        names = measures.label(planted_run.kernels("conv1", step), rgb=True).names.tolist()
        got = tab.json("labels", run=".", layer="conv1", step=step)
        assert got == {"step": step, "names": names}


def test_labels_of_a_step_that_cannot_be_read_are_refused(tab, make_run):
    """They are not those of another step."""
    run = make_run(steps=range(3))
    run.file(2).write_bytes(b"damaged")
    tab.refused("labels", {"run": "run", "layer": "conv1", "step": 2}, "2")
    tab.refused("labels", {"run": "run", "layer": "conv1", "step": 7}, "7")


def test_a_layer_that_would_take_long_to_label_has_no_labels(tab, run, monkeypatch):
    """The limit is on the pixels of all filters."""
    pixels = int(np.prod(run.layers["conv1"].shape[:3]))
    for limit in (pixels - 1, pixels):
        monkeypatch.setattr(page_api, "_MOST_LABELLED", limit)
        names = tab.json("labels", run="run", layer="conv1")["names"]
        assert (names is None) is (limit < pixels)


def test_non_finite_measures_are_null(tab, write_run, layer):
    """JSON has no NaN; nothing warns."""
    info = layer("colour")
    kernels = [np.full(info.kernel_shape, value, np.float32) for value in (np.nan, np.inf, 0, 3e38)]
    write_run(info, kernels)
    request = {"run": "run", "layer": "conv1", "filter": 0}
    got = tab.json("trajectory", **request)
    assert got["norm"][:2] == [None, None]
    for step in range(4):
        assert tab.json("label", **request, step=step)["label"] in measures.LABELS
    for way in ORDERS:
        assert sorted(tab.json("order", **request, order=way)["numbers"]) == list(range(5))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"_MOST_MEASURED": 5}, [0, 5, 10, 15, 20]),
        ({"_MOST_READ": 4 * 36 * 3, "_FEWEST_MEASURED": 2}, [0, 10, 20]),
        ({"_MOST_READ": 1, "_FEWEST_MEASURED": 2}, [0, 20]),
    ],
)
def test_a_long_trajectory_is_thinned(make_run, tab, monkeypatch, bounds, expected):
    """Evenly, with the first and the last snapshot; limited in snapshots and in bytes read."""
    make_run(steps=range(21))
    for name, value in bounds.items():
        monkeypatch.setattr(page_api, name, value)
    got = tab.json("trajectory", run="run", layer="conv1", filter=0)
    assert got["steps"] == expected


def test_an_unknown_order_is_refused(run, tab):
    """The error lists the valid ones."""
    for way in ("", "Stored", "size"):
        tab.refused("order", {"run": "run", "layer": "conv1", "order": way}, "similarity")
