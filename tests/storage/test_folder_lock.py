import gc
import threading

import pytest

from filtertrack.storage.folder_lock import FolderLock, TakenError


class Holder:
    """An owner of a lock that can end."""

    def __init__(self, folder, session=None):
        self.lock = FolderLock(folder, str(folder), session, self.end)

    def end(self):
        """Release the lock."""
        self.lock.release()


def test_a_second_lock_of_the_same_training_is_refused(tmp_path):
    """Until the first is released."""
    first = Holder(tmp_path)
    with pytest.raises(TakenError, match="another tracker is writing in"):
        Holder(tmp_path)
    first.end()
    Holder(tmp_path).end()


def test_a_new_training_takes_over_in_the_same_thread_only(tmp_path):
    """The older one was interrupted; one in another thread may still run."""
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


def test_a_dropped_lock_is_released(tmp_path):
    """Without the cycle collector."""
    gc.disable()
    try:
        Holder(tmp_path)
        Holder(tmp_path).end()
    finally:
        gc.enable()


def test_the_lock_file_replaces_a_link(tmp_path):
    """Its target stays unchanged."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    Holder(tmp_path).end()
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (tmp_path / ".lock").is_symlink()
