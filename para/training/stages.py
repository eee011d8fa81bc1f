"""Recipes: stages of training, each of them one ordinary run with a configuration of its own.

A stage is `train(stage_config)`: it has a folder, checkpoints and exact resume like any run, and it
starts from the averaged weights that the stage before it ended with. A first stage that trains
nothing but the video model knows no policy: its folder has the stage's own name, and all recipes
and policies whose stage has that name share it. Another budget needs another name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from envs.base import TASKS, build_task
from envs.splits import load_split, training_conditions
from envs.table import MAIN_TASK
from para.backbones.weights import load_strict
from para.data.dataset import Batch
from para.data.own import open_own
from para.errors import CheckpointError
from para.policies.base import POLICIES, Policy
from para.policies.video import VideoConfig
from para.runs.config import StageConfig, TrainConfig
from para.runs.contents import POLICY
from para.runs.folders import run_dir
from para.runs.policy_file import read_policy_meta, read_policy_tensors
from para.runs.suite import with_each_task
from para.text.base import USUAL

VIDEO = "backbone.video."
"""Prefix of the video model's tensors in the state dict of any policy on a video backbone."""
_MEAN_DECAY = 0.99


def stage_configs(cfg: TrainConfig) -> list[TrainConfig]:
    """The runs that `cfg` asks for, in order: one per stage of its recipe, or `cfg` itself.

    Each is augmented as far as the labels of what it trains can follow, and knows the instructions
    of its demos. A policy that is told them in another way than usual says so in its name.
    """
    if not cfg.split.simulated:
        cfg = replace(cfg, split=replace(cfg.split, digest=open_own(str(cfg.data)).digest))
    if cfg.split.every_task:  # whichever was asked for: all are trained
        cfg = replace(cfg, task=TASKS.load(MAIN_TASK))
    return [_followed(stage) for stage in _stages(_told(cfg))]


def _told(cfg: TrainConfig) -> TrainConfig:
    if cfg.text is None or cfg.text.instructions:
        return cfg
    known = sorted({said for each in with_each_task(cfg) for said in _instructions(each)})
    if len(known) < 2:
        return replace(cfg, text=None)
    own = cfg.model.name if cfg.text.name == USUAL else f"{cfg.model.name}_{cfg.text.name}"
    text = replace(cfg.text, instructions=known)
    return replace(cfg, text=text, model=replace(cfg.model, name=own))


def _instructions(cfg: TrainConfig) -> set[str]:
    """What is said in the demos of the task of `cfg`."""
    if not cfg.split.simulated:
        return set(open_own(str(cfg.data)).instructions)
    task = build_task(cfg.task)
    if not task.namings:
        return {task.instruction}
    starts = training_conditions(cfg.split, task, cfg.layout, cfg.env)
    return {task.instruct(start) for start in starts}


def _followed(cfg: TrainConfig) -> TrainConfig:
    return replace(cfg, augment=cfg.augment.followed(POLICIES[cfg.model.kind].follows))


def _stages(cfg: TrainConfig) -> list[TrainConfig]:
    if cfg.recipe is None:
        return [cfg]
    configs: list[TrainConfig] = []
    names = list(cfg.recipe.stages)
    steps = 0
    for name in names:
        after = "/".join(run_dir(configs[-1]).parts[-3:-1]) if configs else None
        stage = replace(cfg.recipe.stages[name], after=after, after_steps=steps)
        steps += stage.steps
        if stage.losses == ["video"] and after is None:
            video = VideoConfig(name=name)
            configs.append(replace(_with_stage(cfg, stage), model=video, text=None))
        else:
            suffix = "" if name == names[-1] else f"_{name}"
            model = replace(cfg.model, name=f"{cfg.model.name}_{cfg.recipe.name}{suffix}")
            configs.append(replace(_with_stage(cfg, stage), model=model, stage=stage))
    return configs


