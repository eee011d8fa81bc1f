"""The learning rate of each policy, chosen from the same few, in distribution; all tries are kept.

A try is an ordinary training under a name of its own and an ordinary evaluation of its test in
distribution ("sanity"), on starts that the caller names; held-out starts are never looked at.
Trainings and evaluations lie in <outputs_dir>/tuning, what came of them in

    <results_dir>/tuning/<setting>/<profile>/<split>/<model>-seed<k>.json

with the keys model, split, setting, profile, seed, train and evaluate (overrides of all tries),
created, git, hardware, chosen (learning rate) and tries: learning_rate, successes, n, interval,
minutes, steps, validation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.base import build_task
from envs.splits import STARTS
from para.campaign.config import ReproduceConfig
from para.campaign.job import Job
from para.campaign.run import CampaignRun
from para.cli import load_config
from para.errors import ConfigError
from para.evaluation.results import read_result
from para.executors import build_executor
from para.fields import require
from para.files import atomic_write_json
from para.runs.config import TrainConfig
from para.runs.folders import run_dir, run_id, setting_of
from para.runs.identity import ResultId, place
from para.runs.labels import label_parts, model_overrides
from para.runs.policy_file import read_policy_meta
from para.statistics import Rate
from para.system import git_hash, hardware

LEARNING_RATES = (3e-4, 1e-3, 3e-3)
"""Each policy gets the same, PARA too."""
TEST = "sanity"


@dataclass(frozen=True)
class Try:
    """One learning rate of one policy on one split.

    Attributes:
        label: The policy by its name in results.
        split: What it is trained and tested on.
        rate: Peak learning rate.
        seed: Training seed.
        train: Overrides of the training.
        evaluate: Overrides of the evaluation.
    """

    label: str
    split: str
    rate: float
    seed: int
    train: tuple[str, ...]
    evaluate: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique among the tries of a call."""
        return f"{self.split} {self.label} {self.rate:g} seed{self.seed}"

    @property
    def config(self) -> TrainConfig:
        """The whole configuration of the training."""
        return load_config(TrainConfig, self.train)

    @property
    def dataset(self) -> str:
        """Name of the data set that trains it."""
        cfg = self.config
        return str(cfg.split.dataset_for(build_task(cfg.task), cfg.layout))

    def jobs(self) -> Iterator[Job]:
        """Train, then evaluate."""
        train = f"train {self.name}"
        yield Job(train, "train", "train", (*self.train, "workers=1"))
        evaluation = (*self.evaluate, "workers=1", "video=0")
        yield Job(f"eval {self.name}", "eval", "eval", evaluation, needs=(train,))

    def outcome(self) -> dict[str, Any]:
        """What came of it; see the module's docstring."""
        cfg, evaluation = self.config, dict(key.split("=", 1) for key in self.evaluate)
        where = (setting_of(cfg), cfg.profile, STARTS[0], cfg.split.name)
        policy = (cfg.model.name, cfg.backbone.name, run_id(cfg).augment, cfg.seed)
        result = read_result(ResultId(*where, *policy).path(evaluation["results_dir"]))
        rate = Rate.of([e["success"] for e in result["episodes"] if e["test"] == TEST])
        meta = read_policy_meta(run_dir(cfg))
        return {
            "learning_rate": self.rate,
            "successes": rate.successes,
            "n": rate.n,
            "interval": list(rate.interval),
            "minutes": meta["training"]["minutes"],
            "steps": meta["training"]["steps"],
            "validation": meta["validation"],
        }


