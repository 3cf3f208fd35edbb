import io
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from filtertrack import FiltertrackError
from filtertrack.storage import npz
from filtertrack.storage.local_files import LocalFile
from filtertrack.storage.npz import ArrayReader, write_arrays
from filtertrack.storage.paths import path_of
from filtertrack.storage.zip_format import entry_records, file_end

NAMES = st.from_regex(r"[A-Za-z0-9_.\-]{1,20}(/[A-Za-z0-9_.\-]{1,20}){0,3}", fullmatch=True)
ARRAYS = arrays(
    scalar_dtypes().filter(lambda dtype: dtype.kind in "fiub"),
    array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
)
MOST = 1 << 20
COUNTER = Path("/proc/self/io")


@pytest.fixture
def save(tmp_path):
    """Write a file, with this package or numpy; return its path."""

    def save(name, contents, write=write_arrays):
        """Write a file, with this package or numpy; return its path."""
        path = tmp_path / name
        with path.open("wb") as file:
            write(file, contents)
        return str(path)

    return save


def by_numpy(file, contents):
    np.savez(file, **contents)


def reader_for(path):
    return ArrayReader(path_of(Path(path).parent))


def read(reader, path, names, most=MOST):
    return reader.read(Path(path).name, dict.fromkeys(names, most))


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes()


@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=5))
def test_numpy_and_zipfile_read_written_files(contents):
    """Numbers of any type in any shape, bit for bit; all checksums are right."""
    file = io.BytesIO()
    write_arrays(file, contents)
    file.seek(0)
    with np.load(file) as loaded:
        same({name: loaded[name] for name in contents}, contents)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{name}.npy" for name in contents]


@pytest.mark.skipif(not shutil.which("unzip"), reason="needs unzip")
def test_unzip_accepts_written_files(save, rng):
    """It is a program independent of Python."""
    path = save("a.npz", {"conv1/kernel": rng.normal(size=(3, 3, 8)), "meta": np.array("{}")})
    command = [shutil.which("unzip"), "-t", path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_arrays_of_any_memory_layout_are_written(save, rng, order):
    """Transposed or strided: as their values."""
    array = rng.normal(size=(4, 5, 6))
    array = array[::2, :, ::-1] if order == "strided" else np.asarray(array, order=order)
    path = save("a.npz", {"a": array})
    same(read(reader_for(path), path, ["a"]), {"a": array})
    with np.load(path) as loaded:
        np.testing.assert_array_equal(loaded["a"], array)


@pytest.mark.parametrize("write", [write_arrays, by_numpy])
def test_the_index_of_a_similar_file_is_not_parsed_again(save, rng, monkeypatch, write):
    """Whichever program wrote the files."""
    first = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=7), "meta": np.array("short")}
    second = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=7), "meta": np.array("longer")}
    third = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=7), "meta": np.array("x")}
    paths = [save(str(n), each, write) for n, each in enumerate([first, second, third])]
    reader = reader_for(paths[0])
    same(read(reader, paths[0], ["b", "meta"]), {"b": first["b"], "meta": first["meta"]})
    monkeypatch.setattr(npz, "parse_index", None)
    for path, expected in zip(paths, [first, second, third], strict=True):
        found = read(reader, path, ["b", "meta"])
        same(found, {"b": expected["b"], "meta": expected["meta"]})


@pytest.mark.parametrize("write", [write_arrays, by_numpy])
@pytest.mark.parametrize(
    "other",
    [
        {"b": np.arange(3), "a": np.arange(4.0)},
        {"a": np.arange(4, dtype=np.int8)},
        {"longer": np.arange(9), "a": np.arange(40.0).reshape(5, 8)},
        {"a": np.asfortranarray(np.arange(4.0).reshape(2, 2))},
        {"a": np.array(1.0)},
        {"a": np.zeros((0, 3))},
    ],
    ids=["order", "type", "neighbours", "layout", "scalar", "empty"],
)
def test_a_file_with_another_index_is_read(save, write, other):
    """After a different file."""
    path = save("first", {"a": np.arange(4.0), "b": np.arange(3)}, write)
    reader = reader_for(path)
    read(reader, path, ["a", "b"])
    same(read(reader, save("other", other, write), ["a"]), {"a": other["a"]})
    same(read(reader, save("again", other, write), ["a"]), {"a": other["a"]})


