"""What figures and videos are made from: result files, runs and demos, nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from para.errors import ParaError, ResultError
from para.evaluation.result_set import ResultSet
from para.evaluation.results import MAIN_MODELS
from para.figures.tasks import Stage, stages_of
from para.files import read_json
from para.places import shipped
from para.runs.identity import Setting
from para.runs.labels import PROFILE, model_commands, place_overrides

PUBLISHED_FILE = shipped("website") / "published.yaml"


class NotRun(ParaError):
    """An asset whose inputs do not exist yet; the message says what is missing.

    Attributes:
        command: The command that makes them.
    """

    def __init__(self, why: str, command: str):
        self.command = command
        super().__init__(why)


@cache
def published() -> dict[str, Any]:
    """The published numbers (website/published.yaml), in percent, and what policies were called."""
    return yaml.safe_load(PUBLISHED_FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Sources:
    """Everything that an asset may read.

    Attributes:
        results: The results of one setting and profile.
        runs_dir: Training runs.
        data_dir: Demonstration sets.
        setting: What the shown episodes are made in.
        profile: Name of the profile.
        workers: Processes that may render at once.
        progress: Show progress bars.
        every: Results of all settings and profiles, for `within`; None: `results` are all.
    """

    results: ResultSet
    runs_dir: Path
    data_dir: Path
    setting: Setting = field(default_factory=Setting)
    profile: str = PROFILE
    workers: int = 1
    progress: bool = False
    every: ResultSet | None = None

    @classmethod
    def open(
        cls,
        results_dir: Path | str,
        runs_dir: Path | str,
        data_dir: Path | str,
        setting: Setting | None = None,
        profile: str = PROFILE,
        workers: int = 1,
        progress: bool = False,
    ) -> Sources:
        """Read the result files; runs and demos are opened when they are needed."""
        setting = setting or Setting()
        every = ResultSet.load(results_dir)
        folders = Path(runs_dir), Path(data_dir)
        return cls(every.of(setting, profile), *folders, setting, profile, workers, progress, every)

    def laid(self, layout: str) -> Sources:
        """The same where the objects are placed in another way."""
        return self.within(replace(self.setting, layout=layout))

    def within(self, setting: Setting) -> Sources:
        """The same of another setting."""
        every = self.every or self.results
        return replace(self, setting=setting, results=every.of(setting, self.profile))

    @property
    def stages(self) -> list[Stage]:
        """The task's stages, as the results have them."""
        recorded = (r.data["environment"]["stages"] for r in self.results.results)
        return stages_of(self.setting.task, next(recorded, []))

    def stage(self, name: str) -> Stage:
        """One of the task's stages."""
        return next(stage for stage in self.stages if stage.name == name)

    def command(self, split: str, model: str | None = None) -> str:
        """The command that trains and evaluates `model` (or the main policies) on `split`."""
        if model is None:
            return " && ".join(self.command(split, name) for name in MAIN_MODELS)
        return model_commands(model, place_overrides(split, self.setting, self.profile))

    def require(self, split: str, models: Sequence[str] = MAIN_MODELS) -> list[str]:
        """Those of `models` that were run on `split`; `NotRun` if none of them was."""
        found = [model for model in models if self.results.select(split, model)]
        if not found:
            command = self.command(split, None if models == MAIN_MODELS else models[0])
            raise NotRun(f"Split {split!r} was not run.", command)
        return found

    def paths(self, split: str, models: Sequence[str] = MAIN_MODELS) -> list[Path]:
        """The files behind `split`; `NotRun` if there are none."""
        return self.results.paths(split, self.require(split, models))

    def benchmark_file(self, name: str) -> list[Path]:
        """What benchmarks/<name>.py wrote; `NotRun` if it did not run."""
        path = self.results.folder / "benchmarks" / f"{name}.json"
        if not os.path.lexists(path):
            raise NotRun(f"benchmarks/{name}.py was not run.", f"python benchmarks/{name}.py")
        return [path]

    @contextmanager
    def benchmark(self, name: str) -> Iterator[dict[str, Any]]:
        """What benchmarks/<name>.py wrote, to be read inside `with`.

        Raises:
            NotRun: It did not run.
            ResultError: The file is damaged, or the block misses something in it.
        """
        (path,) = self.benchmark_file(name)
        try:
            yield read_json(path, ResultError, f"Run: python benchmarks/{name}.py")
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ResultError(
                f"{path} is not a result of benchmarks/{name}.py ({type(error).__name__}: "
                f"{error}). Run: python benchmarks/{name}.py"
            ) from error
