"""All result files of a folder, by what they are of, and what was wrong with the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from para.errors import ParaError, ResultError
from para.evaluation.results import Result, physics_version, read_result, result_id
from para.runs.identity import ResultId, Setting
from para.statistics import Rate

OTHER_FOLDERS = ("benchmarks", "curves")
"""Folders among the results that hold no result files: timings, and logs of training runs."""


@dataclass(frozen=True)
class StoredResult:
    """One result file.

    Attributes:
        path: Where it lies.
        id: What it is of.
        data: Its content, validated.
    """

    path: Path
    id: ResultId
    data: Result

    @classmethod
    def read(cls, path: Path, folder: Path) -> StoredResult:
        """Read one of the results under `folder`.

        Raises:
            ResultError: It is damaged, or lies elsewhere than it says.
            ConfigError: It says something that cannot name a result.
        """
        data = read_result(path)
        found = result_id(data)
        if found.path(folder) != path:
            expected = found.path(folder).relative_to(folder).as_posix()
            raise ResultError(f"{path} says that it is {expected}, but lies elsewhere.")
        return cls(path, found, data)

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.id.split

    @property
    def seed(self) -> int:
        """Training seed."""
        return self.id.seed

    @property
    def model(self) -> str:
        """The policy's label in tables."""
        return self.data["model"]

    def episodes(self, test: str) -> list[dict[str, Any]]:
        """Records of one test ("ood" or "sanity"), in the order of their index."""
        chosen = [e for e in self.data["episodes"] if e["test"] == test]
        return sorted(chosen, key=lambda e: e["index"])


@dataclass(frozen=True)
class LeftOut:
    """A file among the results that cannot be used, and why.

    Attributes:
        name: Its path below `folder`.
        reason: A sentence.
        folder: The results folder.
    """

    name: str
    reason: str
    folder: Path


@dataclass(frozen=True)
class ResultSet:
    """Results, by path, and the files that were left out.

    What differs in setting or profile is never pooled or compared: narrow a set with `of` first.
    """

    folder: Path
    results: tuple[StoredResult, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def load(cls, folder: Path | str, part: Path | str = "") -> ResultSet:
        """Read every result file under `folder`, or its subfolder `part`; name what is unusable."""
        folder = Path(folder)
        results, left_out = [], []
        for path in sorted((folder / part).rglob("*.json")):
            place = path.relative_to(folder)
            if place.parts[0] in OTHER_FOLDERS or any(part.startswith(".") for part in place.parts):
                continue  # a name with a dot: a file that is being written
            try:
                results.append(StoredResult.read(path, folder))
            except ParaError as error:
                reason = str(error).replace(str(path), "the file").replace(f"{folder}/", "")
                left_out.append(LeftOut(place.as_posix(), reason, folder))
        return cls(folder, tuple(results), tuple(left_out))

    def of(self, setting: Setting, profile: str) -> ResultSet:
        """The results of one setting and profile."""
        wanted = (setting, profile)
        chosen = [r for r in self.results if (r.id.setting, r.id.profile) == wanted]
        return replace(self, results=tuple(chosen))

    def select(self, split: str, model: str) -> list[StoredResult]:
        """The results of one policy (its label) on one split, by seed.

        Of several versions of the simulated world only the newest: they are never pooled.
        """
        chosen = [r for r in self.results if (r.split, r.model) == (split, model)]
        newest = max((physics_version(r.data) for r in chosen), default=None)
        chosen = [r for r in chosen if physics_version(r.data) == newest]
        return sorted(chosen, key=lambda r: r.seed)

    def models(self, split: str) -> list[str]:
        """Labels of the policies that were evaluated on `split`, sorted."""
        return sorted({r.model for r in self.results if r.split == split})

    def episodes(self, split: str, model: str, test: str) -> list[dict[str, Any]]:
        """Episode records over all seeds; each gets its file's "training_seed"."""
        return [
            {**episode, "training_seed": result.seed}
            for result in self.select(split, model)
            for episode in result.episodes(test)
        ]

    def rate(self, split: str, model: str, test: str) -> Rate:
        """Success rate pooled over seeds."""
        return Rate.of([e["success"] for e in self.episodes(split, model, test)])

    def paths(self, split: str, models: Iterable[str]) -> list[Path]:
        """The files of `models` on `split`."""
        return [r.path for model in models for r in self.select(split, model)]
