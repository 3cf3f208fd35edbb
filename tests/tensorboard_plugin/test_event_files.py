import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

from filtertrack.storage.paths import path_of
from filtertrack.tensorboard_plugin import event_files as events
from filtertrack.tensorboard_plugin.event_files import EventFile, EventObjects, events_in

FOLDER = "filters"


class TickClock:
    """Time that passes when it is told to, for everybody."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def time(self):
        """Return what the clock shows."""
        self.now += 1e-5  # two files are never made at the same moment
        return self.now

    def time_ns(self):
        """Return the same in nanoseconds."""
        return int(self.time() * 1e9)

    monotonic = time


@pytest.fixture
def clock(monkeypatch):
    clock = TickClock()
    monkeypatch.setattr(events, "time", clock)
    return clock


@pytest.fixture
def place(request):
    return path_of(f"memory://events/{request.node.name}")


def event(step, size=10):
    metadata = SummaryMetadata(summary_description="a text")
    value = Summary.Value(tag="tag", simple_value=step, metadata=metadata)
    text = Summary.Value(tag="text", simple_value=0)
    text.metadata.summary_description = "x" * size
    return Event(step=step, wall_time=step, summary=Summary(value=[value, text]))


def files(place):
    return sorted(place.entries())


def steps_read(place, tmp_path):
    """Read the files with TensorBoard's own loader, of a copy on disk."""
    for name in files(place):
        (tmp_path / name).write_bytes((place / name).open().read())
    accumulator = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [each.step for each in accumulator.Scalars("tag")]


def test_a_file_on_disk_objects_elsewhere(tmp_path, place):
    """On disk one file grows; where nothing can be added to a file there are several."""
    assert isinstance(events_in(tmp_path), EventFile)
    assert isinstance(events_in(place), EventObjects)


def test_records_are_gathered_for_five_seconds(place, clock, tmp_path):
    """No file a record; all of them are read, in order, and each file is there whole."""
    writer = EventObjects(place)
    assert not writer.started
    writer.start(0)
    assert writer.started
    for step in range(20):
        writer.append(event(step))
        clock.now += 1
    assert len(files(place)) == 4
    writer.finish()
    assert len(files(place)) == 5
    writer.finish()
    assert len(files(place)) == 5
    assert steps_read(place, tmp_path) == list(range(20))


def test_there_are_not_many_in_the_end(place, clock):
    """A record a second for two weeks makes some hundred files, not a million."""
    writer = EventObjects(place)
    writer.start(0)
    for hour in range(14 * 24):
        for step in range(60):
            writer.append(event(60 * hour + step))
            clock.now += 60
    assert len(files(place)) < 900


def test_much_is_stored_at_once(place, clock):
    """A megabyte does not wait."""
    writer = EventObjects(place)
    writer.start(0)
    writer.append(event(0))
    writer._described.clear()
    writer.append(event(1, size=1 << 20))
    assert len(files(place)) == 2


def test_what_could_not_be_stored_is_kept(place, clock, tmp_path, monkeypatch):
    """It is stored with what comes next."""
    writer = EventObjects(place)
    writer.start(0)
    with monkeypatch.context() as patch:
        patch.setattr(events, "write_whole", fail)
        for step in range(3):
            writer.append(event(step))
            clock.now += 10
    writer.append(event(3))
    assert steps_read(place, tmp_path) == [0, 1, 2, 3]


def fail(path, write):
    raise OSError("no line")


def test_too_much_that_cannot_be_stored_is_lost(place, clock, tmp_path, monkeypatch):
    """Memory is bounded, it is an error, and what comes later is described again."""
    monkeypatch.setattr(events, "_MOST", 10_000)
    writer = EventObjects(place)
    writer.start(0)
    with monkeypatch.context() as patch:
        patch.setattr(events, "write_whole", fail)
        writer.append(event(0, size=6_000))
        clock.now += 10
        writer._described.clear()
        with pytest.raises(OSError, match="no line"):
            writer.append(event(1, size=6_000))
    clock.now += 10
    writer.append(event(2))
    assert steps_read(place, tmp_path) == [2]


def test_what_is_lost_is_not_that_a_session_began(place, clock, tmp_path, monkeypatch):
    """Steps of an earlier session do not come up again between those of this one."""
    first = EventObjects(place)
    first.start(0)
    for step in range(9):
        first.append(event(step))
    first.finish()
    monkeypatch.setattr(events, "_MOST", 10)
    clock.now += 100
    second = EventObjects(place)
    second.start(3)
    with monkeypatch.context() as patch:
        patch.setattr(events, "write_whole", fail)
        with pytest.raises(OSError, match="no line"):
            second.append(event(3))
    clock.now += 100
    second.append(event(4))
    assert steps_read(place, tmp_path) == [0, 1, 2, 4]


def test_a_second_session_takes_the_place_of_the_first(place, clock, tmp_path):
    """What lies at or past the step it starts from is forgotten."""
    for start in (0, 3):
        writer = EventObjects(place)
        writer.start(start)
        for step in range(start, start + 5):
            writer.append(event(step))
        writer.finish()
    assert steps_read(place, tmp_path) == list(range(8))


@pytest.mark.parametrize("kind", ["file", "objects"])
def test_a_clock_that_was_set_back(kind, place, clock, tmp_path):
    """The files of a later session sort behind those of an earlier one: else they are not shown."""
    folder = tmp_path if kind == "file" else place
    for start in (0, 3):
        writer = events_in(folder)
        writer.start(start)
        for step in range(start, start + 5):
            writer.append(event(step))
            clock.now += 6
        writer.finish()
        clock.now -= 500_000
    if kind == "objects":
        assert steps_read(place, tmp_path) == list(range(8))
    accumulator = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert [each.step for each in accumulator.Scalars("tag")] == list(range(8))


@pytest.mark.parametrize(
    "other", ["events.out.tfevents.1999999999.host.1", "events.out.tfevents.1999999999.999999.h.1"]
)
def test_a_name_sorts_behind_those_of_other_writers(tmp_path, other):
    """Such as TensorFlow's, whose names have no parts of a second."""
    (tmp_path / other).write_bytes(b"")
    (tmp_path / "events.out.tfevents.nonsense").write_bytes(b"")
    assert events._name(events._latest(tmp_path)) > other


def test_names_sort_as_they_were_made(tmp_path):
    """TensorBoard reads the files of a folder in the order of their names."""
    made, latest = [], 0
    for _ in range(3):
        made.append(events._name(latest))
        latest = events._second_in(made[-1])
    assert made == sorted(set(made))
