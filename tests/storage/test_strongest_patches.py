"""The parts of the probes that excite filters most."""

import dataclasses

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.response import PLACES, ProbedLayer, ReceptiveField, StoredProbes
from filtertrack.storage import memory_limit
from filtertrack.storage.strongest_patches import cut_patches


def probes_of(images, field, shape=(10, 10), **options):
    layer = ProbedLayer("conv1", "its output", True, shape, shape, 1, "images", field)
    return StoredProbes({"images": images}, {"conv1": layer}, 0, **options)


def places_of(*places):
    """Return places of one filter, with the rest missing."""
    found = np.full((1, PLACES, 4), (-1, -1, -1, np.nan), np.float32)
    for number, place in enumerate(places):
        found[0, number] = place
    return found


def test_patches_are_the_receptive_fields_of_the_strongest_places(probed_run):
    """In the pixels of the probes, in the order of the places."""
    found = probed_run.strongest_patches("conv1", 1)
    places = probed_run.probe_responses("conv1", 1).places
    images = probed_run.probes.inputs["images"]
    assert found.pixels.shape == (4, 9, 3, 3, 1)
    assert found.filters == (0, 1, 2, 3)
    np.testing.assert_array_equal(found.places, places)
    np.testing.assert_array_equal(found.values, places[..., 3])
    for patches, of_filter in zip(found.pixels, places, strict=True):
        for patch, (probe, y, x) in zip(patches, of_filter[:, :3].astype(int), strict=True):
            np.testing.assert_array_equal(patch, images[probe, y : y + 3, x : x + 3])


def test_a_field_that_is_not_known_is_the_whole_picture(probed_run):
    found = probed_run.strongest_patches("conv2", 1, filters=[5, 0])
    assert found.pixels.shape == (2, 9, 12, 12, 1)
    assert found.filters == (5, 0)
    places = probed_run.probe_responses("conv2", 1).places
    np.testing.assert_array_equal(found.places, places[[5, 0]])
    probe = int(places[5, 0, 0])
    np.testing.assert_array_equal(found.pixels[0, 0], probed_run.probes.inputs["images"][probe])


def test_missing_places_and_pixels_outside_are_nan(conv_info):
    """Also of a field that begins far outside, or lies in the picture nowhere."""
    images = np.arange(2 * 4 * 5.0).reshape(2, 4, 5, 1)
    info = conv_info("conv1", (3, 3, 1, 1))
    field = ReceptiveField((3, 3), (1, 2), (-1, -1))
    places = places_of((1, 0, 0, 5), (0, 3, 2, 4), (0, 1, 1, 3), (1, 9, 9, 2))
    patches = cut_patches(info, probes_of(images, field), places).pixels[0, ..., 0]
    outside = np.nan
    np.testing.assert_array_equal(patches[0], [[outside] * 3, [outside, 20, 21], [outside, 25, 26]])
    np.testing.assert_array_equal(patches[1], [[13, 14, outside], [18, 19, outside], [outside] * 3])
    np.testing.assert_array_equal(patches[2], [[1, 2, 3], [6, 7, 8], [11, 12, 13]])
    assert np.isnan(patches[3:]).all()


def test_a_field_larger_than_the_picture_is_the_whole_picture(conv_info):
    """Along each axis; nothing is allocated for the field."""
    images = np.arange(2 * 4 * 5.0).reshape(2, 4, 5, 1)
    field = ReceptiveField((1 << 20, 3), (1, 1), (-100, 0))
    found = cut_patches(
        conv_info("conv1", (3, 3, 1, 1)), probes_of(images, field), places_of((1, 3, 1, 2))
    )
    assert found.pixels.shape == (1, 9, 4, 3, 1)
    np.testing.assert_array_equal(found.pixels[0, 0], images[1, :, 1:4])


def test_channels_first(conv_info):
    images = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    field = ReceptiveField((2, 2), (1, 1), (0, 0))
    probes = probes_of(images, field, channels_first=True)
    found = cut_patches(conv_info("conv1", (3, 3, 3, 1)), probes, places_of((1, 2, 3, 2)))
    np.testing.assert_array_equal(found.pixels[0, 0], np.moveaxis(images[1, :, 2:4, 3:5], 0, -1))


@pytest.mark.parametrize("channels_first", [False, True])
def test_signals_have_a_height_of_one(conv_info, channels_first):
    """Of a 1-D convolution."""
    signals = np.arange(2 * 6 * 3.0).reshape(2, 6, 3)
    given = np.moveaxis(signals, -1, 1) if channels_first else signals
    info = conv_info(
        "conv1", (3, 3, 1), axes=(2, 0, 1), shape=(1, 1, 3, 3), strides=(1,), dilation=(1,)
    )
    probes = probes_of(
        given, ReceptiveField((1, 3), (1, 1), (0, -1)), (1, 6), channels_first=channels_first
    )
    found = cut_patches(info, probes, places_of((1, 0, 2, 1.5)))
    assert found.pixels.shape == (1, 9, 1, 3, 3)
    np.testing.assert_array_equal(found.pixels[0, 0, 0], signals[1, 1:4])


def test_probes_that_are_no_images_are_an_error(conv_info):
    with pytest.raises(FiltertrackError, match="are no images but arrays of shape"):
        cut_patches(
            conv_info("conv1", (3, 3, 1, 1)), probes_of(np.zeros((2, 9)), None), places_of()
        )


@pytest.mark.parametrize("filters", [[4], [-1], [], [1.5], "ab", [True]], ids=str)
def test_filters_that_are_not_there_are_an_error(probed_run, filters):
    with pytest.raises(FiltertrackError, match="filters: expected numbers from 0 to 3"):
        probed_run.strongest_patches("conv1", 1, filters)


def test_a_number_chooses_one_filter(probed_run):
    assert probed_run.strongest_patches("conv1", 1, 2).filters == (2,)


def test_patches_larger_than_memory_are_refused(conv_info, monkeypatch):
    """Before anything is allocated: whole pictures for each of many filters."""
    images = np.zeros((1, 300, 300, 3), np.float32)
    info = conv_info("conv1", (3, 3, 3, 512))
    places = np.zeros((512, PLACES, 4), np.float32)
    monkeypatch.setattr(memory_limit, "machine_memory", lambda: 1 << 30)
    with pytest.raises(FiltertrackError, match=r"patches of 512 filters take 5\.0 GB"):
        cut_patches(info, probes_of(images, None), places)
    assert len(cut_patches(info, probes_of(images, None), places, [7]).pixels) == 1


def test_a_layer_whose_responses_were_not_recorded_is_an_error(probed_run):
    probes = probed_run.probes
    probed_run.store_probes(dataclasses.replace(probes, layers={"conv1": probes.layers["conv1"]}))
    with pytest.raises(FiltertrackError, match="conv2: its responses were not recorded"):
        probed_run.strongest_patches("conv2", 1)
