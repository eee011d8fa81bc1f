"""What a run amounts to, and the policy that it leaves (keys: para/runs/policy_file.py)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envs.base import TASKS
from para.runs.policy_file import save_policy
from para.system import hardware, versions
from para.training.learner import Learner
from para.training.log import RunLog
from para.training.state import Progress, Run

_NO_LOSSES = ("step", "minutes", "samples_per_s", "learning_rate", "grad_norm")


@dataclass(frozen=True)
class TrainSummary:
    """What a finished run amounts to.

    Attributes:
        folder: The run's folder.
        steps: Optimiser steps.
        minutes: Training time, over all sessions.
        samples_per_s: Mean throughput of the last session, loader included.
        demos: Demos that were trained on.
        losses: Last logged losses, averaged over `training.log_every` steps.
        validation: val_loss and val_error_mm on held-out demos; empty without any.
        already_trained: The run was finished before; nothing was done.
    """

    folder: Path
    steps: int
    minutes: float
    samples_per_s: float
    demos: int
    losses: dict[str, float]
    validation: dict[str, float]
    already_trained: bool = False

    @classmethod
    def of_finished(cls, folder: Path, meta: dict[str, Any]) -> TrainSummary:
        """Of a run that was finished before, from its policy.json."""
        numbers = meta["training"] | {key: meta[key] for key in ("losses", "validation")}
        return cls(folder=folder, **numbers, already_trained=True)

    def report(self) -> str:
        """A few lines for the end of a script."""
        first = "Already trained" if self.already_trained else "Trained"
        lines = [
            f"{first}: {self.folder}",
            f"  {self.steps} steps on {self.demos} demos in {self.minutes:.1f} minutes, "
            f"{self.samples_per_s:.0f} samples/s",
        ]
        for numbers in filter(None, (self.losses, self.validation)):
            lines.append("  " + "  ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
        return "\n".join(lines)


def summarise(run: Run, progress: Progress, log: RunLog, samples_per_s: float) -> TrainSummary:
    """The run so far."""
    row = log.last("loss").items()
    return TrainSummary(
        folder=run.folder,
        steps=progress.step,
        minutes=round(progress.seconds / 60, 3),
        samples_per_s=round(samples_per_s, 1),
        demos=len(run.train_set.metas),
        losses={k: v for k, v in row if k not in _NO_LOSSES and not k.startswith("val_")},
        validation={k: v for k, v in log.last("val_loss").items() if k.startswith("val_")},
    )


def leave_policy(
    run: Run, learner: Learner, progress: Progress, summary: TrainSummary, finished: bool
) -> None:
    """Write the averaged policy as it is now; all processes must call this."""
    if not learner.has_part:
        return
    tensors = learner.whole(learner.average.module.state_dict())
    if not learner.is_main:
        return
    cfg = run.cfg
    meta = {
        "finished": finished,
        "config": asdict(cfg),
        "environment": {"version": TASKS[cfg.task.kind].version},
        "backbone": {"name": cfg.backbone.name, "init": learner.policy.backbone.init},
        "training": {
            "steps": summary.steps,
            "minutes": summary.minutes,
            "demos": summary.demos,
            "samples_per_s": summary.samples_per_s,
        },
        "losses": summary.losses,
        "validation": summary.validation,
        "start": learner.start,
        "git": run.git,
        "versions": versions(),
        "hardware": hardware() | {"threads": progress.threads},
    }
    save_policy(run.folder, tensors, meta)
