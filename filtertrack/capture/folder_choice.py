"""Chooses a training's folder according to ``existing``, and claims it for writing."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from filtertrack.capture.existing_run import check_or_delete_from, check_or_delete_run
from filtertrack.capture.run_writer import RunWriter
from filtertrack.capture.summary_options import DEFAULT_SUMMARIES, SummaryOptions
from filtertrack.errors import FiltertrackError
from filtertrack.storage.folder_lock import TakenError
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.retention import check_keep
from filtertrack.storage.run import Run
from filtertrack.storage.run_folders import last_numbered, next_numbered

_log = logging.getLogger("filtertrack")

Existing = Literal["error", "new", "replace"]


@dataclass(frozen=True, slots=True)
class FolderChoice:
    """Chooses and claims the folders of one tracker's runs.

    Attributes:
        folder: The folder given by the user.
        existing: What happens to an existing run: see ``FilterTracker``.
        keep: Number of snapshots that a run keeps; None for all.
        strict: Raise when something is lost, instead of logging a warning.
        go_on: How to continue an existing run, for the message that refuses it.
        summaries: What TensorBoard shows of the runs.

    Raises:
        FiltertrackError: If ``existing`` or ``keep`` is invalid.
    """

    folder: StoragePath
    existing: Existing = "error"
    keep: int | None = None
    strict: bool = False
    go_on: str = "call fit with initial_epoch"
    summaries: SummaryOptions = DEFAULT_SUMMARIES

    def __post_init__(self) -> None:
        """Validate the options."""
        if self.existing not in {"error", "new", "replace"}:
            raise FiltertrackError(
                f"existing: expected 'error', 'new' or 'replace', got {self.existing!r}"
            )
        if self.keep is not None:
            check_keep(self.keep)
            object.__setattr__(self, "keep", int(self.keep))

    @property
    def replaces(self) -> bool:
        """Whether snapshots that training repeats are deleted, whatever their weights are."""
        return self.existing == "replace"

    def for_training(
        self, session: object, *, from_start: bool, run_dir: StoragePath | None = None
    ) -> RunWriter:
        """Claim the folder of a training. If that starts from the beginning, it holds no run then.

        Args:
            session: Identifies the training.
            from_start: Whether training starts from the beginning.
            run_dir: The folder of the run to continue, if it is known.

        Raises:
            FiltertrackError: If the folder cannot be written, another tracker writes there, or it
                holds a run and training starts from the beginning.
            OSError: If a run to replace cannot be deleted.
        """
        if run_dir is not None or not from_start:
            return self.at(run_dir or self.latest(), session)
        if self.existing == "new":
            return self.new(session)
        run_writer = self.at(self.folder, session)
        with _closed_on_error(run_writer):
            check_or_delete_run(self.folder, replace=self.replaces, go_on=self.go_on)
        return run_writer

    def by_hand(self, session: object, step: int) -> RunWriter:
        """Claim the folder of a user's own loop. It holds no snapshot from the first step on then.

        Raises:
            FiltertrackError: If it holds such snapshots, cannot be written, or another tracker
                writes there.
            OSError: If snapshots to replace cannot be deleted.
        """
        folder = self.latest()
        if self.existing == "new" and _reaches(folder, step):
            return self.new(session)
        run_writer = self.at(folder, session)
        with _closed_on_error(run_writer):
            check_or_delete_from(folder, step, replace=self.replaces)
        return run_writer

    def latest(self) -> StoragePath:
        """Return the folder of the run that a training continues."""
        return last_numbered(self.folder) if self.existing == "new" else self.folder

    def at(self, folder: StoragePath, session: object) -> RunWriter:
        """Claim a folder, without regard to its contents.

        Raises:
            FiltertrackError: If it cannot be written, or another tracker writes there.
        """
        return RunWriter(
            folder, session, keep=self.keep, summaries=self.summaries, strict=self.strict
        )

    def new(self, session: object) -> RunWriter:
        """Claim the next of ``exp1``, ``exp1-2``, ``exp1-3``, … after the highest one in use.

        A folder is in use if it holds a run or snapshots of one, or another tracker writes there.
        Two processes never get the same folder, except on object storage, which has no locks.

        Raises:
            FiltertrackError: If the folder cannot be written.
        """
        for candidate in next_numbered(self.folder):
            try:
                run_writer = self.at(candidate, session)
            except TakenError:
                continue
            if Run.is_free(candidate):  # otherwise another process has just created a run there
                if candidate != self.folder:
                    _log.info("%s is taken: this run is in %s", self.folder, candidate)
                return run_writer
            run_writer.close()
        raise AssertionError("next_numbered ended")


def _reaches(folder: StoragePath, step: int) -> bool:
    return Run.exists(folder) and max(Run(folder).steps, default=-1) >= step


@contextmanager
def _closed_on_error(run_writer: RunWriter) -> Iterator[None]:
    try:
        yield
    except BaseException:
        run_writer.close()
        raise
