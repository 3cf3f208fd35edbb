import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FiltertrackError, LayerInfo, Moment, Snapshot
from filtertrack.snapshot import Preprocessing, describe, safe_names, total_bytes

SAFE = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(st.text() | st.sampled_from(["a", "A", "a/b", "a_2", "..", "/", "é"]), max_size=20))
def test_safe_names_are_safe_and_unique(paths):
    """Also without regard to case."""
    names = safe_names(paths)
    assert len(names) == len(paths)
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert SAFE.fullmatch(name)
        assert all(part.strip(".") for part in name.split("/"))
        assert len(name) < 140


@given(st.from_regex(r"[a-z][a-z0-9_]{0,20}(/[a-z][a-z0-9_]{0,20}){0,3}", fullmatch=True))
def test_safe_names_keep_safe_paths(path):
    """Such as the usual ones of Keras."""
    assert safe_names([path]) == [path]


@given(st.lists(st.text(max_size=200), max_size=6))
def test_safe_names_are_accepted_by_layer_info(paths):
    """For any path in Keras."""
    for name in safe_names(paths):
        LayerInfo(name, name, "C", f"{name}/kernel", None, (1,), (0,), (1, 1, 1, 1), "float32")


@pytest.mark.parametrize(
    ("kernel_shape", "axes", "shape", "one"),
    [
        ((3, 2, 4, 5), (3, 0, 1, 2), (5, 3, 2, 4), lambda k, f, y, x, c: k[y, x, c, f]),
        ((3, 2, 5, 4), (2, 0, 1, 3), (5, 3, 2, 4), lambda k, f, y, x, c: k[y, x, f, c]),
        ((3, 2, 5, 2), (2, 3, 0, 1), (10, 3, 2, 1), lambda k, f, y, x, c: k[y, x, f // 2, f % 2]),
        ((7, 4, 5), (2, 0, 1), (5, 1, 7, 4), lambda k, f, y, x, c: k[x, c, f]),
    ],
    ids=["convolution", "transposed", "depthwise", "along one axis"],
)
def test_canonical_puts_the_filter_first(kernel_shape, axes, shape, one):
    """Compared with plain indexing of the kernel in Keras."""
    info = LayerInfo("a", "a", "C", "a/kernel", None, kernel_shape, axes, shape, "float32")
    kernel = np.arange(np.prod(kernel_shape), dtype=np.float32).reshape(kernel_shape)
    ours = info.canonical(kernel)
    assert ours.shape == shape
    for place in np.ndindex(shape):
        assert ours[place] == one(kernel, *place)
    with pytest.raises(FiltertrackError, match="expected a kernel of shape"):
        info.canonical(kernel[..., :-1])


FLAT = {"kernel_shape": (9, 4), "axes": (1, 0), "shape": (4, 3, 3, 1), "image": (3, 3, 1)}
"""The fields of a Dense layer of 4 filters on flattened images of 3x3."""


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a/../b"},
        {"kernel": "/a"},
        {"kernel": "a\n"},
        {"axes": (0, 1, 2)},
        {"axes": (0, 1, 2, 2)},
        {"shape": (4, 3, 3, 2)},
        {"shape": (4, 9, 1)},
        {"kernel_shape": (3, 3, 1, -4)},
        {"strides": (True,)},
        {"dtype": 4},
        {"name": "a" * 256},
        {"path": "a" * 5000},
        {"kernel_shape": (2, 6), "axes": (0, 1), "shape": (3, 4, 1, 1)},
        {"kernel_shape": (3, 4, 1, 5), "shape": (5, 4, 3, 1)},
        {"kernel_shape": (2, 3, 3, 1, 4), "axes": (4, 0, 1, 2, 3), "shape": (4, 6, 3, 1)},
        {"kernel_shape": (3, 3, 2**20, 2**20), "shape": (2**20, 3, 3, 2**20)},
        {"kernel_shape": (0, 3, 1, 10**9), "shape": (10**9, 0, 3, 1)},
        {"kernel_shape": (0, 3, 1, 4), "shape": (0, 1, 1, 10**9)},
        {"kernel_shape": (1,) * 33, "axes": tuple(range(33)), "shape": (1, 1, 1, 1)},
        {"strides": (2**63,)},
        {"image": (3, 3, 1)},
        {"image": 9},
        {**FLAT, "image": (3, 3)},
        {**FLAT, "image": (3, 3, 2)},
        {**FLAT, "image": (1, 9, 1)},
        {**FLAT, "axes": (0, 1)},
        {**FLAT, "kernel_shape": (9, 5)},
        {**FLAT, "image": ()},
    ],
    ids=str,
)
def test_invalid_fields_of_a_layer_are_an_error(conv_info, change):
    """Raised when it is created."""
    with pytest.raises(FiltertrackError):
        conv_info(**change)


