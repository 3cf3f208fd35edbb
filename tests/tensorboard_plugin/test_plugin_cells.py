"""``/cells``: the weights that the page draws."""

import gzip
import shutil

import numpy as np
import pytest

from filtertrack import Moment, Run, Snapshot
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.layer_look import noticeable_change
from filtertrack.tensorboard_plugin import logdir
from filtertrack.web import payload, step_answers

EXACT_IN_32_BITS = ("float16", "float32", "int8", "bool")


def looked_at(run, step, *, channels=None, filters=None, delta=False):
    """Return the cells that the renderer draws."""
    info = run.layer("conv1")
    view, kernels = view_of(info, channels), run.kernels("conv1", step)
    if delta:
        kernels = kernels - run.kernels("conv1", run.steps[0]).astype(np.float64)
    if filters is not None and view.kind == "matrix":
        return to_cells(view, kernels)[:, :, filters]
    return to_cells(view, kernels if filters is None else kernels[filters])


LOOKS = [
    *((kind, {}) for kind in ("grey", "colour", "pattern", "slices", "deep slices", "matrix")),
    *(("one weight", {}), ("heat map", {}), ("strip", {})),
    *(("heat map", {"channels": 2}), ("heat map", {"channels": "strongest"})),
    ("colour", {"channels": 2}),
    ("colour", {"channels": "strongest"}),
    ("pattern", {"channels": 7}),
    ("deep slices", {"channels": 3}),
    ("slices", {"channels": 0}),
]


@pytest.mark.parametrize("delta", [False, True], ids=["weights", "delta"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "bool"])
@pytest.mark.parametrize(("kind", "look"), LOOKS, ids=str)
def test_cells_equal_the_renderers(
    tab, write_run, layer, rng, *, kind, look, dtype, delta, same_bits
):
    """Bit for bit, at every step and for some filters; as float32 where that is exact."""
    info = layer(kind)
    kernels = [(3 * rng.normal(size=info.kernel_shape)).astype(dtype) for _ in range(4)]
    run = write_run(info, kernels)
    view = view_of(info, look.get("channels"))
    exact = dtype in EXACT_IN_32_BITS and view.kind != "pattern" and not delta
    query = {"first": 0, "last": 3, "delta": int(delta), **look}
    for text, filters in ((f"0-{info.filters - 1}", None), ("0,2", [0, 2])):
        head, cells = tab.cells(filters=text, **query)
        assert head["type"] == ("float32" if exact else "float64")
        assert len(cells) == 4
        for step, got in enumerate(cells):
            expected = looked_at(run, step, filters=filters, delta=delta, **look)
            same_bits(got, np.ascontiguousarray(expected.astype(head["type"])))


@pytest.mark.parametrize("kind", ["grey", "colour", "pattern", "matrix", "slices"])
def test_noticeable_changes_are_the_renderers(tab, write_run, layer, rng, kind):
    """For each cell; only with ``delta``, and finite where a weight is not."""
    info = layer(kind)
    kernel = rng.normal(size=info.kernel_shape).astype(np.float32)
    kernel.flat[0] = np.nan
    run = write_run(info, [kernel, 2 * kernel])
    head, _ = tab.cells(filters=f"0-{info.filters - 1}", first=1, last=1, delta=1)
    expected = noticeable_change(to_cells(view_of(info), run.kernels("conv1", 0)))
    assert head["noticeable"] == expected.tolist()
    assert tab.cells(filters="0", first=1, last=1)[0]["noticeable"] is None


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", ">f4", ">f8"])
def test_other_dtypes_are_sent_without_loss(tab, write_run, layer, dtype):
    """The limits of each dtype arrive exactly."""
    info = layer("grey")
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    kernel = np.resize(np.array([limits.min, limits.max, 1], dtype), info.kernel_shape)
    write_run(info, [kernel])
    _, (got,) = tab.cells(filters="0-4", first=0, last=0)
    np.testing.assert_array_equal(got, info.canonical(kernel))


def test_non_finite_values_arrive(tab, write_run, layer, same_bits):
    """NaN with its bits, infinities and the sign of zero; their difference causes no warning."""
    info = layer("grey")
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    kernel = np.resize(odd, info.kernel_shape)
    run = write_run(info, [kernel, kernel])
    _, cells = tab.cells(filters="0-4", first=0, last=1)
    same_bits(cells[1], np.ascontiguousarray(run.kernels("conv1", 1)))
    _, cells = tab.cells(filters="0-4", first=0, last=1, delta=1)
    assert np.isnan(cells[1]).any()


