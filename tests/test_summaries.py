import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from filtertrack import Moment, Snapshot
from filtertrack.cells import to_cells, view_of
from filtertrack.film import Film
from filtertrack.grid import draw, to_image
from filtertrack.panel import Look
from filtertrack.scaling import value_range
from filtertrack.strip import Strip
from filtertrack.subject import choose
from filtertrack.summaries import Summaries
from filtertrack.timing import Pace, plan


def write(run, steps=None):
    summaries = Summaries(run)
    for step in run.steps if steps is None else steps:
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    return summaries


def strings(value):
    """The string tensor of a summary, whichever way the loader keeps it."""
    return list(value.tensor.string_val)


def test_tags_and_steps(run, read_events):
    """Picture, scalars, distributions a layer and snapshot; a table; two pictures of the whole."""
    write(run)
    events = read_events(run.folder)
    steps = {}
    for step, value in events:
        steps.setdefault(value.tag, []).append(step)
    expected = {"filters_layers": [0]}
    for layer in ("conv1", "conv2"):
        expected[f"filters/{layer}"] = [0, 1, 2]
        for name in ("drift", "norm", "roughness"):
            expected[f"filter_measures/{layer}/{name}"] = [0, 1, 2]
        for name in ("drift", "roughness"):
            expected[f"filter_distributions/{layer}/{name}"] = [0, 1, 2]
        expected[f"filters_timelapse/{layer}"] = [2]
        expected[f"filters_filmstrip/{layer}"] = [2]
    assert steps == expected


def test_the_picture_is_the_renderers(make_run, conv_info, read_events):
    """Decoded by Pillow, the image of each event is what the renderer draws, pixel for pixel."""
    run = make_run(conv_info(kernel_shape=(5, 5, 3, 8)), conv_info("deep", (3, 3, 8, 100)))
    write(run)
    like = None
    for step, value in read_events(run.folder):
        if not value.tag.startswith("filters/"):
            continue
        info = run.layer(value.tag.removeprefix("filters/"))
        view = view_of(info)
        cells = to_cells(view, run.kernels(info.name, step), like if info.name == "deep" else None)
        like = cells if info.name == "deep" else like
        pages = draw(view, cells, value_range(cells), 320)
        width, height, *files = strings(value)
        assert len(files) == len(pages) == (2 if info.name == "deep" else 1)
        for file, page in zip(files, pages, strict=True):
            with Image.open(io.BytesIO(file)) as image:
                assert image.size == (int(width), int(height))
                np.testing.assert_array_equal(
                    np.asarray(image.convert("RGB")), np.asarray(to_image(page).convert("RGB"))
                )


def test_descriptions_say_what_is_seen(run, read_events):
    """Shape, count, normalisation, dark and light; the same for every step of a tag."""
    write(run)
    texts = {}
    for _, value in read_events(run.folder):
        if value.tag.startswith("filters/"):
            texts.setdefault(value.tag, set()).add(value.metadata.summary_description)
    (text,) = texts["filters/conv2"] - {""}
    for part in ("3x3x4x6", "6 filters", "rank 1", "Normalised", "dark", "light"):
        assert part in text
    assert "grey" in next(iter(texts["filters/conv1"] - {""}))


def test_scalars_are_the_measures(run, read_events):
    """Drift is 0 at the start; the norm is the mean length of the filters."""
    write(run)
    scalars = {
        (value.tag, step): value.tensor.float_val[0]
        for step, value in read_events(run.folder)
        if value.tag.startswith("filter_measures")
    }
    assert scalars["filter_measures/conv1/drift", 0] == pytest.approx(0, abs=1e-6)
    start, end = (run.kernels("conv1", step).reshape(4, -1).astype(float) for step in (0, 2))
    lengths = np.linalg.norm(end, axis=1)
    assert scalars["filter_measures/conv1/norm", 2] == pytest.approx(lengths.mean(), rel=1e-6)
    cosine = (start * end).sum(axis=1) / lengths / np.linalg.norm(start, axis=1)
    drift = (1 - cosine).mean()
    assert scalars["filter_measures/conv1/drift", 2] == pytest.approx(drift, rel=1e-6)