def test_layer_info_is_restored_from_json(conv_info):
    """Unknown fields are ignored."""
    info = conv_info()
    text = json.dumps({**info.to_dict(), "of_a_later_version": 1})
    assert LayerInfo.from_dict(json.loads(text)) == info


def test_a_flattened_image_is_restored_from_json(conv_info):
    """Without the field ``image``, as in an earlier version, it is one row of all inputs."""
    info = conv_info(**FLAT)
    values = json.loads(json.dumps(info.to_dict()))
    assert LayerInfo.from_dict(values) == LayerInfo.from_dict(info.to_dict()) == info
    del values["image"]
    assert LayerInfo.from_dict(values).shape == (4, 1, 9, 1)


def test_layers_without_images_are_written_as_by_earlier_versions(conv_info):
    """The field ``image`` is left out."""
    assert "image" not in conv_info().to_dict()


@given(
    st.dictionaries(st.sampled_from(list(LayerInfo.__dataclass_fields__)), JSON),
    st.sampled_from(list(LayerInfo.__dataclass_fields__)),
    JSON,
)
def test_any_json_raises_no_other_error(fields, name, value):
    """It is a layer, or a FiltertrackError."""
    valid = LayerInfo("a", "a", "C", "a/kernel", None, (1,), (0,), (1, 1, 1, 1), "float32")
    for values in (fields, {**valid.to_dict(), name: value}):
        try:
            info = LayerInfo.from_dict(values)
        except FiltertrackError:
            continue
        assert isinstance(info, LayerInfo)


@pytest.mark.parametrize(
    "bad",
    [
        {"step": -1},
        {"step": 1.0},
        {"epoch": True},
        {"batch": "3"},
        {"metrics": {"loss": "high"}},
        {"metrics": [1]},
        {"wall_time": None},
        {"wall_time": float("nan")},
        {"step": 10**12},
        {"epoch": 10**400},
        {"step": np.bool_(True)},
        {"step": np.float32(1)},
    ],
    ids=str,
)
def test_invalid_fields_of_a_moment_are_an_error(bad):
    """Counts are whole numbers from 0 on, metrics are numbers."""
    with pytest.raises(FiltertrackError):
        Moment(**{"step": 0, "epoch": 0, **bad})


def test_whole_numbers_of_numpy_are_converted():
    """As custom training loops use them."""
    moment = Moment(np.int64(5), np.uint8(0), np.int32(7))
    assert (moment.step, moment.epoch, moment.batch) == (5, 0, 7)
    assert {type(n) for n in (moment.step, moment.epoch, moment.batch)} == {int}


def test_the_size_of_metrics_is_bounded():
    """Their number and the length of their names."""
    moment = Moment(0, 0, metrics={f"{n}{'x' * 500_000}": n for n in range(3)})
    assert list(moment.metrics) == [f"{n}{'x' * 199}" for n in range(3)]
    assert len(Moment(0, 0, metrics=dict.fromkeys(map(str, range(40_000)), 1)).metrics) == 4096


def test_the_metrics_of_a_moment_are_frozen():
    """Keras changes its dictionary later."""
    logs = {"loss": np.float32(0.5)}
    moment = Moment(1, 1, metrics=logs)
    logs["loss"] = 9
    assert moment.metrics == {"loss": 0.5}
    with pytest.raises(TypeError):
        moment.metrics["loss"] = 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"step": 0, "epoch": 0}, "before training"),
        ({"step": 0, "epoch": 0, "batch": 0, "epoch_batch": 0, "epochs": 3}, "before training"),
        (
            {"step": 0, "epoch": 0, "note": "after earlier training"},
            "start (after earlier training)",
        ),
        ({"step": 9, "epoch": 2, "epoch_batch": 0, "epochs": 12}, "epoch 2 of 12"),
        ({"step": 9, "epoch": 2, "epoch_batch": 0}, "epoch 2"),
        ({"step": 9, "epoch": 2, "epoch_batch": 0, "epochs": 1}, "epoch 2"),
        (
            {"step": 9, "epoch": 0, "epoch_batch": 9, "epoch_batches": 153},
            "epoch 1, batch 9 of 153",
        ),
        ({"step": 9, "epoch": 0, "epoch_batch": 9, "epochs": 2}, "epoch 1 of 2, batch 9"),
        ({"step": 6, "epoch": 5, "epoch_batch": 0, "note": "averaged"}, "epoch 5 (averaged)"),
    ],
)
def test_describe_counts_epochs_as_keras(values, text):
    """The current epoch and its batch; unknown totals are omitted."""
    assert describe(Moment(**values)) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"step": 300, "epoch": 0}, "step 300"),
        ({"step": 300, "epoch": 2}, "epoch 2, step 300"),
        ({"step": 3, "epoch": 3}, "epoch 3"),
        ({"step": 300, "epoch": 0, "batch": 300}, "batch 300"),
        ({"step": 40, "epoch": 2, "batch": 40}, "epoch 2 · batch 40"),
    ],
)
def test_describe_of_a_custom_loop_or_an_older_run(values, text):
    """Finished epochs, and batches of the whole training."""
    assert describe(Moment(**values)) == text


