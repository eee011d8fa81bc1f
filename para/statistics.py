"""How sure one can be of a success rate, and of a difference between two of them.

The unit is (training seed, start). Outcomes of several seeds are a matrix (S, n): one row per
seed, the same n starts in every row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import bdtr, ndtri, stdtr, stdtrit  # scipy.stats takes a second to import

DRAWS = 10_000
"""Resampled studies behind a bootstrap interval."""


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a success probability, both ends in [0, 1].

    With no episodes at all nothing is known: (0, 1).

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} episodes")
    if n == 0:
        return 0.0, 1.0
    rate, z = successes / n, float(ndtri((1 + confidence) / 2))
    half = z * math.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    low, high = ((rate + z**2 / (2 * n) + side * half) / (1 + z**2 / n) for side in (-1, 1))
    return (low if successes else 0.0), (high if successes < n else 1.0)


def bootstrap_means(values: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Means (draws,) of resampled studies by hierarchical bootstrap: seeds outside, starts inside.

    All seeds face the same starts, so a draw resamples the starts once for all of them (a crossed
    design: A. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007), and adds the
    mean of S resampled deviations of a seed from the mean of all. Resampling S seeds shows only
    (S - 1) / S of the variance between them, so these are scaled by sqrt(S / (S - 1)) (T.
    Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69,
    2015). The same values give the same draws: the generator has a fixed seed.

    Args:
        values: (S, n), S > 1: an outcome or a difference for each seed and start.
        draws: Number of resampled studies.
    """
    seeds, starts = values.shape
    times, chosen = _resampled(seeds, starts, draws)
    deviations = (values.mean(1) - values.mean()) * math.sqrt(seeds / (seeds - 1))
    return (times / starts) @ values.mean(0) + deviations[chosen].mean(1)


