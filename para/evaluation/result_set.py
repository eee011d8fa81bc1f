"""All result files of a folder, by what they are of, and what was wrong with the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from para.errors import ParaError, ResultError
from para.evaluation.results import Result, physics_version, read_result, result_id, world
from para.files import not_a_file, without_collections
from para.runs.identity import ResultId, Setting
from para.statistics import Comparison, Rate, compare_over_seeds

Episode = dict[str, Any]
"""The record of an episode, as result files hold it."""

ALIGNED = "aligned"
"""The results folder, in another one, of policies that were shown each view as the usual one."""
OTHER_FOLDERS = ("benchmarks", "curves", "sweeps", "tuning", ALIGNED)
"""Folders among the results that hold no result files: timings, logs of training runs, and those
that are results folders of their own: each sweep, and aligned views."""


def sweep_dir(results_dir: Path | str, sweep: str | None) -> Path:
    """The results folder of a sweep (configs/sweep): <results_dir>/sweeps/<sweep>; or of none."""
    return Path(results_dir, "sweeps", sweep) if sweep else Path(results_dir)


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
        """Read one of the results under `folder`; not again while the file stays as it is.

        Raises:
            ResultError: It is damaged, or lies elsewhere than it says.
            ConfigError: It says something that cannot name a result.
        """
        if reason := not_a_file(path):
            raise ResultError(f"{path} {reason}.")
        status = path.stat()
        return _read(path, folder, (status.st_ino, status.st_mtime_ns, status.st_size))

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.id.split

    @property
    def seed(self) -> int:
        """Training seed."""
        return self.id.seed

    @property
    def version(self) -> int:
        """Version of the simulated world."""
        return physics_version(self.data)

    @property
    def world(self) -> tuple[int, bool]:
        """See `para.evaluation.results.world`."""
        return world(self.data)

    @property
    def model(self) -> str:
        """The policy's label in tables."""
        return self.data["model"]

    def episodes(self, test: str) -> list[dict[str, Any]]:
        """Records of one test ("ood" or "sanity"), in the order of their index."""
        chosen = [e for e in self.data["episodes"] if e["test"] == test]
        return sorted(chosen, key=lambda e: e["index"])


