import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

from filtertrack.storage.paths import path_of
from filtertrack.storage.remote import RemotePath
from filtertrack.tensorboard_plugin import event_files
from filtertrack.tensorboard_plugin.event_files import event_file_in


class TickClock:
    """A clock that advances when the test says so."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def time(self):
        """Return the time; each call is a moment later."""
        self.now += 1e-5
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = TickClock()
    monkeypatch.setattr(event_files, "time", clock)
    return clock


@pytest.fixture(params=["disk", "object storage"])
def folder(request, tmp_path):
    """An empty folder for events."""
    if request.param == "object storage":
        return path_of(f"memory://events/{request.node.name}")
    path = path_of(tmp_path / "events")
    path.make_folder()
    return path


@pytest.fixture
def remote(request):
    return path_of(f"memory://events/{request.node.name}")


def event(step, size=10):
    metadata = SummaryMetadata(summary_description="a text")
    value = Summary.Value(tag="tag", simple_value=step, metadata=metadata)
    text = Summary.Value(tag="text", simple_value=0)
    text.metadata.summary_description = "x" * size
    return Event(step=step, wall_time=step, summary=Summary(value=[value, text]))


def file_names(folder):
    return sorted(folder.names())


def steps_read(folder, tmp_path):
    """Read the files with TensorBoard's own loader, from a copy on disk."""
    copy = tmp_path / "copy"
    copy.mkdir(exist_ok=True)
    for name in file_names(folder):
        (copy / name).write_bytes(folder.read_entry(name, lambda file: file.read()))
    accumulator = EventAccumulator(str(copy), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert accumulator.summary_metadata["tag"].summary_description == "a text"
    return [each.step for each in accumulator.Scalars("tag")]


def test_records_are_read_in_order(folder, tmp_path):
    """One file holds all records of a training."""
    writer = event_file_in(folder)
    assert not writer.started
    writer.start(0)
    assert writer.started
    for step in range(20):
        writer.append(event(step))
    writer.finish()
    assert len(file_names(folder)) == 1
    assert steps_read(folder, tmp_path) == list(range(20))


def test_a_file_on_object_storage_is_uploaded_when_it_is_finished(remote, tmp_path):
    """Nothing is uploaded before, nor by a further ``finish`` without new records."""
    writer = event_file_in(remote)
    writer.finish()
    writer.start(0)
    writer.append(event(0))
    assert file_names(remote) == []
    for _ in range(2):
        writer.finish()
        assert len(file_names(remote)) == 1


def test_records_after_an_upload_go_into_another_file(remote, tmp_path):
    """Nothing is uploaded twice, and the step of the earlier records stays visible."""
    writer = event_file_in(remote)
    writer.start(0)
    for step in (0, 1):
        writer.append(event(step))
        writer.finish()
    assert len(file_names(remote)) == 2
    assert steps_read(remote, tmp_path) == [0, 1]
    writer.append(event(1))  # no new session begins: the first record of the step stays
    writer.finish()
    assert steps_read(remote, tmp_path) == [0, 1, 1]


def test_a_failed_upload_can_be_repeated(remote, tmp_path, monkeypatch):
    """No record is lost, and records can be added in between."""
    writer = event_file_in(remote)
    writer.start(0)
    writer.append(event(0))
    with monkeypatch.context() as patch:
        patch.setattr(RemotePath, "upload", fail)
        with pytest.raises(OSError, match="connection lost"):
            writer.finish()
    writer.append(event(1))
    writer.finish()
    assert len(file_names(remote)) == 1
    assert steps_read(remote, tmp_path) == [0, 1]


def fail(*args):
    raise OSError("connection lost")


def test_finish_uploads_without_listing_the_folder(remote, tmp_path, monkeypatch):
    """Listings are not retried: a failed one must not lose the records of a training."""
    writer = event_file_in(remote)
    with monkeypatch.context() as patch:
        patch.setattr(RemotePath, "names", fail)
        writer.start(0)
        for step in (0, 1):
            writer.append(event(step))
            writer.finish()
    assert len(file_names(remote)) == 2
    assert steps_read(remote, tmp_path) == [0, 1]


def test_a_repeated_upload_replaces_the_first(remote, tmp_path, monkeypatch):
    """If the first one arrived, but its response was lost."""
    writer, upload = event_file_in(remote), RemotePath.upload

    def upload_and_fail(path, file):
        upload(path, file)
        raise OSError("connection lost")

    writer.start(0)
    writer.append(event(0))
    with monkeypatch.context() as patch:
        patch.setattr(RemotePath, "upload", upload_and_fail)
        with pytest.raises(OSError, match="connection lost"):
            writer.finish()
    writer.append(event(1))
    writer.finish()
    assert len(file_names(remote)) == 1
    assert steps_read(remote, tmp_path) == [0, 1]


def test_no_temporary_file_is_left(remote, tmp_path, monkeypatch):
    """After the writer is dropped, whether it was finished or not."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for is_finished in (True, False):
        writer = event_file_in(remote)
        writer.start(0)
        writer.append(event(0))
        assert list(temporary.rglob("events.out.tfevents.*"))
        if is_finished:
            writer.finish()
            assert not list(temporary.iterdir())
        del writer
        assert not list(temporary.iterdir())


def test_a_session_replaces_later_steps_of_an_earlier_one(folder, tmp_path):
    """From the step it starts from."""
    for start in (0, 3):
        writer = event_file_in(folder)
        writer.start(start)
        for step in range(start, start + 5):
            writer.append(event(step))
        writer.finish()
    assert steps_read(folder, tmp_path) == list(range(8))


def test_files_sort_by_session_after_the_clock_was_set_back(folder, clock, tmp_path):
    """TensorBoard ignores files that sort before those it has read."""
    for start in (0, 3):
        writer = event_file_in(folder)
        writer.start(start)
        for step in range(start, start + 5):
            writer.append(event(step))
        writer.finish()
        clock.now -= 500_000
    assert steps_read(folder, tmp_path) == list(range(8))


@pytest.mark.parametrize(
    "other", ["events.out.tfevents.1999999999.host.1", "events.out.tfevents.1999999999.999999.h.1"]
)
def test_a_name_sorts_after_those_of_other_writers(other):
    """Such as TensorFlow's, whose names have no fraction of a second."""
    assert event_files._new_name([other, "events.out.tfevents.nonsense"]) > other


def test_names_sort_in_the_order_of_creation():
    """TensorBoard reads the files of a folder in the order of their names."""
    names = []
    for _ in range(3):
        names.append(event_files._new_name(names))
    assert names == sorted(set(names))
