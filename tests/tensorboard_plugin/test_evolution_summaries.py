"""Animations and filmstrips in TensorBoard, read back with its own reader."""

import io

import numpy as np
from PIL import Image

from filtertrack import Moment, Snapshot
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.look import Look
from filtertrack.tensorboard_plugin.summaries import Summaries


def test_the_animation_contains_every_snapshot(make_run, read_events, summarize):
    """With the pixels of AnimationFrames."""
    run = make_run(steps=range(7))
    summarize(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_timelapse/conv1")
    selection = select_from_run(run)
    look = Look(delta=False)
    frames = AnimationFrames(selection, plan(selection.moments[0], Pace(fps=8)), look, side=320)
    with Image.open(io.BytesIO(list(value.tensor.string_val)[2])) as image:
        assert image.n_frames == 7
        assert image.size[::-1] == frames.shape
        for number, picture in enumerate(frames.pictures()):
            image.seek(number)
            shown = np.asarray(image.convert("RGB"))
            np.testing.assert_array_equal(shown, frames.palette[picture])


def test_the_filmstrip_contains_the_first_epochs_of_a_long_run(
    make_run, conv_info, read_events, summarize
):
    """Which the animation skips; with the pixels of FilmstripPicture."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(200))
    summarize(run, steps=[0, 199])
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_filmstrip/conv1")
    width, height, file = list(value.tensor.string_val)
    chosen = select_from_run(run, steps=[0, 1, 2, 5, 10, 20, 30, 40, 64, 199])
    with Image.open(io.BytesIO(file)) as image:
        assert image.size == (int(width), int(height))
        card = FilmstripPicture(chosen, Look(delta=False)).card(320)
        np.testing.assert_array_equal(np.asarray(image), card)
    assert "Filmstrip" in value.metadata.summary_description


def test_the_animation_of_a_long_run_has_60_frames(make_run, conv_info, read_events, summarize):
    """With the first and the last snapshot."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(200))
    summarize(run, steps=[0, 199])
    (value,) = (v for _, v in read_events(run.folder) if v.tag.startswith("filters_timelapse"))
    with Image.open(io.BytesIO(list(value.tensor.string_val)[2])) as image:
        assert image.n_frames == 60
    assert "60 snapshots" in value.metadata.summary_description


def test_the_evolution_leaves_out_a_damaged_kernel(make_run, conv_info, read_events):
    """The pictures show the other snapshots, and their event has the step of the last of these."""
    run = make_run(conv_info(bias=False), steps=range(5))
    arrays = run.snapshot(4).arrays
    summaries = Summaries(run)
    for step in run.steps:
        summaries.add(run.snapshot(step))
    file, kernel = run.file(4), arrays["conv1/kernel"].tobytes()
    file.write_bytes(file.read_bytes().replace(kernel, bytes(len(kernel))))
    summaries.add_evolution(run)
    events = {value.tag: (step, value) for step, value in read_events(run.folder)}
    step, value = events["filters_timelapse/conv1"]
    assert step == 3
    assert "Animation of 4 snapshots" in value.metadata.summary_description


def test_a_matrix_has_no_filmstrip(make_run, conv_info, read_events, summarize):
    """Ten matrices side by side would be unreadable; it has an animation."""
    run = make_run(conv_info(kernel_shape=(1, 1, 8, 16)))
    summarize(run)
    tags = {value.tag for _, value in read_events(run.folder)}
    assert "filters_timelapse/conv1" in tags
    assert "filters_filmstrip/conv1" not in tags


def test_a_run_without_snapshots_has_no_animation(make_run, conv_info, read_events):
    """Such as if none could be stored."""
    run = make_run(conv_info())
    summaries = Summaries(run)
    summaries.add(run.snapshot(0))
    run.truncate(0)
    summaries.add_evolution(run)
    assert not any("timelapse" in value.tag for _, value in read_events(run.folder))


def test_a_layer_too_large_to_draw_is_skipped(make_run, conv_info, read_events, caplog):
    """The others are drawn, and a warning says why."""
    huge = conv_info("huge", (1, 1, 8000, 8000), bias=False, dtype="int8")
    run = make_run(huge, conv_info(), steps=[])
    for step in (0, 1):
        shapes = {
            "conv1/kernel": (3, 3, 1, 4),
            "conv1/bias": (4,),
            "huge/kernel": huge.kernel_shape,
        }
        arrays = {name: np.full(shape, step, np.int8) for name, shape in shapes.items()}
        run.append(Snapshot(Moment(step, step), arrays))
    summaries = Summaries(run)
    summaries._last = run.moment(1)
    summaries._events.start(0)
    summaries.add_evolution(run)
    assert "no picture of the evolution of huge" in caplog.text
    tags = {value.tag for _, value in read_events(run.folder)}
    assert {"filters_timelapse/conv1", "filters_filmstrip/conv1"} <= tags
