"""Who is compared, what each is told and answers, what it costs, and how it fares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from para.errors import ResultError
from para.evaluation.results import benchmark, total_minutes
from para.figures.study import LAYOUT, THREE_WAY_SPLITS, followers, three_way
from para.files import read_json
from para.website.content import Number, Numbers
from para.website.differences import Cell, Difference, differences

TUNED_ON, TUNED_IN = THREE_WAY_SPLITS[0], "independent"
"""The split and layout in which learning rates are chosen, in distribution."""


@dataclass(frozen=True)
class OpponentRow:
    """A policy beside PARA, as it was trained.

    Attributes:
        label: Of the policy, as in tables.
        told: Is it told the camera: yes | no.
        answer: What it answers with.
        augment: What it followed of the augmentation; None: not run.
        sanity: In distribution on `TUNED_ON`; None: not run.
        held_out: On each of `THREE_WAY_SPLITS`; None: not run.
        rate: The peak learning rate that benchmarks/tuning.py chose, or that it chose none.
        parameters: Millions.
        minutes: Of one training on `TUNED_ON`, by processor.
        milliseconds: Of one prediction in fp32 (benchmarks/latency.py); empty where it measured
            another backbone.
    """

    label: str
    told: str
    answer: str
    augment: str | None
    sanity: Number | None
    held_out: tuple[Number | None, ...]
    rate: str
    parameters: str
    minutes: str
    milliseconds: str


def opponent_rows(numbers: Numbers, results_dir: Path) -> Iterator[OpponentRow]:
    """Every policy where objects stand together, and its controls, PARA first."""
    here = numbers.laid(LAYOUT)
    costs = {
        (row["model"], row["backbone"]): row
        for row in (benchmark(results_dir, "latency") or {"rows": []})["rows"]
        if (row["profile"], row["precision"]) == (here.profile, "fp32")
    }
    for model, told, answer, _ in followers():
        for label in _labels(here, model):
            runs = [run for split in THREE_WAY_SPLITS for run in here.select(split, label)]
            cost = costs.get((model, runs[0].id.backbone)) if runs else None
            yield OpponentRow(
                *(label, told, answer, runs[0].id.augment if runs else None),
                sanity=here.number(TUNED_ON, label, "sanity"),
                held_out=tuple(here.number(split, label) for split in THREE_WAY_SPLITS),
                rate=_chosen(here, results_dir, model),
                parameters=_parameters(cost),
                minutes=_minutes(here, label),
                milliseconds=_milliseconds(cost),
            )


def three_way_differences(numbers: Numbers) -> dict[Cell, Difference]:
    """PARA minus each row of the three-way table."""
    here = numbers.laid(LAYOUT)
    labels = [row.label for row in three_way(here.results) if row.label]
    return differences(here, THREE_WAY_SPLITS, labels)


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
    """'1.9 AMD EPYC': processors differ by more than policies do."""
    found: dict[str, list[float]] = {}
    for run in numbers.select(TUNED_ON, label):
        words = run.data["hardware"]["cpu"].replace("(R)", "").split("@")[0].split()
        name = " ".join(word for word in words if word not in ("Processor", "CPU"))
        found.setdefault(name, []).append(total_minutes(run.data))
    return ", ".join(f"{mean(times):.1f} {name}" for name, times in sorted(found.items()))


def _parameters(row: Mapping[str, Any] | None) -> str:
    return f"{row['parameters'] / 1e6:.1f} M" if row and "parameters" in row else ""


def _milliseconds(row: Mapping[str, Any] | None) -> str:
    return f"{row['median_ms']:.0f}" if row else ""
