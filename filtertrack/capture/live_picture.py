"""``LivePicture``: a picture below the cell of a notebook that follows training."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Condition, Thread

import numpy as np

from filtertrack.errors import FiltertrackError, in_notebook
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import RunSelection, default_layer
from filtertrack.outputs.timeline import Frame, plan
from filtertrack.render.encoders.png import to_png
from filtertrack.render.grid import PAGE
from filtertrack.render.look import Look
from filtertrack.snapshot import LayerInfo, Moment, Snapshot, describe
from filtertrack.storage.memory_run import MemoryRun
from filtertrack.storage.run import Run
from filtertrack.storage.run_format import Member
from filtertrack.web.replaceable_output import NotebookOutput, call_after_cells

_PAUSE = 2.0
"""Minimum seconds between two pictures."""
_MAX_SIZE = 50_000
"""Maximum size of a picture in bytes."""
_SIDE = 400
"""Longer side of the grid, in pixels."""
_MOST_MOMENTS = 1000
"""Maximum number of moments in the curves of the metrics; beyond it every second one is dropped."""
_DRAWING_TIME = 10.0
"""Maximum seconds that the page waits for a picture, or an earlier page, that is being drawn."""
_PAGE_TIME = 20.0
"""Maximum seconds that the end of the cell waits for the page."""
_log = logging.getLogger("filtertrack")


class LivePicture:
    """Shows the newest snapshot of a training below the cell that trains.

    The picture holds the layer that pictures show by default, under a caption with the step and its
    metrics. A thread of its own draws it, at most every two seconds; snapshots in between are not
    drawn. A fault is logged, and ends the pictures.

    At the end another thread replaces it by the page of the run. Only the end of the cell waits for
    the page, since programs that execute notebooks take no output after that of the last cell.

    Args:
        layers: The layers of the run.
    """

    def __init__(self, layers: Sequence[LayerInfo]) -> None:
        run = MemoryRun("live", layers, lambda _: {})
        self._info = run.layer(default_layer(run))
        self._filters = min(PAGE, self._info.filters)
        self._changed = Condition()
        self._newest: Snapshot | None = None
        self._moments: list[Moment] = []
        self._thread: Thread | None = None
        self._page: Thread | None = None
        self._on_page: Moment | None = None
        self._ended = False
        self._made = 0
        self._output = NotebookOutput("filtertrack: the filters are shown at the first snapshot")

    @classmethod
    def start(cls, layers: Sequence[LayerInfo]) -> "LivePicture | None":
        """Create the picture of a training that starts, in the thread that runs the cell.

        Returns:
            The picture; None outside a notebook, or if it cannot be shown.
        """
        if in_notebook():
            with _training_goes_on():
                live = cls(layers)
                call_after_cells(live._after_cell)
                return live
        return None

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot soon, unless a newer one comes before; this returns at once."""
        member = self._info.kernel
        with self._changed:
            if self._ended:
                return
            self._newest = Snapshot(snapshot.moment, {member: snapshot.arrays[member]})
            self._moments.append(snapshot.moment)
            if len(self._moments) > _MOST_MOMENTS:
                del self._moments[1:-1:2]
            if self._thread is None:
                thread = Thread(target=self._work, name="filtertrack live", daemon=True)
                with suppress(RuntimeError):  # the program ends
                    thread.start()
                    self._thread = thread

    def follow(self, run: Run) -> None:
        """Set the run, before its first snapshot is shown."""
        self._run = run
        with suppress(OSError):
            self._made = run.made()

    def finish(self) -> None:
        """Replace the picture by the page of the run soon; this returns at once."""
        with self._changed:
            self._ended, self._newest = True, None
            self._changed.notify()
        self._start_page()

    def _start_page(self) -> None:
        earlier = [thread for thread in (self._thread, self._page) if thread is not None]
        # Not a daemon: the page is shown also if the kernel ends before.
        page = Thread(target=self._show_page, args=(self._run, earlier), name="filtertrack page")
        with suppress(RuntimeError):  # the program ends
            page.start()
            self._page = page

    def _show_page(self, run: Run, earlier: Sequence[Thread]) -> None:
        """Show the page of the run, after earlier threads: the function of a thread of its own."""
        from filtertrack.web.notebook_page import run_html  # noqa: PLC0415 - not needed in a script

        for thread in earlier:
            thread.join(_DRAWING_TIME)  # otherwise its picture may come after the page
        with _training_goes_on():
            try:
                page = run_html(run)
            except (FiltertrackError, OSError):
                if self._is_replaced(run):
                    return
                raise
            if not self._is_replaced(run):  # otherwise the picture stays
                self._output.show_html(page, repr(run))

    def _is_replaced(self, run: Run) -> bool:
        """Whether the run was deleted meanwhile, as by a next training in its folder."""
        with suppress(OSError):
            return run.made() != self._made
        return True

    def _after_cell(self, *, succeeded: bool) -> bool:
        """Wait for the page at the end of a cell.

        After an error the page is shown although training may go on: ``fit`` that was interrupted
        calls no hook.

        Returns:
            Whether training may go on.
        """
        newest = self._moments[-1] if self._moments else None
        if not (succeeded or self._ended or newest is self._on_page):
            self._on_page = newest
            self._start_page()
        if self._page is not None:
            self._page.join(_PAGE_TIME)
        return not self._ended

    def _work(self) -> None:
        """Draw the newest snapshot until none comes for a while: the function of the thread."""
        while (snapshot := self._next()) is not None:
            shown = False
            with _training_goes_on():
                self._output.show_picture(self._draw(snapshot), describe(snapshot.moment))
                shown = True
            with self._changed:
                self._ended |= not shown
                self._changed.wait_for(lambda: self._ended, _PAUSE)

    def _next(self) -> Snapshot | None:
        """Return the newest snapshot that was not drawn; None, and the thread ends, without one."""
        with self._changed:
            snapshot, self._newest = self._newest, None
            if snapshot is None:
                self._thread = None
            return snapshot

    def _draw(self, snapshot: Snapshot) -> bytes:
        """Return a PNG file of a snapshot, with fewer filters where it would be too large."""
        info = self._info
        with self._changed:
            before = [each for each in self._moments if each.step < snapshot.step]
        moments = (*before, snapshot.moment)
        run = _NewestSnapshot(info.name, [info], lambda _: snapshot.arrays, snapshot.moment)
        steps = tuple(moment.step for moment in moments)
        selection = RunSelection((run,), (info.name,), steps, (moments,))
        # The caption has the curves of all moments; the only frame is of the last one.
        last = Frame(len(moments) - 1, 1.0)
        timeline = plan(moments, Pace())._replace(frames=[last])
        while True:
            look = Look(filters=range(self._filters), delta=False)
            frames = AnimationFrames(
                selection, timeline, look, side=_SIDE, indexed=False, remarks=self._remarks()
            )
            file = to_png(next(frames.pictures()), frames.colours)
            if len(file) <= _MAX_SIZE:
                return file
            if self._filters == 1:
                raise FiltertrackError(
                    f"a filter of {info.name} takes {len(file)} bytes, expected at most {_MAX_SIZE}"
                )
            self._filters //= 2

    def _remarks(self) -> list[str]:
        """Name the filters that are drawn, if not all are."""
        drawn, all_filters = self._filters, self._info.filters
        if drawn == all_filters:
            return []
        numbers = f"filters 0–{drawn - 1}" if drawn > 1 else "one filter"
        return [f"{numbers} of {all_filters}"]


class _NewestSnapshot(MemoryRun):
    """A run of which only the newest snapshot is drawn, and read at whatever step."""

    def _read(self, step: int, members: Sequence[Member]) -> dict[str, np.ndarray]:  # noqa: ARG002
        return super()._read(self.steps[0], members)


@contextmanager
def _training_goes_on() -> Iterator[None]:
    """Turn any error into a warning."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - training comes first, whatever happened
        bug = error if not isinstance(error, (FiltertrackError, OSError)) else None
        _log.warning("no live picture, training goes on: %s", error, exc_info=bug)
