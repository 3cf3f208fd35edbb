"""The routes of probes and responses: what is sent equals what is stored."""

import dataclasses
import json

import numpy as np
import pytest

from filtertrack import Run, measures
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.storage.npz import write_arrays
from filtertrack.storage.probe_format import PROBES, write_probes
from filtertrack.tensorboard_plugin.request_memory import MemoryBudget
from filtertrack.web import probe_answers, step_answers

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def change_probes():
    """Change the stored probes of a run."""

    def change(run, **changes):
        write_probes(run.folder, dataclasses.replace(run.probes, **changes))

    return change


@pytest.fixture
def forge_probes():
    """Change the description in the file of a run's probes."""

    def forge(run, change):
        path = run.path / "filters" / PROBES
        arrays = dict(np.load(path))
        meta = json.loads(str(arrays["meta"]))
        change(meta)
        with path.open("wb") as file:
            write_arrays(file, {**arrays, "meta": np.array(json.dumps(meta))})

    return forge


def test_probes_are_described(probed_run, tab):
    """Their number, labels, and what is read of each layer, with receptive fields."""
    found = tab.json("probes", run="run")
    assert (found["count"], found["maps"]) == (5, 3)
    assert found["labels"] == [0, 1, 0, 1, 2]
    first, second = found["layers"]
    assert first == {
        "name": "conv1",
        "read": "the output of relu1, after conv1",
        "rectified": True,
        "shape": [10, 10],
        "map_shape": [5, 5],
        "block": 2,
        "input": "images",
        "field": {"size": [3, 3], "strides": [1, 1], "offsets": [0, 0]},
        "products": False,
        "reason": first["reason"],
    }
    assert (second["rectified"], second["field"]) == (False, None)


def test_a_run_without_probes_has_none(run, tab):
    """The description is empty; pictures and responses are refused."""
    empty = {"count": 0, "maps": 0, "labels": None, "layers": []}
    assert tab.json("probes", run="run") == empty
    tab.refused(
        "probe",
        {"run": "run", "probe": 0},
        "has no probes; train with FilterTracker(probes=images)",
    )
    query = {"run": "run", "layer": "conv1", "filters": 0, "probes": 0, "first": 0, "last": 2}
    tab.refused("responses", query, "has no probes; train with FilterTracker(probes=images)")


@pytest.mark.parametrize(("layer", "kind"), [("conv1", "uint8"), ("conv2", "int8")])
def test_maps_equal_the_stored_ones(probed_run, tab, layer, kind):
    """Of several filters to one probe, and of one filter to several probes, at every step."""
    head, maps = tab.responses(layer, filters="3,0-1", probes=2, first=0, last=2)
    assert (head["type"], head["shape"], head["next"]) == (kind, [3, 5, 5], None)
    unit = np.float32(np.iinfo(kind).max)
    for step, entry, got in zip(probed_run.steps, head["responses"], maps, strict=True):
        stored = probed_run.probe_responses(layer, step)
        assert entry["step"] == step
        np.testing.assert_array_equal(got, stored.maps[2, [3, 0, 1]])
        reach = np.array(entry["reach"], np.float32)[:, np.newaxis, np.newaxis]
        np.testing.assert_array_equal(got / unit * reach, stored.values(2)[[3, 0, 1]])
        largest = np.abs(stored.values()).max(axis=(0, 2, 3))[[3, 0, 1]]
        assert entry["whole"] == largest.tolist()
        assert (entry["places"], entry["statistics"]) == (None, None)
    _, maps = tab.responses(layer, filters=1, probes="0-2", first=1, last=1)
    np.testing.assert_array_equal(maps[0], probed_run.probe_responses(layer, 1).maps[:3, 1])


def test_one_filter_has_places_and_statistics(probed_run, tab):
    """The strongest places of all probes, and the statistics of the requested ones."""
    head, _ = tab.responses(filters=0, probes="2,1", first=1, last=1)
    stored = probed_run.probe_responses("conv1", 1)
    (entry,) = head["responses"]
    assert entry["places"] == stored.places[0].tolist()
    assert entry["statistics"] == stored.statistics[:, [2, 1], 0].T.tolist()


