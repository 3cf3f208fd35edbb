import errno

import pytest

from filtertrack.errors import UnreachableError
from filtertrack.storage import retry
from filtertrack.storage.retry import RetryingFileSystem


class ScriptedFileSystem:
    """A file system whose calls return or raise the given outcomes, in order."""

    def __init__(self, *outcomes, **options):
        self.storage_options = options
        self.outcomes = list(outcomes)
        self.calls = []

    def act(self, path):
        """Return the next outcome, or raise it."""
        self.calls.append(path)
        outcome = self.outcomes.pop(0) if self.outcomes else "done"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the pauses advance; it records them."""

    class TickClock:
        now = 100.0
        pauses = []  # noqa: RUF012 - one clock a test

        def sleep(self, seconds):
            """Advance the clock, and record the pause."""
            self.pauses.append(seconds)
            self.now += seconds

    clock = TickClock()
    clock.pauses = []
    monkeypatch.setattr(retry.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(retry.time, "sleep", clock.sleep)
    return clock


def failures(count):
    return [ConnectionResetError("connection reset") for _ in range(count)]


def test_a_write_is_retried_with_growing_pauses(clock):
    """Each pause is twice the one before, up to half a minute."""
    storage = ScriptedFileSystem(*failures(8))
    RetryingFileSystem(storage).call_retrying("act", "a")
    assert clock.pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert len(storage.calls) == 9


@pytest.mark.parametrize("outcomes", [failures(9), failures(99)])
def test_retries_end_after_two_minutes(clock, outcomes):
    """Even if a later attempt would succeed."""
    with pytest.raises(UnreachableError, match="connection reset"):
        RetryingFileSystem(ScriptedFileSystem(*outcomes)).call_retrying("act", "a")
    assert sum(clock.pauses) <= 120


def test_after_the_retries_there_is_one_attempt_per_half_minute(clock):
    """Until an attempt succeeds; then writes are retried as before."""
    storage = ScriptedFileSystem(*failures(10))
    connection = RetryingFileSystem(storage)
    with pytest.raises(UnreachableError):
        connection.call_retrying("act", "a")
    tried = len(storage.calls)
    for _ in range(20):
        with pytest.raises(UnreachableError, match="the connection is lost"):
            connection.call_retrying("act", "b")
    assert len(storage.calls) == tried
    clock.now += 31
    with pytest.raises(UnreachableError, match="reset"):
        connection.call_retrying("act", "c")
    assert storage.calls[tried:] == ["c"]
    clock.now += 31
    connection.call_retrying("act", "d")
    storage.outcomes = failures(1)
    connection.call_retrying("act", "e")
    assert storage.calls[tried:] == ["c", "d", "e", "e"]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(PermissionError("no"), PermissionError), (FileNotFoundError(), OSError)],
)
def test_permanent_errors_are_not_retried(clock, raised, expected):
    """A missing permission, or a missing bucket."""
    storage = ScriptedFileSystem(raised)
    with pytest.raises(expected):
        RetryingFileSystem(storage).call_retrying("act", "a")
    assert len(storage.calls) == 1
    assert clock.pauses == []


@pytest.mark.parametrize(
    "raised", [ValueError("x"), TimeoutError(), KeyError("k"), OSError(5, "io")]
)
def test_every_error_becomes_an_unreachable_error(raised):
    """With a message, and without the original error, whose message may contain secrets."""
    with pytest.raises(UnreachableError) as error:
        RetryingFileSystem(ScriptedFileSystem(raised)).call("act", "a")
    assert error.value.errno == errno.EIO
    assert error.value.strerror
    assert error.value.__suppress_context__


def test_the_timeout_grows_with_the_bytes_to_transfer():
    """Passed to the file systems that support it."""
    seen = {}

    class Timed(ScriptedFileSystem):
        async_impl = True

        def act(self, path, timeout):
            """Record the timeout."""
            seen[path] = timeout

    connection = RetryingFileSystem(Timed())
    connection.call("act", "small")
    connection.call("act", "large", weight=10**9)
    assert seen["small"] == 60
    assert seen["large"] == pytest.approx(10_060)
