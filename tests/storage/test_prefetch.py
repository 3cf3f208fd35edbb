import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.storage import prefetch
from filtertrack.storage.prefetch import Prefetcher


class Files:
    """Snapshots that note when they are read."""

    def __init__(self, count, stamps=None, pause=0.0):
        self.stamps = stamps or dict.fromkeys(range(count), 1)
        self.pause = pause
        self.reads = []
        self._lock = threading.Lock()

    def read(self, step, members):
        """Return arrays that say where they come from."""
        with self._lock:
            self.reads.append((step, tuple(members)))
        time.sleep(self.pause)
        stamp = self.stamps[step]
        return {name: np.array([step, stamp]) for name in members}, stamp

    def reader(self):
        """Return what reads them ahead."""
        return Prefetcher(self.read, lambda: self.stamps)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "ab"])), max_size=30))
def test_whatever_is_asked_is_what_is_there(asked):
    """In any order, of any arrays."""
    files = Files(10)
    reader = files.reader()
    for step, names in asked:
        found = reader.read(step, dict.fromkeys(names, 16))
        assert {name: array.tolist() for name, array in found.items()} == {
            name: [step, 1] for name in names
        }


@pytest.mark.parametrize("stride", [1, 3])
def test_steps_one_after_another_come_together(stride):
    """While one is looked at others are on their way; each is read once."""
    files = Files(60, pause=0.02)
    reader, began = files.reader(), time.monotonic()
    steps = range(0, 60, stride)
    for step in steps:
        reader.read(step, {"a": 16})
    assert time.monotonic() - began < 0.02 * len(steps) / 3 + 0.2
    assert sorted(files.reads) == [(step, ("a",)) for step in steps]


def test_what_was_read_is_kept_until_it_changes():
    """A second pass reads nothing; a file that was replaced is read again."""
    files = Files(5)
    reader = files.reader()
    for _ in range(3):
        for step in range(5):
            reader.read(step, {"a": 16})
    assert len(files.reads) == 5
    files.stamps = {**files.stamps, 3: 2}
    assert reader.read(3, {"a": 16})["a"].tolist() == [3, 2]


def test_what_is_handed_out_is_the_callers_own():
    """Changing it changes nothing that is kept."""
    reader = Files(2).reader()
    reader.read(0, {"a": 16})["a"][:] = 9
    reader.read(0, {"a": 16})["a"][:] = 9
    assert reader.read(0, {"a": 16})["a"].tolist() == [0, 1]


def test_memory_is_bounded(monkeypatch):
    """What was not asked for for the longest time is forgotten; what is too large is not kept."""
    monkeypatch.setattr(prefetch, "_CACHE_BYTES", 64)  # four arrays
    files = Files(10)
    reader = files.reader()
    for step in (9, 7, 5, 3, 1, 9):
        reader.read(step, {"a": 16})
    assert [step for step, _ in files.reads] == [9, 7, 5, 3, 1, 9]
    reader.read(1, {"a": 16})
    assert len(files.reads) == 6


def test_large_snapshots_come_one_at_a_time(monkeypatch):
    """Only so much is on its way as memory allows."""
    monkeypatch.setattr(prefetch, "_PREFETCH_BYTES", 100)
    files = Files(10)
    reader = files.reader()
    reader.read(0, {"a": 90})
    reader.read(1, {"a": 90})
    time.sleep(0.1)
    assert sorted(step for step, _ in files.reads) == [0, 1, 2]


@pytest.fixture
def failing():
    """Steps that cannot be read for now."""
    return set()


@pytest.fixture
def unsteady(failing):
    """A reader of five snapshots, of which some cannot be read for now."""
    files = Files(5)

    def read(step, members):
        if step in failing:
            raise OSError("no")
        return files.read(step, members)

    return Prefetcher(read, lambda: files.stamps)


def test_what_fails_fails_where_it_is_asked_for(unsteady, failing):
    """An error of a snapshot that was read beforehand is raised when its turn comes."""
    failing.add(2)
    for step in (0, 1):
        unsteady.read(step, {"a": 16})
    with pytest.raises(OSError, match="no"):
        unsteady.read(2, {"a": 16})
    failing.clear()
    assert unsteady.read(2, {"a": 16})["a"].tolist() == [2, 1]


def test_what_failed_beforehand_is_read_when_its_turn_comes(unsteady, failing):
    """A connection that was lost for a moment costs nothing once it is back."""
    failing.update((2, 3, 4))
    for step in (0, 1):
        unsteady.read(step, {"a": 16})
    time.sleep(0.1)
    failing.clear()
    for step in (2, 3, 4):
        assert unsteady.read(step, {"a": 16})["a"].tolist() == [step, 1]


def test_what_was_on_its_way_when_the_file_changed_is_not_believed():
    """What is fetched beforehand counts for the file it was fetched of."""
    files = Files(5)
    reader = files.reader()
    for step in (0, 1):
        reader.read(step, {"a": 16})
    time.sleep(0.1)
    files.stamps = {**files.stamps, 2: 2}
    for _ in range(2):
        assert reader.read(2, {"a": 16})["a"].tolist() == [2, 2]


def test_what_changed_without_a_new_listing_is_not_mixed():
    """Arrays of the old file are not handed out as those of the new one."""
    files = Files(3)
    listed = dict(files.stamps)
    reader = Prefetcher(files.read, lambda: listed)
    reader.read(1, {"a": 16})
    files.stamps = {**files.stamps, 1: 2}
    reader.read(1, {"b": 16})
    listed = files.stamps
    found = reader.read(1, {"a": 16, "b": 16})
    assert [array.tolist() for array in found.values()] == [[1, 2], [1, 2]]
