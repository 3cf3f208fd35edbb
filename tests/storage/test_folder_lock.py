import gc
import threading

import pytest

from filtertrack.storage.folder_lock import FolderLock, TakenError


class Holder:
    """What holds a lock, and releases it in the end."""

    def __init__(self, folder, session=None):
        self.lock = FolderLock(folder, str(folder), session, self.end)

    def end(self):
        """Release it."""
        self.lock.release()


def test_one_at_a_time(tmp_path):
    """In one training the second is refused until the first has ended."""
    first = Holder(tmp_path)
    with pytest.raises(TakenError, match="another tracker is writing in"):
        Holder(tmp_path)
    first.end()
    Holder(tmp_path).end()


def test_a_new_training_takes_over_in_its_thread_only(tmp_path):
    """The older one was interrupted; one in another thread may still be under way."""
    first, refused = Holder(tmp_path, "first"), []

    def elsewhere():
        with pytest.raises(TakenError):
            Holder(tmp_path, "second")
        refused.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert refused
    Holder(tmp_path, "second").end()
    assert first.lock._released


def test_what_is_dropped_holds_nothing(tmp_path):
    """A lock whose holder is gone is released, without the collector of cycles."""
    gc.disable()
    try:
        Holder(tmp_path)
        Holder(tmp_path).end()
    finally:
        gc.enable()


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path):
    """What it points to stays as it is."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    Holder(tmp_path).end()
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (tmp_path / ".lock").is_symlink()
