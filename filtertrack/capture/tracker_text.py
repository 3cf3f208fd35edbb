"""The trackers in words, as Python and notebooks show them."""

from html import escape

from filtertrack.capture.training_session import TrainingSession
from filtertrack.errors import FiltertrackError, counted, listed, printable
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run import Run


def repr_of(tracker: object, folder: StoragePath, session: TrainingSession | None) -> str:
    """Return one line: the class, the run's folder and the tracked layers. No file is read.

    Args:
        tracker: The tracker.
        folder: The folder it writes, or will write.
        session: Its present or last training; None before the first.
    """
    layers = session.layers if session else []
    tracked = f": {listed(layers)}" if layers else ""
    return f"{type(tracker).__name__}({str(folder)!r}{tracked})"


def tracker_html(tracker: object, folder: StoragePath, session: TrainingSession | None) -> str:
    """Return a paragraph: where the tracker writes, which layers, and how many snapshots."""
    name, path = type(tracker).__name__, escape(printable(str(folder)))
    if session is None or not session.layers:
        return f"<p>{name} will write into <code>{path}</code> when training begins.</p>"
    layers = escape(listed(session.layers))
    try:
        number = counted(len(Run(folder).steps), "snapshots")
    except (FiltertrackError, OSError) as error:
        number = escape(f"no snapshot can be read: {error}")
    shown = escape(f"Run({str(folder)!r})")
    return (
        f"<p>{name} writes into <code>{path}</code>: {layers}; {number}. <code>{shown}</code> "
        f"shows them.</p>"
    )
