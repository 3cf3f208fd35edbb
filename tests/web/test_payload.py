import gzip
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from filtertrack import FiltertrackError, Moment, Run, Snapshot
from filtertrack.render.cells import to_cells, view_of
from filtertrack.web import payload, step_answers
from filtertrack.web.payload import Part, cells_at, filters_per_page, pack


@pytest.fixture
def read():
    """Read all answers for a part: steps, arrays, damaged steps and the number of answers."""
    import gzip
    import json

    def answer(message):
        data = gzip.decompress(message)
        length = int.from_bytes(data[:4], "little")
        head, body = json.loads(data[4 : 4 + length]), data[4 + length :]
        count = len(head["moments"])
        if not count:
            return head, []
        size = np.dtype(head["type"]).itemsize
        planes = np.frombuffer(body, np.uint8).reshape(size, -1)
        words = np.ascontiguousarray(planes.T).view(f"<u{min(size, 4)}").reshape(count, -1)
        whole = np.add.accumulate(words, axis=0, dtype=words.dtype).view(f"<f{size}")
        return head, list(whole.reshape(count, *head["shape"]))

    def read(part, first=0, last=10**9):
        steps, arrays, damaged, answers = [], [], {}, 0
        while first is not None:
            message, whole = cells_at(part, first, last)
            head, came = answer(message)
            assert whole == (not head["damaged"])
            steps += [moment["step"] for moment in head["moments"]]
            arrays += came
            damaged |= head["damaged"]
            first, answers = head["next"], answers + 1
        return steps, arrays, damaged, answers

    return read


def part_of(run, filters=None, **options):
    info = next(iter(run.layers.values()))
    return Part(run, info, tuple(range(info.filters)) if filters is None else filters, **options)


SLICES = {"axes": (4, 1, 0, 2, 3), "shape": (5, 3, 8, 3)}


@pytest.mark.parametrize(
    ("kernel_shape", "channels"),
    [
        ((5, 4, 1, 6), None),
        ((5, 4, 3, 6), None),
        ((3, 3, 8, 6), None),
        ((1, 1, 8, 6), None),
        ((2, 3, 4, 3, 5), None),
        ((2, 3, 4, 3, 5), 1),
        ((5, 4, 3, 6), 2),
        ((5, 4, 3, 6), "strongest"),
    ],
    ids=str,
)
def test_cells_equal_the_renderers(make_run, conv_info, read, kernel_shape, channels):
    """Bit for bit, at every step, for each kind of layer."""
    changes = SLICES if len(kernel_shape) == 5 else {}
    run = make_run(conv_info(kernel_shape=kernel_shape, **changes))
    view = view_of(run.layer("conv1"), channels)
    start = run.kernels("conv1", 0).astype(float)
    for delta in (False, True):
        steps, arrays, damaged, _ = read(part_of(run, channels=channels, delta=delta))
        assert (steps, damaged) == (run.steps, {})
        for step, array in zip(steps, arrays, strict=True):
            kernels = run.kernels("conv1", step)
            expected = to_cells(view, kernels - start if delta else kernels)
            np.testing.assert_array_equal(array, expected)


def test_a_constant_pattern_is_sent_without_rounding(tmp_path, conv_info, read):
    """The page maps the range from the lowest to the highest value to colours."""
    info = conv_info(kernel_shape=(5, 5, 16, 4), bias=False)
    run = Run.create(tmp_path, [info])
    kernel = np.broadcast_to(np.linspace(-1, 2, 16, dtype=np.float32)[:, None], (5, 5, 16, 4))
    run.append(Snapshot(Moment(0, 0), {info.kernel: kernel.copy()}))
    _, (cells,), _, _ = read(part_of(run))
    assert (cells == cells[:, :1, :1]).all()


@pytest.mark.parametrize(
    ("dtype", "sent"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("int8", "float32")],
)
def test_values_are_sent_without_loss(make_run, conv_info, read, dtype, sent):
    """As float32 where that is exact."""
    run = make_run(conv_info(bias=False), dtype=dtype)
    _, arrays, _, _ = read(part_of(run))
    for step, array in zip(run.steps, arrays, strict=True):
        assert array.dtype == sent
        np.testing.assert_array_equal(array, run.kernels("conv1", step).astype(float))


