"""Data classes of probes and responses."""

import pytest


@pytest.mark.parametrize("what", ["probes", "probe_responses", "strongest_patches"])
def test_a_repr_is_one_short_line_without_values(probed_run, what):
    """Arrays of hundreds of lines tell less than their sizes."""
    text = repr(
        {
            "probes": probed_run.probes,
            "probe_responses": probed_run.probe_responses("conv2", 1),
            "strongest_patches": probed_run.strongest_patches("conv2", 1),
        }[what]
    )
    assert len(text) < 150
    assert "\n" not in text
    assert "array" not in text
    assert {"probes": "5 probes of", "probe_responses": "6 filters, 5 probes, maps of"}.get(
        what, "6 filters, up to 9 patches of"
    ) in text


def test_the_repr_of_probes_names_the_layers(probed_run):
    assert "conv1, conv2" in repr(probed_run.probes)
