"""The probes of a run, and the responses in its snapshot files."""

import numpy as np


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
