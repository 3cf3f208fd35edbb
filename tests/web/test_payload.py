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
from filtertrack.web import payload
from filtertrack.web.payload import Part, cells_at, filters_per_page, pack


@pytest.fixture
def read():
    """Read all cells of a part, answer after answer: steps, arrays, damaged ones, answers."""
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
        words = np.ascontiguousarray(planes.T).view(f"<u{size}").reshape(count, -1)
        whole = np.bitwise_xor.accumulate(words, axis=0).view(f"<f{size}")
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
def test_what_is_sent_is_what_is_drawn(make_run, conv_info, read, kernel_shape, channels):
    """Bit for bit, at every step, however a layer is looked at."""
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
    """The page stretches from the lowest value to the highest."""
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
    """In four bytes where that is enough."""
    run = make_run(conv_info(bias=False), dtype=dtype)
    _, arrays, _, _ = read(part_of(run))
    for step, array in zip(run.steps, arrays, strict=True):
        assert array.dtype == sent
        np.testing.assert_array_equal(array, run.kernels("conv1", step).astype(float))


def test_some_filters_alone(make_run, conv_info, read):
    """In the order asked for; of a matrix they are columns."""
    run = make_run(conv_info(kernel_shape=(3, 3, 3, 8)))
    _, arrays, _, _ = read(part_of(run, (1, 5, 6)))
    np.testing.assert_array_equal(arrays[0], run.kernels("conv1", 0)[[1, 5, 6]])
    matrix = make_run(conv_info(kernel_shape=(1, 1, 4, 8)), folder="matrix")
    _, arrays, _, _ = read(part_of(matrix, (2, 7)))
    expected = matrix.kernels("conv1", 0)[[2, 7]].reshape(2, 4).T
    np.testing.assert_array_equal(arrays[0][0, :, :, 0], expected)


def test_one_answer_takes_little_beside_a_snapshot(make_run, conv_info):
    """Whatever is asked for of a large layer, a difference too: only that is copied."""
    run = make_run(conv_info(kernel_shape=(3, 3, 512, 512), bias=False))
    size = 3 * 3 * 512 * 512 * 4
    for part in (part_of(run, range(8), delta=True), part_of(run, range(64), channels=3)):
        tracemalloc.start()
        cells_at(part, 0, 9)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 3.5 * size


