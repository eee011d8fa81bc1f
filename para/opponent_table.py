"""The tables of opponents, for pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from para.figures.splits import split_title
from para.figures.study import LAYOUT, THREE_WAY_SPLITS
from para.figures.style import model_style
from para.markdown import table_head, table_row
from para.website.content import TEST_WORDS, Numbers, in_words, three_way
from para.website.differences import Cell, Difference, differences
from para.website.longer import longer
from para.website.opponents import TUNED_ON, opponent_rows, three_way_differences

MINUS = [f"PARA minus it: {split_title(split)}" for split in THREE_WAY_SPLITS]
"""Heads of the columns of paired differences."""


def opponents_table(numbers: Numbers, results_dir: Path) -> str:
    """The rows of `opponent_rows`."""
    held_out = [f"{split_title(split)}, held out" for split in THREE_WAY_SPLITS]
    lines = table_head(
        *("policy", "told the camera", "answers with", "trained with"),
        *(f"{split_title(TUNED_ON)}, in dist.", *held_out, *MINUS),
        *("peak rate", "parameters", "minutes", "ms"),
    )
    rows = list(opponent_rows(numbers, results_dir))
    beside = differences(numbers.laid(LAYOUT), THREE_WAY_SPLITS, [row.label for row in rows])
    for row in rows:
        lines.append(
            table_row(
                *(model_style(row.label).label, row.told, row.answer),
                f"`{row.augment}`" if row.augment else "not run",
                *map(in_words, (row.sanity, *row.held_out)),
                *_minus(beside, row.label),
                *(row.rate, row.parameters, row.minutes, row.milliseconds),
            )
        )
    return "\n".join(lines)


def three_way_table(numbers: Numbers, _: Path) -> str:
    """What carries it: told the camera x answers in pixels x images whose camera moves."""
    beside = three_way_differences(numbers)
    held_out = [f"{split_title(split)}, held out" for split in THREE_WAY_SPLITS]
    lines = table_head(
        *("policy", "told the camera", "answers in", "camera-consistent augmentation"),
        *(*held_out, *MINUS),
    )
    for row, found in three_way(numbers):
        augmented = "yes" if row.augmented else "no"
        if row.augmented and not row.told:
            augmented += ", cannot follow it"
        lines.append(
            table_row(
                *(model_style(row.model).label, "yes" if row.told else "no"),
                *("pixels" if row.pixel else "world x, y, z", augmented),
                *map(in_words, found),
                *_minus(beside, row.label),
            )
        )
    return "\n".join(lines)


def _minus(beside: Mapping[Cell, Difference], label: str | None) -> list[str]:
    """PARA minus a policy on each split; empty where there is nothing to compare."""
    return [str(beside.get((split, label, None), "")) for split in THREE_WAY_SPLITS]


def more_steps_table(numbers: Numbers, results_dir: Path) -> str:
    """What longer training makes of policies, on dev starts, beside the same seeds as published."""
    usual = "as published"
    lines = table_head(
        *("policy", "split", "seed", "steps", "in dist. (dev)", "held out (dev)"),
        *(f"{usual}: steps", f"{usual}: in dist.", f"{usual}: held out"),
    )
    rows = longer(numbers, results_dir)
    for row in rows:
        tests = TEST_WORDS.values()
        rates = [*(row.rates[test] for test in tests), *map(row.usual_rate, tests)]
        cells = [f"{rate.successes} of {rate.n}" if rate else "not run" for rate in rates]
        usual_steps = row.usual.data["training"]["steps"] if row.usual else "not run"
        cells.insert(len(tests), str(usual_steps))
        told = (model_style(row.model).label, split_title(row.split))
        lines.append(table_row(*told, str(row.seed), str(row.steps), *cells))
    return "\n".join(lines) if rows else "not run"
