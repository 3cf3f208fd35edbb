import errno

import pytest

from filtertrack.errors import UnreachableError
from filtertrack.storage import retry as connections
from filtertrack.storage.redaction import hide_secrets
from filtertrack.storage.retry import RetryingFileSystem


class Storage:
    """A file system whose calls end as they are told to."""

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
    """Time passes only in pauses; each is noted."""

    class TickClock:
        now = 100.0
        pauses = []  # noqa: RUF012 - one clock a test

        def sleep(self, seconds):
            """Let that much time pass."""
            self.pauses.append(seconds)
            self.now += seconds

    clock = TickClock()
    clock.pauses = []
    monkeypatch.setattr(connections.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(connections.time, "sleep", clock.sleep)
    return clock


def lost(count):
    return [ConnectionResetError("the line is dead") for _ in range(count)]


def test_it_is_tried_again_with_growing_pauses(clock):
    """Each pause is twice the one before, up to half a minute."""
    storage = Storage(*lost(8))
    RetryingFileSystem(storage).insist("act", "a")
    assert clock.pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert len(storage.calls) == 9


@pytest.mark.parametrize("outcomes", [lost(9), lost(99)])
def test_it_ends_within_a_bound(clock, outcomes):
    """After two minutes it is given up, whatever comes later."""
    with pytest.raises(UnreachableError, match="the line is dead"):
        RetryingFileSystem(Storage(*outcomes)).insist("act", "a")
    assert sum(clock.pauses) <= 120


def test_after_that_little_is_tried(clock):
    """At once nothing, after half a minute once; and as before once it works again."""
    storage = Storage(*lost(10))
    connection = RetryingFileSystem(storage)
    with pytest.raises(UnreachableError):
        connection.insist("act", "a")
    tried = len(storage.calls)
    for _ in range(20):
        with pytest.raises(UnreachableError, match="the connection is lost"):
            connection.insist("act", "b")
    assert len(storage.calls) == tried
    clock.now += 31
    with pytest.raises(UnreachableError, match="dead"):
        connection.insist("act", "c")
    assert storage.calls[tried:] == ["c"]
    clock.now += 31
    connection.insist("act", "d")
    storage.outcomes = lost(1)
    connection.insist("act", "e")
    assert storage.calls[tried:] == ["c", "d", "e", "e"]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(PermissionError("no"), PermissionError), (FileNotFoundError(), OSError)],
)
def test_what_time_does_not_mend_is_not_tried_again(clock, raised, expected):
    """What may not be done, or a bucket that is not there."""
    storage = Storage(raised)
    with pytest.raises(expected):
        RetryingFileSystem(storage).insist("act", "a")
    assert len(storage.calls) == 1
    assert clock.pauses == []


@pytest.mark.parametrize(
    "raised", [ValueError("x"), TimeoutError(), KeyError("k"), OSError(5, "io")]
)
def test_any_error_becomes_one_that_can_be_told(raised):
    """One kind, with a text, and without the one that led to it: its texts may hold secrets."""
    with pytest.raises(UnreachableError) as error:
        RetryingFileSystem(Storage(raised)).call("act", "a")
    assert error.value.errno == errno.EIO
    assert error.value.strerror
    assert error.value.__suppress_context__


def test_a_call_has_a_time_to_end(monkeypatch):
    """Where the file system can, by how much there is to carry."""
    seen = {}

    class Timed(Storage):
        async_impl = True

        def act(self, path, timeout):
            """Note the time."""
            seen[path] = timeout

    connection = RetryingFileSystem(Timed())
    connection.call("act", "small")
    connection.call("act", "large", weight=10**9)
    assert seen["small"] == 60
    assert seen["large"] == pytest.approx(10_060)


@pytest.mark.parametrize(
    "text",
    [
        "GET https://host/b?X-Amz-Credential=SECRET%2F2026&X-Amz-Signature=SECRET&x=1",
        "Authorization: AWS4-HMAC-SHA256 Credential=SECRET/20261125, Signature=SECRET",
        "https://me:SECRET@host/run",
        "https://account.blob/x?sv=1&sig=SECRET",
        "refused for AKIASECRET0000000000",
        "given: my-own SECRET",
        "access_token=SECRET",
    ],
)
def test_no_secret_is_shown(text, monkeypatch):
    """Neither what looks like one, nor what the environment or the options hold as one."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "my-own SECRET")
    with pytest.raises(UnreachableError) as error:
        RetryingFileSystem(Storage(OSError(text))).call("act", "a")
    assert "SECRET" not in f"{error.value} {error.value!r}"


def test_secrets_in_options_are_hidden_at_any_depth():
    """Also those of a client's own options."""
    options = {"client": {"token": "a-token"}, "password": "a-password"}
    storage = Storage(OSError("a-password and a-token"), **options)
    with pytest.raises(UnreachableError, match=r"^\[Errno 5\] \*\*\* and \*\*\*$"):
        RetryingFileSystem(storage).call("act", "a")


def test_an_error_is_one_line():
    """However long, and whatever it holds."""
    shown = hide_secrets(OSError("a\n\x1b[31mb " + 1000 * "c"))
    assert shown.isprintable()
    assert len(shown) == 300
