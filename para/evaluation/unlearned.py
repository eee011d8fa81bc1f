"""Floors and the ceiling (baselines/floors.py) as policies that an evaluation can name."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from baselines.floors import FLOORS, Demo, Floor, Given
from envs.base import Environment, build_task
from envs.splits import training_indices
from para.data.dataset import HAND_DOWN
from para.data.format import dataset_dir, episode_path, read_episode
from para.data.generate import check_demos
from para.evaluation.config import EvalConfig
from para.evaluation.trained import TrainedRun
from para.executors import here
from para.fields import require
from para.runs.folders import setting_of
from para.runs.identity import ResultId
from para.types import Inference

NO_BACKBONE = "none"
"""What results call the backbone of a policy that has none."""
STRIDE = 3
"""Demo frames (0.1 s each) between waypoints."""
WHOLE = 1000
"""Waypoints that are executed before a floor looks again: all of its plan."""


@dataclass(frozen=True)
class FloorRun(TrainedRun):
    """A floor, beside trained policies: no steps, no weights.

    Attributes:
        demos: Indices of the demos that it is given.
    """

    demos: tuple[int, ...] = ()

    def load(self, make_env: Callable[[], Environment], envs: Sequence[Environment]) -> Floor:
        """See `TrainedRun`."""
        demos = [read_demo(here(self.folder.absolute()), index) for index in self.demos]
        given = Given(make_env, envs, demos)
        return FLOORS[self.id.model](given)

    def files(self) -> Sequence[Path]:
        """See `TrainedRun`."""
        return [self.folder.absolute()] if self.demos else []

    def inference(self, asked: Inference) -> Inference:
        """See `TrainedRun`: a floor's plan is executed as a whole, and sees no image."""
        return replace(asked, execute=WHOLE, ensemble=False, tta=1)

    def require_known(self, instructions: Collection[str]) -> None:
        """See `TrainedRun`: what a task may say is known."""

    def components(self) -> list[Any]:
        """See `TrainedRun`."""
        return [FLOORS[self.id.model]]


def floor_run(cfg: EvalConfig) -> FloorRun:
    """The floor that `cfg.model` names, on `cfg.split`.

    Raises:
        ConfigError: It is asked for with a backbone or with aligned views, or of a task that has no
            expert.
        DataError: It needs demos and they are not there; names the command that makes them.
    """
    name = str(cfg.model)
    require(
        cfg.backbone is None, f"model={name} learns nothing and has no backbone: leave it away."
    )
    require(
        not cfg.align_view,
        f"align_view=true is for policies that learned from a usual view, and model={name} "
        "learned nothing: leave it away.",
    )
    setting = setting_of(cfg)
    task = build_task(cfg.task)
    if FLOORS[name].uses_expert:
        task.require_expert(f"model={name} uses")
    dataset = cfg.split.dataset_for(task, cfg.layout)
    folder = dataset_dir(cfg.data_dir, setting.name, dataset, cfg.env.image_size)
    demos: tuple[int, ...] = ()
    if FLOORS[name].uses_demos:
        chosen = training_indices(cfg.split, task, cfg.layout)
        metas = check_demos(folder, chosen, cfg)
        demos = tuple(meta.index for meta in metas if meta.success)
    digest = hashlib.sha256()
    for index in demos:
        for item in dataclasses.astuple(read_demo(folder, index)):
            digest.update(np.ascontiguousarray(item).tobytes())
    meta = {
        "sha256": digest.hexdigest(),
        "finished": True,
        "config": {"model": {"name": name, "kind": name}, "backbone": {"kind": NO_BACKBONE}},
        "backbone": {"name": NO_BACKBONE, "init": NO_BACKBONE},
        "training": {"steps": 0, "minutes": 0.0, "demos": len(demos)},
    }
    where = (setting, cfg.profile, cfg.starts, cfg.split.name)
    found = ResultId(*where, name, NO_BACKBONE, "none", cfg.seed)
    return FloorRun(folder, name, found, meta, demos)


def read_demo(folder: Path, index: int) -> Demo:
    """A demo's first image and its waypoints."""
    episode = read_episode(episode_path(folder, index))
    last = episode.meta.num_samples - 1
    frames = np.minimum(np.arange(STRIDE, last + STRIDE, STRIDE), last)
    poses = episode.arrays["obs/ee_pose"][frames].astype(np.float64)
    turns = Rotation.from_quat(poses[:, 3:], scalar_first=True) * HAND_DOWN.inv()
    gripper = episode.arrays["actions"][frames, 3].astype(np.float64)
    return Demo(episode.images([0])[0], poses[:, :3], gripper, turns.as_euler("xyz"))
