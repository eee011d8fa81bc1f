"""What the page says: numbers with their sources, computed from result files and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from para.errors import ParaError, ResultError
from para.evaluation.results import (
    Result,
    experiment_name,
    model_commands,
    outcomes,
    read_result,
    reads_video,
    stage_counts,
    total_minutes,
    total_steps,
)
from para.statistics import Comparison, Rate, mcnemar

PUBLISHED = Path(__file__).parents[2] / "website" / "published.yaml"
MAIN_MODELS = ("para", "regression")
OTHER_FOLDERS = ("benchmarks", "curves")
"""Folders among the results that hold no result files: timings, and logs of training runs."""
CORNERS = (4, 8, 16, 32, 64)
VIEWS = ("vp_default_to_all", "vp_lr", "vp_io")
SPLITS = ("lr", "nf", *(f"corner_n{count}" for count in CORNERS), *VIEWS, "distractor")


@dataclass(frozen=True)
class Run:
    """One result file.

    Attributes:
        path: Where it lies.
        folder: Its path below the results folder, which is its path on the site, too.
        experiment: Split, with robot and layout where they are not the default ones.
        data: Its content, validated.
    """

    path: Path
    folder: Path
    experiment: str
    data: Result

    @property
    def href(self) -> str:
        """URL of the copy on the site, relative to the page."""
        return "results/" + quote(self.folder.as_posix())

    @property
    def model(self) -> str:
        """The policy's label."""
        return self.data["model"]

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.data["seed"]

    @property
    def anchor(self) -> str:
        """Id of its row in the table of all runs."""
        return "run-" + quote(self.folder.as_posix(), safe="").replace("%", "_")


@dataclass(frozen=True)
class LeftOut:
    """A file among the results that the page does not use, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Number:
    """A success rate and where it comes from.

    Attributes:
        experiment: Split, with robot and layout where they are not the default ones.
        model: The policy's label.
        test: ood | sanity.
        theta: Polar angle of the view [deg] that it is restricted to, or None.
        rate: Successes of n episodes, pooled over seeds.
        runs: The result files, one per seed.
    """

    experiment: str
    model: str
    test: str
    theta: float | None
    rate: Rate
    runs: tuple[Run, ...]

    @property
    def href(self) -> str:
        """The result file, or with several seeds the first of their rows in the full table."""
        return self.runs[0].href if len(self.runs) == 1 else f"#{self.runs[0].anchor}"

    @property
    def percent(self) -> str:
        """'97.9 %'."""
        return percent(self.rate.value)

    @property
    def low(self) -> float:
        """Lower end of the 95 % Wilson interval [percent]."""
        return 100 * self.rate.interval[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % Wilson interval [percent]."""
        return 100 * self.rate.interval[1]


def percent(value: float) -> str:
    """A fraction as '97.9 %'; whole percentages without the '.0'."""
    text = f"{100 * value:.1f}"
    return text.removesuffix(".0") + "\u00a0%"


class Campaign:
    """All results of one robot and layout, and the files that could not be used."""

    def __init__(self, results_dir: Path | str, robot: str = "panda", layout: str = "together"):
        self.robot, self.layout = robot, layout
        self.runs, self.left_out = load_runs(results_dir)

    def experiment(self, split: str) -> str:
        """Folder of a split's results for this robot and layout."""
        return experiment_name(split, self.robot, self.layout)

    def select(self, split: str, model: str) -> list[Run]:
        """The runs of one policy on one split, by seed."""
        wanted = (self.experiment(split), model)
        return sorted(
            (run for run in self.runs if (run.experiment, run.model) == wanted),
            key=lambda run: run.seed,
        )

    def models(self, split: str) -> list[str]:
        """PARA and ACT, whether they were run or not, then every other policy on images that was.

        Policies on a video backbone have tables of their own.
        """
        runs = [run for run in self.runs if run.experiment == self.experiment(split)]
        found = {run.model for run in runs if not reads_video(run.data)}
        return [*MAIN_MODELS, *sorted(found - set(MAIN_MODELS))]

    def number(
        self, split: str, model: str, test: str = "ood", theta: float | None = None
    ) -> Number | None:
        """Success rate, seeds pooled; None if it was not run."""
        runs = self.select(split, model)
        rate = Rate.of([s for run in runs for s in _outcomes(run.data, test, theta)])
        if rate.n == 0:
            return None
        return Number(self.experiment(split), model, test, theta, rate, tuple(runs))

    def stages(self, split: str, model: str, test: str = "ood") -> dict[str, int]:
        """Episodes that ended in each stage, seeds pooled."""
        total: Counter[str] = Counter()
        for run in self.select(split, model):
            total.update(stage_counts(run.data, test))
        return {stage: total[stage] for stage in ("PLACE", "GRASP", "MISS")}

    def comparison(
        self,
        split: str,
        first: str = "para",
        second: str = "regression",
        theta: float | None = None,
        test: str = "ood",
    ) -> Comparison | None:
        """Exact McNemar test on the starts that both policies faced, seeds pooled."""
        seeds = {run.seed: run.data for run in self.select(split, second)}
        pairs = []
        for run in self.select(split, first):
            if run.seed in seeds:
                pairs += _pairs(run.data, seeds[run.seed], theta, test)
        if not pairs:
            return None
        return mcnemar([a for a, _ in pairs], [b for _, b in pairs])

    def thetas(self, split: str) -> list[float]:
        """Polar angles [deg] that the split's held-out test has."""
        found = {
            round(e["condition"]["theta_deg"], 1)
            for run in self.runs
            if run.experiment == self.experiment(split)
            for e in run.data["episodes"]
            if e["test"] == "ood"
        }
        return sorted(found)

    def command(self, split: str, model: str) -> str:
        """What to run to get a number that is missing."""
        suffix = "" if self.robot == "panda" else f" robot={self.robot}"
        suffix += "" if self.layout == "together" else f" layout={self.layout}"
        return model_commands(model, f"split={split}{suffix}")

    def provenance(self, splits: Iterable[str], models: Iterable[str] | None = None) -> str:
        """Seeds, budget, backbone, hardware and dates behind a table, in one sentence each.

        Args:
            splits: Splits in the table.
            models: Policies in it; None: those of `models`.
        """
        wanted = {(split, m) for split in splits for m in models or self.models(split)}
        return describe([run for pair in sorted(wanted) for run in self.select(*pair)])


