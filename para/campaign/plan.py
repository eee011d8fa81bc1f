"""What a campaign consists of: which scripts are called with what, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envs.splits import load_split
from para.campaign.config import ReproduceConfig
from para.campaign.job import Job
from para.cli import load_config
from para.runs.config import TrainConfig
from para.runs.folders import run_dir, run_id
from para.runs.labels import model_overrides
from para.training.stages import stage_configs


def plan(cfg: ReproduceConfig) -> list[Job]:
    """The jobs of a campaign, in an order in which they can run.

    Splits with the same training set share its training run.
    """
    common = [f"task={cfg.task.name}"]
    common += [
        f"{key}={getattr(cfg, key)}"
        for key in (
            *("profile", "robot", "layout"),
            *("data_dir", "runs_dir", "results_dir", "reference_dir", "outputs_dir"),
        )
        if getattr(cfg, key) is not None
    ]
    common += [f"plugins=[{','.join(cfg.plugins)}]"] if cfg.plugins else []
    splits = [load_split(name) for name in cfg.splits]
    demos = {
        dataset: Job(
            f"demos {dataset}",
            "demos",
            "generate_demos",
            (f"dataset={dataset}", *common),
            exclusive=True,
        )
        for dataset in dict.fromkeys(split.dataset for split in splits)
    }
    jobs = {job.name: job for job in demos.values()}
    shared = _SharedStages()
    for seed in cfg.seeds:
        for split in splits:
            for label in cfg.models:
                training, evaluation = model_overrides(label, augment=False)
                rest = [f"split={split.name}", f"seed={seed}", *common]
                train = f"train {split.train_set} {label} seed{seed}"
                if train not in jobs:
                    needs = (demos[split.dataset].name, *shared.needs(train, [*training, *rest]))
                    arguments = (*training, *rest, "workers=1")
                    jobs[train] = Job(train, "train", "train", arguments, needs)
                augment = run_id(load_config(TrainConfig, [*training, *rest])).augment
                test = (f"augment={augment}", f"starts={cfg.starts}")
                test += (f"precision={cfg.precision}", "workers=1", "video=0")
                test += (f"episodes={cfg.episodes}",) if cfg.episodes else ()
                arguments = (*evaluation, *rest, *test)
                name = f"eval {split.name} {label} seed{seed}"
                jobs[name] = Job(name, "eval", "eval", arguments, needs=(train,))
    if cfg.website:
        arguments = tuple(common)
        evaluations = tuple(job.name for job in jobs.values() if job.kind == "eval")
        jobs["website"] = Job(
            "website", "website", "make_website", arguments, evaluations, exclusive=True
        )
    return list(jobs.values())


class _SharedStages:
    """Which job trains a stage that several recipes begin with: the others wait for that job."""

    def __init__(self) -> None:
        self._jobs: dict[Path, str] = {}

    def needs(self, job: str, overrides: Sequence[str]) -> tuple[str, ...]:
        """Jobs that train the first stages of `job`, whose training takes these overrides.

        Raises:
            UnknownNameError, ConfigError: There is no such model, backbone or recipe.
        """
        *earlier, _ = stage_configs(load_config(TrainConfig, overrides))
        makers = [self._jobs.setdefault(run_dir(stage), job) for stage in earlier]
        return tuple(dict.fromkeys(maker for maker in makers if maker != job))
