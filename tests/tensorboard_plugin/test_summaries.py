import errno
import io
import os
import re
import shutil
import socket
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from filtertrack import Moment, Run, Snapshot, measures
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.cells import to_cells, to_channels, view_of
from filtertrack.render.grid import draw_pages, to_image
from filtertrack.render.look import Look
from filtertrack.render.palette import SEPARATOR_RGB, colormap_levels, theme_palette
from filtertrack.render.scale_bar import BarTexts, bar_height, draw_scale_bar
from filtertrack.render.text import font_size
from filtertrack.render.value_range import ValueRange, range_of_cells
from filtertrack.tensorboard_plugin import event_files as events
from filtertrack.tensorboard_plugin.summaries import Summaries, event_bytes


def write(run, steps=None):
    summaries = Summaries(run)
    for step in run.steps if steps is None else steps:
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    return summaries


@pytest.fixture
def copied(tmp_path):
    """Copy a run, to write events into the copy."""

    def copy(run):
        shutil.copytree(run.path, tmp_path / "copy")
        return Run(tmp_path / "copy")

    return copy


def strings(value):
    """Return the string tensor of a summary value."""
    return list(value.tensor.string_val)


def test_all_tags_have_their_steps(run, read_events):
    """Images, scalars and histograms of each layer and snapshot; a table; two images of the run.

    What was learned has images from the second snapshot on.
    """
    write(run)
    events = read_events(run.folder)
    steps = {}
    for step, value in events:
        steps.setdefault(value.tag, []).append(step)
    expected = {"filters_layers": [0]}
    for layer in ("conv1", "conv2"):
        expected[f"filters/{layer}"] = [0, 1, 2]
        expected[f"filters_learned/{layer}"] = [1, 2]
        for name in ("drift", "norm", "roughness"):
            expected[f"filter_measures/{layer}/{name}"] = [0, 1, 2]
        for name in ("drift", "roughness"):
            expected[f"filter_distributions/{layer}/{name}"] = [0, 1, 2]
        expected[f"filters_timelapse/{layer}"] = [2]
        expected[f"filters_filmstrip/{layer}"] = [2]
    assert steps == expected


def decoded_pages(value):
    """Return the pages of an image summary, as Pillow decodes them; all have the stated size."""
    width, height, *files = strings(value)
    pages = []
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            assert image.size == (int(width), int(height))
            pages.append(np.asarray(image.convert("RGB")))
    return pages


LAYERS = {
    "colour": (5, 5, 3, 8),
    "deep": (3, 3, 8, 100),
    "grey": (3, 3, 1, 5),
    "matrix": (1, 1, 4, 9),
}


@pytest.fixture
def layers_run(make_run, conv_info):
    """A run with a layer of each kind."""
    return make_run(*(conv_info(name, shape) for name, shape in LAYERS.items()))


def test_images_are_those_of_the_renderer(layers_run, read_events):
    """Pixel for pixel, decoded by Pillow; a scale bar is below those of one value a weight."""
    write(layers_run)
    seen = set()
    for step, value in read_events(layers_run.folder):
        if not value.tag.startswith("filters/"):
            continue
        info = layers_run.layer(value.tag.removeprefix("filters/"))
        view = view_of(info)
        cells = to_cells(view, layers_run.kernels(info.name, step))
        pages = draw_pages(view, cells, range_of_cells(cells), 320)
        found = decoded_pages(value)
        assert len(found) == len(pages) == (2 if info.name == "deep" else 1)
        for picture, page in zip(found, pages, strict=True):
            expected = np.asarray(to_image(page).convert("RGB"))
            np.testing.assert_array_equal(picture[: len(page)], expected)
            bar = picture[len(page) :]
            assert len(bar) == (0 if view.coloured else bar_height(font_size(320)))
            check_bar(bar, colormap_levels("gray"), BarTexts("lowest", "", "highest"))
        seen.add(info.name)
    assert seen == set(LAYERS)


