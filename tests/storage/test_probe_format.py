"""The probes of a run, and the responses in its snapshot files."""

import copy
import dataclasses
import json
import shutil

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Moment, Run, Snapshot, to_xarray
from filtertrack.response import LayerResponse, ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.storage.npz import write_arrays
from filtertrack.storage.probe_format import read_probes, write_probes
from filtertrack.storage.retention import RetainedRun

FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def stored_arrays(file):
    """Return all arrays of an ``.npz`` file, as numpy reads them."""
    with np.load(file) as archive:
        return {name: archive[name] for name in archive.files}


def forge(file, **changes):
    """Replace arrays of an ``.npz`` file; the checksums are right."""
    with open(file, "rb") as opened:  # noqa: PTH123 - may be an address
        arrays = stored_arrays(opened)
    with open(file, "wb") as opened:  # noqa: PTH123
        write_arrays(opened, {**arrays, **changes})


def forge_description(run, **changes):
    """Change fields of the description in ``probes.npz``."""
    file = run.folder / "probes.npz"
    meta = json.loads(str(np.load(file)["meta"]))
    forge(file, meta=np.array(json.dumps({**meta, **changes})))


def layer_fields(run, **changes):
    """Return the description of one layer with some fields changed."""
    (meta,) = [json.loads(str(np.load(run.folder / "probes.npz")["meta"]))]
    return {**meta["layers"][0], **changes}


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


def test_numpy_reads_the_files(probed_run):
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


def test_unknown_fields_of_the_description_are_ignored(probed_run):
    """Later versions may add some."""
    layers = [layer_fields(probed_run, later=[1])]
    forge_description(probed_run, layers=layers, later={"a": 1})
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
    ids=str,
)
def test_an_invalid_description_is_damage(probed_run, changes):
    """The error names the file."""
    forge_description(probed_run, **changes)
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
    ids=str,
)
def test_an_invalid_layer_is_damage(probed_run, changes):
    """The error names the file, and nothing is allocated for it."""
    forge_description(probed_run, layers=[layer_fields(probed_run, **changes)])
    with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz") as raised:
        _ = Run(probed_run.path).probes
    assert len(str(raised.value)) < 600


def test_two_descriptions_of_one_layer_are_damage(probed_run):
    forge_description(probed_run, layers=[layer_fields(probed_run)] * 2)
    with pytest.raises(FiltertrackError, match="alike"):
        _ = Run(probed_run.path).probes


def test_texts_that_are_not_printable_are_made_printable(probed_run):
    """Of what is read, and of the names of inputs."""
    layers = [layer_fields(probed_run, read="a\x1b[2J\ud800", input="b\n")]
    forge_description(probed_run, layers=layers, inputs=["b\n"])
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
def test_invalid_arrays_of_probes_are_damage(probed_run, changes):
    """The error names the file."""
    forge(probed_run.folder / "probes.npz", **changes)
    with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz"):
        _ = Run(probed_run.path).probes


def test_invalid_characters_of_the_description_are_damage(probed_run):
    """Numpy itself accepts some of them, and fails on others."""
    for code in (0x110000, 0xFFFFFFFF):
        text = np.array([ord("{"), code, ord("}")], "<u4").view("<U3")[0:1].reshape(())
        forge(probed_run.folder / "probes.npz", meta=text)
        with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz"):
            _ = Run(probed_run.path).probes


def test_labels_that_are_whole_floats_are_whole_numbers(probed_run):
    """As data sets of TensorFlow hold them."""
    forge(probed_run.folder / "probes.npz", labels=np.array([0.0, 1, 0, 1, 2], np.float32))
    labels = Run(probed_run.path).probes.labels
    assert labels.dtype.kind == "i"
    assert labels.tolist() == [0, 1, 0, 1, 2]


