"""Encoders of MP4 and WebM, which give the smallest files.

Video is lossy: it stores colour for every second pixel only, and rounds. In frames whose cells and
gaps begin at even pixels, weights of 8x8 pixels or more keep their colour within a few levels.

The frame rate is constant, and a picture that is shown for longer is repeated, which takes few
bytes. Video editors, and ffmpeg by default, drop or move pictures of a variable rate.
"""

from fractions import Fraction
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, Self, cast

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.render.encoders.tick_clock import TickClock

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Container = Literal["mp4", "webm"]

# Constant quality: at 18 and 24 the loss of either codec is not visible in squares of one colour.
_CODECS: dict[Container, tuple[str, dict[str, str]]] = {
    # Without B-frames the first picture is at time 0: with them some players begin later.
    "mp4": ("libx264", {"crf": "18", "preset": "medium", "bf": "0"}),
    "webm": (
        "libvpx-vp9",
        {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    ),
}
_MOST_REPEATS = 1 << 31
_THREADS = 2
_BT709, _LIMITED = 1, 1
"""Colour space and range, stored in the file: without them players guess from the frame size."""


class VideoWriter:
    """Writes a video: H.264 in MP4, or VP9 in WebM, with a constant frame rate.

    Args:
        file: Where to write, from its beginning; seekable, and left open.
        shape: Height and width of every frame; both even.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``. None if the
            frames hold colours.
        rate: Frames per second; see ``constant_rate``.
        container: ``"mp4"`` or ``"webm"``.

    Raises:
        FiltertrackError: If PyAV is not installed; the message names the extra.
    """

    def __init__(
        self,
        file: BinaryIO,
        shape: tuple[int, int],
        colours: np.ndarray | None,
        rate: int,
        container: Container = "mp4",
    ) -> None:
        check_encoder()
        import av  # noqa: PLC0415 - an extra

        self._colours = colours
        self._clock = TickClock(rate, _MOST_REPEATS)
        self._frames, self._frame_time = 0, Fraction(1, rate)
        codec, options = _CODECS[container]
        # Without "bitexact" a WebM holds random numbers, and the same frames give different files.
        self._container: OutputContainer = av.open(
            file, "w", format=container, options={"fflags": "+bitexact"}
        )
        stream = self._container.add_stream(codec, rate=rate, options=options)
        self._stream = cast("VideoStream", stream)
        self._stream.height, self._stream.width = shape
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        self._stream.time_base = context.time_base = self._frame_time
        context.flags |= av.codec.context.Flags.frame_duration
        context.thread_count = _THREADS
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Encode the remaining frames, unless an exception was raised; end the file."""
        try:
            if error is None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a picture, repeated as often as its duration takes at the frame rate.

        Args:
            frame: ``uint8`` array of the writer's shape, entries of the palette; or with a last
                axis of 3.
            seconds: How long it is shown. Rounding errors are carried over to the next one.
        """
        picture = self._converted(frame)
        picture.time_base, picture.duration = self._frame_time, 1
        for _ in range(self._clock.ticks(seconds)):
            picture.pts = self._frames
            self._frames += 1
            self._container.mux(self._stream.encode(picture))

    def _converted(self, frame: np.ndarray) -> "VideoFrame":
        import av  # noqa: PLC0415 - an extra

        pixels = frame if self._colours is None else self._colours[frame]
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        # "AREA" averages 2x2 pixels; other methods mix in pixels beyond, across edges.
        return picture.reformat(
            format="yuv420p",
            interpolation="AREA",
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
        )


def has_encoder() -> bool:
    """Return whether the encoder of videos is installed, without importing it."""
    return find_spec("av") is not None


def check_encoder() -> None:
    """Check that the encoder of videos is installed.

    Raises:
        FiltertrackError: If PyAV is not installed; the message names the extra.
    """
    try:
        import av  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise FiltertrackError(
            "MP4 and WebM need PyAV: pip install 'filtertrack[video]'; GIF, PNG and WebP need "
            "nothing more"
        ) from error
