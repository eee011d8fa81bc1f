"""The table of floors and ceilings, from results/benchmarks/floors.json (benchmarks/floors.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baselines.floors import FLOORS
from para.errors import ResultError
from para.files import read_json
from para.markdown import table_head, table_row
from para.statistics import Rate
from para.website.content import Numbers, bounds

HIGHEST_FLOOR = 0.25
"""A split whose best floor is higher says little."""


def best_floor(row: Mapping[str, Any]) -> tuple[str | None, Rate | None]:
    """Name and success of the best floor of a row of the benchmark; None where none was run."""
    rates = {
        name: rate
        for name, floor in FLOORS.items()
        if not floor.ceiling and (rate := _rate(row, name))
    }
    best = max(rates, key=lambda name: rates[name].value, default=None)
    return best, rates.get(best) if best else None


def floors_table(results_dir: Path) -> str:
    """Success of every floor and of the ceiling, and whether the split can be a headline."""
    path = results_dir / "benchmarks" / "floors.json"
    if not path.exists():
        return "not run: `python benchmarks/floors.py`"
    result = read_json(path, ResultError, "Run: python benchmarks/floors.py")
    titles = [
        "task",
        "looks",
        "split",
        "starts",
        *(floor.title for floor in FLOORS.values()),
        "best floor",
    ]
    lines = table_head(*titles)
    for row in result["rows"]:
        name, best = best_floor(row)
        says = "not run" if best is None else f"{100 * best.value:.0f} %, {name}"
        high = best is not None and best.value > HIGHEST_FLOOR
        rates = (str(_rate(row, floor) or "not run") for floor in FLOORS)
        task = f"`{row['task']}`, {row['layout']}"
        says = f"**high**: {says}" if high else says
        where = task, row["appearance"], f"`{row['split']}`", row["starts"]
        lines.append(table_row(*where, *rates, says))
    return "\n".join([*lines, "", result["finding"]])


def measured_bounds(numbers: Numbers, split: str) -> tuple[str, str]:
    """The best floor of a split's result files, "**high**" where it is, and the ceiling."""
    best, ceiling = bounds(numbers, split)
    says = "not run" if best is None else f"{best.percent} ({best.model})"
    high = best is not None and best.rate.value > HIGHEST_FLOOR
    return f"**high**: {says}" if high else says, ceiling.percent if ceiling else "not run"


def _rate(row: Mapping[str, Any], name: str) -> Rate | None:
    found = row["floors"].get(name)
    return Rate(found["successes"], found["n"]) if found else None