def check_bar(bar, colours, texts):
    """Check that a scale bar is that of a colormap; nothing where there is none."""
    if len(bar):
        drawn = draw_scale_bar(texts, bar.shape[1], font_size(320))
        np.testing.assert_array_equal(bar, theme_palette("dark", colours)[drawn])


def test_what_was_learned_is_the_difference_from_the_start(layers_run, read_events):
    """In blue and red around white, or in colour around mid-grey; none of a matrix."""
    write(layers_run)
    seen = set()
    for step, value in read_events(layers_run.folder):
        if not value.tag.startswith("filters_learned/"):
            continue
        info = layers_run.layer(value.tag.removeprefix("filters_learned/"))
        view = view_of(info)
        start, end = (layers_run.kernels(info.name, each).astype(float) for each in (0, step))
        cells = to_cells(view, end - start)
        least = np.abs(to_cells(view, start)).max(axis=(1, 2, 3)) / 256
        cells = np.where(np.abs(cells) < least.reshape(-1, 1, 1, 1), 0, cells)
        reach = np.maximum(np.abs(cells).max(axis=(1, 2, 3)), 4 * least)
        pages = draw_pages(view, cells, ValueRange(-reach, reach), 320)
        palette = theme_palette("dark", colormap_levels("RdBu_r"))
        for picture, page in zip(decoded_pages(value), pages, strict=True):
            expected = page if page.ndim == 3 else palette[page]
            np.testing.assert_array_equal(picture[: len(page)], expected)
            texts = BarTexts("decreased", "0", "increased")
            check_bar(picture[len(page) :], colormap_levels("RdBu_r"), texts)
        seen.add((info.name, step))
    assert seen == {(name, step) for name in ("colour", "deep", "grey") for step in (1, 2)}


def test_nothing_learned_is_a_blank_image(make_run, conv_info, read_events):
    """Changes below one grey level of the start have zero's colour everywhere."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 6), bias=False), steps=[0])
    kernel = run.snapshot(0).arrays["conv1/kernel"]
    run.append(Snapshot(Moment(1, 1), {"conv1/kernel": kernel + np.float32(1e-7)}))
    write(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_learned/conv1")
    (picture,) = decoded_pages(value)
    grid = picture[: -bar_height(font_size(320))]
    white = colormap_levels("RdBu_r")[117]
    assert set(map(tuple, grid.reshape(-1, 3).tolist())) == {tuple(white.tolist()), SEPARATOR_RGB}


def test_a_continued_run_has_what_was_learned_since_its_first_snapshot(run, read_events):
    """Not since the training was continued."""
    Summaries(run).add(run.snapshot(2))
    tags = {value.tag for _, value in read_events(run.folder)}
    assert {"filters_learned/conv1", "filters_learned/conv2"} <= tags


def test_learned_images_have_descriptions(layers_run, read_events):
    """Since when, the kernel, and what the colours mean."""
    write(layers_run)
    texts = {}
    for _, value in read_events(layers_run.folder):
        if value.tag.startswith("filters_learned/"):
            texts.setdefault(value.tag, set()).add(value.metadata.summary_description)
    for tag, said in texts.items():
        (text,) = said - {""}
        assert text.startswith("What training has added: the difference of each weight from")
        assert "x".join(map(str, LAYERS[tag.removeprefix("filters_learned/")])) in text
        colours = "Mid-grey is no change" if tag.endswith("colour") else "White is no change, red"
        assert colours in text


def test_images_have_descriptions(run, read_events):
    """Shape, count, normalisation, dark and light; the same at every step of a tag."""
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


def test_the_animation_contains_every_snapshot(make_run, read_events):
    """With the pixels of AnimationFrames."""
    run = make_run(steps=range(7))
    write(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_timelapse/conv1")
    selection = select_from_run(run)
    look = Look(delta=False)
    frames = AnimationFrames(selection, plan(selection.moments[0], Pace(fps=8)), look, side=320)
    with Image.open(io.BytesIO(strings(value)[2])) as image:
        assert image.n_frames == 7
        assert image.size[::-1] == frames.shape
        for number, picture in enumerate(frames.pictures()):
            image.seek(number)
            shown = np.asarray(image.convert("RGB"))
            np.testing.assert_array_equal(shown, frames.palette[picture])


def test_the_filmstrip_contains_the_first_epochs_of_a_long_run(make_run, conv_info, read_events):
    """Which the animation skips; with the pixels of FilmstripPicture."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(200))
    write(run, steps=[0, 199])
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_filmstrip/conv1")
    width, height, file = strings(value)
    chosen = select_from_run(run, steps=[0, 1, 2, 5, 10, 20, 30, 40, 64, 199])
    with Image.open(io.BytesIO(file)) as image:
        assert image.size == (int(width), int(height))
        card = FilmstripPicture(chosen, Look(delta=False)).card(320)
        np.testing.assert_array_equal(np.asarray(image), card)
    assert "Filmstrip" in value.metadata.summary_description


