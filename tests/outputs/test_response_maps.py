"""Where the feature maps of a picture come from."""

from dataclasses import replace

import numpy as np
import pytest

from filtertrack import FiltertrackError, animate
from filtertrack.outputs.response_maps import maps_of, probe_numbers, select_responses
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.storage.probe_format import write_probes


@pytest.mark.parametrize(
    ("responses", "expected"),
    [
        (True, [0]),
        (3, [3]),
        (np.int64(3), [3]),
        ([1, 4], [1, 4]),
        (range(2), [0, 1]),
        (np.array([2, 0]), [2, 0]),
        (None, None),
        (False, None),
        ([], None),
        ("cat.png", None),
        (np.zeros((1, 4, 4, 3)), None),
        ([np.zeros((4, 4, 3))], None),
    ],
    ids=str,
)
def test_numbers_of_probes_are_told_from_images(responses, expected):
    assert probe_numbers(responses) == expected


def test_maps_describe_what_the_run_recorded(probed_run):
    maps = maps_of(select_responses(probed_run, [0, 2]), [0, 2])
    assert [each.name for each in maps] == ["probe 0, class 0", "probe 2, class 0"]
    assert {each.read for each in maps} == {"the output of relu1, after conv1"}
    assert (maps[1].rectified, maps[1].block, maps[1].shape) == (True, 2, (5, 5))


def test_the_first_layer_with_responses_is_the_default(make_probed_run):
    """Where the usual default has none."""
    run = make_probed_run()
    probes = run.probes
    layers = {"conv2": probes.layers["conv2"]}
    write_probes(run.folder, StoredProbes(probes.inputs, layers, probes.maps))
    fresh = type(run)(run.path)
    assert select_responses(fresh, True).layers == ("conv2",)
    assert select_responses(fresh, None).layers == ("conv1",)
    with pytest.raises(FiltertrackError, match=r"conv1: its responses were not recorded.*conv2"):
        maps_of(select_responses(fresh, True, layers="conv1"), True)


def test_channels_first_probes_have_their_channels_last(probed_run):
    probes = probed_run.probes
    inputs = {"images": np.moveaxis(probes.inputs["images"], -1, 1)}
    stored = StoredProbes(inputs, probes.layers, probes.maps, channels_first=True)
    write_probes(probed_run.folder, stored)
    fresh = type(probed_run)(probed_run.path)
    (maps,) = maps_of(select_responses(fresh, 1), 1)
    np.testing.assert_array_equal(maps.image, probes.inputs["images"][1])
    assert maps.name == "probe 1"


@pytest.mark.parametrize(
    ("shape", "drawn", "name"),
    [
        ((8, 8), (8, 8, 1), "probe 1"),
        ((5, 8, 8, 3), (8, 8, 3), "probe 1, slice 2"),
        ((7,), (7, 1), "probe 1"),
    ],
    ids=str,
)
def test_probes_of_other_shapes_are_drawn(probed_run, rng, shape, drawn, name):
    """An image without channels, a slice of a volume, and numbers as a curve."""
    probes = probed_run.probes
    images = rng.uniform(size=(5, *shape)).astype(np.float32)
    write_probes(probed_run.folder, StoredProbes({"images": images}, probes.layers, probes.maps))
    (maps,) = maps_of(select_responses(type(probed_run)(probed_run.path), 1), 1)
    assert (maps.image.shape, maps.name) == (drawn, name)
    expected = images[1, 2] if len(shape) == 4 else images[1]
    np.testing.assert_array_equal(maps.image.ravel(), expected.ravel())


def test_of_several_inputs_that_of_the_layer_is_drawn(probed_run, rng, tmp_path):
    """Its name is in the title; where it is not known the title says so, and no image is drawn."""
    probes = probed_run.probes
    inputs = {"left": rng.uniform(size=(5, 6, 6, 1)), **probes.inputs}
    layers = {**probes.layers, "conv2": replace(probes.layers["conv2"], input="")}
    write_probes(probed_run.folder, StoredProbes(inputs, layers, probes.maps))
    run = type(probed_run)(probed_run.path)
    (maps,) = maps_of(select_responses(run, 1), 1)
    assert maps.name == "probe 1, input images"
    np.testing.assert_array_equal(maps.image, probes.inputs["images"][1])
    (maps,) = maps_of(select_responses(run, 1, layers="conv2"), 1)
    assert maps.name == "probe 1, which input is not known"
    assert not maps.image.any()
    assert animate(run, tmp_path / "a.gif", responses=1).frames == 3


def without_responses(run, step):
    """Write a snapshot of a run again, without its responses."""
    run.append(replace(run.snapshot(step), responses={}))


def test_steps_without_responses_are_left_out(probed_run, tmp_path, caplog):
    """With a sentence in the log, and not an error."""
    without_responses(probed_run, 1)
    written = animate(probed_run, tmp_path / "a.gif", responses=True)
    assert written.frames == 2
    assert "left out 1 snapshot without responses to the probes: step 1" in caplog.text


