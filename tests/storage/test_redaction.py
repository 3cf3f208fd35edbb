import pytest

from filtertrack.errors import UnreachableError
from filtertrack.storage.redaction import hide_secrets, known_secrets
from filtertrack.storage.retry import RetryingFileSystem


class FailingFileSystem:
    """A file system whose calls fail with a message."""

    def __init__(self, message, **options):
        self.storage_options = options
        self.message = message

    def act(self, path):
        """Fail."""
        raise OSError(self.message)


def message_of_a_failed_call(message, **options):
    with pytest.raises(UnreachableError) as error:
        RetryingFileSystem(FailingFileSystem(message, **options)).call("act", "a")
    assert error.value.__suppress_context__, "the original error contains the message"
    return f"{error.value} {error.value!r}"


@pytest.mark.parametrize(
    "message",
    [
        "GET https://host/b?X-Amz-Credential=SECRET%2F2026&X-Amz-Signature=SECRET&x=1",
        "Max retries exceeded with url: /b/a.npz?X-Goog-Signature=SECRET (Caused by ...)",
        "https://me:SECRET@host/run",
        "ftp://SECRET@host",
        "https://account.blob/x?sv=1&sig=SECRET",
        "see 'https://a/b?sig=SECRET' and https://c/d?token=SECRET",
        "request headers {'Authorization': 'Bearer SECRET', 'Host': 'a'}",
    ],
)
def test_userinfo_and_query_of_every_url_are_removed(message):
    """Signed URLs and URLs with a password are secrets in themselves."""
    assert "SECRET" not in message_of_a_failed_call(message)


def test_the_rest_of_a_message_is_kept():
    """The scheme, the host and the path of a URL, and a question mark in a text."""
    error = OSError("is it there? GET https://me:pw@host/a?sig=1 (403)")
    assert hide_secrets(error) == "is it there? GET https://***host/a?*** (403)"


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"]
)
def test_secrets_of_the_environment_are_removed(monkeypatch, name):
    """As they are, and percent-encoded."""
    monkeypatch.setenv(name, "a/b+SECRET")
    message = "Authorization: a/b+SECRET, again a%2Fb%2BSECRET"
    assert "SECRET" not in message_of_a_failed_call(message)


def test_secrets_of_options_are_removed_at_any_depth():
    """Also those in the options of a client."""
    options = {"client": {"token": "a-token"}, "password": "a-password"}
    shown = message_of_a_failed_call("a-password and a-token", **options)
    assert "*** and ***" in shown
    assert "a-" not in shown


def test_secrets_inside_a_connection_string_are_removed():
    """A message may contain a part of it, or its percent-decoded form."""
    options = {"connection_string": "AccountName=me;AccountKey=a-SECRET==;x=1", "sas": "b%2FSECRET"}
    shown = message_of_a_failed_call("near AccountKey=a-SECRET==; or b/SECRET", **options)
    assert "SECRET" not in shown
    assert "AccountKey=***; or ***" in shown


def test_only_secrets_are_known_secrets(monkeypatch):
    """Other options, and values too short to be secrets, are not removed from messages."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    options = {"endpoint_url": "http://host", "key": "ab", "secret": "a-secret", "anon": True}
    found = list(known_secrets(options))
    assert "a-secret" in found
    assert not {"ab", "http://host", "us-east-1"} & set(found)


def test_a_message_is_one_printable_line_of_bounded_length():
    """Whatever the error contains."""
    shown = hide_secrets(OSError("a\n\x1b[31mb " + 1000 * "c"))
    assert shown.isprintable()
    assert len(shown) == 300