def test_the_timelapse_holds_every_snapshot(make_run, read_events):
    """One animated picture a layer: its frames are the film's."""
    run = make_run(steps=range(7))
    write(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_timelapse/conv1")
    subject = choose(run)
    film = Film(subject, plan(subject.moments[0], Pace(fps=8)), Look(), side=320)
    with Image.open(io.BytesIO(strings(value)[2])) as image:
        assert image.n_frames == 7
        assert image.size[::-1] == film.shape
        for number, picture in enumerate(film.pictures()):
            image.seek(number)
            shown = np.asarray(image.convert("RGB"))
            np.testing.assert_array_equal(shown, film.palette[picture])


def test_the_filmstrip_shows_the_first_epochs_of_a_long_run(make_run, conv_info, read_events):
    """Also where the timelapse leaves them out; it is the strip's card, pixel for pixel."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(200))
    write(run, steps=[0, 199])
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_filmstrip/conv1")
    width, height, file = strings(value)
    chosen = choose(run, steps=[0, 1, 2, 5, 10, 20, 30, 40, 64, 199])
    with Image.open(io.BytesIO(file)) as image:
        assert image.size == (int(width), int(height))
        np.testing.assert_array_equal(np.asarray(image), Strip(chosen, Look()).card(320))
    assert "Filmstrip" in value.metadata.summary_description


def test_a_long_run_has_a_timelapse_of_bounded_length(make_run, conv_info, read_events):
    """Of 200 snapshots 60 are shown, the first and the last among them."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(200))
    write(run, steps=[0, 199])
    (value,) = (v for _, v in read_events(run.folder) if v.tag.startswith("filters_timelapse"))
    with Image.open(io.BytesIO(strings(value)[2])) as image:
        assert image.n_frames == 60
    assert "60 snapshots" in value.metadata.summary_description


def test_a_matrix_has_no_filmstrip(make_run, conv_info, read_events):
    """Ten matrices side by side on a card would be unreadable; its timelapse is there."""
    run = make_run(conv_info(kernel_shape=(1, 1, 8, 16)))
    write(run)
    tags = {value.tag for _, value in read_events(run.folder)}
    assert "filters_timelapse/conv1" in tags
    assert "filters_filmstrip/conv1" not in tags


def test_without_any_snapshot_there_is_nothing_to_draw(make_run, conv_info, read_events):
    """Where none could be stored, the end of training says nothing strange."""
    run = make_run(conv_info())
    summaries = Summaries(run)
    summaries.add(run.snapshot(0))
    run.truncate(0)
    summaries.add_evolution(run)
    assert not any("timelapse" in value.tag for _, value in read_events(run.folder))


def test_a_layer_too_large_to_draw_costs_only_its_own_pictures(
    make_run, conv_info, read_events, caplog
):
    """The others have theirs, and the log says why."""
    run = make_run(conv_info("huge", (1, 1, 8000, 8000), bias=False), conv_info(), steps=[0, 1])
    summaries = Summaries(run)
    summaries._last = run.moment(1)
    summaries._events.start(0)
    summaries.add_evolution(run)
    assert "no picture of the evolution of huge" in caplog.text
    tags = {value.tag for _, value in read_events(run.folder)}
    assert {"filters_timelapse/conv1", "filters_filmstrip/conv1"} <= tags


def test_the_table_names_every_layer(run, read_events):
    """One text: which layers are tracked, and their shapes."""
    write(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_layers")
    text = strings(value)[0].decode()
    assert "| `conv1` | Conv2D | 3×3×1×4 | 4 | 1 |" in text
    assert "| `conv2` | Conv2D | 3×3×4×6 | 6 | 4 |" in text


def test_the_same_step_twice_is_written_once(run, read_events):
    """TensorBoard would show both."""
    write(run, steps=[0, 1, 1, 0])
    tags = Counter((value.tag, step) for step, value in read_events(run.folder))
    assert set(tags.values()) == {1}


def test_values_that_are_not_finite_do_not_stop_it(run, read_events):
    """A loss that blew up still has its picture."""
    arrays = {name: np.full_like(a, np.nan) for name, a in run.snapshot(2).arrays.items()}
    summaries = Summaries(run)
    summaries.add(Snapshot(Moment(3, 3), arrays))
    tags = {value.tag for _, value in read_events(run.folder)}
    assert {"filters/conv1", "filter_measures/conv1/drift", "filters_layers"} <= tags
    assert not any(tag.startswith("filter_distributions") for tag in tags)


def test_a_record_that_was_cut_off_is_written_over(run, read_events, monkeypatch):
    """When a full disk cuts a record, the next one takes its place; none is unreadable."""
    import errno

    from filtertrack import summaries as room

    class FullDisk(room.RecordWriter):
        def write(self, data):
            super().write(data[:-1])
            raise OSError(errno.ENOSPC, "No space left on device")

    summaries = Summaries(run)
    summaries.add(run.snapshot(0))
    with monkeypatch.context() as patch:
        patch.setattr(room, "RecordWriter", FullDisk)
        with pytest.raises(OSError, match="No space"):
            summaries.add(run.snapshot(1))
    nothing = {name: np.zeros_like(a) for name, a in run.snapshot(2).arrays.items()}
    summaries.add(Snapshot(Moment(2, 2), nothing))  # a shorter record
    steps = [step for step, value in read_events(run.folder) if value.tag == "filters/conv1"]
    assert steps == [0, 2]


def test_a_folder_that_is_gone_is_noticed(run):
    """Writing into a file that nobody can see any more would be a silent loss."""
    import shutil

    summaries = Summaries(run)
    summaries.add(run.snapshot(0))
    snapshot = run.snapshot(1)
    shutil.rmtree(run.folder)
    with pytest.raises(FileNotFoundError):
        summaries.add(snapshot)
