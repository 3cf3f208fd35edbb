import json
import os
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from filtertrack import FiltertrackError
from filtertrack.capture.checkpoints.file_formats import open_checkpoint

KERNEL = {"dtype": "F32", "shape": [1, 1, 2, 2], "data_offsets": [0, 16]}


def file_of(header, data=bytes(16), length=None):
    """Return the bytes of a file with any header, and any claimed length of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    return size.to_bytes(8, "little") + text + data


def kernel(**changes):
    """Return a header of one kernel with some fields replaced."""
    return {"conv.weight": {**KERNEL, **changes}}


HOSTILE = {
    "an empty file": (b"", "it is empty"),
    "only a length": (b"\x10", "claims a header"),
    "a header of 2**64 - 1 bytes": (file_of({}, length=(1 << 64) - 1), "claims a header"),
    "a header longer than the file": (file_of(kernel(), length=500), "claims a header"),
    "a header cut off": (file_of(kernel(), length=20), "not valid JSON"),
    "a list as header": (file_of([]), "does not begin"),
    "spaces first": (file_of(b"  " + json.dumps(kernel()).encode()), "does not begin"),
    "text as header": (file_of(b"{this is no JSON"), "not valid JSON"),
    "a header that is not UTF-8": (file_of(b'{"\xff\xfe": 1}'), "not valid JSON"),
    "deep lists": (file_of(b'{"a": ' + b"[" * 1_000_000), "not valid JSON|expected dtype"),
    "deep dicts": (file_of(b'{"a":' * 1_000_000), "not valid JSON|expected dtype"),
    "a number of many digits": (file_of(b'{"a": ' + b"9" * 1_000_000 + b"}"), "header|digits"),
    "a number that is not finite": (file_of(b'{"a": NaN}'), "NaN"),
    "the same name twice": (
        file_of(b'{"conv.weight":%b,"conv.weight":%b}' % (2 * (json.dumps(KERNEL).encode(),))),
        "twice",
    ),
    "the same field twice": (
        file_of(b'{"c":{"dtype":"F32","dtype":"F64","shape":[],"data_offsets":[0,0]}}'),
        "twice",
    ),
    "a number as metadata": (file_of({"__metadata__": {"format": 3}, **kernel()}), "metadata"),
    "a list as metadata": (file_of({"__metadata__": [], **kernel()}), "metadata"),
    "a text as array": (file_of({"conv.weight": "F32"}), "expected dtype"),
    "a field more": (file_of(kernel(more=1)), "expected dtype"),
    "an unknown type": (file_of(kernel(dtype="F33")), "'F33' is not known"),
    "a list as type": (file_of(kernel(dtype=["F32"])), "is not known"),
    "a type of another size": (file_of(kernel(dtype="F64")), "does not take 16 bytes"),
    "a negative size": (file_of(kernel(shape=[-1, -1, 2, 2])), "from 0 on"),
    "a size that is a truth value": (file_of(kernel(shape=[True, 1, 2, 2])), "from 0 on"),
    "a size with a fraction": (file_of(kernel(shape=[1.0, 1, 2, 2])), "from 0 on"),
    "a text as shape": (file_of(kernel(shape="1122")), "from 0 on"),
    "a huge shape": (file_of(kernel(shape=[1 << 62, 1 << 62, 2, 2])), "too large"),
    "a shape that overflows 64 bits to 4": (
        file_of(kernel(shape=[1 << 32, 1 << 32, 1, 1])),
        "does not take",
    ),
    "a huge shape without elements": (
        file_of(kernel(shape=[0, 1 << 61, 2, 2], data_offsets=[0, 0]), b""),
        "no kernel",
    ),
    "a shape of many axes": (file_of(kernel(shape=[1] * 100_000)), "too large"),
    "offsets outside": (file_of(kernel(data_offsets=[16, 32])), "begins at 16"),
    "an end outside": (file_of(kernel(shape=[1, 1, 4, 4], data_offsets=[0, 64])), "holds 16"),
    "offsets in reverse": (file_of(kernel(data_offsets=[16, 0])), "in order"),
    "three offsets": (file_of(kernel(data_offsets=[0, 16, 16])), "two offsets"),
    "bytes after the arrays": (file_of(kernel(), bytes(17)), "holds 17"),
    "a hole": (
        file_of({"a": KERNEL, "b": {**KERNEL, "data_offsets": [20, 36]}}, bytes(36)),
        "begins at 20",
    ),
    "two arrays at one place": (
        file_of({"a": KERNEL, "b": {**KERNEL, "data_offsets": [8, 24]}}, bytes(24)),
        "begins at 8",
    ),
    "two arrays at the same place": (file_of({"a": KERNEL, "b": KERNEL}), "begins at 0"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_breaks_the_format_is_refused(tmp_path, case):
    """With one sentence that names the file and the fault."""
    content, reason = HOSTILE[case]
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    with pytest.raises(FiltertrackError, match=reason) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_valid_file_of_the_same_parts_is_read(tmp_path):
    """The faults above are the only reason for the errors."""
    path = tmp_path / "valid.safetensors"
    path.write_bytes(file_of({"__metadata__": {"format": "pt"}, **kernel()}))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read()["conv/weight"].shape == (1, 1, 2, 2)


def test_hostile_files_take_bounded_memory(tmp_path):
    """All of them, and a header of 15 MB of empty lists, in a process limited to 2 GB."""
    for number, (content, _) in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}.safetensors").write_bytes(content)
    lists = b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"
    (tmp_path / "lists.safetensors").write_bytes(file_of(lists))
    program = f"""
        import resource, time
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        from pathlib import Path
        from filtertrack import FiltertrackError
        from filtertrack.capture.checkpoints.file_formats import open_checkpoint
        for path in sorted(Path({str(tmp_path)!r}).iterdir()):
            try:
                open_checkpoint(path).close()
            except FiltertrackError:
                pass
            else:
                print("opened", path)
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.fixture(name="valid")
def valid_file(tmp_path, rng):
    """A file of two kernels and a bias, and its arrays by their names in a snapshot."""
    state = {
        "conv1.weight": rng.normal(size=(4, 3, 3, 3)).astype("float32"),
        "conv1.bias": rng.normal(size=4).astype("float32"),
        "conv2.weight": rng.normal(size=(2, 4, 3, 3)).astype("float16"),
    }
    path = tmp_path / "valid.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    return path