@lru_cache(8)
def _resampled(seeds: int, starts: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each start is drawn (draws, starts), and which seeds are (draws, seeds).

    The same for all values of a shape: drawing takes eight times as long as the rest.
    """
    rng = np.random.default_rng(0)
    times = rng.multinomial(starts, np.full(starts, 1 / starts), size=draws).astype(np.uint16)
    return times, rng.integers(seeds, size=(draws, seeds))


def _percentiles(values: np.ndarray, means: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled means, as much wider as t's interval is than the normal's.

    The mean's variance is that between seeds plus that between starts; a few seeds know theirs
    badly. Its degrees of freedom are those of F. Satterthwaite, "An approximate distribution of
    estimates of variance components", Biometrics Bulletin 2 (1946).

    Args:
        values: (S, n), S > 1, as in `bootstrap_means`.
        means: (draws,) what that made of them.
    """
    parts = [
        (along.var(ddof=1) / len(along), len(along) - 1)
        for along in (values.mean(1), values.mean(0))
        if len(along) > 1
    ]
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(v**2 / degrees for v, degrees in parts) if total else math.inf
    mean, wider = values.mean(), float(stdtrit(freedom, 0.975) / ndtri(0.975))
    low, high = mean + wider * (np.quantile(means, [0.025, 0.975]) - mean)
    return float(low), float(high)


def hierarchical_interval(outcomes: np.ndarray, draws: int = DRAWS) -> tuple[float, float]:
    """95 % interval of a success probability over training seeds, both ends in [0, 1].

    It is never narrower, at either end, than Wilson's of as many independent episodes. Where all
    episodes of all seeds ended alike resampling shows nothing, and it is Wilson's over the starts.

    Args:
        outcomes: (S, n) bool, S > 1.
        draws: Number of resampled studies.
    """
    values = np.asarray(outcomes, float)
    if values.min() == values.max():
        starts = values.shape[1]
        return wilson(int(values.max()) * starts, starts)
    low, high = _percentiles(values, bootstrap_means(values, draws))
    least, most = wilson(int(values.sum()), values.size)
    return max(0.0, min(low, least)), min(1.0, max(high, most))


@dataclass(frozen=True)
class Rate:
    """A success rate with its number of episodes.

    Attributes:
        successes: Of all seeds together.
        n: Episodes of all seeds together.
        seeds: Success rate of each training seed, in [0, 1]; empty for outcomes of one seed.
        bounds: 95 % interval over seeds and starts; None for outcomes of one seed.
    """

    successes: int
    n: int
    seeds: tuple[float, ...] = ()
    bounds: tuple[float, float] | None = None

    @classmethod
    def of(cls, outcomes: Sequence[bool]) -> Rate:
        """Count the successes in a sequence of outcomes of one seed."""
        return cls(sum(bool(outcome) for outcome in outcomes), len(outcomes))

    @classmethod
    def over_seeds(cls, outcomes: Sequence[Sequence[bool]]) -> Rate:
        """The rate over training seeds, each on the same starts in the same order.

        Args:
            outcomes: (S, n); with S = 1 this is `of`.

        Raises:
            ValueError: The seeds have different numbers of starts.
        """
        counts = {len(row) for row in outcomes}
        if len(counts) > 1:
            raise ValueError(f"Seeds were tested on {sorted(counts)} starts; they must be the same")
        if len(outcomes) < 2 or not counts - {0}:
            return cls.of([outcome for row in outcomes for outcome in row])
        matrix = np.array(outcomes, bool)
        seeds = tuple(float(rate) for rate in matrix.mean(1))
        return cls(int(matrix.sum()), matrix.size, seeds, hierarchical_interval(matrix))

    @property
    def value(self) -> float:
        """Successes / n in [0, 1]; NaN when there are no episodes."""
        return self.successes / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval: Wilson's for one seed, the hierarchical bootstrap's for several."""
        return self.bounds or wilson(self.successes, self.n)

    def row(self) -> dict[str, float]:
        """For a file: value, the ends of its interval, low and high, rounded; and n."""
        low, high = self.interval
        ends = {"value": self.value, "low": low, "high": high}
        return {name: round(number, 4) for name, number in ends.items()} | {"n": self.n}

    def __str__(self) -> str:
        """'96.0 % [90.2, 98.4] n=100', '96.0 % [91.3, 99.0] n=2x100 (98, 94)', or 'not run'."""
        if self.n == 0:
            return "not run"
        low, high = self.interval
        text = f"{100 * self.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}] n="
        if not self.seeds:
            return f"{text}{self.n}"
        each = ", ".join(f"{100 * rate:.0f}" for rate in self.seeds)
        return f"{text}{len(self.seeds)}x{self.n // len(self.seeds)} ({each})"


@dataclass(frozen=True)
class Comparison:
    """Two policies on the same start conditions.

    Attributes:
        only_first: Episodes where only the first policy succeeded.
        only_second: Episodes where only the second policy succeeded.
        n: Pairs.
        p_value: Two-sided, of "both policies are equally good": the exact McNemar test, or with
            several seeds that of `compare_over_seeds`.
        bounds: 95 % interval of the difference over seeds and starts; None for one seed.
    """

    only_first: int
    only_second: int
    n: int
    p_value: float
    bounds: tuple[float, float] | None = None

    @property
    def difference(self) -> float:
        """Success rate of the first policy minus that of the second, in [-1, 1]."""
        return (self.only_first - self.only_second) / self.n if self.n else math.nan

    @property
    def test(self) -> str:
        """Name of the test behind the p value."""
        return (
            "bootstrap over seeds and starts, and t test over seeds"
            if self.bounds
            else "exact McNemar"
        )

    def __str__(self) -> str:
        """'+93.0 points, McNemar p = 1.6e-28 (94 : 1 of 100 pairs differ)'.

        With several seeds: '+40.0 points [21.5, 58.0], p = 0.002 over seeds and starts'.
        """
        points = f"{100 * self.difference:+.1f} points"
        if self.bounds:
            low, high = (100 * bound for bound in self.bounds)
            return (
                f"{points} [{low:.1f}, {high:.1f}], {format_p(self.p_value)} over seeds and starts"
            )
        return (
            f"{points}, McNemar {format_p(self.p_value)} "
            f"({self.only_first} : {self.only_second} of {self.n} pairs differ)"
        )


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> Comparison:
    """Exact McNemar test of two policies on the same episodes, in the same order.

    Under the null hypothesis an episode that only one of them solves is equally likely to be
    solved by either, so the count is Binomial(number of such episodes, 1/2).

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated
    proportions or percentages", Psychometrika 12 (1947).
    """
    if len(first) != len(second):
        raise ValueError(f"McNemar needs pairs, got {len(first)} and {len(second)} outcomes")
    pairs = [(bool(a), bool(b)) for a, b in zip(first, second, strict=True)]
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    discordant = only_first + only_second
    fewer = min(only_first, only_second)
    p_value = min(1.0, 2 * float(bdtr(fewer, discordant, 0.5))) if discordant else 1.0
    return Comparison(only_first, only_second, len(pairs), p_value)


def compare_over_seeds(
    first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]], draws: int = DRAWS
) -> Comparison:
    """Two policies on the same seeds and starts: paired hierarchical bootstrap.

    The difference of each (seed, start) is resampled as in `bootstrap_means`. The p value is the
    larger of two: twice the smaller share of resampled differences on either side of 0 (at least
    2 / (draws + 1)), and that of Student's t test ("Biometrika" 6, 1908) on the seeds' mean
    differences. Two or three seeds show little of how seeds differ, which resampling cannot know
    and t's wide tails do. Where all differences are alike the interval is that of the starts.

    Args:
        first: (S, n) outcomes of the first policy; with S = 1 this is `mcnemar`.
        second: (S, n) of the second one.
        draws: Number of resampled studies.

    Raises:
        ValueError: They are not paired.
    """
    a, b = (np.array(outcomes, float) for outcomes in (first, second))
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"Pairs needed, got outcomes of shapes {a.shape} and {b.shape}")
    if len(a) == 1:
        return mcnemar(first[0], second[0])
    differences = a - b
    means = bootstrap_means(differences, draws)
    low, high = _percentiles(differences, means)
    if differences.min() == differences.max():
        starts = differences.shape[1]
        unseen = 1 - wilson(starts, starts)[0]
        low, high = differences.flat[0] - unseen, differences.flat[0] + unseen
    beyond = min((means <= 0).sum(), (means >= 0).sum())
    resampled = 2 * (float(beyond) + 1) / (draws + 1)
    return Comparison(
        only_first=int((differences > 0).sum()),
        only_second=int((differences < 0).sum()),
        n=differences.size,
        p_value=min(1.0, max(resampled, _student(differences.mean(1)))),
        bounds=(max(-1.0, float(low)), min(1.0, float(high))),
    )


def _student(differences: np.ndarray) -> float:
    """p value of "their mean is 0" for numbers of several seeds; 0 where they are all alike."""
    if np.ptp(differences) == 0:
        return 0.0
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    return float(2 * stdtr(len(differences) - 1, -abs(differences.mean()) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for the number of comparisons in one table, in the same order.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def format_p(p_value: float) -> str:
    """'p = 0.031', 'p = 2.1e-12'."""
    return f"p = {p_value:.3f}" if p_value >= 0.001 else f"p = {p_value:.1e}"
