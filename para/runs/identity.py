"""What identifies a training run or a result, and where it lies. Nobody else makes these paths.

    runs/<setting>/<profile>/<training set>/<model>-<backbone>-<augment>/seed<k>/
    results/<setting>/<profile>/<starts>/<split>/<model>-<backbone>-<augment>/seed<k>.json

A setting is what an episode is made in: task, robot and layout, <task>-<robot>-<layout>, followed
by -varied where the appearance is varied. Augment is what the policy could follow of the
augmentation that was asked for. All other parts are always spelled out, so nothing that differs can
share a place; they also stand in the
files themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from envs.base import setting_name
from envs.episodes import FIXED
from envs.table import MAIN_TASK
from para.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, order=True)
class Setting:
    """What an episode is made in.

    Attributes:
        task: Name of the task.
        robot: panda | hand.
        layout: How the task's objects are placed.
        appearance: How episodes look, one of `envs.episodes.APPEARANCES`.
    """

    task: str = MAIN_TASK
    robot: str = "panda"
    layout: str = "together"
    appearance: str = FIXED

    @property
    def name(self) -> str:
        """The parts, joined: <task>-<robot>-<layout>, and -<appearance> where it is not fixed."""
        parts = (self.task, self.robot, self.layout, self.appearance)
        return setting_name(*map(_checked, parts))


@dataclass(frozen=True, order=True)
class RunId:
    """A training run. Splits with the same training set share their runs.

    Attributes:
        setting: What its demos were made in.
        profile: Name of the profile.
        train_set: Name of the training set.
        model: The policy's own name, without the backbone.
        backbone: The backbone's name.
        augment: Name of the augmentation, as far as the policy follows it.
        seed: Training seed.
    """

    setting: Setting
    profile: str
    train_set: str
    model: str
    backbone: str
    augment: str
    seed: int

    def folder(self, runs_dir: Path | str) -> Path:
        """The run's folder; `ConfigError` for a name that could leave `runs_dir`."""
        return place(runs_dir, self.setting, self.profile, self.train_set) / self.leaf

    @property
    def leaf(self) -> Path:
        """<model>-<backbone>-<augment>/seed<k>: the run among those of one training set."""
        folder = policy_folder(self.model, self.backbone, self.augment)
        return Path(folder) / f"seed{self.seed}"


@dataclass(frozen=True, order=True)
class ResultId:
    """The evaluation of one trained policy on one split.

    Attributes:
        setting: What its episodes are made in.
        profile: Name of the profile.
        starts: dev | final.
        split: Name of the split.
        model: The policy's own name, without the backbone.
        backbone: The backbone's name.
        augment: Name of the augmentation, as far as the policy followed it.
        seed: Training seed.
    """

    setting: Setting
    profile: str
    starts: str
    split: str
    model: str
    backbone: str
    augment: str
    seed: int

    def path(self, results_dir: Path | str) -> Path:
        """The result file; `ConfigError` for a name that could leave `results_dir`."""
        folder = place(results_dir, self.setting, self.profile, self.starts, self.split)
        policy = policy_folder(self.model, self.backbone, self.augment)
        return folder / policy / f"seed{self.seed}.json"

    @property
    def stem(self) -> str:
        """One name for files about it that lie in a common folder."""
        parts = (self.setting.name, self.profile, self.starts, self.split)
        policy = policy_folder(self.model, self.backbone, self.augment)
        return "_".join((*map(_checked_path, parts), policy, f"seed{self.seed}"))


def place(root: Path | str, setting: Setting, profile: str, *names: str) -> Path:
    """Folder of all runs on a training set, or of all results on some starts of a split."""
    return Path(root, setting.name, *map(_checked, (profile, *names)))


def policy_folder(model: str, backbone: str, augment: str) -> str:
    """<model>-<backbone>-<augment>, as folders are called."""
    return "-".join(map(_checked, (model, backbone, augment)))


def label(
    model: str, backbone: str, augment: str, usual_backbone: str | None, usual_augment: str | None
) -> str:
    """A policy's name in tables: <model>[-<backbone>][@<augment>], what is usual left out."""
    on = "" if backbone == usual_backbone else f"-{backbone}"
    with_ = "" if augment == usual_augment else f"@{augment}"
    return f"{model}{on}{with_}"


def _checked(name: str) -> str:
    """`name` if it can be part of a path; names may come from foreign files."""
    if not _NAME.fullmatch(name) or len(name) > 80:
        raise ConfigError(
            f"{name!r} cannot name a run or a result: use at most 80 letters, digits and _."
        )
    return name


def _checked_path(name: str) -> str:
    return "-".join(_checked(part) for part in name.split("-"))