@pytest.mark.parametrize("known", [False, True], ids=["by index", "in place"])
def test_arrays_are_aligned_and_writable(save, rng, known):
    """As numpy's own: some processors are slow without, others fail."""
    path = save("a.npz", {"odd name": rng.normal(size=5), "b": rng.normal(size=3)})
    reader = reader_for(path)
    for _ in range(1 + known):
        found = read(reader, path, ["odd name", "b"])
    for array in found.values():
        assert array.flags.aligned
        assert array.flags.writeable
        assert array.ctypes.data % 8 == 0


@pytest.mark.skipif(not COUNTER.exists(), reason="needs Linux's count of bytes read")
def test_only_the_array_and_the_index_are_read(save, rng):
    """Not the bytes of a hundred other arrays."""
    others = {f"other{n}": rng.normal(size=1000) for n in range(100)}
    wanted = rng.normal(size=50)
    paths = [save(str(n), {**others, "wanted": wanted, "meta": np.array("")}) for n in range(3)]
    with zipfile.ZipFile(paths[1]) as archive:
        index = Path(paths[1]).stat().st_size - archive.start_dir
    reader = reader_for(paths[0])
    read(reader, paths[0], ["wanted"])

    def bytes_read():
        return int(COUNTER.read_text().split()[1])

    idle = -bytes_read() + bytes_read()
    before = bytes_read()
    read(reader, paths[1], ["wanted"])
    assert bytes_read() - before - idle < wanted.nbytes + index + 300


def test_a_truncated_file_is_damage(save, rng):
    """At every length, also for a reader that has read the whole file."""
    path = save("a.npz", {"a": rng.normal(size=4), "b": rng.normal(size=9)})
    whole = Path(path).read_bytes()
    reader = reader_for(path)
    expected = read(reader, path, ["a"])
    for length in range(len(whole)):
        Path(path).write_bytes(whole[:length])
        with pytest.raises(FiltertrackError, match=path):
            read(reader, path, ["a"])
    Path(path).write_bytes(whole)
    same(read(reader, path, ["a"]), expected)