@FUZZ
@given(data=st.data())
def test_any_json_in_the_description_raises_no_other_error(probed_run, data):
    meta = json.loads(str(np.load(probed_run.folder / "probes.npz")["meta"]))
    where = data.draw(st.sampled_from([*meta, "a layer", "a field", "all"]))
    value = data.draw(JSON)
    if where == "a layer":
        changed = {**meta, "layers": [*meta["layers"], value]}
    elif where == "a field":
        field = data.draw(st.sampled_from(sorted(meta["layers"][0])))
        changed = {**meta, "layers": [{**meta["layers"][0], field: value}]}
    else:
        changed = value if where == "all" else {**meta, where: value}
    file = probed_run.folder / "probes.npz"
    with open(file, "rb") as opened:  # noqa: PTH123
        arrays = stored_arrays(opened)
    arrays["meta"] = np.array(json.dumps(changed))
    with open(probed_run.path / "forged", "wb") as opened:  # noqa: PTH123
        write_arrays(opened, arrays)
    folder = probed_run.path / "other"
    folder.mkdir(exist_ok=True)
    shutil.move(probed_run.path / "forged", folder / "probes.npz")
    try:
        read_probes(folder, probed_run.layers)
    except FiltertrackError as error:
        assert "probes.npz" in str(error)  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017


@FUZZ
@given(content=st.binary(max_size=300))
def test_any_bytes_as_probes_raise_no_other_error(probed_run, content):
    (probed_run.folder / "probes.npz").write_bytes(content)
    with pytest.raises(FiltertrackError, match=r"probes\.npz"):
        _ = Run(probed_run.path).probes


# Responses.


def places_with(places, **changes):
    """Return strongest places with one value replaced: ``column3=7.5`` for example."""
    changed = places.copy()
    for name, value in changes.items():
        changed[0, 0, int(name[-1])] = value
    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {"column0": 5},
        {"column0": -2},
        {"column0": -1},
        {"column0": 0.5},
        {"column0": np.nan},
        {"column1": 10},
        {"column1": np.inf},
        {"column2": 10},
        {"column2": -np.inf},
        {"column2": 1e30},
    ],
    ids=str,
)
def test_a_place_outside_of_the_maps_is_damage(probed_run, changes):
    """Probes, rows and columns are counted from 0, and are whole numbers."""
    places = probed_run.probe_responses("conv1", 1).places
    forge(probed_run.file(1), **{"conv1/response_places": places_with(places, **changes)})
    with pytest.raises(FiltertrackError, match=r"damaged file .*000001\.npz.*place"):
        probed_run.probe_responses("conv1", 1)
    assert list(probed_run.verify()) == [1]


def test_missing_places_and_values_that_are_not_finite_are_read(probed_run):
    """A diverged model answers with NaN and infinities; that is what was recorded."""
    response = probed_run.probe_responses("conv1", 1)
    places = response.places.copy()
    places[0, :, 3] = np.inf
    places[1] = -1, -1, -1, np.nan
    places[2, 0, 3] = np.nan
    statistics = np.full_like(response.statistics, np.nan)
    forge(
        probed_run.file(1),
        **{"conv1/response_places": places, "conv1/response_statistics": statistics},
    )
    assert np.isnan(probed_run.probe_responses("conv1", 1).values()).all()
    assert probed_run.verify() == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"conv1/response_maps": np.zeros((3, 4, 5, 5), "f4")},
        {"conv1/response_maps": np.zeros((3, 4, 5, 5), "?")},
        {"conv1/response_maps": np.zeros((3, 4, 5, 6), "u1")},
        {"conv1/response_maps": np.zeros((3, 4, 5, 1000), "u1")},
        {"conv1/response_statistics": np.zeros((3, 5, 4), "f8")},
        {"conv1/response_statistics": np.zeros((3, 5, 4), "i4")},
        {"conv1/response_statistics": np.zeros((3, 4, 5), "f4")},
        {"conv1/response_places": np.zeros((4, 9, 4), "f2")},
        {"conv1/response_places": np.zeros((4, 8, 4), "f4")},
        {"conv1/response_places": np.array("text")},
    ],
    ids=lambda changes: " ".join(f"{k} {v.dtype} {v.shape}" for k, v in changes.items()),
)
def test_invalid_arrays_of_responses_are_damage(probed_run, changes):
    """The error names the file, the weights are readable, and ``verify`` tells of it."""
    forge(probed_run.file(1), **changes)
    with pytest.raises(FiltertrackError, match=r"damaged file .*000001\.npz"):
        probed_run.probe_responses("conv1", 1)
    assert probed_run.kernels("conv1", 1).shape == (4, 3, 3, 1)
    assert list(probed_run.verify()) == [1]