def test_places_are_sent_without_maps(probed_run, tab, change_probes):
    """Of a run that keeps no maps."""
    places = probed_run.probe_responses("conv1", 1).places[0].tolist()
    snapshots = []
    for step in probed_run.steps:
        responses = {
            name: dataclasses.replace(each, maps=each.maps[:0])
            for name, each in ((n, probed_run.probe_responses(n, step)) for n in ("conv1", "conv2"))
        }
        snapshots.append(dataclasses.replace(probed_run.snapshot(step), responses=responses))
    change_probes(probed_run, maps=0)
    for snapshot in snapshots:
        Run(probed_run.path).append(snapshot)
    head, maps = tab.responses(filters=0, first=0, last=2)
    assert (head["shape"], [each.size for each in maps]) == ([0, 5, 5], [0, 0, 0])
    assert head["responses"][1]["places"] == places
    assert (head["responses"][1]["reach"], head["responses"][1]["statistics"]) == ([], [])


def test_silent_filters_are_marked(probed_run, tab):
    """As the measure says; of a layer whose responses may be negative it is not known."""
    head, _ = tab.responses(filters="0-3", probes=0, first=0, last=2)
    for step, entry in zip(probed_run.steps, head["responses"], strict=True):
        expected = measures.silent(probed_run.probe_responses("conv1", step).highest)
        assert entry["silent"] == expected.astype(bool).tolist()
    assert head["responses"][2]["silent"] == [False, True, False, False]
    head, _ = tab.responses("conv2", filters="0-1", probes=0, first=0, last=0)
    assert head["responses"][0]["silent"] == [None, None]
    head, _ = tab.responses(filters=1, probes=0, first=2, last=2)
    assert head["responses"][0]["places"] == []


def test_steps_without_responses_are_absent(probed_run, tab):
    """Those of other steps are sent, and the answer may be cached."""
    probed_run.append(dataclasses.replace(probed_run.snapshot(1), responses={}))
    head, maps = tab.responses(filters=0, probes=0, first=0, last=2)
    assert [entry["step"] for entry in head["responses"]] == [0, 2]
    assert list(head["absent"]) == ["1"]
    assert head["damaged"] == {}
    assert len(maps) == 2
    query = {"run": "run", "layer": "conv1", "filters": 0, "probes": 0, "first": 0, "last": 2}
    answer = tab.ask("responses", {**query, "version": 1})
    assert "max-age=86400" in answer.headers["Cache-Control"]
    assert "max-age" not in tab.ask("responses", query).headers["Cache-Control"]


