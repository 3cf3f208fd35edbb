"""A run that is open for writing: its snapshots, its pictures for TensorBoard, and its end."""

import logging
import shlex
import threading
import weakref
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Self

import numpy as np
from filelock import FileLock, Timeout

from filtertrack.errors import FiltertrackError, counted
from filtertrack.files import check_writable
from filtertrack.layer_matching import match_layers
from filtertrack.members import same_weights
from filtertrack.places import Place
from filtertrack.recorder import Recorder, room_for
from filtertrack.seen import SeenWeights
from filtertrack.snapshot import LayerInfo, Moment, Snapshot, total_bytes
from filtertrack.store import FOLDER, Run
from filtertrack.summaries import Summaries, event_bytes
from filtertrack.thinning import ThinnedRun

_log = logging.getLogger("filtertrack")
_MUCH = 10**9
_PICTURES = "pictures for TensorBoard"
_LOCK = ".lock"
_OPEN: "weakref.WeakValueDictionary[Place, Recording]" = weakref.WeakValueDictionary()
"""What this process has open: a lock alone does not say whose it is."""


class Recording:
    """Takes snapshots and sees to it that each is stored and drawn, in the background.

    Making one claims the folder: no other tracker can write there until it is closed, or its
    process has ended, however it ended. (Object storage knows no locks: there only trackers of this
    program are kept apart.) ``open`` then starts a run or goes on with the one there.

    Args:
        folder: What the user gave.
        session: What tells one training from another. In one thread a new training takes the
            folder over from an older one: that was interrupted, and Keras calls no hook then.
        keep: How many of the newest snapshots are kept, and at most how many older ones; None for
            all.
        strict: Raise when something is lost, instead of a warning.

    Raises:
        FiltertrackError: If the folder cannot be written, or another tracker writes there.
    """

    def __init__(
        self, folder: Place, session: object, *, keep: int | None = None, strict: bool = False
    ) -> None:
        self._folder = folder
        self._session = session
        self._thread = threading.get_ident()
        self._keep = keep
        self._strict = strict
        self._run: Run | None = None
        self._seen = SeenWeights()
        self._frozen: Collection[str] = ()
        self._recorder: Recorder | None = None
        self._summaries: Summaries | None = None
        self._closed = False
        self._released = False
        _check_writable(folder)
        self._lock = self._claim()

    @classmethod
    def in_new_folder(
        cls, folder: Place, session: object, *, keep: int | None = None, strict: bool = False
    ) -> Self:
        """Claim the first of ``exp1``, ``exp1-2``, ``exp1-3``, … that is free.

        Free is a folder that holds no run and in which no other tracker writes. Two processes never
        get the same one, but on object storage, which knows no locks.

        Raises:
            FiltertrackError: If it cannot be written.
        """
        for number in count(1):
            candidate = _numbered(folder, number)
            if Run.exists(candidate):
                continue
            try:
                recording = cls(candidate, session, keep=keep, strict=strict)
            except _TakenError:
                continue
            if not Run.exists(candidate):  # else another process has made one just now
                if number > 1:
                    _log.info("%s is taken: this run is in %s", folder, candidate)
                return recording
            recording.close()
        raise AssertionError("count does not end")

    @property
    def folder(self) -> Place:
        """The run's folder."""
        return self._folder

    @property
    def is_open(self) -> bool:
        """Whether snapshots can be put."""
        return self._recorder is not None

    def make_way(self, *, replace: bool) -> None:
        """See to it that a run that starts from the beginning finds none in its folder.

        Args:
            replace: Delete the run that is there; else it is an error.

        Raises:
            FiltertrackError: If there is a run; the message says what to do.
            OSError: If it cannot be deleted.
        """
        if not Run.exists(self._folder):
            return
        if not replace:
            raise FiltertrackError(
                f"{str(self._folder)!r} already holds a run, and training starts from the "
                f"beginning. Give FilterTracker another folder, existing='new' for a new one "
                f"beside it each time, or existing='replace' to delete that run; to go on with it, "
                f"call fit with initial_epoch"
            )
        Run.delete(self._folder)

    def make_way_from(self, step: int, *, replace: bool) -> None:
        """See to it that a loop by hand finds no snapshot at or past its first step.

        Args:
            step: The first step.
            replace: Delete what lies there; else it is an error.

        Raises:
            FiltertrackError: If there is one; the message says what to do.
            OSError: If it cannot be deleted.
        """
        if not Run.exists(self._folder):
            return
        run = Run(self._folder)
        steps = run.steps
        past = [there for there in steps if there >= step]
        if not past:
            return
        if not replace:
            raise FiltertrackError(
                f"{str(self._folder)!r} already holds a run, up to step {past[-1]}, and the first "
                f"snapshot is at step {step}. Go on from step {past[-1] + 1}, or give "
                f"FilterTracker another folder, existing='new' for a new one beside it each time, "
                f"or existing='replace' to delete what is there from step {step} on"
            )
        if past == steps:
            Run.delete(self._folder)
        else:
            run.truncate(step)
            _log.info("%s from step %d on deleted", counted(len(past), "snapshots"), step)

    def open(self, layers: Sequence[LayerInfo], software: Mapping[str, str]) -> list[LayerInfo]:
        """Start a run, or go on with the one in the folder.

        Args:
            layers: What each snapshot holds.
            software: Library name to version, for a new run's record.

        Returns:
            What each snapshot to ``put`` holds, in the order of ``layers``: in a run that is gone
            on with, layers keep the names that they have there.

        Raises:
            FiltertrackError: If the folder holds a run of other layers, or one that is damaged, or
                it cannot be written.
        """
        if self._closed:
            raise self._taken_over()
        try:
            if Run.exists(self._folder):
                self._run = Run(self._folder)
                held = _same_layers(self._run, layers)
            else:
                self._run = Run.create(self._folder, layers, software)
                held = list(layers)
        except OSError as error:
            raise _not_writable(self._folder, error) from error
        pairs = zip(layers, held, strict=True)
        self._frozen = {info.kernel for layer, info in pairs if not layer.trainable}
        return held

    def begin(self, *, by_hand: bool = False) -> None:
        """Be ready for snapshots; each must be at a later step than all that are there.

        Args:
            by_hand: Whether a loop of the user's own takes them.

        Raises:
            FiltertrackError: If this is closed.
            OSError: If a file cannot be read or deleted.
        """
        run = self._run
        if self._closed or run is None:
            raise self._taken_over()
        run.truncate((run.steps or [0])[-1] + 1)  # what a killed writer left half written
        self._seen = SeenWeights()
        kept = run if self._keep is None else ThinnedRun(run, self._keep)
        self._summaries = Summaries(run, keep=self._keep)
        self._recorder = Recorder(
            {
                "snapshots": partial(_store, self._seen, kept, by_hand),
                _PICTURES: self._summaries.add,
            },
            {_PICTURES: self._summaries.finish},
            room=room_for(total_bytes(list(run.layers.values()))),
            strict=self._strict,
        )

    def begin_from(
        self, start: Moment, weights: Mapping[str, np.ndarray] | None, *, redo: bool = False
    ) -> Moment:
        """Be ready for snapshots, and store what training starts from unless it is there.

        Nothing of the run is overwritten. What lies past the epoch that training goes on from is
        deleted only where it is trained again: from the very weights that the run holds of that
        epoch; or, where it holds none of it, if no further epoch was finished, as after a crash.
        Else it stays, and the steps go on after it.

        Args:
            start: Where training starts; the step is what its place in the training asks for.
            weights: What it starts from; None where that is not known.
            redo: Delete what lies past it whatever the weights are.

        Returns:
            The start as the run has it: what was stored there before, or ``start`` itself, at a
            later step where others are in its way.

        Raises:
            FiltertrackError: If this is closed.
            OSError: If a file cannot be read or deleted.
        """
        if self._closed or self._run is None:
            raise self._taken_over()
        last = self._make_way_past(self._run, start, weights, redo=redo)
        self.begin()
        if last and last.step >= start.step and weights and same_weights(last.arrays, weights):
            self.note(last.moment, weights)
            return last.moment
        moment = replace(start, step=max(start.step, last.step + 1)) if last else start
        if weights is not None:
            self.put(Snapshot(moment, weights))
        return moment

    def _make_way_past(
        self, run: Run, start: Moment, weights: Mapping[str, np.ndarray] | None, *, redo: bool
    ) -> Snapshot | None:
        """Delete what lies past the start, if it is trained again; return the last one left."""
        past: list[Moment] = []
        latest = last = None
        for step in reversed(run.steps):
            try:
                last = run.snapshot(step)
            except FiltertrackError:  # damaged: whether it lies past, those around it tell
                continue
            latest = latest or last
            if not _lies_past(last.moment, start):
                break
            past.append(last.moment)
            last = None
        if not past:
            return last
        if last is not None and _is_boundary(last.moment, start):
            again = weights is not None and same_weights(last.arrays, weights)
        else:
            again = past[0].epoch == start.epoch
        number = counted(len(past), "snapshots")
        if redo or again:
            run.truncate(past[-1].step)
            _log.warning("training goes on from epoch %d: %s past it deleted", start.epoch, number)
            return last
        _log.warning(
            "training goes on from epoch %d, with other weights than %s holds of it: %s past it "
            "stay, and steps go on after them (existing='replace' deletes them)",
            *(start.epoch, self._folder, number),
        )
        return latest

    def put(self, snapshot: Snapshot) -> None:
        """Hand a snapshot over. Its arrays must not change any more.

        Raises:
            FiltertrackError: If this is closed, or with ``strict``, if something was lost since the
                last call.
        """
        if self._recorder is None:
            raise self._taken_over()
        self._recorder.put(snapshot)

    def note(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember the weights of a moment without storing them, to tell later what came back."""
        if self._recorder is not None:
            self._recorder.put(partial(_note, self._seen, moment, arrays), counts=False)

    def put_last(self, snapshot: Snapshot, *, after: int, averaged: bool) -> None:
        """Hand over the weights at the very end of a training: stored if the run lacks them.

        Args:
            snapshot: The weights, at the moment that training had reached.
            after: The last step that was put.
            averaged: Whether the optimizer replaces weights by their averages in the end.
        """
        if self._recorder is None:
            raise self._taken_over()
        self._recorder.put(partial(_last_of, self._seen, snapshot, after=after, averaged=averaged))

    def close(self) -> None:
        """Wait until everything is written, add pictures of the whole evolution, say where it is.

        Raises:
            FiltertrackError: With ``strict``, if something was lost since the last call.
            OSError: If the pictures cannot be written.
        """
        self._closed = True
        recorder, self._recorder = self._recorder, None
        if self._run is None or self._summaries is None:  # it was never open
            self._release()
            return
        if recorder is None:  # closed before
            return
        try:
            if not recorder.close():
                return  # what does not answer is not asked for more
            self._summaries.add_evolution(self._run)
            self._summaries.finish()
            self._say_the_end(self._run)
        finally:
            recorder.after(self._release)  # now; but what hung and was given up may still write

    def _say_the_end(self, run: Run) -> None:
        still = self._seen.still if self._seen.count > 1 else ()
        for why, is_frozen in (("", False), (" (frozen)", True)):
            names = [
                info.name
                for info in run.layers.values()
                if info.kernel in still and (info.kernel in self._frozen) == is_frozen
            ]
            if names:
                _log.info("did not change%s: %s", why, _shortened(names))
        number, path = counted(len(run.steps), "snapshots"), shlex.quote(str(run.path))
        _log.info("%s in %s. Animation: filtertrack animate %s", number, path, path)

    def _release(self) -> None:
        """Let others write in the folder."""
        self._released = True
        if self._lock is not None:
            self._lock.release()

    def _claim(self) -> FileLock | None:
        """Keep other trackers out: those of this program, and on disk those of others as well."""
        folder = self._folder / FOLDER
        # Not the lock's own path: it may be a link, which is not followed.
        path = (folder.resolve() if isinstance(folder, Path) else folder) / _LOCK
        other = _OPEN.get(path)
        if other is not None and not other._makes_way_for(self._session):  # noqa: SLF001 - its own kind
            raise self._taken()
        lock = self._lock_file(path) if isinstance(path, Path) else None
        _OPEN[path] = self
        return lock

    def _makes_way_for(self, session: object) -> bool:
        """Close, if a new training shows that the one this belongs to was interrupted."""
        if self._session is not session and self._thread == threading.get_ident():
            with suppress(FiltertrackError, OSError):
                self.close()
        return self._released

    def _lock_file(self, path: Path) -> FileLock:
        """Lock a file; the operating system unlocks it when the process ends."""
        if path.is_symlink():
            path.unlink()
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise self._taken() from None
        except (OSError, NotImplementedError) as error:
            _log.warning("cannot lock %s, going on without: %s", path, error)
        return lock

    def _taken(self) -> "_TakenError":
        return _TakenError(
            f"another tracker is writing in {str(self._folder)!r}; give each its own folder, or "
            f"existing='new' for a new one beside it each time"
        )

    def _taken_over(self) -> FiltertrackError:
        return FiltertrackError(f"another training has taken over {str(self._folder)!r}")


class _TakenError(FiltertrackError):
    """Another tracker writes in the folder."""


def last_of_numbered(folder: Place) -> Place:
    """Return the last of ``exp1``, ``exp1-2``, … that holds a run; ``exp1`` where none does."""
    found = folder
    for number in count(1):
        candidate = _numbered(folder, number)
        if not Run.exists(candidate):
            return found
        found = candidate
    raise AssertionError("count does not end")


def _numbered(folder: Place, number: int) -> Place:
    if number == 1:
        return folder
    if isinstance(folder, Path) and not folder.name.strip("."):  # such as "."
        folder = folder.resolve()
    return folder.parent / f"{folder.name}-{number}"


def _store(seen: SeenWeights, run: Run | ThinnedRun, by_hand: bool, snapshot: Snapshot) -> None:  # noqa: FBT001
    seen.add(snapshot.moment, snapshot.arrays)
    if by_hand and seen.count == 2 and not seen.moved:
        _log.warning(
            "no tracked weight has changed since the first snapshot. A loop that trains a copy of "
            "the state, as with jax and model.stateless_call, must assign it back before each "
            "snapshot: for variable, value in zip(model.trainable_variables, trainable_variables): "
            "variable.assign(value)"
        )
    run.append(snapshot)


def _note(seen: SeenWeights, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
    seen.add(moment, arrays)


def _last_of(
    seen: SeenWeights, snapshot: Snapshot, *, after: int, averaged: bool
) -> Snapshot | None:
    """Say what the weights at the end of a training are; None where the run holds them already."""
    moment = snapshot.moment
    if seen.is_last(snapshot.arrays):
        return snapshot if moment.step > after else None
    earlier = seen.moment_of(snapshot.arrays)
    if earlier is not None:
        note, metrics = f"restored: {_short_when(earlier)}", earlier.metrics
    else:
        note, metrics = ("averaged" if averaged else "changed after the last epoch"), {}
    step = max(moment.step, after + 1)
    return Snapshot(replace(moment, step=step, metrics=metrics, note=note), snapshot.arrays)


def _short_when(moment: Moment) -> str:
    if not moment.step:
        return "before training"
    return f"step {moment.step}" if moment.epoch_batch else f"epoch {moment.epoch}"


def _lies_past(there: Moment, start: Moment) -> bool:
    """Whether a snapshot was taken later in the training than where it starts again."""
    if there.epoch != start.epoch:
        return there.epoch > start.epoch
    if there.epoch_batch is not None:
        return there.epoch_batch > 0
    known = there.batch is not None and start.batch is not None
    return known and (there.batch or 0) > (start.batch or 0)


def _is_boundary(there: Moment, start: Moment) -> bool:
    """Whether a snapshot was taken where a training starts again."""
    if there.batch is not None and start.batch is not None:
        return there.batch == start.batch
    return there.epoch == start.epoch and not there.epoch_batch


def announce(
    folder: Place,
    layers: Sequence[LayerInfo],
    remarks: Sequence[str],
    planned: int | None,
) -> None:
    """Say what is tracked and what is not, what it will cost, and where to watch.

    Args:
        folder: What the user gave.
        layers: What each snapshot holds.
        remarks: What the user should know about the choice of layers, a sentence each.
        planned: About how many snapshots there will be; None where that is not known.
    """
    _show_log()
    size, path = total_bytes(layers) + event_bytes(layers), shlex.quote(str(folder))
    whole = f"; about {planned} snapshots: {size * planned / 1e6:.1f} MB" if planned else ""
    names = [info.name for info in layers]
    cost = f"{counted(len(names), 'kernels')}, {size / 1e6:.2f} MB a snapshot with pictures{whole}"
    _log.info("tracking %s in %s (%s)", _shortened(names), path, cost)
    for remark in remarks:
        _log.info("%s", remark)
    if planned and size * planned > _MUCH:
        _log.warning(
            "this run will take about %.1f GB: track fewer layers (layers='first', or names) or "
            "take fewer snapshots (schedule=N: every N batches)",
            size * planned / 1e9,
        )
    _log.info(
        "watch: filtertrack view %s (or tensorboard --logdir %s: the tab Filters)", path, path
    )


def _shortened(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _show_log() -> None:
    """Show this package's messages where the program has set up no logging of its own."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("filtertrack: %(message)s"))
        _log.addHandler(handler)
        if _log.level == logging.NOTSET:  # else it is what the user has set
            _log.setLevel(logging.INFO)


def _check_writable(folder: Place) -> None:
    try:
        check_writable(folder / FOLDER)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Place, error: OSError) -> FiltertrackError:
    reason = error.strerror or error
    return FiltertrackError(
        f"cannot write in {str(folder)!r}: {reason}. Give FilterTracker another folder"
    )


def _same_layers(run: Run, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return what a run calls the layers of a model that goes on with it, in their order."""
    held = match_layers(layers, list(run.layers.values()))
    if held is not None:
        return held
    there = {info.kernel: info.kernel_shape for info in run.layers.values()}
    wanted = {info.kernel: info.kernel_shape for info in layers}
    lacking = [
        info.name for info in run.layers.values() if there[info.kernel] != wanted.get(info.kernel)
    ]
    new = [info.name for info in layers if wanted[info.kernel] != there.get(info.kernel)]
    differences = [
        f"{_shortened(names, 3)} {what}"
        for names, what in ((lacking, "only there"), (new, "only here"))
        if names
    ]
    raise FiltertrackError(
        f"{str(run.path)!r} holds a run of other layers ({'; '.join(differences)}), and the layers "
        f"of a run stay the same: choose them with layers= so that they are those of the whole "
        f"training, or give FilterTracker another folder"
    )
