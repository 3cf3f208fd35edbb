import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack import FiltertrackError
from filtertrack.measures import LABELS, drift, label, norm, orientation, similarity
from filtertrack.render import filter_order as order_module
from filtertrack.render.filter_order import arrange
from filtertrack.render.look import ORDERS

WEIGHTS = st.floats(-10, 10) | st.sampled_from([0.0, np.nan, np.inf, -np.inf])
TWO_MOMENTS = st.tuples(st.integers(0, 7), st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, (2, *shape, 2), elements=WEIGHTS)
)


def stripes(degrees, size=7):
    """Return stripes that rise to the right by that many degrees."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    along = np.radians(degrees)
    return np.cos(np.pi / 2 * (np.sin(along) * x + np.cos(along) * y) + 0.5)[..., np.newaxis]


@pytest.mark.parametrize("order", ORDERS)
@given(TWO_MOMENTS)
def test_order_is_a_permutation(order, moments):
    """Whatever the weights: zeros, NaN and infinities, or no filters."""
    start, end = moments
    numbers = arrange(order, start, end)
    assert numbers.dtype.kind == "i"
    assert sorted(numbers.tolist()) == list(range(len(end)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_equal_filters_keep_their_order(order, value):
    """Also filters without the property."""
    kernels = np.full((6, 3, 3, 2), value)
    assert arrange(order, kernels, kernels).tolist() == list(range(6))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [0, 1])
def test_order_of_no_filter_and_of_one(order, count, rng):
    """No error."""
    kernels = rng.normal(size=(count, 3, 3, 2))
    assert arrange(order, kernels, kernels).tolist() == list(range(count))


def test_stored_is_the_order_of_the_kernel(rng):
    """Whatever the weights."""
    start, end = rng.normal(size=(2, 9, 3, 3, 1))
    assert arrange("stored", start, end).tolist() == list(range(9))


@given(TWO_MOMENTS)
def test_drift_is_descending(moments):
    """As in ``measures.drift``; filters without one come last."""
    start, end = moments
    turned = drift(end, start)[arrange("drift", start, end)]
    known = np.isfinite(turned)
    assert (np.diff(turned[known]) <= 0).all()
    assert (np.diff(known.astype(int)) <= 0).all()


def test_drift_of_known_angles(rng):
    """From the largest angle to the smallest."""
    angles = rng.permutation(np.linspace(0.1, 3.0, 12))
    start = np.zeros((12, 1, 2, 1))
    start[:, 0, 0] = 1
    end = np.stack([np.cos(angles), np.sin(angles)], axis=1).reshape(12, 1, 2, 1)
    numbers = arrange("drift", start, end * rng.uniform(0.1, 10, (12, 1, 1, 1)))
    np.testing.assert_array_equal(angles[numbers], np.sort(angles)[::-1])


@given(TWO_MOMENTS)
def test_orientation_is_ascending(moments):
    """As in ``measures.orientation`` of the last snapshot; filters without one come last."""
    start, end = moments
    degrees = orientation(end).degrees[arrange("orientation", start, end)]
    known = np.isfinite(degrees)
    assert (np.diff(degrees[known]) >= 0).all()
    assert (np.diff(known.astype(int)) <= 0).all()


def test_orientation_of_known_gratings(rng):
    """From nearly horizontal over rising to vertical and falling; constants last."""
    angles = np.arange(5, 180, 10)
    permutation = rng.permutation(len(angles))
    gratings = [stripes(angle) for angle in angles[permutation]]
    kernels = np.stack([np.ones((7, 7, 1)), *gratings, np.zeros((7, 7, 1))])
    numbers = arrange("orientation", rng.normal(size=kernels.shape), kernels)
    np.testing.assert_array_equal(angles[permutation][numbers[:-2] - 1], angles)
    assert numbers[-2:].tolist() == [0, len(kernels) - 1]


@given(TWO_MOMENTS)
def test_similarity_follows_the_highest_cosine(moments):
    """Among the filters that are left, starting with the longest finite filter."""
    start, end = moments
    numbers = arrange("similarity", start, end).tolist()
    lengths = np.where(np.isfinite(norm(end)), norm(end), 0)
    alike = similarity(end)
    if numbers:
        assert lengths[numbers[0]] == lengths.max()
    for position in range(1, len(numbers)):
        here, left = numbers[position - 1], numbers[position:]
        assert alike[here, left[0]] == alike[here, left].max()


def test_similarity_puts_duplicates_side_by_side(rng):
    """Filters and their copies, with another length and some noise, are neighbours."""
    ten = rng.normal(size=(10, 5, 5, 3))
    copies = ten * rng.uniform(0.5, 2, (10, 1, 1, 1)) + 0.02 * rng.normal(size=ten.shape)
    permutation = rng.permutation(20)
    kernels = np.concatenate([ten, copies])[permutation]
    which = (permutation % 10)[arrange("similarity", rng.normal(size=kernels.shape), kernels)]
    np.testing.assert_array_equal(which[::2], which[1::2])


def test_similarity_puts_zeros_and_nan_last(rng):
    """After a group of similar filters."""
    kernels = np.ones((6, 3, 3, 1)) + 0.01 * rng.normal(size=(6, 3, 3, 1))
    kernels[1], kernels[3, 0, 0] = 0.0, np.nan
    numbers = arrange("similarity", kernels, kernels).tolist()
    assert sorted(numbers[:4]) == [0, 2, 4, 5]
    assert numbers[4:] == [1, 3]


def planted_labels(rng):
    """Return shuffled filters of 7x7x3 of every label but "unknown", and their labels."""
    y, x = np.mgrid[-3:4, -3:4].astype(float)
    spot = np.exp(-(x**2 + y**2) / 4)
    spot = (spot - spot.mean())[..., np.newaxis]
    angles = [100, 10, 55, 145]
    kernels = [np.broadcast_to(stripes(angle), (7, 7, 3)) for angle in angles]
    kernels += [sign * spot * np.ones(3) for sign in (1, -1)]
    kernels += [spot * np.array(tint) for tint in ([1, -1, 0], [0, 1, -1])]
    kernels += [np.ones((7, 7, 3)) * tone for tone in (1, 2)]
    kernels += list(rng.normal(size=(3, 7, 7, 3)))
    names = ["edge"] * 4 + ["blob"] * 2 + ["colour blob"] * 2 + ["other structure"] * 2
    names += ["unstructured"] * 3
    permutation = rng.permutation(len(kernels))
    return np.stack(kernels)[permutation], np.array(names)[permutation]


def test_label_is_the_order_of_labels(rng):
    """Edges, blobs, colour blobs, other structure, the rest."""
    kernels, planted = planted_labels(rng)
    names = label(kernels).names
    np.testing.assert_array_equal(names, planted)
    ordered = names[arrange("label", rng.normal(size=kernels.shape), kernels)].tolist()
    assert ordered == sorted(ordered, key=LABELS.index)


def test_label_orders_edges_by_direction(rng):
    """Filters of other labels by similarity."""
    kernels, _ = planted_labels(rng)
    numbers = arrange("label", kernels, kernels)
    edges = orientation(kernels[numbers[:4]]).degrees
    np.testing.assert_allclose(edges, [10, 55, 100, 145], atol=3)
    names = label(kernels).names
    for name in LABELS[1:]:
        members = np.flatnonzero(names == name)
        group = [number for number in numbers if names[number] == name]
        chain = members[arrange("similarity", kernels[members], kernels[members])]
        assert group == chain.tolist()


@given(TWO_MOMENTS)
def test_label_uses_the_last_snapshot(moments):
    """The first one does not matter."""
    start, end = moments
    numbers = arrange("label", start, end)
    ranks = [LABELS.index(name) for name in label(end).names[numbers]]
    assert ranks == sorted(ranks)
    assert numbers.tolist() == arrange("label", end, end).tolist()


def test_similarity_is_the_same_without_a_table(rng, monkeypatch):
    """The table of all cosines grows with the square of the number of filters."""
    kernels = rng.normal(size=(200, 3, 3, 2))
    expected = arrange("similarity", kernels, kernels).tolist()
    monkeypatch.setattr(order_module, "_MOST_COSINES", 100)
    assert arrange("similarity", kernels, kernels).tolist() == expected


def test_similarity_of_many_filters_takes_little_memory():
    """A table of the cosines of 20,000 filters would take 3.2 GB."""
    kernels = np.random.default_rng(0).normal(size=(6000, 3, 3, 1)).astype(np.float32)
    tracemalloc.start()
    found = arrange("similarity", kernels, kernels)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(found.tolist()) == list(range(6000))
    assert most < 20e6


@pytest.mark.parametrize(
    ("order", "count"), [("similarity", 200_000), ("drift", 2_000_000), ("stored", 10**9)]
)
def test_too_many_filters_are_rejected(order, count):
    """At once; the error says what to do."""
    kernels = np.broadcast_to(np.float32(0), (count, 3, 3, 1))
    with pytest.raises(FiltertrackError, match=r"order: .*; choose"):
        arrange(order, kernels, kernels)
