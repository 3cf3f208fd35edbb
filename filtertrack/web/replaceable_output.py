"""An output below a cell of a notebook, whose content can be replaced from any thread."""

import base64
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any
from weakref import WeakMethod

_WIDTH = 480
"""Maximum width at which a picture is shown, in pixels of the page."""


class NotebookOutput:
    """An output below the cell that creates it; only in an IPython kernel (``in_notebook``).

    Create it in the thread that runs the cell: an output that another thread displays appears below
    the cell that runs at that time. Its content is replaced in place: nothing flickers, and other
    output of the cell stays, such as the progress bar of Keras.

    Args:
        text: The text that is shown first.
    """

    def __init__(self, text: str) -> None:
        display = import_module("IPython.display").display
        self._handle = display({"text/plain": text}, raw=True, display_id=True)

    def show_picture(self, png: bytes, text: str) -> None:
        """Replace the content by a picture.

        Args:
            png: The PNG file.
            text: What is shown where pictures are not.
        """
        width = int.from_bytes(png[16:20], "big")  # of the file's header
        data = {"image/png": base64.b64encode(png).decode(), "text/plain": text}
        self._handle.update(data, raw=True, metadata={"image/png": {"width": min(width, _WIDTH)}})

    def show_html(self, html: str, text: str) -> None:
        """Replace the content by HTML.

        Args:
            html: The HTML.
            text: What is shown where HTML is not.
        """
        self._handle.update({"text/html": html, "text/plain": text}, raw=True)


def call_after_cells(method: Callable[..., bool]) -> None:
    """Call a method at the end of each cell, before the next one begins, until it returns False.

    Without IPython's events, or in another thread than that of the cells, it is never called.

    Args:
        method: A method of an object, which is referenced weakly. Its argument ``succeeded`` is
            whether the cell ended without an error; its return value is whether to call it again.
            An interrupt of it is ignored.
    """
    events = getattr(import_module("IPython").get_ipython(), "events", None)
    if events is None or threading.current_thread() is not threading.main_thread():
        return
    reference = WeakMethod(method)

    def call(result: Any) -> None:
        function, again = reference(), False
        if function is not None:
            with suppress(KeyboardInterrupt):
                # IPython gives no result of a cell that was cancelled.
                again = function(succeeded=bool(getattr(result, "success", False)))
        if not again:
            events.unregister("post_run_cell", call)

    events.register("post_run_cell", call)
