import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.storage import prefetch
from filtertrack.storage.prefetch import Prefetcher


class Files:
    """Snapshots that record their reads."""

    def __init__(self, count, stamps=None, pause=0.0):
        self.stamps = stamps or dict.fromkeys(range(count), 1)
        self.pause = pause
        self.reads = []
        self._lock = threading.Lock()

    def read(self, step, members):
        """Return arrays that contain their step and stamp."""
        with self._lock:
            self.reads.append((step, tuple(members)))
        time.sleep(self.pause)
        stamp = self.stamps[step]
        return {name: np.array([step, stamp]) for name in members}, stamp

    def reader(self):
        """Return a prefetcher of them."""
        return Prefetcher(self.read, lambda: self.stamps)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "ab"])), max_size=30))
def test_the_result_does_not_depend_on_the_order_of_reads(asked):
    """Of any arrays."""
    files = Files(10)
    reader = files.reader()
    for step, names in asked:
        found = reader.read(step, dict.fromkeys(names, 16))
        assert {name: array.tolist() for name, array in found.items()} == {
            name: [step, 1] for name in names
        }


@pytest.mark.parametrize("stride", [1, 3])
def test_sequential_steps_are_prefetched(stride):
    """In parallel, each once."""
    files = Files(60, pause=0.02)
    reader, began = files.reader(), time.monotonic()
    steps = range(0, 60, stride)
    for step in steps:
        reader.read(step, {"a": 16})
    assert time.monotonic() - began < 0.02 * len(steps) / 3 + 0.2
    assert sorted(files.reads) == [(step, ("a",)) for step in steps]


def test_arrays_are_cached_until_their_file_is_replaced():
    """A second pass reads nothing."""
    files = Files(5)
    reader = files.reader()
    for _ in range(3):
        for step in range(5):
            reader.read(step, {"a": 16})
    assert len(files.reads) == 5
    files.stamps = {**files.stamps, 3: 2}
    assert reader.read(3, {"a": 16})["a"].tolist() == [3, 2]


def test_callers_cannot_change_the_cache():
    """They get copies."""
    reader = Files(2).reader()
    reader.read(0, {"a": 16})["a"][:] = 9
    reader.read(0, {"a": 16})["a"][:] = 9
    assert reader.read(0, {"a": 16})["a"].tolist() == [0, 1]


def test_the_cache_is_bounded(monkeypatch):
    """The least recently used arrays are removed, and larger ones are not cached."""
    monkeypatch.setattr(prefetch, "_CACHE_BYTES", 64)  # four arrays
    files = Files(10)
    reader = files.reader()
    for step in (9, 7, 5, 3, 1, 9):
        reader.read(step, {"a": 16})
    assert [step for step, _ in files.reads] == [9, 7, 5, 3, 1, 9]
    reader.read(1, {"a": 16})
    assert len(files.reads) == 6


def test_prefetched_bytes_are_bounded(monkeypatch):
    """Large snapshots are prefetched one at a time."""
    monkeypatch.setattr(prefetch, "_PREFETCH_BYTES", 100)
    files = Files(10)
    reader = files.reader()
    reader.read(0, {"a": 90})
    reader.read(1, {"a": 90})
    time.sleep(0.1)
    assert sorted(step for step, _ in files.reads) == [0, 1, 2]


@pytest.fixture
def failing():
    """Steps that cannot be read at the moment."""
    return set()


@pytest.fixture
def unsteady(failing):
    """A prefetcher of five snapshots, of which some cannot be read at the moment."""
    files = Files(5)

    def read(step, members):
        if step in failing:
            raise OSError("no")
        return files.read(step, members)

    return Prefetcher(read, lambda: files.stamps)


def test_an_error_of_a_prefetch_is_raised_by_the_read(unsteady, failing):
    """Of that step, which can be read again."""
    failing.add(2)
    for step in (0, 1):
        unsteady.read(step, {"a": 16})
    with pytest.raises(OSError, match="no"):
        unsteady.read(2, {"a": 16})
    failing.clear()
    assert unsteady.read(2, {"a": 16})["a"].tolist() == [2, 1]


def test_a_failed_prefetch_is_repeated_by_the_read(unsteady, failing):
    """So a connection that was lost for a moment is not noticed."""
    failing.update((2, 3, 4))
    for step in (0, 1):
        unsteady.read(step, {"a": 16})
    time.sleep(0.1)
    failing.clear()
    for step in (2, 3, 4):
        assert unsteady.read(step, {"a": 16})["a"].tolist() == [step, 1]


def test_a_prefetch_of_a_replaced_file_is_not_used():
    """The file is read again."""
    files = Files(5)
    reader = files.reader()
    for step in (0, 1):
        reader.read(step, {"a": 16})
    time.sleep(0.1)
    files.stamps = {**files.stamps, 2: 2}
    for _ in range(2):
        assert reader.read(2, {"a": 16})["a"].tolist() == [2, 2]


def test_arrays_of_two_versions_of_a_file_are_not_mixed():
    """Also if the file was replaced after the last listing."""
    files = Files(3)
    listed = dict(files.stamps)
    reader = Prefetcher(files.read, lambda: listed)
    reader.read(1, {"a": 16})
    files.stamps = {**files.stamps, 1: 2}
    reader.read(1, {"b": 16})
    listed = files.stamps
    found = reader.read(1, {"a": 16, "b": 16})
    assert [array.tolist() for array in found.values()] == [[1, 2], [1, 2]]
