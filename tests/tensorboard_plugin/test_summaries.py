"""The summaries of a run: tags, steps, the table, and the event file."""

import errno
import os
import re
import shutil
import socket
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from filtertrack import Moment, Run, Snapshot
from filtertrack.tensorboard_plugin import event_files as events
from filtertrack.tensorboard_plugin.summaries import Summaries, event_bytes


def test_all_tags_have_their_steps(run, read_events, summarize):
    """Images and scalars of each layer and snapshot; a table; two images of the run.

    What was learned has images from the second snapshot on. There are no histograms by default.
    """
    summarize(run)
    expected = {"filters_layers": [0]}
    for layer in ("conv1", "conv2"):
        expected[f"filters/{layer}"] = [0, 1, 2]
        expected[f"filters_learned/{layer}"] = [1, 2]
        for name in ("drift", "norm", "roughness"):
            expected[f"filter_{name}/{layer}"] = [0, 1, 2]
        expected[f"filters_timelapse/{layer}"] = [2]
        expected[f"filters_filmstrip/{layer}"] = [2]
    assert steps_of_tags(read_events(run.folder)) == expected


def steps_of_tags(events):
    """Return the steps of each tag."""
    steps = {}
    for step, value in events:
        steps.setdefault(value.tag, []).append(step)
    return steps


@pytest.mark.parametrize("images", [["conv2"], []], ids=["one", "none"])
def test_layers_without_images_have_scalars_only(run, read_events, summarize, images):
    """The table says which these are."""
    summarize(run, images=images)
    events = read_events(run.folder)
    steps = steps_of_tags(events)
    groups = ("filters", "filters_learned", "filters_timelapse", "filters_filmstrip")
    drawn = {f"{group}/{layer}" for group in groups for layer in images}
    scalars = {
        f"filter_{name}/{layer}"
        for name in ("drift", "norm", "roughness")
        for layer in ("conv1", "conv2")
    }
    assert set(steps) == {*drawn, *scalars, "filters_layers"}
    table = next(text_of(value) for _, value in events if value.tag == "filters_layers")
    assert re.search(r"`conv1`.*\| no \|", table)
    assert re.search(rf"`conv2`.*\| {'yes' if images else 'no'} \|", table)
    assert f"{len(images)} layer{'s' * (not images)} of 2 have images here; images='*'" in table


def test_the_description_of_an_image_says_how_to_have_all(run, read_events, summarize):
    """Unless every layer has images."""
    for images, said in (["conv2"], True), (["conv1", "conv2"], False):
        summarize(run, images=images)
        about = [
            value.metadata.summary_description
            for _, value in read_events(run.folder)
            if value.tag == "filters/conv2" and value.HasField("metadata")
        ]
        assert ("images='*'" in about[-1]) == said
        for file in run.folder.glob("events*"):
            file.unlink()


def text_of(value):
    """Return the text of a text summary."""
    (text,) = value.tensor.string_val
    return text.decode()


def test_the_table_lists_every_layer(run, read_events, summarize):
    """With its shape."""
    summarize(run)
    (value,) = (v for _, v in read_events(run.folder) if v.tag == "filters_layers")
    text = text_of(value)
    assert "images='*'" not in text
    assert "| `conv1` | Conv2D | 3×3×1×4 | 4 | 1 |" in text
    assert "| `conv2` | Conv2D | 3×3×4×6 | 6 | 4 |" in text


def test_a_step_is_written_once(run, read_events, summarize):
    """TensorBoard would show both."""
    summarize(run, steps=[0, 1, 1, 0])
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


@pytest.mark.parametrize("options", [{}, {"images": []}, {"histograms": True}], ids=str)
def test_event_bytes_of_many_layers_is_right_within_a_factor_of_two(
    tmp_path, conv_info, rng, options
):
    """Most of which have no images."""
    layers = [conv_info(f"conv{n}", (1 + 2 * (n % 2),) * 2 + (16, 16)) for n in range(60)]
    run = Run.create(tmp_path, layers)
    summaries, sizes = Summaries(run, **options), []
    for step in range(2):
        arrays = {
            each.kernel: rng.normal(size=each.kernel_shape).astype(np.float32) for each in layers
        }
        summaries.add(Snapshot(Moment(step, step), arrays))
        sizes.append(sum(file.stat().st_size for file in run.folder.glob("events*")))
    assert 0.5 < event_bytes(layers, **options) / (sizes[1] - sizes[0]) < 2


@pytest.mark.parametrize("count", [1, 8, 9, 53])
def test_a_deep_model_has_a_few_groups_of_few_images(count, tmp_path, conv_info, rng, read_events):
    """TensorBoard groups cards by the part of a tag before the first slash."""
    layers = [conv_info(f"block{n}/conv", (3, 3, 2, 2), bias=False) for n in range(count)]
    run = Run.create(tmp_path, layers)
    summaries = Summaries(run)
    for step in range(2):
        arrays = {info.kernel: rng.normal(size=info.kernel_shape) for info in layers}
        run.append(Snapshot(Moment(step, step), arrays))
        summaries.add(run.snapshot(step))
    summaries.add_evolution(run)
    groups = {}
    for _, value in read_events(run.folder):
        groups.setdefault(value.tag.partition("/")[0], set()).add(value.tag)
    sizes = {group: len(tags) for group, tags in groups.items()}
    images = dict.fromkeys(
        ("filters", "filters_learned", "filters_timelapse", "filters_filmstrip"), min(count, 8)
    )
    scalars = dict.fromkeys(("filter_drift", "filter_norm", "filter_roughness"), count)
    assert sizes == {**images, **scalars, "filters_layers": 1}
