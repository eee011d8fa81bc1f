"""Intervals and tests against SciPy and published values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from para.statistics import Rate, format_p, mcnemar, wilson


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_symmetric_and_contains_the_rate(case):
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    mirrored = wilson(n - successes, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(18, 20, 0.699, 0.972), (54, 100, 0.443, 0.634), (0, 10, 0.0, 0.278), (100, 100, 0.963, 1.0)],
)
def test_wilson_known_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=6e-4)


def test_wilson_without_episodes_and_with_nonsense():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


def test_wilson_covers_the_truth_about_95_percent_of_the_time():
    n, p = 60, 0.9
    covered = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k)
        for k in range(n + 1)
        if wilson(k, n)[0] <= p <= wilson(k, n)[1]
    )
    assert 0.93 < covered < 0.97


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=120))
def test_mcnemar_is_the_binomial_test_of_discordant_pairs(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    result = mcnemar(first, second)
    discordant = sum(a != b for a, b in pairs)
    only_first = sum(a and not b for a, b in pairs)
    assert (result.only_first, result.only_second) == (only_first, discordant - only_first)
    expected = binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert result.p_value == pytest.approx(expected)
    assert mcnemar(second, first).p_value == pytest.approx(result.p_value)
    assert result.n * result.difference == pytest.approx(sum(first) - sum(second)) or not pairs


def test_mcnemar_known_value():
    # 10 : 2 discordant pairs: 2 * (1 + 12 + 66) / 2^12
    result = mcnemar([True] * 10 + [False] * 2 + [True] * 8, [False] * 10 + [True] * 10)
    assert result.p_value == pytest.approx(2 * 79 / 4096)
    assert str(result) == "+40.0 points, McNemar p = 0.039 (10 : 2 of 20 pairs differ)"


def test_mcnemar_refuses_unpaired_outcomes():
    with pytest.raises(ValueError, match="pairs"):
        mcnemar([True], [True, False])


def test_formatting():
    assert str(Rate(96, 100)) == "96.0 % [90.2, 98.4] n=100"
    assert str(Rate(0, 0)) == "not run"
    assert Rate.of([True, False, True]) == Rate(2, 3)
    assert (format_p(0.0312), format_p(2.14e-12)) == ("p = 0.031", "p = 2.1e-12")