@pytest.mark.parametrize(
    ("values", "epochs"),
    [
        ({"step": 3, "epoch": 3}, True),
        ({"step": 30, "epoch": 3, "batch": 30}, False),
        ({"step": 4, "epoch": 3, "batch": 30, "epoch_batch": 0}, True),
        ({"step": 31, "epoch": 3, "batch": 30, "epoch_batch": 0}, False),
        ({"step": 4, "epoch": 3, "epoch_batch": 0}, True),
        ({"step": 31, "epoch": 3, "batch": 30, "epoch_batch": 1}, False),
        ({"step": 300, "epoch": 0}, False),
    ],
)
def test_counts_epochs(values, epochs):
    """Also if steps are larger than epochs, as after restored weights."""
    assert Moment(**values).counts_epochs is epochs


def test_fields_of_a_moment_can_be_stored_as_json():
    """Also numbers of numpy."""
    moment = Moment(np.int64(5), np.uint8(1), np.int32(5), epochs=np.int16(9))
    values = (moment.step, moment.epoch, moment.batch, moment.epochs)
    assert values == (5, 1, 5, 9)
    assert {type(value) for value in values} == {int}


@pytest.mark.parametrize("note", [3, None, "x" * 101])
def test_an_invalid_note_is_an_error(note):
    """It is a short text."""
    with pytest.raises(FiltertrackError, match="note"):
        Moment(0, 0, note=note)


def test_control_characters_of_a_note_are_replaced():
    """It is shown in terminals and pages."""
    assert Moment(1, 1, note="a\x1b[0mb").note == "a?[0mb"


def test_total_bytes(conv_info):
    """The size of the stored kernels, by their types."""
    sizes = {"float16": 2, "bfloat16": 4, "float32": 4, "float64": 8, "int8": 1}
    for dtype, size in sizes.items():
        assert total_bytes([conv_info(dtype=dtype)] * 2) == 2 * 36 * size


def test_preprocessing_survives_the_manifest(conv_info):
    """Unknown fields of a step are ignored."""
    steps = (Preprocessing((0.5,), (1.0, 2.0, 3.0)), Preprocessing(pads=((1, 2), (0, 3))))
    info = replace(conv_info(), preprocessing=steps, padding="same", groups=2, activation="relu")
    values = json.loads(json.dumps(info.to_dict()))
    values["preprocessing"][0]["later"] = 1
    assert LayerInfo.from_dict(values) == info
    assert LayerInfo.from_dict(conv_info().to_dict()).preprocessing is None


@pytest.mark.parametrize(
    "steps",
    [
        3,
        "pads",
        [1],
        [{"scale": []}],
        [{"scale": [float("inf")]}],
        [{"offset": ["a"]}],
        [{"scale": 2.0}],
        [{"scale": [1.0] * 5000}],
        [{"pads": [[1, 2]] * 4}],
        [{"pads": [[-1, 2]]}],
        [{"pads": [[1, 1 << 40]]}],
        [{"pads": [[1, 2, 3]]}],
        [{}] * 100,
    ],
    ids=[f"{n}" for n in range(13)],
)
def test_invalid_preprocessing_is_an_error(conv_info, steps):
    with pytest.raises(FiltertrackError):
        LayerInfo.from_dict({**conv_info().to_dict(), "preprocessing": steps})


def test_the_representation_of_a_snapshot_is_short():
    """Without the values of its arrays, which fill a notebook."""
    arrays = {"conv1/kernel": np.zeros((100, 100))}
    assert repr(Snapshot(Moment(0, 0), arrays)) == "Snapshot(before training: 1 array)"


def test_a_snapshot_is_a_table_in_a_notebook(run):
    """Of the moment, the metrics, and the arrays with their shapes; texts are inserted as text."""
    snapshot = run.snapshot(2)
    html = snapshot._repr_html_()
    assert "<p>step 2: epoch 2" in html
    assert "loss 0.5" in html
    assert "<td>conv1/kernel</td><td>3×3×1×4</td><td>float32</td>" in html
    noted = replace(snapshot, moment=replace(snapshot.moment, note="<b>"))
    assert "<b>" not in noted._repr_html_()
