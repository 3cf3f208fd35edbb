"""Read picture files as a model takes them: with its channels, values and a fitting size."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import LayerInfo

SIDE = 128
"""Pixels of the longer side of a picture, at most, by default."""
_MOST_PIXELS = 1 << 28
_RESCALED = 0.1
"""Factor of a first ``Rescaling``, below which the model takes values up to 255."""


def read_pictures(
    files: Sequence[str | Path],
    info: LayerInfo,
    *,
    side: int = SIDE,
    values: tuple[float, float] | None = None,
) -> list[np.ndarray]:
    """Read picture files for a first convolution.

    Args:
        files: PNG, JPEG, or any other format that imageio reads; of several frames the first.
        info: The layer; it tells how many channels the model takes.
        side: Longer side in pixels, at most: larger pictures are shrunk by area.
        values: The values of black and white in the model's input. None for 0 and 255 where the
            model rescales them, else for 0 and 1.

    Returns:
        For each file a ``float32`` array of shape ``(height, width, channels)``.

    Raises:
        FiltertrackError: If a file cannot be read, or the layer takes other than one or three
            channels.
    """
    channels = info.shape[3] * info.groups
    if channels not in {1, 3}:
        raise FiltertrackError(
            f"images: layer {info.name} takes {channels} channels, and a picture has one (grey) "
            f"or three (red, green, blue); give arrays to animate(responses=...)"
        )
    if side < 1:
        raise FiltertrackError(f"side: expected a whole number from 1 on, got {side}")
    low, high = _values_of(info) if values is None else values
    pictures = []
    for file in _expanded(files):
        picture = _shrunk(read_picture(Path(file)), side).convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(picture, np.float32).reshape(picture.height, picture.width, channels)
        pictures.append(low + pixels / 255 * (high - low))
    return pictures


def _expanded(files: Sequence[str | Path]) -> Iterator[Path]:
    """Yield the files, those that match a pattern in the order of their names."""
    for file in files:
        path = Path(file)
        matching = [] if path.exists() else sorted(path.parent.glob(path.name))
        if path.is_dir():
            raise FiltertrackError(
                f"{str(file)!r} is a folder; give its pictures, such as {str(path / '*.png')!r}"
            )
        yield from matching or [path]


def _values_of(info: LayerInfo) -> tuple[float, float]:
    """Return the values of black and white that a model probably takes."""
    first = (info.preprocessing or [None])[0]
    scales = first is not None and not first.pads
    return (
        (0.0, 255.0) if first and scales and max(map(abs, first.scale)) < _RESCALED else (0.0, 1.0)
    )


def read_picture(file: Path) -> Image.Image:
    """Read a picture file in its size and colours, with 8 bits a channel.

    Args:
        file: PNG, JPEG, or any other format that imageio reads; of several frames the first.

    Raises:
        FiltertrackError: If it cannot be read; the message names the file.
    """
    import imageio.v3 as iio  # noqa: PLC0415 - other commands start faster without it

    try:
        file.stat()  # not all versions of imageio say that a file does not exist
        pixels = np.asarray(iio.imread(file, index=0))
    except Exception as error:
        known = isinstance(error, OSError) and error.strerror
        reason = known or "it is no picture in a format that imageio reads, or damaged"
        raise FiltertrackError(f"cannot read the picture {str(file)!r}: {reason}") from error
    if pixels.ndim not in {2, 3} or not 0 < math.prod(pixels.shape[:2]) <= _MOST_PIXELS:
        raise FiltertrackError(
            f"cannot read the picture {str(file)!r}: expected a height and a width, got shape "
            f"{pixels.shape}"
        )
    if pixels.dtype == np.uint16:
        pixels = pixels // 257
    if pixels.ndim == 3 and pixels.shape[2] not in {3, 4}:
        pixels = pixels[:, :, 0]  # grey, perhaps with transparency
    return Image.fromarray(pixels.astype(np.uint8, copy=False))


def _shrunk(picture: Image.Image, side: int) -> Image.Image:
    share = side / max(picture.size)
    if share >= 1:
        return picture
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.BOX)