def test_only_requested_steps_are_sent(make_run, tab):
    """Those between two numbers, at which there need not be snapshots."""
    make_run(steps=(0, 3, 7, 20))
    head, _ = tab.cells(filters="0", first=1, last=19)
    assert [moment["step"] for moment in head["moments"]] == [3, 7]
    assert tab.cells(filters="0", first=9, last=8)[0]["moments"] == []
    assert tab.cells(filters="0", first=21, last=999_999_999_999)[0]["next"] is None


def test_filters_keep_the_requested_order(run, tab, same_bits):
    """Cells come in the order of ``filters``."""
    _, cells = tab.cells(filters="3,0-1", first=0, last=0)
    same_bits(cells[0], np.ascontiguousarray(run.kernels("conv1", 0)[[3, 0, 1]]))


def test_many_snapshots_take_several_answers(make_run, tab, monkeypatch):
    """``next`` leads through all of them, each once; bytes and snapshots are limited."""
    run = make_run(steps=range(20))
    size = run.kernels("conv1", 0).nbytes
    for name, value, most in (("_MOST_BYTES", 3 * size, 3), ("_MOST_SNAPSHOTS", 6, 6)):
        monkeypatch.setattr(step_answers, name, value)
        first, got = 0, []
        while first is not None:
            head, cells = tab.cells(filters="0-3", first=first, last=18)
            assert 0 < len(cells) <= most
            got += [moment["step"] for moment in head["moments"]]
            first = head["next"]
        assert got == list(range(19))
        monkeypatch.undo()
        monkeypatch.setattr(logdir, "_FRESH", 0.0)


def test_a_snapshot_larger_than_the_limit_is_sent_alone(run, tab, monkeypatch):
    """An answer holds at least one snapshot."""
    monkeypatch.setattr(step_answers, "_MOST_BYTES", 1)
    head, cells = tab.cells(filters="0-3", first=0, last=2)
    assert (len(cells), head["next"]) == (1, 1)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_damaged_snapshot_is_reported_and_skipped(run, tab, bad):
    """With the reason; also if it is the first, from which a difference is taken."""
    run.file(bad).write_bytes(run.file(bad).read_bytes()[:-30])
    for delta in (0, 1):
        head, cells = tab.cells(filters="0-3", first=0, last=2, delta=delta)
        assert list(head["damaged"]) == [str(bad)]
        assert "damaged file" in head["damaged"][str(bad)]
        assert len(cells) == 2
        assert head["next"] is None
    others = [step for step in run.steps if step != bad]
    request = {"run": "run", "layer": "conv1"}
    assert tab.json("trajectory", **request, filter=0)["steps"] == others
    assert len(tab.json("order", **request, order="drift")["numbers"]) == 4
    tab.refused("label", {**request, "filter": 0, "step": bad}, "damaged")


def test_a_run_of_damaged_snapshots(run, tab):
    """Cells report each step; routes that need a snapshot answer 400."""
    for step in run.steps:
        run.file(step).write_bytes(b"nothing")
    head, cells = tab.cells(filters="0-3", first=0, last=2)
    assert sorted(head["damaged"]) == ["0", "1", "2"]
    assert (cells, head["type"], head["shape"]) == ([], None, None)
    request = {"run": "run", "layer": "conv1"}
    tab.refused(
        "cells", {**request, "filters": 0, "first": 0, "last": 2, "delta": 1}, "can be read"
    )
    tab.refused("order", {**request, "order": "drift"}, "can be read")
    tab.refused("trajectory", {**request, "filter": 0}, "can be read")
    tab.refused("animation", {**request, "ending": ".gif"}, "snapshots")


def test_a_snapshot_deleted_during_a_request(run, tab, monkeypatch):
    """It is reported like a damaged one."""
    whole = Run.snapshot

    def removed_first(self, step, layers=None):
        run.file(1).unlink(missing_ok=True)
        return whole(self, step, layers)

    monkeypatch.setattr(Run, "snapshot", removed_first)
    head, cells = tab.cells(filters="0", first=0, last=2)
    assert "no snapshot at step 1" in head["damaged"]["1"]
    assert len(cells) == 2