def outcome(path):
    """Return the kernels of a file, or None after an error of the package."""
    try:
        with open_checkpoint(path) as checkpoint:
            return checkpoint.read()
    except (FiltertrackError, OSError):
        return None


def test_files_with_flipped_bits_raise_no_other_error(valid):
    """1,000 files with up to eight flipped bits each, most of them in the header."""
    chance, content = random.Random(0), valid.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    expected = outcome(valid)
    refused = 0
    for _ in range(1000):
        flipped = bytearray(content)
        inside = header if chance.random() < 0.9 else len(content)
        for _ in range(chance.randint(1, 8)):
            flipped[chance.randrange(inside)] ^= 1 << chance.randrange(8)
        valid.write_bytes(flipped)
        found = outcome(valid)
        refused += found is None
        if found is not None and inside == header:
            for name, array in found.items():  # a name or a type may have changed
                assert array.nbytes in {each.nbytes for each in expected.values()}, name
    assert refused > 500


def test_a_file_cut_off_anywhere_is_refused(valid):
    """At each length."""
    content = valid.read_bytes()
    for length in range(len(content)):
        valid.write_bytes(content[:length])
        assert outcome(valid) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=JSON | st.dictionaries(st.text(), JSON), data=st.data())
def test_any_header_raises_no_other_error(tmp_path, header, data):
    """Any JSON, also as one field of a valid array."""
    path = tmp_path / "any.safetensors"
    path.write_bytes(file_of(header))
    outcome(path)
    field = data.draw(st.sampled_from(sorted(KERNEL)))
    path.write_bytes(file_of(kernel(**{field: header})))
    found = outcome(path)
    assert found is None or np.prod(found["conv/weight"].shape) == 4
