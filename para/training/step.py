"""One optimiser step."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

from para.errors import ParaError
from para.seeds import Purpose, torch_seed
from para.training import sharding
from para.training.data import Numbered, demos_of_batches
from para.training.devices import to_device
from para.training.learner import Learner
from para.training.optimiser import learning_rate_factor
from para.training.resume import save
from para.training.state import Progress, Run


class NonFiniteError(ParaError):
    """The loss or its gradient became infinite or not a number."""


def optimise(run: Run, learner: Learner, progress: Progress, batches: Numbered) -> dict[str, float]:
    """One optimiser step; returns the losses, averaged over its batches.

    Raises:
        NonFiniteError: A loss or the gradient is not finite; nothing was changed, and the state
            before this step is saved.
    """
    training, accelerator = run.cfg.training, learner.accelerator
    factor = learning_rate_factor(training, progress.step, progress.seconds / run.budget_seconds)
    for group in learner.optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    buffers = [buffer.clone() for buffer in learner.policy.buffers()]  # running statistics
    learner.model.train()
    sums: dict[str, Tensor] = {}
    numbers = []
    for _ in range(training.accumulate):
        number, batch = next(batches)
        numbers.append(number)
        batch = to_device(batch, accelerator.device)
        torch.manual_seed(torch_seed(run.cfg.seed, Purpose.FORWARD, number))
        with accelerator.accumulate(learner.model):
            with accelerator.autocast():
                losses = learner.model(batch)
            accelerator.backward(losses["loss"])
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.detach() / training.accumulate
    gradient = accelerator.clip_grad_norm_(learner.policy.parameters(), training.clip_norm)
    values = {name: float(value) for name, value in accelerator.reduce(sums, "mean").items()}
    values["grad_norm"] = float(sharding.whole(gradient))
    # fp16's gradient scaler skips steps of infinite gradients by itself.
    guarded = ("loss",) if training.precision == "fp16" else ("loss", "grad_norm")
    if not all(math.isfinite(values[name]) for name in guarded):
        for buffer, old in zip(learner.policy.buffers(), buffers, strict=True):
            buffer.copy_(old)
        save(run, learner, progress)
        _report_non_finite(run, progress, numbers, values)
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    learner.losses.update(values)
    learner.average.update_parameters(learner.policy)
    return values | {"learning_rate": training.learning_rate * factor}


def _report_non_finite(
    run: Run, progress: Progress, numbers: list[int], values: dict[str, float]
) -> NoReturn:
    bad = ", ".join(f"{k}={v}" for k, v in values.items() if not math.isfinite(v))
    demos = ", ".join(map(str, demos_of_batches(run, numbers)))
    raise NonFiniteError(
        f"Not finite at step {progress.step}: {bad}. Batch {numbers[0]} holds samples of demos "
        f"{demos}. The state before this step is saved in {run.folder}. Look at those demos; if "
        "they are fine, try a smaller training.learning_rate or training.precision=fp32."
    )