def _with_stage(cfg: TrainConfig, stage: StageConfig) -> TrainConfig:
    """`cfg` with the stage's budget, rates and demos, and without a recipe."""
    video, heads = stage.rates.video, stage.rates.heads
    training = replace(
        cfg.training,
        steps=stage.steps,
        batch_size=stage.batch_size,
        learning_rate=heads or video,
        backbone_learning_rate=video if heads else None,
    )
    split = load_split(stage.split) if stage.split else cfg.split
    return replace(cfg, training=training, split=split, budget_minutes=stage.minutes, recipe=None)


def needs_clips(cfg: TrainConfig) -> bool:
    """Does the run of `cfg` learn to predict frames?"""
    return not cfg.model.acts or (cfg.stage is not None and "video" in cfg.stage.losses)


def freeze(policy: Policy, cfg: TrainConfig) -> None:
    """Let gradients reach only what the run trains and its losses depend on."""
    if not policy.backbone.learns_video:
        return
    for name, parameter in policy.named_parameters():
        part = "video" if name.startswith(VIDEO) else "heads"
        if cfg.stage and getattr(cfg.stage.rates, part) is None:
            parameter.requires_grad_(False)
    if not needs_clips(cfg):
        for parameter in policy.backbone.unused_by_policies():
            parameter.requires_grad_(False)


def start_folder(cfg: TrainConfig) -> Path | None:
    """Folder of the run that this stage starts from; None for a first stage."""
    if cfg.stage is None or cfg.stage.after is None:
        return None
    return run_dir(cfg).parents[2] / cfg.stage.after / f"seed{cfg.seed}"


def load_start(policy: Policy, folder: Path) -> dict[str, Any]:
    """Start `policy` from the finished run in `folder`: its video model, or all of it.

    Returns:
        What policy.json keeps about that run, and in "start" about those before it.

    Raises:
        CheckpointError: The run is missing, unfinished, or of another architecture or size.
    """
    meta = read_policy_meta(folder)
    if not meta["finished"]:
        raise CheckpointError(
            f"{folder}, the stage before this one, has not finished: run the same command again."
        )
    path, state = folder / POLICY, read_policy_tensors(folder, meta)
    if not POLICIES.config(meta["config"]["model"]["kind"]).acts:
        video = {k.removeprefix(VIDEO): v for k, v in state.items() if k.startswith(VIDEO)}
        load_strict(policy.backbone.video, video, str(path))
    else:
        policy.load(state, str(path))
    return {
        "run": f"{folder.parent.name}/{folder.name}",
        "training": meta["training"],
        "sha256": meta["sha256"],
        "start": meta["start"],
    }


class StageLoss(nn.Module):
    """The losses of a run as a forward pass, which is what Accelerate and DDP wrap.

    Without a stage it is `policy.loss`. In a stage with two losses each is divided by its running
    mean over the steps before, so that both pull equally, whatever their units.

    Args:
        policy: The policy.
        stage: What the run does; None for a run without recipe.
    """

    def __init__(self, policy: Policy, stage: StageConfig | None):
        super().__init__()
        self.policy = policy
        self.losses = tuple(stage.losses) if stage else ("policy",)
        self.means: dict[str, float] = {}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars of a batch; "loss" is what is minimised."""
        scalars = self.policy.loss(batch) if "policy" in self.losses else {}
        if "video" not in self.losses:
            return scalars
        video = self.policy.backbone.video_loss(batch["clip"])
        if not scalars:
            return {"loss": video, "video": video}
        losses = {"policy": scalars["loss"], "video": video}
        # before the first step there is no mean yet: each counts as 1
        balanced = [
            loss / self.means.get(name, max(float(loss.detach()), 1e-8))
            for name, loss in losses.items()
        ]
        return scalars | losses | {"loss": torch.stack(balanced).sum()}

    def update(self, values: dict[str, float]) -> None:
        """After a step: move the means towards its losses, averaged over all processes."""
        if len(self.losses) > 1:
            for name in self.losses:
                mean = self.means.get(name, values[name])
                self.means[name] = _MEAN_DECAY * mean + (1 - _MEAN_DECAY) * values[name]
