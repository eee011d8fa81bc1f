"""AdamW, its schedule and its groups; the average of the weights; both as plain tensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from para.errors import CheckpointError, one_line
from para.runs.config import TrainingConfig
from para.tensors import Tensors
from para.training import sharding
from para.training.stages import VIDEO


def learning_rate_factor(training: TrainingConfig, step: int, time_fraction: float = 0.0) -> float:
    """Linear warm-up, then a cosine to zero over the budget of steps or of time, what ends first.

    Args:
        training: Steps and warm-up steps.
        step: Steps that are done.
        time_fraction: Part of the time budget that is used, in [0, 1]; 0 without one.
    """
    warmup = min(1.0, (step + 1) / (training.warmup_steps + 1))
    done = min(1.0, max(step / training.steps, time_fraction))
    return warmup * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(policy: nn.Module, training: TrainingConfig) -> list[dict[str, Any]]:
    """Groups for AdamW: backbone or rest x matrices or vectors (biases and norms do not decay).

    Of a video backbone only the video model counts: what projects its features starts at random.
    """
    video = any(name.startswith(VIDEO) for name, _ in policy.named_parameters())
    prefix = VIDEO if video else "backbone."
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in policy.named_parameters():
        if not parameter.requires_grad:
            continue
        in_backbone, decays = name.startswith(prefix), parameter.ndim > 1
        rate = training.backbone_learning_rate if in_backbone else None
        rate = training.learning_rate if rate is None else rate
        group = groups.setdefault(
            (in_backbone, decays),
            {
                "params": [],
                "lr": rate,
                "peak_lr": rate,
                "weight_decay": training.weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def averaged(policy: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers.

    The decay grows as (1 + n) / (10 + n) up to `decay`, so that short runs do not average in their
    random start. n is part of the state dict, so the average continues over a resume.
    """

    def update(mean: list[Tensor], current: list[Tensor], n: Tensor) -> None:
        count = int(n)
        parts = [[sharding.local(tensor) for tensor in tensors] for tensors in (mean, current)]
        get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))(*parts, n)

    return AveragedModel(policy, multi_avg_fn=update, use_buffers=True)


def optimizer_tensors(optimizer: Optimizer) -> tuple[Tensors, list[dict[str, Any]]]:
    """The state of `optimizer` as tensors named <parameter index>.<name>, and its groups."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def restore_optimizer(
    optimizer: Optimizer, tensors: Tensors, groups: list[dict[str, Any]], source: Path | str
) -> None:
    """Inverse of `optimizer_tensors`.

    Raises:
        CheckpointError: They are of another architecture, or of another version of torch.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [p for group in optimizer.state_dict()["param_groups"] for p in group["params"]]
    if [sorted(g) for g in groups] != [sorted(g) for g in optimizer.param_groups] or numbers != [
        p for group in groups for p in group["params"]
    ]:
        raise CheckpointError(
            f"{source} holds the optimiser of another architecture, or of another version of "
            "torch. Start again with fresh=true."
        )
    state: dict[int, Tensors] = {}
    known = set(map(str, numbers))
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        if index not in known:
            raise CheckpointError(
                f"{source} is damaged: its optimiser holds {one_line(key)}, which belongs to no "
                "parameter. Start again with fresh=true."
            )
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            # Fused optimisers walk raw memory: moments need their parameter's memory format.
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(index), {})[name] = tensor
    for group in groups:
        group["betas"] = tuple(group["betas"])
    optimizer.load_state_dict({"state": state, "param_groups": groups})
