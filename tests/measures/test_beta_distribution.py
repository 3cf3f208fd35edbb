import pytest
from scipy import special

from filtertrack.measures.beta_distribution import beta_quantile


@pytest.mark.parametrize("probability", [1e-13, 1e-6, 0.001, 0.02, 0.5, 0.9])
@pytest.mark.parametrize(
    ("a", "b"),
    [(0.5, 0.5), (0.5, 4), (4, 0.5), (1, 1), (1.5, 3), (37, 300), (2303.5, 0.5), (2.4e6, 0.5)],
)
def test_quantiles_agree_with_scipy(probability, a, b):
    """From one weight to millions, and down to the probabilities of millions of pairs."""
    expected = special.betaincinv(a, b, probability)
    assert beta_quantile(probability, a, b) == pytest.approx(expected, rel=1e-9)
