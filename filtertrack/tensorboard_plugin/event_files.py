"""Write event files, which TensorBoard reads.

The records are framed here and written to plain files. TensorBoard's own writer would import
tensorflow wherever it is installed, which takes seconds and surprises users of other backends; and
its checksum of a record takes longer than drawing the picture in it.
"""

import os
import re
import shutil
import socket
import struct
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp

from google_crc32c import value as crc32c
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from filtertrack.storage.local_files import open_to_change
from filtertrack.storage.paths import StoragePath

_SECOND = re.compile(r"events\.out\.tfevents\.([0-9]{10})\.")


class EventFile:
    """An event file on disk, opened for each record.

    So no file stays open when ``fit`` is interrupted, a deleted folder is noticed, and a record
    that was cut off by a full disk is overwritten by the next one instead of followed by it.

    Args:
        folder: The folder of the file; it must exist.

    Attributes:
        started: Whether ``start`` was called.
    """

    def __init__(self, folder: Path) -> None:
        self.started = False
        self._folder = folder
        self._path: Path | None = None
        self._end = 0
        self._described: set[str] = set()

    @property
    def bytes_to_upload(self) -> int:
        """Number of bytes that ``finish`` must upload: none for a file on disk."""
        return 0

    def start(self, step: int) -> None:
        """Create the file. Its records replace those of earlier files from this step on.

        Raises:
            OSError: If it cannot be created; ``start`` can be called again then.
        """
        self._create([_version(), _session(step)])
        self.started = True

    def append(self, event: Event) -> None:
        """Write one record; only the first record of a tag keeps the tag's metadata.

        Raises:
            OSError: If it cannot be written.
        """
        if self._path is None:
            raise ValueError("the event file was not started")
        for value in event.summary.value:
            if value.tag in self._described:
                value.ClearField("metadata")
        record = _record(event.SerializeToString())
        with open_to_change(self._path) as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(record)
        self._end += len(record)
        self._described.update(value.tag for value in event.summary.value)

    def finish(self) -> None:
        """Store all records: here they are already stored."""

    def _create(self, first: list[Event]) -> None:
        path = self._folder / _new_name(self._names())
        path.touch(exist_ok=False)  # no existing file is opened, and no link
        self._path, self._end, self._described = path, 0, set()
        try:
            for event in first:
                self.append(event)
        except OSError:
            self._path = None
            path.unlink(missing_ok=True)
            raise

    def _names(self) -> list[str]:
        """Return the names of the files after which the new one must sort."""
        return [each.name for each in self._folder.iterdir()]


class UploadedEventFile(EventFile):
    """An event file on object storage, where records cannot be appended to a file.

    The records are written to a temporary file, which ``finish`` uploads under the same name, so
    that a repeated upload replaces the first. Later records go into another file.

    Args:
        folder: The folder on object storage. It is listed once: a listing is not retried if the
            connection fails, and must not be needed when the events of a training are uploaded.

    Raises:
        OSError: If the folder cannot be listed.
    """

    def __init__(self, folder: StoragePath) -> None:
        super().__init__(Path())
        self._target = folder
        self._existing = list(folder.names())
        self._temporary: list[Path] = []
        # Called when the writer is dropped, too. At the program's end finalizers are called newest
        # first: this one, not made later with the temporary folder, is called after that of the
        # BackgroundWriter, which calls ``finish``.
        weakref.finalize(self, _remove_folders, self._temporary)

    @property
    def bytes_to_upload(self) -> int:
        """Size of the temporary file."""
        return self._end if self._path is not None else 0

    def append(self, event: Event) -> None:
        """Write one record to the temporary file.

        Raises:
            OSError: If it cannot be written.
        """
        if self._path is None and self.started:
            self._create([_version()])
        super().append(event)

    def finish(self) -> None:
        """Upload the records since the last call.

        Raises:
            OSError: If they cannot be uploaded; the next call tries it again then.
        """
        if self._path is not None:
            (self._target / self._path.name).upload(self._path)
            self._existing.append(self._path.name)
            self._path = None
            _remove_folders(self._temporary)

    def _create(self, first: list[Event]) -> None:
        _remove_folders(self._temporary)
        self._folder = Path(mkdtemp(prefix="filtertrack-"))
        self._temporary.append(self._folder)
        super()._create(first)

    def _names(self) -> list[str]:
        return self._existing


def event_file_in(folder: StoragePath) -> EventFile:
    """Return an event file in a folder on disk or on object storage."""
    return UploadedEventFile(folder) if folder.is_remote else EventFile(Path(str(folder)))


def _remove_folders(folders: list[Path]) -> None:
    """Remove temporary folders, from the list too."""
    while folders:
        shutil.rmtree(folders.pop(), ignore_errors=True)


def _new_name(existing: Iterable[str]) -> str:
    """Return a name for a new event file, in the format of TensorBoard's own writer.

    Other programs identify a training's files by the second and the host in the name. TensorBoard
    reads the files of a folder in the order of their names and never returns to an earlier one. So
    the second is later than those of existing files, even if two sessions start in the same second
    or the clock was set back.

    Args:
        existing: The names of the files in the folder.
    """
    now = time.time()
    second = max(int(now), max(map(_second_in, existing), default=0) + 1)
    host, process = socket.gethostname(), os.getpid()
    return f"events.out.tfevents.{second:010d}.{host}.{process}.{int(now % 1 * 1e6):06d}"


def _second_in(name: str) -> int:
    """Return the second in an event file's name; 0 for other files.

    Example:
        >>> _second_in("events.out.tfevents.1700000000.host.1")
        1700000000
    """
    found = _SECOND.match(name)
    return int(found[1]) if found else 0


def _version() -> Event:
    return Event(wall_time=time.time(), file_version="brain.Event:2")


def _session(step: int) -> Event:
    """Return the event that makes readers discard an earlier session's records from a step on."""
    return Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))


def _record(data: bytes) -> bytes:
    """Return a TFRecord: the length and the data, each followed by its checksum.

    Source of the format: TensorFlow ("TFRecord and tf.train.Example", TFRecords format details).
    """
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    """Return the masked CRC-32C of the format: rotated by 15 bits, plus a constant."""
    checksum = crc32c(data)
    rotated = checksum >> 15 | checksum << 17
    return struct.pack("<L", (rotated + 0xA282EAD8) & 0xFFFFFFFF)