def test_a_long_history_comes_in_several_answers(make_run, conv_info, read, monkeypatch):
    """Each within its bytes; nothing is missing, nothing comes twice."""
    run = make_run(conv_info(), steps=range(40))
    each = run.kernels("conv1", 0).nbytes
    monkeypatch.setattr(payload, "_MOST_BYTES", 7 * each)
    steps, arrays, _, answers = read(part_of(run), 3, 37)
    assert steps == list(range(3, 38))
    assert len(arrays) == 35
    assert answers == 5
    monkeypatch.setattr(payload, "_MOST_BYTES", each // 2)  # at least one each
    assert read(part_of(run), 0, 3)[3] == 4
    monkeypatch.setattr(payload, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(payload, "_MOST_SNAPSHOTS", 16)
    assert read(part_of(run))[3] == 3
    monkeypatch.setattr(payload, "_MOST_READ", 10 * each)  # of a large layer, little is sent
    assert read(part_of(run))[3] == 4


def test_damaged_ones_are_named_and_the_others_come(make_run, conv_info, read):
    """Each with its reason; delta counts from the first that can be read."""
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
    """Nothing comes, and that is no error."""
    run = make_run(conv_info(), steps=())
    assert read(part_of(run)) == ([], [], {}, 1)
    with pytest.raises(FiltertrackError, match="no snapshot"):
        read(part_of(run, delta=True))


def test_metrics_that_json_cannot_hold(tmp_path, conv_info):
    """Are left out; the others come."""
    info = conv_info(bias=False)
    run = Run.create(tmp_path / "run", [info])
    metrics = {"loss": float("nan"), "a": float("inf"), "<b>": 0.5}
    run.append(Snapshot(Moment(0, 0, 0, metrics), {info.kernel: np.zeros(info.kernel_shape)}))
    assert payload._summarise(run.moment(0))["metrics"] == {"<b>": 0.5}
    cells_at(part_of(run), 0, 0)


def test_a_moment_says_when_it_is_and_what_it_holds():
    """In the words of every caption, so that the page needs none of its own."""
    moment = Moment(4, 3, epochs=9, epoch_batch=0, note="averaged")
    described = payload._summarise(moment)
    assert described["when"] == "epoch 3 of 9 (averaged)"
    assert described["note"] == "averaged"
    assert payload._summarise(Moment(300, 0))["when"] == "step 300"


def test_metrics_beyond_what_can_be_shown():
    """Are left out, and long names are cut: so a head is as bounded as the weights."""
    moment = Moment(0, 0, 0, {f"{number} {'x' * 500}": 1.0 for number in range(50)})
    metrics = payload._summarise(moment)["metrics"]
    assert len(metrics) == 16
    assert max(map(len, metrics)) == 80


@pytest.mark.parametrize("filters", [(), (0, 0), (4,), (-1,), tuple(range(65))])
def test_filters_that_cannot_be_asked_for(make_run, conv_info, filters):
    """None, twice the same, not there, more than a page."""
    with pytest.raises(FiltertrackError, match="filters: "):
        part_of(make_run(conv_info()), filters)


def test_large_layers_are_cut(make_run, conv_info, read):
    """To a page of filters; of a matrix also to the first channels."""
    assert filters_per_page(conv_info(kernel_shape=(3, 3, 512, 512))) == 64
    assert filters_per_page(conv_info(kernel_shape=(300, 300, 3, 8))) == 1
    assert filters_per_page(conv_info(kernel_shape=(128, 128, 1, 64))) == 32
    run = make_run(conv_info(kernel_shape=(1, 1, 300, 270)), steps=(0,))
    _, arrays, _, _ = read(part_of(run, tuple(range(10, 266))))
    whole = run.kernels("conv1", 0).reshape(270, 300).T
    np.testing.assert_array_equal(arrays[0][0, :, :, 0], whole[:256, 10:266])


def unpacked(message):
    """Read a message as its description says, with numpy."""
    data = gzip.decompress(message)
    length = int.from_bytes(data[:4], "little")
    head, body = json.loads(data[4 : 4 + length]), data[4 + length :]
    if not body:
        return head, []
    size = np.dtype(head["type"]).itemsize
    planes = np.frombuffer(body, np.uint8).reshape(size, -1)
    words = np.ascontiguousarray(planes.T).view(f"<u{size}").reshape(head["count"], -1)
    whole = np.bitwise_xor.accumulate(words, axis=0).view(f"<f{size}")
    return head, list(whole.reshape(head["count"], *head["shape"]))


@given(st.data(), st.sampled_from([np.float32, np.float64]), st.integers(1, 4))
def test_every_bit_arrives(data, dtype, count):
    """Signs of zero, NaN with their bits, infinities: the description is enough to read it."""
    shape = data.draw(array_shapes(max_dims=4, max_side=4))
    bits = np.uint32 if dtype is np.float32 else np.uint64
    sent = [data.draw(arrays(bits, shape)).view(dtype) for _ in range(count)]
    head = {"type": np.dtype(dtype).name, "shape": shape, "count": count}
    got, came = unpacked(pack(head, sent))
    assert got == json.loads(json.dumps(head))
    for one, other in zip(sent, came, strict=True):
        np.testing.assert_array_equal(one.view(bits), other.view(bits))


def test_nothing_but_a_head():
    """Where every snapshot asked for is damaged."""
    assert unpacked(pack({"damaged": {"3": "why"}}, [])) == ({"damaged": {"3": "why"}}, [])


def test_a_layer_that_rests_takes_next_to_nothing(rng):
    """Snapshots that are alike are zeros after the first one."""
    still = rng.normal(size=(16, 5, 5, 3)).astype(np.float32)
    message = pack({"type": "float32", "shape": still.shape, "count": 32}, [still] * 32)
    assert len(message) < 1.2 * still.nbytes


def test_weights_that_move_take_less_than_raw(rng):
    """As training moves them: by a hundredth."""
    first = rng.normal(size=(16, 5, 5, 3))
    steps = [first + 0.01 * rng.normal(size=first.shape) for _ in range(16)]
    arrays = [step.astype(np.float32) for step in steps]
    message = pack({}, arrays)
    assert len(message) < 0.9 * sum(array.nbytes for array in arrays)


def test_a_head_is_json_everywhere():
    """What JSON does not know is refused here, not in the browser."""
    with pytest.raises(ValueError, match="JSON"):
        pack({"loss": float("nan")}, [])
