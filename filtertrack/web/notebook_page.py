"""The interactive page of a run as the output of a notebook's cell.

The output is a still picture with the page over it, in an ``iframe`` of its own origin: neither the
page nor the notebook can change the other. Where a notebook is shown without frames, as on GitHub,
the picture remains.
"""

import base64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.filmstrip_picture import FilmstripPicture, spread_steps
from filtertrack.outputs.run_selection import (
    RunSelection,
    default_layer,
    select_from_run,
    skip_damaged,
)
from filtertrack.render.encoders.png import to_png
from filtertrack.render.look import Look
from filtertrack.storage.run import Run
from filtertrack.web.file_answers import cell_values
from filtertrack.web.html_file import fitting_text

_MAX_SIZE = 1_900_000
"""Maximum size of the output in bytes: GitHub shows no notebook with much more than 2 MB."""
_WIDTH, _HEIGHT = 720, 640
"""Width of the still picture and height of the page, in pixels."""
_ROWS = 12
"""Maximum number of filters in the still picture."""


def run_html(run: Run) -> str:
    """Return a still picture of a run, with its page over it.

    The page holds the layer that is shown by default, and others as far as they fit. If not even
    two steps of that layer fit, the picture is shown alone.

    Args:
        run: The run.

    Raises:
        FiltertrackError: If the run has no snapshot that can be read.
        OSError: If it is on object storage and cannot be reached.
    """
    first = default_layer(run)
    layers = _fitting_layers(run, first)
    selection = select_from_run(run, layers=layers, steps=None)
    picture = base64.b64encode(_still(selection, first)).decode()
    title = f"filters of the run {escape(run.path.name)}"
    image = (
        f'<img alt="{title}" style="max-height:{_HEIGHT}px" src="data:image/png;base64,{picture}">'
    )
    frame = ""
    with suppress(FiltertrackError):  # the run is too large for a page
        _check_size(run, first)
        notes = [_note(layers, run)] if len(layers) < len(run.layers) else []
        text, _ = fitting_text([selection], _MAX_SIZE - len(picture), notes=notes)
        over = f"position:absolute;inset:0;width:100%;height:{_HEIGHT}px;border:0;background:#fff"
        frame = (
            f'<iframe title="{title}" sandbox="allow-scripts allow-downloads" style="{over}" '
            f'srcdoc="{escape(text)}"></iframe>'
        )
    height = f";min-height:{_HEIGHT}px" if frame else ""
    return f'<div style="position:relative;max-width:100%{height}">{image}{frame}</div>'


def _check_size(run: Run, layer: str) -> None:
    """Raise an error for a layer that is too large for a page, before minutes of work on it.

    Two steps of 16 bits a value have the bytes of one step; compression leaves more than a third.
    """
    size = _cell_bytes(run, layer) // max(1, len(run.steps))
    if size > 3 * _MAX_SIZE:
        raise FiltertrackError(f"two steps take {size} bytes, expected at most {3 * _MAX_SIZE}")


def _fitting_layers(run: Run, first: str) -> list[str]:
    """Return a layer, and those others whose cells are small enough together with it."""
    chosen, size = [first], _cell_bytes(run, first)
    for name in run.layers:
        more = _cell_bytes(run, name)
        if name != first and size + more <= _MAX_SIZE:
            chosen.append(name)
            size += more
    return [name for name in run.layers if name in chosen]


def _note(layers: Sequence[str], run: Run) -> str:
    return f"{len(layers)} of {len(run.layers)} layers; filtertrack.to_html(...) has more"


def _cell_bytes(run: Run, layer: str) -> int:
    """Return the bytes of a layer's cells at all steps, before they are compressed."""
    return 4 * cell_values(run.layer(layer)) * len(run.steps)


def _still(selection: RunSelection, layer: str) -> bytes:
    """Return a PNG file with a filmstrip of a layer at some of the selected steps."""
    run, moments = selection.runs[0], selection.moments[0]
    info = run.layer(layer)
    chosen = spread_steps(selection.steps, epochs=moments[-1].counts_epochs)
    drawn = replace(selection, layers=(layer,)).at(chosen)

    def draw(readable: RunSelection) -> bytes:
        look = Look(filters=range(min(_ROWS, info.filters)), delta=False)
        return to_png(FilmstripPicture(readable, look).card(_WIDTH))

    return skip_damaged(drawn, draw)