def test_a_snapshot_that_lacks_the_responses_it_claims_is_damage(probed_run):
    arrays = stored_arrays(probed_run.file(1))
    del arrays["conv2/response_places"]
    with open(probed_run.file(1), "wb") as opened:  # noqa: PTH123
        write_arrays(opened, arrays)
    with pytest.raises(FiltertrackError, match="holds no conv2/response_places"):
        probed_run.probe_responses("conv2", 1)
    assert list(probed_run.verify()) == [1]
    assert probed_run.probe_responses("conv1", 1).maps.shape == (3, 4, 5, 5)


def test_a_flipped_bit_of_responses_is_found(probed_run):
    """In each array of responses."""
    data = bytearray(probed_run.file(1).read_bytes())
    for name in ("maps", "statistics", "places"):
        values = stored_arrays(probed_run.file(1))[f"conv1/response_{name}"]
        flipped = bytearray(data)
        flipped[data.index(values.tobytes())] ^= 1
        probed_run.file(1).write_bytes(flipped)
        assert f"conv1/response_{name}" in probed_run.verify()[1]
        probed_run.file(1).write_bytes(data)


@pytest.mark.parametrize("what", ["missing", "damaged"])
def test_verify_names_the_snapshots_whose_probes_cannot_be_read(probed_run, what):
    """Their weights are readable; snapshots without responses are not named."""
    snapshot = probed_run.snapshot(2)
    probed_run.append(
        dataclasses.replace(snapshot, moment=dataclasses.replace(snapshot.moment, step=3))
    )
    file = probed_run.folder / "probes.npz"
    if what == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-5])
    run = Run(probed_run.path)
    damaged = run.verify()
    assert list(damaged) == [0, 1, 2]
    assert all("probes.npz" in reason for reason in damaged.values())
    assert run.kernels("conv1", 2).shape == (4, 3, 3, 1)


def test_a_step_without_responses_is_an_error_that_says_so(probed_run):
    snapshot = probed_run.snapshot(2)
    probed_run.append(
        dataclasses.replace(snapshot, moment=dataclasses.replace(snapshot.moment, step=3))
    )
    assert [probed_run.moment(step).probed for step in (2, 3)] == [True, False]
    with pytest.raises(FiltertrackError, match=r"step 3 .* holds no responses"):
        probed_run.probe_responses("conv1", 3)
    with pytest.raises(FiltertrackError, match="no snapshot at step 9"):
        probed_run.probe_responses("conv1", 9)
    assert probed_run.verify() == {}


def test_a_run_without_probes_says_how_to_record_responses(run):
    assert run.probes is None
    with pytest.raises(FiltertrackError, match="has no probes; train with FilterTracker"):
        run.probe_responses("conv1", 0)


def test_a_first_layer_error_points_to_the_recorded_responses(probed_run):
    """Only where they were recorded."""
    with pytest.raises(FiltertrackError, match=r"Run\.probe_responses has its responses"):
        probed_run.responses("conv2", 0, np.zeros((1, 12, 12, 1)))
    (probed_run.folder / "probes.npz").unlink()
    with pytest.raises(FiltertrackError, match=r"do not follow from its kernel$"):
        Run(probed_run.path).responses("conv2", 0, np.zeros((1, 12, 12, 1)))


@pytest.mark.parametrize("what", ["fewer layers", "more layers", "another shape", "another place"])
def test_append_refuses_responses_to_other_probes(probed_run, what):
    """The stored snapshot stays as it is."""
    before = probed_run.file(1).read_bytes()
    responses = {name: probed_run.probe_responses(name, 1) for name in ("conv1", "conv2")}
    if what == "fewer layers":
        del responses["conv2"]
    elif what == "more layers":
        responses["conv3"] = responses["conv2"]
    elif what == "another shape":
        maps = responses["conv1"].maps[:, :, :-1]
        responses["conv1"] = dataclasses.replace(responses["conv1"], maps=maps)
    else:
        places = places_with(responses["conv1"].places, column0=99)
        responses["conv1"] = dataclasses.replace(responses["conv1"], places=places)
    with pytest.raises(FiltertrackError):
        probed_run.append(dataclasses.replace(probed_run.snapshot(1), responses=responses))
    assert probed_run.file(1).read_bytes() == before


