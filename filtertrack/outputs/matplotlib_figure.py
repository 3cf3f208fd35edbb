"""Matplotlib figures that do not depend on the settings of matplotlib."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from filtertrack.render.palette import Rgb
from filtertrack.storage.local_files import write_whole

Colour = tuple[float, float, float]
"""Red, green and blue from 0 to 1, as matplotlib expects them."""

# TrueType in PDF, since journals refuse Type 3; outlines in SVG; equal files for equal figures.
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
"""Endings of figure files, each with the metadata that would otherwise hold the date."""


class PaperFigure(Figure):
    """A matplotlib figure that a notebook displays and that is saved with our settings."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save the figure as matplotlib does, with ``figure_settings``."""
        with figure_settings():
            super().savefig(*arguments, **options)

    def _repr_png_(self) -> bytes:
        """Return the figure as a PNG file, for notebooks without a matplotlib backend."""
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


@contextmanager
def figure_settings() -> Iterator[None]:
    """Use matplotlib's defaults and our settings for files; then restore the program's."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SAVING)
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a file, whole or not at all.

    Args:
        figure: The figure.
        path: The file; its ending, one of ``FIGURE_FORMATS``, selects the format.

    Raises:
        OSError: If the file cannot be written.
    """
    ending = path.suffix.lower()
    write_whole(
        path, lambda file: figure.savefig(file, format=ending[1:], metadata=FIGURE_FORMATS[ending])
    )


def colour(rgb: Rgb) -> Colour:
    """Return a colour as matplotlib expects it."""
    red, green, blue = rgb
    return red / 255, green / 255, blue / 255
