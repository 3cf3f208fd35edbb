"""Event files, which TensorBoard reads: the only room that writes them.

TensorBoard's formats are used as they are, over plain files. Its own writer would import
tensorflow wherever it is installed, which takes seconds and is a surprise to people on another
backend; and its checksum of a record takes longer than drawing the picture in it.
"""

import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import Protocol

from google_crc32c import value as crc32c
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from filtertrack.storage.files import names_in, open_to_change, write_whole
from filtertrack.storage.paths import StoragePath

_SOONEST = 5.0
_SHARE = 0.01
_SECOND = re.compile(r"events\.out\.tfevents\.([0-9]{10})\.")
_MUCH = 1 << 20
_MOST = 16 << 20


class Events(Protocol):
    """What events are written to."""

    @property
    def started(self) -> bool:
        """Whether ``start`` has been called."""

    def start(self, step: int) -> None:
        """Begin: from this step on it replaces what earlier files of the folder say."""

    def append(self, event: Event) -> None:
        """Write one record; tags that were described before are not described again."""

    def finish(self) -> None:
        """See to it that all records are stored."""


def events_in(folder: StoragePath) -> Events:
    """Return what writes events into a folder."""
    return EventFile(folder) if isinstance(folder, Path) else EventObjects(folder)


class EventFile:
    """One event file on disk, opened anew for each record.

    So nothing stays open when ``fit`` is interrupted, a folder that is gone is noticed, and a
    record that a full disk cut off is written over by the next one, not followed by it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._end = 0
        self._described: set[str] = set()

    @property
    def started(self) -> bool:
        """Whether the file exists."""
        return self._path is not None

    def start(self, step: int) -> None:
        """Make the file: from this step on it replaces what earlier files of the folder say."""
        path = self._folder / _name(_latest(self._folder))
        path.touch(exist_ok=False)  # nothing that is there is opened, not even a link
        self._path, self._end, self._described = path, 0, set()
        try:
            self.append(_version())
            self.append(_session(step))
        except OSError:
            self._path = None  # to be tried again
            path.unlink(missing_ok=True)
            raise

    def append(self, event: Event) -> None:
        """Write one record."""
        if self._path is None:
            raise ValueError("the event file is not there yet")
        _leave_out(self._described, event)
        record = _record(event.SerializeToString())
        with open_to_change(self._path) as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(record)
        self._end += len(record)
        self._described.update(value.tag for value in event.summary.value)

    def finish(self) -> None:
        """Nothing is left to do."""


class EventObjects:
    """Event files on object storage, where nothing can be added to a file.

    So each holds the records of some seconds, and never changes. There are not many in the end:
    records are gathered for five seconds, or for a hundredth of the time since the first one.
    """

    def __init__(self, folder: StoragePath) -> None:
        self._folder = folder
        self._session: list[bytes] = []
        self._records: list[bytes] = []
        self._described: set[str] = set()
        self._began: float | None = None
        self._stored = 0.0
        self._latest: int | None = None

    @property
    def started(self) -> bool:
        """Whether anything was written."""
        return self._began is not None

    def start(self, step: int) -> None:
        """Begin: from this step on it replaces what earlier files of the folder say."""
        self._began = time.monotonic()
        self._session = [_record(_session(step).SerializeToString())]
        self._records = list(self._session)

    def append(self, event: Event) -> None:
        """Write one record, now or soon.

        Raises:
            OSError: If too much could not be written for too long; it is lost then.
        """
        _leave_out(self._described, event)
        self._records.append(_record(event.SerializeToString()))
        self._described.update(value.tag for value in event.summary.value)
        size = sum(map(len, self._records))
        if size < _MUCH and time.monotonic() < self._stored + self._pause:
            return
        try:
            self.finish()
        except OSError:  # tried again with the next one
            if size > _MOST:
                # Not that what an earlier session wrote is to be forgotten.
                self._records = list(self._session)
                self._described.clear()
                raise

    def finish(self) -> None:
        """Store what was gathered.

        Raises:
            OSError: If it cannot be written; it is kept then.
        """
        if self._records:
            content = b"".join([_record(_version().SerializeToString()), *self._records])
            if self._latest is None:
                self._latest = _latest(self._folder)
            name = _name(self._latest)
            write_whole(self._folder / name, lambda file: file.write(content))
            self._latest = _second_in(name)
            self._records, self._session = [], []
        self._stored = time.monotonic()

    @property
    def _pause(self) -> float:
        elapsed = time.monotonic() - (self._began or 0.0)
        return max(_SOONEST, _SHARE * elapsed)


def _latest(folder: StoragePath) -> int:
    """Return the second in the name of the latest event file in a folder; 0 where there is none.

    Raises:
        OSError: If the folder is not there, or cannot be reached.
    """
    return max(map(_second_in, names_in(folder)), default=0)


def _second_in(name: str) -> int:
    """Return the second in an event file's name; 0 where there is none.

    Example:
        >>> _second_in("events.out.tfevents.1700000000.host.1")
        1700000000
    """
    found = _SECOND.match(name)
    return int(found[1]) if found else 0


def _name(latest: int) -> str:
    """Return a name for a new event file, made as TensorBoard's own writer makes it.

    Other programs find a training's files by the second and the host in it. TensorBoard reads a
    folder's files in the order of their names, and never goes back to one that sorts before another
    it has read. So the second is later than in those that are there, also where two sessions share
    one or the clock has been set back.

    Args:
        latest: The second in the last of these names.
    """
    now = time.time()
    second = max(int(now), latest + 1)
    host, process = socket.gethostname(), os.getpid()
    return f"events.out.tfevents.{second:010d}.{host}.{process}.{int(now % 1 * 1e6):06d}"


def _version() -> Event:
    return Event(wall_time=time.time(), file_version="brain.Event:2")


def _session(step: int) -> Event:
    """Tell the loaders to forget what an earlier session wrote at or past a step."""
    return Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))


def _leave_out(described: set[str], event: Event) -> None:
    """Describe a tag once a file, as TensorBoard asks for, and not at every step."""
    for value in event.summary.value:
        if value.tag in described:
            value.ClearField("metadata")


def _record(data: bytes) -> bytes:
    """Frame a record as in a TFRecord file: its length and itself, a checksum behind each.

    The format is TensorFlow's ("TFRecord and tf.train.Example", TFRecords format details).
    """
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    """Return the CRC-32C, rotated by 15 bits and shifted, as the format asks for."""
    checksum = crc32c(data)
    rotated = checksum >> 15 | checksum << 17
    return struct.pack("<L", (rotated + 0xA282EAD8) & 0xFFFFFFFF)
