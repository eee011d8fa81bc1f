"""What figures and videos are made from: result files, runs and demos, nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from para.errors import ParaError, ResultError
from para.evaluation.results import experiment_name, model_commands, read_result
from para.statistics import Rate

MAIN_MODELS = ("para", "regression")
"""The two policies that every comparison shows, in this order."""
PUBLISHED_FILE = Path(__file__).parents[2] / "website" / "published.yaml"


class NotRun(ParaError):
    """An asset whose inputs do not exist yet; the message says what is missing.

    Attributes:
        command: The command that makes them.
    """

    def __init__(self, why: str, command: str):
        self.command = command
        super().__init__(why)


def run_command(split: str, model: str | None = None) -> str:
    """The command that trains and evaluates `model` (or both policies) on `split`."""
    if model is None:
        return " && ".join(run_command(split, name) for name in MAIN_MODELS)
    return model_commands(model, f"split={split}")


@dataclass(frozen=True)
class Result:
    """One result file: `results/<split>/<model>/seed<k>.json`."""

    path: Path
    split: str
    model: str
    seed: int
    data: dict[str, Any]

    def episodes(self, test: str) -> list[dict[str, Any]]:
        """Records of one test ("ood" or "sanity"), in the order of their index."""
        chosen = [e for e in self.data["episodes"] if e["test"] == test]
        return sorted(chosen, key=lambda e: e["index"])


@dataclass(frozen=True)
class ResultSet:
    """All readable result files of a folder, and what was wrong with the others."""

    folder: Path
    results: tuple[Result, ...] = ()
    damaged: tuple[tuple[Path, str], ...] = ()

    @classmethod
    def load(cls, folder: Path | str, robot: str = "panda", layout: str = "together") -> ResultSet:
        """Read the results of one robot and layout under `folder`; name what cannot be used."""
        folder = Path(folder)
        results, damaged = [], []
        for path in sorted(folder.glob("*/*/seed*.json")):
            try:
                data = read_result(path)
            except ResultError as error:
                damaged.append((path, str(error)))
                continue
            experiment, model = path.parts[-3:-1]
            if experiment == experiment_name(data["split"], robot, layout):
                results.append(Result(path, data["split"], model, data["seed"], data))
        return cls(folder, tuple(results), tuple(damaged))

    def select(self, split: str, model: str) -> list[Result]:
        """The result files of one policy on one split, one per seed, by seed."""
        chosen = [r for r in self.results if (r.split, r.model) == (split, model)]
        return sorted(chosen, key=lambda r: r.seed)

    def episodes(self, split: str, model: str, test: str) -> list[dict[str, Any]]:
        """Episode records pooled over seeds; each gets its file's "training_seed"."""
        return [
            {**episode, "training_seed": result.seed}
            for result in self.select(split, model)
            for episode in result.episodes(test)
        ]

    def rate(self, split: str, model: str, test: str) -> Rate:
        """Success rate pooled over seeds."""
        return Rate.of([e["success"] for e in self.episodes(split, model, test)])

    def require(self, split: str, models: tuple[str, ...] = MAIN_MODELS) -> list[str]:
        """Those of `models` that were run on `split`; `NotRun` if none of them was."""
        found = [model for model in models if self.select(split, model)]
        if not found:
            command = run_command(split, None if models == MAIN_MODELS else models[0])
            raise NotRun(f"Split {split!r} was not run.", command)
        return found

    def paths(self, split: str, models: tuple[str, ...] = MAIN_MODELS) -> list[Path]:
        """The files behind `split`; `NotRun` if there are none."""
        return [r.path for model in self.require(split, models) for r in self.select(split, model)]


@cache
def published() -> dict[str, Any]:
    """The published numbers (website/published.yaml), in percent."""
    return yaml.safe_load(PUBLISHED_FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Sources:
    """Everything that an asset may read.

    Attributes:
        results: The result files.
        runs_dir: Training runs: `<profile>/<train_set>/<model>-<backbone>/seed<k>/`.
        data_dir: Demonstration sets.
        workers: Processes that may render at once.
        progress: Show progress bars.
    """

    results: ResultSet
    runs_dir: Path
    data_dir: Path
    workers: int = 1
    progress: bool = False

    @classmethod
    def open(
        cls,
        results_dir: Path | str,
        runs_dir: Path | str,
        data_dir: Path | str,
        workers: int = 1,
        progress: bool = False,
        robot: str = "panda",
        layout: str = "together",
    ) -> Sources:
        """Read the result files; runs and demos are opened when they are needed."""
        results = ResultSet.load(results_dir, robot, layout)
        return cls(results, Path(runs_dir), Path(data_dir), workers, progress)

    def benchmark_file(self, name: str) -> list[Path]:
        """What benchmarks/<name>.py wrote; `NotRun` if it did not run."""
        path = self.results.folder / "benchmarks" / f"{name}.json"
        if not path.is_file():
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
            yield json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultError(
                f"{path} is not a result of benchmarks/{name}.py ({type(error).__name__}: "
                f"{error}). Run: python benchmarks/{name}.py"
            ) from error
