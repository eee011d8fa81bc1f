"""What one policy does more often than another on the same starts, a table of such at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from para.evaluation.results import MAIN_MODELS
from para.statistics import Comparison, format_p, holm
from para.website.content import Numbers

Key = TypeVar("Key", bound=Hashable)
Cell = tuple[str, str, float | None]
"""Split, the other policy, polar angle of the view [deg] or None for all."""


@dataclass(frozen=True)
class Difference:
    """A paired comparison as one of a table's.

    Attributes:
        comparison: Of the two policies.
        p_value: Adjusted for all comparisons of the table by Holm's method.
    """

    comparison: Comparison
    p_value: float

    def __str__(self) -> str:
        """'+58.3 [-61.5, 100.0], p = 0.28'; of one seed '+93.0 (94 : 1), p = 1.6e-28'."""
        c = self.comparison
        how_sure = f"({c.only_first} : {c.only_second})"
        if c.bounds:
            low, high = (100 * bound for bound in c.bounds)
            how_sure = f"[{low:.1f}, {high:.1f}]"
        return f"{100 * c.difference:+.1f} {how_sure}, {format_p(self.p_value)}"


def adjusted(found: Mapping[Key, Comparison | None]) -> dict[Key, Difference]:
    """A table's comparisons; those that could not be made (None) are not there."""
    made = {key: comparison for key, comparison in found.items() if comparison}
    p_values = holm([comparison.p_value for comparison in made.values()])
    return {key: Difference(made[key], p) for key, p in zip(made, p_values, strict=True)}


def differences(
    numbers: Numbers,
    splits: Iterable[str],
    others: Sequence[str] | None = None,
    thetas: Sequence[float | None] = (None,),
) -> dict[Cell, Difference]:
    """PARA minus others, held out: all cells of one table.

    Args:
        numbers: Of the table.
        splits: Its splits.
        others: Labels of the other policies; None: all that the split's table shows.
        thetas: Polar angles [deg] of views to which cells are restricted; None: all views.
    """
    first = MAIN_MODELS[0]
    return adjusted(
        {
            (split, other, theta): numbers.comparison(split, first, other, theta)
            for split in splits
            for other in (numbers.models(split) if others is None else others)
            if other != first
            for theta in thetas
        }
    )