def test_too_few_steps_with_responses_are_an_error(probed_run, tmp_path):
    for step in (0, 1):
        without_responses(probed_run, step)
    with pytest.raises(FiltertrackError, match=r"at least 2: the others hold no responses"):
        animate(probed_run, tmp_path / "a.gif", responses=True)


def test_a_run_without_probes_is_an_error_that_says_what_to_do(make_run, conv_info, tmp_path):
    """For a first layer there is another way."""
    with pytest.raises(FiltertrackError, match=r"has no probes; train with FilterTracker\(probes"):
        animate(make_run(), tmp_path / "a.gif", responses=True)
    first = replace(conv_info(), preprocessing=())
    with pytest.raises(FiltertrackError, match=r"for conv1 any picture.*`filtertrack responses"):
        animate(make_run(first, folder="first"), tmp_path / "a.gif", responses=[1])


def test_a_run_that_keeps_no_maps_is_an_error_that_says_so(probed_run, tmp_path):
    """A forged file may say so."""
    probed_run.store_probes(replace(probed_run.probes, maps=0))
    with pytest.raises(FiltertrackError, match="probe 0: maps were recorded of none of 5 probes"):
        animate(probed_run, tmp_path / "a.gif", responses=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"responses": 3}, "probe 3: maps were recorded of the probes 0 to 2 of 5"),
        ({"responses": [0, -1]}, "probe -1: maps were recorded"),
        ({"responses": [0] * 17}, "expected at most 16 probes, got 17"),
        ({"responses": 2.5}, "expected True, numbers of probes or arrays, got 2.5"),
        ({"responses": True, "layers": "*"}, "one layer at a time, got conv1, conv2; choose one"),
        ({"responses": True, "delta": True}, "leave delta out"),
    ],
    ids=str,
)
def test_other_responses_are_refused(probed_run, tmp_path, options, message):
    with pytest.raises(FiltertrackError, match=message):
        animate(probed_run, tmp_path / "a.gif", **options)
    assert not list(tmp_path.glob("*.gif"))


def test_a_snapshot_with_damaged_responses_is_left_out(probed_run, tmp_path, caplog):
    file = probed_run.file(1)
    data = file.read_bytes()
    at = data.index(b"conv1/response_maps") + 200
    file.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    assert animate(probed_run, tmp_path / "a.gif", responses=True).frames == 2
    assert "left out step 1" in caplog.text


@pytest.mark.parametrize(
    ("responses", "name"),
    [(True, "evolution-responses.gif"), (2, "evolution-responses-2.gif"),
     ([0, 2], "evolution-responses-0,2.gif"), (False, "evolution.gif")],
)  # fmt: skip
def test_the_probe_is_part_of_the_default_name(probed_run, responses, name):
    assert animate(probed_run, responses=responses).path.name == name


def test_an_iterator_of_images_can_be_given(make_run, conv_info, rng, tmp_path):
    run = make_run(replace(conv_info(), preprocessing=(), padding="same"))
    images = (rng.normal(size=(8, 8, 1)) for _ in range(2))
    assert animate(run, tmp_path / "a.gif", responses=images).frames == 3


@pytest.mark.parametrize(
    ("read", "follows"),
    [
        ("after relu1", "any normalization and the activation"),
        ("the output of conv1 (relu)", "the activation"),
        (
            "the output of conv1, before normalization; no activation follows directly",
            "normalization",
        ),
        (None, "the activation"),
    ],
)
def test_responses_to_an_image_say_what_the_model_applies_to_them(
    make_run, conv_info, read, follows
):
    """As the probes of the run tell it: a normalization lies between a layer and its activation."""
    run = make_run(conv_info("conv1", (3, 3, 1, 4), preprocessing=(), padding="same"))
    image = np.zeros((6, 6, 1), np.float32)
    if read:
        layer = ProbedLayer("conv1", read, "relu" in read, (6, 6), (6, 6))
        write_probes(run.folder, StoredProbes({"x": image[np.newaxis]}, {"conv1": layer}, 1))
    (maps,) = maps_of(select_from_run(run), [image])
    assert maps.read == f"the dot product at each position, before {follows}"


def test_images_of_a_deeper_layer_are_refused_with_an_advice(make_run, make_probed_run, conv_info):
    """It names the command for the probes where their responses are recorded."""
    infos = (
        conv_info("conv1", (3, 3, 1, 4), preprocessing=(), padding="same"),
        conv_info("conv2", (3, 3, 4, 4)),
    )
    images = np.zeros((1, 12, 12, 1))
    cases = {
        make_probed_run(*infos, folder="probed"): r"`filtertrack animate RUN --responses --layers "
        r"conv2`, or `filtertrack patches RUN --layer conv2`",
        make_run(*infos, folder="plain"): r"train with FilterTracker\(probes=images\)",
    }
    for run, advice in cases.items():
        message = rf"conv2 is not the first convolution: .* \(those of conv1 do\); .*{advice}"
        with pytest.raises(FiltertrackError, match=message):
            maps_of(select_from_run(run, layers="conv2"), images)
        maps_of(select_from_run(run, layers="conv1"), images)
