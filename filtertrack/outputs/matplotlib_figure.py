"""Matplotlib figures that do not depend on the settings of matplotlib."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Affine2D

from filtertrack.render.palette import Rgb
from filtertrack.storage.local_files import write_whole

Colour = tuple[float, float, float]
"""Red, green and blue from 0 to 1, as matplotlib expects them."""

# Not ``mpl.rcdefaults``, which reads all style sheets. The backend is not restored by a context.
_SETTINGS: dict[Any, Any] = {
    **{name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"},
    # TrueType in PDF, since journals refuse Type 3; outlines in SVG; equal files for equal figures.
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


_PIXEL_TOLERANCE = 0.01
"""Distance of an image's edges from those of pixels, at most, that is an error of rounding."""


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


class PixelImage(AxesImage):
    """An image that is copied into the figure where one of its pixels is one of the figure.

    Matplotlib resamples every image, with the same result and several times the work.

    Args:
        axes: The axes, of the size of the image.
        pixels: ``uint8`` array of shape ``(height, width, 3)``.
    """

    def __init__(self, axes: Axes, pixels: np.ndarray) -> None:
        super().__init__(axes, interpolation="none", origin="upper")
        self.set_data(pixels)
        self.set_extent(self.get_extent())
        self.set_clip_path(axes.patch)
        axes.add_image(self)

    def make_image(
        self,
        renderer: Any,
        magnification: float = 1.0,
        unsampled: bool = False,  # noqa: FBT001, FBT002 - as the base class has it
    ) -> tuple[np.ndarray, float, float, Affine2D]:
        """Return the image as RGBA from its lowest row on, and its left and lower edge."""
        pixels = np.asarray(self.get_array())
        box = self.get_window_extent().extents
        edges = left, bottom, right, top = np.rint(box)
        is_exact = (top - bottom, right - left, 3) == pixels.shape and magnification == 1
        is_exact = is_exact and pixels.dtype == np.uint8
        is_exact = is_exact and abs(box - edges).max() < _PIXEL_TOLERANCE
        if unsampled or not is_exact or self.get_alpha() is not None:
            return super().make_image(renderer, magnification, unsampled)
        image = np.full((*pixels.shape[:2], 4), 255, np.uint8)
        image[..., :3] = pixels[::-1]
        return image, left, bottom, Affine2D().translate(left, bottom)


@contextmanager
def figure_settings() -> Iterator[None]:
    """Use matplotlib's defaults and our settings for files; then restore the program's."""
    with mpl.rc_context(_SETTINGS):
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