def test_damaged_snapshots_are_reported(probed_run, tab):
    """With the reason, without an absolute path; such an answer is not cached."""
    file = probed_run.file(1)
    data = bytearray(file.read_bytes())
    middle = slice(len(data) // 3, 2 * len(data) // 3)
    data[middle] = bytes(byte ^ 0xFF for byte in data[middle])
    file.write_bytes(data)
    query = {"filters": 0, "probes": 0, "first": 0, "last": 2, "version": 1}
    head, maps = tab.responses(**query)
    assert (list(head["damaged"]), len(maps)) == (["1"], 2)
    assert str(probed_run.path.parent) not in head["damaged"]["1"]
    answer = tab.ask("responses", {"run": "run", "layer": "conv1", **query})
    assert "max-age" not in answer.headers["Cache-Control"]


def test_other_types_take_another_answer(probed_run, tab):
    """Maps without a negative value are stored as uint8, also of a layer that may have some."""
    snapshot = probed_run.snapshot(1)
    signed = probed_run.probe_responses("conv2", 1)
    positive = dataclasses.replace(signed, maps=np.abs(signed.maps).astype(np.uint8))
    responses = {"conv1": probed_run.probe_responses("conv1", 1), "conv2": positive}
    probed_run.append(dataclasses.replace(snapshot, responses=responses))
    types, first = [], 0
    while first is not None:
        head, maps = tab.responses("conv2", filters="0-5", probes=1, first=first, last=2)
        types.append((head["type"], len(maps)))
        first = head["next"]
    assert types == [("int8", 1), ("uint8", 1), ("int8", 1)]


def test_a_long_run_takes_several_answers(make_probed_run, tab, monkeypatch):
    """Within the limits of sent and of read bytes; at least one snapshot each."""
    run = make_probed_run(steps=range(10))
    part = probe_answers.ResponsePart(run, run.layer("conv1"), (0,), (0,))
    for name, most in [
        ("_MOST_BYTES", 3 * 25),
        ("_MOST_READ", 3 * part.size),
        ("_MOST_SNAPSHOTS", 3),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(step_answers, name, most)
            head, maps = tab.responses(filters=0, probes=0, first=0, last=9)
            assert (len(maps), head["next"]) == (3, 3), name
            patch.setattr(step_answers, name, 1)
            assert len(tab.responses(filters=0, probes=0, first=4, last=9)[1]) == 1


@pytest.mark.parametrize(
    ("filters", "probes", "reason"),
    [
        ("0", "3", "probes"),
        ("4", "0", "filters"),
        ("0,0", "0", "each"),
        ("0-1", "0-1", "probes: expected one for 2 filters"),
        ("0-1", "", "probes: expected one for 2 filters"),
        ("0", "-1", "probes"),
        ("0", "0-4000", "probes"),
    ],
)
def test_invalid_numbers_are_refused(probed_run, tab, filters, probes, reason):
    """Of probes without maps, of filters that there are not, and of too many."""
    query = {"run": "run", "layer": "conv1", "first": 0, "last": 2}
    tab.refused("responses", {**query, "filters": filters, "probes": probes}, reason)


def test_a_layer_without_responses_is_refused(probed_run, tab, change_probes):
    """The message lists those with responses."""
    layers = probed_run.probes.layers
    change_probes(probed_run, layers={"conv1": layers["conv1"]})
    assert [each["name"] for each in tab.json("probes", run="run")["layers"]] == ["conv1"]
    query = {"run": "run", "layer": "conv2", "filters": 0, "probes": 0, "first": 0, "last": 0}
    tab.refused("responses", query, "conv1")


def test_a_picture_is_scaled_from_its_smallest_to_its_largest_value(probed_run, tab):
    """One channel is grey."""
    image = probed_run.probes.inputs["images"][4].astype(float)
    head, picture = tab.probe(4)
    assert head["size"] == [12, 12]
    expected = np.rint(255 * (image - image.min()) / np.ptp(image))
    np.testing.assert_array_equal(picture, np.repeat(expected, 3, axis=-1))
    assert tab.probe(4, input="images")[0] == head
    tab.refused("probe", {"run": "run", "probe": 5}, "expected 0 to 4")


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((5, 12, 9, 3), [12, 9]),
        ((5, 12, 9, 2), [12, 9]),
        ((5, 1300, 700, 3), [1300, 700]),
        ((5, 12), None),
        ((5, 12, 3), None),
        ((5, 1, 1, 1), [1, 1]),
    ],
)
def test_pictures_of_every_shape(probed_run, tab, change_probes, shape, size):
    """Large ones are sent smaller; inputs that are no images have no picture."""
    images = np.random.default_rng(0).normal(size=shape)
    change_probes(probed_run, inputs={"images": images})
    head, picture = tab.probe(1)
    assert head["size"] == size
    if size is None:
        assert picture is None
    else:
        assert max(picture.shape) <= 512
        assert picture.shape[2] == 3


def test_channels_first_pictures_have_their_channels_last(probed_run, tab, change_probes, rng):
    images = rng.uniform(size=(5, 3, 8, 6))
    change_probes(probed_run, inputs={"images": images}, channels_first=True)
    head, picture = tab.probe(0)
    assert head["size"] == [8, 6]
    unit = (images[0] - images[0].min()) / np.ptp(images[0])
    np.testing.assert_array_equal(picture, np.rint(255 * np.moveaxis(unit, 0, -1)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, 7.0])
def test_pictures_of_odd_values(probed_run, tab, change_probes, value):
    """Constant, NaN, infinite or huge: a picture without a warning."""
    images = np.full((5, 4, 4, 2), value, np.float32)
    images[0, 0, 0] = 0
    change_probes(probed_run, inputs={"images": images})
    assert tab.probe(0)[1].shape == tab.probe(1)[1].shape == (4, 4, 3)


def test_responses_that_are_not_finite_are_null(probed_run, tab):
    """JSON holds neither NaN nor infinity."""
    responses = {name: probed_run.probe_responses(name, 1) for name in ("conv1", "conv2")}
    statistics = responses["conv1"].statistics.copy()
    statistics[:, 0, 0], statistics[0, 1, 0] = np.nan, np.inf
    places = responses["conv1"].places.copy()
    places[0, 0, 3] = np.inf
    responses["conv1"] = dataclasses.replace(
        responses["conv1"], statistics=statistics, places=places
    )
    probed_run.append(dataclasses.replace(probed_run.snapshot(1), responses=responses))
    head, _ = tab.responses(filters=0, probes="0-2", first=1, last=1)
    (entry,) = head["responses"]
    assert entry["reach"][:2] == [None, None]
    assert entry["statistics"][0] == [None, None, None]
    assert len(entry["places"]) == 8


