"""Responses to probes in snapshot files."""

import dataclasses

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot
from filtertrack.response import LayerResponse, ProbedLayer, StoredProbes
from filtertrack.storage.probe_format import write_probes


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
def test_a_place_outside_of_the_maps_is_damage(probed_run, changes, forge):
    """Probes, rows and columns are counted from 0, and are whole numbers."""
    places = probed_run.probe_responses("conv1", 1).places
    forge(probed_run.file(1), **{"conv1/response_places": places_with(places, **changes)})
    with pytest.raises(FiltertrackError, match=r"damaged file .*000001\.npz.*place"):
        probed_run.probe_responses("conv1", 1)
    assert list(probed_run.verify()) == [1]


def test_missing_places_and_values_that_are_not_finite_are_read(probed_run, forge):
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
def test_invalid_arrays_of_responses_are_damage(probed_run, changes, forge):
    """The error names the file, the weights are readable, and ``verify`` tells of it."""
    forge(probed_run.file(1), **changes)
    with pytest.raises(FiltertrackError, match=r"damaged file .*000001\.npz"):
        probed_run.probe_responses("conv1", 1)
    assert probed_run.kernels("conv1", 1).shape == (4, 3, 3, 1)
    assert list(probed_run.verify()) == [1]


def test_a_snapshot_that_lacks_the_responses_it_claims_is_damage(probed_run, forge):
    forge(probed_run.file(1), **{"conv2/response_places": None})
    with pytest.raises(FiltertrackError, match="holds no conv2/response_places"):
        probed_run.probe_responses("conv2", 1)
    assert list(probed_run.verify()) == [1]
    assert probed_run.probe_responses("conv1", 1).maps.shape == (3, 4, 5, 5)


def test_a_flipped_bit_of_responses_is_found(probed_run, stored_arrays):
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
