"""What handles whole runs handles their probes."""

import copy
import dataclasses
import shutil

import fsspec
import numpy as np
import pytest

from filtertrack import FiltertrackError, Run, to_xarray
from filtertrack.storage.retention import RetainedRun


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


def replace_run(path, probed_run, images):
    """Delete the run in a folder and make another one there, with other probes."""
    Run.delete(path)
    run = Run.create(path, list(probed_run.layers.values()))
    run.store_probes(dataclasses.replace(probed_run.probes, inputs={"images": images}))
    for step in probed_run.steps:
        responses = {name: probed_run.probe_responses(name, step) for name in ("conv1", "conv2")}
        run.append(dataclasses.replace(probed_run.snapshot(step), responses=responses))


def test_an_open_run_reads_the_probes_of_the_run_that_replaced_it(probed_run, tmp_path):
    """Patches are cut from the images that the stored places refer to."""
    path, images = tmp_path / "other", probed_run.probes.inputs["images"]
    replace_run(path, probed_run, images)
    opened = Run(path)
    assert opened.probes is opened.probes  # read once
    before = opened.strongest_patches("conv1", 2)
    replace_run(path, probed_run, images[::-1])
    np.testing.assert_array_equal(opened.probes.inputs["images"], images[::-1])
    after, expected = (run.strongest_patches("conv1", 2) for run in (opened, Run(path)))
    np.testing.assert_array_equal(after.pixels, expected.pixels)
    assert not np.array_equal(before.pixels, after.pixels, equal_nan=True)


def test_an_open_run_has_no_probes_after_it_was_deleted(probed_run):
    assert probed_run.probes.count == 5
    Run.delete(probed_run.path)
    assert probed_run.probes is None


def test_on_object_storage_replaced_probes_are_found_after_the_next_listing(probed_run):
    """Their stamp is a request: it is asked for once a listing, not once a snapshot."""
    address, images = "memory://replaced/run", probed_run.probes.inputs["images"]
    replace_run(address, probed_run, images)
    opened = Run(address)
    first = opened.probes
    assert opened.steps == [0, 1, 2]
    assert opened.probes is first
    replace_run(address, probed_run, images[::-1])
    assert opened.steps == [0, 1, 2]
    np.testing.assert_array_equal(opened.probes.inputs["images"], images[::-1])
    Run.delete(address)


def test_a_run_whose_probes_were_removed_takes_further_snapshots(probed_run):
    """A training stores its weights and responses, whatever happens to the file of the probes."""
    responses = {name: probed_run.probe_responses(name, 1) for name in ("conv1", "conv2")}
    probed_run.store_probes(probed_run.probes)
    (probed_run.folder / "probes.npz").unlink()
    probed_run.append(dataclasses.replace(probed_run.snapshot(1), responses=responses))
    assert probed_run.moment(1).probed


def test_weights_are_exported_without_responses(probed_run):
    """To xarray: the same as of a run without probes."""
    array = to_xarray(probed_run, "conv1")
    np.testing.assert_array_equal(array.sel(step=1).compute(), probed_run.kernels("conv1", 1))
