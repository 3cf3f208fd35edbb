"""File formats of animations, by file extension."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.render.encoders.gif import GifWriter
from filtertrack.render.encoders.png import AnimatedPngWriter
from filtertrack.render.encoders.tick_clock import constant_rate
from filtertrack.render.encoders.video import VideoWriter, check_encoder, has_encoder
from filtertrack.render.encoders.webp import WebpWriter


class Writer(Protocol):
    """Writes the frames of one animation."""

    def add(self, frame: Any, seconds: float) -> None:
        """Add a frame, and the time for which it is shown.

        A frame is an array, or of a format whose frames have a palette also a ``Repaint``.
        """


Open: TypeAlias = Callable[
    [BinaryIO, tuple[int, int], np.ndarray | None, Sequence[float]], AbstractContextManager[Writer]
]
"""Opens a writer: from the file, the frames' shape, their palette or None, and their durations."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        mime: Its media type.
        make: Opens a writer: from the file, the frames' shape, their palette or None, and the
            number of loops, or of a video the frame rate.
        longest: Longest side of a frame, in pixels.
        palette: Whether a frame has at most 256 colours.
        video: Whether it is a video: stores colour for every second pixel only, and leaves the
            number of loops to the player.
    """

    mime: str
    make: Callable[..., AbstractContextManager[Writer]]
    longest: int
    palette: bool = False
    video: bool = False

    @property
    def is_available(self) -> bool:
        """Whether the encoder is installed; it is not imported."""
        return not self.video or has_encoder()

    def opener(self, loop: int | None) -> Open:
        """Return a function that opens a writer.

        Args:
            loop: How often the animation plays; 0 for ever. None for the format's default.

        Raises:
            FiltertrackError: If the format does not have this option, or its encoder is missing.
        """
        if not self.video:
            loop = 0 if loop is None else loop
            if not isinstance(loop, int) or not 0 <= loop < 1 << 16:
                raise FiltertrackError(f"loop: expected 0 (for ever) to 65535, got {loop}")
            return lambda file, shape, colours, _: self.make(file, shape, colours, loop)
        check_encoder()
        if loop is not None:
            raise FiltertrackError(
                "loop: how often a video plays is up to its player; leave it out, or write a GIF, "
                "PNG or WebP"
            )
        return lambda file, shape, colours, seconds: self.make(
            file, shape, colours, constant_rate(seconds)
        )

    def check_shape(self, shape: tuple[int, int]) -> None:
        """Check that frames fit into the format.

        Raises:
            FiltertrackError: If a side is too long.
        """
        if max(shape) > self.longest:
            raise FiltertrackError(
                f"size: frames of {shape[1]}x{shape[0]} pixels do not fit; {self.mime} holds at "
                f"most {self.longest} a side"
            )


ANIMATION_FORMATS: dict[str, Format] = {
    ".gif": Format("image/gif", GifWriter, (1 << 16) - 1, palette=True),
    ".png": Format("image/png", AnimatedPngWriter, (1 << 31) - 1),
    ".apng": Format("image/png", AnimatedPngWriter, (1 << 31) - 1),
    ".webp": Format("image/webp", WebpWriter, (1 << 14) - 1),
    ".mp4": Format("video/mp4", partial(VideoWriter, container="mp4"), 1 << 14, video=True),
    ".webm": Format("video/webm", partial(VideoWriter, container="webm"), 1 << 14, video=True),
}


def format_of(path: Path) -> Format:
    """Return the format of a file by its extension, one of those in ``ANIMATION_FORMATS``.

    Example:
        >>> format_of(Path("evolution.webp")).mime
        'image/webp'
    """
    return ANIMATION_FORMATS[path.suffix.lower()]
