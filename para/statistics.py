"""How sure one can be of a success rate, and of a difference between two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest


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
    low, high = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True)
class Rate:
    """A success rate with its number of episodes."""

    successes: int
    n: int

    @classmethod
    def of(cls, outcomes: Sequence[bool]) -> Rate:
        """Count the successes in a sequence of outcomes."""
        return cls(sum(bool(outcome) for outcome in outcomes), len(outcomes))

    @property
    def value(self) -> float:
        """Successes / n in [0, 1]; NaN when there are no episodes."""
        return self.successes / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval."""
        return wilson(self.successes, self.n)

    def __str__(self) -> str:
        """'96.0 % [90.2, 98.4] n=100', or 'not run'."""
        if self.n == 0:
            return "not run"
        low, high = self.interval
        return f"{100 * self.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}] n={self.n}"


@dataclass(frozen=True)
class Comparison:
    """Two policies on the same start conditions.

    Attributes:
        only_first: Episodes where only the first policy succeeded.
        only_second: Episodes where only the second policy succeeded.
        n: Pairs.
        p_value: Two-sided exact McNemar test of "both policies are equally good".
    """

    only_first: int
    only_second: int
    n: int
    p_value: float

    @property
    def difference(self) -> float:
        """Success rate of the first policy minus that of the second, in [-1, 1]."""
        return (self.only_first - self.only_second) / self.n if self.n else math.nan

    def __str__(self) -> str:
        """'+93.0 points, McNemar p = 1.6e-28 (94 : 1 of 100 pairs differ)'."""
        return (
            f"{100 * self.difference:+.1f} points, McNemar {format_p(self.p_value)} "
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
    p_value = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return Comparison(only_first, only_second, len(pairs), p_value)


def format_p(p_value: float) -> str:
    """'p = 0.031', 'p = 2.1e-12'."""
    return f"p = {p_value:.3f}" if p_value >= 0.001 else f"p = {p_value:.1e}"
