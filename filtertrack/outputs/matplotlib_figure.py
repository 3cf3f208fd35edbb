"""Figures for paper that look the same everywhere, whatever matplotlib is set to."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from filtertrack.render.palette import Rgb
from filtertrack.storage.files import write_whole

Colour = tuple[float, float, float]
"""As matplotlib takes it: 0 to 1 each."""

# TrueType in PDF (journals refuse Type 3), outlines in SVG; and the same figure makes the same
# file.
_SAVING: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "filtertrack",
}
FIGURE_FORMATS: dict[str, dict[str, None]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""The endings, and what a file of each would otherwise say of the day it was made on."""


class PaperFigure(Figure):
    """A matplotlib figure; in a notebook it displays itself."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save the figure as matplotlib does, but whatever its settings are, in the same way."""
        with figure_settings():
            super().savefig(*arguments, **options)

    def _repr_png_(self) -> bytes:
        """Return the figure as a PNG file, for notebooks that have not set up matplotlib."""
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


@contextmanager
def figure_settings() -> Iterator[None]:
    """Set matplotlib as our figures need it, whatever the program has set; then back."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SAVING)
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure so that its name appears only once it is there whole.

    Args:
        figure: What is written.
        path: The file; its ending, one of ``FIGURE_FORMATS``, says the format.

    Raises:
        OSError: If the file cannot be written.
    """
    ending = path.suffix.lower()
    write_whole(
        path, lambda file: figure.savefig(file, format=ending[1:], metadata=FIGURE_FORMATS[ending])
    )


def colour(rgb: Rgb) -> Colour:
    """Return a colour as matplotlib takes it."""
    red, green, blue = rgb
    return red / 255, green / 255, blue / 255
