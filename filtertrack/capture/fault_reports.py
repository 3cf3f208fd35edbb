"""Turns faults during training into warnings: the first of a kind in full, the rest counted."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from filtertrack.errors import FiltertrackError

_log = logging.getLogger("filtertrack")


class FaultReports:
    """Turns faults into warnings, so that training goes on.

    Args:
        strict: Raise each fault instead.

    Example:
        >>> reports = FaultReports()
        >>> with reports.caught("take a snapshot"):
        ...     raise OSError("disk full")
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._counts: Counter[str] = Counter()
        self._raised: Exception | None = None

    @contextmanager
    def caught(self, what: str) -> Iterator[None]:
        """Turn any error into a warning the first time it occurs, and count it.

        Args:
            what: The failed action, such as ``"take a snapshot"``.
        """
        try:
            yield
        except Exception as error:
            if self._strict:
                raise
            self._count(what, error)

    def add(self, what: str, error: Exception) -> None:
        """Add a fault of another thread, on that thread; with ``strict``, ``report`` raises it."""
        if self._strict:
            self._raised = error
        else:
            self._count(what, error)

    def _count(self, what: str, error: Exception) -> None:
        self._counts[what] += 1
        if self._counts[what] == 1:
            bug = error if not isinstance(error, (FiltertrackError, OSError)) else None
            _log.warning("could not %s, training goes on: %s", what, error, exc_info=bug)

    def report(self) -> None:
        """Log the number of repeated faults, and reset the counts.

        Raises:
            FiltertrackError: If a fault was added by another thread, with ``strict``.
        """
        for what, count in self._counts.items():
            if count > 1:
                _log.warning("%d times: could not %s", count, what)
        self._counts.clear()
        error, self._raised = self._raised, None
        if error is not None:
            raise FiltertrackError(str(error) or type(error).__name__) from error
