"""The file of the probes of a run."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Run
from filtertrack.response import ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.storage.probe_format import read_probes

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture
def description(probed_run, stored_arrays):
    """The description in ``probes.npz``."""
    return json.loads(str(stored_arrays(probed_run.folder / "probes.npz")["meta"]))


@pytest.fixture
def forge_description(probed_run, description, forge):
    """Change fields of the description."""

    def forge_description(**changes):
        meta = np.array(json.dumps({**description, **changes}))
        forge(probed_run.folder / "probes.npz", meta=meta)

    return forge_description


@pytest.fixture
def layer_fields(description):
    """Return the description of the first layer with some fields changed."""
    return lambda **changes: {**description["layers"][0], **changes}


def test_responses_are_read_as_they_were_recorded(probed_run):
    probes, response = probed_run.probes, probed_run.probe_responses("conv1", 2)
    assert probes.count == 5
    assert probes.labels.tolist() == [0, 1, 0, 1, 2]
    assert response.maps.shape == (3, 4, 5, 5)
    peaks = response.values().max(axis=(2, 3))
    np.testing.assert_allclose(peaks, response.highest[:3])
    assert not response.values()[:, 1].any()
    assert probed_run.probe_responses("conv2", 2).values().min() < 0
    assert probed_run.verify() == {}


def test_a_run_of_this_version_stays_readable():
    """``tests/golden/probed-run-v1``: every later version must read it."""
    run = Run(Path(__file__).parents[1] / "golden" / "probed-run-v1")
    probes = run.probes
    assert probes.labels.tolist() == [4, 0, 4]
    assert probes.maps == 2
    assert probes.pictures()[2, 7, 7].tolist() == [(191 % 17) / 16]
    assert probes.layers == {
        "conv1": ProbedLayer(
            "conv1", "the layer's output, after relu", True, (6, 6), (3, 3), 2, "image",
            ReceptiveField((3, 3), (1, 1), (0, 0)),
        ),
        "conv2": ProbedLayer(
            "conv2", "the layer's output, after relu", True, (4, 4), (4, 4), 1, "image"
        ),
    }  # fmt: skip
    for name, maps, statistics, places in (("conv1", 5378, 84, 52), ("conv2", 13803, 118, 131)):
        response = run.probe_responses(name, 1)
        assert response.maps.dtype == np.uint8
        assert response.maps.sum() == maps
        assert response.statistics.sum() == statistics
        assert np.nansum(response.places) == places
    assert run.strongest_patches("conv1", 0).pixels.shape == (2, 9, 3, 3, 1)
    assert run.verify() == {}


def test_probes_without_a_run_are_removed_when_one_is_created(probed_run):
    """They would be taken for those of the new run."""
    (probed_run.folder / "manifest.json").unlink()
    for step in probed_run.steps:
        probed_run.remove(step)
    assert Run.create(probed_run.path, list(probed_run.layers.values())).probes is None


def test_numpy_reads_the_files(probed_run, stored_arrays):
    """As the documentation says: the names of the arrays and their shapes."""
    probes = stored_arrays(probed_run.folder / "probes.npz")
    assert sorted(probes) == ["inputs/0", "labels", "meta"]
    np.testing.assert_array_equal(probes["inputs/0"], probed_run.probes.inputs["images"])
    snapshot = stored_arrays(probed_run.file(1))
    response = probed_run.probe_responses("conv1", 1)
    np.testing.assert_array_equal(snapshot["conv1/response_maps"], response.maps)
    np.testing.assert_array_equal(snapshot["conv1/response_statistics"], response.statistics)
    np.testing.assert_array_equal(snapshot["conv1/response_places"], response.places)


def test_probes_are_read_as_they_were_written(tmp_path, conv_info):
    """Names of inputs that are no file names, several inputs, no labels, a receptive field."""
    layer = ProbedLayer("conv1", "its output", True, (9, 7), (3, 3), 3, "a/b: ü",
                        ReceptiveField((3, 5), (2, 1), (-1, -2)))  # fmt: skip
    inputs = {"a/b: ü": np.arange(24.0).reshape(2, 3, 4, 1), "..": np.ones((2, 1), np.uint8)}
    run = Run.create(tmp_path, [conv_info()])
    run.store_probes(StoredProbes(inputs, {"conv1": layer}, 1, channels_first=True))
    probes = Run(tmp_path).probes
    assert probes.layers == {"conv1": layer}
    assert (probes.maps, probes.labels, probes.channels_first) == (1, None, True)
    for name, images in inputs.items():
        np.testing.assert_array_equal(probes.inputs[name], images)
        assert probes.inputs[name].dtype == images.dtype


def test_unknown_fields_of_the_description_are_ignored(probed_run, forge_description, layer_fields):
    """Later versions may add some."""
    layers = [layer_fields(later=[1])]
    forge_description(layers=layers, later={"a": 1})
    assert list(Run(probed_run.path).probes.layers) == ["conv1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": []},
        {"inputs": ["images", "images"]},
        {"inputs": ["images", "more"]},
        {"inputs": "i"},
        {"inputs": [7]},
        {"inputs": [["a"]]},
        {"inputs": ["i" * 256]},
        {"labels": "yes"} | {"maps": 6},
        {"maps": -1},
        {"maps": True},
        {"maps": 2.0},
        {"maps": 10**30},
        {"maps": None},
        {"channels_first": 1},
        {"channels_first": None},
        {"layers": {}} | {"maps": "3"},
        {"layers": None},
        {"layers": [None]},
        {"layers": ["conv1"]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_an_invalid_description_is_damage(probed_run, changes, forge_description):
    """The error names the file."""
    forge_description(**changes)
    with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz"):
        _ = Run(probed_run.path).probes


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "conv9"},
        {"name": 1},
        {"name": "c" * 300},
        {"read": "r" * 5000},
        {"read": None},
        {"rectified": 1},
        {"shape": [10]},
        {"shape": [10, -10]},
        {"shape": [0, 10]},
        {"shape": [10.0, 10]},
        {"shape": [True, 10]},
        {"shape": [1 << 40, 10]},
        {"shape": "1010"},
        {"shape": None},
        {"map_shape": [5, 6]},
        {"map_shape": [10, 10]},
        {"block": 3},
        {"block": 0},
        {"block": -2},
        {"block": 2.0},
        {"block": True},
        {"block": 10**400},
        {"input": 3},
        {"input": "i" * 5000},
        {"field": 3},
        {"field": {}},
        {"field": {"size": [3, 3], "strides": [1, 1]}},
        {"field": {"size": [1 << 40, 3], "strides": [1, 1], "offsets": [0, 0]}},
        {"field": {"size": [0, 3], "strides": [1, 1], "offsets": [0, 0]}},
        {"field": {"size": [3, 3], "strides": [-1, 1], "offsets": [0, 0]}},
        {"field": {"size": [3, 3], "strides": [1, 1], "offsets": [0.5, 0]}},
        {"field": {"size": [3, 3], "strides": [1, 1], "offsets": [-(10**30), 0]}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_an_invalid_layer_is_damage(probed_run, changes, forge_description, layer_fields):
    """The error names the file, and nothing is allocated for it."""
    forge_description(layers=[layer_fields(**changes)])
    with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz") as raised:
        _ = Run(probed_run.path).probes
    assert len(str(raised.value)) < 600


def test_two_descriptions_of_one_layer_are_damage(probed_run, forge_description, layer_fields):
    forge_description(layers=[layer_fields()] * 2)
    with pytest.raises(FiltertrackError, match="alike"):
        _ = Run(probed_run.path).probes


def test_texts_are_made_printable(probed_run, forge_description, layer_fields):
    """Of what is read, and of the names of inputs."""
    layers = [layer_fields(read="a\x1b[2J\ud800", input="b\n")]
    forge_description(layers=layers, inputs=["b\n"])
    probes = Run(probed_run.path).probes
    assert probes.layer("conv1").read == "a?[2J?"
    assert list(probes.inputs) == [probes.layer("conv1").input] == ["b?"]


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs/0": np.float32(1)},
        {"inputs/0": np.zeros((0, 12, 12, 1))},
        {"inputs/0": np.zeros((5, 1 << 50, 0))},
        {"inputs/0": np.zeros((4, 12, 12, 1))},
        {"inputs/0": np.array(["a"] * 5)},
        {"inputs/0": np.zeros(5, complex)},
        {"inputs/0": np.zeros(5, "m8[s]")},
        {"labels": np.zeros(4, int)},
        {"labels": np.zeros((5, 1), int)},
        {"labels": np.array(0)},
        {"labels": np.array(list("abcde"))},
        {"labels": np.array([0.5] * 5)},
        {"labels": np.array([np.nan] * 5)},
        {"labels": np.array([np.inf] * 5)},
        {"meta": np.array(3)},
        {"meta": np.array(["{}", "{}"])},
        {"meta": np.array("[" * 100_000)},
        {"meta": np.array("")},
        {"meta": np.array("null")},
        {"meta": np.array(b"{}")},
        {"meta": np.zeros((), [("a", "f4")])},
    ],
    ids=lambda changes: " ".join(
        f"{k} {np.asarray(v).dtype} {v!s:.20}" for k, v in changes.items()
    ),
)
def test_invalid_arrays_of_probes_are_damage(probed_run, changes, forge):
    """The error names the file."""
    forge(probed_run.folder / "probes.npz", **changes)
    with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz"):
        _ = Run(probed_run.path).probes


def test_invalid_characters_of_the_description_are_damage(probed_run, forge):
    """Numpy itself accepts some of them, and fails on others."""
    for code in (0x110000, 0xFFFFFFFF):
        text = np.array([ord("{"), code, ord("}")], "<u4").view("<U3")[0:1].reshape(())
        forge(probed_run.folder / "probes.npz", meta=text)
        with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz"):
            _ = Run(probed_run.path).probes


def test_whole_numbers_of_numpy_are_those_of_python():
    """In every field that counts something."""
    one, two = np.int64(1), np.int32(2)
    field = ReceptiveField((two, two), (one, one), (-one, one))
    layer = ProbedLayer("conv1", "its output", True, (two, two), (one, one), two, "", field)
    probes = StoredProbes({"x": np.zeros((3, 4, 4, 1))}, {"conv1": layer}, two)
    assert json.dumps(dataclasses.asdict(layer)) == json.dumps(
        dataclasses.asdict(
            ProbedLayer("conv1", "its output", True, (2, 2), (1, 1), 2, "",
                        ReceptiveField((2, 2), (1, 1), (-1, 1)))
        )
    )  # fmt: skip
    assert type(probes.maps) is int


def test_an_infinite_peak_is_read_without_a_warning(probed_run):
    """The map of that filter is NaN or infinite."""
    response = probed_run.probe_responses("conv1", 0)
    statistics = response.statistics.copy()
    statistics[0, 0, 0] = np.inf
    values = dataclasses.replace(response, statistics=statistics).values()
    assert not np.isfinite(values[0, 0]).any()
    assert np.isfinite(values[1:]).all()


def test_labels_that_are_whole_floats_are_whole_numbers(probed_run, forge):
    """As data sets of TensorFlow hold them."""
    forge(probed_run.folder / "probes.npz", labels=np.array([0.0, 1, 0, 1, 2], np.float32))
    labels = Run(probed_run.path).probes.labels
    assert labels.dtype.kind == "i"
    assert labels.tolist() == [0, 1, 0, 1, 2]


@FUZZ
@given(data=st.data())
def test_any_json_in_the_description_raises_no_other_error(probed_run, description, forge, data):
    meta = description
    where = data.draw(st.sampled_from([*meta, "a layer", "a field", "all"]))
    value = data.draw(JSON)
    if where == "a layer":
        changed = {**meta, "layers": [*meta["layers"], value]}
    elif where == "a field":
        field = data.draw(st.sampled_from(sorted(meta["layers"][0])))
        changed = {**meta, "layers": [{**meta["layers"][0], field: value}]}
    else:
        changed = value if where == "all" else {**meta, where: value}
    forge(probed_run.folder / "probes.npz", meta=np.array(json.dumps(changed)))
    try:
        read_probes(probed_run.folder, probed_run.layers)
    except FiltertrackError as error:
        assert "probes.npz" in str(error)  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017


@FUZZ
@given(content=st.binary(max_size=300))
def test_any_bytes_as_probes_raise_no_other_error(probed_run, content):
    (probed_run.folder / "probes.npz").write_bytes(content)
    with pytest.raises(FiltertrackError, match=r"probes\.npz"):
        _ = Run(probed_run.path).probes
