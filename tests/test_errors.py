import logging

import pytest

from filtertrack import FiltertrackError, animate
from filtertrack.errors import message_of, printable

CONTROL = "a\x1b[2J\x07b\x9bc\u202ed\ud800e\x00"


def test_printable_replaces_control_characters_only():
    """Letters of any language stay."""
    assert printable("größe 卷积 é") == "größe 卷积 é"
    assert printable(CONTROL) == "a?[2J?b?c?d?e?"


def test_every_error_is_one_printable_line():
    """Whatever its message contains."""
    error = FiltertrackError(f"cannot read {CONTROL}:\n\t not there")
    assert str(error) == "cannot read a?[2J?b?c?d?e?: not there"
    assert str(FiltertrackError(OSError("x\x1b"))) == "x?"
    assert str(FiltertrackError()) == ""


def test_the_length_of_a_message_is_bounded():
    """A longer text is cut."""
    assert len(message_of("x" * 10**6)) < 5000


def test_log_records_are_printable(caplog):
    """The message, its arguments, and the traceback of an exception."""
    log = logging.getLogger("filtertrack")
    try:
        int(f"{CONTROL}")
    except ValueError as error:
        log.warning("could not read %s: %s", CONTROL, error, exc_info=True)
    text = logging.Formatter().format(caplog.records[-1])
    assert "could not read a?[2J?b?c?d?e?: invalid literal" in text
    assert "Traceback" in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("named", ["folder", "metric"])
def test_names_and_content_of_a_run_are_made_printable(run, named, caplog, tmp_path):
    """In errors and warnings."""
    if named == "folder":
        run.path.rename(tmp_path / "r\x1b[2J")
        (tmp_path / "r\x1b[2J" / "filters/snapshots/000000000001.npz").write_bytes(b"")
        animate(tmp_path / "r\x1b[2J", tmp_path / "a.gif", size=50)
    else:
        data = run.file(1).read_bytes()
        head = data.index(b"'descr'")
        run.file(1).write_bytes(data[:head] + b"'\x1b[2J'" + data[head + 7 :])
        animate(run, tmp_path / "a.gif", size=50)
    assert "left out step 1" in caplog.text
    assert "\x1b" not in caplog.text