def test_selected_filters_are_sent_in_order(make_run, conv_info, read):
    """In the given order; of a matrix they are columns."""
    run = make_run(conv_info(kernel_shape=(3, 3, 3, 8)))
    _, arrays, _, _ = read(part_of(run, (1, 5, 6)))
    np.testing.assert_array_equal(arrays[0], run.kernels("conv1", 0)[[1, 5, 6]])
    matrix = make_run(conv_info(kernel_shape=(1, 1, 4, 8)), folder="matrix")
    _, arrays, _, _ = read(part_of(matrix, (2, 7)))
    expected = matrix.kernels("conv1", 0)[[2, 7]].reshape(2, 4).T
    np.testing.assert_array_equal(arrays[0][0, :, :, 0], expected)


def test_an_answer_copies_only_the_selected_filters(make_run, conv_info):
    """Memory stays below 3.5 times the layer, also with ``delta``."""
    run = make_run(conv_info(kernel_shape=(3, 3, 512, 512), bias=False))
    size = 3 * 3 * 512 * 512 * 4
    for part in (part_of(run, range(8), delta=True), part_of(run, range(64), channels=3)):
        tracemalloc.start()
        cells_at(part, 0, 9)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 3.5 * size


def test_a_long_run_takes_several_answers(make_run, conv_info, read, monkeypatch):
    """Each within its limits; no snapshot is missing or sent twice."""
    run = make_run(conv_info(), steps=range(40))
    each = run.kernels("conv1", 0).nbytes
    monkeypatch.setattr(step_answers, "_MOST_BYTES", 7 * each)
    steps, arrays, _, answers = read(part_of(run), 3, 37)
    assert steps == list(range(3, 38))
    assert len(arrays) == 35
    assert answers == 5
    monkeypatch.setattr(step_answers, "_MOST_BYTES", each // 2)  # at least one each
    assert read(part_of(run), 0, 3)[3] == 4
    monkeypatch.setattr(step_answers, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(step_answers, "_MOST_SNAPSHOTS", 16)
    assert read(part_of(run))[3] == 3
    monkeypatch.setattr(step_answers, "_MOST_READ", 10 * each)  # of a large layer, little is sent
    assert read(part_of(run))[3] == 4


def test_damaged_snapshots_are_reported_and_skipped(make_run, conv_info, read):
    """With the reason; ``delta`` is from the first readable one."""
    run = make_run(conv_info(), steps=range(5))
    for step in (0, 3):
        file = run.file(step)
        data = bytearray(file.read_bytes())
        data[200] ^= 255
        file.write_bytes(data)
    steps, _, damaged, _ = read(part_of(run))
    assert steps == [1, 2, 4]
    assert set(damaged) == {"0", "3"}
    assert "damaged file" in damaged["3"]
    _, arrays, _, _ = read(part_of(run, delta=True))
    assert not arrays[0].any()


def test_a_run_without_snapshots(make_run, conv_info, read):
    """The answer is empty; ``delta`` raises an error."""
    run = make_run(conv_info(), steps=())
    assert read(part_of(run)) == ([], [], {}, 1)
    with pytest.raises(FiltertrackError, match="no snapshot"):
        read(part_of(run, delta=True))


def test_non_finite_metrics_are_left_out(tmp_path, conv_info):
    """JSON cannot hold them."""
    info = conv_info(bias=False)
    run = Run.create(tmp_path / "run", [info])
    metrics = {"loss": float("nan"), "a": float("inf"), "<b>": 0.5}
    run.append(Snapshot(Moment(0, 0, 0, metrics), {info.kernel: np.zeros(info.kernel_shape)}))
    assert payload._summarise(run.moment(0))["metrics"] == {"<b>": 0.5}
    cells_at(part_of(run), 0, 0)


def test_a_moment_is_described_as_in_a_caption():
    """The page has no texts of its own for it."""
    moment = Moment(4, 3, epochs=9, epoch_batch=0, note="averaged")
    described = payload._summarise(moment)
    assert described["when"] == "epoch 3 of 9 (averaged)"
    assert described["note"] == "averaged"
    assert payload._summarise(Moment(300, 0))["when"] == "step 300"


def test_metrics_are_limited():
    """Further ones are left out and long names cut, so that the head stays small."""
    moment = Moment(0, 0, 0, {f"{number} {'x' * 500}": 1.0 for number in range(50)})
    metrics = payload._summarise(moment)["metrics"]
    assert len(metrics) == 16
    assert max(map(len, metrics)) == 80


@pytest.mark.parametrize("filters", [(), (0, 0), (4,), (-1,), tuple(range(65))])
def test_invalid_filters_raise_an_error(make_run, conv_info, filters):
    """None, a repeated one, an unknown one, more than a page."""
    with pytest.raises(FiltertrackError, match="filters: "):
        part_of(make_run(conv_info()), filters)


def test_large_layers_are_cut(make_run, conv_info, read):
    """To a page of filters; a matrix also to its first channels."""
    assert filters_per_page(conv_info(kernel_shape=(3, 3, 512, 512))) == 64
    assert filters_per_page(conv_info(kernel_shape=(300, 300, 3, 8))) == 1
    assert filters_per_page(conv_info(kernel_shape=(128, 128, 1, 64))) == 32
    run = make_run(conv_info(kernel_shape=(1, 1, 300, 270)), steps=(0,))
    _, arrays, _, _ = read(part_of(run, tuple(range(10, 266))))
    whole = run.kernels("conv1", 0).reshape(270, 300).T
    np.testing.assert_array_equal(arrays[0][0, :, :, 0], whole[:256, 10:266])


def unpacked(message):
    """Read a message as the module describes it, with numpy."""
    data = gzip.decompress(message)
    length = int.from_bytes(data[:4], "little")
    head, body = json.loads(data[4 : 4 + length]), data[4 + length :]
    if not body:
        return head, []
    size = np.dtype(head["type"]).itemsize
    planes = np.frombuffer(body, np.uint8).reshape(size, -1)
    words = np.ascontiguousarray(planes.T).view(f"<u{min(size, 4)}").reshape(head["count"], -1)
    dtype = np.dtype(head["type"]).newbyteorder("<")
    whole = np.add.accumulate(words, axis=0, dtype=words.dtype).view(dtype)
    return head, list(whole.reshape(head["count"], *head["shape"]))


@given(st.data(), st.sampled_from([np.float32, np.float64, np.uint8, np.int8]), st.integers(1, 4))
def test_arrays_are_unpacked_bit_for_bit(data, dtype, count):
    """Signs of zero, NaN with its bits and infinities, read as the module describes."""
    shape = data.draw(array_shapes(max_dims=4, max_side=4))
    bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
    sent = [data.draw(arrays(bits, shape)).view(dtype) for _ in range(count)]
    head = {"type": np.dtype(dtype).name, "shape": shape, "count": count}
    got, came = unpacked(pack(head, sent))
    assert got == json.loads(json.dumps(head))
    for one, other in zip(sent, came, strict=True):
        np.testing.assert_array_equal(one.view(bits), other.view(bits))


def test_a_message_without_arrays():
    """Such as one of damaged snapshots only."""
    assert unpacked(pack({"damaged": {"3": "why"}}, [])) == ({"damaged": {"3": "why"}}, [])


def test_equal_snapshots_compress_to_one(rng):
    """All but the first become zeros."""
    still = rng.normal(size=(16, 5, 5, 3)).astype(np.float32)
    message = pack({"type": "float32", "shape": still.shape, "count": 32}, [still] * 32)
    assert len(message) < 1.2 * still.nbytes


def test_changing_weights_are_smaller_than_raw(rng):
    """With changes of a hundredth of a weight a step."""
    first = rng.normal(size=(16, 5, 5, 3))
    steps = [first + 0.01 * rng.normal(size=first.shape) for _ in range(16)]
    arrays = [step.astype(np.float32) for step in steps]
    message = pack({}, arrays)
    assert len(message) < 0.9 * sum(array.nbytes for array in arrays)


def test_nan_in_a_head_raises_an_error():
    """Browsers would refuse it."""
    with pytest.raises(ValueError, match="JSON"):
        pack({"loss": float("nan")}, [])
