"""Probes of a training that continues a run."""

import dataclasses

import numpy as np
import pytest

from filtertrack import FilterTracker, FiltertrackError, Probes, Run
from filtertrack.capture.existing_run_probes import check_or_store_probes

IMAGES = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def train(tiny_model, data, tmp_path):
    """Train up to an epoch, from the last one or from the first."""
    trained = [0]

    def train(probes=None, *, epochs=1, **options):
        start = 0 if options else trained[0]
        tracker = FilterTracker(tmp_path, probes=probes, **options)
        trained[0] = start + epochs
        tiny_model.fit(
            *data, initial_epoch=start, epochs=trained[0], verbose=0, callbacks=[tracker]
        )
        run = Run(tmp_path)
        assert run.verify() == {}
        return run, [step for step in run.steps if run.moment(step).probed]

    return train


def test_the_same_probes_go_on(train, caplog):
    """Nothing is written again, and nothing is said."""
    run, _ = train(Probes(IMAGES, labels=[0, 1, 0, 1]))
    before = (run.folder / "probes.npz").stat()
    run, probed = train(Probes(IMAGES.copy(), labels=np.array([0, 1, 0, 1])), epochs=2)
    assert probed == run.steps == [0, 1, 2, 3]
    assert (run.folder / "probes.npz").stat() == before
    assert "probes" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": IMAGES + 1}, "the images differ"),
        ({"images": IMAGES[:3]}, "4 images there, 3 here"),
        ({"labels": [0, 1, 2, 3]}, "the labels differ"),
        ({"layers": "conv1"}, "layer conv2 is read only there"),
        ({"maps": 2}, "maps of 4 images there, of 2 here"),
        ({"map_size": 3}, "the maps of layer conv"),
    ],
    ids=["images", "count", "labels", "layers", "maps", "map size"],
)
def test_with_other_probes_weights_go_on_alone(train, caplog, changes, reason):
    """One sentence says why and what to do; the stored responses stay readable."""
    run, _ = train(Probes(IMAGES))
    before = (run.folder / "probes.npz").read_bytes()
    run, probed = train(Probes(**{"images": IMAGES, **changes}), epochs=2)
    assert run.steps == [0, 1, 2, 3]
    assert probed == [0, 1]
    assert (run.folder / "probes.npz").read_bytes() == before
    assert caplog.text.count("hold weights only") == 1
    assert "could not show" not in caplog.text
    assert caplog.text.count(reason) == caplog.text.count("Give the same probes as before") == 1


def test_without_probes_weights_go_on_alone(train, caplog):
    """One sentence says so."""
    train(IMAGES)
    run, probed = train(epochs=2)
    assert run.steps == [0, 1, 2, 3]
    assert probed == [0, 1]
    assert caplog.text.count("the next snapshots hold weights only") == 1


def test_probes_may_begin_in_a_later_training(train):
    """Earlier snapshots hold no responses."""
    train()
    run, probed = train(IMAGES)
    assert run.steps == [0, 1, 2]
    assert probed == [2]
    assert run.probe_responses("conv1", 2).maps.shape[0] == 4
    with pytest.raises(FiltertrackError, match=r"step 0 .* holds no responses"):
        run.probe_responses("conv1", 0)


def test_replacing_a_run_replaces_its_probes(train):
    """``existing="replace"`` from the start of training."""
    train(IMAGES)
    run, probed = train(IMAGES[:2], existing="replace")
    assert probed == run.steps == [0, 1]
    assert run.probes.count == 2


def test_probes_without_any_response_are_replaced(probed_run):
    """They were left by a training that ended before its first snapshot."""
    for step in probed_run.steps:
        probed_run.remove(step)
    other = dataclasses.replace(probed_run.probes, labels=None)
    check_or_store_probes(probed_run, other)
    assert probed_run.probes.labels is None
    assert Run(probed_run.path).probes.labels is None


def test_names_that_keras_numbers_may_differ(probed_run):
    """Those of inputs and of the layers in what is read: a second model has other numbers."""
    file = probed_run.folder / "probes.npz"
    before = file.read_bytes()
    probes = probed_run.probes
    layer = probes.layers["conv1"]
    again = dataclasses.replace(layer, read="the output of relu1_7, after conv1", input="images_3")
    again = dataclasses.replace(again, field=None)
    given = dataclasses.replace(
        probes,
        inputs={"images_3": probes.inputs["images"]},
        layers={**probes.layers, "conv1": again},
    )
    check_or_store_probes(probed_run, given)
    assert file.read_bytes() == before
    other = dataclasses.replace(again, read="the output of conv1")
    with pytest.raises(FiltertrackError, match="here the output of conv1"):
        check_or_store_probes(
            probed_run, dataclasses.replace(given, layers={**given.layers, "conv1": other})
        )


def test_damaged_probes_are_kept_while_snapshots_refer_to_them(probed_run):
    """A copy of the file may still be somewhere."""
    file = probed_run.folder / "probes.npz"
    probes, damaged = probed_run.probes, file.read_bytes()[:-9]
    file.write_bytes(damaged)
    with pytest.raises(FiltertrackError, match=r"damaged file .*probes\.npz"):
        check_or_store_probes(Run(probed_run.path), probes)
    assert file.read_bytes() == damaged
