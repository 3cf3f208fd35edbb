import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from filtertrack.web.wire import pack


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
