"""Measures of what filters answer to: silent filters, lifetime sparsity, class selectivity.

They take one number for each probe image and filter, computed from the feature map behind a
rectifier such as a ReLU, whose values are never negative. Where values may be negative, a filter
has no threshold that it answers above, and the ratios below are not bounded: they are NaN.
"""

from typing import NamedTuple

import numpy as np


class ClassSelectivity(NamedTuple):
    """How much each filter prefers one class, and which.

    Attributes:
        selectivity: ``(filters,)``, in [0, 1]: 0 if all classes have the same mean response, 1 if
            only one has any; NaN where it is not defined.
        preferred: ``(filters,)``: the class with the highest mean response, the lowest of several;
            NaN where ``selectivity`` is.
    """

    selectivity: np.ndarray
    preferred: np.ndarray


def silent(highest: np.ndarray) -> np.ndarray:
    """Return which filters answer to none of the probes: no response is above zero.

    It holds for these probes only: another image may well excite a silent filter.

    Args:
        highest: Array of shape ``(probes, filters)``: the highest value of each feature map after
            the rectifier.

    Returns:
        Array of shape ``(filters,)``: 1 for a silent filter, 0 for one that answers; NaN if there
        are no probes, or a response is NaN and no other is above zero.

    Example:
        >>> silent(np.array([[0.0, 0.0], [0.0, 2.5]])).tolist()
        [1.0, 0.0]
    """
    answers = (highest > 0).any(axis=0)
    known = answers | ~np.isnan(highest).any(axis=0) & (len(highest) > 0)
    return np.where(known, ~answers, np.nan)


def lifetime_sparsity(means: np.ndarray) -> np.ndarray:
    r"""Return how few of the probes each filter answers to.

    :math:`(1 - (\sum_i r_i / n)^2 / (\sum_i r_i^2 / n)) / (1 - 1 / n)` with the response
    :math:`r_i` to probe i of n (Vinje and Gallant, "Sparse Coding and Decorrelation in Primary
    Visual Cortex During Natural Vision", Science 2000; after Rolls and Tovee 1995).

    Args:
        means: Array of shape ``(probes, filters)``: the mean of each feature map after the
            rectifier.

    Returns:
        Array of shape ``(filters,)`` in [0, 1]: 0 for a filter that answers alike to all probes, 1
        for one that answers to a single one. NaN for silent filters, fewer than two probes, and
        filters with a response that is negative or not finite.

    Example:
        >>> lifetime_sparsity(np.array([[1.0, 0.0, 1.0], [1.0, 3.0, 3.0]])).round(6).tolist()
        [0.0, 1.0, 0.4]
    """
    count = len(means)
    if count < 2:
        return np.full(means.shape[1], np.nan)
    shares = _shares(means)
    alike = np.square(shares.mean(axis=0)) / np.square(shares).mean(axis=0)
    sparsity: np.ndarray = ((1 - alike) / (1 - 1 / count)).clip(0.0, 1.0)
    return sparsity


def class_selectivity(means: np.ndarray, labels: np.ndarray) -> ClassSelectivity:
    r"""Return how much each filter prefers one class of probes to the others.

    :math:`(\mu_{max} - \mu_{other}) / (\mu_{max} + \mu_{other})` with the highest mean response to
    a class and the mean of those to all other classes, whatever their numbers of probes (Morcos et
    al., "On the importance of single directions for generalization", ICLR 2018). A value for few
    probes a class is high by chance: compare it with that before training.

    Args:
        means: Array of shape ``(probes, filters)``: the mean of each feature map after the
            rectifier.
        labels: Array of shape ``(probes,)``: the class of each probe, a number.

    Returns:
        The selectivity and the preferred class of each filter. NaN for silent filters, fewer than
        two classes, and filters with a response that is negative or not finite.

    Example:
        >>> means = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 1.0]])
        >>> class_selectivity(means, np.array([4, 4, 7])).selectivity.tolist()
        [1.0, 0.0]
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        nothing = np.full(means.shape[1], np.nan)
        return ClassSelectivity(nothing, nothing)
    shares = _shares(means)
    members = numbers == np.arange(len(classes))[:, np.newaxis]
    of_class = members @ shares / members.sum(axis=1, keepdims=True)
    highest = of_class.max(axis=0)
    others = (of_class.sum(axis=0) - highest) / (len(classes) - 1)
    selectivity = ((highest - others) / (highest + others)).clip(0.0, 1.0)
    preferred = np.where(np.isnan(selectivity), np.nan, classes[of_class.argmax(axis=0)])
    return ClassSelectivity(selectivity, preferred)


def _shares(means: np.ndarray) -> np.ndarray:
    """Return responses as shares of each filter's highest; NaN for filters that are not measured.

    So no square over- or underflows.
    """
    values = means.astype(np.float64)
    highest = values.max(axis=0, initial=0.0)
    measured = np.isfinite(values).all(axis=0) & (values >= 0).all(axis=0) & (highest > 0)
    shares: np.ndarray = np.where(measured, values, np.nan) / np.where(measured, highest, 1.0)
    return shares
