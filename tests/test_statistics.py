"""Intervals and tests against SciPy and published values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binomtest, t, ttest_1samp

from para.statistics import (
    Rate,
    bootstrap_means,
    compare_over_seeds,
    format_p,
    hierarchical_interval,
    holm,
    mcnemar,
    wilson,
)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_symmetric_and_contains_the_rate(case):
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx(tuple(expected), abs=1e-12)
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


# ---------------------------------------------------------------------------- over training seeds


def test_one_seed_is_wilson_and_mcnemar():
    first, second = [True, True, False, True], [False, True, False, False]
    assert Rate.over_seeds([first]) == Rate.of(first) == Rate(3, 4)
    assert Rate.over_seeds([]) == Rate.over_seeds([[], []]) == Rate(0, 0)
    assert compare_over_seeds([first], [second]) == mcnemar(first, second)


def test_a_rate_over_seeds_shows_every_seed():
    rate = Rate.over_seeds([[True] * 9 + [False], [True] * 5 + [False] * 5])
    assert (rate.value, rate.n, rate.seeds) == (0.7, 20, (0.9, 0.5))
    low, high = rate.interval
    assert str(rate) == f"70.0 % [{100 * low:.1f}, {100 * high:.1f}] n=2x10 (90, 50)"
    # two seeds that are 40 points apart say less than 20 episodes of one policy
    assert low < wilson(14, 20)[0]
    assert high > wilson(14, 20)[1]


def test_seeds_share_their_starts():
    with pytest.raises(ValueError, match="must be the same"):
        Rate.over_seeds([[True], [True, False]])
    with pytest.raises(ValueError, match="Pairs needed"):
        compare_over_seeds([[True]], [[True], [False]])


def test_draws_are_repeatable_and_around_the_mean():
    values = np.random.default_rng(0).random((3, 50))
    draws = bootstrap_means(values, 4000)
    assert np.array_equal(draws, bootstrap_means(values, 4000))
    assert draws.mean() == pytest.approx(values.mean(), abs=0.003)
    # no difference between seeds: what is left is the variance of the mean over starts
    alike = np.tile(values[:1], (3, 1))
    expected = alike[0].var() / 50
    assert bootstrap_means(alike, 4000).var() == pytest.approx(expected, rel=0.08)
    # no difference between starts: what is left is the unbiased variance of the mean over seeds
    flat = np.tile(values[:, :1], (1, 50))
    assert bootstrap_means(flat, 4000).var() == pytest.approx(flat[:, 0].var(ddof=1) / 3, rel=0.08)


@pytest.mark.parametrize("outcome", [True, False])
def test_where_all_end_alike_the_interval_is_that_of_the_starts(outcome):
    outcomes = np.full((3, 40), outcome)
    assert hierarchical_interval(outcomes) == wilson(40 * outcome, 40)


def test_intervals_over_seeds_cover_the_truth_in_92_to_98_of_100_studies():
    """Simulated studies of 3 seeds and 60 starts; their means and effects are drawn, too."""
    rng = np.random.default_rng(7)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights /= weights.sum()
    covered, studies = 0, 2000
    for _ in range(studies):
        log_odds, seed_sd, start_sd = rng.uniform([-1, 0, 0], [4, 0.8, 1.5])
        spread = np.hypot(seed_sd, start_sd)
        truth = float(weights @ expit(log_odds + spread * nodes))
        effects = seed_sd * rng.standard_normal((3, 1)) + start_sd * rng.standard_normal((1, 60))
        outcomes = rng.random((3, 60)) < expit(log_odds + effects)
        low, high = hierarchical_interval(outcomes, draws=300)
        covered += low <= truth <= high
    assert 0.92 <= covered / studies <= 0.98


def test_intervals_near_the_edge_cover_too():
    """98.5 of 100 succeed: one failure of 300 must not look surer than none."""
    rng = np.random.default_rng(11)
    covered, studies = 0, 400
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    truth = float(weights @ expit(4.2 + 0.3 * nodes) / weights.sum())
    for _ in range(studies):
        effects = 4.2 + 0.3 * rng.standard_normal((3, 1))
        low, high = hierarchical_interval(rng.random((3, 100)) < expit(effects), draws=300)
        covered += low <= truth <= high
    assert covered / studies >= 0.97  # resampling alone: 0.95
    almost = np.ones((3, 100), bool)
    almost[0, 0] = False
    assert hierarchical_interval(almost)[0] <= wilson(299, 300)[0]


def test_few_seeds_that_differ_have_the_wide_tails_of_t():
    """Where only seeds differ, the interval is that of Student's t over them."""
    rates = np.array([0.3, 0.5, 0.6])
    outcomes = np.arange(200) < 200 * rates[:, None]
    rng = np.random.default_rng(0)
    shuffled = np.stack([rng.permutation(row) for row in outcomes])
    low, high = hierarchical_interval(shuffled)
    half = t.ppf(0.975, 2) * rates.std(ddof=1) / math.sqrt(3)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)
    p_value = compare_over_seeds(shuffled.tolist(), np.zeros_like(shuffled).tolist()).p_value
    assert p_value == pytest.approx(ttest_1samp(rates, 0).pvalue)


def test_paired_differences_over_seeds():
    rng = np.random.default_rng(0)
    hard = rng.random((3, 80)) < 0.5
    better = hard | (rng.random((3, 80)) < 0.5)
    result = compare_over_seeds(better.tolist(), hard.tolist())
    low, high = result.bounds
    assert result.only_second == 0
    assert result.difference == pytest.approx(better.mean() - hard.mean())
    assert 0 < low < result.difference < high
    assert result.p_value < 0.02  # no lower with three seeds that differ a little
    assert str(result).startswith(f"{100 * result.difference:+.1f} points [{100 * low:.1f}, ")
    mirrored = compare_over_seeds(hard.tolist(), better.tolist())
    assert mirrored.bounds == pytest.approx((-high, -low), abs=0.01)
    same = compare_over_seeds(hard.tolist(), hard.tolist())
    unseen = 1 - wilson(80, 80)[0]
    assert same.p_value == 1.0
    assert same.bounds == pytest.approx((-unseen, unseen))
    always = compare_over_seeds([[True] * 12] * 3, [[False] * 12] * 3)
    assert always.bounds == pytest.approx((wilson(12, 12)[0], 1.0))
    assert always.p_value < 0.001


def test_equal_policies_are_seldom_called_different():
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(300):
        first, second = (rng.random((2, 3, 60)) < 0.8).tolist()
        called += compare_over_seeds(first, second, draws=300).p_value < 0.05
    assert called <= 30


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_policies_whose_seeds_differ_are_seldom_called_different(seeds):
    """Resampling alone calls a quarter of such pairs of two seeds different, of three a seventh."""
    rng = np.random.default_rng(5)
    called, studies = 0, 300
    for _ in range(studies):
        starts = rng.standard_normal((1, 60))
        effects = rng.standard_normal((2, seeds, 1)) + starts
        first, second = (rng.random((2, seeds, 60)) < expit(effects)).tolist()
        called += compare_over_seeds(first, second, draws=300).p_value < 0.05
    assert called <= 0.08 * studies


def test_holm_by_hand_and_by_its_properties():
    # Holm (1979): 4 x 0.01, 3 x 0.02 = 0.06, 2 x 0.03 = 0.06, 0.04 -> not below the one before
    assert holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert p <= a <= min(1.0, len(p_values) * p) + 1e-12
    assert np.all(np.diff(np.array(adjusted)[np.argsort(p_values, kind="stable")]) >= 0)
