"""The jobs of a campaign: which scripts are called with what, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from envs.base import load_task
from envs.multi_task import suite
from envs.perturbations import SWEEPS, Sweep
from envs.splits import TESTS, Split, load_split
from para.campaign.cells import Cell, campaigns
from para.campaign.config import ReproduceConfig
from para.campaign.job import Job, Work
from para.cli import load_config
from para.data.format import dataset_dir
from para.evaluation.result_set import sweep_dir
from para.runs.config import TrainConfig
from para.runs.contents import POLICY, POLICY_META
from para.runs.folders import learned_in, run_dir, run_id, setting_of
from para.runs.identity import ResultId, RunId, Setting
from para.runs.labels import model_overrides, run_label
from para.training.stages import stage_configs


@dataclass(frozen=True)
class Plan:
    """A campaign.

    Attributes:
        jobs: In an order in which they can run.
        by_campaign: Names of the jobs that each named campaign needs; some need the same.
    """

    jobs: list[Job]
    by_campaign: dict[str, list[str]]


def plan(cfg: ReproduceConfig) -> Plan:
    """What `cfg` asks for: each training and evaluation once, whoever needs it.

    Splits with the same training set share its training run, and so do augmentations of which a
    policy follows the same.

    Raises:
        UnknownNameError, ConfigError: See `campaigns`; or there is no such model, backbone, recipe.
    """
    planner = _Planner(cfg)
    by_campaign = {
        name: list(dict.fromkeys(job for cell in cells for job in planner.add(cell)))
        for name, cells in campaigns(cfg).items()
    }
    jobs = list(planner.jobs.values())
    demos = [job for job in jobs if job.kind == "demos"]
    jobs = [*demos, *(job for job in jobs if job.kind != "demos")]
    if cfg.website:
        evaluations = tuple(job.name for job in jobs if job.kind == "eval")
        arguments = tuple(_common(cfg, setting_of(cfg)))
        jobs.append(
            Job("website", "website", "make_website", arguments, evaluations, exclusive=True)
        )
    return Plan(jobs, by_campaign)


@dataclass(frozen=True)
class _Policy:
    """A policy as it is trained somewhere; elsewhere only setting, training set and seed differ.

    Attributes:
        training: The overrides that choose it.
        evaluation: Those of its evaluation.
        config: Its configuration there.
    """

    training: tuple[str, ...]
    evaluation: tuple[str, ...]
    config: TrainConfig

    @cached_property
    def stages(self) -> list[TrainConfig]:
        """Its runs, in order."""
        return stage_configs(self.config)

    @cached_property
    def run(self) -> RunId:
        """What identifies its last run there."""
        return run_id(self.stages[-1])

    @cached_property
    def label(self) -> str:
        """Its name in results."""
        return run_label(self.run, self.config.model.kind)


class _Planner:
    """Makes the jobs of cells, each once."""

    def __init__(self, cfg: ReproduceConfig):
        self.cfg = cfg
        self.jobs: dict[str, Job] = {}
        self._policies: dict[tuple[object, ...], _Policy] = {}
        self._shared: dict[Path, str] = {}

    def add(self, cell: Cell) -> list[str]:
        """Names of the jobs that a cell needs: demos, training, evaluation."""
        cfg, split = self.cfg, load_split(cell.split)
        setting = Setting(cell.task, cfg.robot, cell.layout, cell.appearance)
        common = _common(cfg, setting)
        where = self._where(setting)
        rest = [f"split={split.name}", f"seed={cell.seed}", *common]
        policy = self._policy(cell, rest)
        learned = learned_in(setting, split)
        run = replace(policy.run, setting=learned, train_set=split.train_set, seed=cell.seed)

        tasks = [task.name for task in suite(cfg.robot)] if split.every_task else [cell.task]
        size = policy.config.env.image_size
        shown = [self._demos(split, replace(setting, task=task), size) for task in tasks]
        demos = [job.name for job in shown]

        train = f"train {split.train_set} {policy.label} seed{cell.seed}{self._where(learned)}"
        if train not in self.jobs:
            needs = self._stages_of_others(train, policy)
            steps = sum(stage.training.steps for stage in policy.stages[-1 if needs else 0 :])
            work = Work(policy.label, run.folder(cfg.runs_dir) / POLICY_META, steps)
            arguments = (*policy.training, *rest, "workers=1")
            stages = (run_id(stage) for stage in policy.stages)
            there = {"setting": run.setting, "train_set": run.train_set, "seed": run.seed}
            runs = tuple(replace(stage, **there).folder(cfg.runs_dir) for stage in stages)
            folders = (job.work.output for job in shown if job.work)
            self.jobs[train] = Job(
                *(train, "train", "train", arguments, (*demos, *needs)),
                **{"work": work, "reads": (*folders, *runs), "writes": runs},
            )

        test = (f"augment={run.augment}", f"starts={cfg.starts}")
        test += (f"precision={cell.precision}", "workers=1", "video=0")
        test += (f"episodes={cell.episodes}",) if cell.episodes else ()
        test += (f"sweep={cell.sweep}",) if cell.sweep else ()
        swept = f" sweep {cell.sweep}" if cell.sweep else ""
        name = f"eval {split.name} {policy.label} seed{cell.seed}{where}{swept}"
        result = ResultId(
            *(setting, cfg.profile, cfg.starts, split.name),
            *(run.model, run.backbone, run.augment, cell.seed),
        )
        if cell.sweep:
            sweep = SWEEPS.load(cell.sweep)
            episodes = (cell.episodes or sweep.episodes) * len(Sweep(sweep).levels)
        else:
            episodes = sum(cell.episodes or getattr(split, one).episodes for one in TESTS)
        output = result.path(sweep_dir(cfg.results_dir, cell.sweep))
        work = Work(policy.label, output, episodes, split.name)
        arguments = (*policy.evaluation, *rest, *test)
        trained = run.folder(cfg.runs_dir)
        files = {
            "reads": (trained / POLICY_META, trained / POLICY, work.output),
            "writes": (work.output,),
        }
        job = Job(name, "eval", "eval", arguments, (train,), work=work, **files)
        self.jobs.setdefault(name, job)
        return [*self.jobs[train].needs, train, name]

    def _where(self, setting: Setting) -> str:
        """End of a job's name: the setting, where it is not the one that the script is told."""
        return "" if setting == setting_of(self.cfg) else f" {setting.name}"

    def _demos(self, split: Split, setting: Setting, image_size: int) -> Job:
        """The job that makes the demos of a split in one setting."""
        dataset = split.dataset_for(load_task(setting.task), setting.layout)
        name = f"demos {dataset}{self._where(setting)}"
        if name not in self.jobs:
            folder = dataset_dir(self.cfg.data_dir, setting.name, dataset, image_size)
            told = (f"dataset={dataset}", *_common(self.cfg, setting), *self.cfg.executor.told)
            work = Work(dataset, folder)
            self.jobs[name] = Job(name, "demos", "generate_demos", told, exclusive=True, work=work)
        return self.jobs[name]

    def _policy(self, cell: Cell, rest: Sequence[str]) -> _Policy:
        """The policy of a cell; composing takes long.

        On the split depend recipes, and names that say how a policy is told instructions.
        """
        training, evaluation = model_overrides(cell.label, augment=False)
        depends = any(word.startswith(("recipe=", "text=")) for word in training)
        depends |= load_split(cell.split).every_task
        key = (cell.label, cell.task, cell.appearance, *(rest if depends else ()))
        if key not in self._policies:
            config = load_config(TrainConfig, [*training, *rest])
            self._policies[key] = _Policy(tuple(training), tuple(evaluation), config)
        return self._policies[key]

    def _stages_of_others(self, job: str, policy: _Policy) -> tuple[str, ...]:
        """Jobs that train the first stages of `job`: several recipes may begin with the same."""
        makers = (self._shared.setdefault(run_dir(stage), job) for stage in policy.stages[:-1])
        return tuple(dict.fromkeys(maker for maker in makers if maker != job))


def _common(cfg: ReproduceConfig, setting: Setting) -> list[str]:
    """What all scripts are told."""
    values = {"profile": cfg.profile} | asdict(setting)
    folders = ("data_dir", "runs_dir", "results_dir", "reference_dir", "outputs_dir")
    values |= {key: getattr(cfg, key) for key in folders}
    words = [f"{key}={value}" for key, value in values.items() if value is not None]
    words += [f"plugins=[{','.join(cfg.plugins)}]"] if cfg.plugins else []
    return words