def test_a_kernel_with_the_name_of_responses_is_refused(tmp_path, conv_info, rng):
    """Instead of overwriting it."""
    info = conv_info("conv1", bias=False, kernel="conv1/response_maps")
    run = Run.create(tmp_path, [info])
    layer = ProbedLayer("conv1", "", False, (2, 2), (2, 2))
    run.store_probes(StoredProbes({"x": np.zeros((1, 4, 4, 1))}, {"conv1": layer}, 1))
    response = LayerResponse(
        np.zeros((1, 4, 2, 2), "u1"), np.zeros((3, 1, 4), "f4"), np.zeros((4, 9, 4), "f4")
    )
    kernel = rng.normal(size=info.kernel_shape).astype("f4")
    with pytest.raises(FiltertrackError, match="name of an array that holds responses"):
        run.append(Snapshot(Moment(0, 0), {info.kernel: kernel}, {"conv1": response}))


def test_probes_that_cannot_be_read_again_are_not_written(tmp_path):
    """A layer that the run does not have, and a description that is too long."""
    layer = ProbedLayer("conv1", "r" * 4096, False, (2, 2), (2, 2))
    many = {f"conv{n}": dataclasses.replace(layer, name=f"conv{n}") for n in range(1100)}
    with pytest.raises(FiltertrackError, match="choose fewer"):
        write_probes(tmp_path, StoredProbes({"x": np.zeros((1, 4))}, many, 1))
    assert not list(tmp_path.iterdir())


# What handles whole runs.


def test_deleting_a_run_deletes_its_probes(probed_run):
    Run.delete(probed_run.path)
    assert [path.name for path in probed_run.folder.iterdir()] == []
    assert Run.is_free(probed_run.path)


def test_truncating_and_retention_leave_the_probes(probed_run):
    """And the responses of the snapshots that stay."""
    probed_run.truncate(2)
    probed_run.remove(0)
    assert Run(probed_run.path).probes.count == 5
    retained = RetainedRun(probed_run, 2)
    whole = probed_run.snapshot(1)
    responses = {name: probed_run.probe_responses(name, 1) for name in ("conv1", "conv2")}
    for step in range(2, 12):
        moment = dataclasses.replace(whole.moment, step=step)
        retained.append(dataclasses.replace(whole, moment=moment, responses=responses))
    assert len(probed_run.steps) == 4
    for step in probed_run.steps:
        np.testing.assert_array_equal(
            probed_run.probe_responses("conv2", step).maps, responses["conv2"].maps
        )
    assert probed_run.verify() == {}


def test_a_copy_of_a_run_holds_its_probes(probed_run, tmp_path):
    """With ordinary programs; and a copy of the object reads the same run."""
    shutil.copytree(probed_run.path, tmp_path / "copy")
    for run in (Run(tmp_path / "copy"), copy.copy(probed_run)):
        assert run.probes.count == 5
        assert run.verify() == {}


def test_object_storage_holds_probes(probed_run):
    """Written, read, verified and deleted there."""
    address = "memory://probed/run"
    files = fsspec.filesystem("memory")
    files.put(str(probed_run.path), "/probed/run", recursive=True)
    run = Run(address)
    run.store_probes(probed_run.probes)
    responses = {name: probed_run.probe_responses(name, 1) for name in ("conv1", "conv2")}
    run.append(dataclasses.replace(probed_run.snapshot(1), responses=responses))
    again = Run(address)
    assert again.probes.labels.tolist() == [0, 1, 0, 1, 2]
    for step in again.steps:
        np.testing.assert_array_equal(
            again.probe_responses("conv1", step).maps,
            probed_run.probe_responses("conv1", step).maps,
        )
    assert again.verify() == {}
    Run.delete(address)
    assert not files.glob("/probed/run/**/*.npz")


def test_links_of_probes_that_lead_out_are_not_read(probed_run, tmp_path):
    """Of a run that a server reads."""
    file = probed_run.folder / "probes.npz"
    file.rename(tmp_path / "elsewhere.npz")
    file.symlink_to(tmp_path / "elsewhere.npz")
    assert Run(probed_run.path).probes.count == 5
    with pytest.raises(FiltertrackError, match="leads out"):
        _ = Run(probed_run.path, within=str(probed_run.path.resolve())).probes


def test_weights_are_exported_without_responses(probed_run):
    """To xarray: the same as of a run without probes."""
    array = to_xarray(probed_run, "conv1")
    np.testing.assert_array_equal(array.sel(step=1).compute(), probed_run.kernels("conv1", 1))
