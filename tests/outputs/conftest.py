"""Runs and helpers that the tests of several outputs share."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.look import Look


@pytest.fixture
def grey_run(make_run, conv_info):
    """A run of 8 one-channel filters of 9x9 at six steps."""
    return make_run(conv_info(kernel_shape=(9, 9, 1, 8)), steps=range(6))


@pytest.fixture
def colour_run(make_run, conv_info):
    """A run of 16 colour filters of 7x7 at five steps."""
    return make_run(conv_info(kernel_shape=(7, 7, 3, 16)), steps=range(5))


@pytest.fixture
def frames_of():
    """Return a function that returns the frames which ``animate`` draws of a run."""

    def make(run, side, look=None, **options):
        selection = select_from_run(run)
        timeline = plan(selection.moments[0], Pace())
        return AnimationFrames(selection, timeline, look or Look(), side=side, **options)

    return make


@pytest.fixture
def pillow_frames():
    """Return a function that decodes the frames of a file with Pillow."""

    def decode(path):
        with Image.open(path) as image:
            return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]

    return decode
