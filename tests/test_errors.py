import logging

import pytest

from filtertrack import FiltertrackError, animate
from filtertrack.errors import message_of, printable

NASTY = "a\x1b[2J\x07b\x9bc\u202ed\ud800e\x00"


def test_what_is_printable_stays():
    """Letters of any language; what would break a line or steer a terminal becomes a mark."""
    assert printable("größe 卷积 é") == "größe 卷积 é"
    assert printable(NASTY) == "a?[2J?b?c?d?e?"


def test_every_error_is_printable_and_in_one_line():
    """Whatever is put into it."""
    error = FiltertrackError(f"cannot read {NASTY}:\n\t not there")
    assert str(error) == "cannot read a?[2J?b?c?d?e?: not there"
    assert str(FiltertrackError(OSError("x\x1b"))) == "x?"
    assert str(FiltertrackError()) == ""


def test_a_message_is_bounded():
    """Of a text without end its beginning."""
    assert len(message_of("x" * 10**6)) < 5000


def test_what_is_logged_is_printable(caplog):
    """The message, what is put into it, and the trace of an exception."""
    log = logging.getLogger("filtertrack")
    try:
        int(f"{NASTY}")
    except ValueError as error:
        log.warning("could not read %s: %s", NASTY, error, exc_info=True)
    text = logging.Formatter().format(caplog.records[-1])
    assert "could not read a?[2J?b?c?d?e?: invalid literal" in text
    assert "Traceback" in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("named", ["folder", "metric"])
def test_nothing_of_a_run_steers_a_terminal(run, named, caplog, tmp_path):
    """Neither its folder's name nor what is in its files, in errors and warnings."""
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