@pytest.mark.parametrize("warm", [False, True], ids=["by index", "in place"])
def test_a_flipped_bit_of_an_array_is_damage(save, rng, warm):
    """The message names the file."""
    path = save("a.npz", {"a": rng.normal(size=4)})
    expected = read(reader_for(path), path, ["a"])["a"]
    reader = reader_for(path)
    if warm:
        read(reader, path, ["a"])
    whole = Path(path).read_bytes()
    start = whole.index(expected.tobytes())
    for bit in range(8 * start, 8 * (start + expected.nbytes)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        Path(path).write_bytes(flipped)
        with pytest.raises(FiltertrackError, match=path):
            read(reader, path, ["a"])


@given(st.binary(max_size=300), st.integers(0, 400))
def test_overwritten_bytes_are_damage_or_harmless(content, at):
    """For a reader that has read the file before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        with path.open("wb") as file:
            write_arrays(file, {"a": np.arange(6.0), "b": np.arange(5)})
        reader, whole = reader_for(path), path.read_bytes()
        expected = read(reader, path, ["a", "b"])
        path.write_bytes(whole[:at] + content + whole[at + len(content) :])
        try:
            found = read(reader, path, ["a", "b"])
        except FiltertrackError as error:
            found, said = None, str(error)
        if found is None:
            assert str(path) in said
        else:
            same(found, expected)


def test_a_size_larger_than_the_file_is_damage(save):
    """No memory is allocated for it."""
    path = Path(save("a.npz", {"a": np.arange(4.0)}))
    data = path.read_bytes()
    at = data.rindex(b"PK\1\2") + 46 + len("a.npy") + 4 + 8  # of the entry, as it is stored
    path.write_bytes(data[:at] + (1 << 40).to_bytes(8, "little") + data[at + 8 :])
    with pytest.raises(FiltertrackError, match="claims"):
        read(reader_for(path), path, ["a"])


def test_names_outside_ascii_are_read(save):
    """By numpy as well."""
    path = save("a.npz", {"größe": np.arange(3)})
    reader = reader_for(path)
    for _ in range(2):
        same(read(reader, path, ["größe"]), {"größe": np.arange(3)})
    with np.load(path) as loaded:
        assert loaded.files == ["größe"]


def test_an_array_larger_than_allowed_is_an_error(save):
    """Also if the array of the last file was allowed to be larger."""
    path = save("a.npz", {"a": np.zeros(1000)})
    reader = reader_for(path)
    read(reader, path, ["a"], 9000)
    with pytest.raises(FiltertrackError, match="claims 8128 bytes"):
        read(reader, path, ["a"], 5000)


def make_ambiguous(path, new):
    """Change a file's index so that it refers to another entry than the expected one."""
    data = bytearray(Path(path).read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry, index = archive.getinfo("a.npy"), archive.start_dir
    end = entry.header_offset + 30 + 5 + 20 + entry.file_size
    stale = data[entry.header_offset : end]
    other = stale[:-32] + new.tobytes()
    other[14:18] = zlib.crc32(other[55:]).to_bytes(4, "little")
    record = bytearray(data[index:])
    record[16:20] = other[14:18]
    at = 46 + 5 + 4 + 16
    record[at : at + 8] = index.to_bytes(8, "little")
    for place in (-22 + 16, -22 - 20 - 8):  # where the index starts
        width = 4 if place == -6 else 8
        where = len(record) + place
        record[where : where + width] = (index + len(other)).to_bytes(width, "little")
    where = len(record) - 22 - 20 + 8  # where the 64-bit end starts
    place = index + len(other) + len(record) - 98
    record[where : where + 8] = place.to_bytes(8, "little")
    Path(path).write_bytes(data[:index] + other + record)


def test_the_index_determines_the_entry(save):
    """All readers and numpy read the same; ``check`` reports the file."""
    old, new = np.arange(4.0), np.arange(4.0) + 7
    path = save("a.npz", {"a": old, "b": np.arange(3)})
    reader = reader_for(path)
    same(read(reader, path, ["a"]), {"a": old})
    make_ambiguous(path, new)
    with np.load(path) as loaded:
        np.testing.assert_array_equal(loaded["a"], new)
    for each in (reader, reader_for(path)):
        same(read(each, path, ["a"]), {"a": new})
    with pytest.raises(FiltertrackError, match="its index does not name"):
        reader_for(path).check("a.npz", {"a": MOST})


def test_a_duplicate_name_is_damage(save):
    """Programs differ in which of the two they read."""
    path = save("a.npz", {"a": np.arange(4.0)})
    reader = reader_for(path)
    read(reader, path, ["a"])
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", archive.read("a.npy"))
    for each in (reader, reader_for(path)):
        with pytest.raises(FiltertrackError, match="twice"):
            read(each, path, ["a"])


def sparse(path, size):
    """Write a sparse file of one array of float64 zeros; return the entry's size."""
    head = npz._npy_head(np.dtype("f8"), (size,))
    whole = len(head) + 8 * size
    before, record = entry_records(b"a.npy", whole, 0, 0)
    with path.open("wb") as file:
        file.write(before + head)
        file.seek(8 * size, 1)
        file.write(record + file_end(1, len(record), file.tell()))
    return whole


@pytest.mark.parametrize("act", ["read", "check"])
def test_an_array_larger_than_memory_is_an_error(tmp_path, act):
    """Raised at once, before memory is allocated."""
    whole = sparse(tmp_path / "a.npz", 1 << 37)
    began = time.monotonic()
    with pytest.raises(FiltertrackError, match=r"takes? 1,099\.5 GB.*this machine"):
        getattr(ArrayReader(path_of(tmp_path)), act)("a.npz", {"a": whole})
    assert time.monotonic() - began < 1


def test_check_takes_constant_memory(tmp_path):
    """It reads an array of 200 MB in parts."""
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        write_arrays(file, {"a": np.zeros(25_000_000)})
    tracemalloc.start()
    head = reader_for(path).check(path.name, {"a": 1 << 28})["a"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (head.shape, head.dtype) == ((25_000_000,), np.float64)
    assert peak < 20e6


@pytest.mark.parametrize(
    "shape",
    ["(True,)", "(1, True)", "(9223372036854775808,)", "(0, 1180591620717411303424)", "(-1,)"],
)
def test_an_invalid_shape_is_damage(save, shape):
    """Numpy accepts a bool as a number, and fails later."""
    path = Path(save("a.npz", {"a": np.zeros(1, np.int8)}))
    head = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}, }}"
    npy = b"\x93NUMPY\1\0v\0" + head.encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy + b"\0")
    with pytest.raises(FiltertrackError, match="its head claims"):
        read(reader_for(path), path, ["a"])


