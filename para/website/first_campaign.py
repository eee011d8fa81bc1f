"""The notes' six rows, as first measured and as measured since, side by side."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from para.evaluation.results import MAIN_MODELS
from para.figures.splits import split_title
from para.figures.style import model_style
from para.markdown import table_head, table_row
from para.places import shipped
from para.statistics import Rate
from para.website.content import Numbers


@cache
def first_campaign() -> dict[str, Any]:
    """website/first_campaign.yaml."""
    path = shipped("website") / "first_campaign.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def then_and_now(numbers: Numbers) -> str:
    """A Markdown table; what has not been measured again since, on final starts, is "not run"."""
    old = first_campaign()
    titles = [f"{model_style(m).label}, {when}" for m in MAIN_MODELS for when in ("then", "now")]
    lines = table_head("split", *titles, "what changed in the test")
    for split, rates in old["rows"].items():
        cells = [f"{split_title(split)} (`{split}`)"]
        for model in MAIN_MODELS:
            cells += [str(Rate(*rates[model])), _now(numbers, split, model)]
        lines.append(table_row(*cells, old["changed"].get(split, "")))
    then = f"Then: {old['setting']} (commit {old['commit'][:10]})."
    return "\n".join([*lines, "", then])


def _now(numbers: Numbers, split: str, model: str) -> str:
    number = numbers.number(split, model)
    if number is None or any(run.id.starts != "final" for run in number.runs):
        return "not run"
    return str(number.rate)
