"""Responses to probes in TensorBoard: images and scalars, read back with its own reader."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.util import tensor_util

from filtertrack import FilterTracker, Run
from filtertrack.capture.response_reduction import ResponseReduction
from filtertrack.measures import class_selectivity, lifetime_sparsity
from filtertrack.outputs.response_card import draw_response_card
from filtertrack.render.cells import to_cells, view_of
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.storage.probe_format import write_probes
from filtertrack.tensorboard_plugin.summaries import Summaries, event_bytes


def snapshot_of(run, step):
    """Return a snapshot with its responses, as during training."""
    responses = {name: run.probe_responses(name, step) for name in run.probes.layers}
    return dataclasses.replace(run.snapshot(step), responses=responses)


@pytest.fixture
def found(probed_run, read_events):
    """The values of tags with responses: tag to step to value."""
    summaries = Summaries(probed_run)
    for step in probed_run.steps:
        summaries.add(snapshot_of(probed_run, step))
    return tags_of(read_events(probed_run.folder))


def tags_of(events):
    tags = {}
    for step, value in events:
        if value.tag.startswith("response"):
            tags.setdefault(value.tag, {})[step] = value
    return tags


def image_of(value):
    """Return the picture of an image summary in colour; it has the stated size."""
    width, height, file = value.tensor.string_val
    with Image.open(io.BytesIO(file)) as image:
        assert image.size == (int(width), int(height))
        return np.asarray(image.convert("RGB"))


def test_each_probed_layer_has_an_image_and_scalars(found):
    """A layer whose responses may be negative has no scalars."""
    assert {tag: list(steps) for tag, steps in found.items()} == {
        "responses/conv1": [0, 1, 2],
        "responses/conv2": [0, 1, 2],
        "response_silent_share/conv1": [0, 1, 2],
        "response_lifetime_sparsity/conv1": [0, 1, 2],
        "response_class_selectivity/conv1": [0, 1, 2],
    }


def test_images_are_the_cards_of_the_stored_responses(probed_run, found):
    probes = probed_run.probes
    for name, layer in probes.layers.items():
        view = view_of(probed_run.layer(name))
        for step in probed_run.steps:
            picture, palette = draw_response_card(
                probes.pictures(),
                view,
                to_cells(view, probed_run.kernels(name, step)),
                probed_run.probe_responses(name, step).values(),
                rectified=layer.rectified,
            )
            expected = picture if palette is None else palette[picture]
            np.testing.assert_array_equal(image_of(found[f"responses/{name}"][step]), expected)


def test_histograms_count_each_filter_and_probe(probed_run, read_events):
    """The mean of each feature map, also where responses may be negative; on request only."""
    Summaries(probed_run, histograms=True).add(snapshot_of(probed_run, 0))
    found = tags_of(read_events(probed_run.folder))
    for name in ("conv1", "conv2"):
        value = found[f"response_distribution/{name}"][0]
        means = probed_run.probe_responses(name, 0).mean
        left, right, counts = tensor_util.make_ndarray(value.tensor).T
        assert counts.sum() == means.size
        assert (left[0], right[-1]) == (means.min(), means.max())
        assert probed_run.probes.layers[name].read in value.metadata.summary_description


def test_layers_without_images_have_scalars_of_responses(probed_run, read_events):
    Summaries(probed_run, images=["conv2"]).add(snapshot_of(probed_run, 0))
    found = tags_of(read_events(probed_run.folder))
    assert "response_silent_share/conv1" in found
    assert {tag for tag in found if tag.startswith("responses/")} == {"responses/conv2"}


def test_scalars_are_means_of_the_measures(probed_run, found):
    for step in probed_run.steps:
        response = probed_run.probe_responses("conv1", step)
        expected = {
            "silent_share": 0.25 if step == 2 else 0,
            "lifetime_sparsity": np.nanmean(lifetime_sparsity(response.mean)),
            "class_selectivity": np.nanmean(
                class_selectivity(response.mean, probed_run.probes.labels).selectivity
            ),
        }
        for name, value in expected.items():
            (scalar,) = found[f"response_{name}/conv1"][step].tensor.float_val
            assert scalar == pytest.approx(value, rel=1e-6)


def test_descriptions_say_what_was_read_and_how_it_is_drawn(found):
    first = found["responses/conv1"][0].metadata.summary_description
    assert "Read: the output of relu1, after conv1." in first
    assert "the first 4 of 4 filters" in first
    assert "first 3 of 5 probes, which are drawn above." in first
    assert "from 0 (black) to the highest value of these maps (white)" in first
    assert "The maps are shrunk from 10x10" in first
    second = found["responses/conv2"][0].metadata.summary_description
    assert "red is positive, blue negative, white 0" in second
    assert "shrunk" not in second
    silent = found["response_silent_share/conv1"][0].metadata.summary_description
    assert silent.endswith("Read: the output of relu1, after conv1.")


def test_probes_that_are_no_images_are_described_so(probed_run, read_events):
    rows = {"images": np.ones((5, 12), np.float32)}
    write_probes(probed_run.folder, dataclasses.replace(probed_run.probes, inputs=rows))
    run = Run(probed_run.path)
    Summaries(run).add(snapshot_of(run, 0))
    image = tags_of(read_events(run.folder))["responses/conv1"][0]
    assert "5 probes, which are no images and not drawn." in image.metadata.summary_description
    assert image_of(image).shape[2] == 3


def test_a_snapshot_without_responses_has_no_such_tags(probed_run, read_events):
    summaries = Summaries(probed_run)
    summaries.add(probed_run.snapshot(0))
    summaries.add(snapshot_of(probed_run, 1))
    found = tags_of(read_events(probed_run.folder))
    assert {step for steps in found.values() for step in steps} == {1}


def test_without_labels_there_is_no_scalar_of_classes(probed_run, read_events):
    write_probes(probed_run.folder, dataclasses.replace(probed_run.probes, labels=None))
    run = Run(probed_run.path)
    Summaries(run).add(snapshot_of(run, 0))
    found = tags_of(read_events(run.folder))
    assert "response_lifetime_sparsity/conv1" in found
    assert "response_class_selectivity/conv1" not in found


def test_without_maps_there_are_scalars_only(probed_run, read_events):
    snapshot = snapshot_of(probed_run, 0)
    write_probes(probed_run.folder, dataclasses.replace(probed_run.probes, maps=0))
    run = Run(probed_run.path)
    without = {
        name: dataclasses.replace(each, maps=each.maps[:0])
        for name, each in snapshot.responses.items()
    }
    Summaries(run).add(dataclasses.replace(snapshot, responses=without))
    found = tags_of(read_events(run.folder))
    assert "response_silent_share/conv1" in found
    assert "responses/conv1" not in found


@pytest.mark.parametrize("broken", ["conv1", "conv2"])
def test_a_response_that_cannot_be_drawn_leaves_all_other_images(probed_run, read_events, broken):
    """The error is raised at the end; the next snapshot is drawn as usual."""
    summaries = Summaries(probed_run)
    snapshot = snapshot_of(probed_run, 0)
    response = snapshot.responses[broken]
    short = dataclasses.replace(response, maps=response.maps[..., :0])
    with pytest.raises(ValueError, match="cannot reshape"):
        summaries.add(
            dataclasses.replace(snapshot, responses={**snapshot.responses, broken: short})
        )
    summaries.add(snapshot_of(probed_run, 1))
    steps = {}
    for step, value in read_events(probed_run.folder):
        steps.setdefault(value.tag, []).append(step)
    (other,) = {"conv1", "conv2"} - {broken}
    assert steps["filters/conv1"] == steps["filters/conv2"] == [0, 1]
    assert steps[f"responses/{other}"] == [0, 1]
    assert steps[f"responses/{broken}"] == [1]


def test_damaged_probes_leave_all_other_images(probed_run, read_events):
    snapshot = snapshot_of(probed_run, 0)
    file = probed_run.folder / "probes.npz"
    file.write_bytes(file.read_bytes()[:-60])
    run = Run(probed_run.path)
    with pytest.raises(Exception, match=r"probes\.npz"):
        Summaries(run).add(snapshot)
    tags = {value.tag for _, value in read_events(run.folder)}
    assert {"filters/conv1", "filters/conv2"} <= tags


def test_training_with_probes_writes_responses(tiny_model, data, tmp_path, read_events):
    """At each snapshot, from the one before training on."""
    images, targets = data
    tracker = FilterTracker(tmp_path / "run", probes=images[:4])
    tiny_model.fit(images, targets, epochs=2, verbose=0, callbacks=[tracker])
    run = Run(tmp_path / "run")
    found = tags_of(read_events(run.folder))
    assert list(found["responses/conv1"]) == run.steps[:]
    assert list(found["response_silent_share/conv1"]) == run.steps[:]
    for step in run.steps:
        assert image_of(found["responses/conv2"][step]).std() > 0


@pytest.mark.parametrize(
    ("shape", "side"), [((9, 9, 3, 48), 14), ((3, 3, 64, 64), 7), ((3, 3, 1, 16), 32)], ids=str
)
def test_event_bytes_of_probes_is_right_within_a_factor_of_two(
    make_run, conv_info, rng, shape, side
):
    """For maps of random values."""
    run = make_run(conv_info("conv", shape), steps=[0, 1])
    layer = ProbedLayer("conv", "its output", True, (side, side), (side, side))
    images = rng.uniform(size=(8, 28, 28, 3)).astype(np.float32)
    probes = StoredProbes({"images": images}, {"conv": layer}, 8)
    write_probes(run.folder, probes)
    summaries, sizes = Summaries(run), []
    for step in (0, 1):
        reduction = ResponseReduction(layer, 8)
        reduction.add(np.maximum(rng.normal(size=(8, side, side, shape[-1])), 0))
        responses = {"conv": reduction.result()}
        summaries.add(dataclasses.replace(run.snapshot(step), responses=responses))
        sizes.append(sum(file.stat().st_size for file in run.folder.glob("events*")))
    estimate = event_bytes(list(run.layers.values()), probes)
    assert 0.5 < estimate / (sizes[1] - sizes[0]) < 2
