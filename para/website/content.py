"""What the page says: numbers with their sources, computed from result files and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from baselines.floors import FLOORS
from envs.splits import TESTS
from para.evaluation.result_set import ALIGNED, ResultSet, StoredResult, at_theta, theta_of
from para.evaluation.results import (
    MAIN_MODELS,
    model_order,
    reads_video,
    stage_counts,
    total_minutes,
    total_steps,
    world_words,
)
from para.figures import study
from para.figures.splits import in_order, sweep_splits
from para.figures.tasks import Stage, stages_of
from para.runs.identity import Setting
from para.runs.labels import PROFILE, model_commands, place_overrides
from para.statistics import Comparison, Rate


def folder(run: StoredResult) -> str:
    """Where a result lies below the results folder, which is its path on the site, too."""
    asked = run.data["config"].get("evaluation", {})
    return run.id.path(ALIGNED if asked.get("align_view") else "").as_posix()


def href(run: StoredResult) -> str:
    """URL of its copy on the site, relative to the page."""
    return "results/" + quote(folder(run))


def anchor(run: StoredResult) -> str:
    """Id of its row in the table of all runs."""
    return "run-" + folder(run).replace("/", "-").removesuffix(".json")


@dataclass(frozen=True)
class Number:
    """A success rate and where it comes from.

    Attributes:
        split: Name of the split.
        model: The policy's label.
        test: ood | sanity.
        theta: Polar angle of the view [deg] that it is restricted to, or None.
        rate: Over all training seeds.
        runs: The result files, one per seed.
        note: "physics 1" where others beside it are of a newer simulated world, "dev starts" where
            they are of final ones, else "".
    """

    split: str
    model: str
    test: str
    theta: float | None
    rate: Rate
    runs: tuple[StoredResult, ...]
    note: str = ""

    @property
    def href(self) -> str:
        """The result file, or with several seeds the first of their rows in the full table."""
        return href(self.runs[0]) if len(self.runs) == 1 else f"#{anchor(self.runs[0])}"

    @property
    def trainings(self) -> str:
        """'one training seed', or how each of several did; '' for floors and the expert."""
        if self.model in FLOORS:
            return ""
        each = ", ".join(f"{100 * rate:.0f}" for rate in self.rate.seeds)
        return f"{len(self.rate.seeds)} seeds: {each}" if each else "one training seed"

    @property
    def percent(self) -> str:
        """'97.9 %'."""
        return percent(self.rate.value)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval [percent]."""
        return 100 * self.rate.interval[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval [percent]."""
        return 100 * self.rate.interval[1]


TEST_WORDS = {"in dist.": "sanity", "held out": "ood"}
"""What tests are called at the head of a column."""


def in_words(number: Number | None) -> str:
    """'96.0 % [90.2, 98.4] n=100'; with several seeds n=2x100 and the percentage of each."""
    if number is None:
        return "not run"
    return f"{number.rate} ({number.note})" if number.note else str(number.rate)


def percent(value: float) -> str:
    """A fraction as '97.9 %'; whole percentages without the '.0'."""
    text = f"{100 * value:.1f}"
    return text.removesuffix(".0") + "\u00a0%"


class Numbers:
    """Numbers of one setting and profile; `every` also has what is shown, but not mixed in.

    Args:
        every: All result files.
        setting: What the episodes in the tables are made in.
        profile: Name of the profile in the tables.
    """

    def __init__(self, every: ResultSet, setting: Setting | None = None, profile: str = PROFILE):
        self.every, self.setting, self.profile = every, setting or Setting(), profile
        self.results = every.of(self.setting, profile)

    def laid(self, layout: str) -> Numbers:
        """The same task's where objects stand otherwise."""
        return Numbers(self.every, replace(self.setting, layout=layout), self.profile)

    @property
    def runs(self) -> list[StoredResult]:
        """All results: those of the tables first, splits in order, the main policies first."""
        places = {
            split: k for k, split in enumerate(in_order({r.split for r in self.every.results}))
        }

        def order(run: StoredResult) -> tuple[Any, ...]:
            here = (run.id.setting, run.id.profile) == (self.setting, self.profile)
            setting = (run.id.setting.name, run.id.profile)
            return not here, setting, places[run.split], model_order(run.model), run.seed

        return sorted(self.every.results, key=order)

    def select(self, split: str, model: str) -> list[StoredResult]:
        """The results of one policy on one split, by seed."""
        return self.results.select(split, model)

    def models(self, split: str) -> list[str]:
        """The main policies, whether they were run or not, then others on images that were.

        Policies on a video backbone have tables of their own.
        """
        found = {
            r.model for r in self.results.results if r.split == split and not reads_video(r.data)
        }
        return sorted(found | set(MAIN_MODELS), key=model_order)

    def other_splits(self, named: Iterable[str]) -> list[str]:
        """Splits that have results and are not among those `named`, nor of the video sweep."""
        found = {r.split for r in self.results.results}
        return in_order(found - {*named} - {*sweep_splits().values()})

    def number(
        self, split: str, model: str, test: str = "ood", theta: float | None = None
    ) -> Number | None:
        """Success rate over all seeds; None if it was not run."""
        runs = self.select(split, model)
        which = None if theta is None else at_theta(theta)
        rate = self.results.rate(split, model, test, which)
        if not rate.n:
            return None
        newest = max(r.world for r in self.results.results)
        physics, starts = world_words(runs[0].world).split(", ")
        note = physics if runs[0].version < newest[0] else starts if runs[0].world < newest else ""
        return Number(split, model, test, theta, rate, tuple(runs), note)

    @property
    def stages(self) -> list[Stage]:
        """The task's stages, success first."""
        recorded = (r.data["environment"]["stages"] for r in self.results.results)
        return stages_of(self.setting.task, next(recorded, []))[::-1]

    def stage_counts(self, split: str, model: str, test: str = "ood") -> dict[str, int]:
        """Episodes that ended in each stage, seeds pooled, success first."""
        total: Counter[str] = Counter()
        for run in self.select(split, model):
            total.update(stage_counts(run.data, test))
        return {stage.name: total[stage.name] for stage in self.stages}

    def comparison(
        self,
        split: str,
        first: str = MAIN_MODELS[0],
        second: str = MAIN_MODELS[1],
        theta: float | None = None,
        test: str = "ood",
    ) -> Comparison | None:
        """Paired test on the seeds and starts of both policies; exact McNemar with one seed.

        Results of different versions of the simulated world, or on different starts, are no pairs.
        """
        which = None if theta is None else at_theta(theta)
        return self.results.compare(split, first, second, test, which)

    def thetas(self, split: str) -> list[float]:
        """Polar angles [deg] that the split's held-out test has."""
        found = {
            theta_of(e)
            for run in self.results.results
            if run.split == split
            for e in run.episodes("ood")
        }
        return sorted(found)

    def command(self, split: str, model: str) -> str:
        """What to run to get a number that is missing."""
        return model_commands(model, place_overrides(split, self.setting, self.profile))

    def provenance(self, splits: Iterable[str], models: Iterable[str] | None = None) -> str:
        """Seeds, budget, backbone, hardware and dates behind a table, in one sentence each.

        Args:
            splits: Splits in the table.
            models: Policies in it; None: those of `models`.
        """
        wanted = {(split, m) for split in splits for m in models or self.models(split)}
        return describe([run for pair in sorted(wanted) for run in self.select(*pair)])


def bounds(numbers: Numbers, split: str) -> tuple[Number | None, Number | None]:
    """The best of what learns nothing (baselines/floors.py), and the ceiling; None: not run."""
    found = {name: number for name in FLOORS if (number := numbers.number(split, name))}
    floors = [number for name, number in found.items() if not FLOORS[name].ceiling]
    ceilings = [number for name, number in found.items() if FLOORS[name].ceiling]
    best = max(floors, key=lambda number: number.rate.value, default=None)
    return best, next(iter(ceilings), None)


class Bounded:
    """A row of a table that shows what is between its floor and its ceiling."""

    numbers: Numbers
    split: str

    @property
    def best_floor(self) -> Number | None:
        """Success of the best policy that learns nothing; None: none was run."""
        return bounds(self.numbers, self.split)[0]

    @property
    def ceiling(self) -> Number | None:
        """Success of the expert; None: not run."""
        return bounds(self.numbers, self.split)[1]


def three_way(numbers: Numbers) -> list[tuple[study.Factors, list[Number | None]]]:
    """Each combination of camera, pixels and augmentation, with its numbers; None: not run."""
    here = numbers.laid(study.LAYOUT)
    return [
        (row, [row.label and here.number(split, row.label) for split in study.THREE_WAY_SPLITS])
        for row in study.three_way(here.results)
    ]


@dataclass(frozen=True)
class Beside:
    """A result of the user's, beside the committed number of the same policy on the same split.

    Attributes:
        run: The result.
        tests: Held out, in distribution: (the user's number, the committed one), None if not run.
        worlds: Theirs in words, where they differ.
    """

    run: StoredResult
    tests: tuple[tuple[Number | None, Number | None], ...]
    worlds: tuple[str, str] | None


def beside(own: Numbers, reference: Numbers) -> list[Beside]:
    """Every result of `own` beside the numbers of `reference`: shown together, never one number."""
    rows = []
    for run in own.runs:
        numbers = Numbers(reference.every, run.id.setting, run.id.profile)
        alone = Numbers(replace(own.every, results=(run,)), run.id.setting, run.id.profile)
        tests = tuple(
            (alone.number(run.split, run.model, test), numbers.number(run.split, run.model, test))
            for test in TESTS
        )
        found = numbers.select(run.split, run.model)
        worlds = world_words(run.world), world_words((found[0] if found else run).world)
        rows.append(Beside(run, tests, worlds if worlds[0] != worlds[1] else None))
    return rows


def describe(runs: Sequence[StoredResult]) -> str:
    """'Seeds 0, 1. Training: 3.5 min, 1500 steps, 128 demos. Backbone ...' for a set of runs."""
    if not runs:
        return ""
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    plural = "Seeds" if "," in seeds else "Seed"
    dates = _span([run.data["created"][:10] for run in runs], str)
    worlds = sorted({run.world for run in runs})
    minutes = _span([total_minutes(run.data) for run in runs], short)
    return (
        f"{plural} {seeds}. Training: {minutes} min, "
        f"{_span([total_steps(run.data) for run in runs], short)} steps, "
        f"{_span([run.data['training']['demos'] for run in runs], short)} demos. "
        f"Backbone: {'; '.join(sorted({backbone(run) for run in runs}))}. "
        f"Hardware: {'; '.join(sorted({hardware(run) for run in runs}))}. Measured {dates} with "
        f"{'; '.join(map(world_words, worlds))}."
    )


def backbone(run: StoredResult) -> str:
    """'laptop_cnn (random initialisation)'."""
    names = {"random": "random initialisation", "pretrained": "pretrained", "file": "from a file"}
    init = str(run.data["backbone"]["init"])
    return f"{run.data['backbone']['name']} ({names.get(init, init)})"


def hardware(run: StoredResult) -> str:
    """What the result file says of the machine: 'Linux x86_64, Some CPU, 2 cores, 8.4 GB'."""
    units = {"cores": "{} cores", "memory_gb": "{} GB"}
    parts = []
    for name, value in run.data["hardware"].items():
        for item in value if isinstance(value, list) else [value]:
            if item not in (None, ""):
                parts.append(units.get(name, "{}").format(item))
    return ", ".join(parts) or "not recorded"


def short(value: float) -> str:
    """A number with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0") if math.isfinite(value) else "?"


def _span(values: list[Any], show: Callable[[Any], str]) -> str:
    low, high = show(min(values)), show(max(values))
    return low if low == high else f"{low} to {high}"
