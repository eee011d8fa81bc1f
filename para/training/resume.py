"""How a run begins, how it is saved, and how it goes on from there, to the bit.

What a checkpoint holds: para/training/checkpoint.py.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from accelerate import Accelerator

from para.files import require_free_space
from para.runs.contents import CHECKPOINT
from para.system import WORKERS_PER_CORE, available_cores, set_threads
from para.tensors import Tensors
from para.training import sharding
from para.training.checkpoint import load_checkpoint, save_checkpoint
from para.training.learner import Learner, build_learner
from para.training.optimiser import optimizer_tensors, restore_optimizer
from para.training.state import Progress, Run, Window

_logger = logging.getLogger(__name__)


def begin(run: Run, accelerator: Accelerator) -> tuple[Learner, Progress]:
    """What learns, from its first step or as the last checkpoint has it.

    Raises:
        CheckpointError: All checkpoints are damaged, or the weights to start from do not fit.
        NoSpaceError: The disk is too full for the run's files.
    """
    saved = load_checkpoint(run.folder, run.cfg.training.steps)
    if not saved:
        threads = set_threads(run.cfg.workers)
        learner, progress = build_learner(run, accelerator, None), Progress(threads)
    else:
        tensors, state = saved
        most = WORKERS_PER_CORE * available_cores()  # it may have been a larger machine
        threads = set_threads(run.cfg.workers or min(state["threads"], most))
        learner = build_learner(run, accelerator, tensors)
        progress = _restore(run, learner, tensors["optimizer"], state, threads)
    if learner.is_main:
        _tell_threads(run, progress)
        size = sum(p.numel() * p.element_size() for p in learner.policy.parameters())
        require_free_space(run.folder, 14 * size + 50e6)  # 3 checkpoints of 4, policy, log
    return learner, progress


def save(run: Run, learner: Learner, progress: Progress) -> None:
    """Write a checkpoint; all processes must call this."""
    if not learner.has_part:
        return
    moments, groups = optimizer_tensors(learner.optimizer.optimizer)
    parts = {
        "policy": learner.whole(learner.policy.state_dict()),
        "ema": learner.whole(learner.average.state_dict()),
        "optimizer": learner.whole(moments),
    }
    if not learner.is_main:
        return
    scaler = learner.accelerator.scaler
    state = asdict(progress) | {
        "loss_means": learner.losses.means,
        "optimizer_groups": groups,
        "scaler": scaler.state_dict() if scaler else None,
    }
    save_checkpoint(run.folder, parts, state)


def _restore(
    run: Run, learner: Learner, moments: Tensors, state: dict[str, Any], threads: int
) -> Progress:
    """Everything of a checkpoint but the weights, which are loaded already."""
    optimizer = learner.optimizer.optimizer
    if learner.sharded:
        moments = sharding.split_moments(moments, optimizer)
    source = run.folder / CHECKPOINT
    restore_optimizer(optimizer, moments, state["optimizer_groups"], source)
    if learner.accelerator.scaler and state["scaler"]:
        learner.accelerator.scaler.load_state_dict(state["scaler"])
    learner.losses.means = state["loss_means"]
    if learner.is_main:
        _logger.info("Resuming %s at step %d.", run.folder, state["step"])
        if state["threads"] != threads:
            _logger.warning(
                "The run was begun with %d threads and goes on with %d: results can differ in the "
                "last bits.",
                *(state["threads"], threads),
            )
    return Progress(threads, state["step"], state["seconds"], Window(**state["window"]))


def _tell_threads(run: Run, progress: Progress) -> None:
    cores = available_cores()
    if progress.threads < cores and run.cfg.workers is None:
        _logger.info(
            "Training with %d of %d cores: the others are busy. workers=%d takes them all.",
            *(progress.threads, cores, cores),
        )
