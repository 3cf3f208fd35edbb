import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.measures import class_selectivity, lifetime_sparsity, silent

NAN = float("nan")
MEANS = arrays(
    np.float64,
    st.tuples(st.integers(2, 9), st.integers(1, 5)),
    elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)),
)


def sparsity_of(responses):
    """Compute the lifetime sparsity of one filter from its responses, in plain Python."""
    n = len(responses)
    mean = sum(r / n for r in responses)
    mean_square = sum(r * r / n for r in responses)
    return (1 - mean**2 / mean_square) / (1 - 1 / n)


def selectivity_of(responses, labels):
    """Compute the class selectivity of one filter, and its preferred class, in plain Python."""
    means = {}
    for wanted in sorted(set(labels)):
        own = [r for r, label in zip(responses, labels, strict=True) if label == wanted]
        means[wanted] = sum(own) / len(own)
    preferred = max(means, key=means.get)
    highest = means.pop(preferred)
    other = sum(means.values()) / len(means)
    return (highest - other) / (highest + other), preferred


def test_a_filter_without_a_value_above_zero_is_silent():
    """Zeros of either sign; one value above zero in any probe is an answer."""
    highest = np.array([[0.0, 0.0, -0.0, 0.0], [0.0, 1e-30, 0.0, np.inf]])
    assert silent(highest).tolist() == [1, 0, 1, 0]


def test_a_filter_with_nan_answers_only_if_another_value_is_above_zero():
    np.testing.assert_array_equal(silent(np.array([[NAN, NAN], [0.0, 3.0]])), [NAN, 0])


def test_without_probes_no_filter_is_silent():
    np.testing.assert_array_equal(silent(np.zeros((0, 2))), [NAN, NAN])


@pytest.mark.parametrize(
    ("responses", "expected"),
    [
        ([1, 1, 1, 1], 0),
        ([0, 5, 0, 0], 1),
        ([1, 1, 0, 0], (1 - 0.25 / 0.5) / 0.75),
        ([1, 2, 3, 4], (1 - 2.5**2 / 7.5) / 0.75),
        ([1e200, 2e200, 3e200, 4e200], (1 - 2.5**2 / 7.5) / 0.75),
        ([1e-300, 2e-300, 3e-300, 4e-300], (1 - 2.5**2 / 7.5) / 0.75),
        ([0, 0, 0, 0], NAN),
        ([1, -1, 1, 1], NAN),
        ([1, NAN, 1, 1], NAN),
        ([1, np.inf, 1, 1], NAN),
        ([1], NAN),
    ],
)
def test_lifetime_sparsity_of_known_responses(responses, expected):
    found = lifetime_sparsity(np.array(responses, np.float64)[:, np.newaxis])
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_single_precision_is_measured_in_double(rng):
    means = rng.uniform(size=(50, 3)).astype(np.float32)
    np.testing.assert_array_equal(lifetime_sparsity(means), lifetime_sparsity(means.astype(float)))


@given(MEANS)
def test_lifetime_sparsity_equals_the_formula(means):
    expected = [sparsity_of(each) if any(each) else NAN for each in means.T.tolist()]
    np.testing.assert_allclose(lifetime_sparsity(means), expected, rtol=1e-9, atol=1e-9)


@given(MEANS, st.floats(1e-6, 1e6), st.randoms())
def test_lifetime_sparsity_depends_on_neither_scale_nor_order(means, scale, random):
    order = list(range(len(means)))
    random.shuffle(order)
    found = lifetime_sparsity(means)
    assert ((found >= 0) & (found <= 1) | np.isnan(found)).all()
    np.testing.assert_allclose(lifetime_sparsity(scale * means[order]), found, atol=1e-9)


@pytest.mark.parametrize(
    ("responses", "labels", "expected", "preferred"),
    [
        ([1, 1, 1], [0, 1, 2], 0, 0),
        ([0, 5, 0], [0, 1, 2], 1, 1),
        ([1, 3, 8], [4, 4, 9], (8 - 2) / (8 + 2), 9),
        ([1, 3, 8, 4], [4, 4, 9, 0], (8 - 3) / (8 + 3), 9),  # the mean of the class means 2 and 4
        ([2, 2, 1], [3, 1, 2], (2 - 1.5) / (2 + 1.5), 1),  # the lowest of two preferred classes
        ([0, 0, 0], [0, 1, 2], NAN, NAN),
        ([1, -1, 1], [0, 1, 2], NAN, NAN),
        ([1, NAN, 1], [0, 1, 2], NAN, NAN),
        ([1, 2, 3], [7, 7, 7], NAN, NAN),
        ([1], [7], NAN, NAN),
    ],
)
def test_class_selectivity_of_known_responses(responses, labels, expected, preferred):
    found = class_selectivity(np.array(responses, np.float64)[:, np.newaxis], np.array(labels))
    np.testing.assert_allclose(found.selectivity, [expected], rtol=1e-12)
    np.testing.assert_array_equal(found.preferred, [preferred])


@given(MEANS, st.data())
def test_class_selectivity_equals_the_formula(means, data):
    labels = data.draw(st.lists(st.integers(0, 3), min_size=len(means), max_size=len(means)))
    found = class_selectivity(means, np.array(labels))
    for number, responses in enumerate(means.T.tolist()):
        if len(set(labels)) < 2 or not any(responses):
            assert np.isnan(found.selectivity[number])
            continue
        expected, _ = selectivity_of(responses, labels)
        assert found.selectivity[number] == pytest.approx(expected, abs=1e-9)


@given(MEANS, st.floats(1e-6, 1e6), st.randoms(), st.data())
def test_class_selectivity_depends_on_neither_scale_nor_order(means, scale, random, data):
    labels = data.draw(st.lists(st.integers(0, 3), min_size=len(means), max_size=len(means)))
    order = list(range(len(means)))
    random.shuffle(order)
    found = class_selectivity(means, np.array(labels)).selectivity
    assert ((found >= 0) & (found <= 1) | np.isnan(found)).all()
    other = class_selectivity(scale * means[order], np.array(labels)[order]).selectivity
    np.testing.assert_allclose(other, found, atol=1e-9)