def test_other_byte_orders_are_converted(save):
    """Not all of numpy supports them."""
    path = save("a.npz", {"a": np.arange(3, dtype=">f8"), "t": np.array("text", ">U4")})
    found = read(reader_for(path), path, ["a", "t"])
    assert found["a"].dtype == np.dtype("=f8")
    np.testing.assert_array_equal(found["a"], [0, 1, 2])
    assert str(found["t"]) == "text"


@pytest.mark.parametrize("act", ["read", "check"])
def test_short_reads_are_repeated(save, monkeypatch, act):
    """As a system call returns less than requested for more than 2 GB."""
    path, arrays = save("a", {"a": np.arange(1000.0), "b": np.arange(3)}), {}
    whole = LocalFile.readinto

    class Parts(LocalFile):
        def readinto(self, buffer):
            return whole(self, memoryview(buffer)[:7])

    monkeypatch.setattr("filtertrack.storage.local_files.LocalFile", Parts)
    for _ in range(2):
        arrays = getattr(reader_for(path), act)("a", {"a": 9000, "b": 900})
    assert arrays["a"].shape == (1000,)


@pytest.mark.slow
def test_a_file_larger_than_four_gigabytes(tmp_path):
    """Sizes and positions have 64 bits."""
    path = tmp_path / "large.npz"
    size = (1 << 32) + 5
    with path.open("wb") as file:
        write_arrays(file, {"large": np.zeros(size, np.uint8), "small": np.arange(7)})
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("large.npy").file_size > size
        assert archive.testzip() is None
    reader = reader_for(path)
    for _ in range(2):
        same(read(reader, path, ["small"]), {"small": np.arange(7)})
    assert read(reader, path, ["large"], size + 128)["large"].shape == (size,)


def test_the_same_arrays_make_the_same_file():
    """Files contain no date and no user name."""
    code = (
        "import sys, numpy as np; from filtertrack.storage.npz import write_arrays; "
        "write_arrays(sys.stdout.buffer, {'a': np.arange(3.0), 'meta': np.array('{}')})"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    file = io.BytesIO()
    write_arrays(file, {"a": np.arange(3.0), "meta": np.array("{}")})
    assert other.stdout == file.getvalue()


def test_check_accepts_arrays_too_large_to_read(tmp_path, save, monkeypatch):
    """It reads them in parts."""
    path = save("a", {"a": np.zeros(1 << 17), "b": np.zeros(1 << 17)})
    monkeypatch.setattr("filtertrack.storage.memory_limit._SMALL", 1)
    monkeypatch.setattr("filtertrack.storage.memory_limit.machine_memory", lambda: 2 << 20)
    sizes = {"a": 2 << 20, "b": 2 << 20}
    with pytest.raises(FiltertrackError, match="this machine's memory"):
        reader_for(path).read("a", sizes)
    assert reader_for(path).check("a", sizes)["a"].shape == (1 << 17,)