@lru_cache(2000)
def _read(path: Path, folder: Path, _: tuple[int, ...]) -> StoredResult:
    """`StoredResult.read`; what tells one state of the file from another is not looked at here."""
    data = read_result(path)
    found = result_id(data)
    if found.path(folder) != path:
        expected = found.path(folder).relative_to(folder).as_posix()
        raise ResultError(f"{path} says that it is {expected}, but lies elsewhere.")
    if data["config"].get("evaluation", {}).get("align_view") and ALIGNED not in path.parts:
        raise ResultError(
            f"{path} is of views that were shown as the usual one (align_view=true), and would be "
            f"taken for one of views as they are: move it to {found.path(folder / ALIGNED)}."
        )
    return StoredResult(path, found, data)


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
    Nor is what comes from different versions of the simulated world or draws of the tests; see
    `select`.
    """

    folder: Path
    results: tuple[StoredResult, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    @without_collections()
    def load(cls, folder: Path | str, *parts: Path | str) -> ResultSet:
        """Read every result file under `folder`, or under its `parts`; name what is unusable.

        Of a whole folder also what is unusable in its `aligned`, whose results are its own.
        """
        folder = Path(folder)
        results, left_out = [], []
        for path in sorted(p for part in parts or ("",) for p in (folder / part).rglob("*.json")):
            place = path.relative_to(folder)
            if place.parts[0] in OTHER_FOLDERS or any(part.startswith(".") for part in place.parts):
                continue  # a name with a dot: a file that is being written
            try:
                results.append(StoredResult.read(path, folder))
            except ParaError as error:
                reason = str(error).replace(str(path), "the file").replace(f"{folder}/", "")
                left_out.append(LeftOut(place.as_posix(), reason, folder))
        if not parts and (folder / ALIGNED).is_dir():
            for item in cls.load(folder / ALIGNED).left_out:
                left_out.append(LeftOut(f"{ALIGNED}/{item.name}", item.reason, folder))
        return cls(folder, tuple(results), tuple(left_out))

    @property
    def aligned(self) -> ResultSet:
        """Those of policies that were shown each view as the usual one (`align_view`)."""
        return ResultSet.load(self.folder / ALIGNED)

    def of(self, setting: Setting, profile: str) -> ResultSet:
        """The results of one setting and profile."""
        wanted = (setting, profile)
        chosen = [r for r in self.results if (r.id.setting, r.id.profile) == wanted]
        return replace(self, results=tuple(chosen))

    def newest(self, splits: Collection[str]) -> ResultSet:
        """Those on `splits` of the newest simulated world and draw of the tests among them.

        What a single curve may join.
        """
        chosen = [r for r in self.results if r.split in splits]
        world = max((r.world for r in chosen), default=None)
        return replace(self, results=tuple(r for r in chosen if r.world == world))

    def select(self, split: str, model: str) -> list[StoredResult]:
        """The results of one policy (its label) on one split, by seed.

        Of several versions of the simulated world only the newest, and of dev and final starts the
        final ones: they are never pooled.
        """
        chosen = [r for r in self.results if (r.split, r.model) == (split, model)]
        newest = max((r.world for r in chosen), default=None)
        return sorted((r for r in chosen if r.world == newest), key=lambda r: r.seed)

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

    def rate(
        self, split: str, model: str, test: str, which: Callable[[Episode], bool] | None = None
    ) -> Rate:
        """Success rate over all training seeds, on the starts that every one of them faced.

        Results of an older version of the simulated world, or on dev starts, are not pooled with
        newer ones, or on final starts.

        Args:
            split: Name of the split.
            model: The policy's label.
            test: ood | sanity.
            which: Says of a record whether its episode counts; None: all do.
        """
        tables = [_by_start(run, test, which) for run in self.select(split, model)]
        starts = sorted(set.intersection(*map(set, tables))) if tables else []
        return Rate.over_seeds([[table[start] for start in starts] for table in tables])

    def compare(
        self,
        split: str,
        first: str,
        second: str,
        test: str,
        which: Callable[[Episode], bool] | None = None,
    ) -> Comparison | None:
        """Two policies on the seeds and starts that both have; None where there are none.

        Results of different versions of the simulated world, or on different starts, are no pairs.

        Args:
            split: Name of the split.
            first: Label of a policy.
            second: Label of another one.
            test: ood | sanity.
            which: Says of a record whether its episode counts; None: all do.
        """
        ours, theirs = (
            {
                (run.seed, run.world): _by_start(run, test, which)
                for run in self.select(split, model)
            }
            for model in (first, second)
        )
        seeds = sorted(ours.keys() & theirs.keys())
        tables = [by_seed[seed] for by_seed in (ours, theirs) for seed in seeds]
        starts = sorted(set.intersection(*map(set, tables))) if tables else []
        if not starts:
            return None
        return compare_over_seeds(
            *(
                [[by_seed[seed][start] for start in starts] for seed in seeds]
                for by_seed in (ours, theirs)
            )
        )

    def paths(self, split: str, models: Iterable[str]) -> list[Path]:
        """The files of `models` on `split`."""
        return [r.path for model in models for r in self.select(split, model)]


def at_theta(theta_deg: float) -> Callable[[Episode], bool]:
    """Says of an episode's record whether its view has this polar angle [deg], to 0.1 deg."""
    return lambda episode: theta_of(episode) == round(theta_deg, 1)


def theta_of(episode: Episode) -> float:
    """Polar angle of an episode's view [deg], to 0.1 deg."""
    return round(float(episode["condition"]["theta_deg"]), 1)


def _by_start(
    run: StoredResult, test: str, which: Callable[[Episode], bool] | None
) -> dict[tuple[int, str], bool]:
    """Success by start: (index, condition as text)."""
    return {
        (episode["index"], json.dumps(episode["condition"], sort_keys=True)): episode["success"]
        for episode in run.episodes(test)
        if which is None or which(episode)
    }