def test_markup_in_descriptions_is_sent_as_json(probed_run, tab, change_probes):
    layer = ProbedLayer("conv1", HOSTILE, True, (10, 10), (5, 5), 2, HOSTILE)
    change_probes(probed_run, layers={"conv1": layer})
    (described,) = tab.json("probes", run="run")["layers"]
    assert (described["read"], described["input"]) == (HOSTILE, HOSTILE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("map_shape", [2**20, 2**20]),
        ("map_shape", [-5, -5]),
        ("map_shape", [0, 5]),
        ("shape", "5x5"),
        ("block", "two"),
        ("block", None),
        ("block", 10**400),
        ("read", ["x"]),
        ("read", "x" * 10**6),
        ("rectified", "yes"),
        ("name", ["conv1"]),
        ("input", {"a": 1}),
        ("field", {"size": [3, 3]}),
        ("field", 7),
    ],
)
def test_forged_descriptions(probed_run, tab, forge_probes, name, value):
    """Each route answers, or refuses with one sentence; nothing large is allocated."""
    forge_probes(probed_run, lambda meta: meta["layers"][0].update({name: value}))
    query = {"run": "run", "layer": "conv1", "filters": 0, "probes": 0, "probe": 0}
    for route in ("probes", "probe", "responses"):
        answer = tab.ask(route, {**query, "first": 0, "last": 2})
        assert answer.status_code in {200, 400}, (route, answer.text[:300])
        assert len(answer.data) < 10_000


@pytest.mark.parametrize(
    "forge",
    [
        lambda meta: meta.update(maps=10**9),
        lambda meta: meta.update(maps=-1),
        lambda meta: meta.update(maps="x"),
        lambda meta: meta.update(inputs=[]),
        lambda meta: meta.update(inputs=7),
        lambda meta: meta.update(layers={"a": 1}),
        lambda meta: meta.update(layers=[None]),
        lambda meta: meta.clear(),
    ],
)
def test_a_damaged_file_of_probes_is_refused(probed_run, tab, forge_probes, forge):
    """The filters are still shown."""
    forge_probes(probed_run, forge)
    tab.refused("probes", {"run": "run"}, "damaged")
    assert len(tab.cells(filters="0-3", first=0, last=2)[1]) == 3


def test_a_file_of_probes_outside_of_the_log_folder_is_not_read(probed_run, tab, tmp_path_factory):
    """As it may be a link to any file."""
    path = probed_run.path / "filters" / PROBES
    outside = tmp_path_factory.mktemp("outside") / PROBES
    path.rename(outside)
    path.symlink_to(outside)
    for route, query in [("probes", {}), ("probe", {"probe": 0})]:
        tab.refused(route, {"run": "run", **query})


def test_memory_is_reserved_for_probes_and_responses(probed_run, tab, monkeypatch):
    """For the file of the probes, and for copies of a layer's responses."""
    sizes = []
    budget = MemoryBudget(1 << 40, timeout=1)
    reserve = budget.reserve
    monkeypatch.setattr(budget, "reserve", lambda size: (sizes.append(size), reserve(size))[1])
    tab.plugin._memory = budget
    stored = (probed_run.path / "filters" / PROBES).stat().st_size
    tab.probe(0)
    assert sizes[-1] >= stored
    maps = probed_run.probe_responses("conv1", 0).maps.nbytes
    small = sizes[-1]
    tab.responses(filters=0, probes=0, first=0, last=0)
    assert sizes[-1] >= small + 3 * maps


def test_at_most_4096_labels_are_sent(tab, make_run, rng):
    """Those of the first probes."""
    run = make_run()
    layer = ProbedLayer("conv1", "x", True, (1, 1), (1, 1))
    images = np.zeros((5000, 1, 1, 1), np.uint8)
    write_probes(run.folder, StoredProbes({"x": images}, {"conv1": layer}, 1, np.arange(5000)))
    found = tab.json("probes", run="run")
    assert (found["count"], len(found["labels"])) == (5000, 4096)
