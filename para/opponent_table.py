"""The table of opponents: what each is told and answers, what it costs, and how it fares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from para.errors import ResultError
from para.evaluation.results import total_minutes
from para.figures.splits import split_title
from para.figures.study import LAYOUT, THREE_WAY_SPLITS, followers
from para.figures.style import model_style
from para.files import read_json
from para.markdown import table_head, table_row
from para.speed_table import benchmark
from para.website.content import TEST_WORDS, Numbers, in_words, three_way
from para.website.longer import longer

TUNED_ON, TUNED_IN = THREE_WAY_SPLITS[0], "independent"
"""The split and layout in which learning rates are chosen, in distribution."""


def opponents_table(numbers: Numbers, results_dir: Path) -> str:
    """Every policy where objects stand together, and its controls, PARA first.

    Milliseconds are those of one prediction in fp32 (benchmarks/latency.py; empty where it measured
    another backbone), minutes those of one training on `TUNED_ON`, learning rates those that
    benchmarks/tuning.py chose.
    """
    here = Numbers(numbers.every, replace(numbers.setting, layout=LAYOUT), numbers.profile)
    costs = {
        (row["model"], row["backbone"]): row
        for row in (benchmark(results_dir, "latency") or {"rows": []})["rows"]
        if (row["profile"], row["precision"]) == (here.profile, "fp32")
    }
    held_out = [f"{split_title(split)}, held out" for split in THREE_WAY_SPLITS]
    lines = table_head(
        *("policy", "told the camera", "answers with", "trained with"),
        *(f"{split_title(TUNED_ON)}, in dist.", *held_out),
        *("peak rate", "parameters", "minutes", "ms"),
    )
    for model, told, answer, _ in followers():
        for label in _labels(here, model):
            runs = [run for split in THREE_WAY_SPLITS for run in here.select(split, label)]
            cost = costs.get((model, runs[0].id.backbone)) if runs else None
            rates = [here.number(TUNED_ON, label, "sanity")]
            rates += [here.number(split, label) for split in THREE_WAY_SPLITS]
            lines.append(
                table_row(
                    *(model_style(label).label, told, answer),
                    f"`{runs[0].id.augment}`" if runs else "not run",
                    *map(in_words, rates),
                    *(_chosen(here, results_dir, model), _parameters(cost)),
                    *(_minutes(here, label), _milliseconds(cost)),
                )
            )
    return "\n".join(lines)


def three_way_table(numbers: Numbers, _: Path) -> str:
    """What carries it: told the camera x answers in pixels x images whose camera moves."""
    held_out = [f"{split_title(split)}, held out" for split in THREE_WAY_SPLITS]
    lines = table_head(
        "policy", "told the camera", "answers in", "camera-consistent augmentation", *held_out
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
            )
        )
    return "\n".join(lines)


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


def _labels(numbers: Numbers, model: str) -> list[str]:
    """How a policy was trained for these splits, as it usually is first."""
    found = {
        run.model
        for run in numbers.results.results
        if run.split in THREE_WAY_SPLITS and run.id.model == model
    }
    return [model, *sorted(found - {model})]


def _chosen(numbers: Numbers, results_dir: Path, model: str) -> str:
    record = tuning_record(results_dir, numbers, model)
    return f"{record['chosen']:g}" if record else "not tuned"


def tuning_record(results_dir: Path, numbers: Numbers, model: str) -> Mapping[str, Any] | None:
    """What benchmarks/tuning.py wrote of a policy on `TUNED_ON`; None: it was not tuned there."""
    setting = replace(numbers.setting, layout=TUNED_IN)
    folder = results_dir / "tuning" / setting.name / numbers.profile / TUNED_ON
    path = folder / f"{model}-seed0.json"
    if not path.exists():
        return None
    return read_json(path, ResultError, f"Run: python benchmarks/tuning.py models=[{model}]")


def _minutes(numbers: Numbers, label: str) -> str:
    runs = numbers.select(TUNED_ON, label)
    return f"{mean(total_minutes(run.data) for run in runs):.1f}" if runs else ""


def _parameters(row: Mapping[str, Any] | None) -> str:
    return f"{row['parameters'] / 1e6:.1f} M" if row and "parameters" in row else ""


def _milliseconds(row: Mapping[str, Any] | None) -> str:
    return f"{row['median_ms']:.0f}" if row else ""
