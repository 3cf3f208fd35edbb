import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageSequence

from filtertrack.apng import to_apng
from filtertrack.palette import grey_palette

FRAMES = st.integers(2, 6).flatmap(lambda count: arrays(np.uint8, (count, 4, 6)))


@given(FRAMES)
def test_pillow_reads_every_frame_back(frames):
    """Each frame decodes to the palette's colours of its pixels, and shows as long as asked."""
    seconds = [0.1 * (1 + n) for n in range(len(frames))]
    data = to_apng(zip(frames, seconds, strict=True), len(frames), (4, 6), grey_palette())
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == len(frames)
        for number, (frame, shown) in enumerate(
            zip(frames, ImageSequence.Iterator(image), strict=True)
        ):
            np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), grey_palette()[frame])
            assert round(shown.info["duration"]) == 100 * (1 + number)


def test_it_plays_for_ever_and_shows_the_first_frame_where_nothing_moves():
    """A viewer that knows no APNG shows the first frame."""
    frames = [np.full((3, 3), 7, np.uint8), np.full((3, 3), 9, np.uint8)]
    data = to_apng([(frame, 0.5) for frame in frames], 2, (3, 3), grey_palette())
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["loop"] == 0
        assert image.default_image is False
        np.testing.assert_array_equal(np.asarray(image), frames[0])
