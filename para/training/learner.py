"""What learns: a policy, its losses, its average and its optimiser, on this process's device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.optim.swa_utils import AveragedModel

from para.backbones.weights import load_strict
from para.policies.base import Policy, build_policy
from para.runs.contents import CHECKPOINT
from para.tensors import Tensors
from para.training import sharding
from para.training.optimiser import averaged, parameter_groups
from para.training.stages import VIDEO, StageLoss, freeze, load_start, start_folder
from para.training.state import Run

_CODEC_IMAGES = 256
"""Training images that a latent codec is fitted to."""


@dataclass
class Learner:
    """All tensors of a run, and the devices that they are on.

    Attributes:
        accelerator: Devices and processes.
        policy: What is trained.
        losses: Its losses as a forward pass.
        model: `losses` as Accelerate prepared it (DDP with several processes).
        average: Moving average of the policy.
        optimizer: AdamW over what is trained.
        sharded: Each process has a part of every tensor, not a copy.
        start: Where the first weights came from, as policy.json keeps it; None for no run.
    """

    accelerator: Accelerator
    policy: Policy
    losses: StageLoss
    model: nn.Module
    average: AveragedModel
    optimizer: AcceleratedOptimizer
    sharded: bool
    start: dict[str, Any] | None

    @property
    def is_main(self) -> bool:
        """Does this process write the files?"""
        return self.accelerator.is_main_process

    @property
    def has_part(self) -> bool:
        """Must this process take part where files are written or the policy is tried?"""
        return self.is_main or self.sharded

    def whole(self, tensors: Tensors) -> Tensors:
        """The tensors of a state dict, put together on the main process where they are split."""
        return sharding.gathered(tensors, keep=self.is_main) if self.sharded else tensors


def build_learner(run: Run, accelerator: Accelerator, saved: dict[str, Tensors] | None) -> Learner:
    """A policy with random, pretrained or the last stage's weights, or those of a checkpoint.

    Args:
        run: What is trained.
        accelerator: Devices and processes.
        saved: Tensors of a checkpoint ("policy" and "ema" are used); None to begin.

    Raises:
        CheckpointError: The run to start from, or the checkpoint, does not fit.
    """
    cfg, training = run.cfg, run.cfg.training
    torch.manual_seed(cfg.seed)
    policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size, cfg.text)
    policy.fit_normalisation(run.train_set.stats())
    if policy.backbone.learns_video:
        policy.backbone.fit_codec(run.train_set.spread(_CODEC_IMAGES))
    if not training.shard:
        policy.to(accelerator.device)
        _use_channels_last(policy)
    folder = start_folder(cfg)
    start = load_start(policy, folder) if folder else None
    freeze(policy, cfg)
    average = averaged(policy, training.ema_decay)
    if saved:  # before they are split, if they are
        source = str(run.folder / CHECKPOINT)
        load_strict(policy, saved["policy"], source)
        load_strict(average, saved["ema"], source)
    losses = StageLoss(policy, cfg.stage)
    if training.shard:
        sharding.shard(losses, policy, average.module, accelerator.device.type)
    optimizer = torch.optim.AdamW(parameter_groups(policy, training), fused=True)
    return Learner(
        accelerator=accelerator,
        policy=policy,
        losses=losses,
        optimizer=accelerator.prepare(optimizer),
        model=losses if training.shard else accelerator.prepare(losses),
        average=average,
        sharded=training.shard,
        start=start,
    )


def _use_channels_last(policy: Policy) -> None:
    """The memory format in which convolutions are twice as fast on a CPU.

    A video model, whose maps change between images and clips, would be a sixth slower with it.
    """
    for name, parameter in policy.named_parameters():
        if parameter.ndim == 4 and not name.startswith(VIDEO):
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