def test_the_animation_of_a_long_run_has_60_frames(make_run, conv_info, read_events):
    """With the first and the last snapshot."""
    run = make_run(conv_info(kernel_shape=(3, 3, 1, 2)), steps=range(200))
    write(run, steps=[0, 199])
    (value,) = (v for _, v in read_events(run.folder) if v.tag.startswith("filters_timelapse"))
    with Image.open(io.BytesIO(strings(value)[2])) as image:
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


def test_a_matrix_has_no_filmstrip(make_run, conv_info, read_events):
    """Ten matrices side by side would be unreadable; it has an animation."""
    run = make_run(conv_info(kernel_shape=(1, 1, 8, 16)))
    write(run)
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


def test_the_table_lists_every_layer(run, read_events):
    """With its shape."""
    write(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_layers")
    text = strings(value)[0].decode()
    assert "| `conv1` | Conv2D | 3×3×1×4 | 4 | 1 |" in text
    assert "| `conv2` | Conv2D | 3×3×4×6 | 6 | 4 |" in text


def test_a_step_is_written_once(run, read_events):
    """TensorBoard would show both."""
    write(run, steps=[0, 1, 1, 0])
    tags = Counter((value.tag, step) for step, value in read_events(run.folder))
    assert set(tags.values()) == {1}


def test_weights_that_are_not_finite_are_drawn(run, read_events):
    """They have images, but no measures."""
    arrays = {name: np.full_like(a, np.nan) for name, a in run.snapshot(2).arrays.items()}
    summaries = Summaries(run)
    summaries.add(Snapshot(Moment(3, 3), arrays))
    tags = {value.tag for _, value in read_events(run.folder)}
    images = {f"{name}/{layer}" for name in ("filters", "filters_learned") for layer in run.layers}
    assert tags == {*images, "filters_layers"}


def drawn_steps(run, steps, keep, read_events):
    summaries = Summaries(run, keep=keep)
    for step in steps:
        summaries.add(Snapshot(Moment(step, step), run.snapshot(run.steps[0]).arrays))
    summaries.finish()
    return [step for step, value in read_events(run.folder) if value.tag == "filters/conv1"]


@pytest.mark.parametrize(("first", "pace"), [(0, 1), (0, 50), (1000, 1)])
def test_with_keep_the_drawn_steps_are_logarithmically_spaced(
    make_run, conv_info, read_events, first, pace
):
    """At any pace and from any first step: the first ``keep`` and the last are drawn."""
    run = make_run(conv_info(kernel_shape=(2, 2, 1, 1)), steps=[first])
    keep, count = 5, 200
    steps = range(first, first + count * pace, pace)
    drawn = [(step - first) // pace for step in drawn_steps(run, steps, keep, read_events)]
    assert drawn[: keep + 1] == list(range(keep + 1))
    assert drawn[-1] == count - 1
    assert len(drawn) <= keep * (1 + np.log(count / keep)) + 2
    assert all(after <= before * (1 + 1 / keep) + 1 for before, after in pairwise(drawn[1:-1]))


def test_a_continued_training_with_keep_adds_few_drawn_steps(make_run, conv_info, read_events):
    """Its first step is drawn, then logarithmically spaced ones from the start of the run."""
    run = make_run(conv_info(kernel_shape=(2, 2, 1, 1)), steps=[0, 1000])
    drawn = drawn_steps(run, range(1001, 1500), 5, read_events)
    assert drawn == [1001, 1202, 1443, 1499]


def test_without_keep_every_step_is_drawn(make_run, conv_info, read_events):
    """Also of a long run."""
    run = make_run(conv_info(kernel_shape=(2, 2, 1, 1)), steps=[0])
    assert drawn_steps(run, range(100), None, read_events) == list(range(100))


WHOLE = events.open_to_change


def open_on_a_full_disk(path, *args):
    """Open a file that writes all but the last byte of a record, and fails."""
    file = WHOLE(path, *args)
    write = file.write

    def half(data):
        write(data[:-1])
        raise OSError(errno.ENOSPC, "No space left on device")

    file.write = half
    return file


def test_a_truncated_record_is_overwritten(run, read_events, monkeypatch):
    """As left by a full disk; the file can be read."""
    summaries = Summaries(run)
    summaries.add(run.snapshot(0))
    with monkeypatch.context() as patch:
        patch.setattr(events, "open_to_change", open_on_a_full_disk)
        with pytest.raises(OSError, match="No space"):
            summaries.add(run.snapshot(1))
    nothing = {name: np.zeros_like(a) for name, a in run.snapshot(2).arrays.items()}
    summaries.add(Snapshot(Moment(2, 2), nothing))  # a shorter record
    steps = [step for step, value in read_events(run.folder) if value.tag == "filters/conv1"]
    assert steps == [0, 2]


def test_a_deleted_folder_is_an_error(run):
    """Written records would be invisible."""
    summaries = Summaries(run)
    summaries.add(run.snapshot(0))
    snapshot = run.snapshot(1)
    shutil.rmtree(run.folder)
    with pytest.raises(FileNotFoundError):
        summaries.add(snapshot)


def raw_events(file):
    """Read the records of an event file and check their checksums."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader, events = PyRecordReader_New(str(file)), []
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return events
        events.append(Event.FromString(reader.record()))


def test_a_file_describes_a_tag_once(run):
    """At every step, descriptions would be a third of the bytes."""
    for steps in ([0, 1], [2]):
        summaries = Summaries(run)
        for step in steps:
            summaries.add(run.snapshot(step))
    values = [
        (file, value)
        for file in run.folder.glob("events.out.tfevents.*")
        for event in raw_events(file)
        for value in event.summary.value
    ]
    described = Counter((file, v.tag) for file, v in values if v.HasField("metadata"))
    assert set(described) == {(file, value.tag) for file, value in values}
    assert set(described.values()) == {1}
    assert len({file for file, _ in described}) == 2


@pytest.mark.parametrize("before", [0, 1, 2], ids=["version", "session", "snapshot"])
def test_a_failed_start_of_a_file_is_repeated(run, before, read_events):
    """The next snapshot starts the file again."""
    summaries = Summaries(run)
    opened = 0

    def full_at_last(path, *args):
        nonlocal opened
        opened += 1
        return open_on_a_full_disk(path, *args) if opened > before else WHOLE(path, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "open_to_change", full_at_last)
        with pytest.raises(OSError, match="No space"):
            summaries.add(run.snapshot(0))
    summaries.add(run.snapshot(1))
    (file,) = run.folder.glob("events.out.tfevents.*")
    version, session, snapshot = raw_events(file)
    assert version.file_version
    assert session.session_log.status == session.session_log.START
    assert "filters_layers" in {value.tag for value in snapshot.summary.value}
    for step, value in read_events(run.folder):
        assert step == 1
        assert value.metadata.plugin_data.plugin_name


def buckets(value):
    """Return a histogram's left edges, right edges and counts, as TensorBoard reads it."""
    from tensorboard.util import tensor_util

    read = tensor_util.make_ndarray(value.tensor)
    assert read.ndim == 2
    assert read.shape[1] == 3
    return read.T


def distributions(events):
    """Return the histograms by tag and step."""
    return {
        (value.tag, step): value
        for step, value in events
        if value.tag.startswith("filter_distributions/")
    }


def test_the_roughness_is_the_mean_of_the_measure(planted_run, copied, read_events):
    """Of the filters for which it is defined."""
    run = copied(planted_run)
    write(run)
    scalars = {
        (value.tag, step): value.tensor.float_val[0]
        for step, value in read_events(run.folder)
        if value.tag.endswith("/roughness") and value.tag.startswith("filter_measures/")
    }
    assert len(scalars) == 2 * len(run.steps)
    for layer in run.layers:
        for step in run.steps:
            rough = measures.roughness(run.kernels(layer, step))
            expected = np.nanmean(rough)
            tag = f"filter_measures/{layer}/roughness"
            assert scalars[tag, step] == pytest.approx(expected, rel=1e-6)
    assert scalars["filter_measures/conv2/roughness", 20] < 0.4, "all smooth by then"
    about = {
        value.metadata.summary_description
        for _, value in read_events(run.folder)
        if value.tag == "filter_measures/conv1/roughness"
    }
    assert any("1 is noise" in text for text in about)


def test_histograms_count_every_filter(planted_run, copied, read_events):
    """Each filter with a value is in one bucket; buckets span the values."""
    run = copied(planted_run)
    write(run)
    found = distributions(read_events(run.folder))
    assert len(found) == 2 * 2 * len(run.steps)
    for (tag, step), value in found.items():
        if step == run.steps[0]:
            assert value.metadata.plugin_data.plugin_name == "histograms"
        _, layer, name = tag.split("/")
        kernels = run.kernels(layer, step)
        values = {
            "drift": lambda kernels=kernels, layer=layer: measures.drift(
                kernels, run.kernels(layer, 0)
            ),
            "roughness": lambda kernels=kernels: measures.roughness(kernels),
        }[name]()
        values = values[np.isfinite(values)]
        assert len(values) == (7 if layer == "conv1" else 4), "zeros have neither"
        left, right, counts = buckets(value)
        assert counts.sum() == len(values)
        assert (left <= right).all()
        np.testing.assert_allclose(left[1:], right[:-1])
        inside = (values >= left[0] - 1e-12) & (values <= right[-1] + 1e-12)
        assert inside.all()
        for low, high, count in zip(left, right, counts, strict=True):
            assert ((values > low) & (values < high)).sum() <= count
        if np.ptp(values):
            assert (left[0], right[-1]) == (values.min(), values.max())


def test_histograms_have_descriptions(run, read_events):
    """The same at every step."""
    write(run)
    texts = {}
    for (tag, _), value in distributions(read_events(run.folder)).items():
        texts.setdefault(tag, set()).add(value.metadata.summary_description)
    assert len(texts) == 4
    for tag, said in texts.items():
        (text,) = said - {""}
        assert ("1 - cos(w, w0)" if tag.endswith("drift") else "1 is noise") in text


def test_histograms_omit_filters_that_are_not_finite(make_run, conv_info, read_events):
    """Of a layer without finite filters there is none."""
    run = make_run(conv_info(kernel_shape=(5, 5, 3, 6), bias=False))
    kernel = run.snapshot(2).arrays["conv1/kernel"].copy()
    kernel[..., 1], kernel[0, 0, 0, 2] = np.nan, np.inf
    summaries = Summaries(run)
    summaries.add(Snapshot(Moment(3, 3), {"conv1/kernel": kernel}))
    found = distributions(read_events(run.folder))
    assert set(found) == {(f"filter_distributions/conv1/{n}", 3) for n in ("drift", "roughness")}
    for value in found.values():
        assert buckets(value)[2].sum() == 4


@pytest.mark.parametrize("kernel_shape", [(1, 1, 8, 5), (1, 1, 1, 3), (3, 3, 1, 0), (3, 3, 1, 1)])
def test_undefined_measures_have_no_histogram(make_run, conv_info, read_events, kernel_shape):
    """Such as the roughness of a 1x1 kernel, and all of a layer without filters."""
    run = make_run(conv_info(kernel_shape=kernel_shape, bias=False))
    write(run)
    tags = {tag for tag, _ in distributions(read_events(run.folder))}
    expected = {"drift": kernel_shape[-1] > 0, "roughness": kernel_shape == (3, 3, 1, 1)}
    assert tags == {f"filter_distributions/conv1/{name}" for name, is_ in expected.items() if is_}


def test_slices_are_measured_as_channels(make_run, conv_info, read_events):
    """The slices of a 3-D kernel are side by side in the image, but not adjacent."""
    info = conv_info(
        kernel_shape=(5, 7, 7, 1, 3), axes=(4, 1, 0, 2, 3), shape=(3, 7, 35, 1), bias=False
    )
    run = make_run(info)
    write(run)
    kernels = run.kernels("conv1", 2)
    expected = measures.roughness(to_channels(view_of(info), kernels)).mean()
    assert expected != pytest.approx(measures.roughness(kernels).mean(), rel=1e-6)
    (rough,) = (
        value.tensor.float_val[0]
        for step, value in read_events(run.folder)
        if value.tag == "filter_measures/conv1/roughness" and step == 2
    )
    assert rough == pytest.approx(expected, rel=1e-6)


def test_values_that_differ_by_rounding_are_in_one_bucket(conv_info, tmp_path, read_events):
    """Such as the roughness of a filter and its mirror image."""
    info = conv_info(kernel_shape=(5, 5, 1, 4), bias=False)
    run = Run.create(tmp_path / "run", [info])
    base = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    kernel = np.stack([base, base[::-1], base.T, base[:, ::-1]], axis=-1)[:, :, None]
    run.append(Snapshot(Moment(0, 0), {info.kernel: kernel}))
    Summaries(run).add(run.snapshot(0))
    found = distributions(read_events(run.folder))
    assert buckets(found["filter_distributions/conv1/roughness", 0])[2].sum() == 4


def test_event_files_have_the_name_format_of_tensorboard(run):
    """With second and host, by which other programs such as wandb identify them."""
    Summaries(run).add(run.snapshot(0))
    (file,) = run.folder.glob("events.out.tfevents.*")
    host = re.escape(socket.gethostname())
    name = rf"events\.out\.tfevents\.\d{{10}}\.{host}\.{os.getpid()}\.\d+"
    assert re.fullmatch(name, file.name)


@pytest.mark.parametrize(
    "shape",
    [(9, 9, 3, 32), (3, 3, 64, 64), (3, 3, 256, 256), (1, 1, 256, 256), (16, 16, 3, 256)],
    ids=str,
)
def test_event_bytes_is_right_within_a_factor_of_two(tmp_path, conv_info, rng, shape):
    """For colour images, patterns, many pages, and a matrix."""
    info = conv_info("conv", shape, bias=False)
    run = Run.create(tmp_path, [info])
    summaries, sizes = Summaries(run), []
    for step in range(2):
        arrays = {info.kernel: rng.normal(size=shape).astype(np.float32)}
        summaries.add(Snapshot(Moment(step, step), arrays))
        sizes.append(sum(file.stat().st_size for file in run.folder.glob("events*")))
    assert 0.5 < event_bytes([info]) / (sizes[1] - sizes[0]) < 2
