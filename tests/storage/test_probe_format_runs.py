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


def test_weights_are_exported_without_responses(probed_run):
    """To xarray: the same as of a run without probes."""
    array = to_xarray(probed_run, "conv1")
    np.testing.assert_array_equal(array.sel(step=1).compute(), probed_run.kernels("conv1", 1))