def tries(cfg: ReproduceConfig, train: Sequence[str], evaluate: Sequence[str]) -> list[Try]:
    """Every learning rate of every policy of `cfg`, on every split, with every seed.

    Args:
        cfg: Splits, models and seeds, and what all scripts share.
        train: More overrides of every training.
        evaluate: More overrides of every evaluation: which starts, how many episodes.

    Raises:
        ConfigError: A policy is trained by a recipe, which has learning rates of its own; or there
            is nothing to tune.
    """
    for name in ("splits", "models"):
        require(bool(getattr(cfg, name)), f"Nothing to tune: say {name}=[...].")
    folder = Path(cfg.outputs_dir) / "tuning"
    common = [f"task={cfg.task.name}", f"profile={cfg.profile}", f"robot={cfg.robot}"]
    common += [f"layout={cfg.layout}", f"appearance={cfg.appearance}", f"data_dir={cfg.data_dir}"]
    common += [
        f"outputs_dir={folder}",
        f"runs_dir={folder / 'runs'}",
        f"results_dir={folder / 'results'}",
    ]
    common += [f"plugins=[{','.join(cfg.plugins)}]"] if cfg.plugins else []
    found = []
    for seed in cfg.seeds or [0]:
        for split in cfg.splits or []:
            for label in cfg.models or []:
                parts = label_parts(label)
                if parts.recipe:
                    raise ConfigError(
                        f"{label}: recipe={parts.recipe} has learning rates of its own. Tune "
                        f"models=[{parts.model}]."
                    )
                choice, _ = model_overrides(label)
                for rate in LEARNING_RATES:
                    name = f"{parts.model}_rate{rate:g}".replace(".", "p").replace("-", "m")
                    where = [*common, f"split={split}", f"seed={seed}"]
                    named = [f"model.name={name}", f"training.learning_rate={rate:g}"]
                    test = [f"model={name}", f"tests=[{TEST}]"]
                    found.append(
                        Try(
                            *(label, split, rate, seed),
                            (*choice, *named, *where, *train),
                            (*test, *where, *evaluate),
                        )
                    )
    return found


def tune(cfg: ReproduceConfig, train: Sequence[str], evaluate: Sequence[str]) -> list[Path]:
    """Make all tries that are missing, and write down what came of them; returns the files.

    Demos are made first where they are missing. A killed call goes on where it was.

    Raises:
        CampaignError: Some tries failed.
    """
    everything = tries(cfg, train, evaluate)
    executor = build_executor(cfg.executor, cfg.workers)
    jobs = [job for one in everything for job in one.jobs()]
    demos = {one.dataset: one.train for one in everything}
    first = [
        Job(
            f"demos {name}", "demos", "generate_demos", _demo_overrides(name, train), exclusive=True
        )
        for name, train in demos.items()
    ]
    CampaignRun([*first, *jobs], executor, Path(cfg.outputs_dir) / "tuning" / "logs").run()
    groups: dict[tuple[str, str, int], list[Try]] = {}
    for one in everything:
        groups.setdefault((one.split, one.label, one.seed), []).append(one)
    paths = []
    for (split, label, seed), members in groups.items():
        outcomes = [one.outcome() for one in members]
        setting = setting_of(cfg)
        folder = place(Path(cfg.results_dir) / "tuning", setting, cfg.profile, split)
        record = {
            "model": label,
            "split": split,
            "setting": setting.name,
            "profile": cfg.profile,
            "seed": seed,
            "train": list(train),
            "evaluate": [f"tests=[{TEST}]", *evaluate],
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "git": git_hash(),
            "hardware": hardware(),
            "chosen": chosen(outcomes),
            "tries": outcomes,
        }
        paths.append(folder / f"{label}-seed{seed}.json")
        atomic_write_json(paths[-1], record)
    return paths


def chosen(outcomes: Sequence[dict[str, Any]]) -> float:
    """The learning rate of most successes; of several, that of the least validation loss."""
    best = min(
        outcomes,
        key=lambda one: (-one["successes"] / one["n"], one["validation"].get("val_loss", 0.0)),
    )
    return float(best["learning_rate"])


def _demo_overrides(dataset: str, train: Sequence[str]) -> tuple[str, ...]:
    """What of a training's overrides says how its demos are made."""
    wanted = ("task=", "profile=", "robot=", "layout=", "appearance=", "env.", "limit=", "plugins=")
    wanted += ("data_dir=", "outputs_dir=")
    return (f"dataset={dataset}", *(text for text in train if text.startswith(wanted)))