def test_a_run_without_snapshots(make_run, tab):
    """It has layers and no steps; routes that need a snapshot answer 400."""
    run = make_run(steps=())
    request = {"run": "run", "layer": "conv1"}
    assert tab.json("steps", run="run")["steps"] == []
    head, cells = tab.cells(filters="0", first=0, last=9)
    assert (head["moments"], head["damaged"], head["next"], cells) == ([], {}, None, [])
    for route, more in (
        ("cells", {"filters": 0, "first": 0, "last": 9, "delta": 1}),
        ("order", {"order": "stored"}),
        ("trajectory", {"filter": 0}),
        ("label", {"filter": 0, "step": 0}),
        ("animation", {"ending": ".gif"}),
    ):
        tab.refused(route, {**request, **more})
    shutil.rmtree(run.file(0).parent)  # as while it is deleted
    assert tab.json("steps", run="run")["steps"] == []
    tab.refused("trajectory", {**request, "filter": 0})


def test_a_change_of_dtype_starts_a_new_answer(tab, layer, tmp_path, rng):
    """Arrays of one answer have one dtype: 32 bits at first and 64 later take two answers."""
    info = layer("grey")
    run = Run.create(tmp_path / "run", [info])
    kernels = [rng.normal(size=info.kernel_shape).astype(t) for t in (np.float32, np.float64)]
    for step, kernel in enumerate(kernels):
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
    for step, kernel in enumerate(kernels):
        head, cells = tab.cells(filters="0-4", first=step, last=1)
        assert head["next"] == (1 if step == 0 else None)
        assert head["type"] == kernel.dtype.name
        np.testing.assert_array_equal(cells[0], info.canonical(kernel))


def test_gzip_only_if_the_client_accepts_it(run, tab):
    """Otherwise the message is sent uncompressed."""
    query = {"run": "run", "layer": "conv1", "filters": "0-3", "first": 0, "last": 2}
    plain = tab.ask("cells", query)
    packed = tab.ask("cells", query, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert int(plain.headers["Content-Length"]) == len(plain.data)
    assert tab.ask("cells", query, method="HEAD").data == b""


def test_a_large_matrix_is_cut(tab, write_run, conv_info, rng, same_bits):
    """To its first 256 input channels, and to 256 filters at a time."""
    info = conv_info("conv1", (1, 1, 300, 300), bias=False)
    run = write_run(info, [rng.normal(size=info.kernel_shape).astype(np.float32)])
    (described,) = tab.json("layers", run="run")["layers"]
    assert (described["kind"], described["page_size"], described["cut_channels"]) == (
        "matrix",
        256,
        256,
    )
    head, (cells,) = tab.cells(filters="44-299", first=0, last=0)
    assert head["shape"] == [1, 256, 256, 1]
    kernels = run.kernels("conv1", 0)[44:, 0, 0, :256]
    same_bits(cells[0, :, :, 0], np.ascontiguousarray(kernels.T))
    query = {"run": "run", "layer": "conv1", "first": 0, "last": 0}
    tab.refused("cells", {**query, "filters": "0-256"}, "expected 1 to 256")
    tab.refused("cells", {**query, "filters": "0", "channels": 3}, "matrix")


@pytest.mark.parametrize(
    ("shape", "page"),
    [((3, 3, 1, 100), 64), ((3, 3, 3, 2), 64), ((128, 128, 3, 2), 10), ((900, 900, 1, 2), 1)],
)
def test_the_page_size_depends_on_the_filter_size(conv_info, shape, page):
    """64 filters, or fewer large ones, but at least one."""
    assert payload.filters_per_page(conv_info("conv1", shape)) == page


def test_more_filters_than_a_page_are_refused(tab, write_run, conv_info):
    """A page of them is answered."""
    info = conv_info("conv1", (3, 3, 1, 70), bias=False)
    write_run(info, [np.ones(info.kernel_shape, np.float32)])
    query = {"run": "run", "layer": "conv1", "first": 0, "last": 0}
    tab.refused("cells", {**query, "filters": "0-64"}, "expected 1 to 64")
    assert tab.cells(filters="6-69", first=0, last=0)[0]["shape"] == [64, 3, 3, 1]