def load_runs(results_dir: Path | str) -> tuple[list[Run], list[LeftOut]]:
    """Read every JSON file below the results folder; what cannot be used is named with a reason."""
    results_dir = Path(results_dir)
    runs, left_out = [], []
    for path in sorted(results_dir.rglob("*.json")):
        folder = path.relative_to(results_dir)
        if folder.parts[0] in OTHER_FOLDERS or any(part.startswith(".") for part in folder.parts):
            continue  # a name with a dot: a file that is being written
        try:
            data = read_result(path)
            _check_place(folder, data)
        except ParaError as error:
            reason = str(error).replace(str(path), "the file").replace(f"{results_dir}/", "")
            left_out.append(LeftOut(folder.as_posix(), reason))
        else:
            runs.append(Run(path, folder, folder.parts[0], data))
    return sorted(runs, key=_order), left_out


def _order(run: Run) -> tuple[Any, ...]:
    """Splits in the order of the page, PARA first, then ACT, then other policies."""
    split = run.data["split"]
    place = SPLITS.index(split) if split in SPLITS else len(SPLITS)
    policy = MAIN_MODELS.index(run.model) if run.model in MAIN_MODELS else len(MAIN_MODELS)
    return place, run.experiment, policy, run.model, run.seed


def _check_place(folder: Path, data: Result) -> None:
    """A result must lie where the evaluation writes it: else it is not what its place says."""
    config = data["config"]
    robot = data.get("robot", config.get("robot", "panda"))
    layout = data.get("layout", config.get("layout", "together"))
    experiment = experiment_name(data["split"], str(robot), str(layout))
    expected = Path(experiment) / data["model"] / f"seed{data['seed']}.json"
    if folder != expected:
        raise ResultError(f"It says that it is {expected.as_posix()}, but lies elsewhere.")


def _outcomes(data: Result, test: str, theta: float | None) -> list[bool]:
    if theta is None:
        return outcomes(data, test)
    return [e["success"] for e in data["episodes"] if e["test"] == test and _at(e, theta)]


def _at(episode: dict[str, Any], theta: float | None) -> bool:
    return theta is None or round(episode["condition"]["theta_deg"], 1) == theta


def _pairs(
    first: Result, second: Result, theta: float | None, test: str
) -> list[tuple[bool, bool]]:
    """Outcomes of two policies on the starts of a test that both faced."""

    def starts(data: Result) -> dict[int, dict[str, Any]]:
        return {e["index"]: e for e in data["episodes"] if e["test"] == test and _at(e, theta)}

    ours, theirs = starts(first), starts(second)
    return [
        (ours[i]["success"], theirs[i]["success"])
        for i in sorted(ours.keys() & theirs.keys())
        if ours[i]["condition"] == theirs[i]["condition"]
    ]


def describe(runs: Sequence[Run]) -> str:
    """'Seeds 0, 1. Training: 3.5 min, 1500 steps, 128 demos. Backbone ...' for a set of runs."""
    if not runs:
        return ""
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    plural = "Seeds" if "," in seeds else "Seed"
    dates = _span([run.data["created"][:10] for run in runs], str)
    minutes = _span([total_minutes(run.data) for run in runs], short)
    return (
        f"{plural} {seeds}. Training: {minutes} min, "
        f"{_span([total_steps(run.data) for run in runs], short)} steps, "
        f"{_span([run.data['training']['demos'] for run in runs], short)} demos. "
        f"Backbone: {'; '.join(sorted({backbone(run) for run in runs}))}. "
        f"Hardware: {'; '.join(sorted({hardware(run) for run in runs}))}. Measured {dates}."
    )


def backbone(run: Run) -> str:
    """'laptop_cnn (random initialisation)'."""
    names = {"random": "random initialisation", "pretrained": "pretrained", "file": "from a file"}
    init = str(run.data["backbone"]["init"])
    return f"{run.data['backbone']['name']} ({names.get(init, init)})"


def hardware(run: Run) -> str:
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


def published() -> dict[str, Any]:
    """The published numbers (website/published.yaml), success rates in percent."""
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
