import pytest

from filtertrack.capture.fault_reports import FaultReports
from filtertrack.errors import FiltertrackError


def test_the_first_fault_is_a_warning_and_the_rest_are_counted(caplog):
    """Each kind separately; the report resets the counts."""
    reports = FaultReports()
    for what in ("take a snapshot", "take a snapshot", "finish the run"):
        with reports.caught(what):
            raise OSError("disk full")
    reports.report()
    reports.report()
    assert [record.getMessage() for record in caplog.records] == [
        "could not take a snapshot, training goes on: disk full",
        "could not finish the run, training goes on: disk full",
        "2 times: could not take a snapshot",
    ]


def test_only_unexpected_errors_are_logged_with_a_traceback(caplog):
    """Errors that users can act on are one line."""
    reports = FaultReports()
    for what, error in (("a", OSError("full")), ("b", ZeroDivisionError())):
        with reports.caught(what):
            raise error
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


def test_strict_raises_and_ctrl_c_is_always_raised():
    """Ctrl-C is not a fault."""
    with pytest.raises(OSError, match="full"), FaultReports(strict=True).caught("a"):
        raise OSError("full")
    with pytest.raises(KeyboardInterrupt), FaultReports().caught("a"):
        raise KeyboardInterrupt


def test_fault_of_another_thread_is_a_warning_or_raised_by_the_report(caplog):
    """At once, or with ``strict`` when the training thread reports."""
    lenient, strict = FaultReports(), FaultReports(strict=True)
    for reports in (lenient, strict):
        reports.add("do it", FiltertrackError("broken"))
    assert [record.getMessage() for record in caplog.records] == [
        "could not do it, training goes on: broken"
    ]
    lenient.report()
    with pytest.raises(FiltertrackError, match="broken"):
        strict.report()
    strict.report()
