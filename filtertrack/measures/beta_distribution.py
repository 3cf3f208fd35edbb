"""Quantiles of the beta distribution: the law of squared cosines between random directions."""

import math

_MOST_TERMS = 10_000
"""Terms of the continued fraction; about the root of the larger parameter are needed."""
_PRECISION = 1e-15
_TINY = 1e-300
_HALVINGS = 64
"""Enough for all digits of a ``float``, over the range of its exponents."""


def beta_quantile(probability: float, a: float, b: float) -> float:
    r"""Return the value below which a beta-distributed variable lies with a probability.

    The root of the regularised incomplete beta function :math:`I_x(a, b)`, found by bisection of
    :math:`\ln x`, so that tiny quantiles keep their digits. For an upper quantile use
    :math:`1 - x` of the distribution with a and b exchanged.

    Args:
        probability: In (0, 1).
        a: First parameter, above 0; up to some millions.
        b: Second parameter, likewise.

    Returns:
        A number in [0, 1].

    Example:
        >>> round(beta_quantile(0.25, 1.0, 1.0), 12), round(beta_quantile(0.5, 3.0, 3.0), 12)
        (0.25, 0.5)
    """
    low, high = math.log(_TINY), 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _incomplete_beta(math.exp(middle), a, b) < probability:
            low = middle
        else:
            high = middle
    return math.exp(high)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    r"""Return the regularised incomplete beta function :math:`I_x(a, b)`, for x in (0, 1]."""
    if x >= 1:
        return 1.0
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    factor = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta)
    if x < (a + 1) / (a + b + 2):  # where the continued fraction converges fast
        return factor * _continued_fraction(x, a, b) / a
    return 1.0 - factor * _continued_fraction(1 - x, b, a) / b


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22).

    Evaluated by the modified Lentz method (Thompson and Barnett 1986).
    """
    value, upper, lower = 1.0, 1.0, 0.0
    for term in range(1, _MOST_TERMS):
        half, odd = divmod(term, 2)
        if odd:
            numerator = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            numerator = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lower = 1.0 / _not_zero(1.0 + numerator * lower)
        upper = _not_zero(1.0 + numerator / upper)
        value *= upper * lower
        if abs(upper * lower - 1.0) < _PRECISION:
            break
    return 1.0 / value


def _not_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
